/*
 * The log's hooks: each record that is about to be written is looked up by the client's id; at
 * open, the files of ids and then the records that are there fill the memory again; and before
 * a segment is recycled its ids go into a file.
 */
#include "queue/queue_priv.h"

bool queue_admit(void *arg, struct slice record, uint64_t position, uint64_t *ret_original)
{
    struct queue *queue = arg;
    struct id_entry entry;
    struct txn txn;
    uint32_t now_s;

    if (queue->ids == NULL || txn_decode_head(record, &txn, NULL) != 0)
        return true;
    now_s = ids_pass(queue->ids, txn.received_us);
    if (txn.client_id.at == NULL)
        return true;
    entry =
        id_entry_of(id_files_seed(queue->id_files), txn.product, txn.client_id, position, now_s);
    return ids_admit(queue->ids, &entry, ret_original);
}

void queue_settle(void *arg, bool durable)
{
    struct queue *queue = arg;

    if (queue->ids != NULL)
        ids_settle(queue->ids, durable);
}

int queue_recovering(void *arg, uint64_t first, struct err *err)
{
    struct queue *queue = arg;

    return queue->id_files != NULL ? id_files_load(queue->id_files, first, queue->ids, err) : 0;
}

void queue_recovered(void *arg, uint64_t position, struct slice record)
{
    struct queue *queue = arg;
    struct id_entry entry;
    struct txn txn;
    uint32_t now_s;

    if (queue->ids == NULL || txn_decode_head(record, &txn, NULL) != 0)
        return;
    now_s = ids_pass(queue->ids, txn.received_us);
    if (txn.client_id.at == NULL)
        return;
    entry =
        id_entry_of(id_files_seed(queue->id_files), txn.product, txn.client_id, position, now_s);
    ids_load(queue->ids, &entry);
    ids_settle(queue->ids, true);
}

void queue_recovery_ended(void *arg)
{
    struct queue *queue = arg;

    if (queue->ids != NULL)
        ids_loaded(queue->ids);
}

void queue_retiring(void *arg, uint64_t position, struct slice record)
{
    struct queue *queue = arg;
    struct txn txn;

    if (queue->ids != NULL && txn_decode_head(record, &txn, NULL) == 0)
        id_files_note(queue->id_files, position, &txn);
}

int queue_retired(void *arg, uint64_t from, uint64_t to, struct err *err)
{
    struct queue *queue = arg;

    return queue->ids != NULL ? id_files_end(queue->id_files, from, to, err) : 0;
}
