/*
 * The room that the log takes on disk: what is counted is what is there, and all of the bound is
 * to be had.
 */
#include "support/wal_harness.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* A segment is filled with zeros in two pieces, and holds three records. */
enum { SEGMENT = 512 * 1024, LEN = 170000, WHOLE = LEN + 16, BOUND = 4 * SEGMENT };

static void begin(struct harness *harness, unsigned spares)
{
    harness_begin(harness, 1);
    harness->options.segment_bytes = SEGMENT;
    harness->options.max_bytes = BOUND;
    harness->options.spares = spares;
    harness->options.patience_ms = 60 * 1000; /* longer than any test waits */
}

static void store(struct harness *harness, int records)
{
    for (int i = 0; i < records; i++)
        harness_store(harness, "stored", LEN);
}

static void await_disk(struct harness *harness, uint64_t bytes, uint64_t spares)
{
    for (;;) {
        struct wal_stats stats = wal_stats(harness->wal);

        if (stats.bytes_on_disk == bytes && stats.spares == spares)
            return;
        wal_wait(harness->wal, UINT64_MAX, 1);
    }
}

struct sum {
    struct harness *harness;
    uint64_t bytes;
};

static void add_file(void *arg, const char *name)
{
    struct sum *sum = arg;
    char path[256];

    snprintf(path, sizeof path, HARNESS_DIR "/%s", name);
    sum->bytes += fault_disk_size(sum->harness->faults, path);
}

/* Of all files in the queue's folder, whether the log counts them or not. */
static uint64_t bytes_there(struct harness *harness)
{
    struct sum sum = {.harness = harness};
    struct disk *disk = fault_disk_of(harness->faults);

    assert_int_equal(disk->list(disk, HARNESS_DIR, add_file, &sum), 0);
    return sum.bytes;
}

/* Three segments are full, and the preparer stands still in the fourth, the last one under the
 * bound. */
static void fill_to_the_last(struct harness *harness)
{
    assert_int_equal(harness_open(harness, NULL), 0);
    for (uint64_t segments = 1; segments < 4; segments++) {
        await_disk(harness, segments * SEGMENT, 1);
        if (segments == 3)
            fault_disk_hold(harness->faults, FAULT_WRITE, ".new", true);
        store(harness, 3);
    }
    fault_disk_await_held(harness->faults, FAULT_WRITE);
    assert_int_equal(wal_stats(harness->wal).bytes_on_disk, BOUND);
}

/* Hands in a record that needs the next segment, and goes on when the committer is about to look
 * for one: it has just stored one that fits. */
static void ask_for_the_next(struct harness *harness, struct told *told)
{
    struct told fits = {0};
    static const char record[LEN];

    assert_int_equal(harness_append(harness, &fits, record, 1), 0);
    wal_flush(harness->producer);
    assert_int_equal(harness_append(harness, told, record, sizeof record), 0);
    wal_flush(harness->producer);
    harness_hear(harness, &fits);
    assert_int_equal(fits.status, 0);
}

static void the_last_segment_is_to_be_had_while_it_is_being_made(void **state)
{
    struct harness harness;
    struct told told = {0};
    struct err err = {0};
    (void)state;

    begin(&harness, 1);
    fill_to_the_last(&harness);
    ask_for_the_next(&harness, &told);
    fault_disk_hold(harness.faults, FAULT_WRITE, NULL, false);
    harness_hear(&harness, &told);
    assert_int_equal(told.status, 0);
    assert_false(wal_refusing(harness.wal, NULL));
    assert_int_equal(bytes_there(&harness), BOUND);
    store(&harness, 2);
    harness_store(&harness, "is over", 10); /* behind three there is some room */
    told = (struct told){0};
    ask_for_the_next(&harness, &told);
    harness_hear(&harness, &told);
    assert_int_equal(told.status, ERR_FULL);
    assert_true(wal_refusing(harness.wal, &err));
    assert_non_null(strstr(err.text, "has reached its bound"));
    assert_int_equal(wal_stats(harness.wal).bytes_on_disk, BOUND);
    harness_restart(&harness, true);
    assert_int_equal(harness.recovered.count, 15);
    harness_end(&harness);
}

