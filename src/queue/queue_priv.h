/*
 * What only the queue knows: its state, and the memory of client ids.
 */
#ifndef QUEUE_PRIV_H
#define QUEUE_PRIV_H

#include "queue/queue.h"

#include <pthread.h>

/*
 * The latest client ids: a ring in order of acceptance and a hash index into it. Used by the
 * committer alone (and at open, before it runs), so it has no lock.
 */
struct ids;

/* Memory: 20 bytes an id and 8 to 16 of index, touched only as ids come. */
struct ids *ids_open(uint64_t capacity);
void ids_close(struct ids *ids);

/* False if (product, id) is remembered: then *ret_original is where it stands; else it is
 * remembered at `position`. */
bool ids_admit(struct ids *ids, uint32_t product, struct slice id, uint64_t position,
               uint64_t *ret_original);

/* Makes what was admitted since the last call final, or forgets it. */
void ids_settle(struct ids *ids, bool keep);

struct queue {
    struct wal *wal;
    struct ids *ids; /* NULL: none are remembered */
    char node[TXN_NODE_SIZE];
    uint64_t max_bytes;

    pthread_mutex_t lock; /* of the two below */
    uint64_t cursor;
    uint64_t delivered; /* transactions before the cursor */
};

/* queue_node.c: reads the node's name, or makes one. */
MUST_CHECK int node_load(struct disk *disk, const char *data_dir, bool read_only,
                         char ret[TXN_NODE_SIZE], struct err *err);

/* queue_dedup.c: the log's hooks. */
bool queue_admit(void *queue, struct slice record, uint64_t position, uint64_t *ret_original);
void queue_settle(void *queue, bool durable);
void queue_recovered(void *queue, uint64_t position, struct slice record);

#endif
