/*
 * A model check: the real queue on a disk that fails, the forwarder's real decisions, and a store
 * and a ledger that are pretended, driven through random schedules of power cuts, torn writes,
 * failing syncs, full disks, stores that are down, answers that are lost or come late, and clocks
 * that jump. Clients repeat what they got no answer to, and sometimes what they did.
 *
 * After each schedule all is mended and forwarded, and then:
 *
 *   what a client was told is stored is there once, under the id that it was told;
 *   nothing is there twice, and nothing that nobody sent;
 *   what one client sent stands in the order in which it sent it;
 *   what the queue counts is what the store has and the ledger keeps.
 *
 * A schedule follows from its seed; of the log's own threads the committer is waited for at every
 * step, the one that prepares segments is not, so a power cut may meet it at another place. A seed
 * that fails is printed, however it fails; LABS_SEED=<n> replays it, with every step told (a few
 * times, if it needs the same race), and LABS_SCHEDULES=<n> says how many are tried.
 */
#include "support/fault_disk.h"

#include "base/log.h"
#include "forward/forward_step.h"
#include "queue/queue.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    CLIENTS = 3,
    MOST_SENT = 48, /* transactions of one client */
    MOST_TOGETHER = 3,
    MOST_BATCH = 12,
    STEPS = 70,
    SCHEDULES = 10000,
    SEGMENT_BYTES = 4096,
};

#define DAY_US (INT64_C(86400) * 1000000)

/* One transaction of one client, as all sides know it. */
struct sent {
    bool bad;   /* the store refuses it */
    bool acked; /* the client was told that it is safe ... */
    char id[TXN_ID_SIZE];
    unsigned stored; /* times */
    char stored_id[TXN_ID_SIZE];
    bool failed; /* in the ledger */
};

struct client {
    struct sent sent[MOST_SENT];
    unsigned count;    /* made so far */
    unsigned answered; /* of them acknowledged: those before this */
    unsigned last_stored;
    bool any_stored;
};

struct item {
    uint64_t position;
    unsigned client, number;
};

/* What a forwarder has asked the store to do. */
struct order {
    struct item items[MOST_BATCH];
    size_t count;
    uint64_t from, to;
};

struct world {
    uint64_t random;
    bool telling;
    struct fault_disk *faults;
    struct client clients[CLIENTS];
    int64_t wall_us;
    int64_t mono_ms;

    /* The engine, while it runs. */
    struct queue *queue;
    struct wal_producer *producer;
    struct queue_reader *reader;
    struct forward_state state;
    struct forward_event event;
    struct order batch;
    uint64_t batch_end;
    size_t passed;
    uint64_t cursor; /* the store's, as the forwarder knows it */

    /* The ledger: always durable, sometimes unwilling. */
    uint64_t ledger_cursor;

    /* The store. */
    bool store_down, has_cursor;
    uint64_t store_cursor;
    unsigned rows;
    bool has_late; /* an order whose connection broke, and which may still be carried out */
    struct order late;

    struct mailbox home;
    pthread_mutex_t lock;
    pthread_cond_t rings;
    bool rung;
};

static uint64_t pick(struct world *world, uint64_t below)
{
    world->random ^= world->random << 13; /* xorshift64, G. Marsaglia 2003 */
    world->random ^= world->random >> 7;
    world->random ^= world->random << 17;
    return (world->random >> 11) % below;
}

static bool chance(struct world *world, unsigned percent)
{
    return pick(world, 100) < percent;
}

PRINTF_LIKE(2, 3)
static void tell(const struct world *world, const char *fmt, ...)
{
    va_list args;

    if (!world->telling)
        return;
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
}

/* ---- the engine's life */

static void ring(void *arg)
{
    struct world *world = arg;

    pthread_mutex_lock(&world->lock);
    world->rung = true;
    pthread_cond_signal(&world->rings);
    pthread_mutex_unlock(&world->lock);
}

