/*
 * Rounds: what one sync covers, how they roll, and what is decided about each record.
 */
#include "support/wal_harness.h"
#include "wal/wal_priv.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static void what_waits_becomes_durable_by_one_sync(void **state)
{
    struct harness harness;
    struct told told[9] = {0};
    struct wal_producer *first, *second;
    (void)state;

    harness_begin(&harness, 1);
    assert_int_equal(harness_open(&harness, NULL), 0);
    harness_store(&harness, "opens the segment", 20);
    first = harness.producer;
    second = wal_producer_open(harness.wal, &harness.home, 1 << 16);
    fault_disk_hold(harness.faults, FAULT_SYNC, NULL, true);
    assert_int_equal(harness_append(&harness, &told[0], "under way", 9), 0);
    wal_flush(harness.producer);
    fault_disk_await_held(harness.faults, FAULT_SYNC);
    for (int i = 1; i < 9; i++) {
        harness.producer = i % 2 == 0 ? first : second;
        assert_int_equal(harness_append(&harness, &told[i], "waits", 5), 0);
        if (i >= 7)
            wal_flush(harness.producer);
    }
    assert_int_equal(told[0].calls, 0);
    assert_int_equal(wal_stats(harness.wal).records, 1);
    fault_disk_hold(harness.faults, FAULT_SYNC, NULL, false);
    for (int i = 0; i < 9; i++)
        harness_hear(&harness, &told[i]);
    assert_int_equal(wal_stats(harness.wal).records, 10);
    assert_int_equal(wal_stats(harness.wal).rounds, 3);
    assert_int_equal(wal_stats(harness.wal).syncs, 3);
    harness.producer = first;
    wal_producer_close(second);
    harness_end(&harness);
}

/* A round of two that takes as long as `held` (NULL: no longer than it must). */
static void store_two(struct harness *harness, const struct timespec *held)
{
    struct told told[2] = {0};

    fault_disk_hold(harness->faults, FAULT_SYNC, NULL, held != NULL);
    for (int i = 0; i < 2; i++)
        assert_int_equal(harness_append(harness, &told[i], "first", 5), 0);
    wal_flush(harness->producer);
    if (held != NULL) {
        fault_disk_await_held(harness->faults, FAULT_SYNC);
        nanosleep(held, NULL);
        fault_disk_hold(harness->faults, FAULT_SYNC, NULL, false);
    }
    for (int i = 0; i < 2; i++)
        harness_hear(harness, &told[i]);
}

/* Both come back one after the other; true if one round was enough for them. */
static bool come_back(struct harness *harness)
{
    const struct timespec a_moment = {.tv_nsec = 5000000};
    uint64_t rounds = wal_stats(harness->wal).rounds;
    struct told told[2] = {0};

    for (int i = 0; i < 2; i++) {
        assert_int_equal(harness_append(harness, &told[i], "again", 5), 0);
        wal_flush(harness->producer);
        if (i == 0)
            nanosleep(&a_moment, NULL); /* time enough for a round that does not wait */
    }
    for (int i = 0; i < 2; i++)
        harness_hear(harness, &told[i]);
    return wal_stats(harness->wal).rounds == rounds + 1;
}

static void a_round_waits_for_those_whom_the_last_one_answered(void **state)
{
    const struct timespec long_sync = {.tv_nsec = 500000000};
    struct harness harness;
    bool together = false;
    (void)state;

    for (int tries = 0; tries < 10 && !together; tries++) {
        harness_begin(&harness, 1);
        assert_int_equal(harness_open(&harness, NULL), 0);
        store_two(&harness, &long_sync); /* a round waits for a quarter of what rounds take */
        together = come_back(&harness);
        harness_store(&harness, "one alone is not kept waiting for ever", 38);
        harness_end(&harness);
    }
    assert_true(together);
}

