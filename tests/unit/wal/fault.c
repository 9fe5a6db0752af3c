/*
 * A disk that fails while the log is open: who hears of it, what stays, and how it heals.
 */
#include "support/wal_harness.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SEGMENT = 4096 };

static void begin(struct harness *harness, uint64_t seed)
{
    harness_begin(harness, seed);
    assert_int_equal(harness_open(harness, NULL), 0);
}

/* Waits until this is why the log refuses, which it does as long as the test has it so. */
static void await_reason(struct harness *harness, const char *words)
{
    struct err err = {0};

    do
        assert_true(wal_refusing(harness->wal, &err));
    while (strstr(err.text, words) == NULL);
}

/* Two records that were durable before, one after the log has healed; none in between. */
static void check_two_and_one(struct harness *harness)
{
    for (int restarts = 0; restarts < 3; restarts++) {
        struct seen_list list = harness_read(harness, 0);

        assert_int_equal(list.count, 3);
        assert_true(seen_is(&list.at[0], "before"));
        assert_true(seen_is(&list.at[1], "before"));
        assert_true(seen_is(&list.at[2], "after"));
        assert_true(list.at[2].position == list.at[1].next);
        seen_free(&list);
        harness_restart(harness, restarts > 0);
        assert_int_equal(harness->recovery.damaged_stretches, 0);
        assert_int_equal(harness->recovered.count, 3);
    }
}

static void a_failed_sync_fails_its_round_and_is_never_repeated(void **state)
{
    (void)state;

    for (uint64_t seed = 0; seed < 20; seed++) {
        struct harness harness;
        struct told told[3] = {0};
        struct err err = {0};

        begin(&harness, seed);
        harness_store(&harness, "before", 500);
        harness_store(&harness, "before", 500);
        /* Every other sync of this segment would fail, too, if there were one. */
        fault_disk_fail(harness.faults, FAULT_SYNC, harness_segment(1), 0, 100, EIO);
        for (int i = 0; i < 3; i++)
            assert_int_equal(harness_append(&harness, &told[i], "lost", 4), 0);
        wal_flush(harness.producer);
        for (int i = 0; i < 3; i++) {
            harness_hear(&harness, &told[i]);
            assert_int_equal(told[i].calls, 1);
            assert_int_equal(told[i].status, ERR_IO);
            assert_string_equal(told[i].err.text, "sync the queue: Input/output error");
        }
        if (wal_refusing(harness.wal, &err)) {
            assert_int_equal(err.code, ERR_IO);
            assert_true(err.text[0] != '\0');
        }
        harness_await_refusing(&harness, false);
        assert_int_equal(wal_stats(harness.wal).failures, 1);
        assert_int_equal(wal_stats(harness.wal).segments, 2);
        harness_store(&harness, "after", 500);
        assert_int_equal(fault_disk_failed(harness.faults, FAULT_SYNC), 1);
        fault_disk_fail(harness.faults, FAULT_SYNC, NULL, 0, 0, 0);
        check_two_and_one(&harness);
        harness_end(&harness);
    }
}

static void the_log_refuses_until_it_has_healed(void **state)
{
    struct harness harness;
    struct err err = {0};
    uint64_t position;
    (void)state;

    begin(&harness, 1);
    harness_store(&harness, "before", 500);
    harness_store(&harness, "before", 500);
    assert_false(wal_refusing(harness.wal, NULL));
    fault_disk_fail(harness.faults, FAULT_WRITE, NULL, 0, UINT32_MAX, EIO);
    assert_int_equal(harness_put(&harness, "lost", &position), ERR_IO);
    assert_true(wal_refusing(harness.wal, &err));
    assert_int_equal(err.code, ERR_IO);
    while (fault_disk_failed(harness.faults, FAULT_WRITE) < 4) { /* it goes on trying */
        assert_int_equal(harness_put(&harness, "refused", &position), ERR_IO);
        wal_wait(harness.wal, UINT64_MAX, 1);
    }
    assert_true(wal_refusing(harness.wal, &err));
    assert_non_null(strstr(err.text, "Input/output error"));
    fault_disk_fail(harness.faults, FAULT_WRITE, NULL, 0, UINT32_MAX, ENOSPC);
    await_reason(&harness, "No space left on device"); /* the last one */
    fault_disk_fail(harness.faults, FAULT_WRITE, NULL, 0, 0, 0);
    harness_await_refusing(&harness, false);
    harness_store(&harness, "after", 500);
    assert_int_equal(wal_stats(harness.wal).failures, 1);
    check_two_and_one(&harness);
    harness_end(&harness);
}

