/*
 * Opening the queue: the node's name, the log with its records, the memory of ids, the
 * cursor as far as it is known.
 */
#include "queue/queue_priv.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { SPARES = 1, ID_RESERVE = 8 /* of a segment: records with ids of 224 bytes or more */ };

/* The memory of client ids, still empty. */
static int open_ids(struct queue *queue, const struct queue_options *options, struct disk *disk,
                    struct err *err)
{
    char dir[4160];
    struct id_files_options files = {
        .disk = disk,
        .dir = dir,
        .capacity = options->dedup_ids,
        .window_s = options->dedup_window_s,
        .reserve_bytes = options->segment_bytes / ID_RESERVE,
        .read_only = options->read_only,
    };

    if (options->dedup_ids == 0)
        return 0;
    snprintf(dir, sizeof dir, "%s/ids", options->data_dir);
    memcpy(files.node, queue->node, WAL_NODE_LEN);
    if (!options->read_only)
        queue->ids = ids_open(options->dedup_ids, options->dedup_window_s);
    return id_files_open(&files, &queue->id_files, err);
}

/* Where no log can have got by that clock; 0 if it is wrong by decades. */
static uint64_t positions_by(int64_t clock_us)
{
    const int64_t most_us = INT64_C(1) << 50; /* ids have room for twice that */
    int64_t us = clock_us - POSITIONS_BEGIN_US;

    return us > 0 && us < most_us ? (uint64_t)us * POSITIONS_A_US : 0;
}

int queue_open(const struct queue_options *options, struct queue **ret,
               struct wal_recovery *ret_recovery, struct err *err)
{
    struct queue *queue = mem_zalloc(sizeof *queue);
    struct disk *disk = options->disk != NULL ? options->disk : &disk_real;
    char dir[4160];
    char quarantine[4160];
    struct wal_recovery recovery;
    bool made;
    int code;
    struct wal_options log = {
        .disk = disk,
        .dir = dir,
        .segment_bytes = options->segment_bytes,
        .max_bytes = options->max_bytes,
        .sync = options->sync,
        .read_only = options->read_only,
        .spares = SPARES,
        .start = options->cursor,
        .gap = options->read_only ? 0 : POSITION_GAP,
        .hooks = {queue, queue_admit, queue_settle, queue_retiring, queue_retired},
        .quarantine = quarantine,
        .quarantine_max_bytes = options->quarantine_max_bytes,
        .heal_every_ms = options->heal_every_ms,
        .recovering = queue_recovering,
        .recovered = queue_recovered,
        .recovery_ended = queue_recovery_ended,
        .recovered_arg = queue,
        .give_up = options->give_up,
    };

    pthread_mutex_init(&queue->lock, NULL);
    queue->max_bytes = options->max_bytes;
    snprintf(dir, sizeof dir, "%s/queue", options->data_dir);
    snprintf(quarantine, sizeof quarantine, "%s/quarantine", options->data_dir);
    if ((code = node_load(disk, options->data_dir, options->read_only, queue->node, &made, err)) !=
        0)
        goto dispose;
    if (!options->read_only && !made)
        log.least = positions_by(options->clock_us);
    memcpy(log.node, queue->node, WAL_NODE_LEN);
    if ((code = open_ids(queue, options, disk, err)) != 0 ||
        (code = wal_open(&log, &queue->wal, &recovery, err)) != 0)
        goto dispose;
    if (ret_recovery != NULL)
        *ret_recovery = recovery;
    queue->cursor = wal_stats(queue->wal).first;
    if (queue->cursor < options->cursor)
        queue->cursor = options->cursor;
    if ((code = wal_count_before(queue->wal, queue->cursor, &queue->delivered, err)) != 0)
        goto close_log;
    queue->damaged = wal_lost(queue->wal, queue->cursor).records;
    queue->known = recovery.end;
    queue->furthest = wal_stats(queue->wal).next;
    *ret = queue;
    return 0;

close_log:
    wal_close(queue->wal);
    queue->wal = NULL;
dispose:
    queue_close(queue);
    return code;
}

void queue_close(struct queue *queue)
{
    if (queue == NULL)
        return;
    wal_close(queue->wal);
    id_files_close(queue->id_files);
    ids_close(queue->ids);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

const char *queue_node(const struct queue *queue)
{
    return queue->node;
}
