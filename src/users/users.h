/*
 * Who the user of a transaction is, for the store.
 *
 * With PSEUDONYMIZE a user is stored under a pseudonym: a keyed hash of the pennkey, the same
 * one for as long as <data_dir>/pseudonym.key is kept. Whoever has the key can find a user's
 * events by the pennkey; nobody finds the pennkey by the events.
 */
#ifndef USERS_USERS_H
#define USERS_USERS_H

#include "base/err.h"
#include "base/slice.h"
#include "txn/txn.h"

#include <stdbool.h>
#include <stdint.h>

/* A pseudonym is "p_" and 32 hexadecimal digits in lower case; with a NUL. */
#define USERS_PSEUDONYM_SIZE 35

struct users;

struct users_options {
    const char *data_dir;
    bool pseudonymize;
};

/* Makes the key of the pseudonyms if there is none yet and it is needed. ERR_INVALID if its file
 * is not one, or others than its owner may use it. */
MUST_CHECK int users_open(const struct users_options *options, struct users **ret, struct err *err);
void users_close(struct users *users);

/* The pseudonym under which the store has this user; false, and nothing in `out`, if users are
 * stored by their pennkeys. Any thread. */
bool users_pseudonym(const struct users *users, struct slice pennkey,
                     char out[USERS_PSEUDONYM_SIZE]);

#endif
