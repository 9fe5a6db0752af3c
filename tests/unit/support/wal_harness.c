/*
 * The log, its one producer, and a mailbox whose reader waits on a condition.
 */
#include "support/wal_harness.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

void seen_free(struct seen_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->at[i].bytes);
    free(list->at);
    *list = (struct seen_list){0};
}

static void note(struct seen_list *list, uint64_t position, uint64_t next, int code,
                 struct slice record)
{
    list->at = mem_realloc(list->at, (list->count + 1) * sizeof *list->at);
    list->at[list->count++] =
        (struct seen){position, next, code, mem_strndup(record.at, record.len), record.len};
}

static void ring(void *arg)
{
    struct harness *harness = arg;

    pthread_mutex_lock(&harness->lock);
    harness->rung = true;
    pthread_cond_signal(&harness->rings);
    pthread_mutex_unlock(&harness->lock);
}

static void recovered(void *arg, uint64_t position, struct slice record)
{
    struct harness *harness = arg;

    note(&harness->recovered, position, position, 0, record);
}

void harness_begin(struct harness *harness, uint64_t seed)
{
    struct disk *disk;

    log_open((enum log_level)(LOG_ERROR + 1), false); /* faults are what the tests are about */
    *harness = (struct harness){.faults = fault_disk_new(seed)};
    disk = fault_disk_of(harness->faults);
    assert_int_equal(disk->make_dir(disk, "data"), 0);
    assert_int_equal(disk->sync_dir(disk, "."), 0);
    harness->options = (struct wal_options){
        .disk = disk,
        .dir = HARNESS_DIR,
        .node = {'t', 'e', 's', 't', 'n', 'o', 'd', 'e'},
        .segment_bytes = 4096,
        .max_bytes = 1 << 20,
        .sync = true,
        .recovered = recovered,
        .recovered_arg = harness,
    };
    pthread_mutex_init(&harness->lock, NULL);
    pthread_cond_init(&harness->rings, NULL);
    mailbox_init(&harness->home, ring, harness);
}

void harness_end(struct harness *harness)
{
    harness_close(harness);
    seen_free(&harness->recovered);
    fault_disk_free(harness->faults);
    pthread_cond_destroy(&harness->rings);
    pthread_mutex_destroy(&harness->lock);
}

int harness_open(struct harness *harness, struct err *err)
{
    int code;

    seen_free(&harness->recovered);
    code = wal_open(&harness->options, &harness->wal, &harness->recovery, err);
    if (code != 0)
        harness->wal = NULL;
    else if (!harness->options.read_only)
        harness->producer = wal_producer_open(harness->wal, &harness->home, 1 << 20);
    return code;
}

static void wait_for_mail(struct harness *harness)
{
    pthread_mutex_lock(&harness->lock);
    while (!harness->rung)
        pthread_cond_wait(&harness->rings, &harness->lock);
    harness->rung = false;
    pthread_mutex_unlock(&harness->lock);
    mailbox_deliver(&harness->home);
}

void harness_close(struct harness *harness)
{
    if (harness->wal == NULL)
        return;
    if (harness->producer != NULL) {
        wal_flush(harness->producer);
        while (!wal_producer_idle(harness->producer))
            wait_for_mail(harness);
        wal_producer_close(harness->producer);
    }
    wal_close(harness->wal);
    harness->producer = NULL;
    harness->wal = NULL;
}

void harness_restart(struct harness *harness, bool power)
{
    struct err err = {0};

    if (power)
        fault_disk_crash_at(harness->faults, 0);
    harness_close(harness);
    fault_disk_restart(harness->faults, power);
    if (harness_open(harness, &err) != 0)
        fail_msg("%s", err.text);
}

static void hear(struct wal_ticket *ticket, int status, const struct err *err)
{
    struct told *told = (struct told *)ticket;
    uint32_t iterator = 0;

    told->calls++;
    told->status = status;
    told->err = *err;
    told->records = ticket->records;
    for (uint32_t i = 0; i < ticket->records && i < 8 && status == 0; i++)
        told->positions[i] = wal_ticket_position(ticket, &iterator);
    if (told->then != NULL)
        told->then(told);
}

void harness_claim(struct harness *harness, struct told *told)
{
    told->ticket.done = hear;
    wal_await(harness->producer, &told->ticket);
}

int harness_append(struct harness *harness, struct told *told, const void *bytes, size_t len)
{
    char *room;
    int code = wal_reserve(harness->producer, len, &room, NULL);

    if (code != 0)
        return code;
    if (len > 0)
        memcpy(room, bytes, len);
    wal_append(harness->producer, len);
    if (told != NULL)
        harness_claim(harness, told);
    return 0;
}

void harness_hear(struct harness *harness, const struct told *told)
{
    while (told->calls == 0)
        wait_for_mail(harness);
}

int harness_put(struct harness *harness, const char *text, uint64_t *ret_position)
{
    struct told told = {0};
    int code = harness_append(harness, &told, text, strlen(text));

    if (code != 0)
        return code;
    wal_flush(harness->producer);
    harness_hear(harness, &told);
    assert_int_equal(told.calls, 1);
    if (told.status == 0 && ret_position != NULL)
        *ret_position = told.positions[0];
    return told.status;
}

unsigned harness_fail_opening(struct harness *harness, enum fault_op op, size_t records)
{
    unsigned failures = fault_disk_failed(harness->faults, op);

    for (unsigned skip = 0;; skip++) {
        struct err err = {0};
        int code;

        fault_disk_fail(harness->faults, op, NULL, skip, 1, EIO);
        code = harness_open(harness, &err);
        if (fault_disk_failed(harness->faults, op) == failures + skip) {
            assert_int_equal(code, 0);
            assert_int_equal(harness->recovered.count, records);
            return skip;
        }
        assert_int_equal(code, ERR_IO);
        assert_true(err.text[0] != '\0');
    }
}

uint64_t harness_store(struct harness *harness, const char *text, size_t len)
{
    uint64_t position = UINT64_MAX;
    char *filled = mem_alloc(len + 1);

    assert_true(strlen(text) <= len);
    memset(filled, '.', len);
    filled[len] = '\0';
    memcpy(filled, text, strlen(text));
    assert_int_equal(harness_put(harness, filled, &position), 0);
    free(filled);
    return position;
}

struct seen_list harness_read(struct harness *harness, uint64_t position)
{
    struct wal_reader *reader = wal_reader_open(harness->wal, position);
    struct seen_list list = {0};
    struct slice record = {0};
    uint64_t next = 0;
    int code;

    while ((code = wal_reader_next(reader, &record, &position, &next, NULL)) == 0 ||
           code == ERR_CORRUPT)
        note(&list, position, next, code, code == 0 ? record : SLICE(""));
    assert_int_equal(code, ERR_NOT_FOUND);
    wal_reader_close(reader);
    return list;
}

bool seen_is(const struct seen *seen, const char *text)
{
    size_t len = strlen(text);

    return seen->code == 0 && seen->len >= len && memcmp(seen->bytes, text, len) == 0 &&
           strspn(seen->bytes + len, ".") == seen->len - len;
}

void harness_await_refusing(struct harness *harness, bool refusing)
{
    while (wal_refusing(harness->wal, NULL) != refusing)
        sched_yield();
}

const char *harness_segment(unsigned number)
{
    static char path[64];

    snprintf(path, sizeof path, HARNESS_DIR "/%020u.seg", number);
    return path;
}