static void a_disk_that_stands_still_is_not_called_full(void **state)
{
    struct harness harness;
    struct told told = {0};
    struct err err = {0};
    uint64_t renames;
    (void)state;

    begin(&harness, 1);
    harness.options.patience_ms = 1;
    fill_to_the_last(&harness);
    renames = fault_disk_calls(harness.faults, FAULT_RENAME);
    ask_for_the_next(&harness, &told);
    harness_hear(&harness, &told); /* it is told, though the disk still stands */
    assert_int_equal(told.status, ERR_IO);
    assert_true(wal_refusing(harness.wal, &err));
    assert_int_equal(err.code, ERR_IO);
    assert_non_null(strstr(err.text, "takes too long"));
    fault_disk_hold(harness.faults, FAULT_WRITE, NULL, false);
    harness_await_refusing(&harness, false);
    /* The very file, before it was a spare one. */
    assert_int_equal(fault_disk_calls(harness.faults, FAULT_RENAME), renames + 1);
    assert_int_equal(bytes_there(&harness), BOUND);
    store(&harness, 3);
    assert_int_equal(wal_stats(harness.wal).bytes_on_disk, BOUND);
    harness_restart(&harness, true);
    assert_int_equal(harness.recovered.count, 13);
    harness_end(&harness);
}

static void a_disk_without_room_for_the_last_segment_is_called_so(void **state)
{
    struct harness harness;
    struct told told = {0};
    (void)state;

    begin(&harness, 1);
    fill_to_the_last(&harness);
    fault_disk_fail(harness.faults, FAULT_WRITE, ".new", 0, UINT32_MAX, ENOSPC);
    ask_for_the_next(&harness, &told);
    fault_disk_hold(harness.faults, FAULT_WRITE, NULL, false);
    harness_hear(&harness, &told);
    assert_int_equal(told.status, ERR_FULL);
    assert_non_null(strstr(told.err.text, "No space left on device"));
    fault_disk_fail(harness.faults, FAULT_WRITE, NULL, 0, 0, 0);
    harness_await_refusing(&harness, false);
    store(&harness, 3);
    assert_int_equal(bytes_there(&harness), BOUND);
    harness_end(&harness);
}

/* Of the two the first would fit, but they are one batch, and for the second there is no room. */
static void a_round_without_room_is_found_by_no_start(bool power)
{
    struct harness harness;
    struct told fits = {0}, fits_not = {0};
    static const char record[LEN];

    begin(&harness, 1);
    harness.options.heal_every_ms = 60 * 1000;
    assert_int_equal(harness_open(&harness, NULL), 0);
    store(&harness, 12);
    assert_int_equal(harness_append(&harness, &fits, record, 1000), 0);
    assert_int_equal(harness_append(&harness, &fits_not, record, LEN), 0);
    wal_flush(harness.producer);
    harness_hear(&harness, &fits);
    harness_hear(&harness, &fits_not);
    assert_int_equal(fits.status, ERR_FULL);
    assert_int_equal(fits_not.status, ERR_FULL);
    harness_restart(&harness, power);
    assert_int_equal(harness.recovered.count, 12);
    assert_int_equal(harness.recovery.damaged_stretches, 0);
    harness_end(&harness);
}

static void a_round_without_room_is_found_by_no_start_after_a_stop(void **state)
{
    (void)state;
    a_round_without_room_is_found_by_no_start(false);
}

static void a_round_without_room_is_found_by_no_start_after_a_power_cut(void **state)
{
    (void)state;
    a_round_without_room_is_found_by_no_start(true);
}

static void a_round_whose_segment_cannot_be_made_is_found_by_no_start(void **state)
{
    static const int faults[] = {EIO, ENOSPC};
    static const char record[LEN];
    (void)state;

    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        struct harness harness;
        struct told fits = {0}, fits_not = {0};

        begin(&harness, 0);
        harness.options.heal_every_ms = 60 * 1000;
        assert_int_equal(harness_open(&harness, NULL), 0);
        store(&harness, 3);
        fault_disk_fail(harness.faults, FAULT_WRITE, ".new", 0, UINT32_MAX, faults[i]);
        assert_int_equal(harness_append(&harness, &fits, record, 1000), 0);
        assert_int_equal(harness_append(&harness, &fits_not, record, LEN), 0);
        wal_flush(harness.producer);
        harness_hear(&harness, &fits);
        harness_hear(&harness, &fits_not);
        assert_int_not_equal(fits.status, 0);
        assert_int_equal(fits_not.status, fits.status);
        harness_restart(&harness, false);
        assert_int_equal(harness.recovered.count, 3);
        harness_end(&harness);
    }
}

