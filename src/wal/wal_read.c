/*
 * Reading behind the durable position: in order for the forwarder, by position for whoever
 * asks after one transaction, and waiting for more.
 *
 * A segment may be released and recycled while its file is open here. Whole records are
 * always genuine, for the checksum belongs to one life of the file; what is not whole is only
 * called damaged while the segment is still listed.
 */
#include "wal/wal_priv.h"

#include "base/mem.h"

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
    /* Whoever goes back may do so because of what is on the disk by now. */
    reader->scan.window = (struct slice){"", 0};
}

/* The segment that holds a record at `position`, or the first one behind it. */
static bool find_segment(struct wal *wal, uint64_t position, struct wal_segment *ret)
{
    bool found = false;

    pthread_mutex_lock(&wal->lock);
    for (size_t i = 0; i < wal->segment_count && !found; i++) {
        if (position < wal->segments[i].end && wal->segments[i].base < wal->segments[i].end) {
            *ret = wal->segments[i];
            found = true;
        }
    }
    pthread_mutex_unlock(&wal->lock);
    return found;
}

/* The file could not be opened: because it was released (then try again), or it is a fault. */
static int open_fault(struct wal *wal, const struct wal_segment *segment, struct err *err)
{
    if (!segment_listed(wal, segment->sequence))
        return ERR_CONFLICT;
    if (err != NULL && err->code == ERR_NOT_FOUND)
        err->code = ERR_IO;
    return ERR_IO;
}

/* Lets the scan stand on the segment of the reader's position. ERR_CONFLICT: try again. */
static int find_place(struct wal_reader *reader, struct err *err)
{
    struct wal_scan *scan = &reader->scan;
    struct wal_segment segment;

    if (scan->fd >= 0 && reader->position >= scan->segment.base &&
        reader->position < scan->segment.end)
        return 0;
    if (!find_segment(reader->wal, reader->position, &segment))
        return err_set(err, ERR_NOT_FOUND, "the log ends here");
    if (scan->fd >= 0 && scan->segment.sequence == segment.sequence)
        scan->segment.end = segment.end;
    else if (scan_open(scan, reader->wal, &segment, err) != 0)
        return open_fault(reader->wal, &segment, err);
    if (reader->position < segment.base)
        reader->position = segment.base;
    return 0;
}

/* The record at the reader's position, or the damaged stretch there. ERR_CONFLICT: try again. */
static int read_here(struct wal_reader *reader, struct slice *ret_record, uint64_t *ret_next,
                     struct err *err)
{
    struct wal_scan *scan = &reader->scan;
    uint64_t end = scan->segment.end;
    uint64_t records;
    bool first;
    int code = scan_record(scan, reader->position, end, ret_record, &first, err);
    int resync;

    if (code == 0) {
        *ret_next = reader->position + RECORD_HEADER + ret_record->len;
        return 0;
    }
    if (code == ERR_CORRUPT &&
        (resync = scan_resync(scan, reader->position + 1, end, ret_next, err)) != 0)
        code = resync;
    if (!segment_listed(reader->wal, scan->segment.sequence)) {
        scan_close(scan);
        return ERR_CONFLICT;
    }
    if (code != ERR_CORRUPT)
        return ERR_IO;
    if (!damage_known(reader->wal, reader->position, &records) &&
        damage_find(reader->wal, scan->segment.sequence, err) != 0)
        return ERR_IO;
    return err_set(err, ERR_CORRUPT, "%llu bytes at position %llu are damaged",
                   (unsigned long long)(*ret_next - reader->position),
                   (unsigned long long)reader->position);
}

int wal_reader_next(struct wal_reader *reader, struct slice *ret_record, uint64_t *ret_position,
                    uint64_t *ret_next, struct err *err)
{
    struct err words = {0};
    uint64_t next = 0;
    int code;

    do {
        code = find_place(reader, &words);
        if (code == 0)
            code = read_here(reader, ret_record, &next, &words);
    } while (code == ERR_CONFLICT);
    if (code == 0 || code == ERR_CORRUPT) {
        *ret_position = reader->position;
        *ret_next = next;
        reader->position = next;
    }
    if (code != 0 && err != NULL)
        *err = words;
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
    if ((code = scan_open(&scan, wal, &segment, err)) != 0)
        code = open_fault(wal, &segment, err);
    else if ((code = scan_record(&scan, position, segment.end, &record, &first, err)) == 0)
        buf_append_slice(out, record);
    if (code == ERR_CORRUPT || code == ERR_CONFLICT)
        code = err_set(err, ERR_NOT_FOUND, "no record at this position");
    scan_free(&scan);
    return code;
}

