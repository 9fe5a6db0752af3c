/*
 * The queue over a real folder: ids, repeats, the cursor, what survives a restart.
 */
#include "queue/queue.h"

#include "base/mem.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { SEGMENT = 64 * 1024, MOST = 64 };

/* A queue with one producer; the test's own thread is the producer's. */
struct bench {
    char dir[64];
    int64_t clock_us; /* when the queue is opened */
    struct queue *queue;
    struct mailbox box;
    struct wal_producer *producer;

    /* The store, asked for the fate of a transaction. */
    uint64_t stored;  /* it has those before */
    uint64_t settled; /* the one that it is never to have */
    int trouble;      /* what it says instead */
    unsigned asked;
};

struct request {
    struct wal_ticket ticket;
    struct queue *queue;
    bool done;
    int status;
    unsigned count;
    char ids[MOST][TXN_ID_SIZE];
};

static void no_wake(void *arg)
{
    (void)arg;
}

static void open_queue(struct bench *bench, uint64_t cursor)
{
    struct queue_options options = {.data_dir = bench->dir,
                                    .segment_bytes = SEGMENT,
                                    .max_bytes = 64 * SEGMENT,
                                    .sync = true,
                                    .dedup_ids = 1000,
                                    .dedup_window_s = 86400,
                                    .cursor = cursor,
                                    .clock_us = bench->clock_us};
    struct err err;

    if (queue_open(&options, &bench->queue, NULL, &err) != 0)
        fail_msg("%s", err.text);
    mailbox_init(&bench->box, no_wake, NULL);
    bench->producer = queue_producer_open(bench->queue, &bench->box, 1 << 20);
}

static void close_queue(struct bench *bench)
{
    wal_producer_close(bench->producer);
    queue_close(bench->queue);
    bench->queue = NULL;
}

static int look(void *arg, uint64_t position, enum queue_fate *ret, struct err *err)
{
    struct bench *bench = arg;

    bench->asked++;
    *ret = position < bench->stored     ? QUEUE_STORED
           : position == bench->settled ? QUEUE_SETTLED
                                        : QUEUE_ABSENT;
    return bench->trouble == 0 ? 0 : err_set(err, bench->trouble, "not now");
}

static int cursor_found(struct bench *bench, uint64_t cursor, struct err *err)
{
    return queue_cursor_found(bench->queue, cursor, look, bench, err);
}

