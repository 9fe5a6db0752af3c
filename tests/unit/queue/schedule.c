/*
 * Schedules that a seed chooses: rounds of new ids and of repeats, deliveries, faults of any call
 * of the disk, a disk that fills and frees, steps of the clock, ends of the process and of the
 * power, in any order. Whatever it was: what was acknowledged comes to the store once, in order and
 * where it was said to be, a repeat is known for one, and what is accepted is what is delivered and
 * what is pending.
 */
#include "queue/queue.h"
#include "support/fault_disk.h"
#include "support/request.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

enum { SEGMENT = 4096, MOST = 2000, IN_A_ROUND = 5, STEPS = 120, SEEDS = 150, DAY_S = 86400 };

static const struct timespec a_moment = {.tv_nsec = 50000};

/* By the number that each id carries. */
struct one {
    bool acknowledged;
    uint64_t position;
    unsigned stored; /* times */
    uint64_t stored_at;
};

struct play {
    uint64_t seed, random;
    struct fault_disk *faults;
    struct queue_options options;
    struct queue *queue;
    struct queue_reader *reader;
    struct mailbox box;
    struct wal_producer *producer;
    int64_t now_us;
    struct one all[MOST];
    unsigned count;
    uint64_t cursor;   /* of the store, which is never at fault */
    uint64_t accepted; /* as last told */
    bool repeats;
};

