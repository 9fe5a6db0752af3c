/*
 * The only place that waits for PostgreSQL.
 *
 * A request is queued in libpq, flushed and answered by results; meanwhile the thread sleeps
 * in poll() on the socket, on the wake descriptor and until the operation's deadline. While
 * sending, input is read as well: a server that complains early would otherwise block on a
 * full socket, and so would we.
 *
 * If the socket fails, the deadline passes or the store is interrupted, nobody knows what the
 * server has done, and the connection is closed. If the server reports an error, the
 * connection is still in step, and store_pg_recover() rolls back.
 */
#include "store/postgres/postgres_priv.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>

void store_pg_break(struct store_pg *pg)
{
    if (pg->backend != 0 && PQtransactionStatus(pg->connection) != PQTRANS_IDLE)
        pg->left_behind = pg->backend;
    PQfinish(pg->connection);
    pg->connection = NULL;
    pg->backend = 0;
    pg->stale = false;
}

int store_pg_wait_for(struct store_pg *pg, int fd, short events, struct err *err)
{
    for (;;) {
        int64_t left_us = store_left_us(&pg->store);
        struct pollfd fds[] = {
            {.fd = fd, .events = events},
            {.fd = pg->store.wake_fd, .events = POLLIN},
        };
        int ready = poll(fds, 2, (int)((left_us + 999) / 1000));

        if (ready < 0 && errno != EINTR)
            return err_set(err, ERR_UNAVAILABLE, "wait for the server: %m");
        if (store_interrupted(&pg->store))
            return err_set(err, ERR_UNAVAILABLE, "interrupted");
        if (ready > 0 && fds[0].revents != 0)
            return 0;
        if (left_us == 0)
            return store_too_late(&pg->store, err);
    }
}

int store_pg_wait(struct store_pg *pg, short events, struct err *err)
{
    return store_pg_wait_for(pg, PQsocket(pg->connection), events, err);
}

/* The words of a result that tells of an error. What the server cannot do now it may be unable
 * to do as long as the session lasts, for settings such as default_transaction_read_only are
 * read at its start: the next store_connect() begins another. */
static int refusal(struct store_pg *pg, const PGresult *result, struct err *err)
{
    int error = store_pg_refusal(result, err);

    if (error != ERR_REFUSED)
        pg->stale = true;
    return error;
}

/* Sends what it can and, if something is left, waits for the socket; *ret_done says whether
 * all is sent. */
static int send_some(struct store_pg *pg, bool *ret_done, struct err *err)
{
    int unsent = PQflush(pg->connection);
    int error;

    if (unsent < 0)
        return store_pg_lost(pg->connection, "send to the server", err);
    *ret_done = unsent == 0;
    if (unsent == 0)
        return 0;
    error = store_pg_wait(pg, POLLIN | POLLOUT, err);
    if (error == 0 && !PQconsumeInput(pg->connection))
        error = store_pg_lost(pg->connection, "read from the server", err);
    return error;
}

int store_pg_rest(struct store_pg *pg, int64_t until_us, struct err *err)
{
    struct pollfd fds[] = {
        {.fd = PQsocket(pg->connection), .events = POLLIN},
        {.fd = pg->store.wake_fd, .events = POLLIN},
    };
    int64_t left_us = until_us - clock_mono_us();
    int error = 0;

    if (left_us > 0) {
        struct timespec left = {left_us / 1000000, left_us % 1000000 * 1000};

        ppoll(fds, 2, &left, NULL); /* if it fails the pieces come sooner */
    }
    if (store_interrupted(&pg->store))
        error = err_set(err, ERR_UNAVAILABLE, "interrupted");
    else if (fds[0].revents != 0 && !PQconsumeInput(pg->connection))
        error = store_pg_lost(pg->connection, "read from the server", err);
    if (error != 0)
        store_pg_break(pg);
    return error;
}

int store_pg_flush(struct store_pg *pg, struct err *err)
{
    bool done = false;
    int error = 0;

    while (error == 0 && !done)
        error = send_some(pg, &done, err);
    if (error != 0)
        store_pg_break(pg);
    return error;
}

