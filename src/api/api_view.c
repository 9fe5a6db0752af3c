/*
 * Where every transaction is, as JSON: from queue, ledger and, for what the log no longer
 * holds, the store.
 *
 * A transaction behind the log's end was never accepted; one in the ledger is failed (or
 * waits for another try); one at or behind the cursor is uncompleted; any other that exists
 * is successful. "Exists" means: the log still holds a whole record at its position, or the
 * store has its rows.
 */
#include "api/api.h"

#include "base/clock.h"
#include "json/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct found {
    const char *status;
    uint64_t position;
    const char *product;
    struct slice pennkey;
    int64_t timestamp_us, received_us;
    uint32_t datapoints, attempts;
    struct slice error;
    const struct txn *whole; /* NULL: contents are not at hand */
};

static void write_time(struct buf *out, const char *name, int64_t instant_us)
{
    char text[CLOCK_TEXT_SIZE];

    clock_format(text, instant_us);
    buf_printf(out, ",\"%s\":\"%s\"", name, text);
}

static void write_id(const struct api_view *view, struct buf *out, const char *name,
                     uint64_t position)
{
    char id[TXN_ID_SIZE];

    txn_id_format(id, queue_node(view->queue), position);
    buf_printf(out, "\"%s\":\"%s\"", name, id);
}

static void write_data(struct buf *out, const struct txn *txn)
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

static void write_found(const struct api_view *view, struct buf *out, const struct found *found)
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

static void from_txn(const struct api_view *view, struct found *found, const struct txn *txn)
{
    found->product = txn_product_name(view->products, txn->product);
    found->pennkey = txn->pennkey;
    found->timestamp_us = txn->timestamp_us;
    found->received_us = txn->received_us;
    found->datapoints = txn->count;
}

/* The position that an id of this node names; ERR_NOT_FOUND for any other text. */
static int read_id(const struct api_view *view, struct slice id, uint64_t *ret, struct err *err)
{
    char node[TXN_NODE_SIZE];

    if (!txn_id_parse(id, node, ret) || strcmp(node, queue_node(view->queue)) != 0)
        return err_set(err, ERR_NOT_FOUND, "no transaction of this id was accepted here");
    return 0;
}

static int write_failed(const struct api_view *view, const struct ledger_failed *failed, bool whole,
                        struct buf *out, struct err *err)
{
    struct txn_datapoint datapoints[TXN_MAX_DATAPOINTS];
    struct found found = {.status = failed->retrying ? "uncompleted" : "failed",
                          .position = failed->position,
                          .attempts = failed->attempts,
                          .error = failed->reason};
    struct txn txn;
    int code = txn_decode(failed->record, &txn, datapoints, err);

    if (code != 0)
        return code;
    from_txn(view, &found, &txn);
    if (whole)
        found.whole = &txn;
    write_found(view, out, &found);
    return 0;
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
            return err_set(err, code, "no transaction of this id was accepted here");
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
    struct queue_status queue;
    struct txn txn;
    bool discarded;
    int code = ledger_find(view->ledger, position, &failed, storage, err);

    if (code == 0)
        return write_failed(view, &failed, true, out, err);
    if (code != ERR_NOT_FOUND)
        return code;
    if ((code = ledger_discarded(view->ledger, position, &discarded, err)) != 0)
        return code;
    if (discarded)
        return err_set(err, ERR_NOT_FOUND, "the transaction was discarded");
    code = queue_find(view->queue, position, &txn, datapoints, storage, err);
    queue = queue_status(view->queue);
    if (code == 0) {
        bool pending = position >= queue.cursor;

        from_txn(view, &found, &txn);
        found.status = pending ? "uncompleted" : "successful";
        found.attempts = pending ? 0 : 1;
        write_found(view, out, &found);
        return 0;
    }
    if (code != ERR_NOT_FOUND && code != ERR_CORRUPT)
        return code;
    if (position >= queue.log.first)
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

bool api_list_by_name(const char *name, enum api_list *ret)
{
    static const char *const names[] = {[API_FAILED] = "failed",
                                        [API_UNCOMPLETED] = "uncompleted",
                                        [API_SUCCESSFUL] = "successful"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            *ret = (enum api_list)i;
            return true;
        }
    }
    return false;
}

struct listing {
    const struct api_view *view;
    struct buf *out;
    struct err *err;
    unsigned count;
    uint64_t last;
};

static int list_failed(void *arg, const struct ledger_failed *failed)
{
    struct listing *listing = arg;

    if (listing->count++ > 0)
        buf_append_char(listing->out, ',');
    listing->last = failed->position;
    return write_failed(listing->view, failed, false, listing->out, listing->err);
}

/* A transaction of the log is as its place says, unless the ledger has news of it. */
static int is_news(const struct api_view *view, uint64_t position, bool *ret, struct err *err)
{
    struct buf storage = {0};
    struct ledger_failed failed;
    int code = ledger_find(view->ledger, position, &failed, &storage, err);

    buf_free(&storage);
    *ret = code == 0;
    if (code != ERR_NOT_FOUND)
        return code;
    return ledger_discarded(view->ledger, position, ret, err);
}