/* Records of the segment before `position`, also those that were lost. */
static int count_in(struct wal_scan *scan, uint64_t position, uint64_t *ret_count, struct err *err)
{
    uint64_t at = scan->segment.base;
    uint64_t end = scan->segment.end;
    uint64_t count = 0;

    while (at < position) {
        struct slice record;
        uint64_t lost, next;
        bool first;
        int code = scan_record(scan, at, end, &record, &first, err);

        if (code == 0) {
            at += RECORD_HEADER + record.len;
            count++;
        } else if (code != ERR_CORRUPT ||
                   (!damage_known(scan->wal, at, &lost) &&
                    (code = damage_find(scan->wal, scan->segment.sequence, err)) != 0) ||
                   (code = scan_resync(scan, at + 1, end, &next, err)) != 0) {
            return code;
        } else {
            damage_known(scan->wal, at, &lost);
            count += lost;
            at = next;
        }
    }
    *ret_count = count;
    return 0;
}

int wal_count_before(struct wal *wal, uint64_t position, uint64_t *ret_records, struct err *err)
{
    struct wal_scan scan = {.fd = -1};
    struct wal_segment segment;
    uint64_t total, count = 0;
    bool at_end;
    int code;

    pthread_mutex_lock(&wal->lock);
    at_end = position >= atomic_load_explicit(&wal->durable, memory_order_relaxed);
    total = atomic_load_explicit(&wal->records, memory_order_relaxed);
    pthread_mutex_unlock(&wal->lock);
    if (at_end) {
        *ret_records = total;
        return 0;
    }
    do {
        if (position < wal_stats(wal).first)
            return err_set(err, ERR_NOT_FOUND, "position %llu has been released",
                           (unsigned long long)position);
        if (!find_segment(wal, position, &segment)) { /* nothing lies behind it */
            *ret_records = total;
            return 0;
        }
        if ((code = scan_open(&scan, wal, &segment, err)) != 0)
            code = open_fault(wal, &segment, err);
        else if ((code = count_in(&scan, position, &count, err)) != 0)
            code = ERR_IO;
        if (!segment_listed(wal, segment.sequence))
            code = ERR_CONFLICT;
        scan_free(&scan);
    } while (code == ERR_CONFLICT);
    if (code == 0)
        *ret_records = segment.records + count;
    return code;
}

/* Where the last segment begins that has something before `position`. */
static bool find_base_before(struct wal *wal, uint64_t position, uint64_t *ret)
{
    bool found = false;

    pthread_mutex_lock(&wal->lock);
    for (size_t i = wal->segment_count; i-- > 0 && !found;) {
        const struct wal_segment *segment = &wal->segments[i];

        found = segment->base < position && segment->base < segment->end;
        *ret = segment->base;
    }
    pthread_mutex_unlock(&wal->lock);
    return found;
}

int wal_find_before(struct wal *wal, uint64_t position, uint64_t *ret_position, uint64_t *ret_next,
                    struct err *err)
{
    struct wal_reader *reader = wal_reader_open(wal, 0);
    bool found = false;
    uint64_t base;
    int code = err_set(err, ERR_NOT_FOUND, "no record before this position");

    while (!found && find_base_before(wal, position, &base)) {
        struct slice record;
        uint64_t at, next;

        wal_reader_seek(reader, base);
        while ((code = wal_reader_next(reader, &record, &at, &next, err)) == 0 ||
               code == ERR_CORRUPT) {
            if (at >= position)
                break;
            if (code == 0) {
                found = true;
                *ret_position = at;
                *ret_next = next;
            }
        }
        if (code != 0 && code != ERR_CORRUPT && code != ERR_NOT_FOUND)
            break;
        code = found ? 0 : ERR_NOT_FOUND;
        position = base;
    }
    wal_reader_close(reader);
    return code;
}

uint64_t wal_bytes_from(struct wal *wal, uint64_t position)
{
    uint64_t bytes = 0;

    pthread_mutex_lock(&wal->lock);
    for (size_t i = wal->segment_count; i-- > 0 && wal->segments[i].end > position;) {
        const struct wal_segment *segment = &wal->segments[i];

        bytes += segment->end - (segment->base > position ? segment->base : position);
    }
    pthread_mutex_unlock(&wal->lock);
    return bytes;
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
    while (!wal->woken && wal->end <= position) {
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