static void those_who_stayed_away_are_not_waited_for(void **state)
{
    const struct timespec long_sync = {.tv_nsec = 500000000};
    struct harness harness;
    int apart = 0;
    (void)state;

    for (int tries = 0; tries < 10 && apart < 3; tries++) {
        harness_begin(&harness, 1);
        assert_int_equal(harness_open(&harness, NULL), 0);
        store_two(&harness, &long_sync);
        for (int i = 0; i < 8; i++) {
            store_two(&harness, NULL);
            harness_store(&harness, "the other one stays away", 24);
        }
        /* Not by chance, because the machine stood still meanwhile: three times in a row. */
        for (apart = 0; apart < 3; apart++) {
            store_two(&harness, apart == 0 ? &long_sync : NULL);
            if (come_back(&harness))
                break;
        }
        harness_end(&harness);
    }
    assert_int_equal(apart, 3);
}

/* A round of `count` records of `len` bytes. */
static void store_round(struct harness *harness, int count, size_t len, struct told *told)
{
    char bytes[4096];

    memset(bytes, '.', sizeof bytes);
    for (int i = 0; i < count; i++) {
        snprintf(bytes, sizeof bytes, "%d", i);
        bytes[strlen(bytes)] = '.';
        assert_int_equal(harness_append(harness, NULL, bytes, len), 0);
    }
    harness_claim(harness, told);
    wal_flush(harness->producer);
}

static void check_round(struct harness *harness, uint64_t from, int count)
{
    struct seen_list list = harness_read(harness, from);

    assert_int_equal(list.count, count);
    for (int i = 0; i < count; i++) {
        char text[16];

        snprintf(text, sizeof text, "%d", i);
        assert_true(seen_is(&list.at[i], text));
    }
    seen_free(&list);
}

static void a_round_rolls_over_as_many_segments_as_it_needs(void **state)
{
    static const struct {
        int count;
        size_t len;
        unsigned segments;
    } cases[] = {{1, 3000, 2}, {1, 1000, 1}, {1, 1984, 1}, {1, 1985, 2}, {2, 984, 1},
                 {2, 1100, 2}, {4, 992, 2},  {9, 1000, 4}, {4, 4016, 5}};
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct harness harness;
        struct told told = {0};

        harness_begin(&harness, i);
        assert_int_equal(harness_open(&harness, NULL), 0);
        harness_store(&harness, "takes half", 2016);
        store_round(&harness, cases[i].count, cases[i].len, &told);
        harness_hear(&harness, &told);
        assert_int_equal(told.status, 0);
        assert_int_equal(wal_stats(harness.wal).rounds, 2);
        assert_int_equal(wal_stats(harness.wal).segments, cases[i].segments);
        if (cases[i].count * (RECORD_HEADER + cases[i].len) <= segment_room(harness.wal))
            assert_true(harness.wal->segments[cases[i].segments - 1].base <= 2032); /* in one */
        check_round(&harness, 2032, cases[i].count);
        harness_restart(&harness, true);
        check_round(&harness, 2032, cases[i].count);
        assert_int_equal(harness.recovery.damaged_stretches, 0);
        assert_int_equal(harness.recovery.records, cases[i].count + 1);
        assert_int_equal(wal_stats(harness.wal).records, cases[i].count + 1);
        harness_end(&harness);
    }
}

/* Of what waits while a round is under way, as much as there is room for is one round. */
static void what_waits_fills_a_segment_to_its_end(void **state)
{
    static const size_t lengths[][3] = {{884, 984, 10}, {1884, 10, 10}}; /* 1900 bytes are left */
    (void)state;

    for (size_t i = 0; i < 2; i++) {
        static const char bytes[2000];
        struct harness harness;
        struct told told[4] = {0};

        harness_begin(&harness, i);
        assert_int_equal(harness_open(&harness, NULL), 0);
        harness_store(&harness, "takes half", 2016);
        fault_disk_hold(harness.faults, FAULT_SYNC, NULL, true);
        assert_int_equal(harness_append(&harness, &told[0], bytes, 84), 0);
        wal_flush(harness.producer);
        fault_disk_await_held(harness.faults, FAULT_SYNC);
        for (int batch = 0; batch < 3; batch++) {
            assert_int_equal(harness_append(&harness, &told[1 + batch], bytes, lengths[i][batch]),
                             0);
            wal_flush(harness.producer);
        }
        fault_disk_hold(harness.faults, FAULT_SYNC, NULL, false);
        harness_hear(&harness, &told[3]);
        assert_int_equal(wal_stats(harness.wal).rounds, 4);
        assert_int_equal(wal_stats(harness.wal).segments, 2);
        assert_int_equal(harness.wal->segments[1].base, segment_room(harness.wal));
        harness_end(&harness);
    }
}

