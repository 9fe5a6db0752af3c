/*
 * Keeping house in the store: users are forgotten there, and old events deleted.
 *
 * Who is to be forgotten is first an order in the ledger, which is durable and from then on holds
 * for all that reads the queue. What is in the store and among the failed ones is cleaned
 * at once as far as possible. It is done once the store has been cleaned behind the last
 * transaction that the order holds for, and the forwarder has nothing in its hands that it took
 * up before; a thread sees to that, however often the store and the engine go down meanwhile.
 *
 * The same thread deletes events that are older than they may be. All changes of the store are
 * made in steps of a bounded number of rows, with a pause as long as the step between two.
 */
#ifndef UPKEEP_UPKEEP_H
#define UPKEEP_UPKEEP_H

#include "base/err.h"
#include "base/slice.h"
#include "forward/forward.h"
#include "ledger/ledger.h"
#include "queue/queue.h"
#include "store/store.h"
#include "users/users.h"

#include <stdbool.h>
#include <stdint.h>

struct upkeep;

struct upkeep_options {
    struct queue *queue; /* borrowed, as all that follows */
    struct ledger *ledger;
    struct users *users;
    struct forward *forward;
    const char *store_url;
    int64_t store_timeout_ms;
    int64_t retry_min_ms; /* pause after the store failed; it doubles ... */
    int64_t retry_max_ms; /* ... up to this */
    int64_t retention_ms; /* events older than this are deleted; 0: never */
    int64_t interval_ms;  /* between two looks for such events */
    unsigned step_rows;
};

/* ERR_INVALID for a store URL that is none. Does not wait for the store. */
MUST_CHECK int upkeep_start(const struct upkeep_options *options, struct upkeep **ret,
                            struct err *err);
void upkeep_stop(struct upkeep *upkeep); /* soon: a step under way is interrupted */

struct upkeep_status {
    uint64_t forgotten_rows; /* changed or deleted in the store since the start */
    uint64_t expired_rows;
    uint64_t open_orders;
    uint64_t last_run_us; /* the end of the last look for old events (wall clock); 0: none yet */
};
struct upkeep_status upkeep_status(struct upkeep *upkeep); /* any thread */

/* With what a user is forgotten, by one thread. */
struct upkeep_rooms {
    struct queue *queue; /* borrowed, as the others */
    struct ledger *ledger;
    struct users *users;
    struct forward *forward; /* NULL: no engine runs */
    struct upkeep *upkeep;   /* NULL: no engine runs */
    struct store *store;
};

struct upkeep_request {
    struct slice user; /* a pennkey */
    bool erase;        /* the transactions go; else they become nobody's */
    uint64_t most;     /* orders recorded at a time */
    unsigned step_rows;
    int64_t patience_ms; /* for the store */
};

struct upkeep_forgotten {
    bool cleaned;  /* the store has been looked through as a whole */
    uint64_t rows; /* of it, changed or deleted */
    uint64_t queued;
    uint64_t failed; /* transactions */
    bool pending;    /* the order is still open: the engine will carry it out */
};

/* Orders that a user be forgotten in all that has been accepted up to now, and does at once what
 * can be done. When it returns 0 the order is durable. ERR_FULL if too many are recorded,
 * ERR_INVALID for no pennkey, or the ledger's errors. */
MUST_CHECK int upkeep_forget(const struct upkeep_rooms *rooms, const struct upkeep_request *request,
                             struct upkeep_forgotten *ret, struct err *err);

#endif