/* More than a segment holds waits at once, in several batches. */
static void a_queue_that_becomes_full_takes_what_there_is_room_for(void **state)
{
    struct harness harness;
    struct told told[6] = {0};
    static const char record[LEN];
    (void)state;

    begin(&harness, 0);
    harness.options.heal_every_ms = 60 * 1000;
    assert_int_equal(harness_open(&harness, NULL), 0);
    store(&harness, 7);
    fault_disk_hold(harness.faults, FAULT_SYNC, NULL, true);
    for (int i = 0; i < 6; i++)
        assert_int_equal(harness_append(&harness, &told[i], record, LEN), 0);
    fault_disk_await_held(harness.faults, FAULT_SYNC);
    fault_disk_hold(harness.faults, FAULT_SYNC, NULL, false);
    for (int i = 0; i < 6; i++) {
        harness_hear(&harness, &told[i]);
        assert_int_equal(told[i].status, i < 5 ? 0 : ERR_FULL);
    }
    harness_restart(&harness, true);
    assert_int_equal(harness.recovered.count, 12);
    assert_int_equal(harness.recovery.damaged_stretches, 0);
    harness_end(&harness);
}

static void *close_log(void *wal)
{
    wal_close(wal);
    return NULL;
}

static void a_log_that_is_closed_meanwhile_finishes_the_round(void **state)
{
    struct harness harness;
    struct told told = {0};
    pthread_t closer;
    (void)state;

    begin(&harness, 1);
    fill_to_the_last(&harness);
    ask_for_the_next(&harness, &told);
    assert_int_equal(pthread_create(&closer, NULL, close_log, harness.wal), 0);
    fault_disk_hold(harness.faults, FAULT_WRITE, NULL, false);
    harness_hear(&harness, &told);
    assert_int_equal(told.status, 0);
    pthread_join(closer, NULL);
    wal_producer_close(harness.producer);
    harness.producer = NULL;
    harness.wal = NULL;
    assert_int_equal(bytes_there(&harness), BOUND);
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(harness.recovered.count, 11);
    harness_end(&harness);
}

/* Until so many of the calls that are to fail have failed. */
static void await_failed(struct harness *harness, enum fault_op op, unsigned times)
{
    while (fault_disk_failed(harness->faults, op) < times)
        wal_wait(harness->wal, UINT64_MAX, 1);
}

static void a_file_that_has_its_new_name_goes_by_it(void **state)
{
    struct harness harness;
    (void)state;

    begin(&harness, 1);
    assert_int_equal(harness_open(&harness, NULL), 0);
    await_disk(&harness, SEGMENT, 1);
    store(&harness, 4);
    await_disk(&harness, 3 * SEGMENT, 1);
    /* The full one becomes a spare one, which is not durable, and cannot be deleted. */
    fault_disk_fail(harness.faults, FAULT_SYNC_DIR, HARNESS_DIR, 0, 1, EIO);
    fault_disk_fail(harness.faults, FAULT_UNLINK, "spare-", 0, UINT32_MAX, EIO);
    wal_release(harness.wal, 3 * WHOLE, NULL);
    await_failed(&harness, FAULT_UNLINK, 1);
    assert_int_equal(wal_stats(harness.wal).bytes_on_disk, 3 * SEGMENT);
    assert_int_equal(bytes_there(&harness), 3 * SEGMENT);
    fault_disk_fail(harness.faults, FAULT_UNLINK, NULL, 0, 0, 0);
    await_disk(&harness, 2 * SEGMENT, 1);
    assert_int_equal(bytes_there(&harness), 2 * SEGMENT);
    harness_end(&harness);
}

static void what_became_no_segment_and_cannot_be_deleted_counts(void **state)
{
    struct harness harness;
    (void)state;

    for (unsigned spares = 0; spares < 2; spares++) { /* who makes them: committer, preparer */
        uint64_t there;

        begin(&harness, spares);
        harness.options.heal_every_ms = 1;
        assert_int_equal(harness_open(&harness, NULL), 0);
        await_disk(&harness, spares * SEGMENT, spares);
        fault_disk_fail(harness.faults, FAULT_UNLINK, ".new", 0, UINT32_MAX, EIO);
        fault_disk_fail(harness.faults, FAULT_WRITE, ".new", 0, UINT32_MAX, EIO);
        assert_int_equal(harness_put(&harness, "first", NULL), spares == 0 ? ERR_IO : 0);
        await_failed(&harness, FAULT_UNLINK, 5);
        there = bytes_there(&harness);
        assert_in_range(there, 2 * SEGMENT, BOUND);
        assert_true(wal_stats(harness.wal).bytes_on_disk >= there);
        fault_disk_fail(harness.faults, FAULT_WRITE, NULL, 0, 0, 0);
        fault_disk_fail(harness.faults, FAULT_UNLINK, NULL, 0, 0, 0);
        harness_await_refusing(&harness, false);
        store(&harness, 1);
        await_disk(&harness, (1 + spares) * SEGMENT, spares);
        assert_int_equal(bytes_there(&harness), (1 + spares) * SEGMENT);
        harness_end(&harness);
    }
}

