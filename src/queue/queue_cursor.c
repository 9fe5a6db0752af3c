/*
 * The cursor: it moves with the store's, frees the log behind it, and splits what was
 * accepted into delivered and pending.
 */
#include "queue/queue_priv.h"

#include "base/log.h"

#include <inttypes.h>

void queue_delivered(struct queue *queue, uint64_t cursor, uint64_t transactions)
{
    uint64_t damaged = wal_lost(queue->wal, cursor).records;

    pthread_mutex_lock(&queue->lock);
    queue->cursor = cursor;
    queue->delivered += transactions + (damaged - queue->damaged);
    queue->damaged = damaged;
    pthread_mutex_unlock(&queue->lock);
    wal_release(queue->wal, cursor, NULL);
}

/* How far the store can be. Nobody but this process can have delivered what it accepts.
 * *ret_delivered is how far it is as a matter of fact. */
static uint64_t furthest(struct queue *queue, const struct wal_stats *log, uint64_t *ret_delivered)
{
    uint64_t position;

    pthread_mutex_lock(&queue->lock);
    position = !queue->found                  ? queue->furthest
               : queue->cursor > log->durable ? queue->cursor
                                              : log->durable;
    *ret_delivered = queue->cursor;
    pthread_mutex_unlock(&queue->lock);
    return position;
}

static int contested(struct queue *queue, uint64_t cursor, uint64_t delivered, struct err *err)
{
    int code = err_set(err, ERR_CONFLICT,
                       "the store has position %" PRIu64 " of node %s, this engine delivered up to "
                       "%" PRIu64 ": does another one run with a copy of its data directory, or is "
                       "this an old copy?",
                       cursor, queue->node, delivered);

    if (!queue->contested)
        log_error("queue", "%s", err->text);
    queue->contested = true;
    return code;
}

/* Whether all between `delivered` and the store's cursor is where it belongs. As it is delivered in
 * order, the last one tells. */
static int look_back(struct queue *queue, uint64_t delivered, uint64_t cursor, queue_look *look,
                     void *arg, struct err *err)
{
    enum queue_fate fate = QUEUE_SETTLED;
    uint64_t position = cursor, next;

    while (fate == QUEUE_SETTLED) {
        int code = wal_find_before(queue->wal, position, &position, &next, err);

        if (code == ERR_NOT_FOUND || (code == 0 && (position < delivered || next == cursor)))
            return 0;
        if (code != 0 || (code = look(arg, position, &fate, err)) != 0)
            return code;
    }
    return fate == QUEUE_ABSENT ? ERR_CONFLICT : 0;
}

int queue_cursor_found(struct queue *queue, uint64_t cursor, queue_look *look, void *arg,
                       struct err *err)
{
    struct wal_stats log = wal_stats(queue->wal);
    uint64_t delivered;
    bool lost;
    int code;

    if (cursor > furthest(queue, &log, &delivered))
        return contested(queue, cursor, delivered, err);
    if (cursor < log.first)
        return err_set(err, ERR_CONFLICT,
                       "the store has position %llu of node %s, this log begins at %llu: is the "
                       "store an old copy, or the log's first file missing?",
                       (unsigned long long)cursor, queue->node, (unsigned long long)log.first);
    code = cursor > delivered ? look_back(queue, delivered, cursor, look, arg, err) : 0;
    if (code == ERR_CONFLICT)
        return contested(queue, cursor, delivered, err);
    if (code != 0 || (code = wal_count_before(queue->wal, cursor, &delivered, err)) != 0)
        return code;
    if (queue->contested)
        log_info("queue", "the store's position is this engine's again");
    queue->contested = false;
    pthread_mutex_lock(&queue->lock);
    lost = !queue->found && cursor > queue->known;
    queue->found = true;
    queue->cursor = cursor;
    queue->delivered = delivered;
    queue->damaged = wal_lost(queue->wal, cursor).records;
    pthread_mutex_unlock(&queue->lock);
    wal_release(queue->wal, cursor, NULL);
    if (lost)
        log_warning("queue",
                    "the log has lost its end, which the store has: positions %" PRIu64
                    " to %" PRIu64,
                    queue->known, cursor);
    return 0;
}

struct queue_status queue_status(struct queue *queue)
{
    struct queue_status status = {0};
    uint64_t delivered;

    /* The cursor first: what is accepted afterwards can only add to what is pending. */
    pthread_mutex_lock(&queue->lock);
    status.cursor = queue->cursor;
    delivered = queue->delivered;
    status.damaged = queue->damaged;
    pthread_mutex_unlock(&queue->lock);
    status.log = wal_stats(queue->wal);
    status.lost = wal_lost(queue->wal, UINT64_MAX);
    status.durable = status.log.durable;
    status.accepted = status.log.records;
    status.pending_transactions = status.accepted > delivered ? status.accepted - delivered : 0;
    status.pending_bytes = wal_bytes_from(queue->wal, status.cursor);
    status.max_bytes = queue->max_bytes;
    if (queue->ids != NULL) {
        status.ids = ids_count(queue->ids);
        status.id_bytes = ids_bytes(queue->ids);
    }
    if (queue->id_files != NULL) {
        struct id_files_stats files = id_files_stats(queue->id_files);

        status.id_files = files.files;
        status.id_file_bytes = files.bytes;
        status.ids_in_files = files.ids;
        status.ids_lost = files.damaged;
    }
    return status;
}
