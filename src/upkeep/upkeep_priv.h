/*
 * What the housekeeping thread and those who ask for a user to be forgotten share.
 */
#ifndef UPKEEP_PRIV_H
#define UPKEEP_PRIV_H

#include "upkeep/upkeep.h"

#include "upkeep/upkeep_step.h"

#include <pthread.h>

/* A walk over the store that is under way. */
struct upkeep_walk {
    struct store_walk walk;
    uint64_t rows;
    int64_t began_us; /* monotonic */
};

struct upkeep {
    struct upkeep_options options;
    struct store *store; /* the thread's; connects when there is something to do */

    pthread_mutex_t lock; /* of what follows; never held over I/O */
    pthread_cond_t wakes;
    bool stopping, poked;
    unsigned held; /* requests that clean by themselves: the thread takes up no order meanwhile */
    struct upkeep_status status;

    /* The thread's own. */
    struct upkeep_state state;
    struct ledger_order order;     /* that is being carried out */
    struct upkeep_walk forgetting; /* for it */
    struct upkeep_walk expiring;   /* rests while users are forgotten */
    int64_t before_us;             /* events of before are deleted in this run */
    bool down;                     /* said in the log */

    pthread_t thread;
};

/* upkeep_run.c */
void *upkeep_run(void *upkeep);

/* upkeep_forget.c: takes the user out of failed transactions and the store's words; *ret_count
 * are those that stand before `cursor`, the forwarder's when it was looked whether the order can be
 * done: the others are not erased yet. */
MUST_CHECK int clean_ledger(const struct upkeep_rooms *rooms, const struct ledger_order *order,
                            uint64_t cursor, uint64_t *ret_count, struct err *err);

/* One step in the store. */
MUST_CHECK int clean_store(const struct upkeep_rooms *rooms, const struct ledger_order *order,
                           unsigned step_rows, struct store_walk *walk, uint64_t *ret_rows,
                           struct err *err);

#endif
