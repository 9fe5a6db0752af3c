/*
 * The window of client ids over restarts, on a disk that fails: an id that was acknowledged once is
 * acknowledged with the same transaction again, also when its segment has long been recycled, and
 * wherever the power was cut.
 */
#include "base/mem.h"
#include "queue/queue.h"
#include "support/fault_disk.h"
#include "support/request.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

enum { SEGMENT = 4096, DAY_S = 86400, MOST = 4000 };

static const struct timespec a_moment = {.tv_nsec = 100000};

struct bench {
    struct fault_disk *faults;
    struct queue_options options;
    struct queue *queue;
    struct mailbox box;
    struct wal_producer *producer;
    int64_t now_us;
    uint64_t positions[MOST]; /* of the ids that were acknowledged, 0: not */
};

static void no_wake(void *arg)
{
    (void)arg;
}

static int try_open(struct bench *bench, struct err *err)
{
    int code = queue_open(&bench->options, &bench->queue, NULL, err);

    if (code != 0)
        return code;
    mailbox_init(&bench->box, no_wake, NULL);
    bench->producer = queue_producer_open(bench->queue, &bench->box, 1 << 20);
    return 0;
}

static void open_queue(struct bench *bench)
{
    struct err err;

    if (try_open(bench, &err) != 0)
        fail_msg("%s", err.text);
}

static void close_queue(struct bench *bench)
{
    bench->options.cursor = queue_status(bench->queue).cursor;
    wal_producer_close(bench->producer);
    queue_close(bench->queue);
    bench->queue = NULL;
}

static void restart(struct bench *bench, bool power)
{
    close_queue(bench);
    fault_disk_restart(bench->faults, power);
    open_queue(bench);
}

static void begin(struct bench *bench, uint64_t seed)
{
    *bench = (struct bench){.faults = fault_disk_new(seed), .now_us = 1790000000000000};
    bench->options = (struct queue_options){.disk = fault_disk_of(bench->faults),
                                            .data_dir = "data",
                                            .segment_bytes = SEGMENT,
                                            .max_bytes = 64 * SEGMENT,
                                            .sync = true,
                                            .dedup_ids = 1000,
                                            .dedup_window_s = DAY_S};
    assert_int_equal(bench->options.disk->make_dir(bench->options.disk, "data"), 0);
    assert_int_equal(bench->options.disk->sync_dir(bench->options.disk, "."), 0);
    open_queue(bench);
}

static void end(struct bench *bench)
{
    close_queue(bench);
    fault_disk_free(bench->faults);
}

/* One transaction, without an id if it is NULL, in a round of its own; its position, or a negative
 * code. */
static int64_t send(struct bench *bench, const char *id)
{
    struct txn_datapoint datapoint = {SLICE("key"), SLICE("some value of a certain length")};
    struct txn txn = {.product = 10,
                      .client_id = id != NULL ? slice_of(id) : (struct slice){0},
                      .timestamp_us = bench->now_us,
                      .received_us = bench->now_us,
                      .count = 1,
                      .datapoints = &datapoint};
    struct request request = {.ticket.done = request_done};

    if (queue_put(bench->producer, &txn, NULL) != 0)
        return ERR_IO;
    wal_await(bench->producer, &request.ticket);
    wal_flush(bench->producer);
    while (!request.done) {
        mailbox_deliver(&bench->box);
        nanosleep(&a_moment, NULL);
    }
    return request.status == 0 ? (int64_t)request.position : request.status;
}

static int64_t send_number(struct bench *bench, unsigned number)
{
    char id[32];

    snprintf(id, sizeof id, "id-%u", number);
    return send(bench, id);
}

/* New ids, and all of it delivered. False when the disk did not take one. */
static bool store(struct bench *bench, unsigned from, unsigned to)
{
    for (unsigned number = from; number < to; number++) {
        int64_t position = send_number(bench, number);
        struct queue_status status = queue_status(bench->queue);

        if (position < 0)
            return false;
        bench->positions[number] = (uint64_t)position + 1;
        queue_delivered(bench->queue, status.durable, status.pending_transactions);
    }
    return true;
}

/* Until nothing but the last segment is there. */
static void await_recycled(struct bench *bench)
{
    while (queue_status(bench->queue).log.bytes_on_disk > 3 * SEGMENT)
        nanosleep(&a_moment, NULL);
}

