/*
 * A transaction that the store refuses becomes a failed one: read from the log once more, without a
 * user who is forgotten, and into the ledger with the store's words. If its user is to be erased by
 * now, it goes out of the ledger instead, should it have failed before.
 */
#include "forward/forward_priv.h"

#include "base/clock.h"

void note_resolved(struct forward *forward, const struct txn *txn, struct slice record)
{
    struct txn kept;

    if (txn->session.at != NULL && txn_decode_head(record, &kept, NULL) == 0 &&
        kept.session.at == NULL)
        note_session(forward, USERS_RESOLVED);
}

static int record(struct forward *forward, uint64_t position, const struct txn *txn,
                  struct slice reason, bool *ret_new, struct err *err)
{
    struct ledger *ledger = forward->options.ledger;
    struct ledger_failed before;
    struct buf bytes = {0};
    bool is_new = ledger_find(ledger, position, &before, &bytes, err) != 0;
    int code;

    bytes.len = 0;
    if (forward_record(forward, position, txn, &bytes)) {
        code = ledger_fail(ledger, position, buf_slice(&bytes), reason, clock_wall_us(), err);
        if (code == 0 && is_new)
            note_resolved(forward, txn, buf_slice(&bytes));
    } else {
        is_new = false;
        code = ledger_erase(ledger, position, err);
        code = code == ERR_NOT_FOUND ? 0 : code;
    }
    buf_free(&bytes);
    if (code == 0)
        *ret_new = is_new;
    return code;
}

int record_refusal(struct forward *forward, uint64_t position, struct slice reason, bool *ret_new,
                   struct err *err)
{
    struct txn_datapoint datapoints[TXN_MAX_DATAPOINTS];
    struct buf storage = {0};
    struct txn txn;
    int code = queue_find(forward->options.queue, position, &txn, datapoints, &storage, err);

    if (code == 0)
        code = record(forward, position, &txn, reason, ret_new, err);
    else if (code == ERR_NOT_FOUND || code == ERR_CORRUPT || code == ERR_UNSUPPORTED)
        code = ERR_CONFLICT;
    else
        code = ERR_UNAVAILABLE;
    buf_free(&storage);
    return code;
}
