/*
 * What encoder and decoder share of the transaction's bytes; the drawing is in
 * docs/disk-format.md, "Transaction".
 */
#ifndef TXN_TXN_PRIV_H
#define TXN_TXN_PRIV_H

#include <stdint.h>

enum {
    TXN_KIND = 1, /* the first byte: transaction, first version */
    TXN_HAS_PENNKEY = 1,
    TXN_HAS_CLIENT_ID = 2,
    TXN_HAS_SESSION = 4,
    TXN_ALL_FLAGS = TXN_HAS_PENNKEY | TXN_HAS_CLIENT_ID | TXN_HAS_SESSION,
    TXN_FIXED_SIZE = 2,     /* kind and flags */
    TXN_RECEIVED_SIZE = 8,  /* received_us, little-endian */
    TXN_MAX_VARINT = 10,    /* bytes of 64 bits in groups of 7 */
    TXN_LARGEST_LENGTH = 2, /* bytes of a varint up to TXN_MAX_VALUE + 1 */
};

/* 10000-01-01T00:00:00Z: the end of what base/clock.h can write. */
#define TXN_MAX_RECEIVED_US INT64_C(253402300800000000)

/* Small numbers of either sign as small unsigned ones: 0, -1, 1, -2 become 0, 1, 2, 3. */
static inline uint64_t zigzag(int64_t value)
{
    return (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
}

static inline int64_t unzigzag(uint64_t value)
{
    return (int64_t)(value >> 1 ^ (0 - (value & 1)));
}

#endif
