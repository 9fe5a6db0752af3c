/*
 * Running statements, and what their failures mean.
 *
 * A write is BEGIN IMMEDIATE, statements, COMMIT. A durable COMMIT returns after an
 * fdatasync of SQLite's write-ahead file; a soft one after write(2). When any step fails,
 * everything is undone and the caller gets words: a full disk is ERR_FULL and passes,
 * damaged pages are ERR_CORRUPT, the rest is ERR_IO.
 *
 * A failed sync does not pass: the kernel may have dropped the unwritten pages and report
 * success the next time, and frames behind a hole in the write-ahead file are lost with it.
 * So nothing more is written to these files: the next write begins by writing all of it anew
 * (ledger_mend.c), and fails as long as that does.
 */
#include "ledger/ledger_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const sql[LEDGER_STATEMENTS] = {
    [LEDGER_BEGIN] = "BEGIN IMMEDIATE",
    [LEDGER_COMMIT] = "COMMIT",
    [LEDGER_ROLLBACK] = "ROLLBACK",
    [LEDGER_COUNT] = "SELECT count(*) FILTER (WHERE retrying = 0),"
                     " count(*) FILTER (WHERE retrying = 1), coalesce(sum(length(record)), 0)"
                     " FROM failed",
    [LEDGER_GET_META] = "SELECT value FROM meta WHERE name = ?1",
    [LEDGER_SET_META] = "UPDATE meta SET value = ?2 WHERE name = ?1",
    [LEDGER_NOTE_DISCARDED] = "INSERT OR IGNORE INTO discarded VALUES (?1)",
    [LEDGER_FIND_DISCARDED] = "SELECT 1 FROM discarded WHERE position = ?1",
    [LEDGER_FIND] = "SELECT position, attempts, failed_us, retrying, reason, record FROM failed"
                    " WHERE position = ?1",
    [LEDGER_NEXT] = "SELECT position, attempts, failed_us, retrying, reason, record FROM failed"
                    " WHERE retrying = ?1 AND position > ?2 ORDER BY position LIMIT 1",
    [LEDGER_KIND] = "SELECT retrying, length(record) FROM failed WHERE position = ?1",
    [LEDGER_FAIL] = "INSERT INTO failed (position, attempts, failed_us, retrying, reason, record)"
                    " VALUES (?1, 1, ?2, 0, ?3, ?4) ON CONFLICT (position) DO UPDATE SET"
                    " attempts = attempts + 1, failed_us = excluded.failed_us, retrying = 0,"
                    " reason = excluded.reason, record = excluded.record",
    [LEDGER_RETRY] = "UPDATE failed SET retrying = 1 WHERE position = ?1 AND retrying = 0",
    [LEDGER_REMOVE] = "DELETE FROM failed WHERE position = ?1 AND retrying = ?2"
                      " RETURNING length(record)",
    [LEDGER_REOPEN] = "UPDATE failed SET retrying = 0 WHERE retrying = 1 AND position >= ?1",
    [LEDGER_AHEAD] = "SELECT count(*) FROM failed WHERE retrying = 0 AND position >= ?1",
    [LEDGER_STORED] = "DELETE FROM failed WHERE position BETWEEN ?1 AND ?2",
    [LEDGER_LAST_DELIVERY] = "SELECT coalesce(max(number), 0) FROM delivery",
    [LEDGER_DELIVER] = "INSERT INTO delivery (number, first, last, transactions, \"rows\","
                       " started_us, duration_us, outcome, error)"
                       " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [LEDGER_TRIM] = "DELETE FROM delivery WHERE number IN"
                    " (SELECT number FROM delivery WHERE number < ?1 ORDER BY number LIMIT ?2)",
    [LEDGER_DELIVERY_BEFORE] = "SELECT number, first, last, transactions, \"rows\", started_us,"
                               " duration_us, outcome, error FROM delivery"
                               " WHERE number < ?1 AND number >= ?2"
                               " ORDER BY number DESC LIMIT 1",
    [LEDGER_ORDERS] = "SELECT user, erase, position, ordered_us, done FROM forgotten",
    [LEDGER_ORDER] = "INSERT OR REPLACE INTO forgotten (user, erase, position, ordered_us, done)"
                     " VALUES (?1, ?2, ?3, ?4, ?5)",
    [LEDGER_DROP_ORDERS] = "DELETE FROM forgotten WHERE done = 1 AND position <= ?1"
                           " AND ordered_us < ?2",
    [LEDGER_REPLACE] = "UPDATE failed SET record = ?2 WHERE position = ?1",
    [LEDGER_MASK_REASONS] = "UPDATE failed SET reason = replace(reason, ?1, ?2)"
                            " WHERE instr(reason, ?1) > 0",
    [LEDGER_MASK_ERRORS] = "UPDATE delivery SET error = replace(error, ?1, ?2)"
                           " WHERE error IS NOT NULL AND instr(error, ?1) > 0",
};

int ledger_prepare(struct ledger *ledger)
{
    for (int i = 0; i < LEDGER_STATEMENTS; i++) {
        int code = sqlite3_prepare_v3(ledger->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                                      &ledger->statements[i], NULL);

        if (code != SQLITE_OK)
            return code;
    }
    return SQLITE_OK;
}

int ledger_exec(struct ledger *ledger, const char *text)
{
    int code;

    errno = 0;
    code = sqlite3_exec(ledger->db, text, NULL, NULL, NULL);
    ledger->system = errno;
    return code;
}

sqlite3_stmt *ledger_statement(struct ledger *ledger, enum ledger_statement which)
{
    return ledger->statements[which];
}

