/*
 * Pseudonyms: the first half of HMAC-SHA-256 (RFC 2104) of the pennkey, in hexadecimal. 128
 * bits: two users of one pseudonym are not to be expected.
 */
#include "users/users_priv.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

enum { PSEUDONYM_BYTES = 16 };

bool users_pseudonym(const struct users *users, struct slice pennkey,
                     char out[USERS_PSEUDONYM_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char hash[EVP_MAX_MD_SIZE];
    const char *text = pennkey.len > 0 ? pennkey.at : "";
    char *at = out;

    if (!users->pseudonymize)
        return false;
    if (HMAC(EVP_sha256(), users->key, USERS_KEY_SIZE, (const unsigned char *)text, pennkey.len,
             hash, NULL) == NULL)
        abort(); /* as mem_alloc(): all that can fail here is memory */
    *at++ = 'p';
    *at++ = '_';
    for (int i = 0; i < PSEUDONYM_BYTES; i++) {
        *at++ = digits[hash[i] >> 4];
        *at++ = digits[hash[i] & 15];
    }
    *at = '\0';
    return true;
}
