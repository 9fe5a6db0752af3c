/*
 * The power goes off at every change that a workload makes on the disk, in turn: what was
 * acknowledged is there afterwards, once, in order and where it was said to be.
 */
#include "support/wal_harness.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MOST = 64 };

/* What the workload asked for and heard, by the number that each record carries. */
struct diary {
    unsigned count;
    int status[MOST];
    uint64_t position[MOST];
    uint64_t released;
};

static unsigned number_of(const struct seen *seen)
{
    return (unsigned)strtoul(seen->bytes, NULL, 10);
}

/* One ticket, which may need more than a segment. */
static void write_round(struct harness *harness, struct diary *diary, unsigned records, size_t len)
{
    struct told told = {0};
    unsigned first = diary->count;
    unsigned taken = 0;

    for (unsigned i = 0; i < records; i++) {
        char text[2048];

        snprintf(text, sizeof text, "%04u", diary->count);
        memset(text + 4, '.', sizeof text - 4);
        diary->status[diary->count] = harness_append(harness, NULL, text, len);
        if (diary->status[diary->count++] == 0)
            taken++;
    }
    if (taken == 0)
        return;
    harness_claim(harness, &told);
    wal_flush(harness->producer);
    harness_hear(harness, &told);
    assert_int_equal(told.calls, 1);
    for (unsigned i = first, at = 0; i < diary->count; i++) {
        if (diary->status[i] != 0)
            continue;
        diary->status[i] = told.status;
        diary->position[i] = told.positions[at++];
    }
}

static void check(struct harness *harness, const struct diary *diary)
{
    bool there[MOST] = {false};
    unsigned last_stored = 0;
    int64_t before = -1;

    assert_int_equal(harness->recovery.damaged_stretches, 0);
    for (size_t i = 0; i < harness->recovered.count; i++) {
        const struct seen *seen = &harness->recovered.at[i];
        unsigned number = number_of(seen);

        assert_true(number < diary->count && (int64_t)number > before);
        before = number;
        there[number] = true;
        if (diary->status[number] == 0)
            assert_true(seen->position == diary->position[number]);
    }
    for (unsigned i = 0; i < diary->count; i++) {
        if (diary->status[i] == 0)
            last_stored = i;
        if (diary->status[i] == 0 && diary->position[i] >= diary->released)
            assert_true(there[i]);
    }
    for (unsigned i = 0; i < last_stored; i++) {
        if (diary->status[i] != 0) /* the log has healed since */
            assert_false(there[i]);
    }
}

static void work(struct harness *harness, struct diary *diary, unsigned rounds, uint64_t seed)
{
    for (unsigned i = 0; i < rounds; i++) {
        write_round(harness, diary, 1 + (unsigned)((seed + i) % 3),
                    300 + (seed * 97 + i * 331) % 1500);
        if (i % 3 == 2) {
            diary->released = wal_stats(harness->wal).durable;
            wal_release(harness->wal, diary->released, NULL);
        }
    }
}

/* Both cuts survived? Then the next life writes on top, and all of it is checked once more. */
static void live_on(struct harness *harness, struct diary *diary, uint64_t n)
{
    fault_disk_crash_at(harness->faults, 1 + n % 11); /* most often while it opens */
    if (harness_open(harness, NULL) == 0 && !fault_disk_crashed(harness->faults))
        check(harness, diary);
    fault_disk_crash_at(harness->faults, 0);
    harness_close(harness);
    fault_disk_restart(harness->faults, true);
    assert_int_equal(harness_open(harness, NULL), 0);
    check(harness, diary);
    /* What was not acknowledged and is there is there to stay. */
    for (size_t i = 0; i < harness->recovered.count; i++) {
        unsigned number = number_of(&harness->recovered.at[i]);

        diary->status[number] = 0;
        diary->position[number] = harness->recovered.at[i].position;
    }
    work(harness, diary, 2, n);
    assert_int_equal(diary->status[diary->count - 1], 0);
    harness_restart(harness, true);
    check(harness, diary);
}

