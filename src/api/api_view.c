/*
 * Where every transaction is, as JSON: from queue, ledger and, for what the log no longer
 * holds, the store.
 *
 * A transaction behind the log's end was never accepted; one in the ledger is failed (or
 * waits for another try); one at or behind the cursor is uncompleted; any other that exists
 * is successful. "Exists" means: the log still holds a whole record at its position, or the
 * store has its rows.
 */
#include "api/api_found.h"

#include "base/clock.h"
#include "json/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void write_time(struct buf *out, const char *name, int64_t instant_us)
{
    char text[CLOCK_TEXT_SIZE];

    clock_format(text, instant_us);
    buf_printf(out, ",\"%s\":\"%s\"", name, text);
}

void write_id(const struct api_view *view, struct buf *out, const char *name, uint64_t position)
{
    char id[TXN_ID_SIZE];

    txn_id_format(id, queue_node(view->queue), position);
    buf_printf(out, "\"%s\":\"%s\"", name, id);
}

void write_data(struct buf *out, const struct txn *txn)
{
    buf_append_text(out, ",\"data\":[");
    for (uint32_t i = 0; i < txn->count; i++) {
        buf_append_text(out, i == 0 ? "{\"key\":" : ",{\"key\":");
        json_write_string(out, txn->datapoints[i].key);
        buf_append_text(out, ",\"value\":");
        json_write_string(out, txn->datapoints[i].value);
        buf_append_char(out, '}');
    }
    buf_append_char(out, ']');
}

void write_found(const struct api_view *view, struct buf *out, const struct found *found)
{
    buf_append_char(out, '{');
    write_id(view, out, "id", found->position);
    buf_printf(out, ",\"status\":\"%s\",\"product\":", found->status);
    json_write_string(out, slice_of(found->product));
    buf_append_text(out, ",\"pennkey\":");
    json_write_string(out, found->pennkey);
    write_time(out, "timestamp", found->timestamp_us);
    write_time(out, "received_at", found->received_us);
    buf_printf(out, ",\"datapoints\":%u,\"attempts\":%u,\"error\":", found->datapoints,
               found->attempts);
    json_write_string(out, found->error);
    if (found->whole != NULL)
        write_data(out, found->whole);
    buf_append_char(out, '}');
}

bool from_txn(const struct api_view *view, struct found *found, const struct txn *txn)
{
    enum ledger_verdict verdict = ledger_verdict(view->ledger, found->position, txn->pennkey);

    found->product = txn_product_name(view->products, txn->product);
    found->pennkey = verdict == LEDGER_KEEP ? txn->pennkey : (struct slice){0};
    if (found->pennkey.at != NULL && users_pseudonym(view->users, txn->pennkey, found->pseudonym))
        found->pennkey = slice_of(found->pseudonym);
    found->timestamp_us = txn->timestamp_us;
    found->received_us = txn->received_us;
    found->datapoints = txn->count;
    return verdict != LEDGER_ERASE;
}

int read_id(const struct api_view *view, struct slice id, uint64_t *ret, struct err *err)
{
    char node[TXN_NODE_SIZE];

    if (!txn_id_parse(id, node, ret) || strcmp(node, queue_node(view->queue)) != 0)
        return err_set(err, ERR_NOT_FOUND, "no transaction of this id was accepted here");
    return 0;
}

/* One whose record cannot be read is shown all the same: it can be discarded by its id, and hides
 * no others. */
static void write_unreadable(const struct api_view *view, struct buf *out,
                             const struct found *found, const char *why)
{
    buf_append_char(out, '{');
    write_id(view, out, "id", found->position);
    buf_printf(out,
               ",\"status\":\"%s\",\"product\":null,\"pennkey\":null,\"timestamp\":null,"
               "\"received_at\":null,\"datapoints\":0,\"attempts\":%u,\"error\":",
               found->status, found->attempts);
    json_write_string(out, slice_of(why));
    buf_append_char(out, '}');
}

void write_failed(const struct api_view *view, const struct ledger_failed *failed, uint64_t cursor,
                  bool whole, struct buf *out)
{
    bool pending = failed->retrying || failed->position >= cursor;
    struct txn_datapoint datapoints[TXN_MAX_DATAPOINTS];
    struct found found = {.status = pending ? "uncompleted" : "failed",
                          .position = failed->position,
                          .attempts = failed->attempts,
                          .error = failed->reason};
    struct txn txn;
    struct err err;

    if (txn_decode(failed->record, &txn, datapoints, &err) != 0) {
        write_unreadable(view, out, &found, err.text);
        return;
    }
    (void)from_txn(view, &found, &txn); /* here it is erased by the ledger itself, soon */
    if (whole)
        found.whole = &txn;
    write_found(view, out, &found);
}

static int find_in_store(const struct api_view *view, struct slice id, uint64_t position,
                         struct buf *out, struct err *err)
{
    struct store_found stored;
    int code;