static void any_call_that_fails_once_costs_one_round(void **state)
{
    static const enum fault_op ops[] = {FAULT_OPEN,   FAULT_WRITE,    FAULT_SYNC,
                                        FAULT_RENAME, FAULT_SYNC_DIR, FAULT_ALLOCATE};
    static const int numbers[] = {EIO, ENOSPC, ENOENT, EROFS, EDQUOT};
    (void)state;

    for (size_t op = 0; op < sizeof ops / sizeof *ops; op++) {
        for (unsigned skip = 0; skip < 3; skip++) {
            struct harness harness;
            struct told told = {0};
            char bytes[1200] = "lost";
            int number = numbers[(op + skip) % 5];

            begin(&harness, skip);
            harness_store(&harness, "before", 1500);
            harness_store(&harness, "before", 1500);
            /* New segments begin as spare files; full ones are opened, too, to take no memory. */
            fault_disk_fail(harness.faults, ops[op], ops[op] == FAULT_OPEN ? "spare" : NULL, skip,
                            1, number);
            for (int i = 0; i < 9; i++) /* begins three segments */
                assert_int_equal(harness_append(&harness, NULL, bytes, sizeof bytes), 0);
            harness_claim(&harness, &told);
            wal_flush(harness.producer);
            harness_hear(&harness, &told);
            assert_int_equal(fault_disk_failed(harness.faults, ops[op]), 1);
            assert_int_equal(told.status, number == ENOSPC || number == EDQUOT ? ERR_FULL : ERR_IO);
            harness_await_refusing(&harness, false);
            harness_store(&harness, "after", 500);
            check_two_and_one(&harness);
            assert_in_range(wal_stats(harness.wal).bytes_on_disk, 3000, 2 * SEGMENT);
            harness_end(&harness);
        }
    }
}

static void a_full_disk_heals_when_there_is_room_again(void **state)
{
    struct harness harness;
    struct err err = {0};
    uint64_t before;
    int stored = 0;
    (void)state;

    begin(&harness, 1);
    fault_disk_limit(harness.faults, 2 * SEGMENT + 1000);
    while (harness_put(&harness, "fills the disk", NULL) == 0)
        stored++;
    assert_true(wal_refusing(harness.wal, &err));
    assert_int_equal(err.code, ERR_FULL);
    assert_non_null(strstr(err.text, "No space left on device"));
    assert_int_equal(harness_put(&harness, "no", NULL), ERR_FULL);
    assert_int_equal(wal_stats(harness.wal).bytes_on_disk, 2 * SEGMENT);
    before = wal_stats(harness.wal).durable;
    fault_disk_limit(harness.faults, 10 * SEGMENT);
    harness_await_refusing(&harness, false);
    assert_true(harness_store(&harness, "yes", 100) == before);
    harness_restart(&harness, true);
    assert_int_equal(harness.recovered.count, stored + 1);
    harness_end(&harness);
}

/* Puts records until the first write into a new file fails, which has no spare one's name until it
 * is whole; the words of that. */
static struct err first_write_fails(struct harness *harness)
{
    static const char record[100];
    struct told told;

    fault_disk_fail(harness->faults, FAULT_WRITE, ".new", 0, 1, EIO);
    do {
        told = (struct told){0};
        assert_int_equal(harness_append(harness, &told, record, sizeof record), 0);
        wal_flush(harness->producer);
        harness_hear(harness, &told);
    } while (told.status == 0);
    harness_await_refusing(harness, false);
    return told.err;
}

static void a_segment_has_zeros_unless_there_is_no_time_for_it(void **state)
{
    struct harness harness;
    struct err err;
    (void)state;

    begin(&harness, 1);
    err = first_write_fails(&harness); /* there is none yet */
    assert_non_null(strstr(err.text, "make a new segment"));
    err = first_write_fails(&harness); /* the one before it is full */
    assert_non_null(strstr(err.text, "write the header of segment"));
    harness_restart(&harness, false);
    err = first_write_fails(&harness);
    assert_non_null(strstr(err.text, "make a new segment"));
    fault_disk_fail(harness.faults, FAULT_SYNC, ".seg", 0, 1, EIO);
    fault_disk_fail(harness.faults, FAULT_WRITE, ".new", 0, UINT32_MAX, EIO);
    assert_int_equal(harness_put(&harness, "lost", NULL), ERR_IO); /* nothing is under way then */
    await_reason(&harness, "make a new segment");
    fault_disk_fail(harness.faults, FAULT_WRITE, NULL, 0, 0, 0);
    harness_await_refusing(&harness, false);
    harness.options.sync = false; /* nobody relies on what a sync says */
    harness_restart(&harness, false);
    err = first_write_fails(&harness);
    assert_non_null(strstr(err.text, "write the header of segment"));
    harness_end(&harness);
}

