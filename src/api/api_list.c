/*
 * Lists: transactions by status, and deliveries, a page at a time.
 */
#include "api/api_found.h"

#include "json/json.h"

#include <inttypes.h>
#include <string.h>

bool api_list_by_name(const char *name, enum api_list *ret)
{
    static const char *const names[] = {[API_FAILED] = "failed",
                                        [API_UNCOMPLETED] = "uncompleted",
                                        [API_SUCCESSFUL] = "successful"};

    for (size_t i = API_FAILED; i < sizeof names / sizeof *names; i++) {
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
    uint64_t cursor; /* when the listing began */
    unsigned count;
    uint64_t last;
};

static int list_failed(void *arg, const struct ledger_failed *failed)
{
    struct listing *listing = arg;

    if (failed->position >= listing->cursor) /* these are still listed as uncompleted */
        return 1;
    if (listing->count++ > 0)
        buf_append_char(listing->out, ',');
    listing->last = failed->position;
    write_failed(listing->view, failed, listing->cursor, false, listing->out);
    return 0;
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

/* One of the log, as its place says, unless the ledger has news of it. */
static int list_item(struct listing *listing, const struct queue_item *item)
{
    const struct api_view *view = listing->view;
    bool pending = item->position >= listing->cursor;
    struct found found = {.position = item->position,
                          .status = pending ? "uncompleted" : "successful",
                          .attempts = pending ? 0 : 1};
    bool news = false;
    int code = pending ? 0 : is_news(view, item->position, &news, listing->err);

    if (code != 0 || news || !from_txn(view, &found, &item->txn))
        return code;
    if (listing->count++ > 0)
        buf_append_char(listing->out, ',');
    write_found(view, listing->out, &found);
    listing->last = item->position;
    return 0;
}

/* Lists what the log holds from one position to another. */
static int list_log(struct listing *listing, uint64_t from, uint64_t until, unsigned limit)
{
    struct queue_reader *reader = queue_reader_open(listing->view->queue, from);
    struct queue_item item;
    int code = 0;

    while (code == 0 && listing->count < limit) {
        code = queue_reader_next(reader, &item, listing->err);
        if (code == ERR_CORRUPT)
            code = 0;
        else if (code == 0 && item.position >= until)
            break;
        else if (code == 0)
            code = list_item(listing, &item);
    }
    queue_reader_close(reader);
    return code == ERR_NOT_FOUND ? 0 : code;
}

/* Those that wait for another try stand before the cursor, the others behind it. */
static int list_uncompleted(struct listing *listing, struct slice after, uint64_t position,
                            unsigned limit)
{
    uint64_t from = listing->cursor;
    int code = ledger_each_failed(listing->view->ledger, true, position, after.at == NULL, limit,
                                  list_failed, listing, listing->err);

    if (code != 0 || listing->count == limit)
        return code;
    if (after.at != NULL && position >= from)
        from = position + 1;
    return list_log(listing, from, UINT64_MAX, limit);
}

static int note_first(void *arg, const struct ledger_failed *failed)
{
    uint64_t *first = arg;

    if (failed->position < *first)
        *first = failed->position;
    return 0;
}

/* The first of the ledger behind `after`, of either kind; UINT64_MAX: there is none. */
static int next_news(const struct listing *listing, uint64_t after, bool from_start, uint64_t *ret)
{
    struct ledger *ledger = listing->view->ledger;
    int code;

    *ret = UINT64_MAX;
    code = ledger_each_failed(ledger, false, after, from_start, 1, note_first, ret, listing->err);
    if (code == 0)
        code =
            ledger_each_failed(ledger, true, after, from_start, 1, note_first, ret, listing->err);
    return code;
}

/* Lists what the ledger has from *news up to `until`; *news becomes the next one. */
static int list_news(struct listing *listing, uint64_t *news, uint64_t until, unsigned limit)
{
    struct buf storage = {0};
    struct ledger_failed failed;
    int code = 0;

    while (code == 0 && *news < until && *news < listing->cursor && listing->count < limit) {
        uint64_t position = *news;

        code = ledger_find(listing->view->ledger, position, &failed, &storage, listing->err);
        if (code == 0)
            code = list_failed(listing, &failed);
        else if (code == ERR_NOT_FOUND) /* stored or discarded meanwhile */
            code = 0;
        if (code == 0)
            code = next_news(listing, position, false, news);
    }
    buf_free(&storage);
    return code;
}

/* What failed stands in the ledger, and mostly not in the log any more; all else in the log. */
static int list_all(struct listing *listing, struct slice after, uint64_t position, unsigned limit)
{
    struct queue_reader *reader =
        queue_reader_open(listing->view->queue, after.at != NULL ? position + 1 : 0);
    struct queue_item item;
    uint64_t news;
    int code = next_news(listing, position, after.at == NULL, &news);

    while (code == 0 && listing->count < limit) {
        code = queue_reader_next(reader, &item, listing->err);
        if (code == ERR_CORRUPT)
            code = 0;
        else if (code == 0 && (code = list_news(listing, &news, item.position + 1, limit)) == 0 &&
                 listing->count < limit && (listing->count == 0 || item.position > listing->last))
            code = list_item(listing, &item);
    }
    queue_reader_close(reader);
    return code == ERR_NOT_FOUND ? list_news(listing, &news, UINT64_MAX, limit) : code;
}

int api_write_transactions(const struct api_view *view, enum api_list which, struct slice after,
                           unsigned limit, struct buf *out, struct err *err)
{
    struct listing listing = {
        .view = view, .out = out, .err = err, .cursor = queue_status(view->queue).cursor};
    uint64_t position = 0;
    int code = 0;

    if (after.at != NULL && read_id(view, after, &position, err) != 0)
        return err_set(err, ERR_INVALID, "after: must be the id of a transaction of this engine");
    buf_append_text(out, "{\"transactions\":[");
    switch (which) {
    case API_ALL:
        code = list_all(&listing, after, position, limit);
        break;
    case API_FAILED:
        code = ledger_each_failed(view->ledger, false, position, after.at == NULL, limit,
                                  list_failed, &listing, err);
        break;
    case API_UNCOMPLETED:
        code = list_uncompleted(&listing, after, position, limit);
        break;
    case API_SUCCESSFUL:
        code = list_log(&listing, after.at != NULL ? position + 1 : 0, listing.cursor, limit);
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
