/*
 * The development issuer: auth_issuer.c keeps the key, auth_sign.c signs by it.
 */
#ifndef AUTH_AUTH_ISSUER_PRIV_H
#define AUTH_AUTH_ISSUER_PRIV_H

#include "auth/auth_priv.h"

struct auth_issuer {
    cjose_jwk_t *jwk; /* with its private part */
};

/* Makes the issuer of a private RSA key, which stays the caller's. */
MUST_CHECK int auth_issuer_of_key(const EVP_PKEY *key, struct auth_issuer **ret, struct err *err);

#endif
