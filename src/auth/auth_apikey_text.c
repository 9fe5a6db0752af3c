/*
 * A key as text, and as an entry of the file.
 *
 * The text is made of random bytes, five bits a character. What is written to the file says
 * nothing about it but its id and its SHA-256.
 */
#include "auth/auth_apikeys_priv.h"

#include "base/clock.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>

static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

enum {
    PREFIX_LEN = sizeof APIKEY_PREFIX - 1,
    ID_LEN = AUTH_KEY_ID_SIZE - 1,
    RANDOM_LEN = AUTH_KEY_SIZE - 1 - PREFIX_LEN,
};

_Static_assert((RANDOM_LEN - ID_LEN) * 5 >= 160, "a secret has at least 160 bits");

int apikey_make(struct auth_apikey *key, char text[AUTH_KEY_SIZE], struct err *err)
{
    unsigned char bytes[RANDOM_LEN];

    if (RAND_bytes(bytes, sizeof bytes) != 1)
        return err_set(err, ERR_IO, "OpenSSL has no random bytes");
    memcpy(text, APIKEY_PREFIX, PREFIX_LEN);
    for (size_t i = 0; i < sizeof bytes; i++)
        text[PREFIX_LEN + i] = alphabet[bytes[i] & 31];
    text[AUTH_KEY_SIZE - 1] = '\0';
    OPENSSL_cleanse(bytes, sizeof bytes);
    memcpy(key->id, text + PREFIX_LEN, ID_LEN);
    key->id[ID_LEN] = '\0';
    if (EVP_Digest(text, AUTH_KEY_SIZE - 1, key->digest, NULL, EVP_sha256(), NULL) != 1)
        return err_set(err, ERR_IO, "OpenSSL makes no SHA-256");
    snprintf(key->claims.subject, sizeof key->claims.subject, "key:%s", key->id);
    return 0;
}

static bool is_base32(const char *at, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (memchr(alphabet, at[i], sizeof alphabet - 1) == NULL)
            return false;
    }
    return true;
}

bool apikey_has_form(struct slice text)
{
    return text.len == AUTH_KEY_SIZE - 1 && memcmp(text.at, APIKEY_PREFIX, PREFIX_LEN) == 0 &&
           is_base32(text.at + PREFIX_LEN, RANDOM_LEN);
}

bool apikey_is_id(struct slice text)
{
    return text.len == ID_LEN && is_base32(text.at, ID_LEN);
}

static json_t *list_of(char *const *texts, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_string(texts[i]));
    return list;
}

json_t *apikey_entry(const struct auth_apikey *key)
{
    char created[CLOCK_TEXT_SIZE], expires[CLOCK_TEXT_SIZE];
    char digest[2 * APIKEY_DIGEST + 1];
    bool ends = key->claims.expires_us != INT64_MAX;

    for (int i = 0; i < APIKEY_DIGEST; i++)
        snprintf(digest + (size_t)2 * i, 3, "%02x", key->digest[i]);
    clock_format(created, key->created_us);
    if (ends)
        clock_format(expires, key->claims.expires_us);
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:s, s:s, s:s?}", "id", key->id, "sha256", digest,
                     "scope", key->scope, "products",
                     list_of(key->product_names, key->claims.product_count), "origins",
                     list_of(key->origins, key->claims.origin_count), "name", key->name, "created",
                     created, "expires", ends ? expires : NULL);
}
