/*
 * Segments that are longer than what recovery reads at once: it reads the next pieces ahead.
 */
#include "support/wal_harness.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { HEADER = 64, FRAME = 16, SEGMENT = 4 << 20, PIECE = 64 * 1024 };

static void begin(struct harness *harness)
{
    harness_begin(harness, 1);
    harness->options.segment_bytes = SEGMENT;
    harness->options.max_bytes = 8 * (uint64_t)SEGMENT;
    assert_int_equal(harness_open(harness, NULL), 0);
}

/* So many records of `len` bytes in one round; gives the position of the first. */
static uint64_t store_round(struct harness *harness, size_t count, size_t len)
{
    struct told told = {0};
    char *bytes = mem_alloc(len);

    memset(bytes, 'r', len);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(harness_append(harness, NULL, bytes, len), 0);
    harness_claim(harness, &told);
    wal_flush(harness->producer);
    harness_hear(harness, &told);
    assert_int_equal(told.status, 0);
    free(bytes);
    return told.positions[0];
}

/* Also such as lie over three pieces, or need more than a piece has room for. */
static void records_of_every_length_are_read_over_the_bounds_of_pieces(void **state)
{
    enum { RECORDS = 120 };
    static const size_t lengths[] = {280, 15000, 40, 16384, 17000, 300, 70000, 1, 280000, 5000};
    static uint64_t positions[RECORDS];
    struct harness harness;
    (void)state;

    begin(&harness);
    for (int i = 0; i < RECORDS; i++) {
        char text[16];
        size_t len = lengths[i % 10] + (size_t)(i / 10) * 31;

        snprintf(text, sizeof text, "%d", i);
        positions[i] = harness_store(&harness, len < 16 ? "" : text, len);
        if (i % 40 == 20)
            store_round(&harness, 1, 700000);
    }
    for (int power = 0; power < 2; power++) {
        size_t seen = 0;

        harness_restart(&harness, power != 0);
        assert_int_equal(harness.recovery.damaged_bytes, 0);
        assert_true(harness.recovery.segments > 1);
        assert_int_equal(harness.recovered.count, RECORDS + 3);
        for (int i = 0; i < RECORDS; i++, seen++) {
            char text[16];

            if (harness.recovered.at[seen].len == 700000)
                seen++;
            snprintf(text, sizeof text, "%d", i);
            assert_true(harness.recovered.at[seen].position == positions[i]);
            if (harness.recovered.at[seen].len >= 16)
                assert_true(seen_is(&harness.recovered.at[seen], text));
        }
    }
    harness_end(&harness);
}

/* A start takes as long as the disk needs to read the log once. */
static void what_fits_into_pieces_is_read_once(void **state)
{
    enum { ROUND = 900 * (FRAME + 1000), TAIL = FRAME + 10 };
    struct harness harness;
    uint64_t reads;
    (void)state;

    begin(&harness);
    for (int i = 0; i < 5; i++)
        store_round(&harness, 900, 1000);
    harness_store(&harness, "tail", TAIL - FRAME);
    harness_restart(&harness, false); /* gives back the room behind the end */
    reads = fault_disk_calls(harness.faults, FAULT_READ);
    harness_restart(&harness, false);
    assert_int_equal(harness.recovery.segments, 2);
    assert_int_equal(harness.recovered.count, 4501);
    /* Both headers, the records, and once more the tail, which is written anew. */
    assert_int_equal(fault_disk_calls(harness.faults, FAULT_READ) - reads,
                     2 + (4 * ROUND / PIECE + 1) + ((ROUND + TAIL) / PIECE + 1) + 1);
    harness_end(&harness);
}

/* A record that a piece has no room for is read at once, and the pieces that it lies in are left.
 */
