/*
 * The TransactionQueue: what was accepted and is not yet in the store.
 *
 * It gives transactions their ids, refuses what does not fit its budget, recognises
 * repeats by the client's own id, and keeps the cursor: the position before which
 * everything has been delivered. Underneath lies one log (wal/wal.h); its threading and
 * its errors are the log's.
 *
 * Files: <data_dir>/node (this node's name), <data_dir>/queue/ (the log), <data_dir>/ids/ (client
 * ids that the log no longer holds), <data_dir>/quarantine/ (what is damaged in the log).
 */
#ifndef QUEUE_QUEUE_H
#define QUEUE_QUEUE_H

#include "base/buf.h"
#include "base/disk.h"
#include "base/err.h"
#include "base/mailbox.h"
#include "txn/txn.h"
#include "wal/wal.h"

#include <stdbool.h>
#include <stdint.h>

struct queue;

struct queue_options {
    struct disk *disk; /* NULL: the real one */
    const char *data_dir;
    uint64_t segment_bytes;
    uint64_t max_bytes;            /* of the log on disk */
    bool sync;                     /* acknowledge after fdatasync, not after write() */
    bool read_only;                /* for offline commands: changes nothing */
    uint64_t dedup_ids;            /* client ids remembered, the latest ones; 0: none */
    uint32_t dedup_window_s;       /* and for how long, by the time at which they were received */
    uint64_t quarantine_max_bytes; /* of copies of what is damaged in the log */
    uint64_t cursor;               /* everything before has been delivered, as far as known */
    int64_t clock_us;              /* the wall clock now; 0: unknown. See POSITIONS_A_US */
    unsigned heal_every_ms;        /* see wal_options */
    bool (*give_up)(void);         /* see wal_options */
};

MUST_CHECK int queue_open(const struct queue_options *options, struct queue **ret,
                          struct wal_recovery *ret_recovery, struct err *err);
void queue_close(struct queue *queue);
const char *queue_node(const struct queue *queue);

/* A producer belongs to one HTTP loop; see wal_producer_open() for the limits. */
struct wal_producer *queue_producer_open(struct queue *queue, struct mailbox *home,
                                         size_t max_bytes);

/* Adds a transaction to the producer's open batch; it becomes durable with the ticket that
 * wal_await() attaches next. ERR_FULL, ERR_IO, ERR_CLOSED: refuse the request. */
MUST_CHECK int queue_put(struct wal_producer *producer, const struct txn *txn, struct err *err);

/* Inside a ticket's done(): the id of each of its transactions in turn. */
void queue_ticket_id(const struct queue *queue, const struct wal_ticket *ticket, uint32_t *iterator,
                     char out[TXN_ID_SIZE]);

/* What a reader finds; all of it lives until the next call with the same reader. */
struct queue_item {
    uint64_t position;
    uint64_t next; /* position behind it */
    struct slice record;
    struct txn txn;
};

struct queue_reader;
struct queue_reader *queue_reader_open(struct queue *queue, uint64_t position);
void queue_reader_close(struct queue_reader *reader);
void queue_reader_seek(struct queue_reader *reader, uint64_t position);

/* ERR_NOT_FOUND: nothing durable is left. ERR_CORRUPT: position to next is damaged and passed
 * over. ERR_IO: try again. */
MUST_CHECK int queue_reader_next(struct queue_reader *reader, struct queue_item *ret,
                                 struct err *err);

/* Waits for something durable at or behind `position`, for queue_wake(), or for the time. */
void queue_wait(struct queue *queue, uint64_t position, int64_t timeout_ms);
void queue_wake(struct queue *queue);

/* One transaction that is still in the log, by its position; *ret borrows from storage and
 * from datapoints. ERR_NOT_FOUND if there is none (any more). Any thread. */
MUST_CHECK int queue_find(struct queue *queue, uint64_t position, struct txn *ret,
                          struct txn_datapoint *datapoints, struct buf *storage, struct err *err);

/* The cursor moved over `transactions` that the store has taken or refused, and over what is
 * damaged: the log behind it is recycled. Forwarder's thread. */
void queue_delivered(struct queue *queue, uint64_t cursor, uint64_t transactions);

/* What became of a transaction that the store's cursor has passed. */
enum queue_fate {
    QUEUE_STORED,
    QUEUE_SETTLED, /* never to be in the store: failed, discarded, erased, damaged */
    QUEUE_ABSENT,
};
typedef int queue_look(void *arg, uint64_t position, enum queue_fate *ret, struct err *err);

/* The store's cursor, whenever it has been read: counts anew from there. If it is further on than
 * this engine has brought it as far as known, at a place that this log does not have, then either
 * the log has lost its end, or another engine of this name has written to the store: `look` is
 * asked for the fate of the last transactions before it. ERR_CONFLICT if this log cannot have been
 * there, or what it holds to be pending would be passed over. Forwarder's thread. */
MUST_CHECK int queue_cursor_found(struct queue *queue, uint64_t cursor, queue_look *look, void *arg,
                                  struct err *err);

struct queue_status {
    uint64_t cursor;
    uint64_t durable;              /* position behind the last accepted one */
    uint64_t accepted;             /* transactions, ever */
    uint64_t pending_transactions; /* accepted and not behind the cursor */
    uint64_t damaged;              /* accepted, but damaged on disk when their turn came */
    uint64_t pending_bytes;
    uint64_t max_bytes;
    uint64_t ids;           /* of clients, remembered */
    uint64_t id_bytes;      /* of memory for them, touched as they come */
    uint64_t id_file_bytes; /* of disk, beside max_bytes */
    uint64_t id_files;
    uint64_t ids_in_files;
    uint64_t ids_lost; /* to damaged files, found since the start */
    struct wal_lost lost;
    struct wal_stats log;
};
struct queue_status queue_status(struct queue *queue); /* any thread; consistent in itself */

/* Whether a transaction of this id was, or may have been, among what is damaged. */
bool queue_damaged(struct queue *queue, uint64_t position);

/* When the oldest pending transaction arrived; ERR_NOT_FOUND if none is pending. Reads the
 * disk: no HTTP loop calls it. */
MUST_CHECK int queue_oldest(struct queue *queue, int64_t *ret_received_us, struct err *err);

/* True while transactions are refused, with the reason. Any thread. */
bool queue_refusing(struct queue *queue, struct err *ret_reason);

#endif
