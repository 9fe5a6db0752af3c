/*
 * Where the log ends after a crash, what is kept behind damage, and what stops the start.
 */
#include "support/wal_harness.h"
#include "wal/wal_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { HEADER = 64, FRAME = 16 };

static void begin(struct harness *harness, uint64_t seed)
{
    harness_begin(harness, seed);
    assert_int_equal(harness_open(harness, NULL), 0);
}

/* The file with its preallocated room, as a crash leaves it: closing does not cut it. */
static void crash_here(struct harness *harness)
{
    fault_disk_crash_at(harness->faults, 0);
    harness_close(harness);
    fault_disk_restart(harness->faults, false);
}

enum rest { CUT_OFF, ZEROS, GARBAGE };

static void damage_from(struct harness *harness, const char *path, size_t at, size_t end,
                        enum rest rest)
{
    char bytes[4096] = {0};

    if (rest == CUT_OFF) {
        fault_disk_cut(harness->faults, path, at);
        return;
    }
    for (size_t i = 0; i < end - at && rest == GARBAGE; i++)
        bytes[i] = (char)(i * 37 + at * 11 + 1);
    fault_disk_poke(harness->faults, path, at, bytes, end - at);
}

static void a_record_torn_at_any_byte_ends_the_log(void **state)
{
    enum { LEN = 50, BEGINS = HEADER + 2 * (FRAME + LEN), ENDS = BEGINS + FRAME + LEN };
    (void)state;

    for (size_t at = BEGINS; at <= ENDS; at++) {
        for (enum rest rest = CUT_OFF; rest <= GARBAGE; rest++) {
            struct harness harness;
            struct seen_list list;
            size_t whole = at == ENDS ? 3 : 2;

            begin(&harness, at);
            harness_store(&harness, "first", LEN);
            harness_store(&harness, "second", LEN);
            harness_store(&harness, "third", LEN);
            crash_here(&harness);
            damage_from(&harness, harness_segment(1), at, 4096, rest);
            assert_int_equal(harness_open(&harness, NULL), 0);
            assert_int_equal(harness.recovered.count, whole);
            assert_int_equal(harness.recovery.damaged_stretches, 0);
            if (at < ENDS)
                assert_in_range(harness.recovery.cut_bytes, at < BEGINS + FRAME ? 0 : 1, 4096);
            assert_true(harness_store(&harness, "fourth", LEN) == whole * (FRAME + LEN));
            for (int restarts = 0; restarts < 2; restarts++) {
                list = harness_read(&harness, 0);
                assert_int_equal(list.count, whole + 1);
                assert_true(seen_is(&list.at[1], "second"));
                assert_true(seen_is(&list.at[whole], "fourth"));
                seen_free(&list);
                harness_restart(&harness, true);
            }
            harness_end(&harness);
        }
    }
}

static void a_torn_record_is_counted_as_cut(void **state)
{
    struct harness harness;
    (void)state;

    begin(&harness, 1);
    harness_store(&harness, "whole", 100);
    harness_store(&harness, "torn", 100);
    crash_here(&harness);
    damage_from(&harness, harness_segment(1), HEADER + 116 + 60, 4096, ZEROS);
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(harness.recovery.records, 1);
    assert_int_equal(harness.recovery.cut_bytes, 116);
    assert_int_equal(harness.recovery.bytes, 116);
    assert_int_equal(fault_disk_size(harness.faults, harness_segment(1)), HEADER + 116);
    assert_int_equal(wal_stats(harness.wal).bytes_on_disk, HEADER + 116);
    harness_end(&harness);
}

static void no_more_is_counted_as_cut_than_the_file_holds(void **state)
{
    struct harness harness;
    (void)state;

    begin(&harness, 1);
    harness_store(&harness, "whole", 100);
    harness_store(&harness, "torn", 100);
    crash_here(&harness);
    fault_disk_poke(harness.faults, harness_segment(1), HEADER + 116 + 6, "\x55", 1); /* length */
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(harness.recovery.records, 1);
    assert_int_equal(harness.recovery.cut_bytes, 4096 - HEADER - 116);
    harness_end(&harness);
}

