/*
 * Another try for failed transactions that somebody asked for: each alone, in a database
 * transaction that first looks whether it is there already, so that a lost answer or a
 * crash between store and ledger cannot store it twice.
 */
#include "forward/forward_priv.h"

#include "base/clock.h"
#include "base/log.h"

enum { AT_ONCE = 100 };

struct retry {
    struct forward *forward;
    struct err *err;
};

/* By what is known, or by asking once. False if the transaction has to wait for an answer. */
static bool find_user(struct forward *forward, const struct txn *txn, struct forward_user *ret)
{
    struct users *users = forward->options.users;

    if (forward_user(forward, txn, ret))
        return true;
    if (users_pause_ms(users) == 0)
        users_ask(users, &txn->session, 1);
    return forward_user(forward, txn, ret);
}

static void note_session(struct forward *forward, enum users_answer session)
{
    pthread_mutex_lock(&forward->lock);
    forward->status.sessions[session]++;
    pthread_mutex_unlock(&forward->lock);
}

static int try_again(void *arg, const struct ledger_failed *failed)
{
    struct retry *retry = arg;
    struct forward *forward = retry->forward;
    struct ledger *ledger = forward->options.ledger;
    struct txn_datapoint datapoints[TXN_MAX_DATAPOINTS];
    struct err ledger_err;
    struct txn txn;
    struct forward_user user;
    int code;

    if ((code = txn_decode(failed->record, &txn, datapoints, retry->err)) == 0) {
        if (!find_user(forward, &txn, &user)) {
            forward->retries_wait = true;
            return 0;
        }
        store_batch_reset(forward->single);
        batch_add(forward, forward->single, failed->position, &txn, &user);
        code = store_put(forward->store, forward->single, 0, queue_node(forward->options.queue),
                         retry->err);
    } else {
        code = ERR_REFUSED; /* damaged in the ledger: it stays there */
    }
    if (code != 0 && code != ERR_REFUSED)
        return code;
    if (code == 0)
        note_session(forward, user.session);
    code = code == 0 ? ledger_recovered(ledger, failed->position, &ledger_err)
                     : ledger_fail(ledger, failed->position, failed->record,
                                   slice_of(retry->err->text), clock_wall_us(), &ledger_err);
    if (code != 0)
        *retry->err = ledger_err;
    return code;
}

int retry_marked(struct forward *forward, struct err *err)
{
    struct retry retry = {forward, err};

    forward->retries_wait = false;
    return ledger_each_failed(forward->options.ledger, true, 0, true, AT_ONCE, try_again, &retry,
                              err);
}
