/*
 * A batch's rows, packed: what a transaction's rows have in common once, then its datapoints.
 *
 *   transaction:  uint32 datapoints, then transaction_id, product, pennkey, timestamp and
 *                 received_at as texts, then the datapoints
 *   datapoint:    its key and its value as texts
 *   text:         uint32 length, then that many bytes; the length 0xffffffff is null
 *
 * Integers are in the machine's order, for a batch never leaves the process. The walk hands
 * out columns that point into the batch, so rows are bound without being copied.
 */
#include "store/sqlite/sqlite_priv.h"

#include "base/clock.h"

enum {
    COMMON = 5,
    COUNT_SIZE = 4,
    TEXT_HEAD = 4,
    MAX_COMMON = COUNT_SIZE + COMMON * TEXT_HEAD + TXN_ID_SIZE + TXN_MAX_PRODUCT_NAME +
                 TXN_MAX_PENNKEY + 2 * CLOCK_TEXT_SIZE,
};

static char *put_text(char *out, struct slice text)
{
    uint32_t head = text.at != NULL ? (uint32_t)text.len : UINT32_MAX;

    memcpy(out, &head, sizeof head);
    out += sizeof head;
    if (text.at != NULL && text.len > 0) {
        memcpy(out, text.at, text.len);
        out += text.len;
    }
    return out;
}

static char *put_instant(char *out, int64_t instant_us)
{
    char text[CLOCK_TEXT_SIZE];

    clock_format(text, instant_us);
    return put_text(out, slice_of(text));
}

void store_sqlite_encode(struct buf *out, const char *id, const char *product,
                         const struct txn *txn)
{
    size_t size = MAX_COMMON;
    char *at;

    for (uint32_t i = 0; i < txn->count; i++)
        size += 2 * (size_t)TEXT_HEAD + txn->datapoints[i].key.len + txn->datapoints[i].value.len;
    at = buf_reserve(out, size);
    memcpy(at, &txn->count, COUNT_SIZE);
    at = put_text(at + COUNT_SIZE, slice_of(id));
    at = put_text(at, slice_of(product));
    at = put_text(at, txn->pennkey);
    at = put_instant(at, txn->timestamp_us);
    at = put_instant(at, txn->received_us);
    for (uint32_t i = 0; i < txn->count; i++) {
        at = put_text(at, txn->datapoints[i].key);
        at = put_text(at, txn->datapoints[i].value);
    }
    out->len = (size_t)(at - out->data);
}

static const char *take(struct slice *rest, size_t len)
{
    const char *at = rest->at;

    rest->at += len;
    rest->len -= len;
    return at;
}

static struct slice take_text(struct slice *rest)
{
    struct slice text = {0};
    uint32_t head;

    memcpy(&head, take(rest, sizeof head), sizeof head);
    if (head != UINT32_MAX) {
        text.len = head;
        text.at = take(rest, head);
    }
    return text;
}

bool store_sqlite_next(struct store_sqlite_rows *rows)
{
    if (rows->left == 0) {
        if (rows->rest.len == 0)
            return false;
        memcpy(&rows->left, take(&rows->rest, COUNT_SIZE), COUNT_SIZE);
        for (int i = 0; i < COMMON; i++)
            rows->columns[i] = take_text(&rows->rest);
    }
    for (int i = COMMON; i < STORE_SQLITE_COLUMNS; i++)
        rows->columns[i] = take_text(&rows->rest);
    rows->left -= 1;
    return true;
}
