/*
 * Another try for failed transactions that somebody asked for: each alone, in a database
 * transaction that first looks whether it is there already, so that a lost answer or a
 * crash between store and ledger cannot store it twice; and whether the cursor has passed it, which
 * a store that was put back has not: there it comes in its turn.
 */
#include "forward/forward_priv.h"

#include "base/clock.h"
#include "base/log.h"

enum { AT_ONCE = 100 };

struct retry {
    struct forward *forward;
    struct err *err;
    int noted; /* what the ledger said when it was to take what came of one */
};

/* By what is known, or by asking once. False if the transaction has to wait for an answer. */
static bool find_user(struct forward *forward, uint64_t position, const struct txn *txn,
                      struct forward_user *ret)
{
    struct users *users = forward->options.users;

    if (forward_user(forward, position, txn, ret))
        return true;
    if (users_pause_ms(users) == 0)
        users_ask(users, &txn->session, 1);
    return forward_user(forward, position, txn, ret);
}

/* Whether the store took or refused it. */
static int put(struct forward *forward, const struct ledger_failed *failed, const struct txn *txn,
               const struct forward_user *user, struct err *err)
{
    int code;

    if (user->verdict == LEDGER_ERASE)
        return 0; /* by what follows */
    store_batch_reset(forward->single);
    batch_add(forward, forward->single, failed->position, txn, user);
    code = store_put(forward->store, forward->single, 0, queue_node(forward->options.queue),
                     failed->position, err);
    if (code == 0)
        note_session(forward, user->session);
    return code;
}

/* Into the ledger: what came of it. */
static int note(struct forward *forward, const struct ledger_failed *failed, const struct txn *txn,
                int outcome, const char *words, struct err *err)
{
    struct ledger *ledger = forward->options.ledger;
    struct buf record = {0};
    int code;

    if (txn != NULL && !forward_record(forward, failed->position, txn, &record))
        code = ledger_erase(ledger, failed->position, err);
    else if (outcome == 0)
        code = ledger_recovered(ledger, failed->position, err);
    else
        code =
            ledger_fail(ledger, failed->position, txn != NULL ? buf_slice(&record) : failed->record,
                        slice_of(words), clock_wall_us(), err);
    if (code == 0 && outcome != 0 && txn != NULL)
        note_resolved(forward, txn, buf_slice(&record));
    buf_free(&record);
    return code == ERR_NOT_FOUND ? 0 : code; /* erased meanwhile, for its user is forgotten */
}

static int try_again(void *arg, const struct ledger_failed *failed)
{
    struct retry *retry = arg;
    struct txn_datapoint datapoints[TXN_MAX_DATAPOINTS];
    struct err ledger_err;
    struct txn txn;
    struct forward_user user;
    bool whole = txn_decode(failed->record, &txn, datapoints, retry->err) == 0;
    int code = ERR_REFUSED; /* what is damaged in the ledger stays there */

    if (whole && !find_user(retry->forward, failed->position, &txn, &user)) {
        retry->forward->retries_wait = true;
        return 0;
    }
    if (whole)
        code = put(retry->forward, failed, &txn, &user, retry->err);
    if (code != 0 && code != ERR_REFUSED)
        return code;
    retry->noted =
        note(retry->forward, failed, whole ? &txn : NULL, code, retry->err->text, &ledger_err);
    if (retry->noted != 0)
        *retry->err = ledger_err;
    return retry->noted;
}

int retry_marked(struct forward *forward, int *ret_noted, struct err *err)
{
    struct retry retry = {.forward = forward, .err = err};
    int code;

    forward->retries_wait = false;
    code =
        ledger_each_failed(forward->options.ledger, true, 0, true, AT_ONCE, try_again, &retry, err);
    *ret_noted = retry.noted;
    return retry.noted != 0 ? 0 : code;
}
