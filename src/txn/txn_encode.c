/*
 * A transaction becomes bytes: docs/disk-format.md, "Transaction".
 *
 * The caller has validated everything, so nothing can fail here. Lengths are below 128
 * nearly always: one byte each, and the loop of the varint is not entered.
 */
#include "txn/txn.h"

#include "txn/txn_priv.h"

#include "base/clock.h"

#include <assert.h>
#include <endian.h>

static inline char *put_varint(char *out, uint64_t value)
{
    while (value >= 0x80) {
        *out++ = (char)(value | 0x80);
        value >>= 7;
    }
    *out++ = (char)value;
    return out;
}

/* Most texts are of 8 to 32 bytes: their first and last so many, which overlap, take less time than
 * a call of memcpy(). */
static inline char *put_bytes(char *out, struct slice bytes)
{
    size_t len = bytes.len;

    if (len - 8 <= 8) {
        memcpy(out, bytes.at, 8);
        memcpy(out + len - 8, bytes.at + len - 8, 8);
    } else if (len - 16 <= 16) {
        memcpy(out, bytes.at, 16);
        memcpy(out + len - 16, bytes.at + len - 16, 16);
    } else if (len > 0) {
        memcpy(out, bytes.at, len);
    }
    return out + len;
}

static inline char *put_text(char *out, struct slice text)
{
    return put_bytes(put_varint(out, text.len), text);
}

size_t txn_encoded_max(const struct txn *txn)
{
    size_t bytes = TXN_FIXED_SIZE + TXN_RECEIVED_SIZE + 3 * (size_t)TXN_MAX_VARINT +
                   3 * (size_t)TXN_LARGEST_LENGTH + txn->pennkey.len + txn->client_id.len +
                   txn->session.len;

    for (uint32_t i = 0; i < txn->count; i++)
        bytes += 2 * (size_t)TXN_LARGEST_LENGTH + txn->datapoints[i].key.len +
                 txn->datapoints[i].value.len;
    return bytes;
}

static char *put_datapoint(char *out, const struct txn_datapoint *datapoint)
{
    assert(datapoint->key.len >= 1 && datapoint->key.len <= TXN_MAX_KEY);
    assert(datapoint->value.len <= TXN_MAX_VALUE);
    out = put_text(out, datapoint->key);
    if (datapoint->value.at == NULL)
        return put_varint(out, 0);
    out = put_varint(out, datapoint->value.len + 1);
    return put_bytes(out, datapoint->value);
}

size_t txn_encode(const struct txn *txn, char *out)
{
    uint64_t received = htole64((uint64_t)txn->received_us);
    char *start = out;

    assert(txn->count >= 1 && txn->count <= TXN_MAX_DATAPOINTS);
    assert(txn->pennkey.len <= TXN_MAX_PENNKEY && txn->client_id.len <= TXN_MAX_CLIENT_ID);
    assert(txn->session.at == NULL ||
           (txn->session.len >= 1 && txn->session.len <= TXN_MAX_SESSION && !txn->pennkey.at));
    assert(txn->timestamp_us >= 0 && txn->timestamp_us < CLOCK_MAX_US);
    assert(txn->received_us >= 0 && txn->received_us < TXN_MAX_RECEIVED_US);
    *out++ = TXN_KIND;
    *out++ = (char)((txn->pennkey.at != NULL ? TXN_HAS_PENNKEY : 0) |
                    (txn->client_id.at != NULL ? TXN_HAS_CLIENT_ID : 0) |
                    (txn->session.at != NULL ? TXN_HAS_SESSION : 0));
    out = put_varint(out, txn->product);
    memcpy(out, &received, sizeof received);
    out += sizeof received;
    out = put_varint(out, zigzag(txn->received_us - txn->timestamp_us));
    if (txn->pennkey.at != NULL)
        out = put_text(out, txn->pennkey);
    if (txn->client_id.at != NULL)
        out = put_text(out, txn->client_id);
    if (txn->session.at != NULL)
        out = put_text(out, txn->session);
    out = put_varint(out, txn->count);
    for (uint32_t i = 0; i < txn->count; i++)
        out = put_datapoint(out, &txn->datapoints[i]);
    return (size_t)(out - start);
}
