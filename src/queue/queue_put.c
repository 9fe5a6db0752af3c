/*
 * In: a transaction is encoded straight into the producer's open batch.
 */
#include "queue/queue_priv.h"

struct wal_producer *queue_producer_open(struct queue *queue, struct mailbox *home,
                                         size_t max_bytes)
{
    return wal_producer_open(queue->wal, home, max_bytes);
}

int queue_put(struct wal_producer *producer, const struct txn *txn, struct err *err)
{
    char *room;
    int code = wal_reserve(producer, txn_encoded_max(txn), &room, err);

    if (code == 0)
        wal_append(producer, txn_encode(txn, room));
    return code;
}

void queue_ticket_id(const struct queue *queue, const struct wal_ticket *ticket, uint32_t *iterator,
                     char out[TXN_ID_SIZE])
{
    txn_id_format(out, queue->node, wal_ticket_position(ticket, iterator));
}

bool queue_refusing(struct queue *queue, struct err *ret_reason)
{
    return wal_refusing(queue->wal, ret_reason);
}
