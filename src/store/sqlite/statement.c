/*
 * Prepared statements: one table of SQL, each text compiled when it is first needed and kept
 * as long as the file is open. SQLite compiles it anew by itself when the schema changes.
 */
#include "store/sqlite/sqlite_priv.h"

#include <assert.h>

/* In the order of struct store_sqlite_rows. A refusal rolls back all of the database transaction,
 * as whoever inserts does then anyway; to be able to undo the statement alone, SQLite would copy
 * every page that it touches. */
#define INSERT                                                                                     \
    "INSERT OR ROLLBACK INTO event"                                                                \
    " (transaction_id, product, pennkey, timestamp, received_at, datapoint, value) VALUES "
#define ROW "(?,?,?,?,?,?,?)"
#define ROWS_4 ROW "," ROW "," ROW "," ROW
#define ROWS_16 ROWS_4 "," ROWS_4 "," ROWS_4 "," ROWS_4

/* The form of clock_format(). */
#define NOW "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')"

static_assert(STORE_SQLITE_ROWS == 32, "INSERT_MANY has this many rows");

/* The rows of a step (?1 exclusive to ?2) that belong to a user. */
#define OF_USER                                                                                    \
    " WHERE id > ?1 AND id <= ?2 AND pennkey IN (?3, ?4)"                                          \
    " AND CASE WHEN substr(transaction_id, 1, 8) = substr(?5, 1, 8) THEN transaction_id < ?5"      \
    " ELSE received_at < ?6 END"

static const char *const texts[STATEMENT_COUNT] = {
    [STATEMENT_INSERT_MANY] = INSERT ROWS_16 "," ROWS_16,
    [STATEMENT_INSERT_ONE] = INSERT ROW,
    [STATEMENT_MOVE] = "UPDATE forward_cursor SET position = ?3, updated_at = " NOW
                       " WHERE node = ?1 AND position = ?2",
    [STATEMENT_CURSOR] = "SELECT position FROM forward_cursor WHERE node = ?1",
    [STATEMENT_CURSOR_CREATE] = "INSERT INTO forward_cursor (node, position, updated_at)"
                                " VALUES (?1, ?2, " NOW ") ON CONFLICT (node) DO NOTHING",
    [STATEMENT_KNOWN] = "SELECT 1 FROM event WHERE transaction_id = ?1 LIMIT 1",
    [STATEMENT_FIND] = "SELECT product, pennkey, timestamp, received_at, count(*)"
                       " FROM event WHERE transaction_id = ?1",
    [STATEMENT_STEP] = "SELECT max(id), count(*)"
                       " FROM (SELECT id FROM event WHERE id > ?1 ORDER BY id LIMIT ?2)",
    [STATEMENT_ANONYMISE] = "UPDATE event SET pennkey = NULL" OF_USER,
    [STATEMENT_ERASE] = "DELETE FROM event" OF_USER,
    [STATEMENT_EXPIRE] = "DELETE FROM event WHERE id > ?1 AND id <= ?2 AND timestamp < ?3",
    [STATEMENT_HAS_MIGRATIONS] = "SELECT 1 FROM sqlite_master"
                                 " WHERE type = 'table' AND name = 'schema_migration'",
    [STATEMENT_MIGRATIONS] = "SELECT version, applied_at FROM schema_migration",
    [STATEMENT_MIGRATED] = "INSERT INTO schema_migration (version, name, applied_at)"
                           " VALUES (?1, ?2, " NOW ")",
};

int store_sqlite_prepare(struct store_sqlite *sqlite, enum store_sqlite_statement which,
                         sqlite3_stmt **ret, struct err *err)
{
    if (sqlite->statements[which] == NULL) {
        int result =
            sqlite3_prepare_v3(sqlite->database, texts[which], -1, SQLITE_PREPARE_PERSISTENT,
                               &sqlite->statements[which], NULL);

        if (result != SQLITE_OK)
            return store_sqlite_refusal(sqlite, result, "prepare", err);
    }
    *ret = sqlite->statements[which];
    return 0;
}

bool store_sqlite_compiles(struct store_sqlite *sqlite, enum store_sqlite_statement which)
{
    sqlite3_stmt *statement;
    int result = sqlite3_prepare_v3(sqlite->database, texts[which], -1, 0, &statement, NULL);

    sqlite3_finalize(statement);
    return result == SQLITE_OK;
}

int store_sqlite_row(struct store_sqlite *sqlite, sqlite3_stmt *statement, bool *ret_row,
                     struct err *err)
{
    int result = sqlite3_step(statement);

    if (result != SQLITE_ROW && result != SQLITE_DONE)
        return store_sqlite_refusal(sqlite, result, "execute", err);
    *ret_row = result == SQLITE_ROW;
    return 0;
}

int store_sqlite_run(struct store_sqlite *sqlite, sqlite3_stmt *statement, struct err *err)
{
    bool row;
    int error = store_sqlite_row(sqlite, statement, &row, err);

    sqlite3_reset(statement);
    return error;
}

int store_sqlite_exec(struct store_sqlite *sqlite, const char *sql, struct err *err)
{
    int result = sqlite3_exec(sqlite->database, sql, NULL, NULL, NULL);

    return result == SQLITE_OK ? 0 : store_sqlite_refusal(sqlite, result, "execute", err);
}

/* Whether the handle is of no more use after this error. */
static bool is_fatal(int result)
{
    switch (result & 0xff) {
    case SQLITE_IOERR:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
        return true;
    default:
        return false;
    }
}

void store_sqlite_recover(struct store_sqlite *sqlite)
{
    bool fatal;

    if (sqlite->database == NULL)
        return;
    fatal = is_fatal(sqlite3_errcode(sqlite->database));
    sqlite->unwinding = true;
    if (!sqlite3_get_autocommit(sqlite->database) &&
        sqlite3_exec(sqlite->database, "ROLLBACK", NULL, NULL, NULL) != SQLITE_OK)
        fatal = true;
    if (fatal)
        store_sqlite_break(sqlite);
    sqlite->unwinding = false;
}

void store_sqlite_bind(sqlite3_stmt *statement, int index, struct slice text)
{
    if (text.at == NULL)
        sqlite3_bind_null(statement, index);
    else
        sqlite3_bind_text(statement, index, text.at, (int)text.len, SQLITE_STATIC);
}

struct slice store_sqlite_text(sqlite3_stmt *statement, int column)
{
    const char *at = (const char *)sqlite3_column_text(statement, column);

    return (struct slice){at, (size_t)sqlite3_column_bytes(statement, column)};
}
