/*
 * A forwarder at work, for tests: the real queue on a disk that fails, the real ledger, and the
 * embedded store, in a folder of their own. Rows whose value is "bad" are refused, and those whose
 * value is "later" cannot be stored now, for as long as a test wants.
 */
#ifndef SUPPORT_FORWARDING_H
#define SUPPORT_FORWARDING_H

#include "support/fault_disk.h"

#include "base/clock.h"
#include "forward/forward.h"
#include "store/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define REFUSE                                                                                     \
    "CREATE TRIGGER refuse BEFORE INSERT ON event WHEN new.value = 'bad'"                          \
    " BEGIN SELECT RAISE(ABORT, 'refused'); END;"
#define REFUSE_NO_MORE "DROP TRIGGER refuse;"

/* An error that is no fault of the row's: an index of words is torn. */
#define DELAY                                                                                      \
    "CREATE VIRTUAL TABLE torn USING fts5 (word); INSERT INTO torn VALUES ('a');"                  \
    "DELETE FROM torn_content;"                                                                    \
    "CREATE TRIGGER delay BEFORE INSERT ON event WHEN new.value = 'later'"                         \
    " BEGIN INSERT INTO torn (torn) VALUES ('integrity-check'); END;"
#define DELAY_NO_MORE "DROP TRIGGER delay;"

struct forwarding {
    char folder[256], url[320], ledger_path[320];
    struct fault_disk *faults;
    struct queue *queue;
    struct ledger *ledger;
    struct txn_products *products;
    struct users *users;
    struct forward *forward;
    struct mailbox box;
    struct wal_producer *producer;
    const char *window;
    uint64_t batch_rows;
    int64_t batch_age_ms;
    int log; /* what is said in the log */
    int log_before;
};

