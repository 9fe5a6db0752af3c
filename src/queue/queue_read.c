/*
 * Out: transactions behind the durable position, in order or one by its position.
 */
#include "queue/queue_priv.h"

#include "base/mem.h"

#include <stdlib.h>

struct queue_reader {
    struct queue *queue;
    struct wal_reader *log;
    struct txn_datapoint datapoints[TXN_MAX_DATAPOINTS];
};

struct queue_reader *queue_reader_open(struct queue *queue, uint64_t position)
{
    struct queue_reader *reader = mem_alloc(sizeof *reader);

    reader->queue = queue;
    reader->log = wal_reader_open(queue->wal, position);
    return reader;
}

void queue_reader_close(struct queue_reader *reader)
{
    if (reader == NULL)
        return;
    wal_reader_close(reader->log);
    free(reader);
}

void queue_reader_seek(struct queue_reader *reader, uint64_t position)
{
    wal_reader_seek(reader->log, position);
}

int queue_reader_next(struct queue_reader *reader, struct queue_item *ret, struct err *err)
{
    int code = wal_reader_next(reader->log, &ret->record, &ret->position, &ret->next, err);

    /* Whole bytes that are no transaction can only come from a program with a fault or from
     * a newer one: damaged as far as this one can tell. */
    if (code == 0 && txn_decode(ret->record, &ret->txn, reader->datapoints, err) != 0) {
        wal_set_aside(reader->queue->wal, ret->position, ret->next);
        code = ERR_CORRUPT;
    }
    return code;
}

void queue_wait(struct queue *queue, uint64_t position, int64_t timeout_ms)
{
    wal_wait(queue->wal, position, timeout_ms);
}

void queue_wake(struct queue *queue)
{
    wal_wake(queue->wal);
}

int queue_find(struct queue *queue, uint64_t position, struct txn *ret,
               struct txn_datapoint *datapoints, struct buf *storage, struct err *err)
{
    int code;

    storage->len = 0;
    if ((code = wal_read_at(queue->wal, position, storage, err)) != 0)
        return code;
    return txn_decode(buf_slice(storage), ret, datapoints, err);
}

bool queue_damaged(struct queue *queue, uint64_t position)
{
    return wal_lost_at(queue->wal, position);
}

int queue_oldest(struct queue *queue, int64_t *ret_received_us, struct err *err)
{
    struct wal_reader *reader;
    struct slice record;
    struct txn txn;
    uint64_t cursor, position, next;
    int code;

    pthread_mutex_lock(&queue->lock);
    cursor = queue->cursor;
    pthread_mutex_unlock(&queue->lock);
    reader = wal_reader_open(queue->wal, cursor);
    do {
        code = wal_reader_next(reader, &record, &position, &next, err);
        if (code == 0)
            code = txn_decode_head(record, &txn, err);
    } while (code == ERR_CORRUPT);
    if (code == 0)
        *ret_received_us = txn.received_us;
    wal_reader_close(reader);
    return code;
}
