/*
 * Reading behind the durable position: in order, by position, counting, and waiting.
 */
#include "support/wal_harness.h"
#include "wal/wal_priv.h"

#include "base/mem.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { RECORDS = 20 };

/* 20 records in several segments. */
static void fill(struct harness *harness, uint64_t *positions)
{
    for (int i = 0; i < RECORDS; i++) {
        char text[16];

        snprintf(text, sizeof text, "number %d", i);
        positions[i] = harness_store(harness, text, 600);
    }
    assert_true(wal_stats(harness->wal).segments > 3);
}

static void a_record_is_found_by_its_position_alone(void **state)
{
    struct harness harness;
    uint64_t positions[RECORDS];
    struct buf out = {0};
    (void)state;

    harness_begin(&harness, 1);
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(wal_read_at(harness.wal, 0, &out, NULL), ERR_NOT_FOUND);
    fill(&harness, positions);
    for (int i = 0; i < RECORDS; i++) {
        char text[16];

        snprintf(text, sizeof text, "number %d", i);
        buf_reset(&out, 4096);
        assert_int_equal(wal_read_at(harness.wal, positions[i], &out, NULL), 0);
        assert_int_equal(out.len, 600);
        assert_memory_equal(out.data, text, strlen(text));
        assert_int_equal(wal_read_at(harness.wal, positions[i] + 1, &out, NULL), ERR_NOT_FOUND);
        assert_int_equal(wal_read_at(harness.wal, positions[i] + 599, &out, NULL), ERR_NOT_FOUND);
        assert_int_equal(out.len, 600);
    }
    assert_int_equal(wal_read_at(harness.wal, wal_stats(harness.wal).durable, &out, NULL),
                     ERR_NOT_FOUND);
    assert_int_equal(wal_read_at(harness.wal, UINT64_MAX, &out, NULL), ERR_NOT_FOUND);
    buf_free(&out);
    harness_end(&harness);
}

static void a_reader_goes_where_it_is_sent(void **state)
{
    static const int order[] = {7, 0, 19, 18, 3, 3, 12};
    struct harness harness;
    uint64_t positions[RECORDS];
    struct wal_reader *reader;
    struct slice record;
    uint64_t position, next;
    (void)state;

    harness_begin(&harness, 1);
    assert_int_equal(harness_open(&harness, NULL), 0);
    fill(&harness, positions);
    reader = wal_reader_open(harness.wal, positions[5]);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        char text[16];

        wal_reader_seek(reader, positions[order[i]]);
        snprintf(text, sizeof text, "number %d", order[i]);
        assert_int_equal(wal_reader_next(reader, &record, &position, &next, NULL), 0);
        assert_true(position == positions[order[i]]);
        assert_int_equal(record.len, 600);
        assert_memory_equal(record.at, text, strlen(text));
        if (order[i] + 1 < RECORDS) {
            assert_true(next == positions[order[i] + 1]);
            assert_int_equal(wal_reader_next(reader, &record, &position, &next, NULL), 0);
            assert_true(position == positions[order[i] + 1]);
        }
    }
    wal_reader_close(reader);
    harness_end(&harness);
}

static void a_reader_at_the_end_sees_what_comes(void **state)
{
    struct harness harness;
    struct wal_reader *reader;
    struct slice record;
    uint64_t position, next;
    (void)state;

    harness_begin(&harness, 1);
    assert_int_equal(harness_open(&harness, NULL), 0);
    reader = wal_reader_open(harness.wal, 0);
    for (int i = 0; i < 30; i++) {
        uint64_t stored;

        assert_int_equal(wal_reader_next(reader, &record, &position, &next, NULL), ERR_NOT_FOUND);
        stored = harness_store(&harness, "new", 100 + 31 * (size_t)i);
        assert_int_equal(wal_reader_next(reader, &record, &position, &next, NULL), 0);
        assert_true(position == stored);
        assert_int_equal(record.len, 100 + 31 * i);
    }
    wal_reader_close(reader);
    harness_end(&harness);
}

