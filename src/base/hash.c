/*
 * XXH3 behind this house's types.
 */
#include "base/hash.h"

#include <xxhash.h>

uint64_t hash_keyed(const unsigned char key[HASH_KEY_SIZE], struct slice bytes)
{
    return XXH3_64bits_withSecret(bytes.at, bytes.len, key, HASH_KEY_SIZE);
}

struct hash128 hash128_seeded(uint64_t seed, struct slice bytes)
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(bytes.at, bytes.len, seed);

    return (struct hash128){.low = hash.low64, .high = hash.high64};
}
