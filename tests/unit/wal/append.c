/*
 * What producers hand in, and what their tickets hear.
 */
#include "support/wal_harness.h"
#include "wal/wal_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void records_come_back_as_they_went_in(void **state)
{
    static const char bytes[] = {0, 1, -1, '\n', 0, 0x7f};
    struct harness harness;
    struct told told[3] = {0};
    struct seen_list list;
    (void)state;

    harness_begin(&harness, 1);
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(harness_append(&harness, &told[0], bytes, sizeof bytes), 0);
    assert_int_equal(harness_append(&harness, &told[1], "", 0), 0);
    assert_int_equal(harness_append(&harness, &told[2], "last", 4), 0);
    wal_flush(harness.producer);
    harness_hear(&harness, &told[2]);
    for (int restarts = 0; restarts < 3; restarts++) {
        list = harness_read(&harness, 0);
        assert_int_equal(list.count, 3);
        assert_int_equal(list.at[0].len, sizeof bytes);
        assert_memory_equal(list.at[0].bytes, bytes, sizeof bytes);
        assert_int_equal(list.at[1].len, 0);
        assert_true(seen_is(&list.at[2], "last"));
        for (int i = 0; i < 3; i++)
            assert_true(list.at[i].position == told[i].positions[0]);
        seen_free(&list);
        harness_restart(&harness, restarts > 0);
        assert_int_equal(harness.recovered.count, 3);
        assert_int_equal(harness.recovery.records, 3);
        assert_int_equal(harness.recovery.cut_bytes, 0);
        assert_int_equal(harness.recovery.damaged_bytes, 0);
    }
    harness_end(&harness);
}

static void positions_grow_over_segments_and_restarts(void **state)
{
    struct harness harness;
    uint64_t last = 0;
    (void)state;

    harness_begin(&harness, 2);
    assert_int_equal(harness_open(&harness, NULL), 0);
    for (int i = 0; i < 60; i++) {
        uint64_t position = harness_store(&harness, "a record", 300);

        assert_true(i == 0 ? position == 0 : position >= last + 300);
        last = position;
        if (i % 7 == 6)
            harness_restart(&harness, i % 2 == 0);
    }
    assert_true(wal_stats(harness.wal).segments > 5);
    assert_int_equal(wal_stats(harness.wal).records, 60);
    harness_end(&harness);
}

static void a_ticket_is_called_once_with_its_positions(void **state)
{
    struct harness harness;
    struct told told[3] = {0};
    struct seen_list list;
    (void)state;

    harness_begin(&harness, 3);
    assert_int_equal(harness_open(&harness, NULL), 0);
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j <= i; j++) {
            char text[8];

            snprintf(text, sizeof text, "%d %d", i, j);
            assert_int_equal(harness_append(&harness, NULL, text, strlen(text)), 0);
        }
        harness_claim(&harness, &told[i]);
    }
    assert_false(wal_producer_idle(harness.producer));
    wal_flush(harness.producer);
    harness_hear(&harness, &told[2]);
    assert_true(wal_producer_idle(harness.producer));
    list = harness_read(&harness, 0);
    assert_int_equal(list.count, 6);
    for (int i = 0, at = 0; i < 3; i++) {
        assert_int_equal(told[i].calls, 1);
        assert_int_equal(told[i].status, 0);
        assert_int_equal(told[i].records, i + 1);
        for (int j = 0; j <= i; j++, at++) {
            char text[8];

            snprintf(text, sizeof text, "%d %d", i, j);
            assert_true(told[i].positions[j] == list.at[at].position);
            assert_true(seen_is(&list.at[at], text));
        }
    }
    seen_free(&list);
    harness_end(&harness);
}

