/*
 * Handlers that answer later: the requests of a turn are handed to another thread, which
 * mails them back together when its gate is opened.
 */
#ifndef TESTS_HTTP_LATER_H
#define TESTS_HTTP_LATER_H

#include "client.h"

#include <pthread.h>
#include <stdatomic.h>

#define BATCH_MAX 64

struct batch {
    struct mail mail;
    struct http_loop *loop;
    struct batch *next;
    struct http_request *requests[BATCH_MAX];
    size_t count;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct batch *waiting;
    bool gate_open;
    bool ending;
    pthread_t thread;
    _Atomic size_t held;    /* requests without an answer */
    _Atomic size_t turns;   /* of all loops */
    _Atomic size_t stopped; /* loops */
    _Atomic size_t posted;  /* batches mailed back */
    _Atomic size_t remains; /* parts of requests that were there after their release */
} later = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

__attribute__((unused)) static void later_deliver(struct mail *mail)
{
    struct batch *batch = (struct batch *)mail;

    for (size_t i = 0; i < batch->count; i++) {
        http_respond(batch->requests[i], 202, NULL, SLICE("{\"late\": true}"));
        atomic_fetch_sub(&later.held, 1);
    }
    free(batch);
}

__attribute__((unused)) static void later_hand_over(struct http_loop *loop, struct batch *batch)
{
    batch->loop = loop;
    batch->mail.deliver = later_deliver;
    pthread_mutex_lock(&later.lock);
    batch->next = later.waiting;
    later.waiting = batch;
    pthread_cond_signal(&later.changed);
    pthread_mutex_unlock(&later.lock);
}

/* The loop's argument is the place of its open batch. */
__attribute__((unused)) static void *later_start(struct http_loop *loop, void *arg)
{
    (void)loop;
    (void)arg;
    return mem_zalloc(sizeof(struct batch *));
}

__attribute__((unused)) static void later_turn(struct http_loop *loop, void *loop_arg)
{
    struct batch **open = loop_arg;

    atomic_fetch_add(&later.turns, 1);
    if (*open != NULL)
        later_hand_over(loop, *open);
    *open = NULL;
}

__attribute__((unused)) static void later_stop(struct http_loop *loop, void *loop_arg)
{
    (void)loop;
    free(loop_arg);
    atomic_fetch_add(&later.stopped, 1);
}

__attribute__((unused)) static void later_handle(struct http_request *request, void *arg)
{
    struct http_loop *loop = http_request_loop(request);
    struct batch **open = http_loop_arg(loop);

    (void)arg;
    if (*open != NULL && (*open)->count == BATCH_MAX)
        later_turn(loop, open);
    if (*open == NULL)
        *open = mem_zalloc(sizeof **open);
    (*open)->requests[(*open)->count++] = request;
    atomic_fetch_add(&later.held, 1);
}

/* The same for a handler that needs nothing of the request meanwhile. */
__attribute__((unused)) static void later_release(struct http_request *request, void *arg)
{
    later_handle(request, arg);
    http_request_release(request);
    http_request_release(request); /* once was enough */
    if (http_request_method(request).at != NULL || http_request_path(request).at != NULL ||
        http_request_body(request).at != NULL || http_request_header(request, "host").at != NULL)
        atomic_fetch_add(&later.remains, 1);
}

static struct batch *later_take(void)
{
    struct batch *batch = NULL;

    pthread_mutex_lock(&later.lock);
    while (!later.ending && (later.waiting == NULL || !later.gate_open))
        pthread_cond_wait(&later.changed, &later.lock);
    if (later.gate_open && later.waiting != NULL) {
        batch = later.waiting;
        later.waiting = batch->next;
    }
    pthread_mutex_unlock(&later.lock);
    return batch;
}

static void *later_main(void *arg)
{
    struct batch *batch;

    (void)arg;
    while ((batch = later_take()) != NULL) {
        mailbox_put(http_loop_mailbox(batch->loop), &batch->mail);
        atomic_fetch_add(&later.posted, 1);
    }
    return NULL;
}

__attribute__((unused)) static void later_gate(bool open)
{
    pthread_mutex_lock(&later.lock);
    later.gate_open = open;
    pthread_cond_signal(&later.changed);
    pthread_mutex_unlock(&later.lock);
}

__attribute__((unused)) static void later_begin(void)
{
    later.ending = false;
    later.gate_open = true;
    atomic_store(&later.held, 0);
    atomic_store(&later.stopped, 0);
    atomic_store(&later.posted, 0);
    assert_int_equal(pthread_create(&later.thread, NULL, later_main, NULL), 0);
}

/* Forgets what was never answered. */
__attribute__((unused)) static void later_end(void)
{
    pthread_mutex_lock(&later.lock);
    later.ending = true;
    later.gate_open = false;
    pthread_cond_signal(&later.changed);
    pthread_mutex_unlock(&later.lock);
    pthread_join(later.thread, NULL);
    while (later.waiting != NULL) {
        struct batch *batch = later.waiting;

        later.waiting = batch->next;
        free(batch);
    }
}

__attribute__((unused)) static void use_later(struct http_options *options)
{
    options->loop_start = later_start;
    options->loop_turn = later_turn;
    options->loop_stop = later_stop;
}

#endif
