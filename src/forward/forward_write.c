/*
 * The writer: does what forward_step() decides, and tells it what came of it.
 *
 * Happy path: connect, read the store's cursor, write batch after batch, each with the
 * cursor in one database transaction, and tell ledger and queue. After any trouble with the
 * store it starts over at the store's own cursor, so an answer to COMMIT that was lost is
 * found out there.
 */
#include "forward/forward_priv.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"

enum { LOAD_WAIT_MS = 500, STOP_WAIT_MS = 10 };

static int64_t now_ms(void)
{
    return clock_mono_us() / 1000;
}

static void give_back(struct writer *writer)
{
    struct forward *forward = writer->forward;

    if (writer->slot == NULL)
        return;
    pthread_mutex_lock(&forward->lock);
    writer->slot->loaded = false;
    forward->write_slot = (forward->write_slot + 1) % SLOTS;
    pthread_mutex_unlock(&forward->lock);
    pthread_cond_signal(&forward->loader_wakes);
    writer->slot = NULL;
}

/* The store's cursor, made at ours if the store does not know this node. */
static int find_cursor(struct writer *writer)
{
    const struct forward_options *options = &writer->forward->options;
    const char *node = queue_node(options->queue);
    uint64_t here = queue_status(options->queue).cursor;
    int code = store_cursor(writer->forward->store, node, &writer->cursor, &writer->err);

    if (code == ERR_NOT_FOUND) {
        code = store_cursor_create(writer->forward->store, node, here, &writer->err);
        if (code == 0)
            code = store_cursor(writer->forward->store, node, &writer->cursor, &writer->err);
    }
    return code;
}

/* As with a delivery, the ledger may hear of the next one what it cannot note now: a disk that the
 * queue has filled gets free by forwarding alone. */
static void tell_cursor(struct writer *writer)
{
    struct err err;
    int code = ledger_set_cursor(writer->forward->options.ledger, writer->cursor, &err);

    if (code != 0) /* else it may be that nothing had to be written */
        note_ledger(writer, code, &err);
}

static struct forward_event connect_store(struct writer *writer)
{
    struct forward *forward = writer->forward;
    const struct forward_options *options = &forward->options;
    unsigned applied;
    int code;

    give_back(writer);
    if ((code = store_connect(forward->store, &writer->err)) != 0 ||
        (code = store_migrate(forward->store, &applied, &writer->err)) != 0 ||
        (code = find_cursor(writer)) != 0 ||
        (code = queue_cursor_found(options->queue, writer->cursor, forward_look, forward,
                                   &writer->err)) != 0 ||
        (code = ledger_reopen_from(options->ledger, writer->cursor, &writer->err)) != 0) {
        note_store(writer, false);
        return (struct forward_event){.kind = EVENT_UNAVAILABLE};
    }
    if (applied > 0)
        log_info("forward", "%u schema migration%s applied", applied, applied == 1 ? "" : "s");
    tell_cursor(writer);
    note_ahead(writer, writer->cursor);
    if (queue_status(options->queue).pending_transactions == 0 &&
        ledger_counts(options->ledger).retrying == 0)
        writer->unproven = false; /* there is nothing to show it by */
    if (!writer->unproven)
        note_store(writer, true);
    loader_seek(forward, writer->cursor);
    return (struct forward_event){.kind = EVENT_CONNECTED};
}

static struct forward_event conflict(struct writer *writer)
{
    struct forward *forward = writer->forward;

    pthread_mutex_lock(&forward->lock);
    forward->status.conflicts++;
    pthread_mutex_unlock(&forward->lock);
    note_unproven(writer);
    return (struct forward_event){.kind = EVENT_CONFLICT};
}

/* Servers and lines end sessions that have been idle: that is no outage, so before something is
 * stored there is one that is open. Whether the cursor is where it was then is asked by the write.
 */
static bool has_session(struct writer *writer)
{
    struct store *store = writer->forward->store;

    if (store_embedded(store) || store_connect(store, &writer->err) == 0)
        return true;
    note_unproven(writer); /* what is to be stored will show it */
    return false;
}

/* Gives those that are marked for it another try; EVENT_NOTHING if no trouble came of it. */
static struct forward_event retry(struct writer *writer)
{
    struct forward *forward = writer->forward;
    int code, noted;

    if (ledger_counts(forward->options.ledger).retrying > 0) {
        if (!has_session(writer))
            return (struct forward_event){.kind = EVENT_UNAVAILABLE};
        code = retry_marked(forward, &noted, &writer->err);
        if (code == ERR_CONFLICT)
            return conflict(writer);
        if (code != 0) {
            note_unproven(writer);
            return (struct forward_event){.kind = EVENT_UNAVAILABLE};
        }
        if (!forward->retries_wait)
            note_proven(writer);
        if (noted != 0) { /* nothing else waits for that; see tell_cursor() */
            note_ledger(writer, noted, &writer->err);
            forward->retries_wait = true;
        }
    }
    return (struct forward_event){.kind = EVENT_NOTHING};
}