static void a_large_batch_does_not_wait_for_the_end_of_the_turn(void **state)
{
    enum { LARGE = 128 * 1024 };
    static char bytes[LARGE];
    struct harness harness;
    struct told told[2] = {0};
    (void)state;

    harness_begin(&harness, 5);
    harness.options.segment_bytes = 2 * LARGE;
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(harness_append(&harness, &told[0], bytes, LARGE), 0);
    harness_hear(&harness, &told[0]);
    assert_int_equal(told[0].status, 0);
    assert_int_equal(harness_append(&harness, &told[1], "small", 5), 0);
    assert_false(wal_producer_idle(harness.producer));
    assert_int_equal(wal_stats(harness.wal).rounds, 1);
    wal_flush(harness.producer);
    harness_hear(&harness, &told[1]);
    harness_end(&harness);
}

static void forgotten_records_are_not_written(void **state)
{
    struct harness harness;
    struct told told[2] = {0};
    struct seen_list list;
    (void)state;

    harness_begin(&harness, 4);
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(harness_append(&harness, &told[0], "kept", 4), 0);
    assert_int_equal(harness_append(&harness, NULL, "forgotten", 9), 0);
    assert_int_equal(harness_append(&harness, NULL, "forgotten", 9), 0);
    wal_forget(harness.producer);
    wal_forget(harness.producer);
    assert_int_equal(harness_append(&harness, &told[1], "also kept", 9), 0);
    wal_flush(harness.producer);
    harness_hear(&harness, &told[1]);
    list = harness_read(&harness, 0);
    assert_int_equal(list.count, 2);
    assert_true(seen_is(&list.at[0], "kept"));
    assert_true(seen_is(&list.at[1], "also kept"));
    assert_int_equal(told[1].records, 1);
    seen_free(&list);
    harness_end(&harness);
}

static void a_producer_refuses_at_its_bound_until_a_batch_is_home(void **state)
{
    struct harness harness;
    struct told told[2] = {0};
    struct wal_producer *small;
    struct err err = {0};
    char *room;
    (void)state;

    harness_begin(&harness, 5);
    assert_int_equal(harness_open(&harness, NULL), 0);
    small = harness.producer;
    harness.producer = wal_producer_open(harness.wal, &harness.home, 1000);
    assert_int_equal(wal_reserve(harness.producer, 1000 - 15, &room, &err), ERR_FULL);
    assert_true(err.text[0] != '\0');
    fault_disk_hold(harness.faults, FAULT_SYNC, NULL, true);
    assert_int_equal(harness_append(&harness, &told[0], "0123456789", 10), 0);
    wal_flush(harness.producer);
    fault_disk_await_held(harness.faults, FAULT_SYNC);
    assert_int_equal(wal_reserve(harness.producer, 1000 - 26 - 15, &room, NULL), ERR_FULL);
    assert_int_equal(wal_reserve(harness.producer, 1000 - 26 - 16, &room, NULL), 0);
    fault_disk_hold(harness.faults, FAULT_SYNC, NULL, false);
    harness_hear(&harness, &told[0]);
    assert_int_equal(wal_reserve(harness.producer, 1000 - 16, &room, NULL), 0);
    wal_producer_close(harness.producer);
    harness.producer = small;
    harness_end(&harness);
}

/* While the disk stands still what comes gathers in one batch. */
static void those_who_share_a_batch_get_no_more_than_a_segment(void **state)
{
    enum { BATCHES_UNDER_WAY = 7, HALF = 2000 };
    static const char record[HALF];
    struct harness harness;
    struct told under_way[BATCHES_UNDER_WAY] = {0}, told[2] = {0};
    char *room;
    (void)state;

    harness_begin(&harness, 5);
    assert_int_equal(harness_open(&harness, NULL), 0);
    fault_disk_hold(harness.faults, FAULT_SYNC, NULL, true);
    for (int i = 0; i < BATCHES_UNDER_WAY; i++) {
        assert_int_equal(harness_append(&harness, &under_way[i], "", 0), 0);
        wal_flush(harness.producer);
    }
    assert_int_equal(harness_append(&harness, &told[0], record, HALF), 0);
    wal_flush(harness.producer);
    assert_int_equal(wal_reserve(harness.producer, HALF + 1, &room, NULL), ERR_FULL);
    assert_int_equal(harness_append(&harness, &told[1], record, HALF), 0);
    fault_disk_hold(harness.faults, FAULT_SYNC, NULL, false);
    harness_hear(&harness, &told[1]);
    assert_int_equal(told[1].status, 0);
    assert_int_equal(wal_stats(harness.wal).segments, 2);
    harness_end(&harness);
}