/* False when the workload ended before the n-th change. */
static bool crash_in_change(uint64_t n, uint64_t seed, bool sick)
{
    struct harness harness;
    struct diary diary = {0};
    bool crashed;

    harness_begin(&harness, n * 1000 + seed);
    harness.options.spares = (unsigned)(seed % 3);
    fault_disk_crash_at(harness.faults, n);
    if (harness_open(&harness, NULL) == 0) {
        work(&harness, &diary, 4, seed);
        if (sick) {
            fault_disk_fail(harness.faults, seed % 2 == 0 ? FAULT_SYNC : FAULT_WRITE, ".seg",
                            (unsigned)(seed % 3), 1, EIO);
            work(&harness, &diary, 2, seed + 1);
            while (!fault_disk_crashed(harness.faults) && wal_refusing(harness.wal, NULL))
                wal_wait(harness.wal, UINT64_MAX, 1);
        }
        work(&harness, &diary, 5, seed + 2);
    }
    crashed = fault_disk_crashed(harness.faults);
    fault_disk_fail(harness.faults, FAULT_SYNC, NULL, 0, 0, 0);
    fault_disk_fail(harness.faults, FAULT_WRITE, NULL, 0, 0, 0);
    fault_disk_crash_at(harness.faults, 0);
    harness_close(&harness);
    fault_disk_restart(harness.faults, true);
    live_on(&harness, &diary, n);
    harness_end(&harness);
    return crashed;
}

static void what_was_acknowledged_survives_a_cut_at_any_change(void **state)
{
    (void)state;

    for (uint64_t seed = 0; seed < 12; seed++) {
        for (uint64_t n = 1; crash_in_change(n, seed, false); n++)
            assert_true(n < 1000);
    }
}

static void what_was_acknowledged_survives_a_cut_around_a_failed_round(void **state)
{
    (void)state;

    for (uint64_t n = 12; crash_in_change(n, n, true); n++)
        assert_true(n < 1000);
}

static void a_cut_between_the_header_and_the_name_of_a_recycled_segment_is_harmless(void **state)
{
    static const enum fault_op ops[] = {FAULT_WRITE, FAULT_SYNC, FAULT_RENAME, FAULT_SYNC_DIR};
    (void)state;

    for (uint64_t seed = 0; seed < 200; seed++) {
        struct harness harness;
        struct diary diary = {0};
        struct told told = {0};
        char text[1200];

        harness_begin(&harness, seed);
        harness.options.spares = 1;
        assert_int_equal(harness_open(&harness, NULL), 0);
        for (int i = 0; i < 3; i++)
            write_round(&harness, &diary, 3, 1200);
        diary.released = diary.position[6];
        wal_release(harness.wal, diary.released, NULL);
        while (wal_stats(harness.wal).spares < 2 || wal_stats(harness.wal).bytes_on_disk > 3 * 4096)
            wal_wait(harness.wal, UINT64_MAX, 1);
        fault_disk_hold(harness.faults, ops[seed % 4], NULL, true);
        memset(text, '.', sizeof text);
        memcpy(text, "0009", 4);
        assert_int_equal(harness_append(&harness, &told, text, sizeof text), 0);
        diary.status[diary.count++] = ERR_IO;
        wal_flush(harness.producer);
        fault_disk_await_held(harness.faults, ops[seed % 4]);
        fault_disk_crash_at(harness.faults, 0);
        fault_disk_hold(harness.faults, ops[seed % 4], NULL, false);
        harness_close(&harness);
        fault_disk_restart(harness.faults, true);
        assert_int_equal(harness_open(&harness, NULL), 0);
        check(&harness, &diary);
        harness_end(&harness);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_acknowledged_survives_a_cut_at_any_change),
        cmocka_unit_test(what_was_acknowledged_survives_a_cut_around_a_failed_round),
        cmocka_unit_test(a_cut_between_the_header_and_the_name_of_a_recycled_segment_is_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