    if (view->store == NULL)
        return err_set(err, ERR_UNAVAILABLE, "only the store still knows this transaction");
    if ((code = store_connect(view->store, err)) != 0 ||
        (code = store_find(view->store, id.at, &stored, err)) != 0) {
        if (code == ERR_NOT_FOUND)
            return err_set(
                err, code,
                "the store has no transaction of this id: it was never accepted here, or "
                "has been deleted, for its age or with its user");
        return err_wrap(err, "only the store still knows this transaction");
    }
    write_found(view, out,
                &(struct found){
                    .status = "successful",
                    .position = position,
                    .product = stored.product,
                    .pennkey = stored.has_pennkey ? slice_of(stored.pennkey) : (struct slice){0},
                    .timestamp_us = stored.timestamp_us,
                    .received_us = stored.received_us,
                    .datapoints = stored.datapoints,
                    .attempts = 1,
                });
    return 0;
}

static int write_by_position(const struct api_view *view, struct slice id, uint64_t position,
                             struct buf *storage, struct buf *out, struct err *err)
{
    struct txn_datapoint datapoints[TXN_MAX_DATAPOINTS];
    struct found found = {.position = position};
    struct ledger_failed failed;
    struct txn txn;
    bool discarded;
    /* The cursor first: what it has passed by now, the ledger knows if it failed. */
    uint64_t cursor = queue_status(view->queue).cursor;
    int code = ledger_find(view->ledger, position, &failed, storage, err);

    if (code == 0) {
        write_failed(view, &failed, cursor, true, out);
        return 0;
    }
    if (code != ERR_NOT_FOUND)
        return code;
    if ((code = ledger_discarded(view->ledger, position, &discarded, err)) != 0)
        return code;
    if (discarded)
        return err_set(err, ERR_NOT_FOUND, "the transaction was discarded");
    code = queue_find(view->queue, position, &txn, datapoints, storage, err);
    if (code == 0) {
        bool pending = position >= cursor;

        if (!from_txn(view, &found, &txn))
            return err_set(err, ERR_NOT_FOUND, "the transaction was deleted with its user");
        found.status = pending ? "uncompleted" : "successful";
        found.attempts = pending ? 0 : 1;
        write_found(view, out, &found);
        return 0;
    }
    if (code != ERR_NOT_FOUND && code != ERR_CORRUPT)
        return code;
    if (queue_damaged(view->queue, position))
        return err_set(err, ERR_NOT_FOUND, "the transaction is damaged on disk, see quarantine/");
    if (position >= queue_status(view->queue).log.first)
        return err_set(err, ERR_NOT_FOUND, "no transaction of this id was accepted here");
    return find_in_store(view, id, position, out, err);
}

int api_write_transaction(const struct api_view *view, struct slice id, struct buf *out,
                          struct err *err)
{
    struct buf storage = {0};
    char text[TXN_ID_SIZE];
    uint64_t position = 0;
    int code = read_id(view, id, &position, err);

    if (code != 0)
        return code;
    txn_id_format(text, queue_node(view->queue), position);
    code = write_by_position(view, slice_of(text), position, &storage, out, err);
    buf_free(&storage);
    return code;
}

/* Why a transaction that the ledger does not have, or may not change yet, stays as it is. */
static int not_failed(const struct api_view *view, struct slice id, struct buf *out,
                      struct err *err)
{
    int code = api_write_transaction(view, id, out, err);

    return code != 0 ? code : err_set(err, ERR_CONFLICT, "the transaction is not failed");
}

/* The position of one that may be failed: the cursor has passed it, so that the forwarder,
 * which may meet it again until then, keeps its hands off. */
static int read_failed_id(const struct api_view *view, struct slice id, uint64_t *ret,
                          struct buf *out, struct err *err)
{
    int code = read_id(view, id, ret, err);

    if (code == 0 && *ret >= queue_status(view->queue).cursor)
        code = not_failed(view, id, out, err);
    return code;
}

int api_retry(const struct api_view *view, struct slice id, struct buf *out, struct err *err)
{
    uint64_t position = 0;
    int code = read_failed_id(view, id, &position, out, err);

    if (code != 0)
        return code;
    code = ledger_retry(view->ledger, position, err);
    if (code == ERR_NOT_FOUND)
        return not_failed(view, id, out, err);
    if (code != 0)
        return code;
    if (view->forward != NULL)
        forward_poke(view->forward);
    return api_write_transaction(view, id, out, err);
}

int api_discard(const struct api_view *view, struct slice id, struct buf *out, struct err *err)
{
    uint64_t position = 0;
    int code = read_failed_id(view, id, &position, out, err);

    if (code != 0)
        return code;
    code = ledger_discard(view->ledger, position, err);
    if (code == ERR_NOT_FOUND)
        return not_failed(view, id, out, err);
    if (code != 0)
        return code;
    buf_append_char(out, '{');
    write_id(view, out, "id", position);
    buf_append_text(out, ",\"status\":\"discarded\"}");
    return 0;
}
