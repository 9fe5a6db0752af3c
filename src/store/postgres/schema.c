/*
 * Migrations: a transaction each, under an advisory lock that ends with the transaction. Such
 * a lock also works through a connection pooler, and a process that dies leaves none behind.
 *
 * The table of operations stands at the end.
 */
#include "store/postgres/postgres_priv.h"

#include <inttypes.h>
#include <stdio.h>

/* Any number that other users of advisory locks in the same database are unlikely to take:
 * "labs-ana" in ASCII. */
#define LOCK_KEY "7809631475659271777"

static int read_rows(struct store_pg *pg, struct buf *applied, struct err *err)
{
    PGresult *result = NULL;
    int error = store_pg_run_with(pg,
                                  "SELECT version::bigint, applied_at::timestamptz"
                                  " FROM schema_migration",
                                  0, NULL, &result, err);

    if (error != 0)
        return error;
    for (int row = 0; row < PQntuples(result); row++) {
        struct store_applied one = {
            .version = store_pg_int8(PQgetvalue(result, row, 0)),
            .applied_us = store_pg_instant(PQgetvalue(result, row, 1)),
        };

        buf_append(applied, &one, sizeof one);
    }
    PQclear(result);
    return 0;
}

/* By a query of the catalog, which sees what has been committed. to_regclass() would answer
 * from the session's cache, which may still say "no such table" after the wait for the lock. */
int store_pg_schema_read(struct store *store, struct buf *applied, struct err *err)
{
    struct store_pg *pg = store_pg_of(store);
    PGresult *result = NULL;
    bool there;
    int error = store_pg_run_with(pg,
                                  "SELECT FROM pg_catalog.pg_class"
                                  " WHERE relname = 'schema_migration'"
                                  " AND pg_catalog.pg_table_is_visible(oid)",
                                  0, NULL, &result, err);

    if (error != 0)
        return error;
    there = PQntuples(result) > 0;
    PQclear(result);
    return there ? read_rows(pg, applied, err) : 0;
}

int store_pg_schema_lock(struct store *store, struct err *err)
{
    struct store_pg *pg = store_pg_of(store);
    int error = store_pg_run(pg,
                             "BEGIN ISOLATION LEVEL READ COMMITTED;"
                             "SELECT pg_advisory_xact_lock(" LOCK_KEY ")",
                             NULL, err);

    if (error != 0)
        store_pg_recover(pg);
    return error;
}

static int add_row(struct store_pg *pg, const struct store_script *script, struct err *err)
{
    char version[24];
    const char *values[] = {version, script->name};

    snprintf(version, sizeof version, "%" PRId64, script->version);
    return store_pg_run_with(pg,
                             "INSERT INTO schema_migration (version, name, applied_at)"
                             " VALUES ($1, $2, now())",
                             2, values, NULL, err);
}

int store_pg_schema_apply(struct store *store, const struct store_script *script, struct err *err)
{
    struct store_pg *pg = store_pg_of(store);
    int error = store_pg_run(pg, script->sql, NULL, err);

    if (error == 0)
        error = add_row(pg, script, err);
    if (error == 0)
        error = store_pg_run(pg, "COMMIT", NULL, err);
    if (error != 0)
        store_pg_recover(pg);
    return error;
}

void store_pg_schema_unlock(struct store *store)
{
    store_pg_recover(store_pg_of(store));
}

const struct store_ops store_postgres = {
    .kind = "postgres",
    .scripts = &store_scripts_postgres,
    .open = store_pg_open,
    .close = store_pg_close,
    .connect = store_pg_connect,
    .schema_read = store_pg_schema_read,
    .schema_lock = store_pg_schema_lock,
    .schema_apply = store_pg_schema_apply,
    .schema_unlock = store_pg_schema_unlock,
    .cursor = store_pg_cursor,
    .cursor_create = store_pg_cursor_create,
    .encode = store_pg_encode,
    .write = store_pg_write,
    .put = store_pg_put,
    .find = store_pg_find,
    .change = store_pg_change,
};