static struct forward_event load(struct writer *writer)
{
    struct forward *forward = writer->forward;
    struct forward_event event = retry(writer);
    struct slot *slot;

    if (event.kind != EVENT_NOTHING)
        return event;
    pthread_mutex_lock(&forward->lock);
    slot = &forward->slots[forward->write_slot];
    if (!slot->loaded && !forward->poked)
        forward_wait(forward, &forward->writer_wakes,
                     forward->stopping ? STOP_WAIT_MS : LOAD_WAIT_MS);
    forward->poked = false;
    if (!slot->loaded)
        slot = NULL;
    pthread_mutex_unlock(&forward->lock);
    if (slot == NULL)
        return (struct forward_event){.kind = EVENT_NOTHING};
    if (!has_session(writer))
        return (struct forward_event){.kind = EVENT_UNAVAILABLE};
    writer->slot = slot;
    writer->passed = 0;
    return (struct forward_event){.kind = EVENT_BATCH, .count = store_batch_count(slot->batch)};
}

static const char *outcome_name(int code)
{
    switch (code) {
    case 0:
        return "stored";
    case ERR_REFUSED:
        return "refused";
    case ERR_CONFLICT:
        return "conflict";
    default:
        return "unavailable";
    }
}

/* The cursor is there; what the ledger could not be told of before that needs no telling now. */
static void note_passed(struct writer *writer, uint64_t to)
{
    if (to < writer->owed)
        return;
    writer->owed = 0;
    note_log(writer, 0, NULL);
}

/* Into the ledger: an attempt, and with a success the cursor. */
static void record_delivery(struct writer *writer, int outcome, int64_t took_us, uint64_t to)
{
    const struct forward_state *state = &writer->state;
    const struct slot *slot = writer->slot;
    struct ledger *ledger = writer->forward->options.ledger;
    struct ledger_delivery delivery = {
        .transactions = state->last - state->first,
        .rows = store_batch_rows(slot->batch, state->first, state->last),
        .started_us = clock_wall_us() - took_us,
        .duration_us = took_us,
        .outcome = slice_of(outcome_name(outcome)),
        .error = outcome == 0 ? (struct slice){0} : slice_of(writer->err.text),
    };
    struct err err;
    int code;

    if (state->last > state->first) {
        delivery.first = slot->positions[state->first];
        delivery.last = slot->positions[state->last - 1];
        code = outcome == 0 ? ledger_delivered_to(ledger, &delivery, to, &err)
                            : ledger_delivered(ledger, &delivery, &err);
    } else {
        code = outcome == 0 ? ledger_set_cursor(ledger, to, &err) : 0;
    }
    if (outcome == 0)
        note_passed(writer, to);
    note_ledger(writer, code, &err);
}

static void note_stored(struct writer *writer, uint64_t to)
{
    const struct forward_state *state = &writer->state;
    const struct slot *slot = writer->slot;
    size_t passed = state->last == state->count ? slot->taken : slot->ordinals[state->last];
    struct forward *forward = writer->forward;
    struct forward_status *status = &forward->status;

    /* First no longer ahead, then delivered: whoever counts meanwhile takes a failed one for
     * pending, never for stored. */
    note_ahead(writer, to);
    queue_delivered(forward->options.queue, to, passed - writer->passed);
    writer->cursor = to;
    writer->passed = passed;
    pthread_mutex_lock(&forward->lock);
    status->last_commit_us = clock_wall_us();
    status->batches++;
    status->transactions += state->last - state->first;
    status->rows += store_batch_rows(slot->batch, state->first, state->last);
    for (size_t i = state->first; i < state->last; i++)
        status->sessions[slot->sessions[i]]++;
    pthread_mutex_unlock(&forward->lock);
}

static struct forward_event write_range(struct writer *writer)
{
    const struct forward_state *state = &writer->state;
    struct forward *forward = writer->forward;
    const struct slot *slot = writer->slot;
    uint64_t to = state->last == state->count ? slot->end : slot->positions[state->last];
    int64_t started_us = clock_mono_us(); /* the clock on the wall may be set meanwhile */
    int code = store_write(forward->store, slot->batch, state->first, state->last,
                           queue_node(forward->options.queue), writer->cursor, to, &writer->err);

    record_delivery(writer, code, clock_mono_us() - started_us, to);
    switch (code) {
    case 0:
        note_stored(writer, to);
        note_proven(writer);
        return (struct forward_event){.kind = EVENT_STORED};
    case ERR_REFUSED: /* which shows nothing: behind it may be what cannot be stored */
        return (struct forward_event){.kind = EVENT_REFUSED};
    case ERR_CONFLICT:
        return conflict(writer);
    default:
        note_unproven(writer);
        return (struct forward_event){.kind = EVENT_UNAVAILABLE};
    }
}