static void what_became_no_segment_takes_no_more_than_the_bound(void **state)
{
    struct harness harness;
    struct err err = {0};
    (void)state;

    begin(&harness, 0);
    harness.options.heal_every_ms = 1;
    assert_int_equal(harness_open(&harness, NULL), 0);
    fault_disk_fail(harness.faults, FAULT_UNLINK, ".new", 0, UINT32_MAX, EIO);
    fault_disk_fail(harness.faults, FAULT_WRITE, ".new", 0, UINT32_MAX, EIO);
    assert_int_equal(harness_put(&harness, "first", NULL), ERR_IO);
    while (strstr(err.text, "has reached its bound") == NULL) {
        assert_true(wal_refusing(harness.wal, &err));
        assert_in_range(wal_stats(harness.wal).bytes_on_disk, SEGMENT, BOUND);
    }
    harness_end(&harness);
}

/* The file that stays takes the last room there is, and nothing else has the preparer look. */
static void what_became_no_segment_and_can_be_deleted_now_is_in_nobodys_way(void **state)
{
    struct harness harness;
    struct told told = {0};
    (void)state;

    begin(&harness, 0);
    harness.options.max_bytes = 2 * SEGMENT;
    harness.options.heal_every_ms = 50;
    assert_int_equal(harness_open(&harness, NULL), 0);
    store(&harness, 3);
    fault_disk_fail(harness.faults, FAULT_WRITE, ".new", 0, 2, EIO); /* the round, and healing */
    fault_disk_fail(harness.faults, FAULT_UNLINK, ".new", 1, 1, EIO);
    ask_for_the_next(&harness, &told);
    harness_hear(&harness, &told);
    assert_int_equal(told.status, ERR_IO);
    harness_await_refusing(&harness, false);
    assert_int_equal(fault_disk_failed(harness.faults, FAULT_UNLINK), 1);
    harness_end(&harness);
}

static void what_became_no_segment_holds_up_none_that_did(void **state)
{
    struct harness harness;
    (void)state;

    begin(&harness, 0);
    harness.options.heal_every_ms = 1;
    assert_int_equal(harness_open(&harness, NULL), 0);
    fault_disk_fail(harness.faults, FAULT_UNLINK, ".new", 0, UINT32_MAX, EIO);
    fault_disk_fail(harness.faults, FAULT_WRITE, ".new", 0, 1, EIO);
    assert_int_equal(harness_put(&harness, "first", NULL), ERR_IO);
    harness_await_refusing(&harness, false);
    store(&harness, 4);
    wal_release(harness.wal, 3 * WHOLE, NULL);
    while (fault_disk_size(harness.faults, harness_segment(1)) != 0)
        wal_wait(harness.wal, UINT64_MAX, 1);
    harness_end(&harness);
}

static void a_disk_that_takes_no_changes_is_not_called_full(void **state)
{
    struct harness harness;
    struct err reason;
    (void)state;

    begin(&harness, 0);
    harness.options.heal_every_ms = 1;
    assert_int_equal(harness_open(&harness, NULL), 0);
    fault_disk_fail(harness.faults, FAULT_OPEN, ".new", 0, UINT32_MAX, ENOENT); /* none is made */
    fault_disk_fail(harness.faults, FAULT_UNLINK, NULL, 0, UINT32_MAX, EROFS);
    assert_int_equal(harness_put(&harness, "first", NULL), ERR_IO);
    await_failed(&harness, FAULT_UNLINK, 2 * BOUND / SEGMENT);
    assert_true(wal_refusing(harness.wal, &reason));
    assert_int_equal(reason.code, ERR_IO);
    assert_int_equal(wal_stats(harness.wal).bytes_on_disk, 0);
    fault_disk_fail(harness.faults, FAULT_OPEN, NULL, 0, 0, 0);
    fault_disk_fail(harness.faults, FAULT_UNLINK, NULL, 0, 0, 0);
    harness_await_refusing(&harness, false);
    harness_end(&harness);
}