#define CHECK(play, what)                                                                          \
    do {                                                                                           \
        if (!(what))                                                                               \
            fail_msg("seed %" PRIu64 ": %s", (play)->seed, #what);                                 \
    } while (0)

static uint64_t pick(struct play *play, uint64_t below)
{
    play->random ^= play->random << 13;
    play->random ^= play->random >> 7;
    play->random ^= play->random << 17;
    return (play->random >> 11) % below;
}

static void no_wake(void *arg)
{
    (void)arg;
}

static int look(void *arg, uint64_t position, enum queue_fate *ret, struct err *err)
{
    struct play *play = arg;

    (void)err;
    *ret = QUEUE_ABSENT;
    for (unsigned i = 0; i < play->count; i++) {
        if (play->all[i].stored > 0 && play->all[i].stored_at == position)
            *ret = QUEUE_STORED;
    }
    return 0;
}

static bool open_queue(struct play *play, struct err *err)
{
    play->options.clock_us = play->now_us;
    if (queue_open(&play->options, &play->queue, NULL, err) != 0)
        return false;
    mailbox_init(&play->box, no_wake, NULL);
    play->producer = queue_producer_open(play->queue, &play->box, 1 << 20);
    if (queue_cursor_found(play->queue, play->cursor, look, play, err) != 0)
        return false;
    play->reader = queue_reader_open(play->queue, play->cursor);
    return true;
}

static void close_queue(struct play *play)
{
    if (play->queue == NULL)
        return;
    queue_reader_close(play->reader);
    wal_producer_close(play->producer);
    queue_close(play->queue);
    play->queue = NULL;
    play->reader = NULL;
}

static void cure(struct play *play)
{
    for (int op = 0; op < FAULT_OPS; op++)
        fault_disk_fail(play->faults, (enum fault_op)op, NULL, 0, 0, 0);
    fault_disk_limit(play->faults, UINT64_MAX);
    fault_disk_crash_at(play->faults, UINT32_MAX);
}

static bool put(struct play *play, struct request *request)
{
    char id[32];
    char value[900];
    struct txn_datapoint datapoint = {SLICE("key"), {value, 20 + pick(play, sizeof value - 20)}};
    struct txn txn = {.product = 10,
                      .client_id = {id, (size_t)snprintf(id, sizeof id, "id-%u", request->number)},
                      .timestamp_us = play->now_us,
                      .received_us = play->now_us,
                      .count = 1,
                      .datapoints = &datapoint};

    memset(value, 'v', sizeof value);
    if (queue_put(play->producer, &txn, NULL) != 0)
        return false;
    request->ticket.done = request_done;
    wal_await(play->producer, &request->ticket);
    return true;
}

static void answered(struct play *play, const struct request *request)
{
    struct one *one = &play->all[request->number];

    if (request->status != 0)
        return;
    if (one->acknowledged)
        CHECK(play, one->position == request->position);
    if (one->stored > 0)
        CHECK(play, one->stored_at == request->position);
    one->acknowledged = true;
    one->position = request->position;
}

/* One round, of new ids and of repeats. */
static void send(struct play *play)
{
    struct request requests[IN_A_ROUND] = {0};
    unsigned count = 1 + (unsigned)pick(play, IN_A_ROUND);
    unsigned sent = 0;

    while (sent < count) {
        requests[sent].number = play->repeats && play->count > 0 && pick(play, 3) == 0
                                    ? (unsigned)pick(play, play->count)
                                    : play->count++;
        if (!put(play, &requests[sent]))
            break;
        sent++;
    }
    wal_flush(play->producer);
    for (unsigned i = 0; i < sent; i++) {
        while (!requests[i].done) {
            mailbox_deliver(&play->box);
            nanosleep(&a_moment, NULL);
        }
        answered(play, &requests[i]);
    }
}

static unsigned number_in(struct slice id)
{
    unsigned number = 0;

    for (size_t i = strlen("id-"); i < id.len; i++)
        number = number * 10 + (unsigned)(id.at[i] - '0');
    return number;
}

static void store(struct play *play, const struct queue_item *item)
{
    unsigned number = number_in(item->txn.client_id);
    struct one *one = &play->all[number];

    CHECK(play, number < play->count);
    CHECK(play, one->stored == 0);
    CHECK(play, item->position >= play->cursor);
    if (one->acknowledged)
        CHECK(play, one->position == item->position);
    one->stored++;
    one->stored_at = item->position;
}

/* True if all there was is delivered. */
static bool deliver(struct play *play, uint64_t most)
{
    uint64_t count = 0;
    struct queue_item item;
    int code = 0;

    while (count < most && (code = queue_reader_next(play->reader, &item, NULL)) == 0) {
        store(play, &item);
        play->cursor = item.next;
        count++;
    }
    CHECK(play, code == 0 || code == ERR_NOT_FOUND || code == ERR_IO);
    if (count > 0 && pick(play, 8) != 0) /* or an answer was lost, and the store is asked */
        queue_delivered(play->queue, play->cursor, count);
    else if (count > 0)
        CHECK(play,
              queue_cursor_found(play->queue, play->cursor, look, play, NULL) != ERR_CONFLICT);
    return code == ERR_NOT_FOUND;
}

/* Ids are given up for want of room, and where a segment cannot be read before it goes; so where
 * repeats are sent, that does not happen. */
static void fall_ill(struct play *play)
{
    static const char *const places[] = {NULL, ".seg", "spare", ".new", "data/queue", "ids", "new"};
    static const int numbers[] = {EIO, EIO, EROFS, EMFILE, ENOSPC};
    enum fault_op op = (enum fault_op)pick(play, FAULT_OPS);
    const char *where = places[pick(play, 7)];
    int number = numbers[pick(play, play->repeats ? 4 : 5)];

    if (play->repeats && op == FAULT_READ)
        where = ".ids";
    fault_disk_fail(play->faults, op, where, (unsigned)pick(play, 12), 1 + (unsigned)pick(play, 4),
                    number);
}

static void restart(struct play *play)
{
    struct err err = {0};
    bool power = fault_disk_crashed(play->faults) || pick(play, 2) == 0;

    close_queue(play);
    fault_disk_restart(play->faults, power);
    fault_disk_crash_at(play->faults, UINT32_MAX);
    if (pick(play, 2) == 0) /* what the ledger knows may be of before, and ends a little earlier */
        play->options.cursor = play->cursor;
    for (int tries = 0; !open_queue(play, &err); tries++) {
        close_queue(play);
        power = fault_disk_crashed(play->faults);
        fault_disk_restart(play->faults, power);
        if (tries > 2)
            cure(play);
        if (tries > 3)
            fail_msg("seed %" PRIu64 ": %s", play->seed, err.text);
    }
}

static void check_status(struct play *play)
{
    struct queue_status status = queue_status(play->queue);
    unsigned told = 0;

    for (unsigned i = 0; i < play->count; i++)
        told += play->all[i].acknowledged;
    CHECK(play, status.accepted >= told);
    CHECK(play, status.accepted >= play->accepted);
    CHECK(play, status.damaged == 0);
    CHECK(play, status.cursor <= status.durable || status.pending_transactions == 0);
    play->accepted = status.accepted;
}

static void step(struct play *play)
{
    switch (pick(play, 16)) {
    default:
        send(play);
        break;
    case 7:
    case 8:
    case 9:
        deliver(play, 1 + pick(play, 12));
        break;
    case 10:
        fall_ill(play);
        break;
    case 11:
        if (pick(play, 3) == 0)
            fault_disk_crash_at(play->faults, 1 + pick(play, 40));
        break;
    case 12:
        if (pick(play, 2) == 0)
            cure(play);
        break;
    case 13:
        if (pick(play, 2) == 0)
            restart(play);
        break;
    case 14:
        play->now_us += INT64_C(1000000) * (int64_t)pick(play, 100);
        if (pick(play, 6) == 0)
            play->now_us -= INT64_C(1000000) * DAY_S * 400;
        break;
    }
    check_status(play);
    if (fault_disk_crashed(play->faults))
        restart(play);
}

static void begin(struct play *play, uint64_t seed)
{
    *play = (struct play){.seed = seed,
                          .random = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15),
                          .faults = fault_disk_new(seed),
                          .repeats = seed % 2 == 0,
                          .now_us = 1790000000000000};
    play->options = (struct queue_options){.disk = fault_disk_of(play->faults),
                                           .data_dir = "data",
                                           .segment_bytes = SEGMENT,
                                           .max_bytes = (4 + pick(play, 60)) * SEGMENT,
                                           .sync = true,
                                           .dedup_ids = MOST,
                                           .dedup_window_s = 100 * DAY_S,
                                           .heal_every_ms = 1};
    assert_int_equal(play->options.disk->make_dir(play->options.disk, "data"), 0);
    assert_int_equal(play->options.disk->sync_dir(play->options.disk, "."), 0);
}

