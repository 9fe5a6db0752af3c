/*
 * Bytes become a transaction: docs/disk-format.md, "Transaction".
 *
 * The bytes may be anything: every length is held against what is left and against the
 * bounds of txn.h before it is used. A number in more bytes than it needs is refused too,
 * so a transaction has one encoding and no other.
 */
#include "txn/txn.h"

#include "txn/txn_priv.h"

#include "base/clock.h"

#include <endian.h>

struct reader {
    const unsigned char *start;
    const unsigned char *at;
    const unsigned char *end;
    struct err *err;
};

__attribute__((cold, noinline)) static void tell(struct err *err, size_t at, const char *what)
{
    err_set(err, ERR_CORRUPT, "transaction: %s at byte %zu", what, at);
}

/* Takes no address of a reader, which may thus stay in registers. */
static inline int corrupt(struct reader *reader, const char *what)
{
    tell(reader->err, (size_t)(reader->at - reader->start), what);
    return ERR_CORRUPT;
}

/* The length of a varint and its value; 0 if there is none, or one that is longer than it needs to
 * be. */
__attribute__((noinline)) static int read_varint(const unsigned char *at, const unsigned char *end,
                                                 uint64_t *ret)
{
    uint64_t value = 0;

    for (int i = 0; i < TXN_MAX_VARINT && at + i < end; i++) {
        unsigned char byte = at[i];

        value |= (uint64_t)(byte & 0x7f) << 7 * i;
        if (byte & 0x80)
            continue;
        if ((i > 0 && byte == 0) || (i == TXN_MAX_VARINT - 1 && byte > 1))
            break;
        *ret = value;
        return i + 1;
    }
    return 0;
}

/* The same of one that ends within 8 bytes, without a branch on its length: that of a time cannot
 * be foreseen. 0 also if it is longer. */
static inline int join_varint(uint64_t bytes, uint64_t *ret)
{
    uint64_t ends = ~bytes & 0x8080808080808080;
    int bits = ends != 0 ? __builtin_ctzll(ends) + 1 : 0;

    if (bits < 16 || (bytes >> (bits - 8) & 0xff) == 0)
        return 0;
    bytes = bytes << (64 - bits) >> (64 - bits);
    bytes = (bytes & 0x007f007f007f007f) | (bytes & 0x7f007f007f007f00) >> 1;
    bytes = (bytes & 0x00003fff00003fff) | (bytes & 0x3fff00003fff0000) >> 2;
    *ret = (bytes & 0x000000000fffffff) | (bytes & 0x0fffffff00000000) >> 4;
    return bits / 8;
}

static inline int take_varint(struct reader *reader, uint64_t max, uint64_t *ret, const char *what)
{
    uint64_t value = 0;
    int len = 0;

    if (reader->at < reader->end && *reader->at < 0x80) { /* nearly all: lengths below 128 */
        value = *reader->at;
        len = 1;
    } else if (reader->end - reader->at >= 8) {
        memcpy(&value, reader->at, 8);
        len = join_varint(le64toh(value), &value);
    }
    if (len == 0)
        len = read_varint(reader->at, reader->end, &value);
    if (len == 0 || value > max)
        return corrupt(reader, what);
    reader->at += len;
    *ret = value;
    return 0;
}

static inline int take_bytes(struct reader *reader, uint64_t len, struct slice *ret,
                             const char *what)
{
    if ((uint64_t)(reader->end - reader->at) < len)
        return corrupt(reader, what);
    *ret = (struct slice){(const char *)reader->at, (size_t)len};
    reader->at += len;
    return 0;
}

static inline int take_text(struct reader *reader, uint64_t min, uint64_t max, struct slice *ret,
                            const char *what)
{
    uint64_t len = 0;
    int rc = take_varint(reader, max, &len, what);

    if (rc < 0)
        return rc;
    if (len < min)
        return corrupt(reader, what);
    return take_bytes(reader, len, ret, what);
}

