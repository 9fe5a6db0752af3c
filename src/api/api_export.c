/*
 * Failed transactions as NDJSON: each line is what POST /v1/transactions takes as it stands, with
 * the transaction's id as the client's, so that lines sent twice are stored once. What else is
 * known stands in members that are passed over on the way in.
 *
 * A page ends at a number of transactions or of bytes, whichever comes first; the one behind it
 * begins after its last line, and the one that is empty is the end.
 *
 * A user is written as the store would have got them: under a pseudonym if that is wanted, as
 * nobody if they are to be forgotten. A session is a secret: of it goes out at most whose it was.
 */
#include "api/api_found.h"

#include "json/json.h"

enum { PAGE_BYTES = 4 << 20 };

struct exporting {
    const struct api_view *view;
    struct buf *out;
    uint64_t cursor; /* when the page began */
    unsigned seen;
    uint64_t last;
    bool ended;
};

struct user {
    struct slice name; /* at == NULL: nobody */
    char storage[USERS_NAME_SIZE];
    char pseudonym[USERS_PSEUDONYM_SIZE];
};

/* Without asking anybody. False if the transaction is to be forgotten with its user. */
static bool name_user(const struct api_view *view, uint64_t position, const struct txn *txn,
                      struct user *ret)
{
    enum ledger_verdict verdict;

    ret->name = txn->pennkey;
    if (txn->pennkey.at == NULL && txn->session.at != NULL &&
        users_find(view->users, txn->session, txn->received_us, ret->storage) == USERS_RESOLVED)
        ret->name = slice_of(ret->storage);
    verdict = ledger_verdict(view->ledger, position, ret->name);
    if (verdict != LEDGER_KEEP)
        ret->name = (struct slice){0};
    if (ret->name.at != NULL && users_pseudonym(view->users, ret->name, ret->pseudonym))
        ret->name = slice_of(ret->pseudonym);
    return verdict != LEDGER_ERASE;
}

/* By its name, or by its number if the table has it no longer. */
static void write_product(const struct api_view *view, struct buf *out, uint32_t product)
{
    const char *name = txn_product_name(view->products, product);

    buf_append_text(out, ",\"product\":");
    if (name != NULL)
        json_write_string(out, slice_of(name));
    else
        json_write_uint(out, product);
}

static void write_line(const struct api_view *view, struct buf *out,
                       const struct ledger_failed *failed, const struct txn *txn, struct slice user)
{
    buf_append_char(out, '{');
    write_id(view, out, "id", failed->position);
    write_product(view, out, txn->product);
    buf_append_text(out, ",\"pennkey\":");
    json_write_string(out, user);
    write_time(out, "timestamp", txn->timestamp_us);
    write_data(out, txn);
    buf_append_char(out, ',');
    write_id(view, out, "transaction_id", failed->position);
    write_time(out, "received_at", txn->received_us);
    buf_append_text(out, ",\"error\":");
    json_write_string(out, failed->reason);
    buf_printf(out, ",\"attempts\":%u", failed->attempts);
    write_time(out, "failed_at", failed->failed_us);
    buf_append_text(out, "}\n");
}

static int export_one(void *arg, const struct ledger_failed *failed)
{
    struct exporting *page = arg;
    struct txn_datapoint datapoints[TXN_MAX_DATAPOINTS];
    struct user user;
    struct txn txn;

    if (failed->position >= page->cursor) { /* the forwarder may yet meet these */
        page->ended = true;
        return 1;
    }
    page->seen++;
    page->last = failed->position;
    /* What cannot be read could not be posted either; the list has it, with the reason. */
    if (txn_decode(failed->record, &txn, datapoints, NULL) == 0 &&
        name_user(page->view, failed->position, &txn, &user))
        write_line(page->view, page->out, failed, &txn, user.name);
    return page->out->len >= PAGE_BYTES;
}

int api_export_failed(const struct api_view *view, struct slice after, unsigned limit,
                      struct buf *out, struct err *err)
{
    struct exporting page = {.view = view, .out = out, .cursor = queue_status(view->queue).cursor};
    bool from_start = after.at == NULL;

    if (!from_start && read_id(view, after, &page.last, err) != 0)
        return err_set(err, ERR_INVALID, "after: must be the id of a transaction of this engine");
    /* A page of nothing but what is left out is not the end. */
    do {
        int code;

        page.seen = 0;
        code = ledger_each_failed(view->ledger, false, page.last, from_start, limit, export_one,
                                  &page, err);
        if (code != 0)
            return code;
        from_start = false;
    } while (out->len == 0 && page.seen == limit && !page.ended);
    return 0;
}