static void an_unfinished_round_is_cut_though_a_later_record_is_whole(void **state)
{
    struct harness harness;
    struct told told = {0};
    (void)state;

    begin(&harness, 1);
    harness_store(&harness, "durable", 100);
    for (int i = 0; i < 3; i++)
        assert_int_equal(harness_append(&harness, NULL, "0123456789", 10), 0);
    harness_claim(&harness, &told);
    wal_flush(harness.producer);
    harness_hear(&harness, &told);
    crash_here(&harness);
    fault_disk_poke(harness.faults, harness_segment(1), HEADER + 116 + FRAME + 3, "\xff", 1);
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(harness.recovered.count, 1);
    assert_int_equal(harness.recovery.cut_bytes, 3 * 26);
    assert_int_equal(harness.recovery.damaged_bytes, 0);
    assert_true(harness_store(&harness, "next", 10) == 116);
    harness_restart(&harness, true);
    assert_int_equal(harness.recovered.count, 2);
    assert_true(seen_is(&harness.recovered.at[1], "next"));
    harness_end(&harness);
}

static void a_rotten_record_in_the_last_segment_is_skipped(void **state)
{
    (void)state;

    /* Every byte of the second of four records, each a round of its own. */
    for (size_t at = HEADER + 116; at < HEADER + 2 * 116; at++) {
        struct harness harness;
        struct seen_list list;
        char byte;

        begin(&harness, at);
        for (int i = 0; i < 4; i++)
            harness_store(&harness, (const char *[]){"a", "b", "c", "d"}[i], 100);
        crash_here(&harness);
        fault_disk_peek(harness.faults, harness_segment(1), at, &byte, 1);
        byte = (char)(byte ^ 0x55);
        fault_disk_poke(harness.faults, harness_segment(1), at, &byte, 1);
        assert_int_equal(harness_open(&harness, NULL), 0);
        assert_int_equal(harness.recovery.records, 3);
        assert_int_equal(harness.recovery.damaged_stretches, 1);
        assert_int_equal(harness.recovery.damaged_bytes, 116);
        assert_int_equal(harness.recovery.cut_bytes, 0);
        harness_store(&harness, "e", 100);
        list = harness_read(&harness, 0);
        assert_int_equal(list.count, 5);
        assert_true(seen_is(&list.at[0], "a"));
        assert_int_equal(list.at[1].code, ERR_CORRUPT);
        assert_true(list.at[1].position == 116 && list.at[1].next == 232);
        assert_true(seen_is(&list.at[2], "c"));
        assert_true(seen_is(&list.at[4], "e"));
        seen_free(&list);
        harness_end(&harness);
    }
}

