/*
 * The preparer: segments ready before they are needed, and an end for those that are not.
 *
 * fdatasync into blocks that were written before is twice as fast as into blocks that are
 * only allocated (DESIGN, decision 2), so a new segment is written once with zeros in the
 * background, and a delivered one is kept as the next spare; stale records in it end the
 * log, because their position and checksum belong to an earlier life.
 */
#include "wal/wal_priv.h"

#include "base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>

enum { CHUNK = 1024 * 1024, SYNC_EVERY = 8, RETRY_S = 1 };

static bool stopping(struct wal *wal)
{
    bool stop;

    pthread_mutex_lock(&wal->lock);
    stop = wal->preparer_stopping;
    pthread_mutex_unlock(&wal->lock);
    return stop;
}

/* Writes the whole file, so that its blocks exist and have been written. */
static int fill(struct wal *wal, int fd)
{
    static char zeros[CHUNK];
    struct disk *disk = wal->options.disk;
    uint64_t size = wal->options.segment_bytes;
    int chunks = 0;
    int code;

    if ((code = disk->allocate(disk, fd, size)) < 0)
        return code;
    for (uint64_t at = 0; at < size; at += CHUNK) {
        struct iovec vector = {zeros, size - at < CHUNK ? (size_t)(size - at) : CHUNK};

        if (stopping(wal))
            return -1;
        if ((code = disk->write(disk, fd, &vector, 1, at)) < 0)
            return code;
        if (wal->options.sync && ++chunks % SYNC_EVERY == 0 && (code = disk->sync(disk, fd)) < 0)
            return code;
    }
    return wal->options.sync ? disk->sync(disk, fd) : 0;
}

/* False if it could not be done now. */
static bool make_spare(struct wal *wal, uint64_t number)
{
    struct disk *disk = wal->options.disk;
    char path[SEGMENT_PATH];
    char unfinished[SEGMENT_PATH + 8];
    int code, fd;

    spare_path(wal, number, path);
    snprintf(unfinished, sizeof unfinished, "%s.new", path);
    fd = disk->open(disk, unfinished, O_RDWR | O_CREAT | O_TRUNC);
    code = fd < 0 ? fd : fill(wal, fd);
    if (fd >= 0)
        disk->close(disk, fd);
    if (code >= 0)
        code = disk->rename(disk, unfinished, path);
    if (code < 0)
        disk->unlink(disk, unfinished);
    pthread_mutex_lock(&wal->lock);
    if (code < 0)
        wal->bytes_on_disk -= wal->options.segment_bytes;
    else
        wal->spare_numbers[wal->spare_count++] = number;
    pthread_mutex_unlock(&wal->lock);
    return code >= 0;
}

/* A delivered segment becomes a spare one, or is deleted. */
static void put_away(struct wal *wal, const struct wal_segment *segment, bool keep, uint64_t number)
{
    struct disk *disk = wal->options.disk;
    char from[SEGMENT_PATH];
    char to[SEGMENT_PATH];

    segment_path(wal, segment->sequence, from);
    spare_path(wal, number, to);
    if (keep && disk->rename(disk, from, to) < 0)
        keep = false;
    if (!keep && disk->unlink(disk, from) < 0)
        log_warning("wal", "cannot delete %s", from);
    pthread_mutex_lock(&wal->lock);
    if (keep)
        wal->spare_numbers[wal->spare_count++] = number;
    else
        wal->bytes_on_disk -= segment->size;
    pthread_mutex_unlock(&wal->lock);
}

enum job { JOB_STOP, JOB_PUT_AWAY, JOB_MAKE };

static enum job next_job(struct wal *wal, bool rest, struct wal_segment *ret_segment,
                         bool *ret_keep, uint64_t *ret_number)
{
    enum job job = JOB_STOP;
    struct timespec until;

    pthread_mutex_lock(&wal->lock);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += RETRY_S;
    for (;;) {
        bool wanted = wal->spare_count < wal->options.spares;

        if (wal->preparer_stopping)
            break;
        if (wal->released_count > 0) {
            *ret_segment = wal->released[--wal->released_count];
            *ret_keep = wanted && ret_segment->size == wal->options.segment_bytes;
            *ret_number = wal->next_spare++;
            job = JOB_PUT_AWAY;
            break;
        }
        if (wanted && !rest &&
            wal->bytes_on_disk + wal->options.segment_bytes <= wal->options.max_bytes) {
            wal->bytes_on_disk += wal->options.segment_bytes;
            *ret_number = wal->next_spare++;
            job = JOB_MAKE;
            break;
        }
        if (!rest)
            pthread_cond_wait(&wal->preparer_wakes, &wal->lock);
        else if (pthread_cond_timedwait(&wal->preparer_wakes, &wal->lock, &until) != 0)
            rest = false;
    }
    pthread_mutex_unlock(&wal->lock);
    return job;
}

void *preparer_run(void *arg)
{
    struct wal *wal = arg;
    struct wal_segment segment;
    uint64_t number;
    bool keep;
    bool rest = false; /* the last attempt failed: not again at once */

    for (;;) {
        switch (next_job(wal, rest, &segment, &keep, &number)) {
        case JOB_STOP:
            return NULL;
        case JOB_PUT_AWAY:
            put_away(wal, &segment, keep, number);
            break;
        case JOB_MAKE:
            rest = !make_spare(wal, number);
            break;
        }
    }
}

void wal_release(struct wal *wal, uint64_t position, uint64_t *ret_first)
{
    size_t gone = 0;

    pthread_mutex_lock(&wal->lock);
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
        *ret_first = wal->segment_count > 0 ? wal->segments[0].base : atomic_load(&wal->durable);
    pthread_mutex_unlock(&wal->lock);
}
