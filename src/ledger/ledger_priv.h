/*
 * What only this room knows: the handle, its statements, and how a write begins and ends.
 *
 * Inner functions return SQLite's result codes; the public ones turn the first bad code
 * into an error with words. LEDGER_ABSENT is the one code of our own: the row is not there.
 */
#ifndef LEDGER_LEDGER_PRIV_H
#define LEDGER_LEDGER_PRIV_H

#include "ledger/ledger.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

/* SQLite itself never returns it from a statement. */
#define LEDGER_ABSENT SQLITE_NOTFOUND

enum ledger_statement {
    LEDGER_BEGIN,
    LEDGER_COMMIT,
    LEDGER_ROLLBACK,
    LEDGER_COUNT,
    LEDGER_GET_META,
    LEDGER_SET_META,
    LEDGER_NOTE_DISCARDED,
    LEDGER_FIND_DISCARDED,
    LEDGER_FIND,
    LEDGER_NEXT,
    LEDGER_KIND,
    LEDGER_FAIL,
    LEDGER_RETRY,
    LEDGER_REMOVE,
    LEDGER_REOPEN,
    LEDGER_AHEAD,
    LEDGER_STORED,
    LEDGER_LAST_DELIVERY,
    LEDGER_DELIVER,
    LEDGER_TRIM,
    LEDGER_DELIVERY_BEFORE,
    LEDGER_ORDERS,
    LEDGER_ORDER,
    LEDGER_DROP_ORDERS,
    LEDGER_REPLACE,
    LEDGER_MASK_REASONS,
    LEDGER_MASK_ERRORS,
    LEDGER_STATEMENTS,
};

/* What a commit waits for. A soft one may be lost in a power cut, though not in a crash of
 * the process, and is on disk at the latest with the next durable one. */
enum ledger_sync { LEDGER_SOFT, LEDGER_DURABLE };

#define LEDGER_PATH_SIZE 4224

/* The orders to forget users, by user and kind. */
struct ledger_orders {
    struct ledger_order *list;
    size_t count, room;
    uint64_t open;
    atomic_uint_fast64_t until; /* the farthest position of them all */
};

struct ledger {
    pthread_mutex_t lock; /* over all of this but the counts */
    char path[LEDGER_PATH_SIZE - 64];
    sqlite3 *db; /* NULL: a file that was mended could not be opened again yet */
    sqlite3_stmt *statements[LEDGER_STATEMENTS];
    enum ledger_sync sync; /* in force on the connection */
    bool broken;           /* a sync has failed: nothing is written before it is mended */
    int64_t mended_us;     /* when mending was last tried (monotonic); 0: not since it worked */
    int system;            /* errno of the last call of SQLite, which forgets it itself */
    uint64_t cursor;
    int64_t next_delivery;
    int64_t deliveries_kept;
    atomic_uint_fast64_t discarded_until; /* the end of the farthest that was discarded */

    pthread_mutex_t counts_lock; /* over the counts; never held over I/O */
    struct ledger_counts counts;

    /* Written with both locks held, read with either; never held over I/O. */
    pthread_mutex_t orders_lock;
    struct ledger_orders orders;
};

/* The key of a position; beyond the range of keys, the last one. */
static inline int64_t ledger_key(uint64_t position)
{
    return position > INT64_MAX ? INT64_MAX : (int64_t)position;
}

/* Runs SQL that is not worth a prepared statement. */
MUST_CHECK int ledger_exec(struct ledger *ledger, const char *text);

/* Prepares the statements. The connection has its tables. */
MUST_CHECK int ledger_prepare(struct ledger *ledger);

/* ledger_open.c: opens the file, configures it and prepares the statements; for one that is a
 * ledger. And the reverse. SQLite's codes. */
MUST_CHECK int ledger_connect(struct ledger *ledger);
void ledger_disconnect(struct ledger *ledger);

/* ledger_mend.c: writes everything anew after a failed sync, at most once a second; lock held.
 * And at open: ends what a crash interrupted. */
MUST_CHECK int ledger_mend(struct ledger *ledger);
MUST_CHECK int ledger_finish_mending(struct ledger *ledger);

/* The statement, for binding; lock held, for mending makes other ones. */
sqlite3_stmt *ledger_statement(struct ledger *ledger, enum ledger_statement which);

/* Binds text or a blob that outlives the statement's run; at == NULL becomes "". */
int ledger_bind_text(sqlite3_stmt *statement, int index, struct slice text);
int ledger_bind_blob(sqlite3_stmt *statement, int index, struct slice bytes);

/* Runs to the end and unbinds. */
MUST_CHECK int ledger_run(struct ledger *ledger, enum ledger_statement which);

/* Steps to the first row, or to the next one: SQLITE_OK, or LEDGER_ABSENT if there is none. After
 * reading a row, and only after SQLITE_OK, ledger_done() runs to the end and unbinds; whatever
 * else it gave, it has unbound, and another step would begin anew. */
MUST_CHECK int ledger_row(struct ledger *ledger, enum ledger_statement which);
MUST_CHECK int ledger_done(struct ledger *ledger, enum ledger_statement which);

/* A write, with the lock held: ledger_begin(), statements while all is SQLITE_OK, then
 * ledger_finish() with the code reached: it commits, or undoes and returns an error that
 * begins with the given words. */
MUST_CHECK int ledger_begin(struct ledger *ledger, enum ledger_sync sync);
MUST_CHECK int ledger_finish(struct ledger *ledger, int code, struct err *err, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* The error that fits SQLite's code, with the given words in front; lock held. */
int ledger_fault(struct ledger *ledger, int code, struct err *err, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* Copies a text or blob of the current row behind what is in *storage, returns its length. */
size_t ledger_copy(sqlite3_stmt *statement, int column, struct buf *storage);

/* Deletes a transaction of this kind and notes that it was discarded, inside a write; adds to
 * *change. */
MUST_CHECK int ledger_discard_one(struct ledger *ledger, uint64_t position, bool retrying,
                                  struct ledger_counts *change);

/* Reads the orders into memory, at open. */
MUST_CHECK int ledger_load_orders(struct ledger *ledger);

/* Counts what is there, anew. */
MUST_CHECK int ledger_count(struct ledger *ledger, struct ledger_counts *ret);

/* Adds to the counts in memory; differences wrap, so that a decrease is one too. */
void ledger_counts_add(struct ledger *ledger, struct ledger_counts change);
void ledger_counts_change(struct ledger *ledger, const struct ledger_counts *before,
                          const struct ledger_counts *after);

#endif
