/*
 * The log's hooks: each record that is about to be written is looked up by the client's id;
 * at open, the records that are there fill the memory again.
 */
#include "queue/queue_priv.h"

bool queue_admit(void *arg, struct slice record, uint64_t position, uint64_t *ret_original)
{
    struct queue *queue = arg;
    struct txn txn;

    if (queue->ids == NULL || txn_decode_head(record, &txn, NULL) != 0 || txn.client_id.at == NULL)
        return true;
    return ids_admit(queue->ids, txn.product, txn.client_id, position, ret_original);
}

void queue_settle(void *arg, bool durable)
{
    struct queue *queue = arg;

    if (queue->ids != NULL)
        ids_settle(queue->ids, durable);
}

void queue_recovered(void *arg, uint64_t position, struct slice record)
{
    struct queue *queue = arg;
    uint64_t original;

    queue_admit(queue, record, position, &original);
    queue_settle(queue, true);
}
