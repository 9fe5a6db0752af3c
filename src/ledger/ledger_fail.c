/*
 * The life of a failed transaction.
 *
 *              ledger_fail()              ledger_retry()
 *   (absent) ────────────────▶ failed ◀──────────────────▶ retrying
 *                                │         ledger_fail()       │
 *               ledger_discard() ▼                             ▼ ledger_recovered()
 *                             (absent)                      (absent)
 *
 * A retrying one cannot be discarded: the forwarder may be storing it at this moment.
 * The counts in memory change after the commit, together.
 */
#include "ledger/ledger_priv.h"

#include <inttypes.h>

int ledger_count(struct ledger *ledger, struct ledger_counts *ret)
{
    sqlite3_stmt *statement = ledger_statement(ledger, LEDGER_COUNT);
    struct ledger_counts counts = *ret;
    int code = ledger_row(ledger, LEDGER_COUNT);

    if (code != SQLITE_OK)
        return code;
    counts.failed = (uint64_t)sqlite3_column_int64(statement, 0);
    counts.retrying = (uint64_t)sqlite3_column_int64(statement, 1);
    counts.failed_bytes = (uint64_t)sqlite3_column_int64(statement, 2);
    code = ledger_done(ledger, LEDGER_COUNT);
    if (code == SQLITE_OK)
        *ret = counts;
    return code;
}

struct ledger_counts ledger_counts(struct ledger *ledger)
{
    struct ledger_counts counts;

    pthread_mutex_lock(&ledger->counts_lock);
    counts = ledger->counts;
    pthread_mutex_unlock(&ledger->counts_lock);
    counts.full =
        (counts.max_failed != 0 && counts.failed + counts.retrying >= counts.max_failed) ||
        (counts.max_bytes != 0 && counts.failed_bytes >= counts.max_bytes);
    return counts;
}

void ledger_bound(struct ledger *ledger, uint64_t max_failed, uint64_t max_bytes)
{
    pthread_mutex_lock(&ledger->counts_lock);
    ledger->counts.max_failed = max_failed;
    ledger->counts.max_bytes = max_bytes;
    pthread_mutex_unlock(&ledger->counts_lock);
}

/* Words for the bound that is reached. */
static int refuse_more(struct ledger *ledger, struct err *err)
{
    struct ledger_counts counts = ledger_counts(ledger);

    return err_set(err, ERR_FULL,
                   "%" PRIu64 " failed transactions of %" PRIu64
                   " bytes are kept, and no more (FAILED_MAX, FAILED_MAX_BYTES): retry or discard "
                   "some",
                   counts.failed + counts.retrying, counts.failed_bytes);
}

void ledger_counts_add(struct ledger *ledger, struct ledger_counts change)
{
    pthread_mutex_lock(&ledger->counts_lock);
    ledger->counts.failed += change.failed;
    ledger->counts.retrying += change.retrying;
    ledger->counts.failed_bytes += change.failed_bytes;
    ledger->counts.discarded += change.discarded;
    pthread_mutex_unlock(&ledger->counts_lock);
}

void ledger_counts_change(struct ledger *ledger, const struct ledger_counts *before,
                          const struct ledger_counts *after)
{
    ledger_counts_add(ledger, (struct ledger_counts){
                                  .failed = after->failed - before->failed,
                                  .retrying = after->retrying - before->retrying,
                                  .failed_bytes = after->failed_bytes - before->failed_bytes,
                              });
}

/* Takes what is there at this position, if anything, out of *change. */
static int subtract_present(struct ledger *ledger, uint64_t position, struct ledger_counts *change)
{
    sqlite3_stmt *statement = ledger_statement(ledger, LEDGER_KIND);
    int code = sqlite3_bind_int64(statement, 1, ledger_key(position));

    if (code == SQLITE_OK)
        code = ledger_row(ledger, LEDGER_KIND);
    if (code == LEDGER_ABSENT)
        return SQLITE_OK;
    if (code != SQLITE_OK)
        return code;
    if (sqlite3_column_int(statement, 0) != 0)
        change->retrying -= 1;
    else
        change->failed -= 1;
    change->failed_bytes -= (uint64_t)sqlite3_column_int64(statement, 1);
    return ledger_done(ledger, LEDGER_KIND);
}