int ledger_bind_text(sqlite3_stmt *statement, int index, struct slice text)
{
    return sqlite3_bind_text64(statement, index, text.at != NULL ? text.at : "", text.len,
                               SQLITE_STATIC, SQLITE_UTF8);
}

int ledger_bind_blob(sqlite3_stmt *statement, int index, struct slice bytes)
{
    return sqlite3_bind_blob64(statement, index, bytes.at != NULL ? bytes.at : "", bytes.len,
                               SQLITE_STATIC);
}

/* Ends the run of a statement; its own error, if any, is the connection's last one. */
static int rest(sqlite3_stmt *statement)
{
    int code = sqlite3_reset(statement);

    sqlite3_clear_bindings(statement);
    return code;
}

int ledger_run(struct ledger *ledger, enum ledger_statement which)
{
    sqlite3_stmt *statement = ledger->statements[which];

    errno = 0;
    while (sqlite3_step(statement) == SQLITE_ROW)
        continue;
    ledger->system = errno;
    return rest(statement);
}

int ledger_row(struct ledger *ledger, enum ledger_statement which)
{
    sqlite3_stmt *statement = ledger->statements[which];
    int code;

    errno = 0;
    if (sqlite3_step(statement) == SQLITE_ROW)
        return SQLITE_OK;
    ledger->system = errno;
    code = rest(statement);
    return code == SQLITE_OK ? LEDGER_ABSENT : code;
}

int ledger_done(struct ledger *ledger, enum ledger_statement which)
{
    return ledger_run(ledger, which);
}

size_t ledger_copy(sqlite3_stmt *statement, int column, struct buf *storage)
{
    const void *bytes = sqlite3_column_blob(statement, column);
    size_t len = (size_t)sqlite3_column_bytes(statement, column);

    buf_reserve(storage, len + 1); /* so that what is present but empty has an address */
    buf_append(storage, bytes, len);
    return len;
}

/* SQLite takes the level when it reads the pragma, not when a statement runs. */
static int use_sync(struct ledger *ledger, enum ledger_sync sync)
{
    int code;

    if (ledger->sync == sync)
        return SQLITE_OK;
    code = ledger_exec(ledger, sync == LEDGER_DURABLE ? "PRAGMA synchronous = FULL"
                                                      : "PRAGMA synchronous = NORMAL");
    if (code == SQLITE_OK)
        ledger->sync = sync;
    return code;
}

int ledger_begin(struct ledger *ledger, enum ledger_sync sync)
{
    int code;

    if (ledger->broken && (code = ledger_mend(ledger)) != SQLITE_OK)
        return code;
    code = use_sync(ledger, sync);
    if (code == SQLITE_OK)
        code = ledger_run(ledger, LEDGER_BEGIN);
    return code;
}

static bool out_of_space(int code, int system)
{
    /* Growing the shared index is the one failure of space that SQLite hides the errno of. */
    return (code & 0xff) == SQLITE_FULL || code == SQLITE_IOERR_SHMSIZE ||
           ((code & 0xff) == SQLITE_IOERR &&
            (system == ENOSPC || system == EDQUOT || system == EFBIG));
}

PRINTF_LIKE(4, 0)
static int fault(struct ledger *ledger, int code, struct err *err, const char *fmt, va_list args)
{
    char words[160];
    int system = ledger->system;
    const char *text = ledger->db != NULL ? sqlite3_errmsg(ledger->db) : sqlite3_errstr(code);
    bool was_broken = ledger->broken;

    vsnprintf(words, sizeof words, fmt, args);
    if (code == LEDGER_ABSENT)
        return err_set(err, ERR_NOT_FOUND, "ledger: %s: no such failed transaction", words);
    if (out_of_space(code, system))
        return err_set(err, ERR_FULL, "ledger: %s: %s", words, sqlite3_errstr(SQLITE_FULL));
    if ((code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB)
        return err_set(err, ERR_CORRUPT, "ledger: %s: %s", words, text);
    if (code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC)
        ledger->broken = true;
    if (was_broken)
        return err_set(err, ERR_IO,
                       "ledger: %s: a sync to disk failed, and writing all of it anew does so too",
                       words);
    if ((code & 0xff) == SQLITE_IOERR && system != 0)
        return err_set(err, ERR_IO, "ledger: %s: %s: %s", words, text, strerror(system));
    return err_set(err, ERR_IO, "ledger: %s: %s", words, text);
}

int ledger_fault(struct ledger *ledger, int code, struct err *err, const char *fmt, ...)
{
    va_list args;
    int result;

    va_start(args, fmt);
    result = fault(ledger, code, err, fmt, args);
    va_end(args);
    return result;
}

/* Grave errors have ended the transaction already; a rollback, even a failing one, leaves
 * none open. */
static void roll_back(struct ledger *ledger)
{
    sqlite3_stmt *statement = ledger->statements[LEDGER_ROLLBACK];

    if (ledger->db == NULL || sqlite3_get_autocommit(ledger->db))
        return;
    sqlite3_step(statement);
    rest(statement);
}

int ledger_finish(struct ledger *ledger, int code, struct err *err, const char *fmt, ...)
{
    va_list args;
    int result;

    if (code == SQLITE_OK)
        code = ledger_run(ledger, LEDGER_COMMIT);
    if (code == SQLITE_OK)
        return 0;
    va_start(args, fmt);
    result = fault(ledger, code, err, fmt, args);
    va_end(args);
    roll_back(ledger);
    return result;
}
