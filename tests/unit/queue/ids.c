/*
 * The memory of client ids: exact inside its window, bounded, and able to forget a round.
 */
#include "queue/queue_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { WINDOW = 1000, SEED = 42, DAY_S = 86400 };

#define SECOND INT64_C(1000000)
#define YEAR (365 * DAY_S * SECOND)

static int64_t now_us = 1790000000 * SECOND; /* when the next one is received */

static bool admit(struct ids *ids, uint32_t product, unsigned number, uint64_t position,
                  uint64_t *ret_original)
{
    struct id_entry entry;
    char id[32];

    snprintf(id, sizeof id, "id-%u", number);
    entry = id_entry_of(SEED, product, slice_of(id), position, ids_pass(ids, now_us));
    return ids_admit(ids, &entry, ret_original);
}

static void a_repeat_finds_the_first_position(void **state)
{
    struct ids *ids = ids_open(WINDOW, DAY_S);
    uint64_t original = 0;

    (void)state;
    assert_true(admit(ids, 10, 1, 700, &original));
    assert_false(admit(ids, 10, 1, 900, &original));
    assert_int_equal(original, 700);
    ids_close(ids);
}

static void the_same_id_of_another_product_is_another(void **state)
{
    struct ids *ids = ids_open(WINDOW, DAY_S);
    uint64_t original = 0;

    (void)state;
    assert_true(admit(ids, 10, 1, 700, &original));
    assert_true(admit(ids, 9, 1, 800, &original));
    assert_false(admit(ids, 9, 1, 900, &original));
    assert_int_equal(original, 800);
    ids_close(ids);
}

/* All 96 bits of the hash tell ids apart. */
static void ids_of_which_half_the_hash_is_the_same_are_two(void **state)
{
    struct ids *ids = ids_open(WINDOW, DAY_S);
    uint64_t original = 0;

    (void)state;
    assert_true(ids_admit(ids, &(struct id_entry){7, 1, 70, 0}, &original));
    assert_true(ids_admit(ids, &(struct id_entry){7, 2, 71, 0}, &original));
    /* It has the place of the first one in the index, which is smaller than the hash. */
    assert_true(ids_admit(ids, &(struct id_entry){7 | UINT64_C(1) << 63, 3, 70, 0}, &original));
    assert_false(ids_admit(ids, &(struct id_entry){7, 9, 71, 0}, &original));
    assert_int_equal(original, 2);
    ids_close(ids);
}

/* A round of more than there is room for has pushed out its own first ones, and all before it. */
static void a_round_that_is_undone_may_be_larger_than_the_window(void **state)
{
    struct ids *ids = ids_open(WINDOW, DAY_S);
    uint64_t original;

    (void)state;
    assert_true(admit(ids, 10, 0, 1, &original));
    ids_settle(ids, true);
    for (unsigned number = 1; number < 4 * WINDOW; number++)
        assert_true(admit(ids, 10, number, number, &original));
    ids_settle(ids, false);
    assert_int_equal(ids_count(ids), 0);
    for (unsigned number = 1; number < WINDOW; number++)
        assert_true(admit(ids, 10, number, number, &original));
    ids_settle(ids, true);
    assert_int_equal(ids_count(ids), WINDOW - 1);
    ids_close(ids);
}

static int by_hash(const void *a, const void *b)
{
    const struct id_entry *left = a;
    const struct id_entry *right = b;

    if (left->hash != right->hash)
        return left->hash < right->hash ? -1 : 1;
    return (left->hash_more > right->hash_more) - (left->hash_more < right->hash_more);
}

/* Ids that differ in two digits, wherever those stand: as counters of different clients do. */
static void ids_that_look_alike_are_not_taken_for_one(void **state)
{
    enum { PRODUCTS = 11, MOST = 64 * 64 * 9 * PRODUCTS };
    static struct id_entry entries[MOST];

    (void)state;
    for (size_t len = 1; len <= TXN_MAX_CLIENT_ID; len++) {
        char id[TXN_MAX_CLIENT_ID];
        size_t count = 0;

        for (size_t at = 0; at < len * len; at++) {
            for (int digit = '1'; digit <= '9'; digit++) {
                size_t first = at / len;
                size_t second = at % len;

                if (first > second)
                    continue;
                memset(id, '0', len);
                id[first] = (char)digit;
                if (second != first)
                    id[second] = (char)('a' + digit - '0');
                for (uint32_t product = 0; product < PRODUCTS; product++)
                    entries[count++] = id_entry_of(SEED, product, (struct slice){id, len}, 0, 0);
            }
        }
        qsort(entries, count, sizeof *entries, by_hash);
        for (size_t i = 1; i < count; i++)
            assert_int_not_equal(by_hash(&entries[i - 1], &entries[i]), 0);
    }
}

