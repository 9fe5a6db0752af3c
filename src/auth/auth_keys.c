/*
 * A JWK set becomes keys to verify by.
 *
 * Each member of "keys" is looked at on its own; what does not fit is skipped, for an
 * identity provider may publish encryption keys or newer kinds next to ours. From a key
 * that fits only the public members are handed to cjose, which also checks that an EC
 * point lies on its curve; they are decoded here before, as cjose asserts that what it
 * decodes is base64url, and that would end the process. An RSA exponent below 3 or even is no
 * exponent: with 1 every text would be its own signature.
 */
#include "auth/auth_priv.h"

#include "base/mem.h"

#include <stdlib.h>

#define P256_BYTES 32 /* of a coordinate; never fewer (RFC 7518 section 6.2.1.2) */
#define P256_TEXT 43
#define RSA_MIN_BITS 2048
#define RSA_MAX_BITS 8192 /* a check by a larger one would hold the loop up */

bool auth_algorithm_of(const char *name, enum auth_algorithm *ret)
{
    if (strcmp(name, "RS256") == 0)
        *ret = AUTH_RS256;
    else if (strcmp(name, "ES256") == 0)
        *ret = AUTH_ES256;
    else
        return false;
    return true;
}

/* A member that is a string, as a slice; absent: at == NULL. */
static struct slice text_member(const json_t *object, const char *name)
{
    const json_t *member = json_object_get(object, name);

    if (!json_is_string(member))
        return (struct slice){0};
    return (struct slice){json_string_value(member), json_string_length(member)};
}

/* A member that restricts the key is either absent or names our purpose. */
static bool allows(const json_t *key, const char *name, const char *purpose)
{
    const json_t *member = json_object_get(key, name);
    const json_t *one;
    size_t i;

    if (member == NULL)
        return true;
    if (!json_is_array(member))
        return slice_is(text_member(key, name), purpose);
    json_array_foreach(member, i, one)
    {
        if (json_is_string(one) && strcmp(json_string_value(one), purpose) == 0)
            return true;
    }
    return false;
}

/* Significant bits of a big-endian number in base64url, and its last byte; 0: it is none. */
static size_t bits_of(struct slice text, unsigned char *ret_last)
{
    unsigned char bytes[RSA_MAX_BITS / 8 * 2];
    size_t len, first = 0;

    if (text.len == 0 || text.len > sizeof bytes || !auth_base64url_decode(text, bytes, &len))
        return 0;
    while (first < len && bytes[first] == 0)
        first++;
    if (first == len)
        return 0;
    *ret_last = bytes[len - 1];
    return (len - first) * 8 - (size_t)__builtin_clz(bytes[first]) + 24;
}

static json_t *public_rsa(const json_t *key)
{
    struct slice n = text_member(key, "n");
    struct slice e = text_member(key, "e");
    unsigned char last_of_n, last_of_e;
    size_t bits = bits_of(n, &last_of_n);
    size_t exponent_bits = bits_of(e, &last_of_e);

    if (bits < RSA_MIN_BITS || bits > RSA_MAX_BITS || exponent_bits < 2 || exponent_bits > 64 ||
        last_of_e % 2 == 0 || last_of_n % 2 == 0)
        return NULL;
    return json_pack("{s:s, s:s, s:s}", "kty", "RSA", "n", n.at, "e", e.at);
}

static bool is_coordinate(struct slice text)
{
    unsigned char bytes[P256_TEXT];
    size_t len;

    return text.len == P256_TEXT && auth_base64url_decode(text, bytes, &len) && len == P256_BYTES;
}

static json_t *public_ec(const json_t *key)
{
    struct slice x = text_member(key, "x");
    struct slice y = text_member(key, "y");

    if (!slice_is(text_member(key, "crv"), "P-256") || !is_coordinate(x) || !is_coordinate(y))
        return NULL;
    return json_pack("{s:s, s:s, s:s, s:s}", "kty", "EC", "crv", "P-256", "x", x.at, "y", y.at);
}

