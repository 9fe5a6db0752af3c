/*
 * A window on one segment file, sliding forward: recovery and readers look at records
 * through it. The window grows to the largest record that it meets and no further. Recovery has
 * the next windows read ahead; what does not fit into those is read here, at the cost of reading it
 * twice.
 *
 * What can go wrong: the disk does not give the bytes (ERR_IO, nothing changes), or gives
 * bytes that are no whole record (ERR_CORRUPT; scan_resync() looks for the next whole one).
 */
#include "wal/wal_priv.h"

#include <assert.h>
#include <fcntl.h>

enum { WINDOW = 256 * 1024 };

int scan_open(struct wal_scan *scan, struct wal *wal, const struct wal_segment *segment,
              struct err *err)
{
    struct disk *disk = wal->options.disk;
    char path[SEGMENT_PATH];
    int fd;

    segment_path(wal, segment->sequence, path);
    fd = disk->open(disk, path, O_RDONLY);
    if (fd < 0)
        return err_system(err, -fd, "open segment %llu", (unsigned long long)segment->sequence);
    scan_close(scan);
    scan->wal = wal;
    scan->segment = *segment;
    scan->fd = fd;
    scan->window_at = SEGMENT_HEADER;
    return 0;
}

void scan_close(struct wal_scan *scan)
{
    if (scan->wal != NULL && scan->fd >= 0)
        scan->wal->options.disk->close(scan->wal->options.disk, scan->fd);
    scan->fd = -1;
    scan->window = (struct slice){"", 0}; /* what it was in may be gone */
}

void scan_free(struct wal_scan *scan)
{
    scan_close(scan);
    buf_free(&scan->memory);
}

/* The window slides on to what was read ahead, or not at all. Gives what it then holds from
 * `offset` on, or a negative errno. */
static int64_t slide_ahead(struct wal_scan *scan, uint64_t offset)
{
    uint64_t until = scan->window_at + scan->window.len;
    struct slice rest;
    int64_t got;

    if (scan->ahead == NULL || offset < scan->window_at || offset > until ||
        until - offset > AHEAD_ROOM)
        return 0;
    rest = (struct slice){scan->window.at + (offset - scan->window_at), (size_t)(until - offset)};
    got = ahead_take(scan->ahead, until, rest, &scan->window.at);
    if (got <= 0)
        return got;
    scan->window_at = offset;
    scan->window.len = rest.len + (size_t)got;
    return (int64_t)scan->window.len;
}

__attribute__((noinline)) static int64_t slide(struct wal_scan *scan, uint64_t offset, size_t want,
                                               uint64_t limit)
{
    struct disk *disk = scan->wal->options.disk;
    size_t size = want > WINDOW ? want : WINDOW;
    int64_t got = slide_ahead(scan, offset);

    if (got < 0 || (got > 0 && (size_t)got >= want))
        return got;
    if (size > limit - offset)
        size = (size_t)(limit - offset);
    if (scan->ahead != NULL)
        ahead_release(scan->ahead);
    scan->window.len = 0;
    got = disk->read(disk, scan->fd, buf_reserve(&scan->memory, size), size, offset);
    if (got < 0)
        return got;
    scan->window = (struct slice){scan->memory.data, (size_t)got};
    scan->window_at = offset;
    return got;
}

/* Bytes from `offset` on, which is not behind `limit`: at least `want` of them unless `limit` or
 * the file ends before. */
static inline int look(struct wal_scan *scan, uint64_t offset, size_t want, uint64_t limit,
                       struct slice *ret, struct err *err)
{
    uint64_t until = scan->window_at + scan->window.len;

    assert(offset <= limit);
    if (want > limit - offset)
        want = (size_t)(limit - offset);
    if (offset < scan->window_at || offset + want > until) {
        int64_t got = slide(scan, offset, want, limit);

        if (got < 0)
            return err_system(err, (int)-got, "read segment %llu",
                              (unsigned long long)scan->segment.sequence);
        until = scan->window_at + scan->window.len;
    }
    ret->at = scan->window.at + (offset - scan->window_at);
    ret->len = (size_t)((until < limit ? until : limit) - offset);
    return 0;
}

