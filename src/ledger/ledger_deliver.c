/*
 * The cursor and the deliveries.
 *
 * Several deliveries a second, each with a new cursor, are the room's everyday work:
 * ledger_delivered_to() writes both with one sync. A delivery alone is not synced. Old ones
 * are trimmed every TRIM_EVERY deliveries instead of one by one, which would touch a second
 * page each time; walks do not show what only waits to be trimmed.
 */
#include "ledger/ledger_priv.h"

#include <inttypes.h>

#define TRIM_EVERY 64
/* More than are added meanwhile, so that a lowered bound is reached after some rounds. */
#define TRIM_STEP 512

int ledger_cursor(struct ledger *ledger, uint64_t *ret_position, struct err *err)
{
    (void)err;
    pthread_mutex_lock(&ledger->lock);
    *ret_position = ledger->cursor;
    pthread_mutex_unlock(&ledger->lock);
    return 0;
}

static int write_cursor(struct ledger *ledger, uint64_t position)
{
    sqlite3_stmt *statement = ledger_statement(ledger, LEDGER_SET_META);
    int code = ledger_bind_text(statement, 1, SLICE("cursor"));

    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(statement, 2, ledger_key(position));
    return code == SQLITE_OK ? ledger_run(ledger, LEDGER_SET_META) : code;
}

int ledger_set_cursor(struct ledger *ledger, uint64_t position, struct err *err)
{
    int code;

    pthread_mutex_lock(&ledger->lock);
    code = ledger_begin(ledger, LEDGER_DURABLE);
    if (code == SQLITE_OK)
        code = write_cursor(ledger, position);
    code = ledger_finish(ledger, code, err, "move the cursor to %" PRIu64, position);
    if (code == 0)
        ledger->cursor = position;
    pthread_mutex_unlock(&ledger->lock);
    return code;
}

/* The first delivery that is still shown if `next` is the number of the next one. */
static int64_t first_kept(const struct ledger *ledger, int64_t next)
{
    return ledger->deliveries_kept >= next ? 1 : next - ledger->deliveries_kept;
}

static int insert(struct ledger *ledger, const struct ledger_delivery *delivery)
{
    const int64_t numbers[] = {
        ledger->next_delivery,      ledger_key(delivery->first),
        ledger_key(delivery->last), ledger_key(delivery->transactions),
        ledger_key(delivery->rows), delivery->started_us,
        delivery->duration_us,
    };
    sqlite3_stmt *statement = ledger_statement(ledger, LEDGER_DELIVER);
    int code = SQLITE_OK;

    for (int i = 0; i < 7 && code == SQLITE_OK; i++)
        code = sqlite3_bind_int64(statement, i + 1, numbers[i]);
    if (code == SQLITE_OK)
        code = ledger_bind_text(statement, 8, delivery->outcome);
    if (code == SQLITE_OK && delivery->error.at != NULL)
        code = ledger_bind_text(statement, 9, delivery->error);
    return code == SQLITE_OK ? ledger_run(ledger, LEDGER_DELIVER) : code;
}

static int trim(struct ledger *ledger)
{
    sqlite3_stmt *statement = ledger_statement(ledger, LEDGER_TRIM);
    int code;

    if (ledger->next_delivery % TRIM_EVERY != 0)
        return SQLITE_OK;
    code = sqlite3_bind_int64(statement, 1, first_kept(ledger, ledger->next_delivery + 1));
    if (code == SQLITE_OK)
        code = sqlite3_bind_int(statement, 2, TRIM_STEP);
    return code == SQLITE_OK ? ledger_run(ledger, LEDGER_TRIM) : code;
}

/* Had any of them failed before, it has not any more. */
static int forget_stored(struct ledger *ledger, const struct ledger_delivery *delivery,
                         struct ledger_counts *ret_after)
{
    sqlite3_stmt *statement = ledger_statement(ledger, LEDGER_STORED);
    int code;

    *ret_after = ledger_counts(ledger);
    if (ret_after->failed + ret_after->retrying == 0)
        return SQLITE_OK;
    code = sqlite3_bind_int64(statement, 1, ledger_key(delivery->first));
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(statement, 2, ledger_key(delivery->last));
    if (code == SQLITE_OK)
        code = ledger_run(ledger, LEDGER_STORED);
    if (code == SQLITE_OK && sqlite3_changes(ledger->db) > 0)
        code = ledger_count(ledger, ret_after);
    return code;
}