/* What was in the first segment's blocks before shows which of them were written. */
static void the_first_segment_is_written_whole_before_its_first_record(void **state)
{
    enum { FIRST = 4096, SIZE = 2 * 256 * 1024 + 2 * FIRST }; /* two chunks and a piece of one */
    static const char path[] = HARNESS_DIR "/spare-0.new";
    static const char record[100];
    static char bytes[SIZE];
    struct harness harness;
    struct told told = {0};
    (void)state;

    memset(bytes, 'x', SIZE);
    harness_begin(&harness, 1);
    harness.options.segment_bytes = SIZE;
    harness.options.max_bytes = 4 * SIZE;
    assert_int_equal(harness_open(&harness, NULL), 0);
    fault_disk_hold(harness.faults, FAULT_WRITE, ".new", true);
    assert_int_equal(harness_append(&harness, &told, record, sizeof record), 0);
    wal_flush(harness.producer);
    fault_disk_await_held(harness.faults, FAULT_WRITE);
    fault_disk_poke(harness.faults, path, 0, bytes, SIZE);
    fault_disk_hold(harness.faults, FAULT_WRITE, ".new", false);
    harness_hear(&harness, &told);
    assert_int_equal(told.status, 0);
    assert_int_equal(fault_disk_size(harness.faults, harness_segment(1)), SIZE);
    fault_disk_peek(harness.faults, harness_segment(1), 0, bytes, SIZE);
    for (size_t i = FIRST; i < SIZE; i++) /* header and record are before */
        assert_int_equal(bytes[i], 0);
    harness_end(&harness);
}

static void failures_in_a_row_leave_no_files_behind(void **state)
{
    struct harness harness;
    struct wal_stats stats;
    (void)state;

    begin(&harness, 1);
    harness_store(&harness, "before", 500);
    harness_store(&harness, "before", 500);
    for (int i = 0; i < 10; i++) {
        /* It heals each time, and then the first round into the new segment fails. */
        fault_disk_fail(harness.faults, FAULT_SYNC, NULL, 0, 1, EIO);
        assert_int_equal(harness_put(&harness, "lost", NULL), ERR_IO);
        harness_await_refusing(&harness, false);
    }
    harness_store(&harness, "after", 500);
    assert_int_equal(wal_stats(harness.wal).segments, 2);
    do {
        wal_wait(harness.wal, UINT64_MAX, 1);
        stats = wal_stats(harness.wal);
    } while (stats.bytes_on_disk != 2 * SEGMENT);
    check_two_and_one(&harness);
    harness_end(&harness);
}

static void the_first_round_ever_may_fail(void **state)
{
    static const enum fault_op ops[] = {FAULT_SYNC, FAULT_WRITE};
    (void)state;

    for (unsigned i = 0; i < 4; i++) { /* the header, and the record */
        struct harness harness;

        begin(&harness, i);
        fault_disk_fail(harness.faults, ops[i % 2], NULL, i / 2, 1, EIO);
        assert_int_equal(harness_put(&harness, "lost", NULL), ERR_IO);
        harness_await_refusing(&harness, false);
        harness_store(&harness, "kept", 10);
        harness_restart(&harness, true);
        assert_true(seen_is(&harness.recovered.at[harness.recovered.count - 1], "kept"));
        assert_true(harness.recovered.at[0].position == 0);
        harness_end(&harness);
    }
}

/* It holds no record, but how many there ever were. */
static void the_last_segment_stays_though_the_round_that_it_was_begun_for_failed(void **state)
{
    struct harness harness;
    (void)state;

    begin(&harness, 1);
    harness_store(&harness, "before", 500);
    harness_store(&harness, "before", 500);
    fault_disk_fail(harness.faults, FAULT_SYNC, ".seg", 0, 1, EIO);
    assert_int_equal(harness_put(&harness, "lost", NULL), ERR_IO);
    harness_await_refusing(&harness, false);
    wal_release(harness.wal, wal_stats(harness.wal).durable, NULL);
    fault_disk_fail(harness.faults, FAULT_OPEN, ".new", 0, UINT32_MAX, EIO); /* no other is begun */
    fault_disk_fail(harness.faults, FAULT_SYNC, ".seg", 0, 1, EIO);
    assert_int_equal(harness_put(&harness, "lost", NULL), ERR_IO);
    assert_int_equal(wal_stats(harness.wal).segments, 1);
    fault_disk_fail(harness.faults, FAULT_OPEN, NULL, 0, 0, 0);
    harness_restart(&harness, false);
    assert_int_equal(wal_stats(harness.wal).records, 2);
    assert_true(wal_stats(harness.wal).next >= 2 * 516);
    harness_end(&harness);
}

