/*
 * The one place where it is decided who the user of a transaction's rows is: the pennkey of its
 * body, else whose session it was; under a pseudonym if that is wanted. Nothing is copied for a
 * transaction whose user is stored as it was sent.
 */
#include "forward/forward_priv.h"

bool forward_user(const struct forward *forward, const struct txn *txn, struct forward_user *ret)
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
    if (ret->name.at != NULL && users_pseudonym(users, ret->name, ret->pseudonym))
        ret->name = slice_of(ret->pseudonym);
    return true;
}
