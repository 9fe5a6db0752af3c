/*
 * The memory of sessions: what is kept, what makes room, what has expired.
 */
#include "users/users_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static const unsigned char *digest(uint64_t number)
{
    static unsigned char bytes[USERS_DIGEST_SIZE];

    memset(bytes, 0, sizeof bytes);
    memcpy(bytes + 8, &number, sizeof number); /* all in the chain of their first bytes, 0 ... */
    bytes[0] = (unsigned char)(number % 3);    /* ... to 2 */
    return bytes;
}

static void make(struct users_cache *cache, uint64_t number, int64_t expires_us)
{
    struct users_entry *entry = users_cache_make(cache, digest(number), 0);

    entry->failures = (unsigned)number;
    entry->expires_us = expires_us;
}

static bool has(struct users_cache *cache, uint64_t number, int64_t now_us)
{
    const struct users_entry *entry = users_cache_find(cache, digest(number), now_us);

    assert_true(entry == NULL || entry->failures == number);
    return entry != NULL;
}

static void what_was_made_is_found(void **state)
{
    struct users_cache *cache = users_cache_open(100);
    (void)state;

    assert_false(has(cache, 1, 0));
    for (uint64_t i = 1; i <= 100; i++)
        make(cache, i, INT64_MAX);
    for (uint64_t i = 1; i <= 100; i++)
        assert_true(has(cache, i, 0));
    assert_false(has(cache, 101, 0));
    users_cache_close(cache);
}

static void the_one_looked_at_longest_ago_makes_room(void **state)
{
    struct users_cache *cache = users_cache_open(3);
    (void)state;

    for (uint64_t i = 1; i <= 3; i++)
        make(cache, i, INT64_MAX);
    assert_true(has(cache, 1, 0));
    make(cache, 4, INT64_MAX);
    assert_false(has(cache, 2, 0));
    assert_true(has(cache, 3, 0));
    make(cache, 5, INT64_MAX);
    assert_false(has(cache, 1, 0));
    assert_true(has(cache, 3, 0) && has(cache, 4, 0) && has(cache, 5, 0));
    users_cache_close(cache);
}

static void what_has_expired_is_not_known_and_made_anew(void **state)
{
    struct users_cache *cache = users_cache_open(3);
    const struct users_entry *entry;
    (void)state;

    make(cache, 7, 1000);
    assert_true(has(cache, 7, 999));
    assert_false(has(cache, 7, 1000));
    entry = users_cache_make(cache, digest(7), 1000);
    assert_int_equal(entry->failures, 0);
    assert_int_equal(entry->state, STATE_UNKNOWN);
    users_cache_close(cache);
}

static void a_long_life_of_random_use_forgets_nothing_too_early(void **state)
{
    enum { CAPACITY = 50, NUMBERS = 120 };
    struct users_cache *cache = users_cache_open(CAPACITY);
    uint64_t used[NUMBERS + 1] = {0}; /* when, 0: never */
    uint64_t now = 0;
    (void)state;

    srandom(7);
    for (int i = 0; i < 100000; i++) {
        uint64_t number = 1 + (uint64_t)random() % NUMBERS;
        unsigned younger = 0;

        for (int j = 1; j <= NUMBERS; j++)
            younger += used[j] > used[number];
        assert_int_equal(has(cache, number, 0), used[number] != 0 && younger < CAPACITY);
        make(cache, number, INT64_MAX);
        used[number] = ++now;
    }
    users_cache_close(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_made_is_found),
        cmocka_unit_test(the_one_looked_at_longest_ago_makes_room),
        cmocka_unit_test(what_has_expired_is_not_known_and_made_anew),
        cmocka_unit_test(a_long_life_of_random_use_forgets_nothing_too_early),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
