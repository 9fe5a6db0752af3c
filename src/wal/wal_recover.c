/*
 * Recovery: every record is read once, to find where the log ends and to tell who wants to know.
 *
 * Happy path: each segment ends where the next one's header says, and the last one ends at the
 * first record that is not whole. New records go into a new segment, so stale bytes behind the
 * end can never be taken for records. What the last process may have left in the kernel's
 * memory alone, the records of its last round, is written and synced once more: only then are
 * they durable, and the log is open.
 *
 * In the last segment a record that is not whole is the torn end of a round that nobody was
 * told of, unless a record behind it says that it was written after a sync: then the broken
 * one had been durable and has rotted, and the log goes on behind it.
 */
#include "wal/wal_priv.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

enum { ASK_EVERY = 1 << 20 }; /* bytes read: 10 ms on a slow disk */

struct recovery {
    struct wal *wal;
    struct wal_recovery *report;
    struct wal_scan scan;
    struct wal_ahead *ahead;
    uint64_t records;         /* that the log held before the record being read */
    uint64_t unproven;        /* position of the last record that was the first of its round */
    struct wal_damage damage; /* in the segment being read */
};

static int ask_whether_to_go_on(const struct wal *wal, struct err *err)
{
    if (wal->options.give_up != NULL && wal->options.give_up())
        return err_set(err, ERR_CLOSED, "the start was given up");
    return 0;
}

static void note_damage(struct recovery *recovery, uint64_t from, uint64_t to)
{
    recovery->report->damaged_stretches++;
    recovery->report->damaged_bytes += to - from;
    damage_add(&recovery->damage, &recovery->scan, from, to);
}

