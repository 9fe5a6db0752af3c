/*
 * Reading failed transactions.
 *
 * A walk takes one row at a time and calls the visitor with the lock released, so that a
 * visitor may be slow, or retry and discard what it is shown. It goes by position: what
 * changes meanwhile behind it does not matter, what changes ahead of it is seen.
 */
#include "ledger/ledger_priv.h"

#include <inttypes.h>

/* Copies the current row; the slices point into *storage, which is emptied first. */
static void read_row(sqlite3_stmt *row, struct ledger_failed *ret, struct buf *storage)
{
    size_t reason_len;
    size_t record_len;

    storage->len = 0;
    reason_len = ledger_copy(row, 4, storage);
    record_len = ledger_copy(row, 5, storage);
    *ret = (struct ledger_failed){
        .position = (uint64_t)sqlite3_column_int64(row, 0),
        .attempts = (uint32_t)sqlite3_column_int64(row, 1),
        .failed_us = sqlite3_column_int64(row, 2),
        .retrying = sqlite3_column_int(row, 3) != 0,
        .reason = {storage->data, reason_len},
        .record = {storage->data + reason_len, record_len},
    };
}

int ledger_find(struct ledger *ledger, uint64_t position, struct ledger_failed *ret,
                struct buf *storage, struct err *err)
{
    struct ledger_failed found = {0};
    sqlite3_stmt *statement;
    int code;

    pthread_mutex_lock(&ledger->lock);
    statement = ledger_statement(ledger, LEDGER_FIND);
    code = sqlite3_bind_int64(statement, 1, ledger_key(position));
    if (code == SQLITE_OK)
        code = ledger_row(ledger, LEDGER_FIND);
    if (code == SQLITE_OK) {
        read_row(statement, &found, storage);
        code = ledger_done(ledger, LEDGER_FIND);
    }
    if (code != SQLITE_OK)
        code = ledger_fault(ledger, code, err, "find %" PRIu64, position);
    pthread_mutex_unlock(&ledger->lock);
    if (code == 0)
        *ret = found;
    return code;
}

/* The first of this kind behind key `after`. */
static int next_failed(struct ledger *ledger, bool retrying, int64_t after,
                       struct ledger_failed *ret, struct buf *storage)
{
    sqlite3_stmt *statement = ledger_statement(ledger, LEDGER_NEXT);
    int code = sqlite3_bind_int(statement, 1, retrying);

    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(statement, 2, after);
    if (code == SQLITE_OK)
        code = ledger_row(ledger, LEDGER_NEXT);
    if (code != SQLITE_OK)
        return code;
    read_row(statement, ret, storage);
    return ledger_done(ledger, LEDGER_NEXT);
}

int ledger_each_failed(struct ledger *ledger, bool retrying, uint64_t after, bool from_start,
                       unsigned limit, ledger_failed_visitor *each, void *arg, struct err *err)
{
    struct buf storage = {0};
    int64_t key = from_start ? -1 : ledger_key(after);
    int result = 0;

    for (unsigned i = 0; i < limit && result == 0; i++) {
        struct ledger_failed failed;
        int code;

        pthread_mutex_lock(&ledger->lock);
        code = next_failed(ledger, retrying, key, &failed, &storage);
        if (code != SQLITE_OK && code != LEDGER_ABSENT)
            result = ledger_fault(ledger, code, err, "list behind %" PRId64, key);
        pthread_mutex_unlock(&ledger->lock);
        if (code != SQLITE_OK)
            break;
        key = ledger_key(failed.position);
        result = each(arg, &failed);
    }
    buf_free(&storage);
    return result < 0 ? result : 0;
}