/* Each of them that was acknowledged is known. */
static unsigned count_known(struct bench *bench, unsigned from, unsigned to)
{
    unsigned known = 0;

    for (unsigned number = from; number < to; number++)
        known += bench->positions[number] != 0 &&
                 send_number(bench, number) == (int64_t)bench->positions[number] - 1;
    return known;
}

static const char *name_of_file(struct bench *bench, char out[128])
{
    struct disk *disk = bench->options.disk;

    out[0] = '\0';
    for (uint64_t to = 1; to < 200000 && out[0] == '\0'; to++) {
        int fd;

        snprintf(out, 128, "data/ids/%020llu.ids", (unsigned long long)to);
        fd = disk->open(disk, out, 0);
        if (fd >= 0)
            disk->close(disk, fd);
        else
            out[0] = '\0';
    }
    assert_string_not_equal(out, "");
    return out;
}

static void ids_of_recycled_segments_are_known_after_a_restart(void **state)
{
    struct bench bench;

    (void)state;
    for (int power = 0; power < 2; power++) {
        begin(&bench, 1);
        assert_true(store(&bench, 0, 600));
        await_recycled(&bench);
        for (int again = 0; again < 3; again++) {
            restart(&bench, power == 1);
            assert_true(queue_status(bench.queue).log.first > 5 * SEGMENT);
            assert_int_equal(count_known(&bench, 0, 600), 600);
            assert_int_equal(queue_status(bench.queue).accepted, 600);
        }
        end(&bench);
    }
}

static void await_healed(struct bench *bench)
{
    while (queue_refusing(bench->queue, NULL))
        nanosleep(&a_moment, NULL);
}

/* What failed is no original; and what was there before is not forgotten with it, also when that
 * is the first round after a start. */
static void a_round_that_fails_forgets_its_own_ids_alone(void **state)
{
    struct bench bench;
    int64_t first, second;

    (void)state;
    for (int without_ids = 0; without_ids < 2; without_ids++) {
        begin(&bench, 1);
        assert_true(store(&bench, 0, 200));
        await_recycled(&bench);
        for (int i = 0; without_ids && i < 100; i++) /* the log has none then, only the files */
            assert_true(send(&bench, NULL) >= 0);
        queue_delivered(bench.queue, queue_status(bench.queue).durable,
                        queue_status(bench.queue).pending_transactions);
        await_recycled(&bench);
        restart(&bench, true);
        fault_disk_fail(bench.faults, FAULT_SYNC, ".seg", 0, 1, EIO);
        assert_int_equal(send_number(&bench, 200), ERR_IO);
        await_healed(&bench);
        first = send_number(&bench, 200);
        second = send_number(&bench, 201);
        assert_true(first >= 0 && second > first);
        assert_int_equal(send_number(&bench, 200), first);
        assert_int_equal(queue_status(bench.queue).pending_transactions, 2);
        assert_int_equal(count_known(&bench, 0, 200), 200);
        end(&bench);
    }
}

static void the_window_is_counted_over_files_and_log_together(void **state)
{
    struct bench bench;

    (void)state;
    begin(&bench, 2);
    bench.options.dedup_ids = 300;
    restart(&bench, false);
    assert_true(store(&bench, 0, 2000));
    await_recycled(&bench);
    restart(&bench, true);
    assert_int_equal(count_known(&bench, 1700, 2000), 300);
    assert_int_equal(count_known(&bench, 0, 10), 0);
    end(&bench);
}

static void the_window_of_time_goes_on_over_a_restart(void **state)
{
    struct bench bench;

    (void)state;
    begin(&bench, 3);
    assert_true(store(&bench, 0, 200));
    await_recycled(&bench);
    bench.now_us -= INT64_C(1000000) * DAY_S * 365; /* and the clock is set back a year */
    restart(&bench, true);
    assert_int_equal(count_known(&bench, 0, 200), 200);
    assert_true(store(&bench, 200, 201)); /* the step is in the log */
    bench.now_us += INT64_C(1000000) * DAY_S / 2;
    restart(&bench, true);
    assert_int_equal(count_known(&bench, 0, 201), 201);
    assert_true(store(&bench, 300, 500)); /* and now in the files of ids */
    await_recycled(&bench);
    bench.now_us += INT64_C(1000000) * (DAY_S / 2 + 120);
    restart(&bench, true);
    assert_int_equal(count_known(&bench, 300, 500), 200);
    assert_int_equal(count_known(&bench, 0, 201), 0);
    end(&bench);
}