static int put(struct ledger *ledger, uint64_t position, struct slice record, struct slice reason,
               int64_t now_us)
{
    sqlite3_stmt *statement = ledger_statement(ledger, LEDGER_FAIL);
    int code = sqlite3_bind_int64(statement, 1, ledger_key(position));

    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(statement, 2, now_us);
    if (code == SQLITE_OK)
        code = ledger_bind_text(statement, 3, reason);
    if (code == SQLITE_OK)
        code = ledger_bind_blob(statement, 4, record);
    return code == SQLITE_OK ? ledger_run(ledger, LEDGER_FAIL) : code;
}

int ledger_fail(struct ledger *ledger, uint64_t position, struct slice record, struct slice reason,
                int64_t now_us, struct err *err)
{
    struct ledger_counts change = {.failed = 1, .failed_bytes = record.len};
    bool is_new, full;
    int code;

    pthread_mutex_lock(&ledger->lock);
    code = ledger_begin(ledger, LEDGER_DURABLE);
    if (code == SQLITE_OK)
        code = subtract_present(ledger, position, &change);
    is_new = code == SQLITE_OK && change.failed == 1 && change.retrying == 0;
    full = is_new && ledger_counts(ledger).full;
    if (full)
        code = SQLITE_ABORT;
    if (code == SQLITE_OK)
        code = put(ledger, position, record, reason, now_us);
    code = ledger_finish(ledger, code, err, "record the failure of %" PRIu64, position);
    if (full)
        code = refuse_more(ledger, err);
    if (code == 0)
        ledger_counts_add(ledger, change);
    pthread_mutex_unlock(&ledger->lock);
    return code;
}

int ledger_retry(struct ledger *ledger, uint64_t position, struct err *err)
{
    struct ledger_counts change = {.failed = UINT64_MAX, .retrying = 1};
    int code;

    pthread_mutex_lock(&ledger->lock);
    code = ledger_begin(ledger, LEDGER_DURABLE);
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(ledger_statement(ledger, LEDGER_RETRY), 1, ledger_key(position));
    if (code == SQLITE_OK)
        code = ledger_run(ledger, LEDGER_RETRY);
    if (code == SQLITE_OK && sqlite3_changes(ledger->db) == 0)
        code = LEDGER_ABSENT;
    code = ledger_finish(ledger, code, err, "retry %" PRIu64, position);
    if (code == 0)
        ledger_counts_add(ledger, change);
    pthread_mutex_unlock(&ledger->lock);
    return code;
}

/* Deletes one of this kind; *ret_bytes is the size of its record. */
static int remove_one(struct ledger *ledger, uint64_t position, bool retrying, uint64_t *ret_bytes)
{
    sqlite3_stmt *statement = ledger_statement(ledger, LEDGER_REMOVE);
    int code = sqlite3_bind_int64(statement, 1, ledger_key(position));

    if (code == SQLITE_OK)
        code = sqlite3_bind_int(statement, 2, retrying);
    if (code == SQLITE_OK)
        code = ledger_row(ledger, LEDGER_REMOVE);
    if (code != SQLITE_OK)
        return code;
    *ret_bytes = (uint64_t)sqlite3_column_int64(statement, 0);
    return ledger_done(ledger, LEDGER_REMOVE);
}

int ledger_recovered(struct ledger *ledger, uint64_t position, struct err *err)
{
    uint64_t bytes = 0;
    int code;

    pthread_mutex_lock(&ledger->lock);
    code = ledger_begin(ledger, LEDGER_SOFT);
    if (code == SQLITE_OK)
        code = remove_one(ledger, position, true, &bytes);
    code = ledger_finish(ledger, code, err, "forget %" PRIu64, position);
    if (code == 0)
        ledger_counts_add(
            ledger, (struct ledger_counts){.retrying = UINT64_MAX, .failed_bytes = 0 - bytes});
    pthread_mutex_unlock(&ledger->lock);
    return code;
}

