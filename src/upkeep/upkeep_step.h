/*
 * Deciding what to do next: a pure function of state, event and time.
 *
 * Forgetting users goes before deleting old events, and takes over between two steps of that.
 * Old events are looked for where they mostly are, at the lowest ids, until a step finds none;
 * every UPKEEP_FULL_EVERY runs, and in the first one, the whole table is gone through, for clients
 * say when an event was and may say anything.
 */
#ifndef UPKEEP_STEP_H
#define UPKEEP_STEP_H

#include <stdbool.h>
#include <stdint.h>

enum { UPKEEP_FULL_EVERY = 24, UPKEEP_LOOK_MS = 500 };

struct upkeep_state {
    int64_t interval_ms; /* between two runs that delete old events; 0: none */
    int64_t retry_min_ms, retry_max_ms;

    bool forgetting; /* an order has been taken up */
    bool expiring;   /* a run is under way; it rests while users are forgotten */
    bool full;       /* that run goes through the whole table */
    unsigned runs;
    unsigned failures; /* in a row */
    int64_t next_run_ms;
    int64_t until_ms; /* of a rest */
};

enum upkeep_event_kind {
    UPKEEP_TIME,     /* a rest is over */
    UPKEEP_POKED,    /* there may be an order */
    UPKEEP_ORDER,    /* one has been taken up */
    UPKEEP_NO_ORDER, /* none can be taken up now */
    UPKEEP_STEPPED,  /* a step of what was wanted is done */
    UPKEEP_FAILED,   /* the store, or the ledger, could not do it now */
};

struct upkeep_event {
    enum upkeep_event_kind kind;
    bool open;       /* of NO_ORDER: some wait until they can be */
    bool ended;      /* of STEPPED: there is nothing behind it */
    uint64_t rows;   /* of STEPPED: changed or deleted */
    int64_t took_ms; /* of STEPPED */
};

enum upkeep_action {
    UPKEEP_LOOK,   /* for an order, and take it up */
    UPKEEP_FORGET, /* one step */
    UPKEEP_EXPIRE, /* one step */
    UPKEEP_REST,   /* until state.until_ms, or until poked */
};

enum upkeep_action upkeep_step(struct upkeep_state *state, const struct upkeep_event *event,
                               int64_t now_ms);

#endif