static inline int take_times(struct reader *reader, struct txn *txn)
{
    struct slice bytes = {0};
    uint64_t received;
    uint64_t ago = 0;
    int rc = take_bytes(reader, sizeof received, &bytes, "time of arrival");

    if (rc < 0)
        return rc;
    memcpy(&received, bytes.at, sizeof received);
    received = le64toh(received);
    if (received >= (uint64_t)TXN_MAX_RECEIVED_US)
        return corrupt(reader, "time of arrival");
    rc = take_varint(reader, UINT64_MAX, &ago, "timestamp");
    if (rc < 0)
        return rc;
    txn->received_us = (int64_t)received;
    txn->timestamp_us = (int64_t)(received - (uint64_t)unzigzag(ago));
    if (txn->timestamp_us < 0 || txn->timestamp_us >= CLOCK_MAX_US)
        return corrupt(reader, "timestamp");
    return 0;
}

/* Whose pennkey is known has no session. */
static inline int take_session(struct reader *reader, unsigned char flags, struct slice *ret)
{
    if (flags & TXN_HAS_PENNKEY)
        return corrupt(reader, "session");
    return take_text(reader, 1, TXN_MAX_SESSION, ret, "session");
}

static inline int take_head(struct reader *reader, struct txn *txn)
{
    unsigned char flags;
    uint64_t number = 0;
    int rc;

    /* One by one: a compiler clears a whole struct slower than all the rest takes here. */
    txn->pennkey = txn->session = txn->client_id = (struct slice){0};
    txn->count = 0;
    txn->datapoints = NULL;
    if (reader->end - reader->at < TXN_FIXED_SIZE || reader->at[0] == 0)
        return corrupt(reader, "kind");
    if (reader->at[0] != TXN_KIND || (reader->at[1] & ~TXN_ALL_FLAGS) != 0) {
        err_set(reader->err, ERR_UNSUPPORTED,
                "transaction: written by a newer version (kind %u, flags 0x%02x)", reader->at[0],
                reader->at[1]);
        return ERR_UNSUPPORTED;
    }
    flags = reader->at[1];
    reader->at += TXN_FIXED_SIZE;
    rc = take_varint(reader, UINT32_MAX, &number, "product");
    if (rc == 0)
        rc = take_times(reader, txn);
    if (rc == 0 && (flags & TXN_HAS_PENNKEY))
        rc = take_text(reader, 0, TXN_MAX_PENNKEY, &txn->pennkey, "pennkey");
    if (rc == 0 && (flags & TXN_HAS_CLIENT_ID))
        rc = take_text(reader, 1, TXN_MAX_CLIENT_ID, &txn->client_id, "client id");
    if (rc == 0 && (flags & TXN_HAS_SESSION))
        rc = take_session(reader, flags, &txn->session);
    if (rc == 0)
        txn->product = (uint32_t)number;
    return rc;
}

static int take_datapoint(struct reader *reader, struct txn_datapoint *ret)
{
    uint64_t len = 0;
    int rc = take_text(reader, 1, TXN_MAX_KEY, &ret->key, "key");

    if (rc == 0)
        rc = take_varint(reader, TXN_MAX_VALUE + 1, &len, "value");
    if (rc < 0)
        return rc;
    if (len > 0)
        return take_bytes(reader, len - 1, &ret->value, "value");
    ret->value = (struct slice){0};
    return 0;
}

int txn_decode(struct slice bytes, struct txn *ret_txn, struct txn_datapoint *datapoints,
               struct err *err)
{
    const unsigned char *start = (const unsigned char *)(bytes.len > 0 ? bytes.at : "");
    struct reader reader = {start, start, start + bytes.len, err};
    struct txn txn;
    uint64_t count = 0;
    int rc = take_head(&reader, &txn);

    if (rc == 0)
        rc = take_varint(&reader, TXN_MAX_DATAPOINTS, &count, "number of datapoints");
    if (rc < 0)
        return rc;
    if (count == 0)
        return corrupt(&reader, "number of datapoints");
    for (uint64_t i = 0; i < count && rc == 0; i++)
        rc = take_datapoint(&reader, &datapoints[i]);
    if (rc < 0)
        return rc;
    if (reader.at != reader.end)
        return corrupt(&reader, "bytes behind the last datapoint");
    txn.count = (uint32_t)count;
    txn.datapoints = datapoints;
    *ret_txn = txn;
    return 0;
}

int txn_decode_head(struct slice bytes, struct txn *ret_txn, struct err *err)
{
    const unsigned char *start = (const unsigned char *)bytes.at;
    struct reader reader = {start, start, start + bytes.len, err};
    struct txn txn;
    int rc = take_head(&reader, &txn);

    if (rc == 0)
        *ret_txn = txn;
    return rc;
}
