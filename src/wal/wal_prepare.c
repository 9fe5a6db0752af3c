/*
 * The preparer: segments ready before they are needed, and an end for those that are not.
 *
 * fdatasync into blocks that were written before is twice as fast as into blocks that are
 * only allocated (DESIGN, decision 2), and it is to be believed while ext4 fails: into the others
 * it has called data durable that was not (docs/decisions.md). So a new segment is written once
 * with zeros in the background, and a delivered one is kept as the next spare; stale records in it
 * end the log, because their position and checksum belong to an earlier life.
 *
 * Segments go in the order in which they were released, so that a crash leaves no gap, and
 * what cannot be put away stays on the list: the room that it takes is still taken.
 *
 * While the store is away the log grows, and nobody reads it: the kernel need not keep it in
 * memory, where it takes the place of what others read. Nor does the log gain anything: each of its
 * pages would be memory taken anew, which costs more than the bytes that are copied into it.
 */
#include "wal/wal_priv.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

enum { CHUNK = 256 * 1024, AT_ONCE = 4 << 20, PAUSE_AT_MOST_US = 100000, RETRY_S = 1 };

static bool stopping(struct wal *wal)
{
    bool stop;

    pthread_mutex_lock(&wal->lock);
    stop = wal->preparer_stopping;
    pthread_mutex_unlock(&wal->lock);
    return stop;
}

/* Whether the file that is being filled is not to be filled any further. Under the lock. */
static bool called_off(const struct wal *wal)
{
    return wal->preparer_stopping || wal->making == MAKING_AWAITED;
}

/* The oldest one that is full and in memory, and that the store has yet to get to; or NULL. */
static struct wal_segment *find_idle(struct wal *wal)
{
    uint64_t delivered_to = atomic_load(&wal->delivered_to);
    struct wal_segment *idle = NULL;

    for (size_t i = wal->segment_count; i-- > 0 && wal->segments[i].base > delivered_to;) {
        if (i + 1 == wal->segment_count)
            continue; /* the current one */
        if (!wal->segments[i].cached)
            break;
        idle = &wal->segments[i];
    }
    return idle;
}

/* Whoever reads those later reads them from the disk. A hint: nothing is wrong if it fails. */
static void uncache_idle(struct wal *wal)
{
    struct disk *disk = wal->options.disk;
    struct wal_segment *idle;

    pthread_mutex_lock(&wal->lock);
    while ((idle = find_idle(wal)) != NULL) {
        char path[SEGMENT_PATH];
        int fd;

        idle->cached = false;
        segment_path(wal, idle->sequence, path);
        pthread_mutex_unlock(&wal->lock);
        fd = disk->open(disk, path, O_RDONLY);
        if (fd >= 0) {
            disk->uncache(disk, fd);
            disk->close(disk, fd);
        }
        pthread_mutex_lock(&wal->lock);
    }
    pthread_mutex_unlock(&wal->lock);
}

/* As long as the disk was at work; but one that stood still does not hold up the end. True if the
 * filling is called off. */
static bool leave_the_disk(struct wal *wal, int64_t started_us)
{
    int64_t now_us = clock_mono_us();
    int64_t took_us = now_us - started_us;
    int64_t until_us = now_us + (took_us < PAUSE_AT_MOST_US ? took_us : PAUSE_AT_MOST_US);
    struct timespec until = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};
    bool off;

    pthread_mutex_lock(&wal->lock);
    while (!(off = called_off(wal)) &&
           pthread_cond_timedwait(&wal->preparer_wakes, &wal->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&wal->lock);
    return off;
}

static const char zeros[CHUNK];

/* Writes zeros to [at, at + len) and makes them durable. A chunk at a time: the kernel keeps what
 * one call wrote in pieces as large as it finds memory for, and whoever later writes a record into
 * a piece, or syncs it, walks over all of its blocks. */
static int write_zeros(struct wal *wal, int fd, uint64_t at, uint64_t len)
{
    struct disk *disk = wal->options.disk;
    int code = 0;

    for (uint64_t done = 0; code >= 0 && done < len; done += CHUNK) {
        uint64_t left = len - done;
        struct iovec chunk = {(char *)zeros, left < CHUNK ? (size_t)left : CHUNK};

        code = disk->write(disk, fd, &chunk, 1, at + done);
    }
    return code < 0 || !wal->options.sync ? code : disk->sync(disk, fd);
}

int segment_fill(struct wal *wal, int fd)
{
    uint64_t size = wal->options.segment_bytes;
    int code = wal->options.disk->allocate(wal->options.disk, fd, size);

    if (!wal->options.sync)
        return code;
    for (uint64_t at = 0; code >= 0 && at < size; at += AT_ONCE)
        code = write_zeros(wal, fd, at, size - at < AT_ONCE ? size - at : AT_ONCE);
    return code;
}

