/*
 * The segmented write-ahead log: append, group commit, recover, read, recycle.
 *
 * A position is the number of bytes of records that the log ever held before a record, and of
 * gaps between one life of the log and the next (`gap`, `least`); it only grows, over segments and
 * restarts, and names the record. Records become durable in
 * rounds: producers (one an HTTP loop) collect records and tickets in an open batch; the
 * committer takes all batches that are handed in, writes them, syncs once, and mails each
 * batch home, where its tickets are called. No producer ever waits.
 *
 * Faults: a write or sync that fails fails its round (every ticket hears the error) and is
 * never repeated on the same bytes: the segment is given up at the last durable position, and
 * the committer tries a new one several times a second until it succeeds. Until then
 * wal_refusing() is true and appends fail at once with the reason.
 *
 * The bytes are drawn in docs/disk-format.md.
 */
#ifndef WAL_WAL_H
#define WAL_WAL_H

#include "base/buf.h"
#include "base/disk.h"
#include "base/err.h"
#include "base/mailbox.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WAL_MAX_RECORD (16u << 20) /* bytes of one record's payload */
#define WAL_NODE_LEN 8

struct wal;

/* Decisions about each record just before it is written, on the committer's thread; and a last
 * look at it before its segment is recycled, on the preparer's. */
struct wal_hooks {
    void *arg;
    /* False if the record is a repeat of the one at *ret_original: it is not written, and its
     * ticket sees that position. NULL: all are written. */
    bool (*admit)(void *arg, struct slice record, uint64_t position, uint64_t *ret_original);
    /* The round ended: what was admitted since the last call is durable, or is not. */
    void (*settle)(void *arg, bool durable);
    /* A released segment is about to be put away: its whole records in order, then its stretch of
     * positions. While retired() fails the segment stays, and is tried again. NULL: none. */
    void (*retiring)(void *arg, uint64_t position, struct slice record);
    int (*retired)(void *arg, uint64_t from, uint64_t to, struct err *err);
};

struct wal_options {
    struct disk *disk;       /* &disk_real, or a test's */
    const char *dir;         /* made if it is not there; no slash ends it */
    char node[WAL_NODE_LEN]; /* segments of another node are refused */
    uint64_t segment_bytes;  /* size of new segments */
    uint64_t max_bytes;      /* of all segments, spare ones too; two are always allowed */
    bool sync;               /* false: durable means written */
    bool read_only;          /* changes nothing, starts no thread; for offline commands */
    unsigned spares;         /* segments prepared ahead, 15 at most; one more is kept */
    uint64_t start;          /* everything before this position has been delivered */
    uint64_t gap;   /* positions passed over at each open, unless there never was a record: those of
                     * records that were delivered and that the disk has lost are not given again */
    uint64_t least; /* if the log ends below it, records or not, it goes on there instead */
    const char *quarantine; /* folder for bytes that are damaged; NULL: they are only counted */
    uint64_t quarantine_max_bytes;
    unsigned heal_every_ms; /* how often a log that refuses tries to begin anew; 0: 100 */
    unsigned patience_ms;   /* how long a round waits for the last segment under the bound while it
                             * is being made; 0: 10000 */
    struct wal_hooks hooks;
    /* Called at open: first where the log begins, an error of which is that of the opening; then
     * every whole record, then that this was all. Each may be NULL. */
    int (*recovering)(void *arg, uint64_t first, struct err *err);
    void (*recovered)(void *arg, uint64_t position, struct slice record);
    void (*recovery_ended)(void *arg);
    void *recovered_arg;
    bool (*give_up)(void); /* asked now and then meanwhile: true ends the opening with ERR_CLOSED,
                            * as if the process had died there; NULL: never */
};

struct wal_recovery {
    uint64_t segments;
    uint64_t records;       /* whole ones read */
    uint64_t bytes;         /* of log read */
    uint64_t cut_bytes;     /* of an unfinished write at the end, cut off */
    uint64_t damaged_bytes; /* in the middle, skipped */
    uint64_t damaged_stretches;
    uint64_t end; /* behind the last record that is there or, by `start`, was delivered */
    int64_t duration_us;
};

/*
 * Opens the log and reads it from the first segment to its end: the first record that is
 * not whole. Whole records behind a damaged one are kept where a later round proves that
 * the damaged one had been durable (see docs/disk-format.md, "Recovery").
 * ERR_CORRUPT for a segment that is foreign, ERR_UNSUPPORTED for one of a newer version.
 */
MUST_CHECK int wal_open(const struct wal_options *options, struct wal **ret,
                        struct wal_recovery *ret_recovery, struct err *err);

/* Commits what is handed in, stops the threads, and closes. Producers are closed before, or hand
 * nothing in any more: their batches may still be delivered afterwards. */
void wal_close(struct wal *wal);

/*
 * Producers. One belongs to one thread; its mailbox's reader is that thread.
 */
struct wal_producer;
struct wal_batch;

struct wal_ticket {
    struct wal_ticket *next;
    struct wal_batch *batch;
    uint32_t first; /* of its records, by their number in the batch */
    uint32_t records;
    /* Called on the producer's thread when the records are durable (status 0) or are not
     * (ERR_FULL, ERR_IO, ERR_CLOSED; err has the words). */
    void (*done)(struct wal_ticket *ticket, int status, const struct err *err);
};

