/*
 * A segment's life: spare → current → sealed → released → spare again.
 *
 * A file gets its final name only after its header is durable, so a name that looks like a
 * segment is one. That costs a sync of the file and one of the folder, once a segment, also
 * where records are not synced. If no spare one is ready, one is made on the spot; if the last room
 * for one is that of a file that the preparer is filling, it is made of that file.
 */
#include "wal/wal_priv.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

enum { PATIENCE_MS = 10000 };

void segment_path(const struct wal *wal, uint64_t sequence, char out[SEGMENT_PATH])
{
    snprintf(out, SEGMENT_PATH, "%s/%020llu.seg", wal->dir, (unsigned long long)sequence);
}

void spare_path(const struct wal *wal, uint64_t number, char out[SEGMENT_PATH])
{
    snprintf(out, SEGMENT_PATH, "%s/spare-%llu", wal->dir, (unsigned long long)number);
}

void unfinished_path(const struct wal *wal, uint64_t number, char out[SEGMENT_PATH])
{
    snprintf(out, SEGMENT_PATH, "%s/spare-%llu.new", wal->dir, (unsigned long long)number);
}

void segments_push(struct wal_segment **list, size_t *count, size_t *room,
                   const struct wal_segment *segment)
{
    if (*count == *room) {
        *room = *room == 0 ? 16 : *room * 2;
        *list = mem_realloc(*list, *room * sizeof **list);
    }
    (*list)[(*count)++] = *segment;
}

uint64_t segment_room(const struct wal *wal)
{
    return wal->options.segment_bytes - SEGMENT_HEADER;
}

unsigned spares_kept(const struct wal *wal)
{
    return wal->options.spares > 0 ? wal->options.spares + 1 : 0;
}

bool segment_listed(struct wal *wal, uint64_t sequence)
{
    bool listed = false;

    pthread_mutex_lock(&wal->lock);
    for (size_t i = 0; i < wal->segment_count && !listed; i++)
        listed = wal->segments[i].sequence == sequence;
    pthread_mutex_unlock(&wal->lock);
    return listed;
}

void segment_leave(struct wal *wal)
{
    if (wal->fd >= 0)
        wal->options.disk->close(wal->options.disk, wal->fd);
    wal->fd = -1;
}

/* A file system that takes no changes says so of names that are not there, too. */
static bool is_there(struct disk *disk, const char *path)
{
    int fd = disk->open(disk, path, O_RDONLY);

    if (fd >= 0)
        disk->close(disk, fd);
    return fd != -ENOENT;
}

int segment_delete(struct wal *wal, const struct wal_segment *segment, struct err *err)
{
    struct disk *disk = wal->options.disk;
    char path[SEGMENT_PATH];
    int code;

    if (segment->named == FILE_SEGMENT)
        segment_path(wal, segment->sequence, path);
    else if (segment->named == FILE_SPARE)
        spare_path(wal, segment->number, path);
    else
        unfinished_path(wal, segment->number, path);
    code = disk->unlink(disk, path);
    return code < 0 && is_there(disk, path) ? err_system(err, -code, "remove %s", path) : 0;
}

/* If it cannot be deleted now its room is still taken, and the preparer tries it again. */
bool file_discard(struct wal *wal, enum file_name named, uint64_t number)
{
    struct wal_segment file = {.sequence = named == FILE_SEGMENT ? number : 0,
                               .named = named,
                               .number = number,
                               .size = wal->options.segment_bytes};
    bool gone = segment_delete(wal, &file, NULL) == 0;

    pthread_mutex_lock(&wal->lock);
    if (gone)
        wal->bytes_on_disk -= file.size;
    else
        segments_push(&wal->released, &wal->released_count, &wal->released_room, &file);
    pthread_mutex_unlock(&wal->lock);
    pthread_cond_signal(&wal->preparer_wakes);
    return gone;
}

/* Whether nothing but the last segment is on the disk. It can only be released when there is
 * another, so that other one is allowed whatever the bound says. */
static bool is_alone(const struct wal *wal)
{
    return wal->segment_count <= 1 &&
           wal->bytes_on_disk <= (wal->segment_count == 1 ? wal->segments[0].size : 0);
}

/* Whether there is a file for the next segment, or room for one. Under the lock. */
static bool may_claim(const struct wal *wal)
{
    return wal->making == MAKING_LEFT || wal->spare_count > 0 || is_alone(wal) ||
           wal->bytes_on_disk + wal->options.segment_bytes <= wal->options.max_bytes;
}

/* The last room may be that of a file that the preparer is filling. It leaves it, or gives the room
 * back, as soon as the disk has done what it is at: a chunk of zeros. Under the lock. */
static void await_preparer(struct wal *wal)
{
    int64_t patience_ms = wal->options.patience_ms != 0 ? wal->options.patience_ms : PATIENCE_MS;
    int64_t until_us = clock_mono_us() + patience_ms * 1000;
    struct timespec until = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};
    int code = 0;

    while (!may_claim(wal) && wal->making != MAKING_NOTHING && code == 0) {
        wal->making = MAKING_AWAITED;
        pthread_cond_signal(&wal->preparer_wakes);
        code = pthread_cond_timedwait(&wal->committer_wakes, &wal->lock, &until);
    }
}