static void a_rotten_round_is_skipped_up_to_the_first_whole_record(void **state)
{
    struct harness harness;
    struct told told = {0};
    (void)state;

    begin(&harness, 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(harness_append(&harness, NULL, "0123456789", 10), 0);
    harness_claim(&harness, &told);
    wal_flush(harness.producer);
    harness_hear(&harness, &told);
    harness_store(&harness, "proof", 10);
    crash_here(&harness);
    fault_disk_poke(harness.faults, harness_segment(1), HEADER + FRAME, "X", 1);
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(harness.recovered.count, 3);
    assert_true(harness.recovered.at[0].position == 26);
    assert_true(harness.recovered.at[2].position == 78);
    assert_int_equal(harness.recovery.damaged_bytes, 26);
    harness_end(&harness);
}

static void a_rotten_record_in_an_earlier_segment_is_skipped(void **state)
{
    struct harness harness;
    struct seen_list list;
    (void)state;

    begin(&harness, 1);
    for (int i = 0; i < 8; i++)
        harness_store(&harness, (const char *[]){"a", "b", "c", "d", "e", "f", "g", "h"}[i], 1000);
    harness_close(&harness);
    fault_disk_poke(harness.faults, harness_segment(1), HEADER + 500, "X", 1);
    fault_disk_poke(harness.faults, harness_segment(2), HEADER + 2 * 1016 + 501, "X", 1);
    fault_disk_poke(harness.faults, harness_segment(2), HEADER + 1016 + 501, "X", 1);
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(harness.recovery.records, 5);
    assert_int_equal(harness.recovery.damaged_stretches, 2);
    assert_int_equal(harness.recovery.damaged_bytes, 3 * 1016);
    list = harness_read(&harness, 0);
    assert_int_equal(list.count, 7);
    assert_int_equal(list.at[0].code, ERR_CORRUPT);
    assert_true(seen_is(&list.at[1], "b"));
    assert_true(seen_is(&list.at[2], "c"));
    assert_true(seen_is(&list.at[3], "d"));
    assert_int_equal(list.at[4].code, ERR_CORRUPT);
    assert_true(list.at[4].next == 6 * 1016);
    assert_true(seen_is(&list.at[6], "h"));
    seen_free(&list);
    harness_end(&harness);
}

static void a_file_that_is_shorter_than_its_stretch_is_damaged_once(void **state)
{
    struct harness harness;
    struct seen_list list;
    (void)state;

    begin(&harness, 1);
    for (int i = 0; i < 4; i++)
        harness_store(&harness, (const char *[]){"a", "b", "c", "d"}[i], 1000);
    harness_close(&harness);
    fault_disk_cut(harness.faults, harness_segment(1), HEADER + 1016 + 300);
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(harness.recovery.records, 2);
    assert_int_equal(harness.recovery.damaged_stretches, 1);
    assert_int_equal(harness.recovery.damaged_bytes, 2 * 1016);
    list = harness_read(&harness, 0);
    assert_int_equal(list.count, 3);
    assert_int_equal(list.at[1].code, ERR_CORRUPT);
    assert_true(list.at[1].next == 3 * 1016);
    seen_free(&list);
    harness_end(&harness);
}

static void a_stale_record_ends_the_log_even_at_the_expected_position(void **state)
{
    struct harness harness;
    struct wal_segment segment;
    char record[FRAME + 100] = {0};
    char header[SEGMENT_HEADER];
    char node[WAL_NODE_LEN];
    uint32_t length = 100;
    (void)state;

    for (uint32_t change = 0; change < 3; change++) {
        begin(&harness, 1);
        harness_store(&harness, "whole", 100);
        crash_here(&harness);
        fault_disk_peek(harness.faults, harness_segment(1), 0, header, sizeof header);
        assert_int_equal(segment_header_read(header, &segment, node, NULL), 0);
        memcpy(record + 4, &length, sizeof length);
        /* Of this life; of this life but elsewhere; of another life. */
        record_seal(record, segment.salt + (change == 2), change == 1 ? 117 : 116, true);
        fault_disk_poke(harness.faults, harness_segment(1), HEADER + 116, record, sizeof record);
        assert_int_equal(harness_open(&harness, NULL), 0);
        assert_int_equal(harness.recovered.count, change == 0 ? 2 : 1);
        harness_end(&harness);
    }
}

static void a_jump_of_the_start_is_no_damage(void **state)
{
    struct harness harness;
    struct seen_list list;
    uint64_t count;
    (void)state;

    begin(&harness, 1);
    harness_store(&harness, "a", 100);
    harness_store(&harness, "b", 100);
    harness_close(&harness);
    harness.options.start = 100000;
    for (int restarts = 0; restarts < 2; restarts++) {
        assert_int_equal(harness_open(&harness, NULL), 0);
        assert_int_equal(harness.recovery.records, 2);
        assert_true(wal_stats(harness.wal).durable == 2 * 116);
        assert_true(wal_stats(harness.wal).next == 100000);
        assert_true(harness.recovery.end == 100000);
        assert_int_equal(wal_count_before(harness.wal, 5000, &count, NULL), 0);
        assert_int_equal(count, 2);
        harness_restart(&harness, true);
        harness_close(&harness);
    }
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_true(harness_store(&harness, "c", 100) == 100000);
    harness_store(&harness, "d", 4000);
    harness.options.start = 0;
    harness_restart(&harness, true);
    assert_int_equal(harness.recovery.records, 4);
    assert_int_equal(harness.recovery.damaged_stretches, 0);
    list = harness_read(&harness, 0);
    assert_int_equal(list.count, 4);
    assert_true(list.at[2].position == 100000);
    seen_free(&list);
    assert_int_equal(wal_count_before(harness.wal, 5000, &count, NULL), 0);
    assert_int_equal(count, 2);
    harness_end(&harness);
}

static void put_header(struct harness *harness, unsigned number, const struct wal_segment *segment)
{
    char header[SEGMENT_HEADER];

    segment_header_write(header, segment, harness->options.node);
    fault_disk_poke(harness->faults, harness_segment(number), 0, header, sizeof header);
}

static void make_file(struct harness *harness, const char *path)
{
    struct disk *disk = harness->options.disk;
    int fd = disk->open(disk, path, O_RDWR | O_CREAT);

    assert_true(fd >= 0);
    assert_int_equal(disk->truncate(disk, fd, 4096), 0);
    assert_int_equal(disk->close(disk, fd), 0);
}

static void segments_of_others_stop_the_start(void **state)
{
    struct harness harness;
    struct err err = {0};
    char header[SEGMENT_HEADER];
    uint32_t newer = SEGMENT_VERSION + 1;
    (void)state;

    begin(&harness, 1);
    harness_store(&harness, "a", 100);
    harness_close(&harness);
    fault_disk_peek(harness.faults, harness_segment(1), 0, header, sizeof header);

    harness.options.node[0] = 'X';
    assert_int_equal(harness_open(&harness, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.text, "testnode"));
    assert_non_null(strstr(err.text, harness_segment(1)));
    harness.options.node[0] = 't';

    fault_disk_poke(harness.faults, harness_segment(1), 8, &newer, sizeof newer);
    assert_int_equal(harness_open(&harness, &err), ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "version 2"));
    fault_disk_poke(harness.faults, harness_segment(1), 0, header, sizeof header);

    for (size_t at = 0; at < sizeof header; at++) {
        char byte = (char)(header[at] ^ 0x10);
        int code;

        fault_disk_poke(harness.faults, harness_segment(1), at, &byte, 1);
        code = harness_open(&harness, &err);
        assert_true(code == ERR_CORRUPT || (code == ERR_UNSUPPORTED && at >= 8 && at < 12));
        if (at >= 12) /* it is damaged, and not of another node */
            assert_non_null(strstr(err.text, "checksum"));
        fault_disk_poke(harness.faults, harness_segment(1), at, &header[at], 1);
    }
    put_header(&harness, 1, &(struct wal_segment){.sequence = 1, .base = UINT64_C(1) << 63});
    assert_int_equal(harness_open(&harness, &err), ERR_CORRUPT);
    put_header(&harness, 1, &(struct wal_segment){.sequence = 1, .base = 5, .previous = 6});
    assert_int_equal(harness_open(&harness, &err), ERR_CORRUPT);
    make_file(&harness, harness_segment(2));
    put_header(&harness, 2, &(struct wal_segment){.sequence = 1});
    put_header(&harness, 1, &(struct wal_segment){.sequence = 1});
    assert_int_equal(harness_open(&harness, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.text, "that of segment 1"));
    fault_disk_cut(harness.faults, harness_segment(1), 40);
    assert_int_equal(harness_open(&harness, &err), ERR_CORRUPT);
    fault_disk_cut(harness.faults, harness_segment(1), 0);
    assert_int_equal(harness_open(&harness, &err), ERR_CORRUPT);
    harness_end(&harness);
}

