/*
 * Fixed work for callgrind, which counts the instructions from START to DUMP, of all threads:
 *
 *   counted ingest    reads, checks and encodes 1,000 bodies
 *   counted append    puts 10,000 transactions into a queue and commits them, 100 at a time
 *   counted recover   opens a queue that holds them
 *
 * See scripts/instructions. Nothing here depends on the time, and but for names nothing on chance;
 * instructions of the kernel are not counted, so a disk costs nothing. The queue lies in a folder
 * that is made in TMPDIR, and stays there if something fails.
 */
#include "base/mem.h"
#include "ingest/ingest.h"
#include "queue/queue.h"
#include "json/json.h"

#include <ftw.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

enum { BODIES = 1000, DATAPOINTS = 10, ROUNDS = 100, IN_ROUND = 100, MAX_BODY = 2048 };

#define RECEIVED_US INT64_C(1790000000300000)

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "counted: %s\n", what);
    exit(1);
}

/* The same numbers in every run: Knuth's MMIX generator. */
static uint32_t chance(uint32_t below)
{
    static uint64_t state = 1;

    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(state >> 33) % below;
}

/* As clients write it: most text is plain, some is escaped, some is not ASCII. */
static struct slice make_body(void)
{
    static const char *const values[] = {"penn-labs", "robotics", "caf\\u00e9", "\xc3\xa9t",
                                         "a \\\"quoted\\\" one"};
    char *body = mem_zalloc(MAX_BODY + JSON_PADDING);
    size_t len;

    len = (size_t)sprintf(body,
                          "{\"product\": \"CLUBS\", \"pennkey\": \"user%u\", "
                          "\"timestamp\": %u.%u, \"data\": [",
                          chance(20000), 1780000000 + chance(10000000), chance(1000));
    for (unsigned i = 0; i < DATAPOINTS; i++) {
        uint32_t kind = chance(16);

        len += (size_t)sprintf(body + len, "%s{\"key\": \"club.visit.%u\", \"value\": \"%s-%u\"}",
                               i == 0 ? "" : ", ", chance(300), values[kind < 5 ? kind : 1],
                               chance(50000));
    }
    len += (size_t)sprintf(body + len, "]}");
    return (struct slice){body, len};
}

static struct ingest *open_ingest(void)
{
    struct txn_products *products;

    if (txn_products_open(NULL, &products, NULL) != 0)
        fail("no products");
    return ingest_open(products, MAX_BODY);
}

static void read_one(struct ingest *ingest, struct slice body, struct txn *txn)
{
    struct ingest_fault fault;

    if (ingest_one(ingest, body, RECEIVED_US, txn, &fault) != 0)
        fail(fault.message);
}

static void count_ingest(void)
{
    static struct slice bodies[BODIES];
    struct ingest *ingest = open_ingest();
    char *out = mem_alloc(TXN_MAX_ENCODED);
    struct txn txn;

    for (size_t i = 0; i < BODIES; i++)
        bodies[i] = make_body();
    read_one(ingest, bodies[0], &txn); /* what is set up once */
    CALLGRIND_START_INSTRUMENTATION;
    for (size_t i = 0; i < BODIES; i++) {
        read_one(ingest, bodies[i], &txn);
        txn_encode(&txn, out);
    }
    CALLGRIND_DUMP_STATS;
    free(out);
}

struct waiting {
    struct wal_ticket ticket;
    int status;
};

static void done(struct wal_ticket *ticket, int status, const struct err *err)
{
    (void)err;
    ((struct waiting *)ticket)->status = status;
}

static void wake(void *arg)
{
    sem_post(arg);
}

static struct queue *open_queue(const char *dir, uint64_t segment_bytes)
{
    struct queue_options options = {.data_dir = dir,
                                    .segment_bytes = segment_bytes,
                                    .max_bytes = 64 << 20,
                                    .sync = true,
                                    .dedup_ids = 1000,
                                    .dedup_window_s = 86400};
    struct queue *queue;
    struct err err;

    if (queue_open(&options, &queue, NULL, &err) != 0)
        fail(err.text);
    return queue;
}

/* Puts the transaction into the queue again and again, each time with another time. */
static void append(struct queue *queue, struct txn txn, bool counted)
{
    struct mailbox home;
    struct wal_producer *producer;
    struct err err;
    sem_t rung;

    sem_init(&rung, 0, 0);
    mailbox_init(&home, wake, &rung);
    producer = queue_producer_open(queue, &home, 1 << 20);
    if (counted)
        CALLGRIND_START_INSTRUMENTATION;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct waiting waiting = {.ticket.done = done, .status = 1};

        for (unsigned i = 0; i < IN_ROUND; i++) {
            txn.timestamp_us += 7919;
            if (queue_put(producer, &txn, &err) != 0)
                fail(err.text);
        }
        wal_await(producer, &waiting.ticket);
        wal_flush(producer);
        while (waiting.status == 1) {
            sem_wait(&rung);
            mailbox_deliver(&home);
        }
        if (waiting.status != 0)
            fail("a commit failed");
    }
    if (counted)
        CALLGRIND_DUMP_STATS;
    wal_producer_close(producer);
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void count_queue(bool recovering)
{
    const char *folder = getenv("TMPDIR");
    char dir[256];
    /* Recovery reads the unused rest of the last segment, too, which must not outweigh the records;
     * appending must not wait for new ones. */
    uint64_t segment_bytes = recovering ? 256 << 10 : 16 << 20;
    struct ingest *ingest = open_ingest();
    struct queue *queue;
    struct txn txn;

    snprintf(dir, sizeof dir, "%s/counted-XXXXXX", folder != NULL ? folder : "/tmp");
    if (mkdtemp(dir) == NULL)
        fail("no folder");
    read_one(ingest, make_body(), &txn);
    queue = open_queue(dir, segment_bytes);
    append(queue, txn, !recovering);
    queue_close(queue);
    if (recovering) {
        CALLGRIND_START_INSTRUMENTATION;
        queue = open_queue(dir, segment_bytes);
        CALLGRIND_DUMP_STATS;
        queue_close(queue);
    }
    nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    ingest_close(ingest);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "ingest") == 0)
        count_ingest();
    else if (argc == 2 && strcmp(argv[1], "append") == 0)
        count_queue(false);
    else if (argc == 2 && strcmp(argv[1], "recover") == 0)
        count_queue(true);
    else
        fail("usage: counted ingest|append|recover");
    return 0;
}
