/*
 * Migrations: a transaction each, with the file for itself (BEGIN EXCLUSIVE).
 *
 * The table of operations stands at the end.
 */
#include "store/sqlite/sqlite_priv.h"

#include "base/clock.h"

/* By a query: SQLite's own idea of the schema may be older than the file, and only running a
 * statement brings it up to date. */
static int table_exists(struct store_sqlite *sqlite, bool *ret, struct err *err)
{
    sqlite3_stmt *statement;
    int error = store_sqlite_prepare(sqlite, STATEMENT_HAS_MIGRATIONS, &statement, err);

    if (error != 0)
        return error;
    error = store_sqlite_row(sqlite, statement, ret, err);
    sqlite3_reset(statement);
    return error;
}

static int read_rows(struct store_sqlite *sqlite, struct buf *applied, struct err *err)
{
    sqlite3_stmt *statement;
    bool row;
    int error = store_sqlite_prepare(sqlite, STATEMENT_MIGRATIONS, &statement, err);

    if (error != 0)
        return error;
    while ((error = store_sqlite_row(sqlite, statement, &row, err)) == 0 && row) {
        struct store_applied one = {.version = sqlite3_column_int64(statement, 0)};

        if (!clock_parse(store_sqlite_text(statement, 1), &one.applied_us))
            one.applied_us = 1; /* applied, at a time that somebody else has written */
        buf_append(applied, &one, sizeof one);
    }
    sqlite3_reset(statement);
    return error;
}

int store_sqlite_schema_read(struct store *store, struct buf *applied, struct err *err)
{
    struct store_sqlite *sqlite = store_sqlite_of(store);
    bool there = false;
    int error = store_sqlite_check(sqlite, err);

    if (error == 0)
        error = table_exists(sqlite, &there, err);
    if (error == 0 && there)
        error = read_rows(sqlite, applied, err);
    return error;
}

int store_sqlite_schema_lock(struct store *store, struct err *err)
{
    struct store_sqlite *sqlite = store_sqlite_of(store);
    int error = store_sqlite_check(sqlite, err);

    if (error == 0)
        error = store_sqlite_exec(sqlite, "BEGIN EXCLUSIVE", err);
    if (error != 0)
        store_sqlite_recover(sqlite);
    return error;
}

static int add_row(struct store_sqlite *sqlite, const struct store_script *script, struct err *err)
{
    sqlite3_stmt *statement;
    int error = store_sqlite_prepare(sqlite, STATEMENT_MIGRATED, &statement, err);

    if (error != 0)
        return error;
    sqlite3_bind_int64(statement, 1, script->version);
    store_sqlite_bind(statement, 2, slice_of(script->name));
    return store_sqlite_run(sqlite, statement, err);
}

int store_sqlite_schema_apply(struct store *store, const struct store_script *script,
                              struct err *err)
{
    struct store_sqlite *sqlite = store_sqlite_of(store);
    int error = store_sqlite_exec(sqlite, script->sql, err);

    if (error == 0)
        error = add_row(sqlite, script, err);
    if (error == 0)
        error = store_sqlite_exec(sqlite, "COMMIT", err);
    if (error != 0)
        store_sqlite_recover(sqlite);
    return error;
}

void store_sqlite_schema_unlock(struct store *store)
{
    store_sqlite_recover(store_sqlite_of(store));
}

const struct store_ops store_sqlite = {
    .kind = "sqlite",
    .embedded = true,
    .scripts = &store_scripts_sqlite,
    .open = store_sqlite_open,
    .close = store_sqlite_close,
    .connect = store_sqlite_connect,
    .schema_read = store_sqlite_schema_read,
    .schema_lock = store_sqlite_schema_lock,
    .schema_apply = store_sqlite_schema_apply,
    .schema_unlock = store_sqlite_schema_unlock,
    .cursor = store_sqlite_cursor,
    .cursor_create = store_sqlite_cursor_create,
    .encode = store_sqlite_encode,
    .write = store_sqlite_write,
    .put = store_sqlite_put,
    .find = store_sqlite_find,
    .change = store_sqlite_change,
};