/* The mark of docs/disk-format.md: all before this record was durable when it was written. */
static bool is_first(struct harness *harness, unsigned segment, size_t at)
{
    uint32_t length;

    fault_disk_peek(harness->faults, harness_segment(segment), at + 4, &length, sizeof length);
    return (length & RECORD_FIRST) != 0;
}

static void the_first_record_of_a_round_and_of_a_segment_is_marked(void **state)
{
    struct harness harness;
    struct told told = {0};
    (void)state;

    harness_begin(&harness, 1);
    assert_int_equal(harness_open(&harness, NULL), 0);
    harness_store(&harness, "a round", 1000);
    store_round(&harness, 4, 1000, &told);
    harness_hear(&harness, &told);
    assert_true(is_first(&harness, 1, SEGMENT_HEADER));
    assert_true(is_first(&harness, 1, SEGMENT_HEADER + 1016));
    assert_false(is_first(&harness, 1, SEGMENT_HEADER + 2 * 1016));
    assert_true(is_first(&harness, 2, SEGMENT_HEADER));
    assert_false(is_first(&harness, 2, SEGMENT_HEADER + 1016));
    harness_end(&harness);
}

static void readers_see_nothing_of_a_round_that_may_yet_fail(void **state)
{
    struct harness harness;
    struct told told = {0};
    struct seen_list list;
    struct buf out = {0};
    (void)state;

    harness_begin(&harness, 1);
    assert_int_equal(harness_open(&harness, NULL), 0);
    harness_store(&harness, "durable", 2016);
    /* The round fills the first segment, which is synced, and waits for the next one. */
    fault_disk_hold(harness.faults, FAULT_RENAME, NULL, true);
    store_round(&harness, 3, 1200, &told);
    fault_disk_await_held(harness.faults, FAULT_RENAME);
    list = harness_read(&harness, 0);
    assert_int_equal(list.count, 1);
    seen_free(&list);
    assert_int_equal(wal_read_at(harness.wal, 2032, &out, NULL), ERR_NOT_FOUND);
    fault_disk_fail(harness.faults, FAULT_SYNC_DIR, NULL, 0, 1, EIO);
    fault_disk_hold(harness.faults, FAULT_RENAME, NULL, false);
    harness_hear(&harness, &told);
    assert_int_equal(told.status, ERR_IO);
    harness_await_refusing(&harness, false);
    assert_true(harness_store(&harness, "instead", 100) == 2032);
    list = harness_read(&harness, 0);
    assert_int_equal(list.count, 2);
    assert_true(seen_is(&list.at[1], "instead"));
    seen_free(&list);
    buf_free(&out);
    harness_end(&harness);
}

/* A memory of texts that begin with "id": one entry a letter behind it. */
struct memory {
    bool known[256], fresh[256];
    uint64_t positions[256];
    atomic_uint settled, unsettled;
};

static bool admit(void *arg, struct slice record, uint64_t position, uint64_t *ret_original)
{
    struct memory *memory = arg;
    unsigned char id = record.len > 2 ? (unsigned char)record.at[2] : 0;

    if (memory->known[id]) {
        *ret_original = memory->positions[id];
        return false;
    }
    memory->known[id] = true;
    memory->fresh[id] = true;
    memory->positions[id] = position;
    return true;
}

