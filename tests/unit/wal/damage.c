/*
 * What is damaged in the middle of the log: counted to the record, set aside once, remembered when
 * its segment is long gone; and whatever is whole around it is read.
 */
#include "support/wal_harness.h"
#include "wal/wal_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

enum { HEADER = 64, FRAME = 16, LEN = 100, WHOLE = FRAME + LEN, PER_SEGMENT = 34, RECORDS = 100 };

static void begin(struct harness *harness, uint64_t seed)
{
    harness_begin(harness, seed);
    harness->options.quarantine = "data/quarantine";
    harness->options.quarantine_max_bytes = 1 << 20;
    assert_int_equal(harness_open(harness, NULL), 0);
    for (int i = 0; i < RECORDS; i++)
        harness_store(harness, "record", LEN);
}

static void flip(struct harness *harness, unsigned segment, size_t at)
{
    char byte;

    fault_disk_peek(harness->faults, harness_segment(segment), at, &byte, 1);
    byte ^= 0x04;
    fault_disk_poke(harness->faults, harness_segment(segment), at, &byte, 1);
}

static size_t size_of(struct harness *harness, const char *path)
{
    struct disk *disk = harness->options.disk;
    int fd = disk->open(disk, path, O_RDONLY);
    int64_t size = fd < 0 ? 0 : disk->size(disk, fd);

    if (fd >= 0)
        disk->close(disk, fd);
    return (size_t)size;
}

static const char *copy_of(uint64_t from, uint64_t len)
{
    static char path[128];

    snprintf(path, sizeof path, "data/quarantine/%020llu-%llu.damaged", (unsigned long long)from,
             (unsigned long long)len);
    return path;
}

/* Reads all; whole and lost records together are those that were taken. */
static void reconcile(struct harness *harness, uint64_t lost)
{
    struct seen_list list = harness_read(harness, 0);
    struct wal_stats stats = wal_stats(harness->wal);
    uint64_t whole = 0;
    uint64_t before = 0;

    for (size_t i = 0; i < list.count; i++)
        whole += list.at[i].code == 0;
    assert_int_equal(wal_lost(harness->wal, UINT64_MAX).records, lost);
    assert_int_equal(stats.records, whole + lost);
    for (size_t i = 0; i < list.count; i++) {
        uint64_t at = list.at[i].position;

        assert_int_equal(wal_count_before(harness->wal, at, &before, NULL), 0);
        whole = wal_lost(harness->wal, at).records;
        for (size_t j = 0; j < i; j++)
            whole += list.at[j].code == 0;
        assert_int_equal(before, whole);
    }
    seen_free(&list);
}

static void release_all(struct harness *harness)
{
    static const struct timespec a_moment = {.tv_nsec = 100000};

    wal_release(harness->wal, wal_stats(harness->wal).durable, NULL);
    while (wal_stats(harness->wal).bytes_on_disk > 4096)
        nanosleep(&a_moment, NULL);
}

static void a_flipped_bit_loses_one_record_wherever_it_is(void **state)
{
    (void)state;
    for (size_t byte = 0; byte < WHOLE; byte += 5) {
        for (unsigned segment = 1; segment <= 3; segment++) {
            struct harness harness;
            uint64_t from = ((uint64_t)(segment - 1) * PER_SEGMENT + 7) * WHOLE;
            char header[HEADER];
            char kept[HEADER];

            begin(&harness, 1);
            harness_close(&harness);
            flip(&harness, segment, HEADER + 7 * WHOLE + byte);
            assert_int_equal(harness_open(&harness, NULL), 0);
            assert_int_equal(harness.recovery.damaged_stretches, 1);
            reconcile(&harness, 1);
            assert_int_equal(size_of(&harness, copy_of(from, WHOLE)), HEADER + WHOLE);
            fault_disk_peek(harness.faults, harness_segment(segment), 0, header, HEADER);
            fault_disk_peek(harness.faults, copy_of(from, WHOLE), 0, kept, HEADER);
            assert_memory_equal(kept, header, HEADER);
            harness_end(&harness);
        }
    }
}

static void a_page_of_zeros_loses_the_records_in_it_to_the_number(void **state)
{
    static const char zeros[1024];

    (void)state;
    for (size_t at = HEADER; at < HEADER + 20 * WHOLE; at += 61) {
        struct harness harness;
        size_t first = (at - HEADER) / WHOLE;
        size_t last = (at - HEADER + sizeof zeros - 1) / WHOLE;

        begin(&harness, 2);
        harness_close(&harness);
        fault_disk_poke(harness.faults, harness_segment(2), at, zeros, sizeof zeros);
        assert_int_equal(harness_open(&harness, NULL), 0);
        reconcile(&harness, last - first + 1);
        assert_int_equal(wal_stats(harness.wal).records, RECORDS);
        harness_end(&harness);
    }
}

