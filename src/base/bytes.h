/*
 * Numbers in bytes on disk: little-endian, at any address. Pure.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "bytes on disk are little-endian");

static inline void put_u32(char *at, uint32_t value)
{
    memcpy(at, &value, sizeof value);
}

static inline void put_u64(char *at, uint64_t value)
{
    memcpy(at, &value, sizeof value);
}

static inline uint32_t get_u32(const char *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof value);
    return value;
}

static inline uint64_t get_u64(const char *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof value);
    return value;
}

#endif