static void a_file_that_ends_within_its_header_holds_nothing(void **state)
{
    struct harness harness;
    char header[HEADER];
    (void)state;

    memset(header, 'x', sizeof header);
    segment_header_write(header, &(struct wal_segment){.sequence = 1}, "testnode");
    assert_memory_equal(header + HEADER - 4, "\0\0\0\0", 4);
    begin(&harness, 1);
    harness_store(&harness, "a", 100);
    harness_close(&harness);
    fault_disk_cut(harness.faults, harness_segment(1), HEADER - 2); /* those are zeros */
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(harness.recovered.count, 0);
    harness_end(&harness);
}

static bool is_there(struct harness *harness, const char *path)
{
    int fd = harness->options.disk->open(harness->options.disk, path, O_RDONLY);

    if (fd >= 0)
        harness->options.disk->close(harness->options.disk, fd);
    return fd >= 0;
}

/* Looking leaves the file that holds nothing where it is; the next start removes it. */
static void check_that_it_goes(struct harness *harness, unsigned segment, size_t records)
{
    uint64_t changes = fault_disk_changes(harness->faults);

    harness->options.read_only = true;
    assert_int_equal(harness_open(harness, NULL), 0);
    assert_int_equal(harness->recovered.count, records);
    harness_close(harness);
    assert_true(fault_disk_changes(harness->faults) == changes);
    assert_true(is_there(harness, harness_segment(segment)));
    harness->options.read_only = false;
    assert_int_equal(harness_open(harness, NULL), 0);
    assert_int_equal(harness->recovered.count, records);
    assert_int_equal(harness->recovery.damaged_stretches, 0);
    assert_false(is_there(harness, harness_segment(segment)));
    assert_int_equal(wal_stats(harness->wal).segments, harness->recovery.segments);
}