static void a_record_that_fits_no_segment_is_too_large(void **state)
{
    enum { FITS = 4096 - 64 - 16 };
    struct harness harness;
    struct seen_list list;
    char *room;
    (void)state;

    harness_begin(&harness, 6);
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(wal_reserve(harness.producer, FITS + 1, &room, NULL), ERR_TOO_LARGE);
    assert_int_equal(wal_reserve(harness.producer, SIZE_MAX - 64, &room, NULL), ERR_TOO_LARGE);
    for (int i = 0; i < 3; i++)
        harness_store(&harness, "largest", FITS);
    list = harness_read(&harness, 0);
    assert_int_equal(list.count, 3);
    assert_true(seen_is(&list.at[2], "largest"));
    assert_int_equal(list.at[2].len, FITS);
    assert_int_equal(wal_stats(harness.wal).segments, 3);
    seen_free(&list);
    harness_end(&harness);

    harness_begin(&harness, 6);
    harness.options.segment_bytes = 2 * (uint64_t)WAL_MAX_RECORD;
    assert_int_equal(harness_open(&harness, NULL), 0);
    assert_int_equal(wal_reserve(harness.producer, WAL_MAX_RECORD, &room, NULL), ERR_FULL);
    assert_int_equal(wal_reserve(harness.producer, WAL_MAX_RECORD + 1, &room, NULL), ERR_TOO_LARGE);
    harness_end(&harness);
}

struct again {
    struct harness *harness;
    struct told told[20];
    unsigned used;
};

static void append_again(struct told *told)
{
    struct again *again = told->arg;
    struct told *next;

    if (again->used == 20)
        return;
    next = &again->told[again->used++];
    next->then = append_again;
    next->arg = again;
    assert_int_equal(wal_producer_idle(again->harness->producer), told->calls == 0);
    assert_int_equal(harness_append(again->harness, next, "again", 5), 0);
    wal_flush(again->harness->producer);
}

static void done_may_append_and_flush(void **state)
{
    struct harness harness;
    struct again again = {.harness = &harness};
    struct seen_list list;
    (void)state;

    harness_begin(&harness, 7);
    assert_int_equal(harness_open(&harness, NULL), 0);
    append_again(&(struct told){.arg = &again});
    harness_hear(&harness, &again.told[19]);
    for (int i = 0; i < 20; i++)
        assert_int_equal(again.told[i].calls, 1);
    list = harness_read(&harness, 0);
    assert_int_equal(list.count, 20);
    seen_free(&list);
    harness_end(&harness);
}

static void a_flush_that_finds_no_free_batch_goes_when_one_comes_home(void **state)
{
    enum { TICKETS = BATCHES + 2 };
    struct harness harness;
    struct told told[TICKETS] = {0};
    (void)state;

    harness_begin(&harness, 8);
    assert_int_equal(harness_open(&harness, NULL), 0);
    fault_disk_hold(harness.faults, FAULT_SYNC, NULL, true);
    for (int i = 0; i < TICKETS; i++) {
        assert_int_equal(harness_append(&harness, &told[i], "waits", 5), 0);
        wal_flush(harness.producer);
    }
    fault_disk_hold(harness.faults, FAULT_SYNC, NULL, false);
    harness_hear(&harness, &told[TICKETS - 1]); /* nobody flushes once more */
    for (int i = 0; i < TICKETS; i++)
        assert_int_equal(told[i].calls, 1);
    harness_end(&harness);
}

