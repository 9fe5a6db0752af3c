/*
 * What only the log knows: its bytes, its segments, its rounds.
 *
 * Threads. `lock` guards the list of segments, the spare ones, the hand-in list and the
 * fault; it is never held over I/O. The committer alone writes the current segment; the
 * preparer alone makes, recycles and deletes segment files; producers own their open batch.
 */
#ifndef WAL_PRIV_H
#define WAL_PRIV_H

#include "base/bytes.h"
#include "wal/wal.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
    SEGMENT_HEADER = 64, /* bytes before the first record */
    RECORD_HEADER = 16,
    SEGMENT_VERSION = 1,
    SEGMENT_PATH = 4096 + 64,
    BATCHES = 8, /* per producer: one open, the others under way */
    MAX_SPARES = 15
};

#define WAKE_NEVER UINT_MAX

/* A bit of a record's length field. */
#define RECORD_FIRST 0x80000000u /* all before it was durable when it was written */

/* What a segment's file is called by now. */
enum file_name { FILE_SEGMENT, FILE_SPARE, FILE_UNFINISHED };

/* One segment file and the stretch of positions that it holds. */
struct wal_segment {
    uint64_t sequence; /* the file's name; grows by one a segment; 0: it has none */
    uint64_t base;     /* position of its first record */
    uint64_t previous; /* where the segment before it ends: base, but for a jump */
    uint64_t end;      /* position behind its last durable record */
    uint64_t records;  /* that the log ever held before base */
    uint64_t size;     /* bytes of the file */
    uint32_t salt;     /* seeds its records' checksums */
    bool retired;      /* the hooks have seen it; it only remains to put it away */
    bool cached;       /* it was written by this process and may be in memory as a whole */
    enum file_name named;
    uint64_t number; /* in another name than FILE_SEGMENT */
};

/* wal_format.c: the one codec of headers; see docs/disk-format.md. */
void segment_header_write(char out[SEGMENT_HEADER], const struct wal_segment *segment,
                          const char node[WAL_NODE_LEN]);
MUST_CHECK int segment_header_read(const char in[SEGMENT_HEADER], struct wal_segment *ret,
                                   char ret_node[WAL_NODE_LEN], struct err *err);
void record_seal(char *record, uint32_t salt, uint64_t position, bool first);
/* Length of the whole record at `at` if `available` bytes hold one of this position, else 0. */
size_t record_check(const char *at, size_t available, uint32_t salt, uint64_t position);

/* wal_scan.c: a window on one segment file, for recovery and readers. */
struct wal_scan {
    struct wal *wal;
    struct wal_segment segment; /* a copy, as of the opening */
    int fd;                     /* -1: closed */
    struct wal_ahead *ahead;    /* what reads ahead in this segment; NULL: nothing */
    struct slice window;
    uint64_t window_at; /* file offset of the window's first byte */
    struct buf memory;  /* of windows that were not read ahead */
};

MUST_CHECK int scan_open(struct wal_scan *scan, struct wal *wal, const struct wal_segment *segment,
                         struct err *err);
void scan_close(struct wal_scan *scan); /* keeps the window's memory: scan_free() */
void scan_free(struct wal_scan *scan);
/* The record at `position`, whole and before `limit`; *ret_first tells of RECORD_FIRST. ERR_CORRUPT
 * if there is none. */
MUST_CHECK int scan_record(struct wal_scan *scan, uint64_t position, uint64_t limit,
                           struct slice *ret, bool *ret_first, struct err *err);
/* Behind the record that was being written at `position`, as far as its header tells. */
MUST_CHECK int scan_torn(struct wal_scan *scan, uint64_t position, uint64_t limit,
                         uint64_t *ret_end, struct err *err);
/* The next position at or behind `from` where a whole record starts, or `limit`. */
MUST_CHECK int scan_resync(struct wal_scan *scan, uint64_t from, uint64_t limit,
                           uint64_t *ret_found, struct err *err);

/* wal_ahead.c: a thread that reads a segment ahead, piece by piece, for recovery. */
enum { AHEAD_ROOM = 16 * 1024 };
struct wal_ahead;