static void pieces_that_are_left_are_not_the_next_segment_s(void **state)
{
    struct harness harness;
    (void)state;

    begin(&harness);
    for (int i = 0; i < 3; i++)
        store_round(&harness, 900, 1000);
    store_round(&harness, 1, 1000000);
    for (int i = 0; i < 4; i++)
        store_round(&harness, 600, 1500);
    harness_restart(&harness, false);
    assert_int_equal(harness.recovery.segments, 2);
    assert_int_equal(harness.recovery.damaged_stretches, 0);
    assert_int_equal(harness.recovered.count, 3 * 900 + 1 + 4 * 600);
    harness_end(&harness);
}

/* Each of them in turn, whichever thread it is that hears of it. */
static void a_disk_that_does_not_read_stops_the_start(void **state)
{
    struct harness harness;
    (void)state;

    begin(&harness);
    store_round(&harness, 1, 1000000); /* read at once, while the thread has no room for more */
    store_round(&harness, 900, 1000);
    store_round(&harness, 900, 1000);
    harness_close(&harness);
    assert_true(harness_fail_opening(&harness, FAULT_READ, 1801) > 1800 * 1016 / PIECE);
    harness_end(&harness);
}

/* The log goes on where a round much later proves it: from there it is read once more. */
static void what_lies_before_a_proof_far_behind_is_kept(void **state)
{
    struct harness harness;
    uint64_t rotten;
    (void)state;

    begin(&harness);
    store_round(&harness, 100, 1000);
    rotten = store_round(&harness, 900, 1000);
    store_round(&harness, 900, 1000);
    harness_close(&harness);
    fault_disk_poke(harness.faults, harness_segment(1), HEADER + rotten + FRAME + 7, "X", 1);
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(harness.recovered.count, 1899);
    assert_true(harness.recovered.at[100].position == rotten + 1016);
    assert_int_equal(harness.recovery.damaged_stretches, 1);
    assert_int_equal(harness.recovery.damaged_bytes, 1016);
    harness_end(&harness);
}

static void a_rotten_stretch_over_the_bounds_of_pieces_is_skipped(void **state)
{
    struct harness harness;
    size_t lost = 0;
    (void)state;

    begin(&harness);
    for (int i = 0; i < 5; i++)
        store_round(&harness, 900, 1000);
    harness_close(&harness);
    for (size_t at = PIECE - 2000; at < (size_t)3 * PIECE; at += 500)
        fault_disk_poke(harness.faults, harness_segment(1), HEADER + at, "X", 1);
    lost = (3 * PIECE - 500) / 1016 - (PIECE - 2000) / 1016 + 1;
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(harness.recovery.damaged_stretches, 1);
    assert_int_equal(harness.recovered.count, 4500 - lost);
    harness_end(&harness);
}

static void a_file_that_is_shorter_than_its_stretch_is_damaged_once(void **state)
{
    struct harness harness;
    (void)state;

    begin(&harness);
    for (int i = 0; i < 6; i++)
        store_round(&harness, 900, 1000);
    harness_close(&harness);
    fault_disk_cut(harness.faults, harness_segment(1), HEADER + 2 * PIECE + 300);
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(harness.recovery.segments, 2);
    assert_int_equal(harness.recovery.damaged_stretches, 1);
    assert_int_equal(harness.recovered.at[2 * PIECE / 1016].position,
                     harness.recovered.at[2 * PIECE / 1016 - 1].position + 1016 +
                         harness.recovery.damaged_bytes);
    harness_end(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_of_every_length_are_read_over_the_bounds_of_pieces),
        cmocka_unit_test(what_fits_into_pieces_is_read_once),
        cmocka_unit_test(pieces_that_are_left_are_not_the_next_segment_s),
        cmocka_unit_test(a_disk_that_does_not_read_stops_the_start),
        cmocka_unit_test(what_lies_before_a_proof_far_behind_is_kept),
        cmocka_unit_test(a_rotten_stretch_over_the_bounds_of_pieces_is_skipped),
        cmocka_unit_test(a_file_that_is_shorter_than_its_stretch_is_damaged_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
