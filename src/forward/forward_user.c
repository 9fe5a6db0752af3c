/*
 * The one place where it is decided who the user of a transaction's rows is: the pennkey of
 * its body, under a pseudonym if that is wanted. Nothing is copied for a transaction whose
 * user is stored as it was sent.
 */
#include "forward/forward_priv.h"

struct slice forward_user(const struct forward *forward, const struct txn *txn,
                          char storage[FORWARD_USER_SIZE])
{
    struct slice user = txn->pennkey;

    if (user.at != NULL && users_pseudonym(forward->options.users, user, storage))
        user = slice_of(storage);
    return user;
}