static uint64_t offset_of(const struct wal_scan *scan, uint64_t position)
{
    return SEGMENT_HEADER + (position - scan->segment.base);
}

int scan_record(struct wal_scan *scan, uint64_t position, uint64_t limit, struct slice *ret,
                bool *ret_first, struct err *err)
{
    uint64_t offset = offset_of(scan, position);
    uint64_t end = offset_of(scan, limit);
    struct slice bytes = {0};
    size_t whole;
    int code;

    if ((code = look(scan, offset, RECORD_HEADER, end, &bytes, err)) != 0)
        return code;
    if (bytes.len >= RECORD_HEADER && get_u64(bytes.at + 8) == position) {
        size_t want = RECORD_HEADER + (size_t)(get_u32(bytes.at + 4) & ~RECORD_FIRST);

        if (want <= RECORD_HEADER + WAL_MAX_RECORD && want > bytes.len &&
            (code = look(scan, offset, want, end, &bytes, err)) != 0)
            return code;
    }
    whole = record_check(bytes.at, bytes.len, scan->segment.salt, position);
    if (whole == 0)
        return err_set(err, ERR_CORRUPT, "no whole record at position %llu",
                       (unsigned long long)position);
    *ret_first = (get_u32(bytes.at + 4) & RECORD_FIRST) != 0;
    *ret = (struct slice){bytes.at + RECORD_HEADER, whole - RECORD_HEADER};
    return 0;
}

int scan_torn(struct wal_scan *scan, uint64_t position, uint64_t limit, uint64_t *ret_end,
              struct err *err)
{
    struct slice bytes = {0};
    uint64_t whole = 0;
    int code =
        look(scan, offset_of(scan, position), RECORD_HEADER, offset_of(scan, limit), &bytes, err);

    if (code != 0)
        return code;
    if (bytes.len >= RECORD_HEADER && get_u64(bytes.at + 8) == position && get_u64(bytes.at) != 0)
        whole = RECORD_HEADER + (uint64_t)(get_u32(bytes.at + 4) & ~RECORD_FIRST);
    *ret_end = position + (whole < limit - position ? whole : limit - position);
    return 0;
}

/* How many places in front of `at` hold no position but 0, because there are only zeros: what is
 * left of a new segment is that, and is walked at every start. */
static size_t skip_zeros(const char *at, size_t len)
{
    size_t skipped = 0;
    uint64_t words[4];

    while (skipped + RECORD_HEADER + sizeof words <= len) {
        memcpy(words, at + skipped + 8, sizeof words);
        if ((words[0] | words[1] | words[2] | words[3]) != 0)
            break;
        skipped += sizeof words - 7; /* the last seven begin a position that ends beyond */
    }
    return skipped;
}

/* The first place that has its own position where a record's header has it; `len` - 15 if none. */
static size_t find_position(const char *at, size_t len, uint64_t from)
{
    size_t tried = 0;

    while (tried + RECORD_HEADER <= len) {
        uint64_t position = get_u64(at + tried + 8);
        size_t zeros;

        if (position == from + tried)
            break;
        zeros = position == 0 ? skip_zeros(at + tried, len - tried) : 0;
        tried += zeros > 0 ? zeros : 1;
    }
    return tried;
}

int scan_resync(struct wal_scan *scan, uint64_t from, uint64_t limit, uint64_t *ret_found,
                struct err *err)
{
    while (from < limit) {
        struct slice bytes = {0};
        struct slice record;
        bool first;
        size_t tried;
        int code;

        code =
            look(scan, offset_of(scan, from), RECORD_HEADER, offset_of(scan, limit), &bytes, err);
        if (code != 0)
            return code;
        if (bytes.len < RECORD_HEADER)
            break;
        tried = find_position(bytes.at, bytes.len, from);
        from += tried;
        if (tried + RECORD_HEADER > bytes.len)
            continue;
        code = scan_record(scan, from, limit, &record, &first, err);
        if (code == 0) {
            *ret_found = from;
            return 0;
        }
        if (code != ERR_CORRUPT)
            return code;
        from++;
    }
    *ret_found = limit;
    return 0;
}
