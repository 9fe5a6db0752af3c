/*
 * What became of a transaction that the store's cursor has passed, as far as ledger and store
 * know: for the queue, which asks when that cursor is not where this engine left it.
 */
#include "forward/forward_priv.h"

/* Is it never to be in the store: to be erased, failed, discarded? */
static int find_settled(const struct forward *forward, uint64_t position, const struct txn *txn,
                        bool *ret, struct err *err)
{
    struct ledger *ledger = forward->options.ledger;
    struct ledger_failed failed;
    struct buf record = {0};
    int code = 0;

    *ret = !forward_record(forward, position, txn, &record);
    if (!*ret)
        code = ledger_discarded(ledger, position, ret, err);
    if (!*ret && code == 0) {
        code = ledger_find(ledger, position, &failed, &record, err);
        *ret = code == 0;
        code = code == ERR_NOT_FOUND ? 0 : code;
    }
    buf_free(&record);
    return code;
}

/* Another engine of this name may have given the id to another transaction. */
static int find_stored(struct forward *forward, uint64_t position, const struct txn *txn, bool *ret,
                       struct err *err)
{
    struct store_found found;
    char id[TXN_ID_SIZE];
    int code;

    txn_id_format(id, queue_node(forward->options.queue), position);
    code = store_find(forward->store, id, &found, err);
    *ret = code == 0 && found.received_us == txn->received_us;
    return code == ERR_NOT_FOUND ? 0 : code;
}

int forward_look(void *arg, uint64_t position, enum queue_fate *ret, struct err *err)
{
    struct forward *forward = arg;
    struct txn_datapoint datapoints[TXN_MAX_DATAPOINTS];
    struct buf bytes = {0};
    struct txn txn;
    bool settled = false, stored = false;
    int code = queue_find(forward->options.queue, position, &txn, datapoints, &bytes, err);

    if (code == ERR_CORRUPT || code == ERR_UNSUPPORTED) { /* it was left out as damaged */
        settled = true;
        code = 0;
    } else if (code == 0) {
        code = find_settled(forward, position, &txn, &settled, err);
    }
    if (code == 0 && !settled)
        code = find_stored(forward, position, &txn, &stored, err);
    *ret = settled ? QUEUE_SETTLED : stored ? QUEUE_STORED : QUEUE_ABSENT;
    buf_free(&bytes);
    return code;
}
