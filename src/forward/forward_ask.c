/*
 * The loader has met a transaction whose session's user has to be asked for.
 *
 * It reads on in the log, without encoding, for other sessions to ask for at the same time; when
 * they are answered it goes back to where it was. While the provider does not answer, the loader
 * waits with the transaction, and the log behind it waits too; only the writer goes on, with what
 * was loaded before. At the end nothing is waited for: what has no answer stays in the log.
 */
#include "forward/forward_priv.h"

#include "base/mem.h"

#include <stdlib.h>

enum { LOOK_MS = 1000 }; /* patience may have ended meanwhile */

struct sessions {
    struct slice list[USERS_AT_ONCE];
    size_t count;
    char *text; /* of all of them */
    size_t len;
};

static void add(struct sessions *sessions, struct slice session)
{
    for (size_t i = 0; i < sessions->count; i++) {
        if (slice_equal(sessions->list[i], session))
            return;
    }
    memcpy(sessions->text + sessions->len, session.at, session.len);
    sessions->list[sessions->count++] = (struct slice){sessions->text + sessions->len, session.len};
    sessions->len += session.len;
}

/* Those of one batch from here on, as far as they are not known. */
static void collect(struct forward *forward, struct queue_reader *reader, struct sessions *sessions)
{
    const struct forward_options *options = &forward->options;
    uint64_t bytes = 0;
    uint64_t rows = 0;
    struct queue_item item;
    struct err err;
    int code;

    while (sessions->count < USERS_AT_ONCE && bytes < options->batch_bytes &&
           rows < options->batch_rows &&
           ((code = queue_reader_next(reader, &item, &err)) == 0 || code == ERR_CORRUPT)) {
        struct forward_user user;

        bytes += item.next - item.position;
        if (code == ERR_CORRUPT)
            continue;
        rows += item.txn.count;
        if (item.txn.session.at != NULL && !forward_user(forward, item.position, &item.txn, &user))
            add(sessions, item.txn.session);
    }
}

/* False if there are new orders. While stopping only the end is waited for. */
static bool wait_to_ask(struct forward *forward, int64_t pause_ms)
{
    bool orders;

    pthread_mutex_lock(&forward->lock);
    if (!forward->stop_now && !forward->seek && !forward->stopping)
        forward_wait(forward, &forward->loader_wakes, pause_ms < LOOK_MS ? pause_ms : LOOK_MS);
    if (forward->stopping) {
        forward->sessions_wait = true; /* the writer looks often while stopping */
        while (!forward->stop_now && !forward->seek)
            pthread_cond_wait(&forward->loader_wakes, &forward->lock);
        forward->sessions_wait = false;
    }
    orders = forward->stop_now || forward->seek;
    pthread_mutex_unlock(&forward->lock);
    return !orders;
}

bool loader_ask(struct forward *forward, struct queue_reader *reader, uint64_t position)
{
    struct sessions sessions = {.count = 0};
    int64_t pause_ms = users_pause_ms(forward->options.users);

    if (pause_ms > 0)
        return wait_to_ask(forward, pause_ms);
    sessions.text = mem_alloc((size_t)USERS_AT_ONCE * TXN_MAX_SESSION);
    collect(forward, reader, &sessions);
    users_ask(forward->options.users, sessions.list, sessions.count);
    free(sessions.text);
    queue_reader_seek(reader, position);
    return true;
}
