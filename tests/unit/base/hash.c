/*
 * Hashes: the published values, and what the key does.
 */
#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* https://github.com/Cyan4973/xxHash: the digests of no bytes, seed 0. What is kept on disk
 * depends on them. */
static void the_published_values_come_out(void **state)
{
    struct hash128 hash = hash128_seeded(0, (struct slice){"", 0});
    (void)state;

    assert_true(hash.low == UINT64_C(0x6001c324468d497f));
    assert_true(hash.high == UINT64_C(0x99aa06d3014798d8));
}

static void another_key_gives_another_hash(void **state)
{
    unsigned char key[HASH_KEY_SIZE];
    char text[600];
    uint64_t before;
    (void)state;

    memset(text, 'x', sizeof text);
    for (int i = 0; i < HASH_KEY_SIZE; i++)
        key[i] = (unsigned char)(i * 7 + 1);
    before = hash_keyed(key, (struct slice){text, sizeof text});
    assert_true(hash_keyed(key, (struct slice){text, sizeof text}) == before);
    text[599] = 'y';
    assert_true(hash_keyed(key, (struct slice){text, sizeof text}) != before);
    text[599] = 'x';
    for (int i = 0; i < HASH_KEY_SIZE; i++)
        key[i] ^= 0x5a;
    assert_true(hash_keyed(key, (struct slice){text, sizeof text}) != before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_values_come_out),
        cmocka_unit_test(another_key_gives_another_hash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