static void a_record_that_rots_while_the_log_is_open_is_set_aside_by_its_first_reader(void **state)
{
    struct harness harness;

    (void)state;
    for (unsigned segment = 1; segment <= 3; segment++) {
        begin(&harness, 3);
        flip(&harness, segment, HEADER + 5 * WHOLE + FRAME);
        assert_int_equal(wal_lost(harness.wal, UINT64_MAX).stretches, 0);
        reconcile(&harness, 1);
        reconcile(&harness, 1); /* once */
        assert_int_equal(size_of(&harness, "data/quarantine/index"), 40);
        harness_end(&harness);
    }
}

static void a_record_that_rots_while_the_log_is_open_is_counted_all_the_same(void **state)
{
    struct harness harness;
    uint64_t before;
    (void)state;

    begin(&harness, 1);
    flip(&harness, 2, HEADER + 7 * WHOLE + 20);
    for (int i = 0; i < 2; i++) { /* nobody knows of it; then it is known */
        assert_int_equal(wal_count_before(harness.wal, 50 * WHOLE, &before, NULL), 0);
        assert_int_equal(before, 50);
        assert_int_equal(wal_lost(harness.wal, UINT64_MAX).records, 1);
    }
    harness_end(&harness);
}

static void what_is_lost_stays_counted_when_its_segment_is_gone(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct harness harness;

        begin(&harness, seed);
        harness_close(&harness);
        flip(&harness, 1, HEADER + 5 * WHOLE + FRAME);
        flip(&harness, 1, HEADER + 9 * WHOLE + FRAME);
        assert_int_equal(harness_open(&harness, NULL), 0);
        release_all(&harness);
        for (int again = 0; again < 3; again++) {
            harness.options.start = wal_stats(harness.wal).durable;
            harness_restart(&harness, true);
            assert_int_equal(wal_lost(harness.wal, UINT64_MAX).records, 2);
            assert_int_equal(wal_lost(harness.wal, 5 * WHOLE).records, 0);
            assert_int_equal(wal_lost(harness.wal, 5 * WHOLE + 1).records, 1);
            assert_true(wal_lost_at(harness.wal, 9 * WHOLE));
            assert_false(wal_lost_at(harness.wal, 10 * WHOLE));
            assert_int_equal(size_of(&harness, copy_of(9 * WHOLE, WHOLE)), HEADER + WHOLE);
            assert_int_equal(size_of(&harness, "data/quarantine/index"), 80);
        }
        harness_end(&harness);
    }
}

static void what_the_store_has_is_not_lost_by_damage(void **state)
{
    struct harness harness;

    (void)state;
    begin(&harness, 5);
    harness_close(&harness);
    flip(&harness, 2, HEADER + 5 * WHOLE + FRAME);
    harness.options.start = (PER_SEGMENT + 6) * WHOLE;
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(wal_lost(harness.wal, UINT64_MAX).stretches, 1);
    assert_int_equal(wal_lost(harness.wal, UINT64_MAX).records, 0);
    assert_int_equal(wal_stats(harness.wal).records, RECORDS);
    harness_restart(&harness, false);
    assert_int_equal(wal_lost(harness.wal, UINT64_MAX).stretches, 1);
    assert_int_equal(wal_lost(harness.wal, UINT64_MAX).records, 0);
    harness_end(&harness);
}

/* It would have been the next one. */
static void what_stands_at_the_store_s_cursor_is_lost(void **state)
{
    struct harness harness;

    (void)state;
    begin(&harness, 5);
    harness_close(&harness);
    flip(&harness, 2, HEADER + 5 * WHOLE + FRAME);
    harness.options.start = (PER_SEGMENT + 5) * WHOLE;
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(wal_lost(harness.wal, UINT64_MAX).records, 1);
    harness_end(&harness);
}

static void over_its_bound_damage_is_only_counted(void **state)
{
    struct harness harness;

    (void)state;
    begin(&harness, 6);
    harness_close(&harness);
    flip(&harness, 1, HEADER + 5 * WHOLE + FRAME);
    flip(&harness, 1, HEADER + 9 * WHOLE + FRAME);
    harness.options.quarantine_max_bytes = HEADER + WHOLE;
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(wal_lost(harness.wal, UINT64_MAX).records, 2);
    assert_int_equal(wal_lost(harness.wal, UINT64_MAX).kept_bytes, HEADER + WHOLE);
    assert_int_equal(size_of(&harness, copy_of(9 * WHOLE, WHOLE)), 0);
    harness_restart(&harness, false);
    assert_int_equal(wal_lost(harness.wal, UINT64_MAX).records, 2);
    reconcile(&harness, 2);
    harness_end(&harness);
}