static void a_segment_that_was_named_and_not_begun_counts_until_it_is_deleted(void **state)
{
    struct harness harness;
    struct told told = {0};
    uint64_t there;
    (void)state;

    begin(&harness, 0);
    harness.options.heal_every_ms = 1;
    assert_int_equal(harness_open(&harness, NULL), 0);
    store(&harness, 3);
    fault_disk_fail(harness.faults, FAULT_SYNC_DIR, HARNESS_DIR, 0, UINT32_MAX, EIO);
    fault_disk_fail(harness.faults, FAULT_UNLINK, ".seg", 0, UINT32_MAX, EIO);
    ask_for_the_next(&harness, &told);
    harness_hear(&harness, &told);
    assert_int_equal(told.status, ERR_IO);
    await_failed(&harness, FAULT_UNLINK, 4);
    there = bytes_there(&harness);
    assert_in_range(there, 2 * SEGMENT, BOUND);
    assert_true(wal_stats(harness.wal).bytes_on_disk >= there);
    fault_disk_fail(harness.faults, FAULT_SYNC_DIR, NULL, 0, 0, 0);
    fault_disk_fail(harness.faults, FAULT_UNLINK, NULL, 0, 0, 0);
    harness_await_refusing(&harness, false);
    store(&harness, 1);
    await_disk(&harness, 2 * SEGMENT, 0);
    assert_int_equal(bytes_there(&harness), 2 * SEGMENT);
    harness_restart(&harness, true);
    assert_int_equal(harness.recovered.count, 5);
    assert_int_equal(harness.recovery.damaged_stretches, 0);
    harness_end(&harness);
}

/* What goes later goes by its name, which must not be that of a segment in use by then. */
static void a_segment_that_was_named_and_not_begun_keeps_its_name(void **state)
{
    struct harness harness;
    struct told told = {0};
    (void)state;

    begin(&harness, 0);
    assert_int_equal(harness_open(&harness, NULL), 0);
    store(&harness, 3);
    fault_disk_fail(harness.faults, FAULT_SYNC_DIR, HARNESS_DIR, 0, 1, EIO);
    fault_disk_fail(harness.faults, FAULT_UNLINK, ".seg", 0, UINT32_MAX, EIO);
    ask_for_the_next(&harness, &told);
    harness_hear(&harness, &told);
    assert_int_equal(told.status, ERR_IO);
    harness_await_refusing(&harness, false);
    store(&harness, 1);
    fault_disk_fail(harness.faults, FAULT_UNLINK, NULL, 0, 0, 0);
    await_disk(&harness, 2 * SEGMENT, 0);
    harness_restart(&harness, true);
    assert_int_equal(harness.recovered.count, 5);
    assert_int_equal(harness.recovery.damaged_stretches, 0);
    harness_end(&harness);
}

static void who_only_looks_counts_the_spare_ones_too(void **state)
{
    struct harness harness;
    (void)state;

    begin(&harness, 1);
    assert_int_equal(harness_open(&harness, NULL), 0);
    await_disk(&harness, SEGMENT, 1);
    store(&harness, 4);
    await_disk(&harness, 3 * SEGMENT, 1);
    harness_close(&harness);
    harness.options.read_only = true;
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(wal_stats(harness.wal).bytes_on_disk, bytes_there(&harness));
    harness_end(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_segment_is_to_be_had_while_it_is_being_made),
        cmocka_unit_test(a_disk_that_stands_still_is_not_called_full),
        cmocka_unit_test(a_disk_without_room_for_the_last_segment_is_called_so),
        cmocka_unit_test(a_round_without_room_is_found_by_no_start_after_a_stop),
        cmocka_unit_test(a_round_without_room_is_found_by_no_start_after_a_power_cut),
        cmocka_unit_test(a_round_whose_segment_cannot_be_made_is_found_by_no_start),
        cmocka_unit_test(a_queue_that_becomes_full_takes_what_there_is_room_for),
        cmocka_unit_test(a_log_that_is_closed_meanwhile_finishes_the_round),
        cmocka_unit_test(a_file_that_has_its_new_name_goes_by_it),
        cmocka_unit_test(what_became_no_segment_and_cannot_be_deleted_counts),
        cmocka_unit_test(what_became_no_segment_takes_no_more_than_the_bound),
        cmocka_unit_test(what_became_no_segment_and_can_be_deleted_now_is_in_nobodys_way),
        cmocka_unit_test(what_became_no_segment_holds_up_none_that_did),
        cmocka_unit_test(a_disk_that_takes_no_changes_is_not_called_full),
        cmocka_unit_test(a_segment_that_was_named_and_not_begun_counts_until_it_is_deleted),
        cmocka_unit_test(a_segment_that_was_named_and_not_begun_keeps_its_name),
        cmocka_unit_test(who_only_looks_counts_the_spare_ones_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
