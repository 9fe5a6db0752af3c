/*
 * Changing what is stored: one step of a walk over the rows.
 *
 * The end of the step is looked up first, without a lock; the change is one statement and so its
 * own transaction. Rows that a writer adds in between lie behind the step, or within it if they
 * take ids that had become free: then they are looked at as well.
 */
#include "store/sqlite/sqlite_priv.h"

/* The highest id of the next `rows` rows; *ret_count are fewer at the end of the table. */
static int find_end(struct store_sqlite *sqlite, int64_t after, unsigned rows, int64_t *ret_end,
                    unsigned *ret_count, struct err *err)
{
    sqlite3_stmt *statement;
    bool row;
    int error = store_sqlite_prepare(sqlite, STATEMENT_STEP, &statement, err);

    if (error != 0)
        return error;
    sqlite3_bind_int64(statement, 1, after);
    sqlite3_bind_int64(statement, 2, rows);
    error = store_sqlite_row(sqlite, statement, &row, err);
    if (error == 0) {
        *ret_end = sqlite3_column_int64(statement, 0);
        *ret_count = (unsigned)sqlite3_column_int64(statement, 1);
    }
    sqlite3_reset(statement);
    return error;
}

static int change_rows(struct store_sqlite *sqlite, const struct store_change *what, int64_t after,
                       int64_t end, uint64_t *ret_rows, struct err *err)
{
    static const enum store_sqlite_statement statements[STORE_CHANGES] = {
        [STORE_ANONYMISE] = STATEMENT_ANONYMISE,
        [STORE_ERASE] = STATEMENT_ERASE,
        [STORE_EXPIRE] = STATEMENT_EXPIRE,
    };
    sqlite3_stmt *statement;
    int error = store_sqlite_prepare(sqlite, statements[what->kind], &statement, err);

    if (error != 0)
        return error;
    sqlite3_bind_int64(statement, 1, after);
    sqlite3_bind_int64(statement, 2, end);
    for (int i = 0; i < what->count; i++)
        store_sqlite_bind(statement, i + 3, what->values[i]);
    error = store_sqlite_run(sqlite, statement, err);
    if (error == 0)
        *ret_rows = (uint64_t)sqlite3_changes64(sqlite->database);
    return error;
}

int store_sqlite_change(struct store *store, const struct store_change *what, unsigned rows,
                        struct store_walk *walk, uint64_t *ret_rows, struct err *err)
{
    struct store_sqlite *sqlite = store_sqlite_of(store);
    uint64_t changed = 0;
    unsigned count = 0;
    int64_t end = 0;
    int error = store_sqlite_check(sqlite, err);

    if (error == 0)
        error = find_end(sqlite, walk->after, rows, &end, &count, err);
    if (error == 0 && count > 0)
        error = change_rows(sqlite, what, walk->after, end, &changed, err);
    if (error != 0) {
        store_sqlite_recover(sqlite);
        return error;
    }
    *walk = (struct store_walk){.after = count > 0 ? end : walk->after, .ended = count < rows};
    *ret_rows = changed;
    return 0;
}