static void a_missing_segment_is_damage_of_known_size(void **state)
{
    struct harness harness;
    struct disk *disk;

    (void)state;
    begin(&harness, 7);
    harness_close(&harness);
    disk = harness.options.disk;
    assert_int_equal(disk->unlink(disk, harness_segment(2)), 0);
    assert_int_equal(harness_open(&harness, NULL), 0);
    reconcile(&harness, PER_SEGMENT);
    assert_int_equal(wal_stats(harness.wal).records, RECORDS);
    harness_restart(&harness, true);
    reconcile(&harness, PER_SEGMENT);
    harness_end(&harness);
}

static void a_truncated_segment_loses_its_end_alone(void **state)
{
    (void)state;
    for (size_t left = HEADER; left < HEADER + 10 * WHOLE; left += 40) {
        struct harness harness;

        begin(&harness, 8);
        harness_close(&harness);
        fault_disk_cut(harness.faults, harness_segment(2), left);
        assert_int_equal(harness_open(&harness, NULL), 0);
        reconcile(&harness, PER_SEGMENT - (left - HEADER) / WHOLE);
        harness_end(&harness);
    }
}

static void a_segment_of_another_salt_is_damaged_as_a_whole(void **state)
{
    struct harness harness;
    struct wal_segment segment;
    char header[SEGMENT_HEADER];
    char node[WAL_NODE_LEN];

    (void)state;
    begin(&harness, 9);
    harness_close(&harness);
    fault_disk_peek(harness.faults, harness_segment(2), 0, header, HEADER);
    assert_int_equal(segment_header_read(header, &segment, node, NULL), 0);
    segment.salt ^= 1;
    segment_header_write(header, &segment, node);
    fault_disk_poke(harness.faults, harness_segment(2), 0, header, HEADER);
    assert_int_equal(harness_open(&harness, NULL), 0);
    reconcile(&harness, PER_SEGMENT);
    harness_end(&harness);
}

static void a_segment_stays_until_its_damage_is_set_aside(void **state)
{
    struct harness harness;

    (void)state;
    begin(&harness, 10);
    harness_close(&harness);
    flip(&harness, 1, HEADER + 5 * WHOLE + FRAME);
    fault_disk_fail(harness.faults, FAULT_WRITE, "data/quarantine", 0, 2, EIO);
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(wal_lost(harness.wal, UINT64_MAX).records, 1);
    assert_int_equal(wal_lost(harness.wal, UINT64_MAX).kept_bytes, 0);
    release_all(&harness);
    assert_int_equal(wal_lost(harness.wal, UINT64_MAX).kept_bytes, HEADER + WHOLE);
    assert_int_equal(size_of(&harness, copy_of(5 * WHOLE, WHOLE)), HEADER + WHOLE);
    harness_end(&harness);
}

static void a_copy_whose_entry_comes_later_is_counted_once(void **state)
{
    struct harness harness;

    (void)state;
    begin(&harness, 16);
    harness_close(&harness);
    flip(&harness, 1, HEADER + 5 * WHOLE + FRAME);
    fault_disk_fail(harness.faults, FAULT_WRITE, "data/quarantine/index", 0, 1, EIO);
    assert_int_equal(harness_open(&harness, NULL), 0);
    release_all(&harness);
    assert_int_equal(fault_disk_failed(harness.faults, FAULT_WRITE), 1);
    assert_int_equal(size_of(&harness, "data/quarantine/index"), 40);
    assert_int_equal(wal_lost(harness.wal, UINT64_MAX).kept_bytes, HEADER + WHOLE);
    harness_end(&harness);
}

/* Else the next start would take it for delivered, if the store has passed it by then. */
static void what_could_not_be_set_aside_is_tried_again_without_waiting_for_the_store(void **state)
{
    static const struct timespec a_moment = {.tv_nsec = 100000};
    struct harness harness;

    (void)state;
    begin(&harness, 14);
    harness_close(&harness);
    flip(&harness, 1, HEADER + 5 * WHOLE + FRAME);
    fault_disk_fail(harness.faults, FAULT_WRITE, "data/quarantine", 0, 2, EIO);
    assert_int_equal(harness_open(&harness, NULL), 0);
    while (wal_lost(harness.wal, UINT64_MAX).kept_bytes != HEADER + WHOLE)
        nanosleep(&a_moment, NULL);
    harness_close(&harness);
    assert_int_equal(size_of(&harness, "data/quarantine/index"), 40);
    harness.options.start = 10 * WHOLE;
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(wal_lost(harness.wal, UINT64_MAX).records, 1);
    harness_end(&harness);
}