/* Waits for a condition, as long as a test may take. */
#define forwarding_wait(condition)                                                                 \
    do {                                                                                           \
        const struct timespec forwarding_pause = {.tv_nsec = 1000000};                             \
                                                                                                   \
        for (int forwarding_turns = 0; !(condition); forwarding_turns++) {                         \
            if (forwarding_turns > 10000)                                                          \
                fail_msg("waited in vain for %s", #condition);                                     \
            nanosleep(&forwarding_pause, NULL);                                                    \
        }                                                                                          \
    } while (0)

/* All of it at once: nothing is forwarded between two of its statements. */
static inline void forwarding_run_sql(const char *path, const char *text)
{
    const char *const steps[] = {"BEGIN IMMEDIATE", text, "COMMIT"};
    sqlite3 *database;
    char *words = NULL;

    assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
    sqlite3_busy_timeout(database, 5000);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (sqlite3_exec(database, steps[i], NULL, NULL, &words) != SQLITE_OK)
            fail_msg("%s: %s", steps[i], words);
    sqlite3_close(database);
}

static inline void forwarding_sql(struct forwarding *at, const char *text)
{
    forwarding_run_sql(at->url + strlen("sqlite:"), text);
}

static inline void forwarding_ledger_sql(struct forwarding *at, const char *text)
{
    forwarding_run_sql(at->ledger_path, text);
}

/* How many rows have this value. */
static inline int64_t forwarding_rows(struct forwarding *at, const char *value)
{
    sqlite3 *database;
    sqlite3_stmt *row;
    int64_t count;

    assert_int_equal(sqlite3_open(at->url + strlen("sqlite:"), &database), SQLITE_OK);
    sqlite3_busy_timeout(database, 5000);
    assert_int_equal(
        sqlite3_prepare_v2(database, "SELECT count(*) FROM event WHERE value = ?1", -1, &row, NULL),
        SQLITE_OK);
    sqlite3_bind_text(row, 1, value, -1, SQLITE_STATIC);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    count = sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    sqlite3_close(database);
    return count;
}

/* How often something was said in the log. */
static inline unsigned forwarding_said(const struct forwarding *at, const char *words)
{
    static char text[1 << 16];
    ssize_t len = pread(at->log, text, sizeof text - 1, 0);
    unsigned count = 0;

    assert_true(len >= 0);
    text[len] = '\0';
    for (const char *found = text; (found = strstr(found, words)) != NULL; found++)
        count++;
    return count;
}

static inline void forwarding_no_wake(void *arg)
{
    (void)arg;
}

struct forwarding_sent {
    struct wal_ticket ticket;
    uint64_t position;
    bool done;
};

static inline void forwarding_done(struct wal_ticket *ticket, int status, const struct err *err)
{
    struct forwarding_sent *sent = (struct forwarding_sent *)ticket;
    uint32_t iterator = 0;

    (void)err;
    assert_int_equal(status, 0);
    sent->position = wal_ticket_position(ticket, &iterator);
    sent->done = true;
}

static inline uint64_t forwarding_send(struct forwarding *at, const char *user, const char *value)
{
    struct txn_datapoint datapoint = {SLICE("key"), slice_of(value)};
    struct txn txn = {.product = 10,
                      .pennkey = slice_of(user),
                      .timestamp_us = clock_wall_us(),
                      .received_us = clock_wall_us(),
                      .count = 1,
                      .datapoints = &datapoint};
    struct forwarding_sent sent = {.ticket.done = forwarding_done};

    assert_int_equal(queue_put(at->producer, &txn, NULL), 0);
    wal_await(at->producer, &sent.ticket);
    wal_flush(at->producer);
    forwarding_wait((mailbox_deliver(&at->box), sent.done));
    return sent.position;
}

static inline void forwarding_open_ledger(struct forwarding *at)
{
    struct err err = {0};

    if (ledger_open(at->ledger_path, 100, &at->ledger, &err) != 0)
        fail_msg("%s", err.text);
}

static inline void forwarding_start(struct forwarding *at)
{
    struct forward_options options = {
        .queue = at->queue,
        .ledger = at->ledger,
        .products = at->products,
        .users = at->users,
        .store_url = at->url,
        .store_timeout_ms = 5000,
        .window = at->window,
        .max_lag_ms = 1000000,
        .batch_rows = at->batch_rows,
        .batch_bytes = 1 << 20,
        .batch_age_ms = at->batch_age_ms,
        .retry_min_ms = 2,
        .retry_max_ms = 10,
    };
    struct err err = {0};

    if (forward_start(&options, &at->forward, &err) != 0)
        fail_msg("%s", err.text);
}

/* The store has its tables, and nothing is forwarded before forwarding_start(). */
static inline int forwarding_begin(void **state)
{
    struct forwarding *at = calloc(1, sizeof *at);
    struct queue_options queue = {.data_dir = "data",
                                  .segment_bytes = 65536,
                                  .max_bytes = 1 << 20,
                                  .sync = true,
                                  .quarantine_max_bytes = 1 << 20};
    struct users_options users = {.data_dir = at->folder, .cache = 2048, .connections = 1};
    const char *base = getenv("TMPDIR");
    struct store *store = NULL;
    struct err err = {0};
    unsigned applied;

    snprintf(at->folder, sizeof at->folder, "%s/forwarding-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(at->folder));
    snprintf(at->url, sizeof at->url, "sqlite:%s/events.db", at->folder);
    snprintf(at->ledger_path, sizeof at->ledger_path, "%s/ledger.db", at->folder);
    at->window = "always";
    at->batch_rows = 1000;
    at->batch_age_ms = 5;
    at->log = memfd_create("log", MFD_CLOEXEC);
    at->log_before = dup(STDERR_FILENO);
    dup2(at->log, STDERR_FILENO);
    at->faults = fault_disk_new(1);
    queue.disk = fault_disk_of(at->faults);
    assert_int_equal(queue.disk->make_dir(queue.disk, "data"), 0);
    assert_int_equal(queue_open(&queue, &at->queue, NULL, &err), 0);
    mailbox_init(&at->box, forwarding_no_wake, NULL);
    at->producer = queue_producer_open(at->queue, &at->box, 1 << 20);
    forwarding_open_ledger(at);
    assert_int_equal(txn_products_open("", &at->products, &err), 0);
    assert_int_equal(users_open(&users, &at->users, &err), 0);
    assert_int_equal(store_open(at->url, 5000, &store, &err), 0);
    assert_int_equal(store_connect(store, &err), 0);
    assert_int_equal(store_migrate(store, &applied, &err), 0);
    store_close(store);
    *state = at;
    return 0;
}

static inline int forwarding_end(void **state)
{
    struct forwarding *at = *state;
    DIR *folder = opendir(at->folder);
    struct dirent *entry;
    int rc;

    forward_stop(at->forward, 0);
    wal_producer_close(at->producer);
    queue_close(at->queue);
    ledger_close(at->ledger);
    users_close(at->users);
    txn_products_close(at->products);
    fault_disk_free(at->faults);
    while (folder != NULL && (entry = readdir(folder)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(folder), entry->d_name, 0);
    if (folder != NULL)
        closedir(folder);
    rc = rmdir(at->folder);
    dup2(at->log_before, STDERR_FILENO);
    close(at->log_before);
    close(at->log);
    free(at);
    return rc;
}

#define forwarding_test(test)                                                                      \
    cmocka_unit_test_setup_teardown(test, forwarding_begin, forwarding_end)

#endif