static void wait_for_mail(struct world *world)
{
    pthread_mutex_lock(&world->lock);
    while (!world->rung)
        pthread_cond_wait(&world->rings, &world->lock);
    world->rung = false;
    pthread_mutex_unlock(&world->lock);
    mailbox_deliver(&world->home);
}

static bool start_engine(struct world *world)
{
    struct queue_options options = {
        .disk = fault_disk_of(world->faults),
        .data_dir = "data",
        .segment_bytes = SEGMENT_BYTES,
        .max_bytes = 16 * SEGMENT_BYTES,
        .sync = true,
        .dedup_ids = 1000,
        .dedup_window_s = UINT32_MAX, /* a clock that jumps ahead would pass any other */
        .cursor = world->ledger_cursor,
        .clock_us = world->wall_us,
        .heal_every_ms = 1,
    };
    struct wal_recovery recovery;
    struct err err = {0};

    if (queue_open(&options, &world->queue, &recovery, &err) != 0) {
        tell(world, "start: %s", err.text);
        world->queue = NULL;
        return false;
    }
    tell(world, "start: %" PRIu64 " records, cursor %" PRIu64, recovery.records, options.cursor);
    assert_int_equal(recovery.damaged_stretches, 0);
    world->producer = queue_producer_open(world->queue, &world->home, 1 << 20);
    world->reader = queue_reader_open(world->queue, 0);
    world->state = (struct forward_state){
        .retry_min_ms = 10, .retry_max_ms = 1000, .random = world->random | 1};
    world->event = (struct forward_event){.kind = EVENT_START};
    return true;
}

static void stop_engine(struct world *world)
{
    if (world->queue == NULL)
        return;
    wal_flush(world->producer);
    while (!wal_producer_idle(world->producer))
        wait_for_mail(world);
    queue_reader_close(world->reader);
    wal_producer_close(world->producer);
    queue_close(world->queue);
    world->queue = NULL;
}

static void mend_disk(struct world *world)
{
    fault_disk_fail(world->faults, FAULT_SYNC, NULL, 0, 0, 0);
    fault_disk_fail(world->faults, FAULT_WRITE, NULL, 0, 0, 0);
    fault_disk_limit(world->faults, UINT64_MAX);
}

/* The power is off already, or goes off now (and `again` soon); or an orderly restart. */
static void restart(struct world *world, bool power, bool again)
{
    tell(world, power ? "power cut" : "restart");
    if (power)
        fault_disk_crash_at(world->faults, 0);
    stop_engine(world);
    mend_disk(world);
    fault_disk_restart(world->faults, power);
    if (again) /* the next cut comes while it opens */
        fault_disk_crash_at(world->faults, 1 + pick(world, 12));
    while (!start_engine(world)) {
        assert_true(fault_disk_crashed(world->faults));
        fault_disk_restart(world->faults, true);
    }
}

/* ---- clients */

struct told {
    struct wal_ticket ticket;
    struct world *world;
    unsigned calls;
    int status;
    char ids[MOST_TOGETHER][TXN_ID_SIZE];
};

static void hear(struct wal_ticket *ticket, int status, const struct err *err)
{
    struct told *told = (struct told *)ticket;
    uint32_t iterator = 0;

    (void)err;
    told->calls++;
    told->status = status;
    for (uint32_t i = 0; status == 0 && i < ticket->records; i++)
        queue_ticket_id(told->world->queue, ticket, &iterator, told->ids[i]);
}

static int put_one(struct world *world, unsigned client, unsigned number, struct err *err)
{
    const struct sent *sent = &world->clients[client].sent[number];
    char key[16], value[600], id[16];
    struct txn_datapoint datapoint;
    struct txn txn;

    snprintf(key, sizeof key, "%u", client);
    memset(value, '.', sizeof value);
    snprintf(value, 8, "%s%u", sent->bad ? "bad" : "ok", number);
    value[strlen(value)] = ' ';
    snprintf(id, sizeof id, "%u-%u", client, number);
    datapoint = (struct txn_datapoint){
        slice_of(key), {value, 10 + (size_t)(number * 97 + client * 31) % (sizeof value - 10)}};
    txn = (struct txn){
        .product = client,
        .client_id = slice_of(id),
        .timestamp_us = world->wall_us,
        .received_us = world->wall_us,
        .count = 1,
        .datapoints = &datapoint,
    };
    return queue_put(world->producer, &txn, err);
}