struct wal_ahead *ahead_open(struct disk *disk);
void ahead_close(struct wal_ahead *ahead);
/* Begins with [from, to) of a file that stays open until ahead_stop(). */
void ahead_start(struct wal_ahead *ahead, int fd, uint64_t from, uint64_t to);
void ahead_stop(struct wal_ahead *ahead); /* also if it was not begun */
/*
 * The bytes from `offset` on, as many as are at hand, behind a copy of `before` (AHEAD_ROOM at
 * most, it may lie in the piece taken before): *ret is where that copy begins. How many there are;
 * 0 if they are not read ahead, a negative errno if the disk does not give them. They are there
 * until the next call or ahead_release().
 */
MUST_CHECK int64_t ahead_take(struct wal_ahead *ahead, uint64_t offset, struct slice before,
                              const char **ret);
void ahead_release(struct wal_ahead *ahead);

/* Bytes of the log that are damaged. */
struct wal_stretch {
    uint64_t from, to;
    uint64_t records;    /* that stood there, as far as can be told */
    uint64_t kept_bytes; /* of its copy; 0: there is none */
    bool delivered;      /* it was found when the store had them already */
    bool owed;           /* it is not in the quarantine yet, for a fault */
};

/* wal_open.c: a folder, durable in the one above it. */
MUST_CHECK int folder_make(struct wal *wal, const char *dir, struct err *err);

/* wal_quarantine.c: copies on disk and the index of all; damage_lock is held, but at open. */
MUST_CHECK int quarantine_open(struct wal *wal, struct err *err);
/* Copy, if it fits the bound, and entry, durable. ERR_FULL: no room for them now. */
MUST_CHECK int quarantine_keep(struct wal *wal, const struct wal_segment *segment,
                               struct wal_stretch *stretch, struct err *err);

/* wal_damage.c: the list of all stretches. */
struct wal_damage { /* of one segment, in order; {0} is none */
    struct wal_stretch *stretches;
    size_t count, room;
};
void damage_add(struct wal_damage *damage, struct wal_scan *scan, uint64_t from, uint64_t to);
/* Notes those that are new, and empties the list. `lost`: how many records stood in all of them,
 * UINT64_MAX if that is only known from their headers. Gives how many those are. */
uint64_t damage_note(struct wal *wal, const struct wal_segment *segment, struct wal_damage *damage,
                     uint64_t lost);
void damage_free(struct wal_damage *damage);
void damage_push(struct wal *wal, const struct wal_stretch *stretch);
/* Looks through a segment in which a reader has met damage. */
MUST_CHECK int damage_find(struct wal *wal, uint64_t sequence, struct err *err);
bool damage_known(struct wal *wal, uint64_t from, uint64_t *ret_records);
/* Sets aside what is owed: all, or of a segment that goes. Preparer only. */
MUST_CHECK int damage_settle(struct wal *wal, struct err *err);
MUST_CHECK int damage_keep_owed(struct wal *wal, const struct wal_segment *segment,
                                struct err *err);

struct wal_batch {
    struct mail mail;
    struct wal_batch *next; /* hand-in list */
    struct wal_producer *producer;
    struct buf data; /* records, each with room for its header */
    uint32_t records;
    struct buf positions; /* of them, uint64_t each: the committer's answer */
    struct wal_ticket *tickets, *last_ticket;
    unsigned ticket_count;
    size_t unclaimed; /* offset of the records that have no ticket yet, */
    uint32_t claimed; /* and how many are before them */
    int status;
    struct err err;
};

struct wal_producer {
    struct wal *wal;
    struct mailbox *home;
    size_t max_bytes;
    size_t waiting_bytes; /* in all its batches */
    struct wal_batch batches[BATCHES];
    struct wal_batch *open;
    struct wal_batch *free; /* by ->next */
    unsigned under_way;
    bool flush_wanted;   /* the open batch goes when another comes home */
    atomic_uint ringing; /* batches that the committer is just mailing */
};

/* The file that the preparer fills with zeros. Its room is booked from the first of these on. */
enum making {
    MAKING_NOTHING,
    MAKING,         /* at its own pace */
    MAKING_AWAITED, /* the committer has no room for another: it is to be left as it is */
    MAKING_LEFT     /* the committer's, under its unfinished name */
};

struct wal {
    struct wal_options options;
    char *dir;

    pthread_mutex_t lock;
    pthread_cond_t committer_wakes;
    pthread_cond_t preparer_wakes;
    pthread_cond_t reader_wakes;

