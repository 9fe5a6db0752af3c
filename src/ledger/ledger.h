/*
 * What became of transactions, as far as it is news: the failed ones with their content
 * and reason, and the deliveries. A SQLite file in the data directory; the status of all
 * other transactions follows from the log and the cursor, and is not written anywhere.
 *
 * One handle may be used by several threads: calls take turns under a lock, so no HTTP loop
 * calls this room. A failed transaction whose retry was asked for is "retrying" until the
 * store has taken or refused it again; it counts as uncompleted.
 *
 * Errors: ERR_NOT_FOUND, ERR_FULL (no space; passes), ERR_IO, ERR_CORRUPT. After any error
 * nothing of the call is visible. After a failed sync all of the file is written anew before the
 * next write, since what the kernel dropped cannot be known; until that works, writes are refused
 * with ERR_IO.
 */
#ifndef LEDGER_LEDGER_H
#define LEDGER_LEDGER_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "txn/txn.h"

#include <stdbool.h>
#include <stdint.h>

struct ledger;

struct ledger_failed {
    uint64_t position;   /* in the log: the transaction's identity on this node */
    struct slice record; /* its encoding, see txn_decode() */
    struct slice reason; /* the store's words */
    uint32_t attempts;
    int64_t failed_us; /* the last time */
    bool retrying;
};

struct ledger_delivery {
    int64_t number;       /* counts up; given by ledger_delivered(), which ignores it */
    uint64_t first, last; /* positions of the first and last transaction */
    uint64_t transactions;
    uint64_t rows;
    int64_t started_us;
    int64_t duration_us;
    struct slice outcome; /* "stored", "refused", "unavailable", "conflict" */
    struct slice error;   /* at == NULL: none */
};

struct ledger_counts {
    uint64_t failed; /* not retrying */
    uint64_t retrying;
    uint64_t failed_bytes; /* of records, both kinds */
    uint64_t discarded;    /* ever */
    uint64_t max_failed;   /* of both kinds together; 0: no bound was set */
    uint64_t max_bytes;
    bool full; /* one of the bounds is reached */
};

/* Opens or makes <path>. Keeps the last `deliveries_kept` deliveries. ERR_UNSUPPORTED for a
 * file of a newer version, ERR_CORRUPT for one that is no ledger: both stay as they are.
 * Several processes may have an existing file open, and wait for each other's writes (for
 * 5 s, then ERR_IO); making it is for one at a time. Counts, cursor and the farthest that was
 * discarded are those that this handle loaded and changed. */
MUST_CHECK int ledger_open(const char *path, uint64_t deliveries_kept, struct ledger **ret,
                           struct err *err);
void ledger_close(struct ledger *ledger);

/* Bounds what is kept of failed transactions, of both kinds. Any thread. */
void ledger_bound(struct ledger *ledger, uint64_t max_failed, uint64_t max_bytes);

/* The last cursor that the store is known to have; 0 if never set. Setting is durable on
 * return, and without a sync if nothing changes. */
MUST_CHECK int ledger_cursor(struct ledger *ledger, uint64_t *ret_position, struct err *err);
MUST_CHECK int ledger_set_cursor(struct ledger *ledger, uint64_t position, struct err *err);

/* Those at or behind `position` (the store's cursor) are met again in the ordinary way: a retry
 * that was asked for ends, but they stay failed until the store has taken them
 * (ledger_delivered_to), for an order that it got earlier may yet move its cursor past them.
 * Durable on return. */
MUST_CHECK int ledger_reopen_from(struct ledger *ledger, uint64_t position, struct err *err);

/* How many failed ones, not retrying, stand at or behind `position`. Reads the disk. */
MUST_CHECK int ledger_ahead(struct ledger *ledger, uint64_t position, uint64_t *ret,
                            struct err *err);

/* Records a failure (again: attempts grow, retrying ends). ERR_FULL also for a new one beyond a
 * bound. Durable on return. */
MUST_CHECK int ledger_fail(struct ledger *ledger, uint64_t position, struct slice record,
                           struct slice reason, int64_t now_us, struct err *err);

/* Marks one for another try; ERR_NOT_FOUND if it is not failed (a retrying one is not).
 * Durable on return. */
MUST_CHECK int ledger_retry(struct ledger *ledger, uint64_t position, struct err *err);

/* The store has taken a retrying one: forgets it. ERR_NOT_FOUND if it is not retrying. Not
 * durable by itself: after a power cut it may be retrying again, and store_put() knows. */
MUST_CHECK int ledger_recovered(struct ledger *ledger, uint64_t position, struct err *err);

