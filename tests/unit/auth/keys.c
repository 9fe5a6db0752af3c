/*
 * auth_keys_parse(): which keys of a set are taken, seen by which tokens pass.
 */
#include "forge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define CLAIMS "{\"use\":\"access\",\"sub\":\"urn:pennlabs:a\",\"exp\":1790000600}"
#define NO_KEY "the key set has no RSA key of 2048 bits and no P-256 key for signatures"

static EVP_PKEY *rsa, *ec;

static int parse(const struct buf *set, struct auth_keys **ret, struct err *err)
{
    return auth_keys_parse(buf_slice(set), false, ret, err);
}

static void wrap(const struct buf *keys, struct buf *set)
{
    buf_append_text(set, "{\"keys\":[");
    buf_append_slice(set, buf_slice(keys));
    buf_append_text(set, "]}");
}

/* A set of this one key is refused, because nothing is left of it. */
static void is_skipped(EVP_PKEY *key, const char *more)
{
    struct buf keys = {0}, set = {0};
    struct auth_keys *parsed;
    struct err err = {0};

    forge_jwk(key, more, &keys);
    wrap(&keys, &set);
    assert_int_equal(parse(&set, &parsed, &err), ERR_INVALID);
    assert_string_equal(err.text, NO_KEY);
    buf_free(&keys);
    buf_free(&set);
}

/* By a set of this one key its own token passes. */
static void is_taken(EVP_PKEY *key, const char *more)
{
    struct buf keys = {0}, set = {0}, value = {0};
    struct auth_keys *parsed;
    struct auth *auth;
    struct auth_cache *cache;
    const struct auth_claims *claims;
    struct err err = {0};

    forge_jwk(key, more, &keys);
    wrap(&keys, &set);
    if (parse(&set, &parsed, &err) != 0)
        fail_msg("%s: %s", more, err.text);
    assert_int_equal(auth_open("urn:pennlabs:a", &auth, NULL), 0);
    auth_use_keys(auth, parsed);
    cache = auth_cache_open(auth, 1);
    buf_append_text(&value, "Bearer ");
    forge_token(key, EVP_PKEY_is_a(key, "RSA") ? "{\"alg\":\"RS256\"}" : "{\"alg\":\"ES256\"}",
                CLAIMS, &value);
    assert_int_equal(auth_check(cache, buf_slice(&value), NOW_US, &claims, NULL), 0);
    auth_cache_close(cache);
    auth_close(auth);
    buf_free(&keys);
    buf_free(&set);
    buf_free(&value);
}

static void keys_for_signatures_are_taken(void **state)
{
    (void)state;
    is_taken(rsa, "");
    is_taken(ec, "");
    is_taken(rsa, ",\"use\":\"sig\",\"alg\":\"RS256\",\"kid\":\"k\",\"x5c\":[\"?\"]");
    is_taken(ec, ",\"use\":\"sig\",\"alg\":\"ES256\",\"key_ops\":[\"sign\",\"verify\"]");
    is_taken(rsa, ",\"kid\":7");
}

static void keys_for_other_purposes_are_skipped(void **state)
{
    (void)state;
    is_skipped(rsa, ",\"use\":\"enc\"");
    is_skipped(rsa, ",\"use\":null");
    is_skipped(rsa, ",\"alg\":\"RS512\"");
    is_skipped(rsa, ",\"alg\":\"ES256\"");
    is_skipped(rsa, ",\"alg\":\"HS256\"");
    is_skipped(ec, ",\"alg\":\"RS256\"");
    is_skipped(ec, ",\"key_ops\":[\"sign\"]");
    is_skipped(ec, ",\"key_ops\":[]");
}

static void keys_of_other_kinds_and_sizes_are_skipped(void **state)
{
    EVP_PKEY *small = forge_rsa(1024);
    EVP_PKEY *curve = forge_ec("P-384");

    (void)state;
    is_skipped(small, "");
    is_skipped(curve, "");
    EVP_PKEY_free(small);
    EVP_PKEY_free(curve);
}

static void is_refused(const char *set, const char *words)
{
    struct auth_keys *parsed;
    struct err err = {0};

    assert_int_equal(auth_keys_parse(slice_of(set), false, &parsed, &err), ERR_INVALID);
    assert_string_equal(err.text, words);
}

static void broken_keys_are_skipped(void **state)
{
    static const char *const broken[] = {
        "7",
        "null",
        "{}",
        "{\"kty\":\"oct\",\"k\":\"AAAA\"}",
        "{\"kty\":\"RSA\"}",
        "{\"kty\":\"RSA\",\"n\":7,\"e\":\"AQAB\"}",
        "{\"kty\":\"RSA\",\"n\":\"\",\"e\":\"\"}",
        "{\"kty\":\"RSA\",\"n\":\"AAAA\",\"e\":\"AQAB\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQ\",\"y\":\"Ag\"}", /* not on the curve */
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"\",\"y\":\"\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\","
        "\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
        "\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
        /* cjose's own decoder asserts on these */
        "{\"kty\":\"EC\",\"crv\":\"P-256\","
        "\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\","
        "\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=0\"}",
        "{\"kty\":\"RSA\",\"n\":\"A="
        "0AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        "AAAAAAAAAAA=0\",\"e\":\"AQAB\"}",
        "{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"AQ\",\"y\":\"Ag\"}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct buf set = {0};

        buf_printf(&set, "{\"keys\":[%s]}", broken[i]);
        buf_append_char(&set, '\0');
        is_refused(set.data, NO_KEY);
        buf_free(&set);
    }
}