static void finish(struct play *play)
{
    struct queue_status status;
    uint64_t stored = 0;

    cure(play);
    restart(play);
    while (!deliver(play, 100))
        ;
    CHECK(play, queue_cursor_found(play->queue, play->cursor, look, play, NULL) == 0);
    for (unsigned i = 0; i < play->count; i++) {
        if (play->all[i].acknowledged)
            CHECK(play, play->all[i].stored == 1);
        stored += play->all[i].stored;
    }
    status = queue_status(play->queue);
    CHECK(play, status.pending_transactions == 0);
    if (status.accepted != stored)
        fail_msg("seed %" PRIu64 ": accepted %" PRIu64 ", stored %" PRIu64, play->seed,
                 status.accepted, stored);
}

static void run(uint64_t seed)
{
    static struct play play;
    struct err err;

    begin(&play, seed);
    CHECK(&play, open_queue(&play, &err));
    for (unsigned i = 0; i < STEPS; i++)
        step(&play);
    finish(&play);
    close_queue(&play);
    fault_disk_free(play.faults);
}

static void whatever_happens_in_whatever_order_all_is_stored_once(void **state)
{
    (void)state;

    for (uint64_t seed = 0; seed < SEEDS; seed++)
        run(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_happens_in_whatever_order_all_is_stored_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
