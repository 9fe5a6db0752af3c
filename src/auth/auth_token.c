/*
 * A compact JWS (RFC 7515 section 7.1) is split, its header read, its signature verified
 * by the keys that fit, and only then are its claims looked at.
 *
 * The header chooses among our keys and does nothing else: its `alg` must be one of the
 * two we take and the one the key has, so a public RSA key is never an HMAC secret. cjose
 * gets the text after it has passed the strict checks here, and verifies.
 */
#include "auth/auth_priv.h"

#include <string.h>

/* An ES256 signature is exactly two numbers of 32 bytes (RFC 7518 section 3.4). */
#define ES256_SIGNATURE 64

struct parts {
    struct slice header;
    struct slice payload;
    struct slice signature;
};

static bool split(struct slice text, struct parts *ret)
{
    const char *end = text.at + text.len;
    const char *first = memchr(text.at, '.', text.len);
    const char *second;

    if (first == NULL)
        return false;
    second = memchr(first + 1, '.', (size_t)(end - first - 1));
    if (second == NULL || memchr(second + 1, '.', (size_t)(end - second - 1)) != NULL)
        return false;
    ret->header = (struct slice){text.at, (size_t)(first - text.at)};
    ret->payload = (struct slice){first + 1, (size_t)(second - first - 1)};
    ret->signature = (struct slice){second + 1, (size_t)(end - second - 1)};
    return true;
}

/* The words of a refusal may name an algorithm, but not whatever the token has there. */
static int refuse_algorithm(const char *name, struct err *err)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    size_t len = strlen(name);

    if (len == 0 || len > 8 || strspn(name, letters) != len)
        return err_set(err, ERR_INVALID, "the token's algorithm is not accepted");
    return err_set(err, ERR_INVALID, "algorithm %s is not accepted", name);
}

/* Reads what chooses the key. *ret_kid (NULL: none) lives as long as the header. */
static int read_header(const json_t *header, enum auth_algorithm *ret_algorithm,
                       const char **ret_kid, struct err *err)
{
    static const char *const own_keys[] = {"jwk", "jku", "x5c", "x5u"};
    const json_t *alg = json_object_get(header, "alg");
    const json_t *kid = json_object_get(header, "kid");

    if (!json_is_object(header))
        return err_set(err, ERR_INVALID, "the token's header is not a JSON object");
    if (!json_is_string(alg))
        return err_set(err, ERR_INVALID, "the token's header has no alg");
    if (!auth_algorithm_of(json_string_value(alg), ret_algorithm))
        return refuse_algorithm(json_string_value(alg), err);
    for (size_t i = 0; i < sizeof own_keys / sizeof *own_keys; i++) {
        if (json_object_get(header, own_keys[i]) != NULL)
            return err_set(err, ERR_INVALID, "a token that brings its own key (%s) is not accepted",
                           own_keys[i]);
    }
    if (json_object_get(header, "crit") != NULL)
        return err_set(err, ERR_INVALID, "a token with a crit header is not accepted");
    if (kid != NULL && !json_is_string(kid))
        return err_set(err, ERR_INVALID, "the token's kid must be a string");
    *ret_kid = json_string_value(kid);
    return 0;
}

static bool has_name(const struct auth_key *key, const char *kid)
{
    return kid == NULL || (key->kid != NULL && strcmp(key->kid, kid) == 0);
}

static bool fits(const struct auth_key *key, enum auth_algorithm algorithm, const char *kid)
{
    return key->algorithm == algorithm && has_name(key, kid);
}

static bool verified(cjose_jws_t *jws, const struct auth_keys *keys, enum auth_algorithm algorithm,
                     const char *kid)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (fits(&keys->keys[i], algorithm, kid) && cjose_jws_verify(jws, keys->keys[i].jwk, NULL))
            return true;
    }
    return false;
}

/* Tells apart why no key took the signature: helpful to those who run the issuer. A key that is
 * not in the set may be to blame, unless the set has the one that the token names. */
static int refuse_signature(const struct auth_keys *keys, enum auth_algorithm algorithm,
                            const char *kid, struct err *err)
{
    bool named = false;

    for (size_t i = 0; i < keys->count; i++) {
        if (fits(&keys->keys[i], algorithm, kid))
            return err_set(err, kid != NULL ? ERR_INVALID : ERR_NOT_FOUND,
                           "the token's signature is wrong");
        named |= kid != NULL && has_name(&keys->keys[i], kid);
    }
    if (named)
        return err_set(err, ERR_INVALID, "the token's algorithm is not that of its key");
    return err_set(err, ERR_NOT_FOUND, "token is signed by an unknown key");
}

/* Verifies the signature and reads the claims from the bytes that were signed. */
static int verify(const struct auth_keys *keys, const struct auth_urns *urns, struct slice text,
                  enum auth_algorithm algorithm, const char *kid, struct auth_token *ret,
                  struct err *err)
{
    cjose_jws_t *jws = cjose_jws_import(text.at, text.len, NULL);
    uint8_t *payload;
    size_t len;
    int rc;

    if (jws == NULL)
        return err_set(err, ERR_INVALID, "the token is not a signed JWT");
    if (!verified(jws, keys, algorithm, kid))
        rc = refuse_signature(keys, algorithm, kid, err);
    else if (!cjose_jws_get_plaintext(jws, &payload, &len, NULL))
        rc = err_set(err, ERR_INVALID, "the token is not a signed JWT");
    else
        rc = auth_claims_read((struct slice){(const char *)payload, len}, keys->development, urns,
                              ret, err);
    cjose_jws_release(jws);
    return rc;
}

int auth_token_read(const struct auth_keys *keys, const struct auth_urns *urns, struct slice text,
                    struct auth_token *ret, struct err *err)
{
    unsigned char bytes[AUTH_MAX_TOKEN];
    enum auth_algorithm algorithm;
    struct parts parts;
    const char *kid = NULL;
    json_t *header;
    size_t len;
    int rc;

    if (text.len == 0)
        return err_set(err, ERR_INVALID, "the token is empty");
    if (text.len > AUTH_MAX_TOKEN)
        return err_set(err, ERR_INVALID, "the token is longer than %d bytes", AUTH_MAX_TOKEN);
    if (!split(text, &parts))
        return err_set(err, ERR_INVALID, "the token must have three parts");
    if (!auth_base64url_decode(parts.payload, bytes, &len) ||
        !auth_base64url_decode(parts.header, bytes, &len))
        return err_set(err, ERR_INVALID, "the token is not base64url");
    header = json_loadb((const char *)bytes, len, JSON_REJECT_DUPLICATES, NULL);
    rc = read_header(header, &algorithm, &kid, err);
    if (rc == 0 && !auth_base64url_decode(parts.signature, bytes, &len))
        rc = err_set(err, ERR_INVALID, "the token is not base64url");
    else if (rc == 0 && (len == 0 || (algorithm == AUTH_ES256 && len != ES256_SIGNATURE)))
        rc = err_set(err, ERR_INVALID, "the token's signature is wrong");
    if (rc == 0)
        rc = verify(keys, urns, text, algorithm, kid, ret, err);
    json_decref(header);
    return rc;
}