static void the_last_ids_of_the_window_are_all_remembered_and_memory_is_bounded(void **state)
{
    struct ids *ids = ids_open(WINDOW, DAY_S);
    uint64_t original = 0;

    (void)state;
    for (unsigned i = 0; i < 50 * WINDOW; i++) {
        assert_true(admit(ids, 1, i, i, &original));
        ids_settle(ids, true);
        if (i >= WINDOW && i % 97 == 0) {
            for (unsigned back = 1; back < WINDOW; back += 37) {
                assert_false(admit(ids, 1, i - back, 1, &original));
                assert_int_equal(original, i - back);
            }
        }
    }
    /* Far outside the window it is new again. */
    assert_true(admit(ids, 1, 5, 77, &original));
    ids_close(ids);
}

static void a_round_that_failed_is_forgotten(void **state)
{
    struct ids *ids = ids_open(WINDOW, DAY_S);
    uint64_t original = 0;

    (void)state;
    assert_true(admit(ids, 1, 1, 10, &original));
    ids_settle(ids, true);
    assert_true(admit(ids, 1, 2, 20, &original));
    assert_true(admit(ids, 1, 3, 30, &original));
    ids_settle(ids, false);
    assert_true(admit(ids, 1, 2, 40, &original));
    assert_true(admit(ids, 1, 3, 50, &original));
    assert_false(admit(ids, 1, 1, 60, &original));
    assert_int_equal(original, 10);
    ids_close(ids);
}

/* Against a plain array of what is remembered. */
static void random_admissions_and_failures_agree_with_a_plain_list(void **state)
{
    enum { IDS = 400 };
    static int64_t known[IDS];
    static int64_t settled[IDS];
    struct ids *ids = ids_open(WINDOW, DAY_S);
    uint64_t seed = 42;
    uint64_t original = 0;

    (void)state;
    for (int i = 0; i < IDS; i++)
        known[i] = settled[i] = -1;
    for (int64_t step = 0; step < 200000; step++) {
        unsigned number;

        seed = seed * 6364136223846793005u + 1442695040888963407u;
        number = (unsigned)(seed >> 33) % IDS;
        if (admit(ids, 1, number, (uint64_t)step, &original)) {
            assert_int_equal(known[number], -1);
            known[number] = step;
        } else {
            assert_int_equal(known[number], (int64_t)original);
        }
        if ((seed >> 20) % 50 == 0) {
            bool keep = (seed >> 10) % 3 != 0;

            ids_settle(ids, keep);
            memcpy(keep ? settled : known, keep ? known : settled, sizeof known);
        }
        if (step % 20000 == 19999) { /* a new window, before the old one overflows */
            ids_close(ids);
            ids = ids_open(WINDOW, DAY_S);
            for (int i = 0; i < IDS; i++)
                known[i] = settled[i] = -1;
        }
    }
    ids_close(ids);
}

static void an_id_is_forgotten_when_its_window_has_passed(void **state)
{
    struct ids *ids = ids_open(WINDOW, DAY_S);
    uint64_t original = 0;

    (void)state;
    assert_true(admit(ids, 1, 1, 10, &original));
    now_us += DAY_S * SECOND;
    assert_false(admit(ids, 1, 1, 20, &original));
    assert_int_equal(original, 10);
    now_us += 2 * SECOND;
    assert_true(admit(ids, 1, 1, 30, &original));
    ids_settle(ids, true);
    assert_int_equal(ids_count(ids), 1);
    ids_close(ids);
}

static void a_clock_set_back_a_year_forgets_nothing_early_and_keeps_nothing_for_ever(void **state)
{
    struct ids *ids = ids_open(WINDOW, DAY_S);
    uint64_t original = 0;

    (void)state;
    assert_true(admit(ids, 1, 1, 10, &original));
    now_us -= YEAR;
    assert_false(admit(ids, 1, 1, 20, &original));
    assert_true(admit(ids, 1, 2, 30, &original));
    now_us += DAY_S * SECOND;
    assert_false(admit(ids, 1, 1, 40, &original));
    assert_false(admit(ids, 1, 2, 50, &original));
    now_us += 2 * SECOND;
    assert_true(admit(ids, 1, 1, 60, &original));
    assert_true(admit(ids, 1, 2, 70, &original));
    ids_close(ids);
}

/* Loops hand in their transactions a little out of order: that is not time that passes. */
static void transactions_a_little_out_of_order_do_not_make_the_clock_run_fast(void **state)
{
    struct id_clock clock = {0};
    int64_t begin = 1790000000 * SECOND;
    uint32_t first = id_clock_read(&clock, begin);

    (void)state;
    for (int64_t i = 0; i < 1000; i++)
        id_clock_read(&clock, begin + i * SECOND / 100 - (i % 2) * 59 * SECOND);
    assert_int_equal(id_clock_read(&clock, begin + 10 * SECOND) - first, 10);
}

