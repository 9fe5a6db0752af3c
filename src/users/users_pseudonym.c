/*
 * Pseudonyms: the first half of HMAC-SHA-256 (RFC 2104) of the pennkey, in hexadecimal. 128
 * bits: two users of one pseudonym are not to be expected. What is one already stays as it is:
 * an exported transaction names its user by it, and is imported for the same one.
 */
#include "users/users_priv.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

enum { PSEUDONYM_BYTES = 16 };

static bool is_pseudonym(struct slice name)
{
    if (name.len != USERS_PSEUDONYM_SIZE - 1 || memcmp(name.at, "p_", 2) != 0)
        return false;
    for (size_t i = 2; i < name.len; i++) {
        if (!((name.at[i] >= '0' && name.at[i] <= '9') || (name.at[i] >= 'a' && name.at[i] <= 'f')))
            return false;
    }
    return true;
}

bool users_pseudonym(const struct users *users, struct slice pennkey,
                     char out[USERS_PSEUDONYM_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char hash[EVP_MAX_MD_SIZE];
    const char *text = pennkey.len > 0 ? pennkey.at : "";
    char *at = out;

    if (!users->pseudonymize)
        return false;
    if (is_pseudonym(pennkey)) {
        memcpy(out, pennkey.at, pennkey.len);
        out[pennkey.len] = '\0';
        return true;
    }
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