static void a_disk_that_does_not_read_moves_nothing(void **state)
{
    struct harness harness;
    uint64_t positions[RECORDS];
    struct wal_reader *reader;
    struct slice record;
    struct buf out = {0};
    uint64_t position = 77, next = 78;
    struct err err = {0};
    (void)state;

    harness_begin(&harness, 1);
    assert_int_equal(harness_open(&harness, NULL), 0);
    fill(&harness, positions);
    reader = wal_reader_open(harness.wal, positions[9]);
    fault_disk_fail(harness.faults, FAULT_READ, NULL, 0, 1, EIO);
    assert_int_equal(wal_reader_next(reader, &record, &position, &next, &err), ERR_IO);
    assert_true(position == 77 && next == 78);
    assert_non_null(strstr(err.text, "Input/output error"));
    wal_reader_seek(reader, positions[9]);
    fault_disk_fail(harness.faults, FAULT_OPEN, harness_segment(1), 0, 1, ENOENT);
    assert_int_equal(wal_read_at(harness.wal, positions[1], &out, NULL), ERR_IO);
    assert_int_equal(wal_reader_next(reader, &record, &position, &next, &err), 0);
    assert_true(position == positions[9]);
    fault_disk_fail(harness.faults, FAULT_READ, NULL, 0, 1, EIO);
    assert_int_equal(wal_count_before(harness.wal, positions[3], &next, &err), ERR_IO);
    wal_reader_close(reader);
    buf_free(&out);
    harness_end(&harness);
}

/* Its header is at hand already when the disk does not give the rest; also when it was looked for
 * behind damage, or the damage for a note of it. */
static void a_long_record_that_cannot_be_read_now_is_read_later(void **state)
{
    enum { LONG = 600000 };
    static const struct {
        bool rotten;    /* what is before it */
        unsigned reads; /* that succeed before one fails */
    } cases[] = {{false, 1}, {true, 1}, {true, 2}, {true, 3}};
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct harness harness;
        struct wal_reader *reader;
        struct slice record;
        uint64_t position, next, stored;

        harness_begin(&harness, 1);
        harness.options.segment_bytes = 1 << 20;
        harness.options.max_bytes = 4 << 20;
        assert_int_equal(harness_open(&harness, NULL), 0);
        if (cases[i].rotten) {
            harness_store(&harness, "short", 100);
            fault_disk_poke(harness.faults, harness_segment(1), SEGMENT_HEADER + 50, "X", 1);
        }
        stored = harness_store(&harness, "long", LONG);
        reader = wal_reader_open(harness.wal, 0);
        fault_disk_fail(harness.faults, FAULT_READ, NULL, cases[i].reads, 1, EIO);
        assert_int_equal(wal_reader_next(reader, &record, &position, &next, NULL), ERR_IO);
        assert_int_equal(fault_disk_failed(harness.faults, FAULT_READ), 1);
        if (cases[i].rotten) {
            assert_int_equal(wal_reader_next(reader, &record, &position, &next, NULL), ERR_CORRUPT);
            assert_true(position == 0 && next == stored);
        }
        assert_int_equal(wal_reader_next(reader, &record, &position, &next, NULL), 0);
        assert_true(position == stored);
        assert_int_equal(record.len, LONG);
        assert_memory_equal(record.at, "long.", 5);
        wal_reader_close(reader);
        harness_end(&harness);
    }
}

/* What claims to be longer is no reason to take memory for all of a segment. */
static void a_record_may_be_as_long_as_the_log_says_and_no_longer(void **state)
{
    static const uint32_t longer = WAL_MAX_RECORD + 1;
    struct harness harness;
    struct wal_scan scan = {.fd = -1};
    struct wal_producer *small;
    struct slice record;
    struct told told = {0};
    char *longest;
    bool first;
    (void)state;

    harness_begin(&harness, 1);
    harness.options.segment_bytes = WAL_MAX_RECORD + (8 << 20);
    harness.options.max_bytes = 4 * harness.options.segment_bytes;
    assert_int_equal(harness_open(&harness, NULL), 0);
    small = harness.producer;
    harness.producer = wal_producer_open(harness.wal, &harness.home, 2 * WAL_MAX_RECORD);
    wal_producer_close(small);
    longest = mem_zalloc(WAL_MAX_RECORD);
    assert_int_equal(harness_append(&harness, &told, longest, WAL_MAX_RECORD), 0);
    free(longest);
    wal_flush(harness.producer);
    harness_hear(&harness, &told);
    assert_int_equal(told.status, 0);
    harness_restart(&harness, true);
    assert_int_equal(harness.recovered.count, 1);
    assert_int_equal(harness.recovered.at[0].len, WAL_MAX_RECORD);
    fault_disk_poke(harness.faults, harness_segment(1), SEGMENT_HEADER + 4, &longer, sizeof longer);
    assert_int_equal(scan_open(&scan, harness.wal, &harness.wal->segments[0], NULL), 0);
    assert_int_equal(scan_record(&scan, 0, WAL_MAX_RECORD + RECORD_HEADER, &record, &first, NULL),
                     ERR_CORRUPT);
    assert_in_range(scan.memory.cap, RECORD_HEADER, WAL_MAX_RECORD / 2);
    scan_free(&scan);
    harness_end(&harness);
}