/* The transaction at state.first is refused: the ledger has to know before the cursor passes it.
 * One that is damaged by now is the loader's to pass over: everything begins anew at the cursor.
 * While a full ledger is waited for nothing is loaded, so those that are to be tried again are
 * tried here: they may make room. Not before the cursor has passed all that failed. */
static struct forward_event fail_one(struct writer *writer)
{
    struct forward *forward = writer->forward;
    uint64_t position = writer->slot->positions[writer->state.first];
    struct err refusal = writer->err;
    struct err err = {0};
    bool is_new;
    int code;

    if (ledger_counts(forward->options.ledger).full && !writer->state.behind) {
        struct forward_event event = retry(writer);

        if (event.kind != EVENT_NOTHING)
            return event;
    }
    code = record_refusal(forward, position, slice_of(refusal.text), &is_new, &err);
    note_log(writer, code == ERR_UNAVAILABLE ? code : 0, &err);
    if (code == ERR_CONFLICT)
        return (struct forward_event){.kind = EVENT_CONFLICT};
    if (code != ERR_UNAVAILABLE) {
        writer->owed = code != 0 ? position + 1 : 0;
        note_ledger(writer, code, &err);
    }
    if (code != 0) {
        note_proven(writer); /* the store has answered: it is not what is waited for */
        return (struct forward_event){.kind = EVENT_UNAVAILABLE};
    }
    pthread_mutex_lock(&forward->lock);
    forward->status.refusals += is_new;
    pthread_mutex_unlock(&forward->lock);
    note_ahead(writer, writer->cursor);
    return (struct forward_event){.kind = EVENT_FAILED};
}

static struct forward_event wait_until(struct writer *writer)
{
    struct forward *forward = writer->forward;
    int64_t left = writer->state.retry_at_ms - now_ms();

    pthread_mutex_lock(&forward->lock);
    if (left > 0 && !forward->stopping)
        forward_wait(forward, &forward->writer_wakes, left);
    pthread_mutex_unlock(&forward->lock);
    return (struct forward_event){.kind = EVENT_TIME};
}

static struct forward_event perform(struct writer *writer, enum forward_action action)
{
    switch (action) {
    case ACTION_CONNECT:
        return connect_store(writer);
    case ACTION_FINISH:
        give_back(writer);
        return (struct forward_event){.kind = EVENT_NOTHING};
    case ACTION_LOAD:
        return load(writer);
    case ACTION_WRITE:
        return write_range(writer);
    case ACTION_FAIL:
        return fail_one(writer);
    case ACTION_WAIT:
        return wait_until(writer);
    }
    return (struct forward_event){.kind = EVENT_START};
}

/* While stopping: nothing is left, or nothing can be done about it. */
static bool done(struct writer *writer, enum forward_action action)
{
    struct forward *forward = writer->forward;
    bool stopping, now, waiting;

    pthread_mutex_lock(&forward->lock);
    stopping = forward->stopping;
    now = forward->stop_now;
    waiting = (forward->status.waiting || forward->sessions_wait) &&
              !forward->slots[forward->write_slot].loaded;
    pthread_mutex_unlock(&forward->lock);
    if (!stopping)
        return false;
    if (now || action == ACTION_WAIT)
        return true;
    return action == ACTION_LOAD &&
           (ledger_counts(forward->options.ledger).retrying == 0 || forward->retries_wait) &&
           (waiting || queue_status(forward->options.queue).pending_transactions == 0);
}

void *writer_run(void *arg)
{
    struct forward *forward = arg;
    struct writer writer = {
        .forward = forward,
        .state = {.retry_min_ms = forward->options.retry_min_ms,
                  .retry_max_ms = forward->options.retry_max_ms,
                  .random = (uint64_t)clock_wall_us() | 1},
    };
    struct forward_event event = {.kind = EVENT_START};

    thread_name("writer");
    if (store_embedded(forward->store)) /* with a server it only feeds, which must not starve */
        thread_background();
    for (;;) {
        enum forward_action action = forward_step(&writer.state, &event, now_ms());

        if (done(&writer, action))
            break;
        event = perform(&writer, action);
        pthread_mutex_lock(&forward->lock);
        forward->turns++;
        pthread_mutex_unlock(&forward->lock);
        pthread_cond_broadcast(&forward->turn_wakes);
    }
    pthread_mutex_lock(&forward->lock);
    forward->writer_stopped = true;
    pthread_mutex_unlock(&forward->lock);
    pthread_cond_broadcast(&forward->turn_wakes);
    pthread_cond_broadcast(&forward->stopped_wakes);
    return NULL;
}