static int setup(void **state)
{
    struct bench *bench = mem_zalloc(sizeof *bench);

    bench->settled = UINT64_MAX;
    snprintf(bench->dir, sizeof bench->dir, "/tmp/queue-test-XXXXXX");
    assert_non_null(mkdtemp(bench->dir));
    open_queue(bench, 0);
    *state = bench;
    return 0;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

static int teardown(void **state)
{
    struct bench *bench = *state;

    if (bench->queue != NULL)
        close_queue(bench);
    nftw(bench->dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(bench);
    return 0;
}

static void done(struct wal_ticket *ticket, int status, const struct err *err)
{
    struct request *request = (struct request *)ticket;
    uint32_t at = 0;

    (void)err;
    request->done = true;
    request->status = status;
    for (unsigned i = 0; status == 0 && i < request->count; i++)
        queue_ticket_id(request->queue, ticket, &at, request->ids[i]);
}

static void put(struct bench *bench, const char *client_id, const char *value)
{
    struct txn_datapoint datapoint = {SLICE("key"), slice_of(value)};
    struct txn txn = {.product = 10,
                      .client_id = slice_of(client_id),
                      .timestamp_us = 1790000000250000,
                      .received_us = 1790000001000000,
                      .count = 1,
                      .datapoints = &datapoint};
    struct err err;

    if (queue_put(bench->producer, &txn, &err) != 0)
        fail_msg("%s", err.text);
}

/* Makes durable what was put. */
static void commit(struct bench *bench, struct request *request, unsigned count)
{
    static const struct timespec a_moment = {.tv_nsec = 100000};

    *request = (struct request){.queue = bench->queue, .count = count};
    request->ticket.done = done;
    wal_await(bench->producer, &request->ticket);
    wal_flush(bench->producer);
    while (!request->done) {
        mailbox_deliver(&bench->box);
        nanosleep(&a_moment, NULL);
    }
    assert_int_equal(request->status, 0);
}

static uint64_t position_of(const struct bench *bench, const char *id)
{
    char node[TXN_NODE_SIZE];
    uint64_t position = 0;

    assert_true(txn_id_parse(slice_of(id), node, &position));
    assert_string_equal(node, queue_node(bench->queue));
    return position;
}

static void an_id_leads_to_its_transaction(void **state)
{
    struct bench *bench = *state;
    struct txn_datapoint datapoints[TXN_MAX_DATAPOINTS];
    struct request request;
    struct buf storage = {0};
    struct txn txn;

    put(bench, NULL, "first");
    put(bench, NULL, "second");
    commit(bench, &request, 2);
    assert_int_equal(queue_find(bench->queue, position_of(bench, request.ids[1]), &txn, datapoints,
                                &storage, NULL),
                     0);
    assert_true(slice_is(txn.datapoints[0].value, "second"));
    assert_int_equal(queue_find(bench->queue, position_of(bench, request.ids[1]) + 1, &txn,
                                datapoints, &storage, NULL),
                     ERR_NOT_FOUND);
    buf_free(&storage);
}

static void a_repeat_gets_the_first_id_and_is_stored_once(void **state)
{
    struct bench *bench = *state;
    struct request request;
    char first[TXN_ID_SIZE];

    put(bench, "mine", "a");
    put(bench, "other", "b");
    put(bench, "mine", "c");
    commit(bench, &request, 3);
    assert_string_equal(request.ids[0], request.ids[2]);
    assert_string_not_equal(request.ids[0], request.ids[1]);
    memcpy(first, request.ids[0], sizeof first);
    put(bench, "mine", "d");
    commit(bench, &request, 1);
    assert_string_equal(request.ids[0], first);
    assert_int_equal(queue_status(bench->queue).accepted, 2);
    assert_int_equal(queue_status(bench->queue).log.duplicates, 2);
}

static void repeats_are_known_after_a_restart(void **state)
{
    struct bench *bench = *state;
    struct request request;
    char first[TXN_ID_SIZE];

    put(bench, "mine", "a");
    commit(bench, &request, 1);
    memcpy(first, request.ids[0], sizeof first);
    close_queue(bench);
    open_queue(bench, 0);
    put(bench, "mine", "b");
    commit(bench, &request, 1);
    assert_string_equal(request.ids[0], first);
    assert_int_equal(queue_status(bench->queue).accepted, 1);
}

static void counts_follow_the_cursor_and_survive_a_restart(void **state)
{
    struct bench *bench = *state;
    struct request request;
    struct queue_status status;
    uint64_t cursor;

    for (int i = 0; i < 10; i++)
        put(bench, NULL, "x");
    commit(bench, &request, 10);
    cursor = position_of(bench, request.ids[4]);
    queue_delivered(bench->queue, cursor, 4);
    status = queue_status(bench->queue);
    assert_int_equal(status.accepted, 10);
    assert_int_equal(status.pending_transactions, 6);
    close_queue(bench);
    open_queue(bench, cursor);
    status = queue_status(bench->queue);
    assert_int_equal(status.accepted, 10);
    assert_int_equal(status.pending_transactions, 6);
    assert_int_equal(status.pending_bytes, status.durable - cursor);
}

static void the_store_s_cursor_is_taken_over_if_the_log_has_been_there(void **state)
{
    struct bench *bench = *state;
    struct request request;
    struct err err;

    for (int i = 0; i < 10; i++)
        put(bench, NULL, "x");
    commit(bench, &request, 10);
    assert_int_equal(cursor_found(bench, position_of(bench, request.ids[7]), &err),
                     ERR_CONFLICT); /* of this process, which has delivered nothing */
    assert_int_equal(cursor_found(bench, 0, &err), 0);
    assert_int_equal(cursor_found(bench, position_of(bench, request.ids[7]), &err), 0);
    assert_int_equal(queue_status(bench->queue).pending_transactions, 3);
    assert_int_equal(cursor_found(bench, queue_status(bench->queue).durable + 1, &err),
                     ERR_CONFLICT);
    assert_non_null(strstr(err.text, "old copy"));
    assert_int_equal(queue_status(bench->queue).pending_transactions, 3);
}

/* One transaction, and the next life of the log; where it ended. */
static uint64_t end_one_life(struct bench *bench)
{
    struct request request;

    put(bench, NULL, "x");
    commit(bench, &request, 1);
    close_queue(bench);
    open_queue(bench, 0);
    return queue_status(bench->queue).durable;
}

static void what_the_log_has_lost_and_the_store_has_is_delivered(void **state)
{
    struct bench *bench = *state;
    uint64_t end = end_one_life(bench);
    struct request request;
    struct err err;

    put(bench, NULL, "y");
    commit(bench, &request, 1); /* before anything is known of the store */
    bench->stored = end;
    assert_int_equal(cursor_found(bench, end + 1000, &err), 0);
    assert_int_equal(queue_status(bench->queue).pending_transactions, 1);
    assert_int_equal(queue_status(bench->queue).pending_bytes,
                     queue_status(bench->queue).durable - position_of(bench, request.ids[0]));
    close_queue(bench);
    open_queue(bench, end + 1000);
    assert_int_equal(cursor_found(bench, end + 2000, &err), 0);
    assert_int_equal(cursor_found(bench, end + 2000, &err), 0);
    assert_int_equal(queue_status(bench->queue).pending_transactions, 1);
}

static void an_old_copy_takes_nothing_that_the_store_would_hold_for_delivered(void **state)
{
    const uint64_t later = (INT64_C(1790000000) - 1577836800) * 1000000 * 512;
    struct bench *bench = *state;
    struct request request;
    struct err err;

    end_one_life(bench);
    close_queue(bench);
    bench->clock_us = INT64_C(1790000000) * 1000000;
    open_queue(bench, 0);
    put(bench, NULL, "y");
    commit(bench, &request, 1);
    assert_true(position_of(bench, request.ids[0]) == later);
    assert_int_equal(cursor_found(bench, later + 1, &err), ERR_CONFLICT);
    assert_int_equal(cursor_found(bench, later - 1, &err), ERR_CONFLICT);
    close_queue(bench);
    /* A clock that stands or is wrong by decades changes nothing. */
    for (int64_t year = 0; year < 3; year++) {
        bench->clock_us = INT64_C(1577836799000000) * year * year;
        open_queue(bench, 0);
        put(bench, NULL, "z");
        commit(bench, &request, 1);
        assert_true(position_of(bench, request.ids[0]) > later);
        assert_true(position_of(bench, request.ids[0]) < later + (UINT64_C(4) << 32));
        close_queue(bench);
    }
    open_queue(bench, 0);
}

static void what_was_taken_while_the_cursor_was_contested_is_kept_for_later(void **state)
{
    struct bench *bench = *state;
    uint64_t end = end_one_life(bench);
    struct request request;
    uint64_t next;
    struct err err;

    assert_int_equal(cursor_found(bench, end, &err), 0);
    put(bench, NULL, "y");
    commit(bench, &request, 1);
    next = queue_status(bench->queue).durable;
    assert_int_equal(cursor_found(bench, next + 1, &err), ERR_CONFLICT);
    for (int restart = 0; restart < 3; restart++) {
        assert_non_null(strstr(err.text, "old copy"));
        assert_int_equal(queue_status(bench->queue).pending_transactions, restart + 1);
        close_queue(bench);
        open_queue(bench, end);
        assert_int_equal(cursor_found(bench, next + 1, &err), ERR_CONFLICT);
        put(bench, NULL, "z");
        commit(bench, &request, 1);
    }
    assert_int_equal(cursor_found(bench, end, &err), 0); /* put back */
    assert_int_equal(queue_status(bench->queue).pending_transactions, 4);
    queue_delivered(bench->queue, queue_status(bench->queue).durable, 4);
    next = queue_status(bench->queue).durable;
    close_queue(bench);
    open_queue(bench, end);
    assert_int_equal(cursor_found(bench, next, &err), 0);
}

static void what_another_engine_s_cursor_has_passed_is_looked_for(void **state)
{
    struct bench *bench = *state;
    struct request request;
    uint64_t first, second, after;
    struct err err;

    put(bench, NULL, "x");
    put(bench, NULL, "y");
    commit(bench, &request, 2);
    first = position_of(bench, request.ids[0]);
    second = position_of(bench, request.ids[1]);
    close_queue(bench);
    open_queue(bench, 0);
    after = queue_status(bench->queue).durable + 1000;
    assert_int_equal(cursor_found(bench, after, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.text, "old copy"));
    assert_int_equal(bench->asked, 1); /* for the last one */
    bench->settled = second;
    assert_int_equal(cursor_found(bench, after, &err), ERR_CONFLICT);
    assert_int_equal(bench->asked, 3);
    assert_int_equal(queue_status(bench->queue).pending_transactions, 2);
    bench->trouble = ERR_UNAVAILABLE;
    assert_int_equal(cursor_found(bench, after, &err), ERR_UNAVAILABLE);
    assert_int_equal(queue_status(bench->queue).pending_transactions, 2);
    bench->trouble = 0;
    bench->stored = second;
    assert_int_equal(cursor_found(bench, after, &err), 0);
    assert_int_equal(queue_status(bench->queue).pending_transactions, 0);
    /* All that there is may be settled. */
    close_queue(bench);
    open_queue(bench, second);
    bench->stored = 0;
    assert_int_equal(cursor_found(bench, after, &err), 0);
    close_queue(bench);
    /* What was delivered, as far as known, is not asked for, nor behind a cursor of this log. */
    open_queue(bench, after - 1000);
    bench->asked = 0;
    assert_int_equal(cursor_found(bench, after, &err), 0);
    close_queue(bench);
    open_queue(bench, first);
    assert_int_equal(cursor_found(bench, second, &err), 0);
    assert_int_equal(bench->asked, 0);
}

static void a_lost_end_is_no_end_of_the_store(void **state)
{
    struct bench *bench = *state;
    uint64_t end = end_one_life(bench);
    struct request request;
    struct err err;

    bench->stored = end;
    assert_int_equal(cursor_found(bench, end + 1000, &err), 0);
    assert_int_equal(cursor_found(bench, end + 1000, &err), 0);
    assert_int_equal(queue_status(bench->queue).pending_transactions, 0);
    assert_int_equal(queue_status(bench->queue).pending_bytes, 0);
    put(bench, NULL, "y");
    commit(bench, &request, 1);
    assert_int_equal(queue_status(bench->queue).pending_transactions, 1);
    queue_delivered(bench->queue, queue_status(bench->queue).durable, 1);
    assert_int_equal(queue_status(bench->queue).pending_transactions, 0);
    close_queue(bench);
    open_queue(bench, end); /* the ledger is behind */
    assert_int_equal(queue_status(bench->queue).pending_transactions, 1);
    assert_int_equal(queue_status(bench->queue).accepted, 2);
}

static void an_empty_log_never_gives_a_position_twice(void **state)
{
    struct bench *bench = *state;
    struct request request;

    close_queue(bench);
    open_queue(bench, 5000); /* the ledger knows more than the log: the log was deleted */
    put(bench, NULL, "x");
    commit(bench, &request, 1);
    assert_true(position_of(bench, request.ids[0]) >= 5000);
    assert_int_equal(queue_status(bench->queue).pending_transactions, 1);
}

static void the_oldest_pending_one_is_behind_the_cursor(void **state)
{
    struct bench *bench = *state;
    struct request request;
    int64_t received = 0;

    assert_int_equal(queue_oldest(bench->queue, &received, NULL), ERR_NOT_FOUND);
    put(bench, NULL, "x");
    commit(bench, &request, 1);
    assert_int_equal(queue_oldest(bench->queue, &received, NULL), 0);
    assert_int_equal(received, 1790000001000000);
    queue_delivered(bench->queue, queue_status(bench->queue).durable, 1);
    assert_int_equal(queue_oldest(bench->queue, &received, NULL), ERR_NOT_FOUND);
}

static void delivered_segments_are_recycled(void **state)
{
    struct bench *bench = *state;
    struct request request;
    struct queue_status status;

    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 60; i++)
            put(bench, NULL, "some value of a certain length, so that segments fill up");
        commit(bench, &request, 60);
        status = queue_status(bench->queue);
        queue_delivered(bench->queue, status.durable, 60);
        assert_true(status.log.segments <= 2);
    }
    assert_true(status.durable > 10 * SEGMENT);
    assert_int_equal(status.accepted, 200 * 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
        IN_FOLDER(an_id_leads_to_its_transaction),
        IN_FOLDER(a_repeat_gets_the_first_id_and_is_stored_once),
        IN_FOLDER(repeats_are_known_after_a_restart),
        IN_FOLDER(counts_follow_the_cursor_and_survive_a_restart),
        IN_FOLDER(the_store_s_cursor_is_taken_over_if_the_log_has_been_there),
        IN_FOLDER(what_the_log_has_lost_and_the_store_has_is_delivered),
        IN_FOLDER(an_old_copy_takes_nothing_that_the_store_would_hold_for_delivered),
        IN_FOLDER(what_was_taken_while_the_cursor_was_contested_is_kept_for_later),
        IN_FOLDER(what_another_engine_s_cursor_has_passed_is_looked_for),
        IN_FOLDER(a_lost_end_is_no_end_of_the_store),
        IN_FOLDER(an_empty_log_never_gives_a_position_twice),
        IN_FOLDER(the_oldest_pending_one_is_behind_the_cursor),
        IN_FOLDER(delivered_segments_are_recycled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
