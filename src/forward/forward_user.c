/*
 * The one place where it is decided who the user of a transaction's rows is: the pennkey of its
 * body, else whose session it was; nobody if that user is to be forgotten; under a pseudonym if
 * that is wanted. Nothing is copied for a transaction whose user is stored as it was sent.
 */
#include "forward/forward_priv.h"

bool forward_user(const struct forward *forward, uint64_t position, const struct txn *txn,
                  struct forward_user *ret)
{
    struct users *users = forward->options.users;

    ret->session = USERS_NO_SESSION;
    ret->name = txn->pennkey;
    if (txn->pennkey.at == NULL && txn->session.at != NULL) {
        ret->session = users_find(users, txn->session, txn->received_us, ret->storage);
        if (ret->session == USERS_OPEN)
            return false;
        if (ret->session == USERS_RESOLVED)
            ret->name = slice_of(ret->storage);
    }
    ret->verdict = ledger_verdict(forward->options.ledger, position, ret->name);
    if (ret->verdict != LEDGER_KEEP)
        ret->name = (struct slice){0};
    if (ret->name.at != NULL && users_pseudonym(users, ret->name, ret->pseudonym))
        ret->name = slice_of(ret->pseudonym);
    return true;
}

bool forward_record(const struct forward *forward, uint64_t position, const struct txn *txn,
                    struct buf *ret)
{
    struct txn kept = *txn;
    struct forward_user user;
    bool known = forward_user(forward, position, txn, &user);

    if (known && user.verdict == LEDGER_ERASE)
        return false;
    if (known && user.verdict == LEDGER_ANONYMISE)
        kept.pennkey = kept.session = (struct slice){0};
    if (known && user.verdict == LEDGER_KEEP && user.session == USERS_RESOLVED) {
        kept.pennkey = slice_of(user.storage); /* a pseudonym it gets when it is tried again */
        kept.session = (struct slice){0};
    }
    buf_reserve(ret, txn_encoded_max(&kept));
    ret->len += txn_encode(&kept, ret->data + ret->len);
    return true;
}

void note_session(struct forward *forward, enum users_answer session)
{
    pthread_mutex_lock(&forward->lock);
    forward->status.sessions[session]++;
    pthread_mutex_unlock(&forward->lock);
}
