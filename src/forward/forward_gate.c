/*
 * The gate that the loader passes before it reads: open when the schedule says so.
 *
 * It looks again every second, for the rate of incoming transactions to be seen and for clocks
 * that jump; an order, a seek and the end wake it at once. What has been loaded before the gate
 * closes is still delivered.
 */
#include "forward/forward_priv.h"

#include "base/clock.h"
#include "base/log.h"

enum { LOOK_MS = 1000 };

static struct schedule_verdict judge(struct forward *forward)
{
    struct queue *queue = forward->options.queue;
    struct schedule_backlog backlog = {.oldest_us = INT64_MAX};
    struct queue_status status;
    struct err err;
    uint64_t ordered_to;

    pthread_mutex_lock(&forward->lock);
    ordered_to = forward->ordered_to;
    forward->ordered_to = 0;
    pthread_mutex_unlock(&forward->lock);
    status = queue_status(queue);
    backlog.first = status.cursor;
    backlog.end = status.durable;
    if (forward->schedule.mode == SCHEDULE_QUIET)
        schedule_sample(&forward->schedule, &forward->memory, status.accepted, clock_mono_us());
    if (forward->schedule.mode != SCHEDULE_ALWAYS &&
        queue_oldest(queue, &backlog.oldest_us, &err) != 0)
        backlog.oldest_us = INT64_MAX; /* none waits; a disk that fails is the loader's to report */
    return schedule_judge(&forward->schedule, &forward->memory, ordered_to, &backlog,
                          clock_wall_us());
}

static void note(struct forward *forward, const struct schedule_verdict *verdict)
{
    struct forward_status *status = &forward->status;
    bool changed;

    pthread_mutex_lock(&forward->lock);
    changed = status->waiting == verdict->go;
    status->waiting = !verdict->go;
    status->why = schedule_words(verdict->reason);
    status->until_us = verdict->until_us;
    pthread_mutex_unlock(&forward->lock);
    if (changed)
        log_info("forward", "%s: %s", verdict->go ? "forwarding" : "waiting",
                 schedule_words(verdict->reason));
}

bool loader_gate(struct forward *forward)
{
    bool orders = false;

    for (;;) {
        struct schedule_verdict verdict = judge(forward);

        note(forward, &verdict);
        if (verdict.go)
            return true;
        pthread_mutex_lock(&forward->lock);
        if (!forward->stop_now && !forward->seek && forward->ordered_to == 0)
            forward_wait(forward, &forward->loader_wakes, LOOK_MS);
        orders = forward->stop_now || forward->seek;
        pthread_mutex_unlock(&forward->lock);
        if (orders)
            return false;
    }
}