/* Of all that a key is to us: its public members and its kid. */
static void digest_of(const char *public_part, struct slice kid, unsigned char out[AUTH_DIGEST])
{
    struct buf text = {0};

    buf_append(&text, public_part, strlen(public_part) + 1);
    if (kid.at != NULL)
        buf_append_slice(&text, kid);
    if (EVP_Digest(text.data, text.len - (kid.at == NULL), out, NULL, EVP_sha256(), NULL) != 1)
        abort(); /* as mem_alloc(): all that can fail here is memory */
    buf_free(&text);
}

/* False if the key is not one of ours. */
static bool read_key(const json_t *key, struct auth_key *ret)
{
    struct slice kty = text_member(key, "kty");
    struct slice kid = text_member(key, "kid");
    bool is_rsa = slice_is(kty, "RSA");
    json_t *public_part;
    char *text;
    cjose_jwk_t *jwk = NULL;

    if ((!is_rsa && !slice_is(kty, "EC")) || !allows(key, "use", "sig") ||
        !allows(key, "key_ops", "verify") || !allows(key, "alg", is_rsa ? "RS256" : "ES256"))
        return false;
    public_part = is_rsa ? public_rsa(key) : public_ec(key);
    if (public_part == NULL)
        return false;
    text = json_dumps(public_part, JSON_COMPACT);
    if (text != NULL)
        jwk = cjose_jwk_import(text, strlen(text), NULL);
    json_decref(public_part);
    if (jwk == NULL) {
        free(text);
        return false;
    }
    *ret = (struct auth_key){
        .jwk = jwk,
        .algorithm = is_rsa ? AUTH_RS256 : AUTH_ES256,
        .kid = kid.at != NULL ? mem_strndup(kid.at, kid.len) : NULL,
    };
    digest_of(text, kid, ret->digest);
    free(text);
    return true;
}

int auth_keys_read(const json_t *set, bool development, struct auth_keys **ret, struct err *err)
{
    const json_t *list = json_object_get(set, "keys");
    struct auth_keys *keys;
    const json_t *key;
    size_t i;
    int rc = 0;

    if (!json_is_array(list))
        return err_set(err, ERR_INVALID, "the key set must be {\"keys\": [...]}");
    keys = mem_zalloc(sizeof *keys);
    atomic_init(&keys->references, 1);
    keys->development = development;
    json_array_foreach(list, i, key)
    {
        struct auth_key one;

        if (!read_key(key, &one))
            continue;
        if (keys->count == AUTH_MAX_KEYS) {
            cjose_jwk_release(one.jwk);
            free(one.kid);
            rc = err_set(err, ERR_INVALID, "the key set has more than %d keys", AUTH_MAX_KEYS);
            break;
        }
        keys->keys[keys->count++] = one;
    }
    if (rc == 0 && keys->count == 0)
        rc = err_set(err, ERR_INVALID,
                     "the key set has no RSA key of 2048 bits and no P-256 key "
                     "for signatures");
    if (rc == 0)
        *ret = keys;
    else
        auth_keys_free(keys);
    return rc;
}

int auth_keys_parse(struct slice jwks, bool development, struct auth_keys **ret, struct err *err)
{
    json_t *set;
    int rc;

    if (jwks.len == 0 || jwks.len > AUTH_MAX_JWKS)
        return err_set(err, ERR_INVALID, "the key set must have 1 to %d bytes", AUTH_MAX_JWKS);
    set = json_loadb(jwks.at, jwks.len, JSON_REJECT_DUPLICATES, NULL);
    rc = auth_keys_read(set, development, ret, err);
    json_decref(set);
    return rc;
}

size_t auth_keys_missing(const struct auth_keys *keys, const struct auth_keys *in)
{
    size_t missing = 0;

    for (size_t i = 0; i < keys->count; i++) {
        size_t j = 0;

        while (j < in->count && memcmp(keys->keys[i].digest, in->keys[j].digest, AUTH_DIGEST) != 0)
            j++;
        missing += j == in->count;
    }
    return missing;
}

struct auth_keys *auth_keys_retain(struct auth_keys *keys)
{
    if (keys != NULL)
        atomic_fetch_add_explicit(&keys->references, 1, memory_order_relaxed);
    return keys;
}

void auth_keys_free(struct auth_keys *keys)
{
    if (keys == NULL || atomic_fetch_sub_explicit(&keys->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < keys->count; i++) {
        cjose_jwk_release(keys->keys[i].jwk);
        free(keys->keys[i].kid);
    }
    free(keys);
}