/* A round of the committer waits for what the disk was given before it: so that is little at a
 * time, and as long as it took the disk is left alone. -EINTR if it is called off. */
static int fill_slowly(struct wal *wal, int fd)
{
    uint64_t size = wal->options.segment_bytes;
    int64_t started_us = clock_mono_us();
    int code = wal->options.disk->allocate(wal->options.disk, fd, size);

    for (uint64_t at = 0; code >= 0 && at < size; at += CHUNK) {
        if (leave_the_disk(wal, started_us))
            return -EINTR;
        uncache_idle(wal); /* the log may grow by several segments until this one is ready */
        started_us = clock_mono_us();
        code = write_zeros(wal, fd, at, size - at < CHUNK ? size - at : CHUNK);
    }
    return code;
}

/* False if the committer does not wait for it. */
static bool leave_to_committer(struct wal *wal)
{
    bool awaited;

    pthread_mutex_lock(&wal->lock);
    awaited = wal->making == MAKING_AWAITED;
    if (awaited)
        wal->making = MAKING_LEFT;
    pthread_mutex_unlock(&wal->lock);
    pthread_cond_signal(&wal->committer_wakes);
    return awaited;
}

/* A spare file, unless the committer takes it before it is one. False if it could not be done
 * now. */
static bool make_spare(struct wal *wal, uint64_t number, struct err *err)
{
    struct disk *disk = wal->options.disk;
    char path[SEGMENT_PATH];
    char unfinished[SEGMENT_PATH];
    int code, fd;

    spare_path(wal, number, path);
    unfinished_path(wal, number, unfinished);
    fd = disk->open(disk, unfinished, O_RDWR | O_CREAT | O_TRUNC);
    code = fd < 0 ? fd : fill_slowly(wal, fd);
    if (fd >= 0)
        disk->close(disk, fd);
    if (code == -EINTR && leave_to_committer(wal))
        return true;
    if (code >= 0)
        code = disk->rename(disk, unfinished, path);
    if (code < 0) {
        err_system(err, -code, "make a spare one");
        file_discard(wal, FILE_UNFINISHED, number);
    }
    pthread_mutex_lock(&wal->lock);
    wal->making = MAKING_NOTHING;
    if (code >= 0)
        wal->spare_numbers[wal->spare_count++] = number;
    pthread_mutex_unlock(&wal->lock);
    pthread_cond_signal(&wal->committer_wakes);
    return code >= 0;
}

/* It stays on the list, where it was; what became no segment need not hold up those that did. */
static void put_back(struct wal *wal, const struct wal_segment *segment)
{
    size_t before;

    pthread_mutex_lock(&wal->lock);
    before = segment->sequence == 0 ? wal->released_count : 0;
    segments_push(&wal->released, &wal->released_count, &wal->released_room, segment);
    memmove(wal->released + before + 1, wal->released + before,
            (wal->released_count - 1 - before) * sizeof *wal->released);
    wal->released[before] = *segment;
    pthread_mutex_unlock(&wal->lock);
}

/* Whether it has become a spare file for good; if not, `segment` knows what it is called. */
static bool become_spare(struct wal *wal, struct wal_segment *segment, uint64_t number)
{
    struct disk *disk = wal->options.disk;
    char from[SEGMENT_PATH];
    char to[SEGMENT_PATH];

    segment_path(wal, segment->sequence, from);
    spare_path(wal, number, to);
    if (disk->rename(disk, from, to) < 0)
        return false;
    segment->named = FILE_SPARE;
    segment->number = number;
    /* The old name must not come back after a crash over the next life's header. */
    return disk->sync_dir(disk, wal->dir) >= 0;
}

/* A delivered segment becomes a spare one, or is deleted. False if neither could be done now. */
static bool put_away(struct wal *wal, struct wal_segment *segment, bool keep, uint64_t number,
                     struct err *err)
{
    if (!segment->retired && segment_retire(wal, segment, err) != 0) {
        put_back(wal, segment);
        return false;
    }
    segment->retired = true;
    keep = keep && become_spare(wal, segment, number);
    if (!keep && segment_delete(wal, segment, err) != 0) {
        put_back(wal, segment);
        return false;
    }
    pthread_mutex_lock(&wal->lock);
    if (keep)
        wal->spare_numbers[wal->spare_count++] = number;
    else
        wal->bytes_on_disk -= segment->size;
    pthread_mutex_unlock(&wal->lock);
    return true;
}

enum job {
    JOB_NONE = 0,
    JOB_PUT_AWAY = 1,
    JOB_MAKE = 2,
    JOB_SETTLE = 4,
    JOB_UNCACHE = 8,
    JOB_STOP = 16
};

