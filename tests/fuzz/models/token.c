/*
 * See token.h.
 */
#include "models/token.h"

#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>
#include <stdlib.h>

enum { MOST_TEXT = 2048 }; /* characters of a number */

/* Of base64url as an encoder makes it; -1: it is none. */
static int decode(const char *text, unsigned char *out)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t bits = 0;
    unsigned held = 0;
    int len = 0;

    for (; *text != '\0'; text++) {
        const char *letter = strchr(letters, *text);

        if (letter == NULL)
            return -1;
        held = held << 6 | (unsigned)(letter - letters);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[len++] = (unsigned char)(held >> bits);
        }
        held &= (1u << bits) - 1;
    }
    return bits >= 6 || held != 0 ? -1 : len;
}

static BIGNUM *number_in(const json_t *key, const char *name, int exactly)
{
    unsigned char bytes[MOST_TEXT];
    const char *text = json_string_value(json_object_get(key, name));
    int len = text != NULL && strlen(text) <= sizeof bytes ? decode(text, bytes) : -1;

    return len > 0 && (exactly == 0 || len == exactly) ? BN_bin2bn(bytes, len, NULL) : NULL;
}

static bool is_rsa(const json_t *key)
{
    BIGNUM *n = number_in(key, "n", 0);
    BIGNUM *e = number_in(key, "e", 0);
    bool good = n != NULL && e != NULL && BN_num_bits(n) >= 2048 && BN_num_bits(n) <= 8192 &&
                BN_is_odd(n) && BN_is_odd(e) && BN_num_bits(e) >= 2 && BN_num_bits(e) <= 64;

    BN_free(e);
    BN_free(n);
    return good;
}

static bool is_ec(const json_t *key)
{
    const char *curve = json_string_value(json_object_get(key, "crv"));
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    EC_POINT *point = EC_POINT_new(group);
    BIGNUM *x = number_in(key, "x", 32);
    BIGNUM *y = number_in(key, "y", 32);
    bool good = curve != NULL && strcmp(curve, "P-256") == 0 && x != NULL && y != NULL &&
                EC_POINT_set_affine_coordinates(group, point, x, y, NULL) == 1;

    BN_free(y);
    BN_free(x);
    EC_POINT_free(point);
    EC_GROUP_free(group);
    return good;
}

static bool permits(const json_t *key, const char *name, const char *purpose)
{
    const json_t *member = json_object_get(key, name);
    const char *text = json_string_value(member);
    bool found = member == NULL || (text != NULL && strcmp(text, purpose) == 0);

    for (size_t i = 0; i < json_array_size(member); i++) {
        text = json_string_value(json_array_get(member, i));
        found |= text != NULL && strcmp(text, purpose) == 0;
    }
    return found;
}

static bool is_ours(const json_t *key)
{
    const char *kind = json_string_value(json_object_get(key, "kty"));

    if (kind == NULL || !permits(key, "use", "sig") || !permits(key, "key_ops", "verify"))
        return false;
    return strcmp(kind, "RSA") == 0
               ? permits(key, "alg", "RS256") && is_rsa(key)
               : strcmp(kind, "EC") == 0 && permits(key, "alg", "ES256") && is_ec(key);
}

size_t model_keys(struct slice text)
{
    json_t *set = json_loadb(text.at, text.len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *list = json_object_get(set, "keys");
    size_t count = 0;

    for (size_t i = 0; i < json_array_size(list); i++)
        count += is_ours(json_array_get(list, i));
    json_decref(set);
    return count;
}