static void settle(void *arg, bool durable)
{
    struct memory *memory = arg;

    for (int id = 0; id < 256; id++) {
        if (memory->fresh[id] && !durable)
            memory->known[id] = false;
        memory->fresh[id] = false;
    }
    atomic_fetch_add(durable ? &memory->settled : &memory->unsettled, 1);
}

static void repeats_see_the_position_of_the_original(void **state)
{
    struct harness harness;
    struct memory memory = {0};
    struct told told = {0};
    struct seen_list list;
    static const char *const ids[] = {"idb", "ida", "idb", "idc", "idc"};
    uint64_t a, b, again;
    (void)state;

    harness_begin(&harness, 1);
    harness.options.hooks = (struct wal_hooks){.arg = &memory, .admit = admit, .settle = settle};
    assert_int_equal(harness_open(&harness, NULL), 0);
    a = harness_store(&harness, "ida", 3);
    for (int i = 0; i < 5; i++)
        assert_int_equal(harness_append(&harness, NULL, ids[i], 3), 0);
    harness_claim(&harness, &told);
    wal_flush(harness.producer);
    harness_hear(&harness, &told);
    assert_int_equal(told.records, 5);
    b = told.positions[0];
    assert_true(b > a);
    assert_true(told.positions[1] == a);
    assert_true(told.positions[2] == b);
    assert_true(told.positions[3] == b + 19);
    assert_true(told.positions[4] == b + 19);
    assert_int_equal(harness_put(&harness, "idb", &again), 0); /* a round of nothing else */
    assert_true(again == b);
    list = harness_read(&harness, a);
    assert_int_equal(list.count, 3);
    assert_true(seen_is(&list.at[1], "idb"));
    assert_true(seen_is(&list.at[2], "idc"));
    assert_int_equal(wal_stats(harness.wal).duplicates, 4);
    assert_int_equal(wal_stats(harness.wal).committed, 3);
    assert_int_equal(atomic_load(&memory.settled), 3);
    seen_free(&list);
    harness_restart(&harness, true);
    assert_int_equal(harness.recovery.records, 3);
    harness_end(&harness);
}

/* There is no segment to sync yet, and nothing behind the gap for a reader to look for. */
static void a_round_of_repeats_alone_touches_nothing(void **state)
{
    struct harness harness;
    struct memory memory = {0};
    uint64_t changes, position = 9;
    (void)state;

    harness_begin(&harness, 1);
    harness.options.hooks = (struct wal_hooks){.arg = &memory, .admit = admit, .settle = settle};
    harness.options.gap = 10000;
    assert_int_equal(harness_open(&harness, NULL), 0);
    harness_store(&harness, "ida", 3);
    harness_restart(&harness, false);
    changes = fault_disk_changes(harness.faults);
    assert_int_equal(harness_put(&harness, "ida", &position), 0);
    assert_true(position == 0);
    assert_true(wal_stats(harness.wal).durable == 19);
    assert_true(wal_stats(harness.wal).next == 10019);
    assert_true(fault_disk_changes(harness.faults) == changes);
    harness_end(&harness);
}

static void what_failed_is_no_original(void **state)
{
    struct harness harness;
    struct memory memory = {0};
    struct told told = {0};
    struct seen_list list;
    uint64_t position;
    (void)state;

    harness_begin(&harness, 1);
    harness.options.hooks = (struct wal_hooks){.arg = &memory, .admit = admit, .settle = settle};
    assert_int_equal(harness_open(&harness, NULL), 0);
    harness_store(&harness, "ida", 3);
    fault_disk_fail(harness.faults, FAULT_SYNC, ".seg", 0, 1, EIO);
    assert_int_equal(harness_append(&harness, NULL, "idb", 3), 0);
    assert_int_equal(harness_append(&harness, NULL, "idb", 3), 0);
    harness_claim(&harness, &told);
    wal_flush(harness.producer);
    harness_hear(&harness, &told);
    assert_int_equal(told.status, ERR_IO);
    assert_int_equal(atomic_load(&memory.unsettled), 1);
    harness_await_refusing(&harness, false);
    assert_int_equal(harness_put(&harness, "idb", &position), 0);
    list = harness_read(&harness, 0);
    assert_int_equal(list.count, 2);
    assert_true(list.at[1].position == position);
    seen_free(&list);
    harness_end(&harness);
}