static int no_room(const struct wal *wal, struct err *err)
{
    if (wal->making != MAKING_NOTHING)
        return err_set(err, ERR_IO, "the disk takes too long to make the next segment");
    return err_set(err, ERR_FULL, "the queue has reached its bound of %llu bytes on disk",
                   (unsigned long long)wal->options.max_bytes);
}

/* Takes the file that the preparer has left, or a spare one, or claims the room for a new one. */
static int claim_file(struct wal *wal, uint64_t *ret_number, bool *ret_spare, struct err *err)
{
    int code = 0;

    pthread_mutex_lock(&wal->lock);
    await_preparer(wal);
    *ret_spare = wal->making != MAKING_LEFT && wal->spare_count > 0;
    if (wal->making == MAKING_LEFT) {
        *ret_number = wal->making_number;
        wal->making = MAKING_NOTHING;
    } else if (*ret_spare) {
        *ret_number = wal->spare_numbers[--wal->spare_count];
    } else if (!may_claim(wal)) {
        code = no_room(wal, err);
    } else {
        *ret_number = wal->next_spare++;
        wal->bytes_on_disk += wal->options.segment_bytes;
    }
    pthread_mutex_unlock(&wal->lock);
    return code;
}

/* The header made durable in the file at `path`, and the file under its final name. *named tells
 * which it has, also on failure. */
static int enter_service(struct wal *wal, int fd, const char *path,
                         const struct wal_segment *segment, enum file_name *named, struct err *err)
{
    struct disk *disk = wal->options.disk;
    char header[SEGMENT_HEADER];
    struct iovec vector = {header, sizeof header};
    char final_path[SEGMENT_PATH];
    int code;

    segment_header_write(header, segment, wal->options.node);
    if ((code = disk->write(disk, fd, &vector, 1, 0)) < 0 || (code = disk->sync(disk, fd)) < 0)
        return err_system(err, -code, "write the header of segment %llu",
                          (unsigned long long)segment->sequence);
    segment_path(wal, segment->sequence, final_path);
    if ((code = disk->rename(disk, path, final_path)) < 0)
        return err_system(err, -code, "name segment %llu", (unsigned long long)segment->sequence);
    *named = FILE_SEGMENT;
    if ((code = disk->sync_dir(disk, wal->dir)) < 0)
        return err_system(err, -code, "sync the queue's folder");
    return 0;
}

/* A name that cannot be deleted is not given to another file. */
static void discard(struct wal *wal, enum file_name named, uint64_t number)
{
    if (named != FILE_SEGMENT)
        file_discard(wal, named, number);
    else if (!file_discard(wal, named, wal->next_sequence))
        wal->next_sequence++;
}

/* Under a load that fills segments faster than zeros are written, the next one goes without: to
 * wait for them would cost such a load a quarter of its rate. */
static int make_file(struct wal *wal, int fd)
{
    struct disk *disk = wal->options.disk;

    return wal->fd < 0 ? segment_fill(wal, fd)
                       : disk->allocate(disk, fd, wal->options.segment_bytes);
}

int segment_roll(struct wal *wal, uint64_t base, uint64_t records, struct err *err)
{
    struct disk *disk = wal->options.disk;
    struct wal_segment segment = {.sequence = wal->next_sequence,
                                  .base = base,
                                  .previous = base == wal->jump_to ? wal->jump_from : base,
                                  .end = base,
                                  .records = records,
                                  .size = wal->options.segment_bytes,
                                  .cached = true};
    char path[SEGMENT_PATH];
    enum file_name named;
    uint64_t number = 0;
    bool spare = false;
    int code, fd;

    if (getrandom(&segment.salt, sizeof segment.salt, 0) != sizeof segment.salt)
        return err_set(err, ERR_IO, "no random numbers to be had");
    if ((code = claim_file(wal, &number, &spare, err)) != 0)
        return code;
    named = spare ? FILE_SPARE : FILE_UNFINISHED;
    if (spare)
        spare_path(wal, number, path);
    else
        unfinished_path(wal, number, path); /* a process that dies leaves no half-made spare one */
    fd = disk->open(disk, path, spare ? O_RDWR : O_RDWR | O_CREAT); /* zeros in it may stay */
    if (fd < 0) {
        code = err_system(err, -fd, "open a new segment");
        goto discard_file;
    }
    if (!spare && (code = make_file(wal, fd)) < 0) {
        code = err_system(err, -code, "make a new segment");
        goto close_file;
    }
    if ((code = enter_service(wal, fd, path, &segment, &named, err)) != 0)
        goto close_file;

    segment_leave(wal);
    wal->fd = fd;
    wal->current = segment;
    wal->next_sequence++;
    pthread_mutex_lock(&wal->lock);
    segments_push(&wal->segments, &wal->segment_count, &wal->segment_room, &segment);
    pthread_mutex_unlock(&wal->lock);
    pthread_cond_signal(&wal->preparer_wakes);
    return 0;

close_file:
    disk->close(disk, fd);
discard_file:
    discard(wal, named, number);
    return code;
}