/* Sends [first, first + count) in one request, and takes in the answer unless it is lost. */
static void request(struct world *world, unsigned number, unsigned first, unsigned count, bool lost)
{
    struct client *client = &world->clients[number];
    struct told told = {.world = world, .ticket.done = hear};
    struct err err = {0};
    int code = 0;

    for (unsigned i = 0; i < count && code == 0; i++)
        code = put_one(world, number, first + i, &err);
    if (code != 0) {
        wal_forget(world->producer);
        tell(world, "client %u: %u to %u refused: %s", number, first, first + count - 1, err.text);
        return;
    }
    wal_await(world->producer, &told.ticket);
    wal_flush(world->producer);
    while (told.calls == 0)
        wait_for_mail(world);
    tell(world, "client %u: %u to %u, %s%s", number, first, first + count - 1,
         told.status == 0 ? "accepted" : "failed", lost ? ", answer lost" : "");
    if (told.status != 0 || lost || fault_disk_crashed(world->faults))
        return; /* an answer given after the power went is none */
    for (unsigned i = 0; i < count; i++) {
        struct sent *sent = &client->sent[first + i];

        if (sent->acked)
            assert_string_equal(sent->id, told.ids[i]);
        sent->acked = true;
        memcpy(sent->id, told.ids[i], TXN_ID_SIZE);
    }
    if (first + count > client->answered)
        client->answered = first + count;
}

/* What was not answered is sent again, the same; else something new, or something old. */
static void a_client_sends(struct world *world)
{
    unsigned number = (unsigned)pick(world, CLIENTS);
    struct client *client = &world->clients[number];
    unsigned count;

    if (client->answered > 0 && chance(world, 10)) {
        request(world, number, (unsigned)pick(world, client->answered), 1, false);
        return;
    }
    if (client->count == client->answered) {
        count = 1 + (unsigned)pick(world, MOST_TOGETHER);
        if (client->count + count > MOST_SENT)
            return;
        for (unsigned i = 0; i < count; i++)
            client->sent[client->count++].bad = chance(world, 8);
    }
    request(world, number, client->answered, client->count - client->answered, chance(world, 15));
}

/* ---- the store */

static bool has_bad(const struct world *world, const struct order *order)
{
    for (size_t i = 0; i < order->count; i++) {
        if (world->clients[order->items[i].client].sent[order->items[i].number].bad)
            return true;
    }
    return false;
}

static void store(struct world *world, const struct order *order)
{
    for (size_t i = 0; i < order->count; i++) {
        const struct item *item = &order->items[i];
        struct client *client = &world->clients[item->client];
        struct sent *sent = &client->sent[item->number];

        tell(world, "    %u-%u at %" PRIu64, item->client, item->number, item->position);
        assert_int_equal(sent->stored, 0);
        assert_true(!client->any_stored || item->number > client->last_stored);
        client->any_stored = true;
        client->last_stored = item->number;
        sent->stored++;
        txn_id_format(sent->stored_id, queue_node(world->queue), item->position);
        world->rows++;
    }
    world->store_cursor = order->to;
}

/* As store_write(): all of it and the cursor, or nothing. */
static int carry_out(struct world *world, const struct order *order)
{
    if (!world->has_cursor || world->store_cursor != order->from)
        return ERR_CONFLICT;
    if (has_bad(world, order))
        return ERR_REFUSED;
    store(world, order);
    return 0;
}

static void the_late_order_arrives(struct world *world)
{
    int code;

    if (!world->has_late)
        return;
    world->has_late = false;
    code = carry_out(world, &world->late);
    tell(world, "the store carries out a late order: %d", code);
}

/* ---- the forwarder, as forward_write.c has it */