static int deliver(struct ledger *ledger, const struct ledger_delivery *delivery,
                   const uint64_t *cursor, struct err *err)
{
    struct ledger_counts before, after;
    int code;

    pthread_mutex_lock(&ledger->lock);
    before = after = ledger_counts(ledger);
    code = ledger_begin(ledger, cursor != NULL ? LEDGER_DURABLE : LEDGER_SOFT);
    if (code == SQLITE_OK)
        code = insert(ledger, delivery);
    if (code == SQLITE_OK)
        code = trim(ledger);
    if (code == SQLITE_OK && cursor != NULL)
        code = write_cursor(ledger, *cursor);
    if (code == SQLITE_OK && cursor != NULL)
        code = forget_stored(ledger, delivery, &after);
    code = ledger_finish(ledger, code, err, "record the delivery from %" PRIu64 " to %" PRIu64,
                         delivery->first, delivery->last);
    if (code == 0) {
        ledger->next_delivery += 1;
        ledger_counts_change(ledger, &before, &after);
        if (cursor != NULL)
            ledger->cursor = *cursor;
    }
    pthread_mutex_unlock(&ledger->lock);
    return code;
}

int ledger_delivered(struct ledger *ledger, const struct ledger_delivery *delivery, struct err *err)
{
    return deliver(ledger, delivery, NULL, err);
}

int ledger_delivered_to(struct ledger *ledger, const struct ledger_delivery *delivery,
                        uint64_t cursor, struct err *err)
{
    return deliver(ledger, delivery, &cursor, err);
}

static void read_row(sqlite3_stmt *row, struct ledger_delivery *ret, struct buf *storage)
{
    bool has_error = sqlite3_column_type(row, 8) != SQLITE_NULL;
    size_t outcome_len;
    size_t error_len;

    storage->len = 0;
    outcome_len = ledger_copy(row, 7, storage);
    error_len = ledger_copy(row, 8, storage);
    *ret = (struct ledger_delivery){
        .number = sqlite3_column_int64(row, 0),
        .first = (uint64_t)sqlite3_column_int64(row, 1),
        .last = (uint64_t)sqlite3_column_int64(row, 2),
        .transactions = (uint64_t)sqlite3_column_int64(row, 3),
        .rows = (uint64_t)sqlite3_column_int64(row, 4),
        .started_us = sqlite3_column_int64(row, 5),
        .duration_us = sqlite3_column_int64(row, 6),
        .outcome = {storage->data, outcome_len},
        .error = {has_error ? storage->data + outcome_len : NULL, error_len},
    };
}

/* The newest one before `before` that is kept. */
static int previous(struct ledger *ledger, int64_t before, struct ledger_delivery *ret,
                    struct buf *storage)
{
    sqlite3_stmt *statement = ledger_statement(ledger, LEDGER_DELIVERY_BEFORE);
    int code = sqlite3_bind_int64(statement, 1, before);

    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(statement, 2, first_kept(ledger, ledger->next_delivery));
    if (code == SQLITE_OK)
        code = ledger_row(ledger, LEDGER_DELIVERY_BEFORE);
    if (code != SQLITE_OK)
        return code;
    read_row(statement, ret, storage);
    return ledger_done(ledger, LEDGER_DELIVERY_BEFORE);
}

int ledger_each_delivery(struct ledger *ledger, unsigned limit, ledger_delivery_visitor *each,
                         void *arg, struct err *err)
{
    struct buf storage = {0};
    int64_t before = INT64_MAX;
    int result = 0;

    for (unsigned i = 0; i < limit && result == 0; i++) {
        struct ledger_delivery delivery;
        int code;

        pthread_mutex_lock(&ledger->lock);
        code = previous(ledger, before, &delivery, &storage);
        if (code != SQLITE_OK && code != LEDGER_ABSENT)
            result = ledger_fault(ledger, code, err, "list deliveries");
        pthread_mutex_unlock(&ledger->lock);
        if (code != SQLITE_OK)
            break;
        before = delivery.number;
        result = each(arg, &delivery);
    }
    buf_free(&storage);
    return result < 0 ? result : 0;
}