int ledger_discard_one(struct ledger *ledger, uint64_t position, bool retrying,
                       struct ledger_counts *change)
{
    sqlite3_stmt *statement = ledger_statement(ledger, LEDGER_NOTE_DISCARDED);
    uint64_t bytes = 0;
    int code = remove_one(ledger, position, retrying, &bytes);

    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(statement, 1, ledger_key(position));
    if (code == SQLITE_OK)
        code = ledger_run(ledger, LEDGER_NOTE_DISCARDED);
    if (code != SQLITE_OK)
        return code;
    change->discarded += (uint64_t)sqlite3_changes(ledger->db); /* 0: it was noted before */
    /* If it is undone, some are looked for that need not be. */
    if (position >= atomic_load(&ledger->discarded_until))
        atomic_store(&ledger->discarded_until, position + 1);
    change->failed_bytes -= bytes;
    if (retrying)
        change->retrying -= 1;
    else
        change->failed -= 1;
    return SQLITE_OK;
}

int ledger_discard(struct ledger *ledger, uint64_t position, struct err *err)
{
    struct ledger_counts change = {0};
    int code;

    pthread_mutex_lock(&ledger->lock);
    code = ledger_begin(ledger, LEDGER_DURABLE);
    if (code == SQLITE_OK)
        code = ledger_discard_one(ledger, position, false, &change);
    code = ledger_finish(ledger, code, err, "discard %" PRIu64, position);
    if (code == 0)
        ledger_counts_add(ledger, change);
    pthread_mutex_unlock(&ledger->lock);
    return code;
}

int ledger_discarded(struct ledger *ledger, uint64_t position, bool *ret, struct err *err)
{
    int code, result;

    if (position >= atomic_load_explicit(&ledger->discarded_until, memory_order_acquire)) {
        *ret = false;
        return 0;
    }
    pthread_mutex_lock(&ledger->lock);
    code = sqlite3_bind_int64(ledger_statement(ledger, LEDGER_FIND_DISCARDED), 1,
                              ledger_key(position));
    if (code == SQLITE_OK)
        code = ledger_row(ledger, LEDGER_FIND_DISCARDED);
    *ret = code == SQLITE_OK;
    if (code == SQLITE_OK)
        code = ledger_done(ledger, LEDGER_FIND_DISCARDED);
    else if (code == LEDGER_ABSENT)
        code = SQLITE_OK;
    result = code == SQLITE_OK ? 0 : ledger_fault(ledger, code, err, "look for %" PRIu64, position);
    pthread_mutex_unlock(&ledger->lock);
    return result;
}

int ledger_reopen_from(struct ledger *ledger, uint64_t position, struct err *err)
{
    struct ledger_counts before;
    struct ledger_counts after = {0};
    int code;

    pthread_mutex_lock(&ledger->lock);
    before = ledger_counts(ledger);
    code = ledger_begin(ledger, LEDGER_DURABLE);
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(ledger_statement(ledger, LEDGER_REOPEN), 1, ledger_key(position));
    if (code == SQLITE_OK)
        code = ledger_run(ledger, LEDGER_REOPEN);
    if (code == SQLITE_OK)
        code = ledger_count(ledger, &after);
    code = ledger_finish(ledger, code, err, "end retries from %" PRIu64 " on", position);
    if (code == 0)
        ledger_counts_change(ledger, &before, &after);
    pthread_mutex_unlock(&ledger->lock);
    return code;
}

int ledger_ahead(struct ledger *ledger, uint64_t position, uint64_t *ret, struct err *err)
{
    sqlite3_stmt *statement;
    uint64_t count = 0;
    int code;

    if (ledger_counts(ledger).failed == 0) {
        *ret = 0;
        return 0;
    }
    pthread_mutex_lock(&ledger->lock);
    statement = ledger_statement(ledger, LEDGER_AHEAD);
    code = sqlite3_bind_int64(statement, 1, ledger_key(position));
    if (code == SQLITE_OK)
        code = ledger_row(ledger, LEDGER_AHEAD);
    if (code == SQLITE_OK) {
        count = (uint64_t)sqlite3_column_int64(statement, 0);
        code = ledger_done(ledger, LEDGER_AHEAD);
    }
    code = code == SQLITE_OK ? 0 : ledger_fault(ledger, code, err, "count what failed");
    pthread_mutex_unlock(&ledger->lock);
    if (code == 0)
        *ret = count;
    return code;
}
