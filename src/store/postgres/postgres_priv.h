/*
 * The PostgreSQL store, in parts: resolve.c finds the server, connect.c makes a connection, talk.c
 * waits for it, error.c puts words and codes on what it answers, encode.c writes binary COPY rows,
 * and write.c, read.c, change.c and schema.c are the operations.
 *
 * libpq is used without blocking: every wait is a poll() on the socket, the wake descriptor
 * and the deadline, all in talk.c. A connection that lost its place in the protocol (a time
 * limit, an interruption, a cut) is closed on the spot; `connection == NULL` is what "broken"
 * means, and it also frees the locks that the server holds for us as soon as it notices.
 */
#ifndef STORE_POSTGRES_POSTGRES_PRIV_H
#define STORE_POSTGRES_POSTGRES_PRIV_H

#include "store/store_priv.h"

#include <libpq-fe.h>

struct store_pg {
    struct store store;
    char *url;
    struct store_pg_lookup *lookup; /* under way or not yet asked for; NULL: none */
    PGconn *connection;             /* NULL: none, or broken */
    bool stale;                     /* the server could not do something in this session */
    unsigned skip;   /* so many of the places that connecting begins behind, for it ended there */
    int backend;     /* its process, once the session is ready; libpq forgets it with the line */
    int left_behind; /* backend that may still hold a transaction of ours; 0: none */
};

static inline struct store_pg *store_pg_of(struct store *store)
{
    return (struct store_pg *)store;
}

/* connect.c */
int store_pg_open(const char *url, struct store **ret, struct err *err);
void store_pg_close(struct store *store);
int store_pg_connect(struct store *store, struct err *err);

/* resolve.c: the server's addresses, by the names in the URL; lists with commas for libpq, all of
 * `count` items. */
struct store_pg_place {
    struct buf hosts, addresses, ports;
    unsigned count;
};

/* ERR_UNAVAILABLE if nobody said where the server is within the time limit. *ret stays as it is
 * if the URL has one host that needs no look-up. */
int store_pg_resolve(struct store_pg *pg, struct store_pg_place *ret, struct err *err);
void store_pg_resolve_end(struct store_pg *pg); /* of the handle */
/* Makes strings of the lists, with those behind the first `skip` first, and these last; round and
 * round. */
void store_pg_place_finish(struct store_pg_place *place, unsigned skip);
void store_pg_place_free(struct store_pg_place *place);

/* talk.c: the ways to wait. All return 0 or ERR_UNAVAILABLE with words, and break the
 * connection in that case. */

/* Until the socket is ready for `events` (of poll). Does not break the connection. */
int store_pg_wait(struct store_pg *pg, short events, struct err *err);
/* The same of another descriptor. */
int store_pg_wait_for(struct store_pg *pg, int fd, short events, struct err *err);

/* Until an instant of the monotonic clock, or something has come from the server, which is taken
 * in: the server says nothing while it takes rows, so it is an error that comes, for whoever reads
 * the next result. */
int store_pg_rest(struct store_pg *pg, int64_t until_us, struct err *err);

/* Closes the connection. */
void store_pg_break(struct store_pg *pg);

/* Until everything is sent that libpq holds. */
int store_pg_flush(struct store_pg *pg, struct err *err);

/* The next result, NULL after the last one. A result that tells of an error is a result. */
int store_pg_next(struct store_pg *pg, PGresult **ret, struct err *err);

/* The next result, which must have this status; else the error that it tells of. */
int store_pg_expect(struct store_pg *pg, ExecStatusType status, PGresult **ret, struct err *err);

/* Sends statements without parameters. */
int store_pg_send(struct store_pg *pg, const char *sql, struct err *err);

/* Sends them and reads all results; ret (may be NULL) gets the last one. */
int store_pg_run(struct store_pg *pg, const char *sql, PGresult **ret, struct err *err);

/* Runs one statement with text parameters and binary results. */
int store_pg_run_with(struct store_pg *pg, const char *sql, int count, const char *const *values,
                      PGresult **ret, struct err *err);

/* After an error: ends what is under way and rolls back, or breaks the connection. */
void store_pg_recover(struct store_pg *pg);

/* error.c */

/* Code and words of a result that tells of an error; the code is ERR_REFUSED for SQLSTATE
 * classes 22, 23, 54 and P0, unless a row's id is the trouble, else ERR_UNAVAILABLE. */
int store_pg_refusal(const PGresult *result, struct err *err);

/* What libpq says of the connection as such; returns ERR_UNAVAILABLE. */
int store_pg_lost(const PGconn *connection, const char *doing, struct err *err);

/* encode.c: binary COPY (https://www.postgresql.org/docs/current/sql-copy.html) of
 * STORE_PG_COLUMNS. */
#define STORE_PG_COLUMNS                                                                           \
    "transaction_id, product, pennkey, datapoint, value, timestamp, received_at"

extern const struct slice store_pg_copy_header;
extern const struct slice store_pg_copy_trailer;
void store_pg_encode(struct buf *out, const char *id, const char *product, const struct txn *txn);

/* An instant as PostgreSQL sends it in binary. */
int64_t store_pg_instant(const char *bytes);

/* An integer of 8 bytes as PostgreSQL sends it in binary. */
int64_t store_pg_int8(const char *bytes);

/* A pooler may give each transaction another session than the one that connect.c has prepared. */
#define STORE_PG_DURABLE                                                                           \
    "SELECT set_config('synchronous_commit', 'on', true)"                                          \
    " WHERE current_setting('synchronous_commit') = 'off';"
#define STORE_PG_BEGIN "BEGIN ISOLATION LEVEL READ COMMITTED;" STORE_PG_DURABLE

/* write.c */
int store_pg_write(struct store *store, const struct store_batch *batch, size_t first, size_t last,
                   const char *node, uint64_t from, uint64_t to, struct err *err);
int store_pg_put(struct store *store, const struct store_batch *batch, size_t index,
                 const char *node, uint64_t position, struct err *err);

/* read.c */
int store_pg_cursor(struct store *store, const char *node, uint64_t *ret_position, struct err *err);
int store_pg_cursor_create(struct store *store, const char *node, uint64_t position,
                           struct err *err);
int store_pg_find(struct store *store, const char *id, struct store_found *ret, struct err *err);

/* change.c */
int store_pg_change(struct store *store, const struct store_change *what, unsigned rows,
                    struct store_walk *walk, uint64_t *ret_rows, struct err *err);

/* schema.c */
int store_pg_schema_read(struct store *store, struct buf *applied, struct err *err);
int store_pg_schema_lock(struct store *store, struct err *err);
int store_pg_schema_apply(struct store *store, const struct store_script *script, struct err *err);
void store_pg_schema_unlock(struct store *store);

#endif