static int look(void *arg, uint64_t position, enum queue_fate *ret, struct err *err)
{
    struct world *world = arg;
    struct txn_datapoint datapoints[TXN_MAX_DATAPOINTS];
    struct buf bytes = {0};
    unsigned client, number;
    char id[TXN_ID_SIZE];
    struct txn txn;
    int code = queue_find(world->queue, position, &txn, datapoints, &bytes, err);

    if (code == 0) {
        snprintf(id, sizeof id, "%.*s", SLICE_ARG(txn.client_id));
        assert_int_equal(sscanf(id, "%u-%u", &client, &number), 2);
        txn_id_format(id, queue_node(world->queue), position);
        *ret = strcmp(world->clients[client].sent[number].stored_id, id) == 0 ? QUEUE_STORED
               : world->clients[client].sent[number].failed                   ? QUEUE_SETTLED
                                                                              : QUEUE_ABSENT;
        tell(world, "forwarder: looked for %u-%u: %d", client, number, (int)*ret);
    }
    buf_free(&bytes);
    return code;
}

static struct forward_event connect_store(struct world *world)
{
    struct err err = {0};

    if (world->store_down)
        return (struct forward_event){.kind = EVENT_UNAVAILABLE};
    if (!world->has_cursor) {
        world->has_cursor = true;
        world->store_cursor = queue_status(world->queue).cursor;
    }
    world->cursor = world->store_cursor;
    if (queue_cursor_found(world->queue, world->cursor, look, world, &err) != 0) {
        if (!fault_disk_crashed(world->faults))
            fail_msg("%s", err.text);
        return (struct forward_event){.kind = EVENT_UNAVAILABLE};
    }
    world->ledger_cursor = world->cursor;
    queue_reader_seek(world->reader, world->cursor);
    tell(world, "forwarder: connected at %" PRIu64, world->cursor);
    return (struct forward_event){.kind = EVENT_CONNECTED};
}

static struct forward_event load(struct world *world)
{
    size_t most = 1 + pick(world, MOST_BATCH);
    struct queue_item item;
    struct err err;

    world->batch.count = 0;
    world->passed = 0;
    world->batch_end = 0;
    while (world->batch.count < most) {
        int code = queue_reader_next(world->reader, &item, &err);
        struct item *place = &world->batch.items[world->batch.count];
        char id[32];

        if (code != 0) {
            assert_int_not_equal(code, ERR_CORRUPT);
            break;
        }
        snprintf(id, sizeof id, "%.*s", SLICE_ARG(item.txn.client_id));
        assert_int_equal(sscanf(id, "%u-%u", &place->client, &place->number), 2);
        place->position = item.position;
        world->batch.count++;
        world->batch_end = item.next;
    }
    if (world->batch.count == 0)
        return (struct forward_event){.kind = EVENT_NOTHING};
    return (struct forward_event){.kind = EVENT_BATCH, .count = world->batch.count};
}

static struct forward_event write_range(struct world *world)
{
    const struct forward_state *state = &world->state;
    struct order order = {.from = world->cursor};
    int code;

    order.count = state->last - state->first;
    memcpy(order.items, world->batch.items + state->first, order.count * sizeof *order.items);
    order.to =
        state->last == state->count ? world->batch_end : world->batch.items[state->last].position;
    if (world->store_down)
        return (struct forward_event){.kind = EVENT_UNAVAILABLE};
    if (chance(world, 8)) { /* the connection breaks before the order got through, or after */
        world->late = order;
        world->has_late = true;
        if (chance(world, 50))
            the_late_order_arrives(world);
        tell(world, "forwarder: no answer");
        return (struct forward_event){.kind = EVENT_UNAVAILABLE};
    }
    code = carry_out(world, &order);
    tell(world, "forwarder: %zu transactions up to %" PRIu64 ": %d", order.count, order.to, code);
    if (code == ERR_REFUSED)
        return (struct forward_event){.kind = EVENT_REFUSED};
    if (code == ERR_CONFLICT)
        return (struct forward_event){.kind = EVENT_CONFLICT};
    world->cursor = order.to;
    if (!chance(world, 10)) /* else the ledger could not be written: it follows */
        world->ledger_cursor = order.to;
    queue_delivered(world->queue, order.to, state->last - world->passed);
    world->passed = state->last;
    return (struct forward_event){.kind = EVENT_STORED};
}

