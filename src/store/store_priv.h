/*
 * What the two kinds of store share inside this room: the table of operations that each of
 * them fills in, the handle and the batch that both extend, and the compiled-in migrations.
 *
 * The public functions (store.c, migrate.c) set the deadline and refuse an interrupted
 * handle; an operation of the table keeps to both by itself, and may assume neither a
 * connection nor a schema.
 */
#ifndef STORE_STORE_PRIV_H
#define STORE_STORE_PRIV_H

#include "store/store.h"

#include <stdatomic.h>

/* One migration as compiled in by cmake/migrations.cmake. */
struct store_script {
    int64_t version;
    const char *name;
    const char *sql;
};

struct store_scripts {
    const struct store_script *list; /* in the order to apply them */
    size_t count;
};

extern const struct store_scripts store_scripts_postgres;
extern const struct store_scripts store_scripts_sqlite;

/* A row of schema_migration. */
struct store_applied {
    int64_t version;
    int64_t applied_us;
};

struct store {
    const struct store_ops *ops;
    int64_t timeout_us;
    int64_t deadline_us;     /* monotonic; of the operation that runs */
    int64_t worked_us;       /* clock_worked_us() when it began */
    atomic_bool interrupted; /* for good */
    int wake_fd;             /* readable once interrupted */
};

/* A transaction of a batch ends here; it starts where the one before it ends. */
struct store_mark {
    size_t end;      /* in bytes */
    size_t end_rows; /* rows up to here */
    char id[TXN_ID_SIZE];
};

struct store_batch {
    const struct store_ops *ops;
    struct buf bytes; /* encoded transactions, back to back */
    struct store_mark *marks;
    size_t count;
    size_t room;
    int64_t spread_us; /* 0: at once */
};

/* What is done to the rows of a step, and to which of them; all as text. */
enum store_change_kind { STORE_ANONYMISE, STORE_ERASE, STORE_EXPIRE, STORE_CHANGES };
enum { STORE_CHANGE_VALUES = 4 };

struct store_change {
    enum store_change_kind kind;
    /* Of EXPIRE: an instant. Else: user, alias, the id that a node's transactions are before,
     * and the instant that those of other nodes were received before. */
    struct slice values[STORE_CHANGE_VALUES];
    int count;
};

struct store_ops {
    const char *kind;
    bool embedded;
    const struct store_scripts *scripts;

    /* Makes a handle of its own size with a zeroed `struct store` at its start. */
    int (*open)(const char *url, struct store **ret, struct err *err);
    void (*close)(struct store *store);
    int (*connect)(struct store *store, struct err *err);

    /* Migration: read() appends one struct store_applied a row and nothing if there is no
     * schema_migration yet; lock() begins a transaction that excludes other migrators, and
     * apply() (runs the script, adds its row, commits) or unlock() (rolls back) ends it. */
    int (*schema_read)(struct store *store, struct buf *applied, struct err *err);
    int (*schema_lock)(struct store *store, struct err *err);
    int (*schema_apply)(struct store *store, const struct store_script *script, struct err *err);
    void (*schema_unlock)(struct store *store);

    int (*cursor)(struct store *store, const char *node, uint64_t *ret_position, struct err *err);
    int (*cursor_create)(struct store *store, const char *node, uint64_t position, struct err *err);

    /* Appends one transaction to `out` in the form that write() and put() want. */
    void (*encode)(struct buf *out, const char *id, const char *product, const struct txn *txn);
    int (*write)(struct store *store, const struct store_batch *batch, size_t first, size_t last,
                 const char *node, uint64_t from, uint64_t to, struct err *err);
    int (*put)(struct store *store, const struct store_batch *batch, size_t index, const char *node,
               uint64_t position, struct err *err);
    int (*find)(struct store *store, const char *id, struct store_found *ret, struct err *err);

    /* One step: finds the id that ends it and whether it is the last one, then changes the
     * rows up to there that `what` describes. */
    int (*change)(struct store *store, const struct store_change *what, unsigned rows,
                  struct store_walk *walk, uint64_t *ret_rows, struct err *err);
};

extern const struct store_ops store_postgres;
extern const struct store_ops store_sqlite;

/* Starts the clock of an operation; ERR_UNAVAILABLE if the handle is interrupted. */
int store_begin(struct store *store, struct err *err);

/* Microseconds until the deadline, 0 if it has passed. */
int64_t store_left_us(const struct store *store);

/* Whether the operation took all of its time on the processor, on the thread that began it. */
bool store_worked_long(const struct store *store);

bool store_interrupted(const struct store *store);

/* The words for a time limit that passed; returns ERR_UNAVAILABLE. */
int store_too_late(const struct store *store, struct err *err);

/* The same error, but ERR_UNAVAILABLE for ERR_REFUSED: of what has no content that could be
 * refused, as the cursor, whose table somebody may have given a constraint or a trigger. */
int store_not_content(int error, struct err *err);

/* The encoding of the transactions [first, last). */
struct slice store_batch_slice(const struct store_batch *batch, size_t first, size_t last);

/* Copies a name out of the database, cut to what fits. */
void store_copy_text(char *out, size_t size, struct slice text);

/* Copies what a database said as one line of at most 200 bytes, cut between UTF-8
 * characters, without blanks at its end; returns out. */
enum { STORE_LINE_SIZE = 201 };
const char *store_one_line(char out[STORE_LINE_SIZE], const char *text);

#endif
