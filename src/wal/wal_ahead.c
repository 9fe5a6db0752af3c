/*
 * Reading ahead: while recovery looks at one piece of a segment, a thread of its own reads the
 * next ones, so that copying them out of the kernel, or waiting for the disk, costs no time of
 * its own. The thread lives as long as its segment is looked at, and only reads.
 *
 * What can go wrong: there is no thread to be had: then nothing is read ahead. The disk does not
 * give the bytes: whoever takes that piece hears it, and no further one is read.
 */
#include "wal/wal_priv.h"

#include "base/mem.h"
#include "base/thread.h"

#include <stdlib.h>

enum { PIECE = 64 * 1024, PIECES = 32 };

struct piece {
    char *memory;    /* room for what goes before, then the bytes */
    uint64_t offset; /* in the file */
    int64_t got;     /* bytes; or a negative errno */
};

struct wal_ahead {
    struct disk *disk;
    struct piece pieces[PIECES]; /* the n-th one of the segment is in n % PIECES */
    pthread_mutex_t lock;
    pthread_cond_t reader_wakes, taker_wakes;
    pthread_t reader;
    bool runs;

    /* Of the segment; the reader's alone while it runs. */
    int fd;
    uint64_t next, end;

    /* Under the lock. */
    uint64_t read;     /* pieces so far */
    uint64_t taken;    /* those that were given out or passed over */
    uint64_t released; /* those whose memory may be used again: one less while one is looked at */
    bool ended;        /* no further piece will be read */
    bool stopping;
};

struct wal_ahead *ahead_open(struct disk *disk)
{
    struct wal_ahead *ahead = mem_zalloc(sizeof *ahead);

    ahead->disk = disk;
    pthread_mutex_init(&ahead->lock, NULL);
    pthread_cond_init(&ahead->reader_wakes, NULL);
    pthread_cond_init(&ahead->taker_wakes, NULL);
    return ahead;
}

void ahead_close(struct wal_ahead *ahead)
{
    for (size_t i = 0; i < PIECES; i++)
        free(ahead->pieces[i].memory);
    pthread_cond_destroy(&ahead->taker_wakes);
    pthread_cond_destroy(&ahead->reader_wakes);
    pthread_mutex_destroy(&ahead->lock);
    free(ahead);
}

static bool read_piece(struct wal_ahead *ahead, struct piece *piece)
{
    uint64_t left = ahead->end - ahead->next;
    size_t len = left < PIECE ? (size_t)left : PIECE;

    if (piece->memory == NULL)
        piece->memory = mem_alloc(AHEAD_ROOM + PIECE);
    piece->offset = ahead->next;
    piece->got =
        ahead->disk->read(ahead->disk, ahead->fd, piece->memory + AHEAD_ROOM, len, ahead->next);
    ahead->next += len;
    return piece->got == (int64_t)len && ahead->next < ahead->end;
}

static void *reader_run(void *arg)
{
    struct wal_ahead *ahead = arg;

    thread_name("read ahead");
    pthread_mutex_lock(&ahead->lock);
    while (!ahead->stopping && !ahead->ended) {
        bool more;

        if (ahead->read - ahead->released == PIECES) {
            pthread_cond_wait(&ahead->reader_wakes, &ahead->lock);
            continue;
        }
        pthread_mutex_unlock(&ahead->lock);
        more = read_piece(ahead, &ahead->pieces[ahead->read % PIECES]);
        pthread_mutex_lock(&ahead->lock);
        ahead->read++;
        ahead->ended = !more;
        pthread_cond_signal(&ahead->taker_wakes);
    }
    pthread_mutex_unlock(&ahead->lock);
    return NULL;
}

void ahead_start(struct wal_ahead *ahead, int fd, uint64_t from, uint64_t to)
{
    if (to <= from || to - from <= PIECE)
        return; /* one read has it all */
    ahead->fd = fd;
    ahead->next = from;
    ahead->end = to;
    ahead->read = ahead->taken = ahead->released = 0;
    ahead->ended = ahead->stopping = false;
    ahead->runs = pthread_create(&ahead->reader, NULL, reader_run, ahead) == 0;
}

void ahead_stop(struct wal_ahead *ahead)
{
    if (!ahead->runs)
        return;
    pthread_mutex_lock(&ahead->lock);
    ahead->stopping = true;
    pthread_mutex_unlock(&ahead->lock);
    pthread_cond_signal(&ahead->reader_wakes);
    pthread_join(ahead->reader, NULL);
    ahead->runs = false;
}

/* The lock is held. Waking a thread takes as long as reading a piece: it is done for many. */
static void release(struct wal_ahead *ahead)
{
    uint64_t used = ahead->read - ahead->released;

    ahead->released = ahead->taken;
    if (used > PIECES / 2 && ahead->read - ahead->released <= PIECES / 2)
        pthread_cond_signal(&ahead->reader_wakes);
}

void ahead_release(struct wal_ahead *ahead)
{
    pthread_mutex_lock(&ahead->lock);
    release(ahead);
    pthread_mutex_unlock(&ahead->lock);
}

/* The piece that holds `offset`; those before it are passed over. NULL if none will. */
static struct piece *find_piece(struct wal_ahead *ahead, uint64_t offset)
{
    for (;;) {
        struct piece *piece = &ahead->pieces[ahead->taken % PIECES];

        if (ahead->taken == ahead->read) {
            if (ahead->ended)
                return NULL;
            pthread_cond_wait(&ahead->taker_wakes, &ahead->lock);
        } else if (offset < piece->offset) {
            return NULL;
        } else if (piece->got < 0 || offset < piece->offset + (uint64_t)piece->got) {
            return piece;
        } else {
            ahead->taken++;
            release(ahead);
        }
    }
}

int64_t ahead_take(struct wal_ahead *ahead, uint64_t offset, struct slice before, const char **ret)
{
    struct piece *piece;
    int64_t got = 0;

    if (!ahead->runs)
        return 0;
    pthread_mutex_lock(&ahead->lock);
    piece = find_piece(ahead, offset);
    if (piece != NULL && piece->got < 0) {
        got = piece->got;
    } else if (piece != NULL) {
        char *at = piece->memory + AHEAD_ROOM + (offset - piece->offset);

        got = piece->got - (int64_t)(offset - piece->offset);
        if (before.len > 0)
            memcpy(at - before.len, before.at, before.len);
        *ret = at - before.len;
        release(ahead);
        ahead->taken++;
    }
    pthread_mutex_unlock(&ahead->lock);
    return got;
}