static void wherever_the_power_is_cut_what_was_acknowledged_is_known(void **state)
{
    unsigned cuts = 0;
    bool crashed = true;

    (void)state;
    for (uint64_t at = 1; crashed; at += 11) {
        struct bench bench;

        begin(&bench, at);
        fault_disk_crash_at(bench.faults, at);
        store(&bench, 0, 120);
        crashed = fault_disk_crashed(bench.faults);
        cuts += crashed;
        for (unsigned life = 0; life < 2; life++) {
            unsigned acknowledged = 0;

            restart(&bench, true);
            for (unsigned number = 0; number < 120; number++)
                acknowledged += bench.positions[number] != 0;
            assert_int_equal(count_known(&bench, 0, 120), acknowledged);
            if (life == 0) {
                store(&bench, 120, 160);
                await_recycled(&bench);
            }
        }
        end(&bench);
    }
    assert_true(cuts > 20);
}

static void a_damaged_entry_loses_itself_alone(void **state)
{
    struct bench bench;
    char name[128];
    char byte;

    (void)state;
    begin(&bench, 5);
    assert_true(store(&bench, 0, 300));
    await_recycled(&bench);
    close_queue(&bench);
    name_of_file(&bench, name);
    fault_disk_peek(bench.faults, name, 96 + 28 * 10 + 3, &byte, 1);
    byte ^= 0x10;
    fault_disk_poke(bench.faults, name, 96 + 28 * 10 + 3, &byte, 1);
    open_queue(&bench);
    assert_int_equal(queue_status(bench.queue).ids_lost, 1);
    assert_int_equal(count_known(&bench, 0, 300), 299);
    end(&bench);
}

static void a_file_without_its_header_or_its_end_loses_no_other_and_not_the_start(void **state)
{
    (void)state;
    for (size_t left = 0; left < 4096; left += 310) {
        struct bench bench;
        char name[128];

        begin(&bench, 6);
        assert_true(store(&bench, 0, 200));
        await_recycled(&bench);
        close_queue(&bench);
        fault_disk_cut(bench.faults, name_of_file(&bench, name), left);
        open_queue(&bench);
        assert_true(queue_status(bench.queue).ids_lost > 0);
        assert_true(count_known(&bench, 0, 200) >= (left < 96 ? 0 : (left - 96) / 28));
        store(&bench, 200, 400);
        await_recycled(&bench);
        restart(&bench, true);
        assert_int_equal(count_known(&bench, 200, 400), 200);
        end(&bench);
    }
}

static void a_file_of_a_newer_version_stops_the_start(void **state)
{
    struct bench bench;
    char name[128];
    struct err err;

    (void)state;
    begin(&bench, 7);
    assert_true(store(&bench, 0, 200));
    await_recycled(&bench);
    close_queue(&bench);
    fault_disk_poke(bench.faults, name_of_file(&bench, name), 8, "\x03", 1);
    assert_int_equal(try_open(&bench, &err), ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "newer"));
    fault_disk_poke(bench.faults, name, 8, "\x02", 1);
    open_queue(&bench);
    end(&bench);
}

static void a_file_of_the_first_version_is_not_believed(void **state)
{
    struct bench bench;
    char name[128];

    (void)state;
    begin(&bench, 9);
    assert_true(store(&bench, 0, 200));
    await_recycled(&bench);
    close_queue(&bench);
    fault_disk_poke(bench.faults, name_of_file(&bench, name), 8, "\x01", 1);
    open_queue(&bench);
    assert_true(queue_status(bench.queue).ids_lost > 0);
    assert_true(store(&bench, 200, 400));
    await_recycled(&bench);
    restart(&bench, true);
    assert_int_equal(count_known(&bench, 200, 400), 200);
    end(&bench);
}

static void a_disk_that_is_full_is_freed_all_the_same(void **state)
{
    struct bench bench;

    (void)state;
    begin(&bench, 8);
    for (unsigned number = 0; number < 300; number++)
        send_number(&bench, number);
    fault_disk_fail(bench.faults, FAULT_WRITE, "data/ids/new", 0, UINT32_MAX, ENOSPC);
    queue_delivered(bench.queue, queue_status(bench.queue).durable, 300);
    await_recycled(&bench);
    fault_disk_fail(bench.faults, FAULT_WRITE, NULL, 0, 0, 0);
    restart(&bench, false);
    assert_true(store(&bench, 300, 500));
    restart(&bench, true);
    assert_int_equal(count_known(&bench, 300, 500), 200);
    end(&bench);
}