/* Lists what the log holds from one position to another. */
static int list_log(struct listing *listing, const char *status, uint64_t from, uint64_t until,
                    unsigned limit)
{
    const struct api_view *view = listing->view;
    bool pending = strcmp(status, "uncompleted") == 0;
    struct queue_reader *reader = queue_reader_open(view->queue, from);
    struct queue_item item;
    int code = 0;

    while (listing->count < limit) {
        struct found found = {.status = status, .attempts = pending ? 0 : 1};
        bool news = false;

        code = queue_reader_next(reader, &item, listing->err);
        if (code == ERR_CORRUPT)
            continue;
        if (code != 0 || item.position >= until)
            break;
        if (!pending && (code = is_news(view, item.position, &news, listing->err)) != 0)
            break;
        if (news)
            continue;
        if (listing->count++ > 0)
            buf_append_char(listing->out, ',');
        from_txn(view, &found, &item.txn);
        found.position = item.position;
        write_found(view, listing->out, &found);
        listing->last = item.position;
    }
    queue_reader_close(reader);
    return code == ERR_NOT_FOUND ? 0 : code;
}

/* Those that wait for another try stand before the cursor, the others behind it. */
static int list_uncompleted(struct listing *listing, struct slice after, uint64_t position,
                            unsigned limit)
{
    uint64_t cursor = queue_status(listing->view->queue).cursor;
    int code = ledger_each_failed(listing->view->ledger, true, position, after.at == NULL, limit,
                                  list_failed, listing, listing->err);

    if (code != 0 || listing->count == limit)
        return code;
    if (after.at != NULL && position >= cursor)
        cursor = position + 1;
    return list_log(listing, "uncompleted", cursor, UINT64_MAX, limit);
}

int api_write_transactions(const struct api_view *view, enum api_list which, struct slice after,
                           unsigned limit, struct buf *out, struct err *err)
{
    struct listing listing = {.view = view, .out = out, .err = err};
    uint64_t position = 0;
    int code = 0;

    if (after.at != NULL && read_id(view, after, &position, err) != 0)
        return err_set(err, ERR_INVALID, "after: must be the id of a transaction of this engine");
    buf_append_text(out, "{\"transactions\":[");
    switch (which) {
    case API_FAILED:
        code = ledger_each_failed(view->ledger, false, position, after.at == NULL, limit,
                                  list_failed, &listing, err);
        break;
    case API_UNCOMPLETED:
        code = list_uncompleted(&listing, after, position, limit);
        break;
    case API_SUCCESSFUL:
        code = list_log(&listing, "successful", after.at != NULL ? position + 1 : 0,
                        queue_status(view->queue).cursor, limit);
        break;
    }
    if (code != 0)
        return code;
    buf_append_text(out, "],");
    if (listing.count == limit)
        write_id(view, out, "next", listing.last);
    else
        buf_append_text(out, "\"next\":null");
    buf_append_char(out, '}');
    return 0;
}

static int list_delivery(void *arg, const struct ledger_delivery *delivery)
{
    struct listing *listing = arg;
    struct buf *out = listing->out;

    buf_append_text(out, listing->count++ > 0 ? ",{" : "{");
    write_id(listing->view, out, "first_id", delivery->first);
    buf_append_char(out, ',');
    write_id(listing->view, out, "last_id", delivery->last);
    buf_printf(out, ",\"transactions\":%" PRIu64 ",\"rows\":%" PRIu64, delivery->transactions,
               delivery->rows);
    write_time(out, "started_at", delivery->started_us);
    buf_append_text(out, ",\"duration_s\":");
    json_write_seconds(out, delivery->duration_us);
    buf_append_text(out, ",\"outcome\":");
    json_write_string(out, delivery->outcome);
    buf_append_text(out, ",\"error\":");
    json_write_string(out, delivery->error);
    buf_append_char(out, '}');
    return 0;
}

int api_write_deliveries(const struct api_view *view, unsigned limit, struct buf *out,
                         struct err *err)
{
    struct listing listing = {.view = view, .out = out, .err = err};
    int code;

    buf_append_text(out, "{\"deliveries\":[");
    code = ledger_each_delivery(view->ledger, limit, list_delivery, &listing, err);
    buf_append_text(out, "]}");
    return code;
}

int api_retry(const struct api_view *view, struct slice id, struct buf *out, struct err *err)
{
    uint64_t position = 0;
    int code = read_id(view, id, &position, err);

    if (code != 0)
        return code;
    code = ledger_retry(view->ledger, position, err);
    if (code == ERR_NOT_FOUND) {
        code = api_write_transaction(view, id, out, err);
        return code != 0 ? code : err_set(err, ERR_CONFLICT, "the transaction is not failed");
    }
    if (code != 0)
        return code;
    if (view->forward != NULL)
        forward_poke(view->forward);
    return api_write_transaction(view, id, out, err);
}

int api_discard(const struct api_view *view, struct slice id, struct buf *out, struct err *err)
{
    uint64_t position = 0;
    int code = read_id(view, id, &position, err);

    if (code != 0)
        return code;
    if (position >= queue_status(view->queue).cursor) /* it may yet be tried again */
        return err_set(err, ERR_CONFLICT, "the transaction is not failed");
    code = ledger_discard(view->ledger, position, err);
    if (code == ERR_NOT_FOUND) {
        code = api_write_transaction(view, id, out, err);
        return code != 0 ? code : err_set(err, ERR_CONFLICT, "the transaction is not failed");
    }
    if (code != 0)
        return code;
    buf_append_char(out, '{');
    write_id(view, out, "id", position);
    buf_append_text(out, ",\"status\":\"discarded\"}");
    return 0;
}