/* All the room there is has gone into the segment that it had begun. */
static void a_failed_round_gives_back_the_room_that_it_has_taken(void **state)
{
    static const char record[3000];
    struct harness harness;
    struct told told = {0};
    (void)state;

    harness_begin(&harness, 1);
    harness.options.max_bytes = 2 * SEGMENT;
    assert_int_equal(harness_open(&harness, NULL), 0);
    harness_store(&harness, "before", 2000);
    fault_disk_fail(harness.faults, FAULT_SYNC, harness_segment(2), 0, 1, EIO);
    fault_disk_hold(harness.faults, FAULT_SYNC, harness_segment(2), true);
    assert_int_equal(harness_append(&harness, &told, record, sizeof record), 0);
    wal_flush(harness.producer);
    fault_disk_await_held(harness.faults, FAULT_SYNC);
    wal_wait(harness.wal, UINT64_MAX, 20); /* time enough for the preparer to go to sleep */
    fault_disk_hold(harness.faults, FAULT_SYNC, NULL, false);
    harness_hear(&harness, &told);
    assert_int_equal(told.status, ERR_IO);
    harness_await_refusing(&harness, false);
    harness_store(&harness, "after", 2000);
    harness_end(&harness);
}

static void batches_behind_a_failed_round_hear_of_it_too(void **state)
{
    struct harness harness;
    struct told told[2] = {0};
    struct seen_list list;
    (void)state;

    harness_begin(&harness, 1);
    harness.options.heal_every_ms = 60 * 1000;
    assert_int_equal(harness_open(&harness, NULL), 0);
    harness_store(&harness, "before", 100);
    fault_disk_hold(harness.faults, FAULT_SYNC, NULL, true);
    assert_int_equal(harness_append(&harness, &told[0], "lost", 4), 0);
    wal_flush(harness.producer);
    fault_disk_await_held(harness.faults, FAULT_SYNC);
    assert_int_equal(harness_append(&harness, &told[1], "never written", 13), 0);
    wal_flush(harness.producer);
    fault_disk_fail(harness.faults, FAULT_SYNC, NULL, 0, UINT32_MAX, EIO);
    fault_disk_hold(harness.faults, FAULT_SYNC, NULL, false);
    harness_hear(&harness, &told[0]);
    harness_hear(&harness, &told[1]);
    assert_int_equal(told[0].status, ERR_IO);
    assert_int_equal(told[1].status, ERR_IO);
    assert_true(told[1].err.text[0] != '\0');
    assert_int_equal(wal_stats(harness.wal).failures, 1);
    assert_int_equal(fault_disk_failed(harness.faults, FAULT_SYNC), 1); /* it was not tried */
    harness_close(&harness); /* may close while it refuses */
    fault_disk_fail(harness.faults, FAULT_SYNC, NULL, 0, 0, 0);
    assert_int_equal(harness_open(&harness, NULL), 0);
    list = harness_read(&harness, 0);
    assert_in_range(list.count, 1, 2);
    assert_true(list.count == 1 || seen_is(&list.at[1], "lost"));
    seen_free(&list);
    harness_end(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_sync_fails_its_round_and_is_never_repeated),
        cmocka_unit_test(the_log_refuses_until_it_has_healed),
        cmocka_unit_test(any_call_that_fails_once_costs_one_round),
        cmocka_unit_test(a_full_disk_heals_when_there_is_room_again),
        cmocka_unit_test(a_segment_has_zeros_unless_there_is_no_time_for_it),
        cmocka_unit_test(the_first_segment_is_written_whole_before_its_first_record),
        cmocka_unit_test(failures_in_a_row_leave_no_files_behind),
        cmocka_unit_test(the_first_round_ever_may_fail),
        cmocka_unit_test(the_last_segment_stays_though_the_round_that_it_was_begun_for_failed),
        cmocka_unit_test(a_failed_round_gives_back_the_room_that_it_has_taken),
        cmocka_unit_test(batches_behind_a_failed_round_hear_of_it_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