static void what_is_set_aside_for_it_takes_the_ids_when_the_disk_is_full(void **state)
{
    struct bench bench;

    (void)state;
    begin(&bench, 8);
    fault_disk_fail(bench.faults, FAULT_WRITE, "data/ids/new", 0, 1, ENOSPC);
    assert_true(store(&bench, 0, 300));
    await_recycled(&bench);
    assert_int_equal(fault_disk_failed(bench.faults, FAULT_WRITE), 1);
    restart(&bench, true);
    assert_int_equal(count_known(&bench, 0, 300), 300);
    end(&bench);
}

static void a_fault_of_the_disk_keeps_the_segment_until_it_is_over(void **state)
{
    struct bench bench;

    (void)state;
    begin(&bench, 9);
    fault_disk_fail(bench.faults, FAULT_SYNC, "data/ids/new", 0, 1, EIO);
    assert_true(store(&bench, 0, 300));
    await_recycled(&bench);
    assert_int_equal(fault_disk_failed(bench.faults, FAULT_SYNC), 1);
    restart(&bench, true);
    assert_int_equal(count_known(&bench, 0, 300), 300);
    end(&bench);
}

/* How a file of ids is not given: not at all, not its beginning, not what follows. */
static const struct {
    enum fault_op op;
    unsigned skip;
    int number;
} not_given[] = {{FAULT_OPEN, 0, EMFILE}, {FAULT_READ, 0, EIO}, {FAULT_READ, 1, EIO}};

enum { NOT_GIVEN = sizeof not_given / sizeof *not_given, TWO_READS = 2600 };

static void a_file_that_cannot_be_read_now_is_not_taken_up_and_stays(void **state)
{
    (void)state;
    for (unsigned how = 0; how < NOT_GIVEN; how++) {
        struct bench bench;

        begin(&bench, 11);
        bench.options.dedup_ids = MOST;
        restart(&bench, false);
        assert_true(store(&bench, 0, TWO_READS));
        await_recycled(&bench);
        fault_disk_fail(bench.faults, not_given[how].op, ".ids", not_given[how].skip, 1,
                        not_given[how].number);
        assert_true(store(&bench, TWO_READS, TWO_READS + 200));
        await_recycled(&bench);
        assert_int_equal(fault_disk_failed(bench.faults, not_given[how].op), 1);
        assert_int_equal(queue_status(bench.queue).ids_lost, 0);
        restart(&bench, true);
        assert_int_equal(count_known(&bench, 0, TWO_READS + 200), TWO_READS + 200);
        assert_int_equal(queue_status(bench.queue).ids_lost, 0);
        end(&bench);
    }
}

/* The process ends when the ids of a segment are in a file, and before the segment goes. */
static void end_between_ids_and_segment(struct bench *bench, unsigned from, unsigned to)
{
    fault_disk_fail(bench->faults, FAULT_RENAME, "spare", 0, UINT32_MAX, EIO);
    fault_disk_fail(bench->faults, FAULT_UNLINK, "data/queue", 0, UINT32_MAX, EIO);
    assert_true(store(bench, from, to));
    while (fault_disk_failed(bench->faults, FAULT_UNLINK) == 0)
        nanosleep(&a_moment, NULL);
    close_queue(bench);
    fault_disk_fail(bench->faults, FAULT_RENAME, NULL, 0, 0, 0);
    fault_disk_fail(bench->faults, FAULT_UNLINK, NULL, 0, 0, 0);
}

static void a_file_that_cannot_be_read_now_is_not_written_over(void **state)
{
    struct bench bench;

    (void)state;
    begin(&bench, 12);
    assert_true(store(&bench, 0, 100));
    await_recycled(&bench);
    end_between_ids_and_segment(&bench, 100, 200);
    /* The start reads its header and its entries; then the segment is to go, under its name. */
    fault_disk_fail(bench.faults, FAULT_READ, ".ids", 2, 1, EIO);
    open_queue(&bench);
    assert_true(store(&bench, 200, 300));
    while (fault_disk_failed(bench.faults, FAULT_READ) == 0)
        nanosleep(&a_moment, NULL);
    await_recycled(&bench);
    restart(&bench, true);
    assert_int_equal(count_known(&bench, 0, 300), 300);
    end(&bench);
}

