/*
 * A log on a disk that fails, one producer of it with its mailbox, and what it says. Everything
 * happens on the calling thread, which takes the role of one HTTP loop.
 */
#ifndef SUPPORT_WAL_HARNESS_H
#define SUPPORT_WAL_HARNESS_H

#include "support/fault_disk.h"
#include "wal/wal.h"

#include <pthread.h>

#define HARNESS_DIR "data/queue"

/* What was read: a record, or with code ERR_CORRUPT a damaged stretch. */
struct seen {
    uint64_t position, next;
    int code;
    char *bytes;
    size_t len;
};

struct seen_list {
    struct seen *at;
    size_t count;
};

void seen_free(struct seen_list *list);

/* A ticket and what it heard. */
struct told {
    struct wal_ticket ticket;
    unsigned calls;
    int status;
    struct err err;
    uint32_t records;
    uint64_t positions[8]; /* of its first ones */
    void (*then)(struct told *told);
    void *arg;
};

struct harness {
    struct fault_disk *faults;
    struct wal_options options; /* for the next opening */
    struct wal *wal;
    struct wal_recovery recovery;
    struct seen_list recovered;
    struct wal_producer *producer;
    struct mailbox home;
    pthread_mutex_t lock;
    pthread_cond_t rings;
    bool rung;
};

/* A folder "data", segments of 4096 bytes, at most 1 MiB, synced, no spare ones. */
void harness_begin(struct harness *harness, uint64_t seed);
void harness_end(struct harness *harness);

int harness_open(struct harness *harness, struct err *err); /* with a producer unless read_only */
void harness_close(struct harness *harness);                /* delivers what is under way first */

/* Ends the process, by closing or (`power`) by a cut, and begins the next one; fails the test if
 * the log does not open. */
void harness_restart(struct harness *harness, bool power);

/* Opens the log that is closed time and again, each time with one call of the kind more that
 * succeeds before one fails, until none does and `records` are recovered. Each but the last opening
 * must fail; how many. */
unsigned harness_fail_opening(struct harness *harness, enum fault_op op, size_t records);

/* One record with its ticket into the open batch; 0 or what wal_reserve() said. */
int harness_append(struct harness *harness, struct told *told, const void *bytes, size_t len);
/* A ticket for all that was appended without one. */
void harness_claim(struct harness *harness, struct told *told);
/* Delivers until the ticket has heard. */
void harness_hear(struct harness *harness, const struct told *told);

/* A record of its own round: its status, and where it is. */
int harness_put(struct harness *harness, const char *text, uint64_t *ret_position);
/* The same, which must not fail; fills it up to `len` bytes with dots. */
uint64_t harness_store(struct harness *harness, const char *text, size_t len);

/* Everything that can be read from `position` on. */
struct seen_list harness_read(struct harness *harness, uint64_t position);
bool seen_is(const struct seen *seen, const char *text); /* but for the dots behind it */

/* Waits until the log refuses, or does not (any more). */
void harness_await_refusing(struct harness *harness, bool refusing);

/* The n-th segment's path (1: the first ever). Static storage. */
const char *harness_segment(unsigned number);

#endif
