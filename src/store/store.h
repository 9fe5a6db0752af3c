/*
 * Where transactions end up: a table of operations, implemented for PostgreSQL and SQLite.
 *
 * A store handle is one connection and belongs to one thread at a time; open as many as
 * there are threads. Nothing here retries: the forwarder decides when to try again.
 *
 * Exactly once: store_write() moves this node's row of `forward_cursor` from the position
 * that it expects to the new one in the same database transaction as the rows, so a second
 * forwarder, or a COMMIT whose answer was lost, cannot store anything twice.
 *
 * Errors, for all that talk to the database:
 *   ERR_REFUSED      the content is refused (SQLSTATE classes 22, 23, 54 and P0; SQLite's
 *                    constraint, mismatch and too-big): trying the same again is useless
 *   ERR_CONFLICT     the cursor is not where it should be: read it again
 *   ERR_UNAVAILABLE  everything else (connection, resources, permissions, missing table,
 *                    disk, time limit): try later. The connection may be broken:
 *                    store_connect() again.
 * After any error nothing of the call is visible, except that a lost answer to COMMIT is
 * reported as ERR_UNAVAILABLE and may have been carried out: read the cursor.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "txn/txn.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;
struct store_batch;

/* Picks the kind by the URL: "sqlite:<path>", "postgres://..." or "postgresql://..." (as
 * libpq takes it). Does not connect. timeout_ms bounds every single operation, and each
 * single migration; only a sync of the disk may outlast it.
 * ERR_INVALID for another scheme; the words never contain a password. */
MUST_CHECK int store_open(const char *url, int64_t timeout_ms, struct store **ret, struct err *err);
void store_close(struct store *store);
const char *store_kind(const struct store *store); /* "postgres" or "sqlite" */
bool store_embedded(const struct store *store);    /* its work is done by the calling thread */

/* Connects, or connects anew if the connection is broken; nothing if it is good. */
MUST_CHECK int store_connect(struct store *store, struct err *err);

/* Makes an operation that runs in another thread fail soon, and all later ones at once, with
 * ERR_UNAVAILABLE. Any thread may call it as long as the handle is open. */
void store_interrupt(struct store *store);

/* Schema migrations, applied in the order of their names under a lock, each in one database
 * transaction with its row in schema_migration. A database that has one which is newer than
 * all that are compiled in is left alone. */
struct store_migration {
    int64_t version;    /* the date part of "<date>_<slug>.sql": 20261124 (or with a time) */
    const char *name;   /* the slug; static */
    int64_t applied_us; /* 0: not applied */
};
MUST_CHECK int store_migrate(struct store *store, unsigned *ret_applied, struct err *err);

/* Lists what is compiled in (at most `room` of them) and when each was applied. */
MUST_CHECK int store_migrations(struct store *store, struct store_migration *out, size_t room,
                                size_t *ret_count, struct err *err);

/* This node's cursor; ERR_NOT_FOUND if it has none yet. */
MUST_CHECK int store_cursor(struct store *store, const char *node, uint64_t *ret_position,
                            struct err *err);

/* Makes this node's cursor, if it has none yet. */
MUST_CHECK int store_cursor_create(struct store *store, const char *node, uint64_t position,
                                   struct err *err);

/*
 * A batch: transactions encoded for this kind of store, away from any connection. Encoding
 * happens in store_batch_add(), on whichever thread owns the batch at the time, so that the
 * next batch is encoded while the last one is being written.
 */
struct store_batch *store_batch_open(const struct store *store);
void store_batch_close(struct store_batch *batch);
void store_batch_reset(struct store_batch *batch); /* empties it, keeps its memory */

/* Copies what it needs. `id` has TXN_ID_SIZE - 1 characters; `product` is the name. */
void store_batch_add(struct store_batch *batch, const char *id, const char *product,
                     const struct txn *txn);
size_t store_batch_count(const struct store_batch *batch); /* transactions */
size_t store_batch_bytes(const struct store_batch *batch); /* encoded */
size_t store_batch_rows(const struct store_batch *batch, size_t first, size_t last);

/* Nobody is in a hurry: a server may get the batch in small pieces over so many microseconds, so
 * that it leaves the processors to others in between; never over more than a quarter of the time
 * limit. Until the next reset; 0, the default: as fast as it takes them. Embedded stores do not
 * heed it. */
void store_batch_spread(struct store_batch *batch, int64_t us);

/* Stores the transactions [first, last) of the batch (possibly none) and moves the cursor of
 * `node` from `from` to `to`, in one database transaction. */
MUST_CHECK int store_write(struct store *store, const struct store_batch *batch, size_t first,
                           size_t last, const char *node, uint64_t from, uint64_t to,
                           struct err *err);

/* Stores one transaction of the batch, whose position is given, unless a transaction of that id is
 * there already, in one database transaction: for failed ones that are tried again. The cursor's
 * row of `node` is locked meanwhile and does not move; ERR_CONFLICT if there is none, or if it has
 * not passed the position (any more): store_write() would store the transaction a second time. */
MUST_CHECK int store_put(struct store *store, const struct store_batch *batch, size_t index,
                         const char *node, uint64_t position, struct err *err);

/* What the store knows of one transaction. */
struct store_found {
    char product[TXN_MAX_PRODUCT_NAME + 1];
    bool has_pennkey;
    char pennkey[TXN_MAX_PENNKEY + 1];
    int64_t timestamp_us;
    int64_t received_us;
    uint32_t datapoints;
};
/* ERR_NOT_FOUND if it has no row of it. */
MUST_CHECK int store_find(struct store *store, const char *id, struct store_found *ret,
                          struct err *err);

/*
 * A walk over all rows in the order of their ids, some at a time: each step is a database
 * transaction of its own that looks at no more than `rows` of them, so that whoever writes never
 * waits for long. Begins as {0}; ended once nothing is left. After an error the same step
 * can be taken again. Rows that are stored while it goes on may be met or not.
 */
struct store_walk {
    int64_t after; /* the highest id that is done */
    bool ended;
};

/* What a user is to be forgotten in: rows of the transactions of `node` before `position`, and
 * of those that other nodes received before `received_us`. */
struct store_forgetting {
    struct slice user;
    struct slice alias; /* another name of the same user; at == NULL: none */
    bool erase;         /* the rows go; else their pennkey becomes null */
    const char *node;
    uint64_t position;
    int64_t received_us;
};

/* One step of forgetting; *ret_rows are the rows that it changed or deleted. */
MUST_CHECK int store_forget(struct store *store, const struct store_forgetting *what, unsigned rows,
                            struct store_walk *walk, uint64_t *ret_rows, struct err *err);

/* One step of deleting all rows whose timestamp is before `before_us`; else the same. */
MUST_CHECK int store_expire(struct store *store, int64_t before_us, unsigned rows,
                            struct store_walk *walk, uint64_t *ret_rows, struct err *err);

#endif