int store_pg_next(struct store_pg *pg, PGresult **ret, struct err *err)
{
    int error = store_pg_flush(pg, err);

    if (error != 0)
        return error;
    while (PQisBusy(pg->connection)) {
        error = store_pg_wait(pg, POLLIN, err);
        if (error == 0 && !PQconsumeInput(pg->connection))
            error = store_pg_lost(pg->connection, "read from the server", err);
        if (error != 0) {
            store_pg_break(pg);
            return error;
        }
    }
    *ret = PQgetResult(pg->connection);
    return 0;
}

int store_pg_expect(struct store_pg *pg, ExecStatusType status, PGresult **ret, struct err *err)
{
    PGresult *result = NULL;
    int error = store_pg_next(pg, &result, err);

    if (error != 0)
        return error;
    if (result == NULL)
        return err_set(err, ERR_UNAVAILABLE, "the server sent no result");
    if (PQresultStatus(result) == status) {
        if (ret != NULL)
            *ret = result;
        else
            PQclear(result);
        return 0;
    }
    if (PQresultStatus(result) == PGRES_FATAL_ERROR)
        error = refusal(pg, result, err);
    else
        error = err_set(err, ERR_UNAVAILABLE, "the server answered %s instead of %s",
                        PQresStatus(PQresultStatus(result)), PQresStatus(status));
    PQclear(result);
    return error;
}

int store_pg_send(struct store_pg *pg, const char *sql, struct err *err)
{
    if (pg->connection == NULL)
        return err_set(err, ERR_UNAVAILABLE, "not connected");
    if (PQsendQuery(pg->connection, sql))
        return 0;
    store_pg_lost(pg->connection, "send to the server", err);
    store_pg_break(pg);
    return ERR_UNAVAILABLE;
}

/* Reads all results of what was sent. The first error is the one to tell. */
static int collect(struct store_pg *pg, PGresult **ret, struct err *err)
{
    PGresult *last = NULL;
    PGresult *result;
    int failed = 0;
    int error;

    while ((error = store_pg_next(pg, &result, err)) == 0 && result != NULL) {
        if (failed == 0 && PQresultStatus(result) == PGRES_FATAL_ERROR)
            failed = refusal(pg, result, err);
        PQclear(last);
        last = result;
    }
    if (error == 0)
        error = failed;
    if (error == 0 && ret != NULL)
        *ret = last;
    else
        PQclear(last);
    return error;
}

int store_pg_run(struct store_pg *pg, const char *sql, PGresult **ret, struct err *err)
{
    int error = store_pg_send(pg, sql, err);

    return error != 0 ? error : collect(pg, ret, err);
}

int store_pg_run_with(struct store_pg *pg, const char *sql, int count, const char *const *values,
                      PGresult **ret, struct err *err)
{
    if (pg->connection == NULL)
        return err_set(err, ERR_UNAVAILABLE, "not connected");
    if (!PQsendQueryParams(pg->connection, sql, count, NULL, values, NULL, NULL, 1)) {
        store_pg_lost(pg->connection, "send to the server", err);
        store_pg_break(pg);
        return ERR_UNAVAILABLE;
    }
    return collect(pg, ret, err);
}

/* Reads and drops what the server still sends for the statement under way; a COPY that waits
 * for rows is told that there are none. */
static int drain(struct store_pg *pg)
{
    PGresult *result;
    int error;

    while ((error = store_pg_next(pg, &result, NULL)) == 0 && result != NULL) {
        bool wants_rows = PQresultStatus(result) == PGRES_COPY_IN;

        PQclear(result);
        if (wants_rows && PQputCopyEnd(pg->connection, "abandoned") < 0) {
            store_pg_break(pg);
            return ERR_UNAVAILABLE;
        }
    }
    return error;
}

void store_pg_recover(struct store_pg *pg)
{
    if (pg->connection == NULL || drain(pg) != 0)
        return;
    if (PQstatus(pg->connection) == CONNECTION_OK &&
        PQtransactionStatus(pg->connection) != PQTRANS_IDLE &&
        store_pg_run(pg, "ROLLBACK", NULL, NULL) != 0 && pg->connection != NULL)
        store_pg_break(pg);
    if (pg->connection != NULL && PQstatus(pg->connection) != CONNECTION_OK)
        store_pg_break(pg);
}