static void a_missing_file_is_a_fault_and_not_the_end(void **state)
{
    struct harness harness;
    uint64_t positions[RECORDS];
    struct wal_reader *reader;
    struct slice record;
    uint64_t position, next;
    (void)state;

    harness_begin(&harness, 1);
    assert_int_equal(harness_open(&harness, NULL), 0);
    fill(&harness, positions);
    reader = wal_reader_open(harness.wal, 0);
    fault_disk_fail(harness.faults, FAULT_OPEN, harness_segment(1), 0, 1, ENOENT);
    assert_int_equal(wal_reader_next(reader, &record, &position, &next, NULL), ERR_IO);
    assert_int_equal(wal_reader_next(reader, &record, &position, &next, NULL), 0);
    wal_reader_close(reader);
    harness_end(&harness);
}

static void records_before_a_position_are_counted(void **state)
{
    struct harness harness;
    uint64_t positions[RECORDS];
    uint64_t first, count;
    (void)state;

    harness_begin(&harness, 1);
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(wal_count_before(harness.wal, 0, &count, NULL), 0);
    assert_int_equal(count, 0);
    fill(&harness, positions);
    for (int restarts = 0; restarts < 2; restarts++) {
        for (int i = 0; i < RECORDS; i++) {
            assert_int_equal(wal_count_before(harness.wal, positions[i], &count, NULL), 0);
            assert_int_equal(count, i);
        }
        assert_int_equal(wal_count_before(harness.wal, positions[19] + 616, &count, NULL), 0);
        assert_int_equal(count, RECORDS);
        harness_restart(&harness, true);
    }
    wal_release(harness.wal, positions[12], &first);
    assert_true(first > 0 && first <= positions[12]);
    assert_int_equal(wal_count_before(harness.wal, positions[12], &count, NULL), 0);
    assert_int_equal(count, 12);
    assert_int_equal(wal_count_before(harness.wal, first - 1, &count, NULL), ERR_NOT_FOUND);
    assert_int_equal(wal_stats(harness.wal).records, RECORDS);
    harness_restart(&harness, true);
    assert_int_equal(wal_stats(harness.wal).records, RECORDS);
    harness_end(&harness);
}

static void the_last_record_before_a_position_is_found(void **state)
{
    struct harness harness;
    uint64_t positions[RECORDS];
    uint64_t first, at, next, opened;
    struct err err;
    (void)state;

    harness_begin(&harness, 1);
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(wal_find_before(harness.wal, 1000, &at, &next, &err), ERR_NOT_FOUND);
    fill(&harness, positions);
    for (int restarts = 0; restarts < 2; restarts++) {
        assert_int_equal(wal_find_before(harness.wal, 0, &at, &next, &err), ERR_NOT_FOUND);
        for (int i = 0; i < RECORDS; i++) {
            assert_int_equal(wal_find_before(harness.wal, positions[i] + 1, &at, &next, &err), 0);
            assert_int_equal(at, positions[i]);
            assert_int_equal(next, positions[i] + 616);
            assert_int_equal(wal_find_before(harness.wal, next, &at, &next, &err), 0);
            assert_int_equal(at, positions[i]);
        }
        assert_int_equal(wal_find_before(harness.wal, UINT64_MAX, &at, &next, &err), 0);
        assert_int_equal(at, positions[19]);
        harness_restart(&harness, true);
    }
    opened = fault_disk_calls(harness.faults, FAULT_OPEN);
    assert_int_equal(wal_find_before(harness.wal, UINT64_MAX, &at, &next, &err), 0);
    assert_int_equal(fault_disk_calls(harness.faults, FAULT_OPEN), opened + 1);
    wal_release(harness.wal, positions[12], &first);
    assert_int_equal(wal_find_before(harness.wal, first, &at, &next, &err), ERR_NOT_FOUND);
    fault_disk_fail(harness.faults, FAULT_READ, NULL, 0, 1, EIO);
    assert_int_equal(wal_find_before(harness.wal, UINT64_MAX, &at, &next, &err), ERR_IO);
    harness_end(&harness);
}

