/*
 * The quarantine: bytes of the log that are damaged, set aside for a person to look at, and the
 * index of all stretches that ever were, also of those that found no room. The bytes are drawn in
 * docs/disk-format.md, "Quarantine".
 *
 * What can go wrong: the quarantine's bound or the disk is full, or the disk fails: then the caller
 * counts the stretch all the same. An entry of the index that is damaged itself is not counted.
 */
#include "wal/wal_priv.h"

#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { INDEX_ENTRY = 40, CHUNK = 256 * 1024, DAMAGE_DELIVERED = 1 };

static void index_entry(char out[INDEX_ENTRY], const struct wal_stretch *stretch)
{
    uint32_t flags = stretch->delivered ? DAMAGE_DELIVERED : 0;
    uint32_t crc;

    memset(out, 0, INDEX_ENTRY);
    memcpy(out, &stretch->from, 8);
    memcpy(out + 8, &stretch->to, 8);
    memcpy(out + 16, &stretch->records, 8);
    memcpy(out + 24, &stretch->kept_bytes, 8);
    memcpy(out + 32, &flags, 4);
    crc = crc32c(0, out, INDEX_ENTRY - 4);
    memcpy(out + INDEX_ENTRY - 4, &crc, 4);
}

static bool index_read(const char in[INDEX_ENTRY], struct wal_stretch *ret)
{
    if (crc32c(0, in, INDEX_ENTRY - 4) != get_u32(in + INDEX_ENTRY - 4))
        return false;
    *ret = (struct wal_stretch){.from = get_u64(in),
                                .to = get_u64(in + 8),
                                .records = get_u64(in + 16),
                                .kept_bytes = get_u64(in + 24),
                                .delivered = (get_u32(in + 32) & DAMAGE_DELIVERED) != 0};
    return true;
}

static void path_in(const struct wal *wal, const char *name, char out[SEGMENT_PATH])
{
    snprintf(out, SEGMENT_PATH, "%s/%s", wal->options.quarantine, name);
}

int quarantine_open(struct wal *wal, struct err *err)
{
    struct disk *disk = wal->options.disk;
    char entry[INDEX_ENTRY];
    char path[SEGMENT_PATH];
    struct wal_stretch stretch;
    uint64_t bad = 0;
    int64_t got;
    int fd;

    if (wal->options.quarantine == NULL)
        return 0;
    path_in(wal, "index", path);
    fd = disk->open(disk, path, O_RDONLY);
    if (fd == -ENOENT)
        return 0;
    if (fd < 0)
        return err_system(err, -fd, "open %s", path);
    while ((got = disk->read(disk, fd, entry, sizeof entry, wal->index_end)) == INDEX_ENTRY) {
        if (!index_read(entry, &stretch))
            bad++;
        else
            damage_push(wal, &stretch);
        wal->index_end += INDEX_ENTRY;
    }
    disk->close(disk, fd);
    if (got < 0)
        return err_system(err, (int)-got, "read %s", path);
    if (bad > 0)
        log_warning("wal", "%s: %" PRIu64 " entries are damaged and not counted", path, bad);
    return 0;
}

/* The bytes of the stretch, behind a copy of the segment's header, so that the file can be read as
 * one of the log. */
static int copy_bytes(struct wal *wal, const struct wal_segment *segment,
                      const struct wal_stretch *stretch, int to)
{
    struct disk *disk = wal->options.disk;
    uint64_t at = SEGMENT_HEADER + (stretch->from - segment->base);
    uint64_t end = SEGMENT_HEADER + (stretch->to - segment->base);
    uint64_t offset = SEGMENT_HEADER;
    char *chunk = mem_alloc(CHUNK);
    struct iovec vector = {chunk, SEGMENT_HEADER};
    char path[SEGMENT_PATH];
    int64_t got;
    int code;
    int fd;

    segment_path(wal, segment->sequence, path);
    fd = disk->open(disk, path, O_RDONLY);
    code = fd < 0 ? fd : (int)disk->read(disk, fd, chunk, SEGMENT_HEADER, 0);
    if (code >= 0)
        code = disk->write(disk, to, &vector, 1, 0);
    while (code >= 0 && at < end) {
        got = disk->read(disk, fd, chunk, end - at < CHUNK ? (size_t)(end - at) : CHUNK, at);
        if (got <= 0) {
            code = (int)got;
            break; /* the file may be shorter than its stretch */
        }
        vector = (struct iovec){chunk, (size_t)got};
        code = disk->write(disk, to, &vector, 1, offset);
        offset += (uint64_t)got;
        at += (uint64_t)got;
    }
    if (fd >= 0)
        disk->close(disk, fd);
    free(chunk);
    return code;
}

static int write_copy(struct wal *wal, const struct wal_segment *segment,
                      const struct wal_stretch *stretch, struct err *err)
{
    struct disk *disk = wal->options.disk;
    char fresh[SEGMENT_PATH];
    char path[SEGMENT_PATH];
    char name[80];
    int code, fd;

    snprintf(name, sizeof name, "%020" PRIu64 "-%" PRIu64 ".damaged", stretch->from,
             stretch->to - stretch->from);
    path_in(wal, name, path);
    path_in(wal, "new", fresh);
    fd = disk->open(disk, fresh, O_RDWR | O_CREAT | O_TRUNC);
    if (fd < 0)
        return err_system(err, -fd, "make %s", fresh);
    code = copy_bytes(wal, segment, stretch, fd);
    if (code >= 0)
        code = disk->sync(disk, fd);
    disk->close(disk, fd);
    if (code >= 0)
        code = disk->rename(disk, fresh, path);
    if (code < 0) {
        disk->unlink(disk, fresh);
        return err_system(err, -code, "write %s", path);
    }
    return 0;
}

static int write_index(struct wal *wal, const struct wal_stretch *stretch, struct err *err)
{
    struct disk *disk = wal->options.disk;
    char entry[INDEX_ENTRY];
    struct iovec vector = {entry, sizeof entry};
    char path[SEGMENT_PATH];
    int code, fd;

    index_entry(entry, stretch);
    path_in(wal, "index", path);
    fd = disk->open(disk, path, O_RDWR | O_CREAT);
    if (fd < 0)
        return err_system(err, -fd, "open %s", path);
    code = disk->write(disk, fd, &vector, 1, wal->index_end);
    if (code >= 0)
        code = disk->sync(disk, fd);
    disk->close(disk, fd);
    if (code < 0 || (code = disk->sync_dir(disk, wal->options.quarantine)) < 0)
        return err_system(err, -code, "write %s", path);
    wal->index_end += INDEX_ENTRY;
    return 0;
}

int quarantine_keep(struct wal *wal, const struct wal_segment *segment, struct wal_stretch *stretch,
                    struct err *err)
{
    uint64_t bytes = SEGMENT_HEADER + (stretch->to - stretch->from);
    int code = folder_make(wal, wal->options.quarantine, err);

    if (code != 0)
        return code;
    if (wal->kept_bytes + bytes <= wal->options.quarantine_max_bytes) {
        if ((code = write_copy(wal, segment, stretch, err)) != 0)
            return code;
        stretch->kept_bytes = bytes;
    }
    return write_index(wal, stretch, err);
}