/* It begins where the log ends, or behind it. */
static void a_segment_of_a_round_that_failed_goes_at_the_next_start(void **state)
{
    (void)state;

    for (int behind = 0; behind < 2; behind++) {
        static const char zeros[3000];
        struct harness harness;
        struct told told = {0};

        begin(&harness, 1);
        harness_store(&harness, "durable", 2016);
        fault_disk_fail(harness.faults, FAULT_UNLINK, NULL, 0, UINT32_MAX, EIO);
        fault_disk_fail(harness.faults, FAULT_SYNC, harness_segment(2), 0, 1, EIO);
        if (behind)
            assert_int_equal(harness_append(&harness, NULL, "in the first", 12), 0);
        assert_int_equal(harness_append(&harness, NULL, zeros, sizeof zeros), 0);
        harness_claim(&harness, &told);
        wal_flush(harness.producer);
        harness_hear(&harness, &told);
        assert_int_equal(told.status, ERR_IO);
        harness_await_refusing(&harness, false);
        harness_store(&harness, "after", 10);
        crash_here(&harness);
        fault_disk_fail(harness.faults, FAULT_UNLINK, NULL, 0, 0, 0);
        check_that_it_goes(&harness, 2, 2);
        harness_end(&harness);
    }
}

/* A recycled file whose names did not become durable in the order in which it had them. */
static void a_file_with_the_header_of_a_later_segment_holds_nothing(void **state)
{
    struct harness harness;
    (void)state;

    begin(&harness, 1);
    for (int i = 0; i < 4; i++)
        harness_store(&harness, "a", 3000);
    wal_release(harness.wal, 3016, NULL);
    while (is_there(&harness, harness_segment(1)))
        sched_yield();
    crash_here(&harness);
    make_file(&harness, harness_segment(1));
    put_header(&harness, 1, &(struct wal_segment){.sequence = 5, .base = 4 * 3016});
    check_that_it_goes(&harness, 1, 3);
    harness_end(&harness);
}

