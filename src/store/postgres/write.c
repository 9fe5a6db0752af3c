/*
 * Writing: the cursor's guarded move and the rows, in one transaction and two round trips.
 *
 * BEGIN, the move, COPY and COMMIT travel as one message. The server runs them up to COPY and
 * asks for rows; if the move did not find the cursor where it should be, COPY is called off,
 * which fails the transaction and skips the COMMIT. Otherwise the rows follow: a slice of the
 * batch, as encoded, between COPY's header and trailer. The server then goes on to COMMIT.
 *
 * A batch that is to be spread goes in pieces that keep the server busy for a fraction of a
 * millisecond, at even intervals. At once, it would be busy for as long as the rows take it, and a
 * scheduler lets a thread that is at work go on for milliseconds before others get their turn.
 *
 * Any error rolls back or breaks the connection. If the answer to COMMIT is lost, the
 * transaction may have been committed: the cursor tells.
 */
#include "store/postgres/postgres_priv.h"

#include "base/clock.h"

#include <inttypes.h>

#define COPY_ROWS "COPY event (" STORE_PG_COLUMNS ") FROM STDIN (FORMAT binary);"

/* Bytes handed to libpq at a time, which copies them: at once, and of what is spread; and the
 * longest interval between the latter. */
enum { CHUNK = 128 * 1024, PIECE = 16 * 1024, PIECE_US = 2000 };

/* How the rows of a write are handed over. */
struct pace {
    size_t piece;
    int64_t interval_us;
};

/* Appends `before`, the text as an SQL literal, and `behind`. */
static int append_literal(struct store_pg *pg, struct buf *sql, const char *before,
                          const char *text, const char *behind, struct err *err)
{
    char *literal = PQescapeLiteral(pg->connection, text, strlen(text));

    if (literal == NULL)
        return store_pg_lost(pg->connection, "escape a name", err);
    buf_append_text(sql, before);
    buf_append_text(sql, literal);
    buf_append_text(sql, behind);
    PQfreemem(literal);
    return 0;
}

static int append_move(struct store_pg *pg, struct buf *sql, const char *node, uint64_t from,
                       uint64_t to, struct err *err)
{
    buf_printf(sql, "UPDATE forward_cursor SET position = %" PRIu64 ", updated_at = now()", to);
    buf_printf(sql, " WHERE position = %" PRIu64, from);
    return append_literal(pg, sql, " AND node = ", node, ";", err);
}

static int expect_begun(struct store_pg *pg, struct err *err)
{
    int error = store_pg_expect(pg, PGRES_COMMAND_OK, NULL, err);

    return error != 0 ? error : store_pg_expect(pg, PGRES_TUPLES_OK, NULL, err);
}

static bool moved_one(const PGresult *result)
{
    return strcmp(PQcmdTuples((PGresult *)result), "1") == 0;
}

static int not_at(const char *node, uint64_t from, struct err *err)
{
    return err_set(err, ERR_CONFLICT, "the cursor of node %s is not at %" PRIu64, node, from);
}

static int send_chunk(struct store_pg *pg, const char *bytes, size_t len, struct err *err)
{
    int error = 0;

    if (PQputCopyData(pg->connection, bytes, (int)len) != 1) {
        error = store_pg_lost(pg->connection, "send rows", err);
        store_pg_break(pg);
        return error;
    }
    return store_pg_flush(pg, err);
}

static struct pace pace_of(const struct store_pg *pg, const struct store_batch *batch)
{
    int64_t most_us = pg->store.timeout_us / 4;
    int64_t spread_us = batch->spread_us < most_us ? batch->spread_us : most_us;
    int64_t interval_us = spread_us / (int64_t)(batch->bytes.len / PIECE + 1);

    if (interval_us == 0)
        return (struct pace){CHUNK, 0};
    return (struct pace){PIECE, interval_us < PIECE_US ? interval_us : PIECE_US};
}

static int send_rows(struct store_pg *pg, struct slice rows, struct pace pace, struct err *err)
{
    int64_t next_us = clock_mono_us();
    int error = send_chunk(pg, store_pg_copy_header.at, store_pg_copy_header.len, err);

    while (error == 0 && rows.len > 0) {
        size_t len = rows.len < pace.piece ? rows.len : pace.piece;

        error = send_chunk(pg, rows.at, len, err);
        rows.at += len;
        rows.len -= len;
        next_us += pace.interval_us;
        if (error == 0 && pace.interval_us > 0 && rows.len > 0)
            error = store_pg_rest(pg, next_us, err);
    }
    if (error == 0)
        error = send_chunk(pg, store_pg_copy_trailer.at, store_pg_copy_trailer.len, err);
    if (error == 0 && PQputCopyEnd(pg->connection, NULL) < 0) {
        error = store_pg_lost(pg->connection, "send rows", err);
        store_pg_break(pg);
    }
    return error;
}

/* Sends the rows and reads how COPY and the COMMIT behind it went. The server answers a
 * COMMIT that could not be with ROLLBACK, as if that were a success. */
static int copy_and_commit(struct store_pg *pg, struct slice rows, struct pace pace,
                           struct err *err)
{
    PGresult *result;
    int error;

