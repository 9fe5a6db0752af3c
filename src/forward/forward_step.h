/*
 * Deciding what to do next: a pure function of state, event and time.
 *
 * The range [first, last) of the batch's transactions is being written. A refusal halves
 * it until one transaction stands alone and is failed; a success doubles what is tried next,
 * so that k bad ones among n cost about k log n attempts.
 *
 * A write that was not answered may have been too much for the time limit: the next one is half of
 * it, also in later batches, and those that come through let it grow again, by little, for each
 * that is too much costs the whole time limit.
 */
#ifndef FORWARD_STEP_H
#define FORWARD_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum forward_phase {
    PHASE_DOWN,    /* no connection: connect, or wait until it is time to */
    PHASE_IDLE,    /* connected, no batch */
    PHASE_BATCH,   /* connected, writing [first, last) of `count` */
    PHASE_FAILING, /* transaction `first` is refused: the ledger must know before the cursor moves
                    */
};

struct forward_state {
    enum forward_phase phase;
    size_t first, last, count;
    size_t width;      /* transactions to try at once; 0: all */
    size_t most;       /* of them that the store can do in time; 0: not known */
    bool behind;       /* the store's cursor has yet to pass failed or damaged ones */
    unsigned failures; /* in a row */
    int64_t retry_at_ms;
    int64_t retry_min_ms, retry_max_ms;
    uint64_t random; /* any seed but 0 */
};

enum forward_event_kind {
    EVENT_START,
    EVENT_TIME,        /* a wait is over */
    EVENT_CONNECTED,   /* the connection stands and the store's cursor is known; no batch */
    EVENT_BATCH,       /* a batch of `count` transactions is there */
    EVENT_NOTHING,     /* no batch is there yet */
    EVENT_STORED,      /* [first, last) is in the store */
    EVENT_REFUSED,     /* the store refuses something in [first, last) */
    EVENT_UNAVAILABLE, /* the store, or the ledger while failing, cannot do it now */
    EVENT_CONFLICT,    /* the store's cursor is elsewhere, or the log is not as it was */
    EVENT_FAILED,      /* the ledger has the refused transaction */
};

struct forward_event {
    enum forward_event_kind kind;
    size_t count;
};

enum forward_action {
    ACTION_CONNECT, /* connect, read the cursor, set the loader to it */
    ACTION_LOAD,    /* fetch the next batch, or wait a little for one */
    ACTION_WRITE,   /* store [state.first, state.last), maybe none, and the cursor */
    ACTION_FAIL,    /* hand transaction state.first to the ledger */
    ACTION_FINISH,  /* the batch is done with: give it back, then fetch the next */
    ACTION_WAIT,    /* until state.retry_at_ms */
};

enum forward_action forward_step(struct forward_state *state, const struct forward_event *event,
                                 int64_t now_ms);

#endif
