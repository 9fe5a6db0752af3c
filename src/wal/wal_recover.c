/*
 * Recovery: what the folder holds, in order, and where the log ends.
 *
 * Happy path: every segment's header is whole, each segment ends where the next begins, and
 * the last one ends at the first record that is not whole. Nothing is written but the removal
 * of what was never in use; new records go into a new segment, so stale bytes behind the end
 * can never be taken for records.
 *
 * A segment whose base lies at or behind a later one's was begun in a round that failed: it
 * holds nothing. In the last segment a record that is not whole is the torn end of a round
 * that nobody was told of, unless a record behind it says that it was written after a sync:
 * then the broken one had been durable and has rotted, and the log goes on behind it.
 */
#include "wal/wal_priv.h"

#include "base/clock.h"
#include "base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

/* Keeps a whole spare file, up to the number wanted; removes any other. */
static void note_spare(struct wal *wal, const char *name)
{
    struct disk *disk = wal->options.disk;
    unsigned long long number;
    char path[SEGMENT_PATH];
    int64_t size = -1;
    int end = 0;
    int fd;

    snprintf(path, sizeof path, "%s/%s", wal->dir, name);
    if (sscanf(name, "spare-%llu%n", &number, &end) == 1 && name[end] == '\0' &&
        wal->spare_count < wal->options.spares && (fd = disk->open(disk, path, O_RDONLY)) >= 0) {
        size = disk->size(disk, fd);
        disk->close(disk, fd);
        if (number >= wal->next_spare)
            wal->next_spare = number + 1;
    }
    if (size == (int64_t)wal->options.segment_bytes) {
        wal->spare_numbers[wal->spare_count++] = number;
        wal->bytes_on_disk += (uint64_t)size;
    } else {
        disk->unlink(disk, path);
    }
}

static void note_name(void *arg, const char *name)
{
    struct wal *wal = arg;
    struct wal_segment found = {0};
    unsigned long long number;
    int end = 0;

    if (sscanf(name, "%20llu.seg%n", &number, &end) == 1 && end == 24 && name[end] == '\0') {
        found.sequence = number;
        segments_push(&wal->segments, &wal->segment_count, &wal->segment_room, &found);
    } else if (strncmp(name, "spare-", 6) == 0 && !wal->options.read_only) {
        note_spare(wal, name);
    }
}

static int by_sequence(const void *a, const void *b)
{
    const struct wal_segment *left = a;
    const struct wal_segment *right = b;

    return (left->sequence > right->sequence) - (left->sequence < right->sequence);
}

/* ERR_NOT_FOUND for a file that was about to enter service under a later name: a recycled one
 * whose new header became durable before its new name did. It holds nothing. */
static int read_header(struct wal *wal, struct wal_segment *segment, struct err *err)
{
    struct disk *disk = wal->options.disk;
    char header[SEGMENT_HEADER] = {0};
    char node[WAL_NODE_LEN];
    char path[SEGMENT_PATH];
    uint64_t sequence = segment->sequence;
    int64_t size = -1;
    int64_t got;
    int code, fd;

    segment_path(wal, sequence, path);
    fd = disk->open(disk, path, O_RDONLY);
    if (fd < 0)
        return err_system(err, -fd, "open %s", path);
    got = disk->read(disk, fd, header, sizeof header, 0);
    if (got >= 0)
        size = disk->size(disk, fd);
    disk->close(disk, fd);
    if (got < 0 || size < 0)
        return err_system(err, got < 0 ? (int)-got : (int)-size, "read %s", path);
    if ((code = segment_header_read(header, segment, node, err)) != 0)
        return err_wrap(err, "%s", path);
    if (segment->sequence != sequence)
        return ERR_NOT_FOUND;
    if (memcmp(node, wal->options.node, WAL_NODE_LEN) != 0)
        return err_set(err, ERR_CORRUPT, "%s: it belongs to node %.*s, this is %.*s", path,
                       WAL_NODE_LEN, node, WAL_NODE_LEN, wal->options.node);
    segment->size = (uint64_t)size;
    return 0;
}

static int read_headers(struct wal *wal, struct err *err)
{
    size_t kept = 0;
    int code;

    for (size_t i = 0; i < wal->segment_count; i++) {
        uint64_t sequence = wal->segments[i].sequence;

        code = read_header(wal, &wal->segments[i], err);
        if (code == 0) {
            wal->segments[kept++] = wal->segments[i];
            wal->next_sequence = sequence + 1;
        } else if (code != ERR_NOT_FOUND) {
            return code;
        } else if (!wal->options.read_only) {
            char path[SEGMENT_PATH];

            segment_path(wal, sequence, path);
            wal->options.disk->unlink(wal->options.disk, path);
        }
    }
    wal->segment_count = kept;
    return 0;
}

/* Removes segments that a failed round had begun. */
static void drop_dead(struct wal *wal)
{
    struct disk *disk = wal->options.disk;
    uint64_t limit = UINT64_MAX;
    size_t kept = wal->segment_count;

    for (size_t i = wal->segment_count; i-- > 0;) {
        struct wal_segment segment = wal->segments[i];

        if (segment.base >= limit) {
            char path[SEGMENT_PATH];

            segment_path(wal, segment.sequence, path);
            if (!wal->options.read_only)
                disk->unlink(disk, path);
            continue;
        }
        segment.end = limit;
        limit = segment.base;
        wal->segments[--kept] = segment;
    }
    wal->segment_count -= kept;
    memmove(wal->segments, wal->segments + kept, wal->segment_count * sizeof *wal->segments);
}