/* Not even one that opens no file takes a segment for one that is not there. */
static void a_disk_that_does_not_read_stops_the_start(void **state)
{
    static const enum fault_op ops[] = {FAULT_READ, FAULT_OPEN};
    (void)state;

    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        struct harness harness;

        begin(&harness, 1);
        for (int records = 0; records < 10; records++)
            harness_store(&harness, "a", 1000);
        harness_close(&harness);
        assert_true(harness_fail_opening(&harness, ops[i], 10) >= 2 * 4); /* four segments */
        harness_end(&harness);
    }
}

static void an_end_that_cannot_be_made_durable_stops_the_start(void **state)
{
    static const enum fault_op ops[] = {FAULT_SYNC, FAULT_WRITE, FAULT_SYNC_DIR};
    struct harness harness;
    (void)state;

    begin(&harness, 1);
    harness_store(&harness, "a", 1000);
    harness_close(&harness);
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        fault_disk_fail(harness.faults, ops[i], NULL, 0, 1, EIO);
        assert_int_equal(harness_open(&harness, NULL), ERR_IO);
    }
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(harness.recovered.count, 1);
    harness_end(&harness);
}

static void reading_only_changes_nothing(void **state)
{
    struct harness harness;
    struct seen_list list;
    uint64_t changes;
    struct buf out = {0};
    (void)state;

    harness_begin(&harness, 1);
    harness.options.read_only = true;
    assert_int_equal(harness_open(&harness, NULL), ERR_NOT_FOUND);
    harness.options.read_only = false;
    harness.options.spares = 2;
    assert_int_equal(harness_open(&harness, NULL), 0);
    for (int i = 0; i < 10; i++)
        harness_store(&harness, "a", 1000);
    crash_here(&harness);
    damage_from(&harness, harness_segment(4), HEADER + 30, 4096, GARBAGE);
    harness.options.read_only = true;
    harness.options.spares = 0;
    changes = fault_disk_changes(harness.faults);
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(harness.recovered.count, 9);
    list = harness_read(&harness, 0);
    assert_int_equal(list.count, 9);
    assert_int_equal(wal_read_at(harness.wal, list.at[8].position, &out, NULL), 0);
    wal_release(harness.wal, list.at[8].position, NULL);
    harness_close(&harness);
    assert_true(fault_disk_changes(harness.faults) == changes);
    seen_free(&list);
    buf_free(&out);
    harness_end(&harness);
}

static void other_names_in_the_folder_are_left_alone(void **state)
{
    static const char *const names[] = {"note.txt",
                                        "00000000000000000009.seg~",
                                        "9.seg",
                                        " 0000000000000000009.seg",
                                        "+0000000000000000009.seg",
                                        "99999999999999999999.seg"};
    struct harness harness;
    (void)state;

    begin(&harness, 1);
    harness_store(&harness, "a", 100);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct disk *disk = harness.options.disk;
        char path[64];
        int fd;

        snprintf(path, sizeof path, HARNESS_DIR "/%s", names[i]);
        assert_true((fd = disk->open(disk, path, O_RDWR | O_CREAT)) >= 0);
        assert_int_equal(disk->truncate(disk, fd, 1), 0);
        assert_int_equal(disk->close(disk, fd), 0);
        harness_restart(&harness, false);
        assert_int_equal(harness.recovered.count, 1);
        assert_int_equal(fault_disk_size(harness.faults, path), 1);
    }
    harness_end(&harness);
}

static void what_a_dead_process_left_unsynced_is_durable_once_it_is_recovered(void **state)
{
    static const char unsynced[900] = "seen but not on disk";
    (void)state;

    for (uint64_t seed = 0; seed < 60; seed++) {
        struct harness harness;
        struct told told = {0};
        size_t count;

        begin(&harness, seed);
        harness_store(&harness, "durable", 1000);
        /* The sync fails and drops the bytes, and the process dies before it heals. */
        fault_disk_fail(harness.faults, FAULT_SYNC, ".seg", 0, 1, EIO);
        for (int i = 0; i < 3; i++) /* each in sectors of its own */
            assert_int_equal(harness_append(&harness, NULL, unsynced, sizeof unsynced), 0);
        harness_claim(&harness, &told);
        wal_flush(harness.producer);
        harness_hear(&harness, &told);
        assert_int_equal(told.status, ERR_IO);
        crash_here(&harness);
        assert_int_equal(harness_open(&harness, NULL), 0);
        count = harness.recovered.count;
        assert_in_range(count, 1, 4);
        harness_restart(&harness, true);
        assert_int_equal(harness.recovered.count, count);
        harness_end(&harness);
    }
}

