/*
 * A connection: opened without blocking, then told how this engine wants its session.
 *
 * Host names are looked up first (resolve.c), within the time limit. If the URL lists several
 * hosts, or a host has several addresses, they are tried in turn within one time limit. libpq waits
 * for one that is mute as long as we let it, so connecting begins behind the first one the next
 * time after it failed, and at the first again when a server was there and would not do.
 *
 * The session: commits wait for the server's disk unless the server's owner chose another
 * guarantee than "off"; statements, locks and idle transactions end at our own time limit, so
 * that a connection that we gave up on does not keep its locks. A server that waits for rows
 * heeds none of these limits: it notices by keepalive that our machine is gone (its own default
 * is two hours), and a backend that we know we have left in a transaction is ended by name.
 */
#include "store/postgres/postgres_priv.h"

#include "base/mem.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

/* A '/', '@' or ':' that was not escaped in a password makes libpq take a part of it for the
 * host or the port, and name it in errors. Such a URL is refused in words that quote none of
 * it. */
static bool is_plain(const PQconninfoOption *option)
{
    if (option->val == NULL)
        return true;
    if (strcmp(option->keyword, "host") == 0)
        return strchr(option->val, '@') == NULL || option->val[0] == '@';
    if (strcmp(option->keyword, "port") == 0)
        return strspn(option->val, "0123456789,") == strlen(option->val);
    return true;
}

static int check_url(const char *url, struct err *err)
{
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    bool plain = options != NULL;

    for (PQconninfoOption *option = options; plain && option->keyword != NULL; option++)
        plain = is_plain(option);
    PQconninfoFree(options);
    if (plain)
        return 0;
    return err_set(err, ERR_INVALID,
                   "the store's URL is not postgres://user:password@host:port/database?options; "
                   "in a password, write %% @ : / ? # as %%25 %%40 %%3A %%2F %%3F %%23");
}

int store_pg_open(const char *url, struct store **ret, struct err *err)
{
    struct store_pg *pg;
    int error = check_url(url, err);

    if (error != 0)
        return error;
    pg = mem_zalloc(sizeof *pg);
    pg->url = mem_strdup(url);
    *ret = &pg->store;
    return 0;
}

void store_pg_close(struct store *store)
{
    struct store_pg *pg = store_pg_of(store);

    store_pg_break(pg);
    store_pg_resolve_end(pg);
    free(pg->url);
    free(pg);
}

/* A room does not print; libpq would put notices on stderr. */
static void ignore_notice(void *arg, const PGresult *notice)
{
    (void)arg;
    (void)notice;
}

static int handshake(struct store_pg *pg, struct err *err)
{
    PostgresPollingStatusType wants = PGRES_POLLING_WRITING;

    while (wants != PGRES_POLLING_OK) {
        int error;

        if (wants == PGRES_POLLING_FAILED || PQstatus(pg->connection) == CONNECTION_BAD)
            return store_pg_lost(pg->connection, "connect", err);
        error = store_pg_wait(pg, wants == PGRES_POLLING_READING ? POLLIN : POLLOUT, err);
        if (error != 0) {
            err_wrap(err, "connect");
            return error;
        }
        wants = PQconnectPoll(pg->connection);
    }
    return 0;
}

static int prepare_session(struct store_pg *pg, struct err *err)
{
    int64_t limit_ms = pg->store.timeout_us / 1000;
    struct buf sql = {0};
    int error;

    if (limit_ms > INT32_MAX)
        limit_ms = INT32_MAX;
    buf_printf(&sql,
               "SELECT set_config('synchronous_commit', 'on', false)"
               " WHERE current_setting('synchronous_commit') = 'off';"
               "SET timezone = 'UTC';"
               "SET statement_timeout = %" PRId64 ";"
               "SET lock_timeout = %" PRId64 ";"
               "SET idle_in_transaction_session_timeout = %" PRId64 ";"
               "SET tcp_keepalives_idle = 10;"
               "SET tcp_keepalives_interval = 5;"
               "SET tcp_keepalives_count = 3",
               limit_ms, limit_ms, limit_ms);
    buf_append_char(&sql, '\0');
    error = store_pg_run(pg, sql.data, NULL, err);
    buf_free(&sql);
    return error;
}

/* Where we may not, it is waited for like anybody else's transaction. */
static int end_left_behind(struct store_pg *pg, struct err *err)
{
    char sql[256];
    int error;

    snprintf(sql, sizeof sql,
             "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %d"
             " AND usename = current_user"
             " AND application_name = current_setting('application_name')",
             pg->left_behind);
    error = store_pg_run(pg, sql, NULL, err);
    if (pg->connection == NULL)
        return error;
    pg->left_behind = 0;
    pg->stale = false;
    return 0;
}

/* Whether the connection still stands, as far as can be told without asking the server: a
 * server that went away has left its farewell on the socket, and the end behind it. */
static bool is_good(struct store_pg *pg)
{
    struct pollfd socket = {.fd = PQsocket(pg->connection), .events = POLLIN};

    while (poll(&socket, 1, 0) > 0) {
        if (!PQconsumeInput(pg->connection))
            return false;
    }
    return !pg->stale && PQstatus(pg->connection) == CONNECTION_OK &&
           PQtransactionStatus(pg->connection) == PQTRANS_IDLE;
}

/* What stands behind "dbname" goes before what the URL says; NULL says nothing. */
static PGconn *start(const struct store_pg *pg, struct store_pg_place *place)
{
    static const char *const keywords[] = {
        "dbname", "host", "hostaddr", "port", "fallback_application_name", "client_encoding", NULL};
    const char *values[] = {pg->url, NULL, NULL, NULL, "labs-analytics", "UTF8", NULL};

    if (place->count > 0) {
        store_pg_place_finish(place, pg->skip);
        values[1] = place->hosts.data;
        values[2] = place->addresses.data;
        values[3] = place->ports.data;
    }
    return PQconnectStartParams(keywords, values, 1);
}

int store_pg_connect(struct store *store, struct err *err)
{
    struct store_pg *pg = store_pg_of(store);
    struct store_pg_place place = {0};
    int error;

    if (pg->connection != NULL && is_good(pg))
        return 0;
    if (pg->stale)
        pg->skip = 0;
    store_pg_break(pg);
    error = store_pg_resolve(pg, &place, err);
    if (error != 0)
        return error;
    pg->connection = start(pg, &place);
    store_pg_place_free(&place);
    if (pg->connection == NULL)
        return err_set(err, ERR_UNAVAILABLE, "connect: out of memory");
    PQsetNoticeReceiver(pg->connection, ignore_notice, NULL);
    error = handshake(pg, err);
    if (error == 0 && PQsetnonblocking(pg->connection, 1) != 0)
        error = store_pg_lost(pg->connection, "connect", err);
    if (error == 0)
        error = prepare_session(pg, err);
    if (error == 0 && pg->left_behind != 0)
        error = end_left_behind(pg, err);
    if (error == 0)
        pg->backend = PQbackendPID(pg->connection);
    if (error != 0) {
        pg->skip++;
        store_pg_break(pg);
    }
    return error;
}