/* Its copy may be too large for the disk, or its bytes may not be read. */
static void what_cannot_be_set_aside_at_all_holds_up_nothing_else(void **state)
{
    static const struct timespec a_moment = {.tv_nsec = 100000};
    struct harness harness;

    (void)state;
    begin(&harness, 15);
    harness_close(&harness);
    flip(&harness, 1, HEADER + 5 * WHOLE + FRAME);
    flip(&harness, 2, HEADER + 5 * WHOLE + FRAME);
    fault_disk_fail(harness.faults, FAULT_RENAME, copy_of(5 * WHOLE, WHOLE), 0, UINT_MAX, EIO);
    fault_disk_fail(harness.faults, FAULT_WRITE, "data/quarantine", 2, 1, EIO); /* of the second */
    assert_int_equal(harness_open(&harness, NULL), 0);
    while (fault_disk_failed(harness.faults, FAULT_RENAME) < 2) /* at the start, and once more */
        nanosleep(&a_moment, NULL);
    harness_close(&harness);
    assert_int_equal(size_of(&harness, copy_of((PER_SEGMENT + 5) * WHOLE, WHOLE)), HEADER + WHOLE);
    assert_int_equal(size_of(&harness, "data/quarantine/index"), 40);
    harness_end(&harness);
}

static void a_full_disk_does_not_keep_the_segment(void **state)
{
    struct harness harness;

    (void)state;
    begin(&harness, 11);
    harness_close(&harness);
    flip(&harness, 1, HEADER + 5 * WHOLE + FRAME);
    fault_disk_fail(harness.faults, FAULT_WRITE, "data/quarantine", 0, UINT32_MAX, ENOSPC);
    assert_int_equal(harness_open(&harness, NULL), 0);
    release_all(&harness);
    assert_int_equal(wal_lost(harness.wal, UINT64_MAX).records, 1);
    harness_end(&harness);
}

static void a_damaged_index_is_counted_as_far_as_it_is_whole(void **state)
{
    struct harness harness;

    (void)state;
    begin(&harness, 12);
    harness_close(&harness);
    flip(&harness, 1, HEADER + 5 * WHOLE + FRAME);
    flip(&harness, 1, HEADER + 9 * WHOLE + FRAME);
    assert_int_equal(harness_open(&harness, NULL), 0);
    release_all(&harness);
    harness.options.start = wal_stats(harness.wal).durable;
    harness_close(&harness);
    fault_disk_poke(harness.faults, "data/quarantine/index", 3, "\xff", 1);
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(wal_lost(harness.wal, UINT64_MAX).records, 1);
    harness_end(&harness);
}

static void looking_sets_nothing_aside(void **state)
{
    struct harness harness;

    (void)state;
    begin(&harness, 13);
    harness_close(&harness);
    flip(&harness, 1, HEADER + 5 * WHOLE + FRAME);
    harness.options.read_only = true;
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(harness.recovery.damaged_stretches, 1);
    assert_int_equal(wal_lost(harness.wal, UINT64_MAX).records, 1);
    assert_int_equal(size_of(&harness, "data/quarantine/index"), 0);
    harness_end(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flipped_bit_loses_one_record_wherever_it_is),
        cmocka_unit_test(a_page_of_zeros_loses_the_records_in_it_to_the_number),
        cmocka_unit_test(a_record_that_rots_while_the_log_is_open_is_set_aside_by_its_first_reader),
        cmocka_unit_test(a_record_that_rots_while_the_log_is_open_is_counted_all_the_same),
        cmocka_unit_test(what_is_lost_stays_counted_when_its_segment_is_gone),
        cmocka_unit_test(what_the_store_has_is_not_lost_by_damage),
        cmocka_unit_test(what_stands_at_the_store_s_cursor_is_lost),
        cmocka_unit_test(over_its_bound_damage_is_only_counted),
        cmocka_unit_test(a_missing_segment_is_damage_of_known_size),
        cmocka_unit_test(a_truncated_segment_loses_its_end_alone),
        cmocka_unit_test(a_segment_of_another_salt_is_damaged_as_a_whole),
        cmocka_unit_test(a_segment_stays_until_its_damage_is_set_aside),
        cmocka_unit_test(a_copy_whose_entry_comes_later_is_counted_once),
        cmocka_unit_test(what_could_not_be_set_aside_is_tried_again_without_waiting_for_the_store),
        cmocka_unit_test(what_cannot_be_set_aside_at_all_holds_up_nothing_else),
        cmocka_unit_test(a_full_disk_does_not_keep_the_segment),
        cmocka_unit_test(a_damaged_index_is_counted_as_far_as_it_is_whole),
        cmocka_unit_test(looking_sets_nothing_aside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