static void an_id_stored_again_after_it_was_forgotten_counts_from_then_on(void **state)
{
    struct ids *ids = ids_open(WINDOW, DAY_S);
    struct id_entry entry = id_entry_of(SEED, 1, SLICE("id-1"), 10, 1790000000);
    uint64_t original = 0;

    (void)state;
    ids_load(ids, &entry);
    entry.position = 20;
    ids_load(ids, &entry);
    ids_loaded(ids);
    now_us = 1790000000 * SECOND;
    assert_false(admit(ids, 1, 1, 30, &original));
    assert_int_equal(original, 20);
    for (unsigned i = 2; i < 2 + WINDOW;
         i++) /* the first one makes room, and takes nothing along */
        assert_true(admit(ids, 1, i, i, &original));
    assert_false(admit(ids, 1, 1, 30, &original));
    ids_close(ids);
}

/* Each id comes twice, LATER loads apart; so many are loaded that the first ones have to go. */
static void the_latest_of_those_that_are_loaded_are_remembered(void **state)
{
    enum { LATER = WINDOW / 2, ROUNDS = 5, LOADED = ROUNDS * 2 * LATER };
    struct ids *ids = ids_open(WINDOW, DAY_S);
    uint64_t original = 0;

    (void)state;
    for (unsigned i = 0; i < LOADED; i++) {
        char id[32];
        struct id_entry entry;

        snprintf(id, sizeof id, "id-%u", i / (2 * LATER) * LATER + i % LATER);
        entry = id_entry_of(SEED, 1, slice_of(id), i, ids_pass(ids, now_us));
        ids_load(ids, &entry);
    }
    ids_settle(ids, true);
    ids_loaded(ids);
    assert_in_range(ids_count(ids), WINDOW, 2 * WINDOW);
    for (unsigned i = 0; i < LATER; i++) {
        assert_false(admit(ids, 1, (ROUNDS - 1) * LATER + i, 1, &original));
        assert_int_equal(original, LOADED - LATER + i);
    }
    for (unsigned i = 0; i < (ROUNDS - 2) * LATER; i += 7)
        assert_true(admit(ids, 1, i, LOADED + i, &original));
    for (unsigned i = 0; i < LATER; i++) /* their first entries may go, the second ones stay */
        assert_false(admit(ids, 1, (ROUNDS - 1) * LATER + i, 1, &original));
    ids_close(ids);
}

static void what_is_loaded_is_forgotten_when_its_window_has_passed(void **state)
{
    struct ids *ids = ids_open(WINDOW, DAY_S);
    struct id_entry entry = id_entry_of(SEED, 1, SLICE("id-1"), 10, ids_pass(ids, now_us));
    uint64_t original = 0;

    (void)state;
    ids_load(ids, &entry);
    now_us += (DAY_S + 2) * SECOND;
    entry = id_entry_of(SEED, 1, SLICE("id-2"), 20, ids_pass(ids, now_us));
    ids_load(ids, &entry);
    ids_settle(ids, true);
    ids_loaded(ids);
    assert_int_equal(ids_count(ids), 1);
    assert_true(admit(ids, 1, 1, 30, &original));
    assert_false(admit(ids, 1, 2, 40, &original));
    assert_int_equal(original, 20);
    ids_close(ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_repeat_finds_the_first_position),
        cmocka_unit_test(the_same_id_of_another_product_is_another),
        cmocka_unit_test(ids_of_which_half_the_hash_is_the_same_are_two),
        cmocka_unit_test(a_round_that_is_undone_may_be_larger_than_the_window),
        cmocka_unit_test(ids_that_look_alike_are_not_taken_for_one),
        cmocka_unit_test(the_last_ids_of_the_window_are_all_remembered_and_memory_is_bounded),
        cmocka_unit_test(a_round_that_failed_is_forgotten),
        cmocka_unit_test(an_id_is_forgotten_when_its_window_has_passed),
        cmocka_unit_test(a_clock_set_back_a_year_forgets_nothing_early_and_keeps_nothing_for_ever),
        cmocka_unit_test(transactions_a_little_out_of_order_do_not_make_the_clock_run_fast),
        cmocka_unit_test(an_id_stored_again_after_it_was_forgotten_counts_from_then_on),
        cmocka_unit_test(the_latest_of_those_that_are_loaded_are_remembered),
        cmocka_unit_test(what_is_loaded_is_forgotten_when_its_window_has_passed),
        cmocka_unit_test(random_admissions_and_failures_agree_with_a_plain_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