    /* Under the lock. */
    struct wal_segment *segments; /* in order of position; the last one is current if it is open */
    size_t segment_count, segment_room;
    struct wal_segment *released; /* for the preparer, oldest first; also files that became none */
    size_t released_count, released_room;
    uint64_t spare_numbers[MAX_SPARES + 1];
    unsigned spare_count;
    enum making making;
    uint64_t making_number;
    uint64_t next_spare;
    uint64_t bytes_on_disk;
    struct wal_batch *handed_in, **handed_in_end;
    unsigned handed_in_tickets;
    unsigned wake_at; /* so many of them wake the committer */
    struct err fault;
    uint64_t end; /* position behind the last durable record */
    unsigned waiting_readers;
    bool woken;
    bool stopping;
    bool preparer_stopping;
    bool damage_owed; /* one of the stretches may be */

    struct wal_stretch *stretches; /* also under damage_lock, see wal_damage.c */
    size_t stretch_count, stretch_room;
    uint64_t kept_bytes;

    pthread_mutex_t damage_lock; /* held over I/O, before `lock` */
    uint64_t index_end;          /* of the quarantine's index; under damage_lock */
    char *quarantine;

    /* The committer's alone. */
    int fd;                     /* the current segment; -1: none */
    struct wal_segment current; /* its copy; `end` is not kept up here */
    uint64_t next_sequence;
    uint64_t jump_from, jump_to; /* `start`, `gap` and `least` moved the end from here to there */
    struct iovec *vector;
    size_t vector_room;
    uint64_t fault_since_us;
    int64_t round_ended_us;    /* the last one */
    int64_t round_us;          /* how long rounds take, on average */
    unsigned answered_tickets; /* by the last one */
    unsigned waited_in_vain;   /* of those that rounds waited for, in 1024, on average */
    unsigned not_waited;       /* rounds that could have, since one did */

    atomic_uint_fast64_t durable; /* all before it; a jump as well, so it is the next position */
    atomic_uint_fast64_t records;
    atomic_bool refusing;
    atomic_uint_fast64_t delivered_to; /* the last position released */
    atomic_uint_fast64_t rounds, syncs, sync_us, committed, duplicates, failures, damaged_bytes;

    bool threads_run;
    pthread_t committer, preparer;
};

/* wal_segment.c */
/* Bytes of records that a new one holds. */
uint64_t segment_room(const struct wal *wal);
void segment_path(const struct wal *wal, uint64_t sequence, char out[SEGMENT_PATH]);
void spare_path(const struct wal *wal, uint64_t number, char out[SEGMENT_PATH]);
/* Of one that is being made: removed at the next start. */
void unfinished_path(const struct wal *wal, uint64_t number, char out[SEGMENT_PATH]);
void segments_push(struct wal_segment **list, size_t *count, size_t *room,
                   const struct wal_segment *segment);
/* Makes the next segment current, from a spare one if there is one. Committer only. */
MUST_CHECK int segment_roll(struct wal *wal, uint64_t base, uint64_t records, struct err *err);
/* Closes the current one. Committer only. */
void segment_leave(struct wal *wal);
/* Deletes its file; 0 as well if there is none any more. */
MUST_CHECK int segment_delete(struct wal *wal, const struct wal_segment *segment, struct err *err);
/* Deletes a file of a segment's size that did not become one, and gives its room back; false if
 * that is left to the preparer. */
bool file_discard(struct wal *wal, enum file_name named, uint64_t number);
/* How many spare files are kept: one more than are made, so that in the long run released ones
 * suffice and none is made. */
unsigned spares_kept(const struct wal *wal);
/* False once it was released: its bytes may be those of a later life by now. */
bool segment_listed(struct wal *wal, uint64_t sequence);

/* wal_list.c: the segments and the spare ones in the folder. */
MUST_CHECK int wal_list(struct wal *wal, struct err *err);

/* wal_recover.c */
MUST_CHECK int wal_recover(struct wal *wal, struct wal_recovery *ret, struct err *err);

/* wal_retire.c: lets the hooks see a segment that is about to go; 0 when it may. Preparer only. */
MUST_CHECK int segment_retire(struct wal *wal, const struct wal_segment *segment, struct err *err);

/* wal_prepare.c: allocates a new file and writes zeros to all of it, at once; as disk calls do.
 * Committer only. */
MUST_CHECK int segment_fill(struct wal *wal, int fd);

/* wal_commit.c, wal_prepare.c */
void *committer_run(void *wal);
void *preparer_run(void *wal);

#endif
