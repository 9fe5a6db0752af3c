/*
 * Taking a user out of what the ledger keeps: records written anew, transactions erased, and
 * names masked in the words of the store, which may quote a whole row. SQLite overwrites what
 * is deleted (secure_delete).
 */
#include "ledger/ledger_priv.h"

#include <inttypes.h>

/* The record's size of a transaction of either kind. */
static int look(struct ledger *ledger, uint64_t position, bool *ret_retrying, uint64_t *ret_bytes)
{
    sqlite3_stmt *statement = ledger_statement(ledger, LEDGER_KIND);
    int code = sqlite3_bind_int64(statement, 1, ledger_key(position));

    if (code == SQLITE_OK)
        code = ledger_row(ledger, LEDGER_KIND);
    if (code != SQLITE_OK)
        return code;
    *ret_retrying = sqlite3_column_int(statement, 0) != 0;
    *ret_bytes = (uint64_t)sqlite3_column_int64(statement, 1);
    return ledger_done(ledger, LEDGER_KIND);
}

int ledger_replace(struct ledger *ledger, uint64_t position, struct slice record, struct err *err)
{
    sqlite3_stmt *statement;
    uint64_t bytes = 0;
    bool retrying;
    int code;

    pthread_mutex_lock(&ledger->lock);
    code = ledger_begin(ledger, LEDGER_DURABLE);
    statement = ledger_statement(ledger, LEDGER_REPLACE);
    if (code == SQLITE_OK)
        code = look(ledger, position, &retrying, &bytes);
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(statement, 1, ledger_key(position));
    if (code == SQLITE_OK)
        code = ledger_bind_blob(statement, 2, record);
    if (code == SQLITE_OK)
        code = ledger_run(ledger, LEDGER_REPLACE);
    code = ledger_finish(ledger, code, err, "write %" PRIu64 " anew", position);
    if (code == 0)
        ledger_counts_add(ledger, (struct ledger_counts){.failed_bytes = record.len - bytes});
    pthread_mutex_unlock(&ledger->lock);
    return code;
}

int ledger_erase(struct ledger *ledger, uint64_t position, struct err *err)
{
    struct ledger_counts change = {0};
    uint64_t bytes = 0;
    bool retrying = false;
    int code;

    pthread_mutex_lock(&ledger->lock);
    code = ledger_begin(ledger, LEDGER_DURABLE);
    if (code == SQLITE_OK)
        code = look(ledger, position, &retrying, &bytes);
    if (code == SQLITE_OK)
        code = ledger_discard_one(ledger, position, retrying, &change);
    code = ledger_finish(ledger, code, err, "erase %" PRIu64, position);
    if (code == 0)
        ledger_counts_add(ledger, change);
    pthread_mutex_unlock(&ledger->lock);
    return code;
}

static int mask(struct ledger *ledger, enum ledger_statement which, struct slice text,
                struct slice by)
{
    sqlite3_stmt *statement = ledger_statement(ledger, which);
    int code = ledger_bind_text(statement, 1, text);

    if (code == SQLITE_OK)
        code = ledger_bind_text(statement, 2, by);
    return code == SQLITE_OK ? ledger_run(ledger, which) : code;
}

int ledger_mask(struct ledger *ledger, struct slice text, struct slice by, struct err *err)
{
    int code;

    pthread_mutex_lock(&ledger->lock);
    code = ledger_begin(ledger, LEDGER_DURABLE);
    if (code == SQLITE_OK)
        code = mask(ledger, LEDGER_MASK_REASONS, text, by);
    if (code == SQLITE_OK)
        code = mask(ledger, LEDGER_MASK_ERRORS, text, by);
    code = ledger_finish(ledger, code, err, "mask a user");
    pthread_mutex_unlock(&ledger->lock);
    return code;
}
