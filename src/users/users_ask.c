/*
 * Asking for many sessions at the same time: a few threads with a connection each.
 *
 * A caller puts its questions in line as one round and sleeps until they are done with. While
 * the provider is down one question at a time is let through; if it fails, the others of all
 * rounds are dropped, and stay open.
 */
#include "users/users_priv.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"

#include <assert.h>
#include <stdlib.h>

/* Those that have not failed yet first: one that upsets the provider holds up no others. */
static int compare_failures(const void *a, const void *b)
{
    unsigned first = ((const struct users_question *)a)->failures;
    unsigned second = ((const struct users_question *)b)->failures;

    return (first > second) - (first < second);
}

/* All questions that are not under way stay unasked. */
static void drop_rounds(struct users *users)
{
    while (users->rounds != NULL) {
        struct users_round *round = users->rounds;

        round->done += round->count - round->taken;
        users->rounds = round->next;
    }
    pthread_cond_broadcast(&users->finished);
}

/* The next question; NULL at the end. */
static const struct users_question *take(struct users *users, struct users_round **ret_round)
{
    struct users_round *round;

    while (!atomic_load(&users->stop) &&
           (users->rounds == NULL || (users->status.down && users->out > 0)))
        pthread_cond_wait(&users->work, &users->lock);
    if (atomic_load(&users->stop))
        return NULL;
    round = users->rounds;
    *ret_round = round;
    users->out++;
    users->status.requests++;
    round->taken++;
    if (round->taken == round->count)
        users->rounds = round->next;
    return &round->questions[round->taken - 1];
}

static void *run(void *arg)
{
    struct users *users = arg;
    struct users_asker *asker = users_asker_open(users);
    const struct users_question *question;
    struct users_round *round;

    thread_name("introspection");
    thread_background();
    pthread_mutex_lock(&users->lock);
    while ((question = take(users, &round)) != NULL) {
        struct users_reply reply;
        bool blame = false;
        struct err err;
        int code;

        pthread_mutex_unlock(&users->lock);
        code = users_asker_ask(asker, question->session, &reply, &blame, &err);
        pthread_mutex_lock(&users->lock);
        users->out--;
        if (code == 0)
            users_note_reply(users, question->digest, &reply);
        else if (!atomic_load(&users->stop))
            users_note_failure(users, question->digest, blame, &err);
        round->done++;
        if (code != 0 && users->status.down)
            drop_rounds(users);
        pthread_cond_broadcast(&users->finished);
        pthread_cond_broadcast(&users->work); /* down or up: others may go on, or not */
    }
    pthread_mutex_unlock(&users->lock);
    users_asker_close(asker);
    return NULL;
}

static void stand_in_line(struct users *users, struct users_round *round)
{
    struct users_round **place = &users->rounds;

    while (*place != NULL)
        place = &(*place)->next;
    *place = round;
    pthread_cond_broadcast(&users->work);
}

void users_ask(struct users *users, const struct slice *sessions, size_t count)
{
    struct users_question *questions;
    struct users_round round = {.count = count};

    assert(count <= USERS_AT_ONCE);
    if (count == 0 || !users_take_sessions(users))
        return;
    questions = mem_zalloc(count * sizeof *questions);
    pthread_mutex_lock(&users->lock);
    for (size_t i = 0; i < count; i++) {
        const struct users_entry *entry;

        questions[i].session = sessions[i];
        users_digest(users, sessions[i], questions[i].digest);
        entry = users_cache_find(users->cache, questions[i].digest, clock_wall_us());
        questions[i].failures = entry != NULL ? entry->failures : 0;
    }
    qsort(questions, count, sizeof *questions, compare_failures);
    round.questions = questions;
    if (!atomic_load(&users->stop)) {
        stand_in_line(users, &round);
        while (round.done < round.count)
            pthread_cond_wait(&users->finished, &users->lock);
    }
    pthread_mutex_unlock(&users->lock);
    free(questions);
}

void users_interrupt(struct users *users)
{
    pthread_mutex_lock(&users->lock);
    atomic_store(&users->stop, true);
    drop_rounds(users);
    pthread_cond_broadcast(&users->work);
    pthread_mutex_unlock(&users->lock);
}

int users_start(struct users *users, struct err *err)
{
    users->threads = mem_alloc(users->connections * sizeof *users->threads);
    while (users->started < users->connections) {
        int number = pthread_create(&users->threads[users->started], NULL, run, users);

        if (number != 0)
            return err_system(err, number, "start a thread for introspection");
        users->started++;
    }
    return 0;
}

void users_stop(struct users *users)
{
    users_interrupt(users);
    for (unsigned i = 0; i < users->started; i++)
        pthread_join(users->threads[i], NULL);
    free(users->threads);
}