/* A request that is only half read when a batch comes home. */
static void a_flush_that_waits_leaves_what_has_no_ticket_yet(void **state)
{
    struct harness harness;
    struct told told[BATCHES + 1] = {0};
    (void)state;

    harness_begin(&harness, 8);
    assert_int_equal(harness_open(&harness, NULL), 0);
    fault_disk_hold(harness.faults, FAULT_SYNC, NULL, true);
    for (int i = 0; i < BATCHES; i++) {
        assert_int_equal(harness_append(&harness, &told[i], "waits", 5), 0);
        wal_flush(harness.producer);
    }
    assert_int_equal(harness_append(&harness, NULL, "without a ticket", 16), 0);
    fault_disk_hold(harness.faults, FAULT_SYNC, NULL, false);
    harness_hear(&harness, &told[BATCHES - 2]);
    assert_int_equal(told[BATCHES - 1].calls, 0);
    harness_claim(&harness, &told[BATCHES]);
    wal_flush(harness.producer);
    harness_hear(&harness, &told[BATCHES]);
    assert_int_equal(told[BATCHES - 1].calls, 1);
    harness_end(&harness);
}

enum { THREADS = 4, TURNS = 150 };

struct work {
    struct harness harness; /* a view of the shared one, with a mailbox and producer of its own */
    pthread_t thread;
    uint64_t positions[TURNS];
};

static void *work(void *arg)
{
    struct work *work = arg;

    for (int i = 0; i < TURNS; i++) {
        char text[32];

        snprintf(text, sizeof text, "%p %d", arg, i);
        work->positions[i] = harness_store(&work->harness, text, 32 + (size_t)i);
    }
    return NULL;
}

static void check_work(struct harness *harness, struct work *works)
{
    unsigned next[THREADS] = {0};
    struct seen_list list = harness_read(harness, 0);

    assert_int_equal(list.count, THREADS * TURNS);
    for (size_t i = 0; i < list.count; i++) {
        int thread = 0;
        char text[32];

        while (next[thread] == TURNS ||
               works[thread].positions[next[thread]] != list.at[i].position) {
            thread++;
            assert_int_not_equal(thread, THREADS);
        }
        snprintf(text, sizeof text, "%p %u", (void *)&works[thread], next[thread]);
        assert_true(seen_is(&list.at[i], text));
        next[thread]++;
    }
    seen_free(&list);
}

static void several_producers_lose_nothing(void **state)
{
    struct harness harness;
    struct work works[THREADS];
    (void)state;

    harness_begin(&harness, 9);
    harness.options.spares = 2;
    harness.options.max_bytes = 4 << 20;
    assert_int_equal(harness_open(&harness, NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        harness_begin(&works[i].harness, 0);
        works[i].harness.wal = harness.wal;
        works[i].harness.producer = wal_producer_open(harness.wal, &works[i].harness.home, 1 << 16);
        assert_int_equal(pthread_create(&works[i].thread, NULL, work, &works[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(works[i].thread, NULL);
        wal_producer_close(works[i].harness.producer);
        works[i].harness.wal = NULL;
        harness_end(&works[i].harness);
    }
    check_work(&harness, works);
    harness_restart(&harness, true);
    check_work(&harness, works);
    harness_end(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_back_as_they_went_in),
        cmocka_unit_test(positions_grow_over_segments_and_restarts),
        cmocka_unit_test(a_ticket_is_called_once_with_its_positions),
        cmocka_unit_test(a_large_batch_does_not_wait_for_the_end_of_the_turn),
        cmocka_unit_test(forgotten_records_are_not_written),
        cmocka_unit_test(a_producer_refuses_at_its_bound_until_a_batch_is_home),
        cmocka_unit_test(those_who_share_a_batch_get_no_more_than_a_segment),
        cmocka_unit_test(a_record_that_fits_no_segment_is_too_large),
        cmocka_unit_test(done_may_append_and_flush),
        cmocka_unit_test(a_flush_that_finds_no_free_batch_goes_when_one_comes_home),
        cmocka_unit_test(a_flush_that_waits_leaves_what_has_no_ticket_yet),
        cmocka_unit_test(several_producers_lose_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
