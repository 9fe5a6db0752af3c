/*
 * A transaction as binary COPY rows, one a datapoint.
 *
 *   row:    int16 number of fields, then the fields
 *   field:  int32 length, then that many bytes; the length -1 is null
 *
 * All integers are big-endian; text is UTF-8; an instant is an int64 of microseconds since
 * 2000-01-01T00:00:00Z. A transaction's rows differ in two fields only, so what stands
 * before and behind them is written once and copied.
 */
#include "store/postgres/postgres_priv.h"

#include <endian.h>

enum {
    FIELDS = 7,
    FIELD_HEAD = 4,
    INSTANT_SIZE = FIELD_HEAD + 8,
    MAX_FRONT = 2 + FIELD_HEAD + TXN_ID_SIZE + FIELD_HEAD + TXN_MAX_PRODUCT_NAME + FIELD_HEAD +
                TXN_MAX_PENNKEY,
    BACK = 2 * INSTANT_SIZE,
};

#define EPOCH_2000_US (INT64_C(946684800) * 1000000)

const struct slice store_pg_copy_header = SLICE("PGCOPY\n\377\r\n\0"
                                                "\0\0\0\0"   /* flags: no oids */
                                                "\0\0\0\0"); /* no header extension */
const struct slice store_pg_copy_trailer = SLICE("\377\377");

static char *put_field(char *out, struct slice text)
{
    uint32_t head = htobe32(text.at != NULL ? (uint32_t)text.len : UINT32_MAX);

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
    uint64_t wire = htobe64((uint64_t)(instant_us - EPOCH_2000_US));

    return put_field(out, (struct slice){(const char *)&wire, sizeof wire});
}

int64_t store_pg_int8(const char *bytes)
{
    uint64_t wire;

    memcpy(&wire, bytes, sizeof wire);
    return (int64_t)be64toh(wire);
}

int64_t store_pg_instant(const char *bytes)
{
    return store_pg_int8(bytes) + EPOCH_2000_US;
}

static size_t rows_size(const struct txn *txn, size_t around)
{
    size_t size = txn->count * (around + 2 * (size_t)FIELD_HEAD);

    for (uint32_t i = 0; i < txn->count; i++)
        size += txn->datapoints[i].key.len + txn->datapoints[i].value.len;
    return size;
}

void store_pg_encode(struct buf *out, const char *id, const char *product, const struct txn *txn)
{
    uint16_t fields = htobe16(FIELDS);
    char front[MAX_FRONT];
    char back[BACK];
    size_t front_len;
    char *at;

    memcpy(front, &fields, sizeof fields);
    at = put_field(front + sizeof fields, slice_of(id));
    at = put_field(at, slice_of(product));
    at = put_field(at, txn->pennkey);
    front_len = (size_t)(at - front);
    put_instant(put_instant(back, txn->timestamp_us), txn->received_us);

    at = buf_reserve(out, rows_size(txn, front_len + BACK));
    for (uint32_t i = 0; i < txn->count; i++) {
        memcpy(at, front, front_len);
        at = put_field(at + front_len, txn->datapoints[i].key);
        at = put_field(at, txn->datapoints[i].value);
        memcpy(at, back, BACK);
        at += BACK;
    }
    out->len = (size_t)(at - out->data);
}