static const struct {
    const char *cannot, *can;
} words[] = {
    [JOB_PUT_AWAY] = {"put away a segment", "segments can be put away"},
    [JOB_MAKE] = {"prepare a segment", "segments can be prepared"},
    [JOB_SETTLE] = {"set aside damaged bytes", "damaged bytes can be set aside"},
};

/* Waits for something to do; what is in `failed` has its turn again after RETRY_S. */
static enum job next_job(struct wal *wal, unsigned *failed, struct wal_segment *ret_segment,
                         bool *ret_keep, uint64_t *ret_number)
{
    enum job job = JOB_NONE;
    struct timespec until;

    pthread_mutex_lock(&wal->lock);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += RETRY_S;
    while (job == JOB_NONE) {
        bool wanted = wal->making == MAKING_NOTHING && wal->spare_count < wal->options.spares;

        if (wal->preparer_stopping) {
            job = JOB_STOP;
        } else if (wal->released_count > 0 && (*failed & JOB_PUT_AWAY) == 0) {
            *ret_segment = wal->released[0];
            memmove(wal->released, wal->released + 1,
                    --wal->released_count * sizeof *wal->released);
            *ret_keep = ret_segment->named == FILE_SEGMENT && /* no sync is tried again */
                        wal->spare_count < spares_kept(wal) &&
                        wal->bytes_on_disk <= wal->options.max_bytes &&
                        ret_segment->size == wal->options.segment_bytes;
            *ret_number = wal->next_spare++;
            job = JOB_PUT_AWAY;
        } else if (wal->damage_owed && (*failed & JOB_SETTLE) == 0) {
            job = JOB_SETTLE;
        } else if (wanted && (*failed & JOB_MAKE) == 0 &&
                   wal->bytes_on_disk + wal->options.segment_bytes <= wal->options.max_bytes) {
            wal->bytes_on_disk += wal->options.segment_bytes;
            wal->making = MAKING;
            wal->making_number = *ret_number = wal->next_spare++;
            job = JOB_MAKE;
        } else if (find_idle(wal) != NULL) {
            job = JOB_UNCACHE;
        } else if (*failed == 0) {
            pthread_cond_wait(&wal->preparer_wakes, &wal->lock);
        } else if (pthread_cond_timedwait(&wal->preparer_wakes, &wal->lock, &until) != 0) {
            *failed = 0;
        }
    }
    pthread_mutex_unlock(&wal->lock);
    return job;
}

void *preparer_run(void *arg)
{
    struct wal *wal = arg;
    struct wal_segment segment;
    unsigned failed = 0; /* jobs that were tried in vain a moment ago */
    unsigned told = 0;   /* jobs that have failed since they last succeeded */
    uint64_t number;
    struct err err;
    enum job job;
    bool keep, done;

    while ((job = next_job(wal, &failed, &segment, &keep, &number)) != JOB_STOP) {
        if (job == JOB_UNCACHE) {
            uncache_idle(wal);
            continue;
        }
        if (job == JOB_MAKE)
            done = make_spare(wal, number, &err);
        else if (job == JOB_PUT_AWAY)
            done = put_away(wal, &segment, keep, number, &err);
        else
            done = damage_settle(wal, &err) == 0;
        if (done) {
            if ((told & job) != 0)
                log_info("wal", "%s again", words[job].can);
            failed &= ~(unsigned)job;
            told &= ~(unsigned)job;
            continue;
        }
        if ((told & job) == 0 && !stopping(wal))
            log_warning("wal", "cannot %s now: %s", words[job].cannot, err.text);
        failed |= job;
        told |= job;
    }
    return NULL;
}

void wal_release(struct wal *wal, uint64_t position, uint64_t *ret_first)
{
    size_t gone = 0;

    pthread_mutex_lock(&wal->lock);
    if (position > atomic_load(&wal->durable))
        position = atomic_load(&wal->durable); /* a round under way may have begun segments */
    if (position > atomic_load(&wal->delivered_to))
        atomic_store(&wal->delivered_to, position);
    while (gone + 1 < wal->segment_count && wal->segments[gone + 1].base <= position) {
        if (!wal->options.read_only)
            segments_push(&wal->released, &wal->released_count, &wal->released_room,
                          &wal->segments[gone]);
        gone++;
    }
    if (gone > 0) {
        wal->segment_count -= gone;
        memmove(wal->segments, wal->segments + gone, wal->segment_count * sizeof *wal->segments);
        pthread_cond_signal(&wal->preparer_wakes);
    }
    if (ret_first != NULL)
        *ret_first =
            wal->segment_count > 0 ? wal->segments[0].previous : atomic_load(&wal->durable);
    pthread_mutex_unlock(&wal->lock);
}
