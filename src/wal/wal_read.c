/*
 * Reading behind the durable position: in order for the forwarder, by position for whoever
 * asks after one transaction, and waiting for more.
 */
#include "wal/wal_priv.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <time.h>

struct wal_reader {
    struct wal *wal;
    struct wal_scan scan;
    uint64_t position;
};

struct wal_reader *wal_reader_open(struct wal *wal, uint64_t position)
{
    struct wal_reader *reader = mem_zalloc(sizeof *reader);

    reader->wal = wal;
    reader->scan.fd = -1;
    reader->position = position;
    return reader;
}

void wal_reader_close(struct wal_reader *reader)
{
    if (reader == NULL)
        return;
    scan_free(&reader->scan);
    free(reader);
}

void wal_reader_seek(struct wal_reader *reader, uint64_t position)
{
    reader->position = position;
}

/* The segment that holds a record at `position`, or the first one behind it. */
static bool find_segment(struct wal *wal, uint64_t position, struct wal_segment *ret)
{
    bool found = false;

    pthread_mutex_lock(&wal->lock);
    for (size_t i = 0; i < wal->segment_count && !found; i++) {
        if (position < wal->segments[i].end) {
            *ret = wal->segments[i];
            found = true;
        }
    }
    pthread_mutex_unlock(&wal->lock);
    return found;
}

int wal_reader_next(struct wal_reader *reader, struct slice *ret_record, uint64_t *ret_position,
                    uint64_t *ret_next, struct err *err)
{
    struct wal_scan *scan = &reader->scan;
    uint64_t next;
    bool first;
    int code;

    if (scan->fd < 0 || reader->position < scan->segment.base ||
        reader->position >= scan->segment.end) {
        struct wal_segment segment;
        bool same;

        if (!find_segment(reader->wal, reader->position, &segment))
            return err_set(err, ERR_NOT_FOUND, "the log ends here");
        same = scan->fd >= 0 && scan->segment.sequence == segment.sequence;
        if (same)
            scan->segment.end = segment.end;
        else if ((code = scan_open(scan, reader->wal, &segment, err)) != 0)
            return code;
        if (reader->position < segment.base)
            reader->position = segment.base;
    }
    code = scan_record(scan, reader->position, scan->segment.end, ret_record, &first, err);
    if (code == ERR_CORRUPT) {
        if (scan_resync(scan, reader->position + 1, scan->segment.end, &next, err) != 0)
            return ERR_IO;
        err_set(err, ERR_CORRUPT, "%llu bytes at position %llu are damaged",
                (unsigned long long)(next - reader->position),
                (unsigned long long)reader->position);
    } else if (code != 0) {
        return code;
    } else {
        next = reader->position + RECORD_HEADER + ret_record->len;
    }
    *ret_position = reader->position;
    *ret_next = next;
    reader->position = next;
    return code;
}

int wal_read_at(struct wal *wal, uint64_t position, struct buf *out, struct err *err)
{
    struct wal_scan scan = {.fd = -1};
    struct wal_segment segment;
    struct slice record;
    bool first;
    int code;

    if (!find_segment(wal, position, &segment) || position < segment.base)
        return err_set(err, ERR_NOT_FOUND, "no record at this position");
    if ((code = scan_open(&scan, wal, &segment, err)) == 0) {
        code = scan_record(&scan, position, segment.end, &record, &first, err);
        if (code == 0)
            buf_append_slice(out, record);
        else if (code == ERR_CORRUPT)
            code = err_set(err, ERR_NOT_FOUND, "no record at this position");
    }
    scan_free(&scan);
    return code;
}

int wal_count_before(struct wal *wal, uint64_t position, uint64_t *ret_records, struct err *err)
{
    struct wal_scan scan = {.fd = -1};
    struct wal_segment segment;
    uint64_t at, count;
    int code;

    if (position >= atomic_load_explicit(&wal->durable, memory_order_acquire)) {
        *ret_records = atomic_load_explicit(&wal->records, memory_order_acquire);
        return 0;
    }
    if (!find_segment(wal, position, &segment))
        return err_set(err, ERR_NOT_FOUND, "no segment holds this position");
    if ((code = scan_open(&scan, wal, &segment, err)) != 0)
        return code;
    count = segment.records;
    at = segment.base;
    while (at < position) {
        struct slice record;
        bool first;

        code = scan_record(&scan, at, segment.end, &record, &first, err);
        if (code == 0) {
            at += RECORD_HEADER + record.len;
            count++;
        } else if (code != ERR_CORRUPT ||
                   (code = scan_resync(&scan, at + 1, segment.end, &at, err)) != 0) {
            goto done;
        }
    }
    *ret_records = count;
    code = 0;
done:
    scan_free(&scan);
    return code;
}

void wal_wait(struct wal *wal, uint64_t position, int64_t timeout_ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&wal->lock);
    wal->waiting_readers++;
    while (!wal->woken && atomic_load_explicit(&wal->durable, memory_order_relaxed) <= position) {
        if (pthread_cond_timedwait(&wal->reader_wakes, &wal->lock, &until) != 0)
            break;
    }
    wal->woken = false;
    wal->waiting_readers--;
    pthread_mutex_unlock(&wal->lock);
}

void wal_wake(struct wal *wal)
{
    pthread_mutex_lock(&wal->lock);
    wal->woken = true;
    pthread_mutex_unlock(&wal->lock);
    pthread_cond_broadcast(&wal->reader_wakes);
}
