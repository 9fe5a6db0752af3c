/*
 * Released segments: what becomes of them, and of the room that they took.
 */
#include "support/wal_harness.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { HEADER = 64, SEGMENT = 4096, LEN = 1200, WHOLE = LEN + 16 }; /* three a segment */

static void begin(struct harness *harness, unsigned spares, uint64_t max_bytes)
{
    harness_begin(harness, 1);
    harness->options.spares = spares;
    harness->options.max_bytes = max_bytes;
    assert_int_equal(harness_open(harness, NULL), 0);
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

/* Records named after their number; returns the position of the last one. */
static uint64_t store(struct harness *harness, int from, int to)
{
    uint64_t position = 0;

    for (int i = from; i < to; i++) {
        char text[16];

        snprintf(text, sizeof text, "%d", i);
        position = harness_store(harness, text, LEN);
    }
    return position;
}

static void whole_segments_before_a_position_go(void **state)
{
    struct harness harness;
    uint64_t first = 77;
    (void)state;

    begin(&harness, 0, 1 << 20);
    store(&harness, 0, 9);
    await_disk(&harness, 3 * SEGMENT, 0);
    wal_release(harness.wal, 3 * WHOLE - 1, &first);
    assert_true(first == 0);
    wal_release(harness.wal, 4 * WHOLE, &first);
    assert_true(first == 3 * WHOLE);
    await_disk(&harness, 2 * SEGMENT, 0);
    wal_release(harness.wal, 9 * WHOLE, &first);
    assert_true(first == 6 * WHOLE); /* the last one stays: it holds the position */
    wal_release(harness.wal, 0, &first);
    assert_true(first == 6 * WHOLE);
    await_disk(&harness, SEGMENT, 0);
    assert_int_equal(fault_disk_size(harness.faults, harness_segment(1)), 0);
    assert_int_equal(fault_disk_size(harness.faults, harness_segment(2)), 0);
    assert_int_equal(fault_disk_size(harness.faults, harness_segment(3)), SEGMENT);
    harness_restart(&harness, true);
    assert_int_equal(harness.recovery.records, 3);
    assert_true(wal_stats(harness.wal).durable == 9 * WHOLE);
    harness_end(&harness);
}

static void stale_records_of_a_recycled_segment_end_the_log(void **state)
{
    struct harness harness;
    struct seen_list list;
    (void)state;

    begin(&harness, 1, 1 << 20);
    await_disk(&harness, SEGMENT, 1);
    for (int round = 0; round < 10; round++) {
        /* Half a segment more each time, so that stale records lie behind every end. */
        uint64_t position = store(&harness, 0, 4);

        fault_disk_crash_at(harness.faults, 0);
        harness_close(&harness);
        fault_disk_restart(harness.faults, round % 2 == 0);
        assert_int_equal(harness_open(&harness, NULL), 0);
        assert_true(wal_stats(harness.wal).durable == position + WHOLE);
        assert_int_equal(harness.recovery.damaged_stretches, 0);
        list = harness_read(&harness, position);
        assert_int_equal(list.count, 1);
        assert_true(seen_is(&list.at[0], "3"));
        seen_free(&list);
        store(&harness, 0, 3);
        wal_release(harness.wal, wal_stats(harness.wal).durable, NULL);
    }
    harness_end(&harness);
}

static void put_file(struct harness *harness, const char *path, uint64_t size)
{
    struct disk *disk = harness->options.disk;
    int fd = disk->open(disk, path, O_RDWR | O_CREAT);

    assert_true(fd >= 0);
    assert_int_equal(disk->truncate(disk, fd, size), 0);
    assert_int_equal(disk->close(disk, fd), 0);
}

/* A start has given back the room behind its end. */
static void a_released_segment_that_was_cut_is_deleted(void **state)
{
    struct harness harness;

    (void)state;
    begin(&harness, 1, 1 << 20);
    store(&harness, 0, 1);
    await_disk(&harness, 2 * SEGMENT, 1);
    harness_restart(&harness, true);
    wal_release(harness.wal, store(&harness, 1, 2), NULL);
    await_disk(&harness, 2 * SEGMENT, 1);
    harness_end(&harness);
}

static int count_retired(void *arg, uint64_t from, uint64_t to, struct err *err)
{
    (void)from;
    (void)to;
    (void)err;
    atomic_fetch_add((atomic_uint *)arg, 1);
    return 0;
}

static void pass_over(void *arg, uint64_t position, struct slice record)
{
    (void)arg;
    (void)position;
    (void)record;
}

static void a_segment_that_stays_on_the_list_is_retired_once(void **state)
{
    struct harness harness;
    atomic_uint retired = 0;
    (void)state;

    harness_begin(&harness, 1);
    harness.options.hooks =
        (struct wal_hooks){.arg = &retired, .retiring = pass_over, .retired = count_retired};
    assert_int_equal(harness_open(&harness, NULL), 0);
    store(&harness, 0, 4);
    fault_disk_fail(harness.faults, FAULT_UNLINK, NULL, 0, 1, EIO);
    wal_release(harness.wal, 3 * WHOLE, NULL);
    await_disk(&harness, SEGMENT, 0);
    assert_int_equal(fault_disk_failed(harness.faults, FAULT_UNLINK), 1);
    assert_int_equal(atomic_load(&retired), 1);
    harness_end(&harness);
}

/* What it held, and where: its stretch begins where the one before it ended, over a gap. */
struct last_look {
    atomic_uint records;
    uint64_t from, to;
    atomic_bool ended;
};

static void count_record(void *arg, uint64_t position, struct slice record)
{
    (void)position;
    (void)record;
    atomic_fetch_add(&((struct last_look *)arg)->records, 1);
}

static int end_of_look(void *arg, uint64_t from, uint64_t to, struct err *err)
{
    struct last_look *look = arg;

    (void)err;
    look->from = from;
    look->to = to;
    atomic_store(&look->ended, true);
    return 0;
}

static void damage_and_gaps_do_not_end_the_last_look_at_a_segment(void **state)
{
    struct harness harness;
    struct last_look look = {.from = 9};
    uint64_t end;
    (void)state;

    harness_begin(&harness, 1);
    harness.options.hooks =
        (struct wal_hooks){.arg = &look, .retiring = count_record, .retired = end_of_look};
    assert_int_equal(harness_open(&harness, NULL), 0);
    store(&harness, 0, 1);
    wal_release(harness.wal, WHOLE, NULL);
    harness.options.gap = 10000;
    harness_restart(&harness, true);
    end = store(&harness, 1, 5);
    fault_disk_poke(harness.faults, harness_segment(2), HEADER + WHOLE + 100, "XX", 2);
    wal_release(harness.wal, WHOLE + 10000, NULL);
    while (!atomic_load(&look.ended))
        sched_yield();
    assert_int_equal(look.from, 0);
    assert_int_equal(look.to, WHOLE);
    atomic_store(&look.ended, false);
    wal_release(harness.wal, end, NULL);
    while (!atomic_load(&look.ended))
        sched_yield();
    assert_int_equal(look.from, WHOLE);
    assert_int_equal(look.to, WHOLE + 10000 + 3 * WHOLE);
    assert_int_equal(atomic_load(&look.records), 1 + 2);
    harness_end(&harness);
}

/* No descriptor is left for it, which passes; or its file is gone, which does not. */
static void a_segment_that_cannot_be_opened_is_looked_at_later_unless_it_is_gone(void **state)
{
    (void)state;

    for (int gone = 0; gone < 2; gone++) {
        struct harness harness;
        struct last_look look = {0};

        harness_begin(&harness, 1);
        harness.options.hooks =
            (struct wal_hooks){.arg = &look, .retiring = count_record, .retired = end_of_look};
        assert_int_equal(harness_open(&harness, NULL), 0);
        store(&harness, 0, 4);
        fault_disk_fail(harness.faults, FAULT_OPEN, harness_segment(1), 0, 1,
                        gone ? ENOENT : EMFILE);
        wal_release(harness.wal, 3 * WHOLE, NULL);
        await_disk(&harness, SEGMENT, 0);
        assert_int_equal(fault_disk_failed(harness.faults, FAULT_OPEN), 1);
        assert_true(atomic_load(&look.ended));
        assert_int_equal(atomic_load(&look.records), gone ? 0 : 3);
        harness_end(&harness);
    }
}

static void a_segment_that_holds_nothing_is_not_looked_at(void **state)
{
    struct harness harness;
    atomic_uint retired = 0;
    (void)state;

    harness_begin(&harness, 1);
    harness.options.hooks =
        (struct wal_hooks){.arg = &retired, .retiring = pass_over, .retired = count_retired};
    assert_int_equal(harness_open(&harness, NULL), 0);
    store(&harness, 0, 1);
    for (int i = 0; i < 2; i++) { /* the second is that of the segment begun after the first */
        fault_disk_fail(harness.faults, FAULT_SYNC, ".seg", 0, 1, EIO);
        assert_int_equal(harness_put(&harness, "lost", NULL), ERR_IO);
        harness_await_refusing(&harness, false);
    }
    await_disk(&harness, 2 * SEGMENT, 0);
    assert_int_equal(fault_disk_size(harness.faults, harness_segment(2)), 0);
    assert_int_equal(atomic_load(&retired), 0);
    harness_end(&harness);
}

static void spare_files_that_are_not_whole_are_removed(void **state)
{
    static const char *const names[] = {HARNESS_DIR "/spare-7", HARNESS_DIR "/spare-8.new",
                                        HARNESS_DIR "/spare-"};
    struct harness harness;
    (void)state;

    begin(&harness, 2, 1 << 20);
    await_disk(&harness, 2 * SEGMENT, 2);
    harness_close(&harness);
    put_file(&harness, names[0], SEGMENT - 1);
    put_file(&harness, names[1], SEGMENT);
    put_file(&harness, names[2], SEGMENT);
    assert_int_equal(harness_open(&harness, NULL), 0);
    await_disk(&harness, 2 * SEGMENT, 2);
    for (int i = 0; i < 3; i++)
        assert_int_equal(harness.options.disk->open(harness.options.disk, names[i], O_RDONLY),
                         -ENOENT);
    harness_end(&harness);
}

static void spare_segments_are_made_ahead_and_kept_over_a_restart(void **state)
{
    struct harness harness;
    uint64_t allocations;
    (void)state;

    begin(&harness, 3, 1 << 20);
    await_disk(&harness, 3 * SEGMENT, 3);
    allocations = fault_disk_calls(harness.faults, FAULT_ALLOCATE);
    harness_restart(&harness, false);
    await_disk(&harness, 3 * SEGMENT, 3);
    assert_true(fault_disk_calls(harness.faults, FAULT_ALLOCATE) == allocations);
    harness.options.spares = 1;
    harness_restart(&harness, false);
    await_disk(&harness, 2 * SEGMENT, 2); /* as many as would be kept */
    harness.options.segment_bytes = 2 * SEGMENT;
    harness_restart(&harness, true);
    await_disk(&harness, 2 * SEGMENT, 1);
    harness_end(&harness);
}

static void a_spare_segment_takes_no_name_that_another_has_from_before_the_restart(void **state)
{
    struct harness harness;
    (void)state;

    begin(&harness, 2, 1 << 20);
    await_disk(&harness, 2 * SEGMENT, 2);
    harness.options.spares = 4;
    harness_restart(&harness, false);
    await_disk(&harness, 4 * SEGMENT, 4);
    fault_disk_hold(harness.faults, FAULT_WRITE, ".new", true); /* no others are made */
    store(&harness, 0, 12);
    fault_disk_hold(harness.faults, FAULT_WRITE, NULL, false);
    harness_end(&harness);
}

static void released_segments_are_used_again_and_none_is_made(void **state)
{
    struct harness harness;
    uint64_t allocations;
    (void)state;

    begin(&harness, 1, 1 << 20);
    await_disk(&harness, SEGMENT, 1);
    store(&harness, 0, 4);
    await_disk(&harness, 3 * SEGMENT, 1);
    wal_release(harness.wal, 4 * WHOLE, NULL);
    await_disk(&harness, 3 * SEGMENT, 2);
    allocations = fault_disk_calls(harness.faults, FAULT_ALLOCATE);
    for (int i = 0; i < 10; i++) {
        store(&harness, 0, 3);
        wal_release(harness.wal, wal_stats(harness.wal).durable, NULL);
        await_disk(&harness, 3 * SEGMENT, 2);
    }
    assert_true(fault_disk_calls(harness.faults, FAULT_ALLOCATE) == allocations);
    store(&harness, 0, 9); /* a burst is not kept for ever */
    wal_release(harness.wal, wal_stats(harness.wal).durable, NULL);
    await_disk(&harness, 3 * SEGMENT, 2);
    harness_end(&harness);
}

static void at_the_bound_the_log_refuses_until_something_is_released(void **state)
{
    struct harness harness;
    struct seen_list list;
    struct err err = {0};
    int stored = 0;
    (void)state;

    begin(&harness, 0, 4 * SEGMENT);
    while (harness_put(&harness, "fills", NULL) == 0)
        stored++;
    harness_await_refusing(&harness, true);
    assert_in_range(stored, 4 * 180, 4 * 200);
    assert_true(wal_refusing(harness.wal, &err));
    assert_int_equal(err.code, ERR_FULL);
    assert_int_equal(harness_put(&harness, "no", NULL), ERR_FULL);
    assert_int_equal(wal_stats(harness.wal).bytes_on_disk, 4 * SEGMENT);
    wal_release(harness.wal, 1, NULL); /* not a whole one */
    assert_true(wal_refusing(harness.wal, NULL));
    wal_release(harness.wal, wal_stats(harness.wal).durable / 2, NULL);
    harness_await_refusing(&harness, false);
    harness_store(&harness, "yes", 10);
    list = harness_read(&harness, wal_stats(harness.wal).durable - 26);
    assert_int_equal(list.count, 1);
    assert_int_equal(wal_stats(harness.wal).records, stored + 1);
    seen_free(&list);
    harness_end(&harness);
}

static void the_smallest_bound_still_lets_the_log_move_on(void **state)
{
    struct harness harness;
    char bytes[LEN + 1] = {0};
    int stored = 0;
    (void)state;

    memset(bytes, '.', LEN);
    begin(&harness, 1, SEGMENT);
    while (stored < 30) {
        harness_await_refusing(&harness, false);
        if (harness_put(&harness, bytes, NULL) == 0)
            stored++;
        assert_in_range(wal_stats(harness.wal).bytes_on_disk, SEGMENT, 2 * SEGMENT);
        wal_release(harness.wal, wal_stats(harness.wal).durable, NULL);
    }
    harness_end(&harness);
}

static void a_reader_of_a_released_segment_goes_on_at_the_first_that_is_left(void **state)
{
    struct harness harness;
    struct wal_reader *reader, *elsewhere;
    struct slice record;
    uint64_t position, next, first, count;
    struct buf out = {0};
    (void)state;

    begin(&harness, 1, 1 << 20);
    await_disk(&harness, SEGMENT, 1);
    store(&harness, 0, 2);
    reader = wal_reader_open(harness.wal, 0);
    assert_int_equal(wal_reader_next(reader, &record, &position, &next, NULL), 0);
    store(&harness, 2, 7);
    elsewhere = wal_reader_open(harness.wal, WHOLE);
    assert_int_equal(wal_reader_next(elsewhere, &record, &position, &next, NULL), 0);
    wal_release(harness.wal, 7 * WHOLE, &first);
    assert_true(first == 6 * WHOLE);
    /* Its file lives on as a later segment, with other records. */
    store(&harness, 7, 30);
    wal_release(harness.wal, 6 * WHOLE, NULL);
    wal_reader_seek(reader, 0);
    assert_int_equal(wal_reader_next(reader, &record, &position, &next, NULL), 0);
    assert_true(position == 6 * WHOLE || position == 0); /* what it had read before is genuine */
    wal_reader_seek(elsewhere, 2 * WHOLE);
    for (int code = 0; code == 0 && position < 7 * WHOLE;)
        assert_int_equal(code = wal_reader_next(elsewhere, &record, &position, &next, NULL), 0);
    assert_int_equal(wal_read_at(harness.wal, 0, &out, NULL), ERR_NOT_FOUND);
    assert_int_equal(wal_count_before(harness.wal, 0, &count, NULL), ERR_NOT_FOUND);
    assert_int_equal(wal_count_before(harness.wal, 8 * WHOLE, &count, NULL), 0);
    assert_int_equal(count, 8);
    wal_reader_close(reader);
    wal_reader_close(elsewhere);
    buf_free(&out);
    harness_end(&harness);
}

struct late {
    struct wal *wal;
    enum { NEXT, AT, COUNT, LOOKS } how;
    pthread_t thread;
    int code;
    uint64_t position;
};

static void *look_late(void *arg)
{
    struct late *late = arg;
    struct wal_reader *reader = wal_reader_open(late->wal, WHOLE);
    struct slice record;
    uint64_t next;
    struct buf out = {0};

    if (late->how == NEXT)
        late->code = wal_reader_next(reader, &record, &late->position, &next, NULL);
    else if (late->how == AT)
        late->code = wal_read_at(late->wal, WHOLE, &out, NULL);
    else
        late->code = wal_count_before(late->wal, WHOLE, &next, NULL);
    buf_free(&out);
    wal_reader_close(reader);
    return NULL;
}

/* The file is that of a later segment by the time that it is opened or read: no fault of the disk,
 * and no damage. */
static void who_comes_late_to_a_segment_does_not_find_it_any_more(void **state)
{
    static const enum fault_op ops[] = {FAULT_OPEN, FAULT_READ};
    (void)state;

    for (int i = 0; i < 2 * LOOKS; i++) {
        struct harness harness;
        struct late late;

        begin(&harness, 1, 1 << 20);
        await_disk(&harness, SEGMENT, 1);
        store(&harness, 0, 4);
        await_disk(&harness, 3 * SEGMENT, 1);
        fault_disk_hold(harness.faults, ops[i % 2], harness_segment(1), true);
        late = (struct late){.wal = harness.wal, .how = i / 2};
        assert_int_equal(pthread_create(&late.thread, NULL, look_late, &late), 0);
        fault_disk_await_held(harness.faults, ops[i % 2]);
        wal_release(harness.wal, 4 * WHOLE, NULL);
        await_disk(&harness, 3 * SEGMENT, 2);
        store(&harness, 4, 9);
        fault_disk_hold(harness.faults, ops[i % 2], NULL, false);
        pthread_join(late.thread, NULL);
        assert_int_equal(late.code, late.how == NEXT ? 0 : ERR_NOT_FOUND);
        if (late.how == NEXT)
            assert_int_equal(late.position, 3 * WHOLE);
        assert_int_equal(wal_lost(harness.wal, UINT64_MAX).stretches, 0);
        harness_end(&harness);
    }
}

struct follower {
    struct wal *wal;
    pthread_t thread;
    uint64_t until, read;
    int code;
};

/* Reads at its own pace while segments are released under it. */
static void *follow(void *arg)
{
    struct follower *follower = arg;
    struct wal_reader *reader = wal_reader_open(follower->wal, 0);
    uint64_t position = 0, next = 0, before = 0;

    while (next < follower->until) {
        struct slice record;
        int code = wal_reader_next(reader, &record, &position, &next, NULL);

        if (code == ERR_NOT_FOUND) {
            wal_wait(follower->wal, next, 1000);
            continue;
        }
        if (code != 0 || position < before || record.len != LEN) {
            follower->code = code != 0 ? code : ERR_CORRUPT;
            break;
        }
        before = next;
        follower->read++;
    }
    wal_reader_close(reader);
    return NULL;
}

static void releasing_under_a_reader_is_safe(void **state)
{
    enum { RECORDS = 900 };
    struct harness harness;
    struct follower followers[2];
    (void)state;

    begin(&harness, 2, 1 << 20);
    for (int i = 0; i < 2; i++) {
        followers[i] = (struct follower){.wal = harness.wal, .until = (uint64_t)RECORDS * WHOLE};
        assert_int_equal(pthread_create(&followers[i].thread, NULL, follow, &followers[i]), 0);
    }
    for (int i = 0; i < RECORDS; i++) {
        store(&harness, i, i + 1);
        if (i % 3 == 0)
            wal_release(harness.wal, wal_stats(harness.wal).durable, NULL);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(followers[i].thread, NULL);
        assert_int_equal(followers[i].code, 0);
        assert_in_range(followers[i].read, 1, RECORDS);
    }
    harness_end(&harness);
}

static void a_position_ahead_of_the_log_releases_nothing_of_a_round_under_way(void **state)
{
    struct harness harness;
    struct told told = {0};
    char bytes[LEN] = {0};
    uint64_t first = 77;
    (void)state;

    begin(&harness, 0, 1 << 20);
    store(&harness, 0, 1);
    fault_disk_hold(harness.faults, FAULT_RENAME, "4.seg", true);
    for (int i = 0; i < 9; i++)
        assert_int_equal(harness_append(&harness, NULL, bytes, sizeof bytes), 0);
    harness_claim(&harness, &told);
    wal_flush(harness.producer);
    fault_disk_await_held(harness.faults, FAULT_RENAME); /* two whole segments are behind it */
    wal_release(harness.wal, UINT64_MAX, &first);
    assert_true(first == 0);
    fault_disk_hold(harness.faults, FAULT_RENAME, NULL, false);
    harness_hear(&harness, &told);
    assert_int_equal(told.status, 0);
    harness_restart(&harness, true);
    assert_int_equal(harness.recovery.records, 10);
    harness_end(&harness);
}

static void what_cannot_be_deleted_still_counts_and_goes_later(void **state)
{
    struct harness harness;
    (void)state;

    begin(&harness, 0, 1 << 20);
    store(&harness, 0, 9);
    fault_disk_fail(harness.faults, FAULT_UNLINK, harness_segment(1), 0, 2, EIO);
    wal_release(harness.wal, 9 * WHOLE, NULL);
    while (fault_disk_failed(harness.faults, FAULT_UNLINK) < 2)
        wal_wait(harness.wal, UINT64_MAX, 1);
    assert_int_equal(wal_stats(harness.wal).bytes_on_disk, 3 * SEGMENT);
    /* In their order: a crash must leave no gap. */
    assert_int_equal(fault_disk_size(harness.faults, harness_segment(2)), SEGMENT);
    await_disk(&harness, SEGMENT, 0);
    assert_int_equal(fault_disk_size(harness.faults, harness_segment(1)), 0);
    assert_int_equal(fault_disk_size(harness.faults, harness_segment(2)), 0);
    harness_end(&harness);
}

static void a_full_disk_does_not_stop_the_preparer_for_good(void **state)
{
    struct harness harness;
    (void)state;

    harness_begin(&harness, 1);
    harness.options.spares = 1;
    fault_disk_limit(harness.faults, SEGMENT / 2);
    assert_int_equal(harness_open(&harness, NULL), 0);
    while (fault_disk_calls(harness.faults, FAULT_ALLOCATE) == 0)
        wal_wait(harness.wal, UINT64_MAX, 1);
    fault_disk_limit(harness.faults, UINT64_MAX);
    await_disk(&harness, SEGMENT, 1);
    harness_end(&harness);
}

static void await_uncached(struct harness *harness, uint64_t segments)
{
    while (fault_disk_calls(harness->faults, FAULT_UNCACHE) < segments)
        wal_wait(harness->wal, UINT64_MAX, 1);
}

static void what_the_store_has_yet_to_get_to_need_not_stay_in_memory(void **state)
{
    struct harness harness;
    (void)state;

    for (unsigned spares = 0; spares < 2; spares++) {
        begin(&harness, spares, 1 << 20);
        store(&harness, 0, 12); /* four segments; the store is at the first, the last is written */
        await_uncached(&harness, 2);
        wal_release(harness.wal, 10 * WHOLE, NULL);
        store(&harness, 12, 18); /* it is at the fourth, the sixth is written */
        await_uncached(&harness, 3);
        wal_release(harness.wal, 18 * WHOLE, NULL);
        store(&harness, 18, 21); /* it is near */
        harness_close(&harness);
        assert_int_equal(fault_disk_calls(harness.faults, FAULT_UNCACHE), 3);
        harness_end(&harness);
    }
}

static void a_disk_that_takes_no_hints_costs_nothing(void **state)
{
    struct harness harness;
    (void)state;

    begin(&harness, 0, 1 << 20);
    fault_disk_fail(harness.faults, FAULT_UNCACHE, NULL, 0, UINT32_MAX, EINVAL);
    store(&harness, 0, 12);
    await_uncached(&harness, 2);
    store(&harness, 12, 15);
    harness_restart(&harness, true);
    assert_int_equal(harness.recovered.count, 15);
    harness_end(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_segments_before_a_position_go),
        cmocka_unit_test(stale_records_of_a_recycled_segment_end_the_log),
        cmocka_unit_test(a_released_segment_that_was_cut_is_deleted),
        cmocka_unit_test(a_segment_that_stays_on_the_list_is_retired_once),
        cmocka_unit_test(damage_and_gaps_do_not_end_the_last_look_at_a_segment),
        cmocka_unit_test(a_segment_that_cannot_be_opened_is_looked_at_later_unless_it_is_gone),
        cmocka_unit_test(a_segment_that_holds_nothing_is_not_looked_at),
        cmocka_unit_test(spare_files_that_are_not_whole_are_removed),
        cmocka_unit_test(spare_segments_are_made_ahead_and_kept_over_a_restart),
        cmocka_unit_test(a_spare_segment_takes_no_name_that_another_has_from_before_the_restart),
        cmocka_unit_test(released_segments_are_used_again_and_none_is_made),
        cmocka_unit_test(at_the_bound_the_log_refuses_until_something_is_released),
        cmocka_unit_test(the_smallest_bound_still_lets_the_log_move_on),
        cmocka_unit_test(a_reader_of_a_released_segment_goes_on_at_the_first_that_is_left),
        cmocka_unit_test(who_comes_late_to_a_segment_does_not_find_it_any_more),
        cmocka_unit_test(releasing_under_a_reader_is_safe),
        cmocka_unit_test(a_position_ahead_of_the_log_releases_nothing_of_a_round_under_way),
        cmocka_unit_test(what_cannot_be_deleted_still_counts_and_goes_later),
        cmocka_unit_test(a_full_disk_does_not_stop_the_preparer_for_good),
        cmocka_unit_test(what_the_store_has_yet_to_get_to_need_not_stay_in_memory),
        cmocka_unit_test(a_disk_that_takes_no_hints_costs_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
