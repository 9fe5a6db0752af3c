/*
 * Starting and stopping the two threads, and what they say of themselves.
 */
#include "forward/forward.h"

#include "forward/forward_priv.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define QUIET_LEAST 1.0 /* transactions a second that are always quiet */
#define PEAK_HALF_LIFE_US (INT64_C(86400) * 1000000) /* yesterday's peak counts half */

bool forward_wait(struct forward *forward, pthread_cond_t *condition, int64_t timeout_ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    return pthread_cond_timedwait(condition, &forward->lock, &until) != ETIMEDOUT;
}

static void init(struct forward *forward)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&forward->lock, NULL);
    pthread_cond_init(&forward->loader_wakes, &monotonic);
    pthread_cond_init(&forward->writer_wakes, &monotonic);
    pthread_cond_init(&forward->stopped_wakes, &monotonic);
    pthread_cond_init(&forward->turn_wakes, &monotonic);
    pthread_condattr_destroy(&monotonic);
    for (int i = 0; i < SLOTS; i++)
        forward->slots[i].batch = store_batch_open(forward->store);
    forward->single = store_batch_open(forward->store);
    forward->status.kind = store_kind(forward->store);
}

static void dispose(struct forward *forward)
{
    for (int i = 0; i < SLOTS; i++) {
        store_batch_close(forward->slots[i].batch);
        free(forward->slots[i].positions);
        free(forward->slots[i].sessions);
        free(forward->slots[i].ordinals);
    }
    store_batch_close(forward->single);
    store_close(forward->store);
    pthread_cond_destroy(&forward->turn_wakes);
    pthread_cond_destroy(&forward->stopped_wakes);
    pthread_cond_destroy(&forward->writer_wakes);
    pthread_cond_destroy(&forward->loader_wakes);
    pthread_mutex_destroy(&forward->lock);
    free(forward);
}

static void order_stop(struct forward *forward, bool now)
{
    struct users *users = forward->options.users;

    if (now || users_status(users).down)
        users_interrupt(users);
    pthread_mutex_lock(&forward->lock);
    forward->stopping = true;
    if (now)
        forward->stop_now = true;
    pthread_mutex_unlock(&forward->lock);
    pthread_cond_broadcast(&forward->loader_wakes);
    pthread_cond_broadcast(&forward->writer_wakes);
    queue_wake(forward->options.queue);
}

int forward_check_window(const char *window, struct err *err)
{
    struct schedule schedule;

    return schedule_parse(window, &schedule, err);
}

static int set_schedule(struct forward *forward, struct err *err)
{
    const struct forward_options *options = &forward->options;

    forward->schedule = (struct schedule){
        .max_lag_us = options->max_lag_ms * 1000,
        .quiet_below = options->quiet_below,
        .quiet_above = options->quiet_above > options->quiet_below ? options->quiet_above
                                                                   : options->quiet_below,
        .quiet_least = QUIET_LEAST,
        .peak_half_life_us = PEAK_HALF_LIFE_US,
    };
    return schedule_parse(options->window, &forward->schedule, err);
}

int forward_start(const struct forward_options *options, struct forward **ret, struct err *err)
{
    struct forward *forward = mem_zalloc(sizeof *forward);
    int code;

    forward->options = *options;
    code = set_schedule(forward, err);
    if (code == 0)
        code = store_open(options->store_url, options->store_timeout_ms, &forward->store, err);
    if (code != 0) {
        free(forward);
        return code;
    }
    init(forward);
    if ((code = pthread_create(&forward->loader, NULL, loader_run, forward)) != 0) {
        code = err_system(err, code, "start the loader");
        goto dispose;
    }
    if ((code = pthread_create(&forward->writer, NULL, writer_run, forward)) != 0) {
        code = err_system(err, code, "start the writer");
        goto stop_loader;
    }
    *ret = forward;
    return 0;

stop_loader:
    order_stop(forward, true);
    pthread_join(forward->loader, NULL);
dispose:
    dispose(forward);
    return code;
}

void forward_stop(struct forward *forward, int64_t timeout_ms)
{
    int64_t deadline = clock_mono_us() / 1000 + timeout_ms;

    if (forward == NULL)
        return;
    order_stop(forward, timeout_ms <= 0);
    pthread_mutex_lock(&forward->lock);
    while (!forward->writer_stopped) {
        int64_t left = deadline - clock_mono_us() / 1000;

        if (left <= 0 || !forward_wait(forward, &forward->stopped_wakes, left))
            break;
    }
    pthread_mutex_unlock(&forward->lock);
    order_stop(forward, true);
    store_interrupt(forward->store);
    pthread_join(forward->writer, NULL);
    pthread_join(forward->loader, NULL);
    dispose(forward);
}

void forward_poke(struct forward *forward)
{
    pthread_mutex_lock(&forward->lock);
    forward->poked = true;
    pthread_mutex_unlock(&forward->lock);
    pthread_cond_signal(&forward->writer_wakes);
}

bool forward_pass(struct forward *forward, int64_t timeout_ms)
{
    int64_t deadline = clock_mono_us() / 1000 + timeout_ms;
    uint64_t turns;
    bool over;

    pthread_mutex_lock(&forward->lock);
    turns = forward->turns;
    forward->poked = true;
    pthread_cond_signal(&forward->writer_wakes);
    while (!(over = forward->turns != turns || forward->writer_stopped)) {
        int64_t left = deadline - clock_mono_us() / 1000;

        if (left <= 0)
            break;
        forward_wait(forward, &forward->turn_wakes, left);
    }
    pthread_mutex_unlock(&forward->lock);
    return over;
}

void forward_order(struct forward *forward)
{
    uint64_t end = queue_status(forward->options.queue).durable;

    pthread_mutex_lock(&forward->lock);
    if (end > forward->ordered_to)
        forward->ordered_to = end;
    pthread_mutex_unlock(&forward->lock);
    pthread_cond_signal(&forward->loader_wakes);
}

struct forward_status forward_status(struct forward *forward)
{
    struct forward_status status;

    pthread_mutex_lock(&forward->lock);
    status = forward->status;
    pthread_mutex_unlock(&forward->lock);
    return status;
}
