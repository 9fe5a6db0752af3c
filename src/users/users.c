/*
 * The life of the room.
 */
#include "users/users.h"

#include "users/users_priv.h"

#include "base/mem.h"

#include <openssl/crypto.h>
#include <stdlib.h>

int users_open(const struct users_options *options, struct users **ret, struct err *err)
{
    struct users *users = mem_zalloc(sizeof *users);
    int code = 0;

    users->pseudonymize = options->pseudonymize;
    if (users->pseudonymize)
        code = users_key(options->data_dir, users->key, err);
    if (code != 0) {
        users_close(users);
        return code;
    }
    *ret = users;
    return 0;
}

void users_close(struct users *users)
{
    if (users == NULL)
        return;
    OPENSSL_cleanse(users->key, sizeof users->key);
    free(users);
}
