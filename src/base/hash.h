/*
 * Fast hashes of bytes (XXH3, https://xxhash.com), to find things by. A key that nobody outside
 * knows keeps others from choosing what falls together; none of them is a proof of anything.
 * Pure; any thread.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/slice.h"

#include <stdint.h>

#define HASH_KEY_SIZE 192

/* `key` are random bytes. */
uint64_t hash_keyed(const unsigned char key[HASH_KEY_SIZE], struct slice bytes);

/* The low and the high half; the same for the same seed on every machine, so they may be kept. */
struct hash128 {
    uint64_t low, high;
};
struct hash128 hash128_seeded(uint64_t seed, struct slice bytes);

#endif