/* Nothing is left of what the segment has before the position: it is in the one before. */
static void the_last_record_before_damage_is_found(void **state)
{
    struct harness harness;
    uint64_t positions[RECORDS];
    uint64_t at, next;
    int i = 1;
    (void)state;

    harness_begin(&harness, 1);
    assert_int_equal(harness_open(&harness, NULL), 0);
    fill(&harness, positions);
    while (positions[i] < harness.wal->segments[1].base)
        i++;
    fault_disk_poke(harness.faults, harness_segment(2), SEGMENT_HEADER + 100, "X", 1);
    assert_int_equal(wal_find_before(harness.wal, positions[i + 1], &at, &next, NULL), 0);
    assert_int_equal(at, positions[i - 1]);
    assert_int_equal(next, positions[i]);
    harness_end(&harness);
}

static void a_segment_without_records_is_no_damage(void **state)
{
    struct harness harness;
    struct seen_list list;
    (void)state;

    harness_begin(&harness, 1);
    harness.options.start = 5000;
    assert_int_equal(harness_open(&harness, NULL), 0);
    fault_disk_fail(harness.faults, FAULT_WRITE, ".seg", 0, 1, EIO);
    assert_int_equal(harness_put(&harness, "lost", NULL), ERR_IO);
    harness_await_refusing(&harness, false); /* a segment that begins and ends at 5000 */
    list = harness_read(&harness, 0);
    assert_int_equal(list.count, 0);
    assert_true(harness_store(&harness, "first", 10) == 5000);
    list = harness_read(&harness, 0);
    assert_int_equal(list.count, 1);
    seen_free(&list);
    harness_end(&harness);
}

struct waiting {
    struct wal *wal;
    uint64_t position;
    pthread_t thread;
};

static void *wait_long(void *arg)
{
    struct waiting *waiting = arg;

    wal_wait(waiting->wal, waiting->position, 3600 * 1000);
    return NULL;
}

static void await_waiting(struct wal *wal)
{
    bool waits = false;

    while (!waits) {
        pthread_mutex_lock(&wal->lock);
        waits = wal->waiting_readers > 0;
        pthread_mutex_unlock(&wal->lock);
        sched_yield();
    }
}

static void who_waits_wakes_when_there_is_more_or_when_woken(void **state)
{
    struct harness harness;
    struct waiting waiting;
    (void)state;

    harness_begin(&harness, 1);
    assert_int_equal(harness_open(&harness, NULL), 0);
    waiting = (struct waiting){.wal = harness.wal, .position = 0};
    assert_int_equal(pthread_create(&waiting.thread, NULL, wait_long, &waiting), 0);
    await_waiting(harness.wal);
    harness_store(&harness, "more", 10);
    pthread_join(waiting.thread, NULL);

    wal_wait(harness.wal, 25, 3600 * 1000); /* there is a record at 0 that ends at 26 */

    waiting.position = 26;
    assert_int_equal(pthread_create(&waiting.thread, NULL, wait_long, &waiting), 0);
    await_waiting(harness.wal);
    wal_wake(harness.wal);
    pthread_join(waiting.thread, NULL);

    wal_wake(harness.wal); /* nobody waits: the next one does not */
    wal_wait(harness.wal, 26, 3600 * 1000);
    assert_false(harness.wal->woken); /* but the one after that does */
    wal_wait(harness.wal, 26, 1);     /* passes by itself */
    wal_wait(harness.wal, 26, 0);
    harness_end(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_is_found_by_its_position_alone),
        cmocka_unit_test(a_reader_goes_where_it_is_sent),
        cmocka_unit_test(a_reader_at_the_end_sees_what_comes),
        cmocka_unit_test(a_disk_that_does_not_read_moves_nothing),
        cmocka_unit_test(a_long_record_that_cannot_be_read_now_is_read_later),
        cmocka_unit_test(a_record_may_be_as_long_as_the_log_says_and_no_longer),
        cmocka_unit_test(a_missing_file_is_a_fault_and_not_the_end),
        cmocka_unit_test(records_before_a_position_are_counted),
        cmocka_unit_test(the_last_record_before_a_position_is_found),
        cmocka_unit_test(the_last_record_before_damage_is_found),
        cmocka_unit_test(a_segment_without_records_is_no_damage),
        cmocka_unit_test(who_waits_wakes_when_there_is_more_or_when_woken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
