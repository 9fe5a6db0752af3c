/*
 * What the folder holds: the segments in order, each with its header, and the spare ones.
 *
 * A segment whose base lies at or behind the end that a later one gives the log was begun in a
 * round that failed: it holds nothing, and is removed. So is a spare file that is not whole or
 * not wanted. Files of other names are left alone.
 *
 * What stops the start, because it takes a person to decide: a segment of another node, of a
 * newer version, or with a header that is damaged.
 */
#include "wal/wal_priv.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

/* Keeps a whole spare file, up to the number wanted; removes any other, unless it only looks. */
static void note_spare(struct wal *wal, const char *name)
{
    struct disk *disk = wal->options.disk;
    unsigned long long number = 0;
    char path[SEGMENT_PATH];
    char expected[SEGMENT_PATH];
    int64_t size = -1;
    int fd;

    snprintf(path, sizeof path, "%s/%s", wal->dir, name);
    if (sscanf(name, "spare-%llu", &number) == 1) {
        if (number >= wal->next_spare)
            wal->next_spare = number + 1;
        spare_path(wal, number, expected);
        if (strcmp(path, expected) == 0 && wal->spare_count < spares_kept(wal) &&
            (fd = disk->open(disk, path, O_RDONLY)) >= 0) {
            size = disk->size(disk, fd);
            disk->close(disk, fd);
        }
    }
    if (size == (int64_t)wal->options.segment_bytes) {
        wal->spare_numbers[wal->spare_count++] = number;
        wal->bytes_on_disk += (uint64_t)size;
    } else if (!wal->options.read_only) {
        disk->unlink(disk, path);
    }
}

static void note_name(void *arg, const char *name)
{
    struct wal *wal = arg;
    struct wal_segment found = {0};
    unsigned long long number;
    char path[SEGMENT_PATH];

    if (sscanf(name, "%20llu.seg", &number) == 1) {
        segment_path(wal, number, path);
        found.sequence = number;
        if (strcmp(strrchr(path, '/') + 1, name) == 0)
            segments_push(&wal->segments, &wal->segment_count, &wal->segment_room, &found);
    } else if (strncmp(name, "spare-", 6) == 0) {
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
 * whose names did not become durable in the order in which it had them. It holds nothing. */
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
    if (memcmp(node, wal->options.node, WAL_NODE_LEN) != 0)
        return err_set(err, ERR_CORRUPT, "%s: it belongs to node %.*s, this is %.*s", path,
                       WAL_NODE_LEN, node, WAL_NODE_LEN, wal->options.node);
    if (segment->sequence > sequence)
        return ERR_NOT_FOUND;
    if (segment->sequence < sequence)
        return err_set(err, ERR_CORRUPT, "%s: its header is that of segment %llu", path,
                       (unsigned long long)segment->sequence);
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
        limit = segment.previous;
        wal->segments[--kept] = segment;
    }
    wal->segment_count -= kept;
    memmove(wal->segments, wal->segments + kept, wal->segment_count * sizeof *wal->segments);
}

int wal_list(struct wal *wal, struct err *err)
{
    int code = wal->options.disk->list(wal->options.disk, wal->dir, note_name, wal);

    if (code < 0)
        return err_system(err, -code, "list %s", wal->dir);
    if (wal->segment_count == 0)
        return 0;
    qsort(wal->segments, wal->segment_count, sizeof *wal->segments, by_sequence);
    if ((code = read_headers(wal, err)) != 0)
        return code;
    drop_dead(wal);
    return 0;
}