static void a_gap_lies_between_two_lives_of_the_log(void **state)
{
    struct harness harness;
    struct seen_list list;
    uint64_t count;
    (void)state;

    begin(&harness, 1);
    harness.options.gap = 10000;
    harness_restart(&harness, false);
    assert_true(harness_store(&harness, "a", 100) == 0); /* there was nothing before it */
    harness_store(&harness, "b", 100);
    for (int restarts = 0; restarts < 3; restarts++) {
        harness_restart(&harness, restarts == 1);
        assert_true(wal_stats(harness.wal).durable == 232);
        assert_true(wal_stats(harness.wal).next == 10232);
        assert_true(wal_stats(harness.wal).first == 0);
    }
    assert_true(harness_store(&harness, "c", 100) == 10232);
    assert_true(wal_stats(harness.wal).durable == 10348);
    harness_restart(&harness, true);
    assert_int_equal(harness.recovery.records, 3);
    assert_int_equal(harness.recovery.damaged_stretches, 0);
    assert_true(wal_stats(harness.wal).next == 20348);
    list = harness_read(&harness, 0);
    assert_int_equal(list.count, 3);
    assert_true(list.at[2].position == 10232);
    seen_free(&list);
    assert_true(wal_bytes_from(harness.wal, 0) == 348);
    assert_true(wal_bytes_from(harness.wal, 200) == 32 + 116);
    assert_true(wal_bytes_from(harness.wal, 5000) == 116);
    assert_true(wal_bytes_from(harness.wal, 10348) == 0);
    assert_int_equal(wal_count_before(harness.wal, 5000, &count, NULL), 0);
    assert_int_equal(count, 2);
    wal_release(harness.wal, 15000, &count);
    assert_true(count == 232); /* where the first segment that is left goes on */
    harness_end(&harness);
}

static void positions_below_the_least_one_are_passed_over(void **state)
{
    struct harness harness;
    (void)state;

    begin(&harness, 1);
    assert_true(harness_store(&harness, "a", 100) == 0);
    harness.options.gap = 10000;
    harness.options.least = 50000;
    for (int restarts = 0; restarts < 3; restarts++) {
        harness_restart(&harness, restarts == 1);
        assert_true(harness.recovery.end == 116);
        assert_true(wal_stats(harness.wal).next == 50000);
    }
    assert_true(harness_store(&harness, "b", 100) == 50000);
    harness_restart(&harness, true);
    assert_true(wal_stats(harness.wal).next == 60116); /* the least there could be is over */
    assert_int_equal(harness.recovery.records, 2);
    assert_int_equal(harness.recovery.damaged_stretches, 0);
    harness_end(&harness);
}

static void a_segment_without_records_hands_its_gap_on(void **state)
{
    struct harness harness;
    struct seen_list list;
    (void)state;

    begin(&harness, 1);
    harness.options.gap = 10000;
    harness_restart(&harness, false);
    harness_store(&harness, "a", 100);
    harness_restart(&harness, true);
    fault_disk_fail(harness.faults, FAULT_SYNC, NULL, 0, 1, EIO);
    assert_int_equal(harness_put(&harness, "lost", NULL), ERR_IO);
    harness_await_refusing(&harness, false); /* it has begun one, with the gap before it */
    harness_restart(&harness, true);
    assert_true(harness_store(&harness, "b", 100) == 20116);
    for (int restarts = 0; restarts < 3; restarts++) {
        harness_restart(&harness, true);
        assert_int_equal(harness.recovery.records, 2);
        assert_int_equal(harness.recovery.damaged_stretches, 0);
    }
    list = harness_read(&harness, 0);
    assert_int_equal(list.count, 2);
    seen_free(&list);
    harness_end(&harness);
}

