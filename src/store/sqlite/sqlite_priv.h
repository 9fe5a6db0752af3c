/*
 * The SQLite store, in parts: connect.c opens the file and keeps to the time limit, error.c
 * puts codes and words on what SQLite answers, statement.c keeps prepared statements,
 * encode.c packs a batch's rows, and write.c, read.c, change.c and schema.c are the operations.
 *
 * The file is in WAL mode with synchronous=FULL: a COMMIT that returned is on the disk. SQLite
 * works on the caller's thread; its busy handler looks at the deadline, its progress handler at the
 * time that it worked, and both at the interruption: so these end a wait for a lock as well as a
 * long statement. What cannot be ended is a write or a sync that the operating system has begun.
 */
#ifndef STORE_SQLITE_SQLITE_PRIV_H
#define STORE_SQLITE_SQLITE_PRIV_H

#include "store/store_priv.h"

#include <sqlite3.h>

enum store_sqlite_statement {
    STATEMENT_INSERT_MANY,
    STATEMENT_INSERT_ONE,
    STATEMENT_MOVE,
    STATEMENT_CURSOR,
    STATEMENT_CURSOR_CREATE,
    STATEMENT_KNOWN,
    STATEMENT_FIND,
    STATEMENT_STEP,
    STATEMENT_ANONYMISE,
    STATEMENT_ERASE,
    STATEMENT_EXPIRE,
    STATEMENT_HAS_MIGRATIONS,
    STATEMENT_MIGRATIONS,
    STATEMENT_MIGRATED,
    STATEMENT_COUNT,
};

/* Rows in one statement of STATEMENT_INSERT_MANY. */
enum { STORE_SQLITE_ROWS = 32 };

struct store_sqlite {
    struct store store;
    char *path;
    sqlite3 *database; /* NULL: not open, or broken */
    bool unwinding;    /* a rollback is not to be stopped by deadline or interruption */
    sqlite3_stmt *statements[STATEMENT_COUNT]; /* prepared when first used */
};

static inline struct store_sqlite *store_sqlite_of(struct store *store)
{
    return (struct store_sqlite *)store;
}

/* connect.c */
int store_sqlite_open(const char *url, struct store **ret, struct err *err);
void store_sqlite_close(struct store *store);
int store_sqlite_connect(struct store *store, struct err *err);

/* Closes the file. */
void store_sqlite_break(struct store_sqlite *sqlite);

/* That the path still leads to the file that is open: SQLite would go on writing to a file
 * that somebody has removed. ERR_UNAVAILABLE also if nothing is open. */
int store_sqlite_check(struct store_sqlite *sqlite, struct err *err);

/* error.c: code and words of a result code of SQLite, as sqlite3_errmsg() has them now.
 * ERR_REFUSED for constraint, mismatch and too big, else ERR_UNAVAILABLE. */
int store_sqlite_refusal(struct store_sqlite *sqlite, int result, const char *doing,
                         struct err *err);

/* statement.c */

/* A statement with its old bindings, ready to bind and step. It needs a reset after use. */
int store_sqlite_prepare(struct store_sqlite *sqlite, enum store_sqlite_statement which,
                         sqlite3_stmt **ret, struct err *err);

/* Whether the tables are still such that it could be prepared. */
bool store_sqlite_compiles(struct store_sqlite *sqlite, enum store_sqlite_statement which);

/* Steps a statement that gives no rows, resets it. */
int store_sqlite_run(struct store_sqlite *sqlite, sqlite3_stmt *statement, struct err *err);

/* Steps to the next row: *ret_row is false behind the last one. */
int store_sqlite_row(struct store_sqlite *sqlite, sqlite3_stmt *statement, bool *ret_row,
                     struct err *err);

/* Runs SQL text without results. */
int store_sqlite_exec(struct store_sqlite *sqlite, const char *sql, struct err *err);

/* After an error: rolls back what is open; breaks the handle if that fails. */
void store_sqlite_recover(struct store_sqlite *sqlite);

/* Binds text that lives until the statement is reset; null if it is absent. */
void store_sqlite_bind(sqlite3_stmt *statement, int index, struct slice text);

struct slice store_sqlite_text(sqlite3_stmt *statement, int column);

/* encode.c: a batch's rows, packed; and the walk over them. */
void store_sqlite_encode(struct buf *out, const char *id, const char *product,
                         const struct txn *txn);

enum { STORE_SQLITE_COLUMNS = 7 };

/* One datapoint as columns that borrow from the batch, in this order: transaction_id,
 * product, pennkey, timestamp, received_at, datapoint, value. */
struct store_sqlite_rows {
    struct slice rest; /* of the batch */
    uint32_t left;     /* datapoints of this transaction */
    struct slice columns[STORE_SQLITE_COLUMNS];
};

/* Goes to the next row; false behind the last one. */
bool store_sqlite_next(struct store_sqlite_rows *rows);

/* write.c */
int store_sqlite_write(struct store *store, const struct store_batch *batch, size_t first,
                       size_t last, const char *node, uint64_t from, uint64_t to, struct err *err);
int store_sqlite_put(struct store *store, const struct store_batch *batch, size_t index,
                     const char *node, uint64_t position, struct err *err);

/* read.c */
int store_sqlite_cursor(struct store *store, const char *node, uint64_t *ret_position,
                        struct err *err);
int store_sqlite_cursor_create(struct store *store, const char *node, uint64_t position,
                               struct err *err);
int store_sqlite_find(struct store *store, const char *id, struct store_found *ret,
                      struct err *err);

/* change.c */
int store_sqlite_change(struct store *store, const struct store_change *what, unsigned rows,
                        struct store_walk *walk, uint64_t *ret_rows, struct err *err);

/* schema.c */
int store_sqlite_schema_read(struct store *store, struct buf *applied, struct err *err);
int store_sqlite_schema_lock(struct store *store, struct err *err);
int store_sqlite_schema_apply(struct store *store, const struct store_script *script,
                              struct err *err);
void store_sqlite_schema_unlock(struct store *store);

#endif