static void closing_commits_what_was_handed_in(void **state)
{
    struct harness harness;
    struct told told[2] = {0};
    struct wal_producer *producer;
    struct seen_list list;
    (void)state;

    harness_begin(&harness, 1);
    assert_int_equal(harness_open(&harness, NULL), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(harness_append(&harness, &told[i], "handed in", 9), 0);
        wal_flush(harness.producer);
    }
    producer = harness.producer;
    wal_close(harness.wal);
    mailbox_deliver(&harness.home);
    assert_int_equal(told[0].calls + told[1].calls, 2);
    assert_int_equal(told[0].status, 0);
    assert_int_equal(told[1].status, 0);
    wal_producer_close(producer);
    harness.producer = NULL;
    harness.wal = NULL;
    harness_restart(&harness, true);
    list = harness_read(&harness, 0);
    assert_int_equal(list.count, 2);
    seen_free(&list);
    harness_end(&harness);
}

static void without_sync_durable_means_written(void **state)
{
    struct harness harness;
    struct seen_list list;
    uint64_t syncs;
    (void)state;

    harness_begin(&harness, 1);
    harness.options.sync = false;
    assert_int_equal(harness_open(&harness, NULL), 0);
    harness_store(&harness, "opens the segment", 20);
    syncs = fault_disk_calls(harness.faults, FAULT_SYNC);
    for (int i = 0; i < 10; i++)
        harness_store(&harness, "written", 20);
    assert_int_equal(fault_disk_calls(harness.faults, FAULT_SYNC), syncs);
    fault_disk_crash_at(harness.faults, 0); /* the process dies, the system does not */
    harness_close(&harness);
    fault_disk_restart(harness.faults, false);
    assert_int_equal(harness_open(&harness, NULL), 0);
    list = harness_read(&harness, 0);
    assert_int_equal(list.count, 11);
    seen_free(&list);
    harness_end(&harness);
}

static void without_sync_a_power_cut_costs_records_but_not_the_start(void **state)
{
    (void)state;

    for (uint64_t seed = 0; seed < 200; seed++) {
        struct harness harness;

        harness_begin(&harness, seed);
        harness.options.sync = false;
        harness.options.spares = seed % 3;
        assert_int_equal(harness_open(&harness, NULL), 0);
        for (int i = 0; i < 12; i++)
            harness_store(&harness, "written", 900);
        wal_release(harness.wal, wal_stats(harness.wal).durable, NULL);
        for (int i = 0; i < 12; i++)
            harness_store(&harness, "written", 900);
        harness_restart(&harness, true);
        harness_store(&harness, "written", 900);
        harness_end(&harness);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_waits_becomes_durable_by_one_sync),
        cmocka_unit_test(a_round_waits_for_those_whom_the_last_one_answered),
        cmocka_unit_test(those_who_stayed_away_are_not_waited_for),
        cmocka_unit_test(a_round_rolls_over_as_many_segments_as_it_needs),
        cmocka_unit_test(what_waits_fills_a_segment_to_its_end),
        cmocka_unit_test(the_first_record_of_a_round_and_of_a_segment_is_marked),
        cmocka_unit_test(readers_see_nothing_of_a_round_that_may_yet_fail),
        cmocka_unit_test(repeats_see_the_position_of_the_original),
        cmocka_unit_test(a_round_of_repeats_alone_touches_nothing),
        cmocka_unit_test(what_failed_is_no_original),
        cmocka_unit_test(closing_commits_what_was_handed_in),
        cmocka_unit_test(without_sync_durable_means_written),
        cmocka_unit_test(without_sync_a_power_cut_costs_records_but_not_the_start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