/* Deletes a failed one for good; ERR_NOT_FOUND if it is not failed (a retrying one is not:
 * the store may be taking it just now). Durable on return. */
MUST_CHECK int ledger_discard(struct ledger *ledger, uint64_t position, struct err *err);

/* Was this one discarded? Behind the farthest one that was, where it mostly is, from memory. */
MUST_CHECK int ledger_discarded(struct ledger *ledger, uint64_t position, bool *ret,
                                struct err *err);

/* Reads one of either kind; its slices live in *storage, which is emptied first and which
 * the caller frees. */
MUST_CHECK int ledger_find(struct ledger *ledger, uint64_t position, struct ledger_failed *ret,
                           struct buf *storage, struct err *err);

/* Calls `each` for failed ones behind position `after`, oldest first, at most `limit`;
 * `retrying` selects the kind. Slices live until `each` returns; non-zero from it ends the
 * walk, which returns it if it is negative. `each` runs outside the lock and may call this
 * room; changes ahead of the walk are seen by it. */
typedef int ledger_failed_visitor(void *arg, const struct ledger_failed *failed);
MUST_CHECK int ledger_each_failed(struct ledger *ledger, bool retrying, uint64_t after,
                                  bool from_start, unsigned limit, ledger_failed_visitor *each,
                                  void *arg, struct err *err);

/* Records one attempt to deliver. A power cut may lose the last ones. */
MUST_CHECK int ledger_delivered(struct ledger *ledger, const struct ledger_delivery *delivery,
                                struct err *err);

/* The same together with ledger_set_cursor(), in one step and with one sync: for deliveries
 * that the store has taken. What had failed of them before is forgotten. Durable on return. */
MUST_CHECK int ledger_delivered_to(struct ledger *ledger, const struct ledger_delivery *delivery,
                                   uint64_t cursor, struct err *err);

typedef int ledger_delivery_visitor(void *arg, const struct ledger_delivery *delivery);
MUST_CHECK int ledger_each_delivery(struct ledger *ledger, unsigned limit,
                                    ledger_delivery_visitor *each, void *arg,
                                    struct err *err); /* newest first, else the same */

/*
 * Orders to forget a user. One holds for this node's transactions before its position, wherever
 * they are: in the log, in the store, here. It is open until ledger_forgotten().
 */
struct ledger_order {
    char user[TXN_MAX_PENNKEY + 1]; /* a pennkey */
    bool erase;                     /* the transactions go; else they are nobody's */
    uint64_t position;
    int64_t ordered_us;
    bool done;
};

/* Records an order, or moves the one of this user and kind on; ERR_FULL if `most` are recorded,
 * ERR_INVALID for no pennkey. Durable on return. */
MUST_CHECK int ledger_forget(struct ledger *ledger, struct slice user, bool erase,
                             uint64_t position, int64_t now_us, uint64_t most,
                             struct ledger_order *ret, struct err *err);

/* It has been carried out; ERR_NOT_FOUND if it has moved on or been given again meanwhile. Durable
 * on return. */
MUST_CHECK int ledger_forgotten(struct ledger *ledger, const struct ledger_order *order,
                                struct err *err);

/* Drops those that are done, of before that instant, and whose position is not behind this one:
 * where the log begins. */
MUST_CHECK int ledger_drop_orders(struct ledger *ledger, uint64_t position, int64_t before_us,
                                  struct err *err);

/* The oldest open order whose position the cursor has reached; false if there is none. From
 * memory, as the next two. */
bool ledger_next_order(struct ledger *ledger, uint64_t cursor, struct ledger_order *ret);
uint64_t ledger_open_orders(struct ledger *ledger);

/* What the orders say of a transaction of this log and this pennkey. Any thread, cheap. */
enum ledger_verdict { LEDGER_KEEP, LEDGER_ANONYMISE, LEDGER_ERASE };
enum ledger_verdict ledger_verdict(struct ledger *ledger, uint64_t position, struct slice user);

/* Puts another record in the place of a failed or retrying one's. ERR_NOT_FOUND if there is
 * none. Durable on return, as all of these. */
MUST_CHECK int ledger_replace(struct ledger *ledger, uint64_t position, struct slice record,
                              struct err *err);

/* Deletes a failed or retrying one for good, which counts as discarded; else the same. */
MUST_CHECK int ledger_erase(struct ledger *ledger, uint64_t position, struct err *err);

/* Replaces a text in all reasons and in the errors of deliveries. */
MUST_CHECK int ledger_mask(struct ledger *ledger, struct slice text, struct slice by,
                           struct err *err);

/* All of one instant, from memory: never waits for the disk. Any thread. */
struct ledger_counts ledger_counts(struct ledger *ledger);

#endif