static int asks_left;

static bool has_asked_enough(void)
{
    return asks_left-- == 0;
}

static uint64_t changes_of_files(struct harness *harness)
{
    return fault_disk_calls(harness->faults, FAULT_WRITE) +
           fault_disk_calls(harness->faults, FAULT_SYNC) +
           fault_disk_calls(harness->faults, FAULT_TRUNCATE) +
           fault_disk_calls(harness->faults, FAULT_UNLINK);
}

/* It is asked at each segment, and again when a MiB has been read. */
static void a_start_that_is_given_up_changes_nothing(void **state)
{
    enum { RECORD = 400000, RECORDS = 7 };
    static const size_t read[] = {0, 3, 4, 7};
    struct harness harness;
    struct err err;
    (void)state;

    harness_begin(&harness, 1);
    harness.options.segment_bytes = 4 << 20;
    harness.options.max_bytes = 32 << 20;
    assert_int_equal(harness_open(&harness, NULL), 0);
    for (int i = 0; i < RECORDS; i++) {
        if (i == 4)
            harness_restart(&harness, false); /* goes on in another segment */
        harness_store(&harness, "a", RECORD);
    }
    crash_here(&harness);
    harness.options.give_up = has_asked_enough;
    for (int asks = 0; asks < 4; asks++) {
        uint64_t changes = changes_of_files(&harness);

        asks_left = asks;
        assert_int_equal(harness_open(&harness, &err), ERR_CLOSED);
        assert_int_equal(harness.recovered.count, read[asks]);
        assert_true(changes_of_files(&harness) == changes);
    }
    asks_left = 4;
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(asks_left, 0);
    assert_int_equal(harness.recovered.count, RECORDS);
    harness_end(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_torn_at_any_byte_ends_the_log),
        cmocka_unit_test(a_torn_record_is_counted_as_cut),
        cmocka_unit_test(no_more_is_counted_as_cut_than_the_file_holds),
        cmocka_unit_test(an_unfinished_round_is_cut_though_a_later_record_is_whole),
        cmocka_unit_test(a_rotten_record_in_the_last_segment_is_skipped),
        cmocka_unit_test(a_rotten_round_is_skipped_up_to_the_first_whole_record),
        cmocka_unit_test(a_rotten_record_in_an_earlier_segment_is_skipped),
        cmocka_unit_test(a_file_that_is_shorter_than_its_stretch_is_damaged_once),
        cmocka_unit_test(a_stale_record_ends_the_log_even_at_the_expected_position),
        cmocka_unit_test(a_jump_of_the_start_is_no_damage),
        cmocka_unit_test(a_gap_lies_between_two_lives_of_the_log),
        cmocka_unit_test(positions_below_the_least_one_are_passed_over),
        cmocka_unit_test(a_segment_without_records_hands_its_gap_on),
        cmocka_unit_test(segments_of_others_stop_the_start),
        cmocka_unit_test(a_file_that_ends_within_its_header_holds_nothing),
        cmocka_unit_test(a_segment_of_a_round_that_failed_goes_at_the_next_start),
        cmocka_unit_test(a_file_with_the_header_of_a_later_segment_holds_nothing),
        cmocka_unit_test(a_disk_that_does_not_read_stops_the_start),
        cmocka_unit_test(a_start_that_is_given_up_changes_nothing),
        cmocka_unit_test(an_end_that_cannot_be_made_durable_stops_the_start),
        cmocka_unit_test(reading_only_changes_nothing),
        cmocka_unit_test(other_names_in_the_folder_are_left_alone),
        cmocka_unit_test(what_a_dead_process_left_unsynced_is_durable_once_it_is_recovered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