static void
a_clock_that_was_set_back_forgets_none_where_the_log_has_a_part_of_a_file_again(void **state)
{
    struct bench bench;

    (void)state;
    begin(&bench, 15);
    for (unsigned number = 0; number < 100; number++) {
        bench.now_us += INT64_C(1000000) * 60;
        assert_true(store(&bench, number, number + 1));
    }
    bench.now_us -= INT64_C(1000000) * DAY_S / 2;
    assert_true(store(&bench, 100, 200)); /* the step is in the file, and not in what comes again */
    await_recycled(&bench);
    end_between_ids_and_segment(&bench, 200, 300);
    open_queue(&bench);
    assert_int_equal(count_known(&bench, 0, 300), 300);
    end(&bench);
}

static void a_file_that_cannot_be_read_at_the_start_stops_it(void **state)
{
    struct bench bench;

    (void)state;
    begin(&bench, 13);
    assert_true(store(&bench, 0, 300));
    await_recycled(&bench);
    close_queue(&bench);
    for (unsigned skip = 0; skip < 2; skip++) { /* its header, its entries */
        struct err err;

        fault_disk_fail(bench.faults, FAULT_READ, ".ids", skip, 1, EIO);
        assert_int_equal(try_open(&bench, &err), ERR_IO);
        assert_non_null(strstr(err.text, ".ids"));
        fault_disk_fail(bench.faults, FAULT_OPEN, ".ids", skip, 1, EIO);
        assert_int_equal(try_open(&bench, &err), ERR_IO);
    }
    open_queue(&bench);
    assert_int_equal(count_known(&bench, 0, 300), 300);
    end(&bench);
}

static void what_is_damaged_when_its_file_is_taken_up_is_counted(void **state)
{
    struct bench bench;
    char name[128];

    (void)state;
    begin(&bench, 14);
    assert_true(store(&bench, 0, 100));
    await_recycled(&bench);
    fault_disk_poke(bench.faults, name_of_file(&bench, name), 96 + 28 * 10 + 3, "\xff\xff", 2);
    assert_true(store(&bench, 100, 300));
    await_recycled(&bench);
    assert_int_equal(queue_status(bench.queue).ids_lost, 1);
    end(&bench);
}

static void files_are_bounded_in_number_and_bytes(void **state)
{
    struct bench bench;

    (void)state;
    begin(&bench, 10);
    bench.options.dedup_ids = 100;
    restart(&bench, false);
    for (unsigned from = 0; from < MOST; from += 500) {
        assert_true(store(&bench, from, from + 500));
        assert_true(queue_status(bench.queue).id_files <= 4);
    }
    await_recycled(&bench);
    restart(&bench, false);
    assert_true(queue_status(bench.queue).id_files <= 4);
    end(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_of_recycled_segments_are_known_after_a_restart),
        cmocka_unit_test(a_round_that_fails_forgets_its_own_ids_alone),
        cmocka_unit_test(the_window_is_counted_over_files_and_log_together),
        cmocka_unit_test(the_window_of_time_goes_on_over_a_restart),
        cmocka_unit_test(wherever_the_power_is_cut_what_was_acknowledged_is_known),
        cmocka_unit_test(a_damaged_entry_loses_itself_alone),
        cmocka_unit_test(a_file_without_its_header_or_its_end_loses_no_other_and_not_the_start),
        cmocka_unit_test(a_file_of_a_newer_version_stops_the_start),
        cmocka_unit_test(a_file_of_the_first_version_is_not_believed),
        cmocka_unit_test(a_disk_that_is_full_is_freed_all_the_same),
        cmocka_unit_test(what_is_set_aside_for_it_takes_the_ids_when_the_disk_is_full),
        cmocka_unit_test(a_fault_of_the_disk_keeps_the_segment_until_it_is_over),
        cmocka_unit_test(a_file_that_cannot_be_read_now_is_not_taken_up_and_stays),
        cmocka_unit_test(a_file_that_cannot_be_read_now_is_not_written_over),
        cmocka_unit_test(
            a_clock_that_was_set_back_forgets_none_where_the_log_has_a_part_of_a_file_again),
        cmocka_unit_test(a_file_that_cannot_be_read_at_the_start_stops_it),
        cmocka_unit_test(what_is_damaged_when_its_file_is_taken_up_is_counted),
        cmocka_unit_test(files_are_bounded_in_number_and_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