    error = store_pg_expect(pg, PGRES_COPY_IN, NULL, err);
    if (error == 0)
        error = send_rows(pg, rows, pace, err);
    if (error == 0)
        error = store_pg_expect(pg, PGRES_COMMAND_OK, NULL, err);
    if (error == 0)
        error = store_pg_expect(pg, PGRES_COMMAND_OK, &result, err);
    if (error != 0)
        return error;
    if (strcmp(PQcmdStatus(result), "COMMIT") != 0)
        error =
            err_set(err, ERR_UNAVAILABLE, "the server answered %s to COMMIT", PQcmdStatus(result));
    PQclear(result);
    if (error == 0)
        error = store_pg_next(pg, &result, err);
    return error;
}

static int move_only(struct store_pg *pg, const char *node, uint64_t from, uint64_t to,
                     struct err *err)
{
    struct buf sql = {0};
    PGresult *result = NULL;
    int error;

    buf_append_text(&sql, STORE_PG_DURABLE);
    error = append_move(pg, &sql, node, from, to, err);
    buf_append_char(&sql, '\0');
    if (error == 0)
        error = store_not_content(store_pg_run(pg, sql.data, &result, err), err);
    if (error == 0 && !moved_one(result))
        error = not_at(node, from, err);
    PQclear(result);
    buf_free(&sql);
    return error;
}

static int move_and_copy(struct store_pg *pg, struct slice rows, struct pace pace, const char *node,
                         uint64_t from, uint64_t to, struct err *err)
{
    struct buf sql = {0};
    PGresult *moved;
    int error;

    buf_append_text(&sql, STORE_PG_BEGIN);
    error = append_move(pg, &sql, node, from, to, err);
    buf_append_text(&sql, COPY_ROWS "COMMIT");
    buf_append_char(&sql, '\0');
    if (error == 0)
        error = store_pg_send(pg, sql.data, err);
    buf_free(&sql);
    if (error == 0)
        error = expect_begun(pg, err);
    if (error == 0)
        error = store_not_content(store_pg_expect(pg, PGRES_COMMAND_OK, &moved, err), err);
    if (error != 0)
        return error;
    if (!moved_one(moved))
        error = not_at(node, from, err);
    PQclear(moved);
    return error != 0 ? error : copy_and_commit(pg, rows, pace, err);
}

int store_pg_write(struct store *store, const struct store_batch *batch, size_t first, size_t last,
                   const char *node, uint64_t from, uint64_t to, struct err *err)
{
    struct store_pg *pg = store_pg_of(store);
    int error;

    if (pg->connection == NULL)
        return err_set(err, ERR_UNAVAILABLE, "not connected");
    if (first == last)
        error = move_only(pg, node, from, to, err);
    else
        error = move_and_copy(pg, store_batch_slice(batch, first, last), pace_of(pg, batch), node,
                              from, to, err);
    if (error != 0)
        store_pg_recover(pg);
    return error;
}

/* The answer of lock_and_look() about the cursor. */
static int check_passed(const PGresult *locked, const char *node, uint64_t position,
                        struct err *err)
{
    if (PQntuples(locked) != 1)
        return err_set(err, ERR_CONFLICT, "node %s has no cursor", node);
    if (strcmp(PQgetvalue(locked, 0, 0), "t") != 0)
        return err_set(err, ERR_CONFLICT, "the cursor of node %s has not passed %" PRIu64, node,
                       position);
    return 0;
}

/* Begins a transaction, locks the cursor's row, which has to be behind the position, and looks for
 * the id. By a count: for a single row the planner would rather start reading the table, in the
 * hope of meeting it soon. */
static int lock_and_look(struct store_pg *pg, const char *node, uint64_t position, const char *id,
                         bool *ret_there, struct err *err)
{
    struct buf sql = {0};
    PGresult *locked;
    PGresult *found;
    int error;

    buf_printf(&sql, STORE_PG_BEGIN "SELECT position > %" PRIu64 " FROM forward_cursor", position);
    error = append_literal(pg, &sql, " WHERE node = ", node, " FOR UPDATE;", err);
    if (error == 0)
        error = append_literal(pg, &sql, "SELECT count(*) FROM event WHERE transaction_id = ", id,
                               "", err);
    buf_append_char(&sql, '\0');
    if (error == 0)
        error = store_pg_send(pg, sql.data, err);
    buf_free(&sql);
    if (error == 0)
        error = expect_begun(pg, err);
    if (error == 0)
        error = store_pg_expect(pg, PGRES_TUPLES_OK, &locked, err);
    if (error != 0)
        return error;
    error = check_passed(locked, node, position, err);
    PQclear(locked);
    if (error == 0)
        error = store_pg_expect(pg, PGRES_TUPLES_OK, &found, err);
    if (error != 0)
        return error;
    *ret_there = strcmp(PQgetvalue(found, 0, 0), "0") != 0;
    PQclear(found);
    return store_pg_next(pg, &found, err);
}

int store_pg_put(struct store *store, const struct store_batch *batch, size_t index,
                 const char *node, uint64_t position, struct err *err)
{
    struct store_pg *pg = store_pg_of(store);
    bool there = false;
    int error;

    if (pg->connection == NULL)
        return err_set(err, ERR_UNAVAILABLE, "not connected");
    error = store_not_content(
        lock_and_look(pg, node, position, batch->marks[index].id, &there, err), err);
    if (error == 0 && there)
        error = store_pg_run(pg, "ROLLBACK", NULL, err);
    if (error == 0 && !there)
        error = store_pg_send(pg, COPY_ROWS "COMMIT", err);
    if (error == 0 && !there)
        error = copy_and_commit(pg, store_batch_slice(batch, index, index + 1), pace_of(pg, batch),
                                err);
    if (error != 0)
        store_pg_recover(pg);
    return error;
}