/* How many records stood in a segment: known if there is another behind it. */
static void count_lost(struct recovery *recovery, const struct wal_segment *segment, bool last)
{
    uint64_t whole = recovery->records - segment->records;
    uint64_t lost = UINT64_MAX;

    if (!last) {
        uint64_t all = segment[1].records - segment->records;

        lost = all > whole ? all - whole : 0;
    }
    if (recovery->damage.count > 0)
        recovery->records += damage_note(recovery->wal, segment, &recovery->damage, lost);
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
    if (last == from) { /* but part of a record perhaps */
        int code = scan_torn(&recovery->scan, from, limit, &last, err);

        if (code != 0)
            return code;
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
    uint64_t ask_at = at;
    int code;

    if ((code = scan_open(&recovery->scan, wal, segment, err)) != 0)
        return code;
    ahead_start(recovery->ahead, recovery->scan.fd, SEGMENT_HEADER,
                SEGMENT_HEADER + (limit - segment->base));
    recovery->scan.ahead = recovery->ahead;
    recovery->records = segment->records;
    recovery->unproven = segment->base;
    while (at < limit) {
        struct slice record;
        uint64_t next = at;
        uint64_t cut = 0;
        bool first;

        if (at >= ask_at) {
            if ((code = ask_whether_to_go_on(wal, err)) != 0)
                goto done;
            ask_at = at + ASK_EVERY;
        }
        code = scan_record(&recovery->scan, at, limit, &record, &first, err);
        if (code == 0) {
            if (wal->options.recovered != NULL)
                wal->options.recovered(wal->options.recovered_arg, at, record);
            if (first)
                recovery->unproven = at;
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
        if (!last && next == limit)
            next = segment->end; /* the file may be shorter than its stretch */
        note_damage(recovery, at, next);
        at = next;
    }
    if (!last && at < segment->end) {
        note_damage(recovery, at, segment->end);
        at = segment->end;
    }
    segment->end = at;
    count_lost(recovery, segment, last);
    recovery->report->bytes += at - segment->base;
    code = 0;
done:
    ahead_stop(recovery->ahead);
    scan_close(&recovery->scan);
    return code;
}

/* Writes and syncs anew what no later record proves to be durable: the last process may have
 * died before its sync, or after one that failed, and the kernel would call it clean. */
static int rewrite(struct wal *wal, int fd, uint64_t offset, uint64_t end)
{
    enum { CHUNK = 256 * 1024 };
    struct disk *disk = wal->options.disk;
    char *chunk = mem_alloc(CHUNK);
    int64_t got = 0;
    int code = 0;

    while (code >= 0 && offset < end) {
        struct iovec vector = {chunk, end - offset < CHUNK ? (size_t)(end - offset) : CHUNK};

        got = disk->read(disk, fd, chunk, vector.iov_len, offset);
        if (got < 0)
            code = (int)got;
        else if ((size_t)got < vector.iov_len)
            code = -EIO; /* it was there a moment ago */
        else
            code = disk->write(disk, fd, &vector, 1, offset);
        offset += (uint64_t)got;
    }
    free(chunk);
    return code < 0 ? code : disk->sync(disk, fd);
}

/* Makes the end final: what is before it durable, and the room behind it given back. */
static int settle_tail(struct wal *wal, struct wal_segment *segment, uint64_t unproven,
                       struct err *err)
{
    struct disk *disk = wal->options.disk;
    uint64_t used = SEGMENT_HEADER + (segment->end - segment->base);
    char path[SEGMENT_PATH];
    int code, fd;

    segment_path(wal, segment->sequence, path);
    fd = disk->open(disk, path, O_RDWR);
    if (fd < 0)
        return err_system(err, -fd, "open %s", path);
    if (used < segment->size && disk->truncate(disk, fd, used) >= 0)
        segment->size = used;
    code = rewrite(wal, fd, SEGMENT_HEADER + (unproven - segment->base), used);
    disk->close(disk, fd);
    return code < 0 ? err_system(err, -code, "sync the end of %s", path) : 0;
}

int wal_recover(struct wal *wal, struct wal_recovery *ret, struct err *err)
{
    struct recovery recovery = {.wal = wal, .report = ret, .scan = {.fd = -1}};
    int64_t started = clock_mono_us();
    uint64_t end = wal->options.start;
    int code;

    if ((code = wal_list(wal, err)) != 0)
        return code;
    recovery.ahead = ahead_open(wal->options.disk);
    if (wal->options.recovering != NULL &&
        (code = wal->options.recovering(wal->options.recovered_arg,
                                        wal->segment_count > 0 ? wal->segments[0].previous : end,
                                        err)) != 0)
        goto done;
    for (size_t i = 0; i < wal->segment_count; i++) {
        code = recover_segment(&recovery, &wal->segments[i], i + 1 == wal->segment_count, err);
        if (code != 0)
            goto done;
        end = wal->segments[i].end;
    }
    if (wal->options.recovery_ended != NULL)
        wal->options.recovery_ended(wal->options.recovered_arg);
    if (wal->segment_count > 0 && !wal->options.read_only &&
        (code = settle_tail(wal, &wal->segments[wal->segment_count - 1], recovery.unproven, err)) !=
            0)
        goto done;
    if (wal->segment_count > 0 && wal->segments[wal->segment_count - 1].base == end)
        wal->jump_from = wal->segments[wal->segment_count - 1].previous; /* it holds nothing */
    else
        wal->jump_from = end;
    if (end < wal->options.start)
        end = wal->options.start; /* a position is never used twice */
    ret->end = wal->jump_from > wal->options.start ? wal->jump_from : wal->options.start;
    if (end < wal->options.least)
        end = wal->options.least;
    else if (wal->segment_count > 0 || wal->options.start > 0)
        end += wal->options.gap;
    wal->jump_to = end;
    wal->end = wal->jump_from;
    atomic_store(&wal->durable, end);
    for (size_t i = 0; i < wal->segment_count; i++)
        wal->bytes_on_disk += wal->segments[i].size;
    atomic_store(&wal->records, recovery.records);
    atomic_store(&wal->damaged_bytes, ret->damaged_bytes);
    ret->segments = wal->segment_count;
    ret->duration_us = clock_mono_us() - started;
    code = 0;
done:
    damage_free(&recovery.damage);
    scan_free(&recovery.scan);
    ahead_close(recovery.ahead);
    return code;
}