/* A set of one key with the modulus of `rsa`, and a NUL behind it. */
static void set_with_exponent(const char *exponent, struct buf *set)
{
    buf_append_text(set, "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"");
    forge_number(rsa, "n", set);
    buf_printf(set, "\",\"e\":\"%s\"}]}", exponent);
    buf_append_char(set, '\0');
}

static void an_rsa_exponent_is_odd_and_above_one(void **state)
{
    static const char *const exponents[] = {"Aw", "AQAB", "AAA_", "gAAAAAAAAAE"};
    struct auth_keys *parsed;

    (void)state;
    for (size_t i = 0; i < sizeof exponents / sizeof *exponents; i++) {
        struct buf set = {0};

        set_with_exponent(exponents[i], &set);
        assert_int_equal(auth_keys_parse(slice_of(set.data), false, &parsed, NULL), 0);
        auth_keys_free(parsed);
        buf_free(&set);
    }
}

static void another_rsa_exponent_is_no_key(void **state)
{
    static const char *const exponents[] = {"AQ",  "Ag",   "AA",           "A=0=", "AQAA",
                                            "AAE", "AAA-", "AQABAQABAQAB", "="};

    (void)state;
    for (size_t i = 0; i < sizeof exponents / sizeof *exponents; i++) {
        struct buf set = {0};

        set_with_exponent(exponents[i], &set);
        is_refused(set.data, NO_KEY);
        buf_free(&set);
    }
}

static int parse_modulus(unsigned bits, struct auth_keys **ret)
{
    BIGNUM *number = BN_new();
    unsigned char bytes[4096];
    struct buf set = {0};
    int code;

    assert_int_equal(BN_set_bit(number, (int)bits - 1) & BN_set_bit(number, 0), 1);
    buf_append_text(&set, "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"");
    forge_base64url(bytes, (size_t)BN_bn2bin(number, bytes), &set);
    buf_append_text(&set, "\",\"e\":\"AQAB\"}]}");
    code = parse(&set, ret, NULL);
    buf_free(&set);
    BN_free(number);
    return code;
}

static void an_rsa_key_has_2048_to_8192_bits(void **state)
{
    static const unsigned taken[] = {2048, 2049, 8192};
    static const unsigned skipped[] = {2040, 2047, 8193, 8200, 32768};
    struct auth_keys *parsed;

    (void)state;
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        assert_int_equal(parse_modulus(taken[i], &parsed), 0);
        auth_keys_free(parsed);
    }
    for (size_t i = 0; i < sizeof skipped / sizeof *skipped; i++)
        assert_int_equal(parse_modulus(skipped[i], &parsed), ERR_INVALID);
}

static void what_is_no_set_is_refused(void **state)
{
    static const char shape[] = "the key set must be {\"keys\": [...]}";

    (void)state;
    is_refused("", "the key set must have 1 to 262144 bytes");
    is_refused("[]", shape);
    is_refused("{}", shape);
    is_refused("{\"keys\":{}}", shape);
    is_refused("{\"keys\":[]", shape);
    is_refused("<html>", shape);
    is_refused("{\"keys\":[],\"keys\":[]}", shape);
    is_refused("{\"keys\":[]}", NO_KEY);
}

static void a_good_key_beside_broken_ones_is_taken(void **state)
{
    struct buf keys = {0}, set = {0};
    struct auth_keys *parsed;

    (void)state;
    buf_append_text(&keys, "{\"kty\":\"OKP\"},7,");
    forge_jwk(ec, "", &keys);
    wrap(&keys, &set);
    assert_int_equal(parse(&set, &parsed, NULL), 0);
    auth_keys_free(parsed);
    buf_free(&keys);
    buf_free(&set);
}

static void a_set_of_more_than_32_keys_is_refused(void **state)
{
    struct buf keys = {0}, set = {0};
    struct auth_keys *parsed;
    struct err err = {0};

    (void)state;
    for (int i = 0; i < AUTH_MAX_KEYS; i++) {
        if (i > 0)
            buf_append_char(&keys, ',');
        forge_jwk(ec, "", &keys);
    }
    wrap(&keys, &set);
    assert_int_equal(parse(&set, &parsed, NULL), 0);
    auth_keys_free(parsed);
    buf_append_char(&keys, ',');
    forge_jwk(ec, "", &keys);
    buf_reset(&set, SIZE_MAX);
    wrap(&keys, &set);
    assert_int_equal(parse(&set, &parsed, &err), ERR_INVALID);
    assert_string_equal(err.text, "the key set has more than 32 keys");
    buf_free(&keys);
    buf_free(&set);
}

static int make_keys(void **state)
{
    (void)state;
    rsa = forge_rsa(2048);
    ec = forge_ec("P-256");
    return 0;
}

static int free_keys(void **state)
{
    (void)state;
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ec);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_for_signatures_are_taken),
        cmocka_unit_test(keys_for_other_purposes_are_skipped),
        cmocka_unit_test(keys_of_other_kinds_and_sizes_are_skipped),
        cmocka_unit_test(broken_keys_are_skipped),
        cmocka_unit_test(an_rsa_exponent_is_odd_and_above_one),
        cmocka_unit_test(another_rsa_exponent_is_no_key),
        cmocka_unit_test(an_rsa_key_has_2048_to_8192_bits),
        cmocka_unit_test(what_is_no_set_is_refused),
        cmocka_unit_test(a_good_key_beside_broken_ones_is_taken),
        cmocka_unit_test(a_set_of_more_than_32_keys_is_refused),
    };

    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
