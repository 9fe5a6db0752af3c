/*
 * The housekeeping thread: does what upkeep_step() decides, and tells it what came of it.
 */
#include "upkeep/upkeep_priv.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"

#include <inttypes.h>
#include <time.h>

enum { PASS_MS = 1000 };

/* Orders that are done hold for as long as sessions of before may still be resolved. */
#define KEEP_DONE_US (INT64_C(86400) * 1000000)

static int64_t now_ms(void)
{
    return clock_mono_us() / 1000;
}

static struct upkeep_rooms rooms_of(struct upkeep *upkeep)
{
    const struct upkeep_options *options = &upkeep->options;

    return (struct upkeep_rooms){
        .queue = options->queue,
        .ledger = options->ledger,
        .users = options->users,
        .forward = options->forward,
        .upkeep = upkeep,
        .store = upkeep->store,
    };
}

static bool stopping(struct upkeep *upkeep)
{
    bool stop;

    pthread_mutex_lock(&upkeep->lock);
    stop = upkeep->stopping;
    pthread_mutex_unlock(&upkeep->lock);
    return stop;
}

/* Says once in the log that cleaning fails, and once that it works again. */
static struct upkeep_event told(struct upkeep *upkeep, int code, const struct err *err)
{
    if (code != 0 && !upkeep->down && !stopping(upkeep))
        log_warning("upkeep", "users cannot be forgotten, nor old events deleted: %s", err->text);
    else if (code == 0 && upkeep->down)
        log_info("upkeep", "the store is kept again");
    upkeep->down = code != 0;
    return (struct upkeep_event){.kind = code == 0 ? UPKEEP_STEPPED : UPKEEP_FAILED};
}

static bool take_order(struct upkeep *upkeep)
{
    const struct upkeep_options *options = &upkeep->options;
    uint64_t cursor = queue_status(options->queue).cursor;
    bool held;

    pthread_mutex_lock(&upkeep->lock);
    held = upkeep->held > 0;
    pthread_mutex_unlock(&upkeep->lock);
    /* The order before the pass: what the forwarder takes up from then on keeps to it. */
    return !held && ledger_next_order(options->ledger, cursor, &upkeep->order) &&
           forward_pass(options->forward, PASS_MS);
}

static struct upkeep_event look(struct upkeep *upkeep)
{
    const struct upkeep_options *options = &upkeep->options;
    struct upkeep_rooms rooms = rooms_of(upkeep);
    uint64_t first = queue_status(options->queue).log.first;
    uint64_t failed;
    struct err err;
    int code = ledger_drop_orders(options->ledger, first, clock_wall_us() - KEEP_DONE_US, &err);

    if (code != 0)
        return told(upkeep, code, &err);
    if (!take_order(upkeep))
        return (struct upkeep_event){.kind = UPKEEP_NO_ORDER,
                                     .open = ledger_open_orders(options->ledger) > 0};
    /* The cursor has been there; should the store be put back meanwhile, what is erased here is
     * left out when its turn comes again. */
    code = clean_ledger(&rooms, &upkeep->order, upkeep->order.position, &failed, &err);
    if (code != 0)
        return told(upkeep, code, &err);
    upkeep->forgetting = (struct upkeep_walk){.began_us = clock_mono_us()};
    return (struct upkeep_event){.kind = UPKEEP_ORDER};
}

/* Into the status and the walk: what came of a step. */
static struct upkeep_event stepped(struct upkeep *upkeep, struct upkeep_walk *walk, int code,
                                   uint64_t rows, int64_t began_us, const struct err *err)
{
    bool forgetting = walk == &upkeep->forgetting;
    struct upkeep_event event = told(upkeep, code, err);

    pthread_mutex_lock(&upkeep->lock);
    upkeep->status.forgotten_rows += forgetting ? rows : 0;
    upkeep->status.expired_rows += forgetting ? 0 : rows;
    pthread_mutex_unlock(&upkeep->lock);
    walk->rows += rows;
    event.ended = walk->walk.ended;
    event.rows = rows;
    event.took_ms = (clock_mono_us() - began_us) / 1000;
    return event;
}

