/*
 * What only the queue knows: its state, and the memory of client ids.
 */
#ifndef QUEUE_PRIV_H
#define QUEUE_PRIV_H

#include "queue/queue.h"

#include <pthread.h>

/* What is remembered of a client's id. */
struct id_entry {
    uint64_t hash;
    uint64_t position;
    uint32_t hash_more;
    uint32_t stamp_s; /* of the ids' clock */
} __attribute__((packed));

/* `seed` is the key of the hash. */
struct id_entry id_entry_of(uint64_t seed, uint32_t product, struct slice id, uint64_t position,
                            uint32_t stamp_s);

/*
 * The time of the ids: it goes on with the times at which transactions are received, in the order
 * of the log, and stands still where that clock was set back. So nothing is forgotten early and
 * nothing kept for ever because of such a step; a step forward is time that has passed, as far
 * as anybody can tell. All zero: never read.
 */
struct id_clock {
    int64_t last_us;    /* the last time read, by the machine's clock */
    int64_t elapsed_us; /* by this one; the same until the other is set back for the first time */
};
#define ID_CLOCK_MAX (INT64_MAX >> 1) /* of either; beyond it lies no date, and nonsense wraps */
uint32_t id_clock_read(struct id_clock *clock, int64_t received_us); /* seconds */

/* Whether what has this stamp is older than the window. A stamp can be of later than now: where the
 * log has a part of a file again, the clock goes on from before that file. */
static inline bool id_is_aged(uint32_t now_s, uint32_t stamp_s, uint32_t window_s)
{
    return now_s - stamp_s <= INT32_MAX && now_s - stamp_s > window_s;
}

/*
 * The latest client ids: a ring in order of acceptance and a hash index into it. Used by the
 * committer alone (and at open, before it runs), so it has no lock.
 */
struct ids;

/* Memory: 24 bytes an id and 8 to 16 of index, touched only as ids come. */
struct ids *ids_open(uint64_t capacity, uint32_t window_s);
void ids_close(struct ids *ids);

/* A transaction was received then: forgets what is older than the window. The time by the ids'
 * clock. */
uint32_t ids_pass(struct ids *ids, int64_t received_us);

/* False if the id is remembered: then *ret_original is where it stands; else it is now. */
bool ids_admit(struct ids *ids, const struct id_entry *entry, uint64_t *ret_original);

/* Makes what was admitted since the last call final, or forgets it. */
void ids_settle(struct ids *ids, bool keep);

/* At open: one that is in the log, in the order of the log; and the clock when that was written. */
void ids_load(struct ids *ids, const struct id_entry *entry);
void ids_loaded(struct ids *ids); /* that was the last one: before ids_admit() */
void ids_set_clock(struct ids *ids, const struct id_clock *clock);

uint64_t ids_count(struct ids *ids); /* as of the last settle; any thread */
uint64_t ids_bytes(const struct ids *ids);

/*
 * Client ids on disk (queue_id_files.c): those of segments that are no longer there. The preparer
 * alone uses it while the log is open.
 */
struct id_files;

struct id_files_options {
    struct disk *disk;
    const char *dir;
    char node[WAL_NODE_LEN];
    uint64_t capacity; /* ids to keep */
    uint32_t window_s;
    uint64_t reserve_bytes; /* set aside for a full disk */
    bool read_only;
};

/* Reads the list of files and which of them are whole; makes the key if there is none yet. */
MUST_CHECK int id_files_open(const struct id_files_options *options, struct id_files **ret,
                             struct err *err);
void id_files_close(struct id_files *files);
uint64_t id_files_seed(const struct id_files *files);

/* Hands over all that stands before position `before`, where the log begins, in order; says in
 * the log what is lost, and what lies between the last file and the log. `ids` may be NULL. Once,
 * at open. An error when the disk does not give a file. */
MUST_CHECK int id_files_load(struct id_files *files, uint64_t before, struct ids *ids,
                             struct err *err);

/* The ids of a segment in order, then its end: when it returns 0, they are durable. */
void id_files_note(struct id_files *files, uint64_t position, const struct txn *txn);
MUST_CHECK int id_files_end(struct id_files *files, uint64_t from, uint64_t to, struct err *err);

struct id_files_stats {
    uint64_t files, ids, bytes;
    uint64_t damaged; /* ids that were lost to damage, files without a whole header */
};
struct id_files_stats id_files_stats(struct id_files *files); /* any thread */

/*
 * A disk that loses what it had called durable, or a data directory that was put back, leaves a
 * log that ends before what the store has. So each start goes on where no log has got by now, at
 * more bytes a microsecond than were ever measured; by a clock that is behind, it passes over as
 * much as a disk could lose at once. Nothing that is accepted from then on can be taken for what a
 * store has that is not further on. Whether such a store has what the log has lost, or another
 * engine's, is for queue_cursor_found() to find out.
 */
#define POSITIONS_A_US 512
#define POSITIONS_BEGIN_US INT64_C(1577836800000000) /* 2020; counts until 2055 */
#define POSITION_GAP (UINT64_C(1) << 32)

struct queue {
    struct wal *wal;
    struct ids *ids; /* NULL: none are remembered */
    struct id_files *id_files;
    char node[TXN_NODE_SIZE];
    uint64_t max_bytes;
    bool contested; /* said in the log. Forwarder's */

    pthread_mutex_t lock; /* of those below */
    uint64_t cursor;
    bool found;         /* the store's cursor, by this process; until then: */
    uint64_t known;     /* where the log ended when it was opened, or the cursor was then */
    uint64_t furthest;  /* where the cursor can be all the same: no record was given less since */
    uint64_t delivered; /* transactions before the cursor, also damaged ones */
    uint64_t damaged;   /* those */
};

/* queue_node.c: reads the node's name, or makes one. */
MUST_CHECK int node_load(struct disk *disk, const char *data_dir, bool read_only,
                         char ret[TXN_NODE_SIZE], bool *ret_made, struct err *err);

/* queue_dedup.c: the log's hooks. */
bool queue_admit(void *queue, struct slice record, uint64_t position, uint64_t *ret_original);
void queue_settle(void *queue, bool durable);
int queue_recovering(void *queue, uint64_t first, struct err *err);
void queue_recovered(void *queue, uint64_t position, struct slice record);
void queue_recovery_ended(void *queue);
void queue_retiring(void *queue, uint64_t position, struct slice record);
int queue_retired(void *queue, uint64_t from, uint64_t to, struct err *err);

#endif
