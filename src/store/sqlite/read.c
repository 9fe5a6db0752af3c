/*
 * Reading: single statements on the last committed state, beside a writer.
 */
#include "store/sqlite/sqlite_priv.h"

#include "base/clock.h"

int store_sqlite_cursor(struct store *store, const char *node, uint64_t *ret_position,
                        struct err *err)
{
    struct store_sqlite *sqlite = store_sqlite_of(store);
    sqlite3_stmt *statement;
    bool row;
    int error = store_sqlite_check(sqlite, err);

    if (error == 0)
        error = store_sqlite_prepare(sqlite, STATEMENT_CURSOR, &statement, err);
    if (error != 0)
        goto recover;
    store_sqlite_bind(statement, 1, slice_of(node));
    error = store_sqlite_row(sqlite, statement, &row, err);
    if (error == 0 && row)
        *ret_position = (uint64_t)sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    if (error == 0)
        return row ? 0 : err_set(err, ERR_NOT_FOUND, "node %s has no cursor", node);
recover:
    store_sqlite_recover(sqlite);
    return error;
}

int store_sqlite_cursor_create(struct store *store, const char *node, uint64_t position,
                               struct err *err)
{
    struct store_sqlite *sqlite = store_sqlite_of(store);
    sqlite3_stmt *statement;
    int error = store_sqlite_check(sqlite, err);

    if (error == 0)
        error = store_sqlite_prepare(sqlite, STATEMENT_CURSOR_CREATE, &statement, err);
    if (error == 0) {
        store_sqlite_bind(statement, 1, slice_of(node));
        sqlite3_bind_int64(statement, 2, (int64_t)position);
        error = store_sqlite_run(sqlite, statement, err);
    }
    if (error != 0)
        store_sqlite_recover(sqlite);
    return error;
}

static int read_found(sqlite3_stmt *statement, struct store_found *ret, struct err *err)
{
    struct store_found found = {0};

    store_copy_text(found.product, sizeof found.product, store_sqlite_text(statement, 0));
    found.has_pennkey = sqlite3_column_type(statement, 1) != SQLITE_NULL;
    store_copy_text(found.pennkey, sizeof found.pennkey, store_sqlite_text(statement, 1));
    found.datapoints = (uint32_t)sqlite3_column_int64(statement, 4);
    if (!clock_parse(store_sqlite_text(statement, 2), &found.timestamp_us) ||
        !clock_parse(store_sqlite_text(statement, 3), &found.received_us))
        return err_set(err, ERR_UNAVAILABLE, "a time in the store is not RFC 3339");
    *ret = found;
    return 0;
}

int store_sqlite_find(struct store *store, const char *id, struct store_found *ret, struct err *err)
{
    struct store_sqlite *sqlite = store_sqlite_of(store);
    sqlite3_stmt *statement;
    bool row;
    int error = store_sqlite_check(sqlite, err);

    if (error == 0)
        error = store_sqlite_prepare(sqlite, STATEMENT_FIND, &statement, err);
    if (error != 0)
        goto recover;
    store_sqlite_bind(statement, 1, slice_of(id));
    error = store_sqlite_row(sqlite, statement, &row, err);
    if (error == 0 && sqlite3_column_int64(statement, 4) == 0)
        error = err_set(err, ERR_NOT_FOUND, "no transaction %s in the store", id);
    else if (error == 0)
        error = read_found(statement, ret, err);
    sqlite3_reset(statement);
    if (error == 0 || error == ERR_NOT_FOUND)
        return error;
recover:
    store_sqlite_recover(sqlite);
    return error;
}