static struct upkeep_event forget(struct upkeep *upkeep)
{
    struct upkeep_rooms rooms = rooms_of(upkeep);
    struct upkeep_walk *walk = &upkeep->forgetting;
    int64_t began_us = clock_mono_us();
    uint64_t rows = 0;
    struct err err;
    int code = 0;

    /* It may have ended before, with a ledger that could not be written. */
    if (!walk->walk.ended)
        code = clean_store(&rooms, &upkeep->order, upkeep->options.step_rows, &walk->walk, &rows,
                           &err);
    if (code == 0 && walk->walk.ended) {
        code = ledger_forgotten(upkeep->options.ledger, &upkeep->order, &err);
        if (code == 0)
            log_info("upkeep", "an order to forget a user is done: %" PRIu64 " rows",
                     walk->rows + rows);
        if (code == ERR_NOT_FOUND) /* there is a newer one of that user */
            code = 0;
    }
    return stepped(upkeep, walk, code, rows, began_us, &err);
}

static struct upkeep_event expire(struct upkeep *upkeep)
{
    struct upkeep_walk *walk = &upkeep->expiring;
    int64_t began_us = clock_mono_us();
    uint64_t rows = 0;
    struct err err;
    int code = store_connect(upkeep->store, &err);

    if (code == 0)
        code = store_expire(upkeep->store, upkeep->before_us, upkeep->options.step_rows,
                            &walk->walk, &rows, &err);
    return stepped(upkeep, walk, code, rows, began_us, &err);
}

static void begin_run(struct upkeep *upkeep)
{
    upkeep->expiring = (struct upkeep_walk){.began_us = clock_mono_us()};
    upkeep->before_us = clock_wall_us() - upkeep->options.retention_ms * 1000;
}

static void end_run(struct upkeep *upkeep)
{
    const struct upkeep_walk *walk = &upkeep->expiring;
    char before[CLOCK_TEXT_SIZE];

    pthread_mutex_lock(&upkeep->lock);
    upkeep->status.last_run_us = (uint64_t)clock_wall_us();
    pthread_mutex_unlock(&upkeep->lock);
    if (walk->rows == 0)
        return;
    clock_format(before, upkeep->before_us);
    log_info("upkeep", "retention: %" PRIu64 " rows of before %s deleted in %.1f s", walk->rows,
             before, (double)(clock_mono_us() - walk->began_us) / 1e6);
}

static struct upkeep_event rest(struct upkeep *upkeep)
{
    bool poked;

    pthread_mutex_lock(&upkeep->lock);
    while (!upkeep->stopping && !upkeep->poked) {
        struct timespec until = {.tv_sec = upkeep->state.until_ms / 1000,
                                 .tv_nsec = upkeep->state.until_ms % 1000 * 1000000};

        if (upkeep->state.until_ms == INT64_MAX)
            pthread_cond_wait(&upkeep->wakes, &upkeep->lock);
        else if (pthread_cond_timedwait(&upkeep->wakes, &upkeep->lock, &until) != 0)
            break;
    }
    poked = upkeep->poked;
    upkeep->poked = false;
    pthread_mutex_unlock(&upkeep->lock);
    return (struct upkeep_event){.kind = poked ? UPKEEP_POKED : UPKEEP_TIME};
}

static struct upkeep_event perform(struct upkeep *upkeep, enum upkeep_action action)
{
    switch (action) {
    case UPKEEP_LOOK:
        return look(upkeep);
    case UPKEEP_FORGET:
        return forget(upkeep);
    case UPKEEP_EXPIRE:
        return expire(upkeep);
    case UPKEEP_REST:
        break;
    }
    return rest(upkeep);
}

void *upkeep_run(void *arg)
{
    struct upkeep *upkeep = arg;
    struct upkeep_event event = {.kind = UPKEEP_TIME};

    thread_name("upkeep");
    thread_background();
    while (!stopping(upkeep)) {
        bool expiring = upkeep->state.expiring;
        enum upkeep_action action = upkeep_step(&upkeep->state, &event, now_ms());

        if (!expiring && upkeep->state.expiring)
            begin_run(upkeep);
        if (expiring && !upkeep->state.expiring)
            end_run(upkeep);
        event = perform(upkeep, action);
    }
    return NULL;
}