static struct forward_event fail_one(struct world *world)
{
    const struct item *item = &world->batch.items[world->state.first];
    struct sent *sent = &world->clients[item->client].sent[item->number];

    if (chance(world, 20))
        return (struct forward_event){.kind = EVENT_UNAVAILABLE};
    if (chance(world, 5)) /* as if it could not be read any more: begins anew */
        return (struct forward_event){.kind = EVENT_CONFLICT};
    assert_true(sent->bad);
    sent->failed = true; /* again, if the ledger has it from before the last connection */
    txn_id_format(sent->stored_id, queue_node(world->queue), item->position);
    return (struct forward_event){.kind = EVENT_FAILED};
}

static void the_forwarder_acts(struct world *world)
{
    switch (forward_step(&world->state, &world->event, world->mono_ms)) {
    case ACTION_CONNECT:
        world->event = connect_store(world);
        break;
    case ACTION_FINISH:
        world->event = (struct forward_event){.kind = EVENT_NOTHING};
        break;
    case ACTION_LOAD:
        world->event = load(world);
        break;
    case ACTION_WRITE:
        world->event = write_range(world);
        break;
    case ACTION_FAIL:
        world->event = fail_one(world);
        break;
    case ACTION_WAIT:
        world->event = (struct forward_event){.kind = EVENT_TIME};
        world->mono_ms = world->state.retry_at_ms;
        break;
    }
}

/* ---- schedules */

static void the_disk_gets_sick(struct world *world)
{
    switch (pick(world, 4)) {
    case 0:
        fault_disk_fail(world->faults, FAULT_SYNC, ".seg", (unsigned)pick(world, 3), 1, EIO);
        break;
    case 1:
        fault_disk_fail(world->faults, FAULT_WRITE, ".seg", (unsigned)pick(world, 3), 1, EIO);
        break;
    case 2:
        fault_disk_limit(world->faults, 3 * SEGMENT_BYTES);
        break;
    default:
        mend_disk(world);
        break;
    }
}

/* As soon as the disk is well the log goes on by itself; not if the power goes before, or if it
 * is full of what was not forwarded. */
static void the_log_heals(struct world *world)
{
    const struct timespec pause = {.tv_nsec = 100000};

    mend_disk(world);
    for (int i = 0; i < 100 && queue_refusing(world->queue, NULL); i++)
        nanosleep(&pause, NULL);
    tell(world, queue_refusing(world->queue, NULL) ? "the log still refuses" : "the log goes on");
}

static void step(struct world *world)
{
    uint64_t what = pick(world, 100);

    if (fault_disk_crashed(world->faults)) {
        restart(world, true, chance(world, 30));
        return;
    }
    if (queue_refusing(world->queue, NULL) && chance(world, 50)) {
        the_log_heals(world);
        return;
    }
    world->mono_ms += (int64_t)pick(world, 50);
    world->wall_us += (int64_t)pick(world, 1000000);
    if (what < 42)
        a_client_sends(world);
    else if (what < 80)
        the_forwarder_acts(world);
    else if (what < 84)
        world->store_down = !world->store_down;
    else if (what < 88)
        the_late_order_arrives(world);
    else if (what < 91)
        the_disk_gets_sick(world);
    else if (what < 93)
        world->wall_us += ((int64_t)pick(world, 800) - 400) * DAY_US;
    else if (what < 96)
        fault_disk_crash_at(world->faults, 1 + pick(world, 10));
    else if (what < 98)
        restart(world, chance(world, 50), chance(world, 30));
}

