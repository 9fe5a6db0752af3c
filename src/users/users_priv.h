/*
 * What the parts of the room share.
 */
#ifndef USERS_PRIV_H
#define USERS_PRIV_H

#include "users/users.h"

enum { USERS_KEY_SIZE = 32 };

struct users {
    bool pseudonymize;
    unsigned char key[USERS_KEY_SIZE]; /* of the pseudonyms */
};

/* users_key.c: the key in <data_dir>/pseudonym.key, made if there is none. */
MUST_CHECK int users_key(const char *data_dir, unsigned char ret[USERS_KEY_SIZE], struct err *err);

#endif