struct recovery {
    struct wal *wal;
    struct wal_recovery *report;
    struct wal_scan scan;
    uint64_t records; /* that the log held before the record being read */
};

static void note_damage(struct recovery *recovery, uint64_t from, uint64_t to)
{
    recovery->report->damaged_stretches++;
    recovery->report->damaged_bytes += to - from;
    log_error("wal", "segment %llu: %llu bytes at position %llu are damaged",
              (unsigned long long)recovery->scan.segment.sequence, (unsigned long long)(to - from),
              (unsigned long long)from);
}

/*
 * Behind a record that is not whole, in the last segment: where does the log go on? Only at a
 * record that says that all before it was durable, or at one before such a record. *ret_end is
 * set to `from` if there is none; *ret_cut counts what an unfinished round left behind.
 */
static int find_proof(struct recovery *recovery, uint64_t from, uint64_t limit, uint64_t *ret_end,
                      uint64_t *ret_cut, struct err *err)
{
    uint64_t found = from;
    uint64_t resume = limit;
    uint64_t last = from;

    for (;;) {
        struct slice record;
        bool first = false;
        int code = scan_resync(&recovery->scan, found + 1, limit, &found, err);

        if (code != 0)
            return code;
        if (found >= limit)
            break;
        if ((code = scan_record(&recovery->scan, found, limit, &record, &first, err)) != 0)
            return code;
        if (resume == limit)
            resume = found;
        if (first) {
            *ret_end = resume;
            return 0;
        }
        last = found + RECORD_HEADER + record.len;
        found = last - 1;
    }
    *ret_end = from;
    *ret_cut = last - from;
    return 0;
}

static int recover_segment(struct recovery *recovery, struct wal_segment *segment, bool last,
                           struct err *err)
{
    struct wal *wal = recovery->wal;
    uint64_t file_end =
        segment->base + (segment->size > SEGMENT_HEADER ? segment->size - SEGMENT_HEADER : 0);
    uint64_t limit = last || segment->end > file_end ? file_end : segment->end;
    uint64_t at = segment->base;
    int code;

    if ((code = scan_open(&recovery->scan, wal, segment, err)) != 0)
        return code;
    recovery->records = segment->records;
    while (at < limit) {
        struct slice record;
        uint64_t next = at;
        uint64_t cut = 0;
        bool first;

        code = scan_record(&recovery->scan, at, limit, &record, &first, err);
        if (code == 0) {
            if (wal->options.recovered != NULL)
                wal->options.recovered(wal->options.recovered_arg, at, record);
            at += RECORD_HEADER + record.len;
            recovery->records++;
            recovery->report->records++;
            continue;
        }
        if (code != ERR_CORRUPT)
            goto done;
        if (last)
            code = find_proof(recovery, at, limit, &next, &cut, err);
        else
            code = scan_resync(&recovery->scan, at + 1, limit, &next, err);
        if (code != 0)
            goto done;
        if (next == at) {
            recovery->report->cut_bytes = cut;
            break;
        }
        note_damage(recovery, at, next);
        at = next;
    }
    if (!last && at < segment->end) {
        note_damage(recovery, at, segment->end); /* the file is shorter than its stretch */
        at = segment->end;
    }
    segment->end = at;
    recovery->report->bytes += at - segment->base;
    code = 0;
done:
    scan_close(&recovery->scan);
    return code;
}

/* Gives the room behind the end back, and makes the cut final. */
static void cut_tail(struct wal *wal, struct wal_segment *segment)
{
    struct disk *disk = wal->options.disk;
    uint64_t used = SEGMENT_HEADER + (segment->end - segment->base);
    char path[SEGMENT_PATH];
    int fd;

    segment_path(wal, segment->sequence, path);
    if (used >= segment->size || (fd = disk->open(disk, path, O_RDWR)) < 0)
        return;
    if (disk->truncate(disk, fd, used) >= 0 && disk->sync(disk, fd) >= 0)
        segment->size = used;
    disk->close(disk, fd);
}

int wal_recover(struct wal *wal, struct wal_recovery *ret, struct err *err)
{
    struct recovery recovery = {.wal = wal, .report = ret, .scan = {.fd = -1}};
    int64_t started = clock_mono_us();
    uint64_t end = wal->options.start;
    int code;

    code = wal->options.disk->list(wal->options.disk, wal->dir, note_name, wal);
    if (code < 0)
        return err_system(err, -code, "list %s", wal->dir);
    qsort(wal->segments, wal->segment_count, sizeof *wal->segments, by_sequence);
    if ((code = read_headers(wal, err)) != 0)
        return code;
    drop_dead(wal);
    for (size_t i = 0; i < wal->segment_count; i++) {
        code = recover_segment(&recovery, &wal->segments[i], i + 1 == wal->segment_count, err);
        if (code != 0)
            goto done;
        end = wal->segments[i].end;
    }
    if (wal->segment_count > 0 && !wal->options.read_only)
        cut_tail(wal, &wal->segments[wal->segment_count - 1]);
    if (end < wal->options.start)
        end = wal->options.start; /* a position is never used twice */
    atomic_store(&wal->durable, end);
    for (size_t i = 0; i < wal->segment_count; i++)
        wal->bytes_on_disk += wal->segments[i].size;
    atomic_store(&wal->records, recovery.records);
    atomic_store(&wal->damaged_bytes, ret->damaged_bytes);
    ret->segments = wal->segment_count;
    ret->duration_us = clock_mono_us() - started;
    code = 0;
done:
    scan_free(&recovery.scan);
    return code;
}