/* Everything works again: what was sent is repeated until it is answered, and forwarded. */
static void settle(struct world *world)
{
    unsigned turns = 0;

    world->store_down = false;
    world->has_late = false;
    restart(world, true, false);
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *client = &world->clients[i];

        for (turns = 0; client->answered < client->count; turns++) {
            assert_true(turns < 1000);
            request(world, i, client->answered, client->count - client->answered, false);
            if (client->answered == client->count)
                break;
            for (int j = 0; j < 20; j++) /* the log is full: make room ... */
                the_forwarder_acts(world);
            queue_wait(world->queue, UINT64_MAX, 5); /* ... or it is healing */
        }
    }
    for (turns = 0; queue_status(world->queue).pending_transactions > 0; turns++) {
        assert_true(turns < 20000);
        the_forwarder_acts(world);
    }
}

static void check(const struct world *world)
{
    uint64_t stored = 0, failed = 0;

    for (unsigned i = 0; i < CLIENTS; i++) {
        for (unsigned j = 0; j < world->clients[i].count; j++) {
            const struct sent *sent = &world->clients[i].sent[j];

            assert_true(sent->acked);
            assert_int_equal(sent->stored, !sent->bad);
            assert_int_equal(sent->failed, sent->bad);
            assert_string_equal(sent->id, sent->stored_id);
            stored += sent->stored;
            failed += sent->failed;
        }
    }
    assert_int_equal(stored, world->rows);
    assert_int_equal(queue_status(world->queue).accepted, stored + failed);
}

static void run_schedule(uint64_t seed, bool telling)
{
    struct world world = {
        .random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1,
        .telling = telling,
        .faults = fault_disk_new(seed),
        .wall_us = 20000 * DAY_US,
    };
    struct disk *disk = fault_disk_of(world.faults);

    for (int i = 0; i < 8; i++)
        pick(&world, 2); /* seeds that are alike part ways */
    assert_int_equal(disk->make_dir(disk, "data"), 0);
    assert_int_equal(disk->sync_dir(disk, "."), 0);
    pthread_mutex_init(&world.lock, NULL);
    pthread_cond_init(&world.rings, NULL);
    mailbox_init(&world.home, ring, &world);
    assert_true(start_engine(&world));
    for (int i = 0; i < STEPS; i++)
        step(&world);
    settle(&world);
    check(&world);
    stop_engine(&world);
    fault_disk_free(world.faults);
    pthread_cond_destroy(&world.rings);
    pthread_mutex_destroy(&world.lock);
}

/* What to say if the schedule that runs fails, also when an assertion of the engine ends the
 * program; empty: nothing that would have to be replayed. */
static char last_words[96];
static size_t last_words_len;

static void name_the_seed(int number)
{
    if (write(STDOUT_FILENO, last_words, last_words_len) < 0)
        last_words_len = 0;
    if (number != 0)
        signal(number, SIG_DFL);
}

static void what_was_acknowledged_is_stored_once_in_every_schedule(void **state)
{
    const char *seed = getenv("LABS_SEED");
    const char *schedules = getenv("LABS_SCHEDULES");
    uint64_t count = schedules != NULL ? strtoull(schedules, NULL, 10) : SCHEDULES;

    (void)state;
    log_open((enum log_level)(LOG_ERROR + 1), false); /* faults are what this is about */
    signal(SIGABRT, name_the_seed);
    if (seed != NULL) {
        run_schedule(strtoull(seed, NULL, 10), true);
        return;
    }
    for (uint64_t i = 1; i <= count; i++) {
        last_words_len =
            (size_t)snprintf(last_words, sizeof last_words,
                             "seed %" PRIu64 " fails; LABS_SEED=%" PRIu64 " replays it\n", i, i);
        run_schedule(i, false);
    }
    last_words_len = 0;
    printf("told: %" PRIu64 " schedules\n", count);
}

static int after(void **state)
{
    (void)state;
    name_the_seed(0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(what_was_acknowledged_is_stored_once_in_every_schedule, after),
    };

    return cmocka_run_group_tests_name("forward/simulate", tests, NULL, NULL);
}