/* At most max_bytes (below 4 GiB) wait in its batches. `home` must outlive the producer. */
struct wal_producer *wal_producer_open(struct wal *wal, struct mailbox *home, size_t max_bytes);

/* True when nothing is under way: then it may be closed. */
bool wal_producer_idle(const struct wal_producer *producer);
void wal_producer_close(struct wal_producer *producer);

/* Room for a record of up to max_len bytes; ERR_FULL (a bound, a full disk), ERR_IO, ERR_CLOSED.
 * Then wal_append() with the bytes that it took. */
MUST_CHECK int wal_reserve(struct wal_producer *producer, size_t max_len, char **ret,
                           struct err *err);
void wal_append(struct wal_producer *producer, size_t len);

/* Records appended since the last ticket become the ticket's (one at least); a batch that has
 * become large goes at once, as by wal_flush() ... */
void wal_await(struct wal_producer *producer, struct wal_ticket *ticket);
/* ... or are forgotten. */
void wal_forget(struct wal_producer *producer);

/* Hands the open batch in, unless enough are under way already (then it goes when one comes
 * home). Call at the end of each turn of the producer's loop. */
void wal_flush(struct wal_producer *producer);

/* Inside done(), status 0: the position of each record of the ticket in turn. `*iterator`
 * starts as 0. */
uint64_t wal_ticket_position(const struct wal_ticket *ticket, uint32_t *iterator);

/*
 * Reading behind the durable position. A reader belongs to one thread.
 */
struct wal_reader;
struct wal_reader *wal_reader_open(struct wal *wal, uint64_t position);
void wal_reader_close(struct wal_reader *reader);
void wal_reader_seek(struct wal_reader *reader, uint64_t position);

/*
 * The next record; it lives until the next call. *ret_next is the position behind it. What has
 * been released is passed over.
 *   ERR_NOT_FOUND  nothing durable is left
 *   ERR_CORRUPT    the bytes from *ret_position to *ret_next are damaged, and noted as such (see
 *                  wal_lost()); the reader stands behind them
 *   ERR_IO         the disk failed; the reader stands where it stood
 */
MUST_CHECK int wal_reader_next(struct wal_reader *reader, struct slice *ret_record,
                               uint64_t *ret_position, uint64_t *ret_next, struct err *err);

/* One record by its position, any thread. ERR_NOT_FOUND if no record starts there (any more). */
MUST_CHECK int wal_read_at(struct wal *wal, uint64_t position, struct buf *out, struct err *err);

/* Waits until something durable is at or behind `position`, wal_wake() is called, or timeout_ms
 * passed. */
void wal_wait(struct wal *wal, uint64_t position, int64_t timeout_ms);
void wal_wake(struct wal *wal);

/* Everything before `position` has been delivered: whole segments before it are recycled.
 * `*ret_first` (may be NULL) is the first position that is still there. Any thread. */
void wal_release(struct wal *wal, uint64_t position, uint64_t *ret_first);

/* Bytes of records at and behind `position`. Any thread. */
uint64_t wal_bytes_from(struct wal *wal, uint64_t position);

/* How many records the log ever held before `position`, so that a difference from `records` of
 * wal_stats() says what lies behind a cursor; reads one segment at most. ERR_IO, ERR_NOT_FOUND if
 * the position lies before the first segment. */
MUST_CHECK int wal_count_before(struct wal *wal, uint64_t position, uint64_t *ret_records,
                                struct err *err);

/* The last whole record before `position`, and where it ends; reads one segment at most that holds
 * such a record. ERR_IO, ERR_NOT_FOUND if there is none (any more). Any thread. */
MUST_CHECK int wal_find_before(struct wal *wal, uint64_t position, uint64_t *ret_position,
                               uint64_t *ret_next, struct err *err);

/* Damage, ever: noted by recovery and by readers, remembered over restarts by the quarantine. */
struct wal_lost {
    uint64_t records; /* before the position asked for, lost: not delivered before it was found */
    uint64_t stretches;
    uint64_t bytes;
    uint64_t kept_bytes; /* set aside */
};
struct wal_lost wal_lost(struct wal *wal, uint64_t position); /* any thread; never waits for I/O */

/* Whether a position lies in a stretch that was lost. */
bool wal_lost_at(struct wal *wal, uint64_t position);

/* The record from `position` to `next` is whole, but nothing that can be used: it is damaged all
 * the same. Not an HTTP loop. */
void wal_set_aside(struct wal *wal, uint64_t position, uint64_t next);

struct wal_stats {
    uint64_t first;         /* all from this position on is there */
    uint64_t durable;       /* position behind the last durable record */
    uint64_t next;          /* position of the next one: the same, but for a gap */
    uint64_t records;       /* durable ones, ever */
    uint64_t bytes_on_disk; /* all segments, spare ones too */
    uint64_t segments;      /* without spare ones */
    uint64_t spares;
    uint64_t rounds; /* of group commit, since the start */
    uint64_t syncs;
    uint64_t sync_us;    /* spent in them */
    uint64_t committed;  /* records since the start */
    uint64_t duplicates; /* not admitted, since the start */
    uint64_t failures;   /* rounds that failed */
    uint64_t damaged_bytes;
};
struct wal_stats wal_stats(struct wal *wal); /* any thread */

/* True while appends are refused; words say why. Any thread. */
bool wal_refusing(struct wal *wal, struct err *ret_reason);

#endif
