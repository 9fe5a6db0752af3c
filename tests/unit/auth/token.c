/*
 * Tokens, good and hostile, against a set of three keys: RSA "one", RSA "two", EC "three".
 */
#include "forge.h"

#include "auth/auth_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum signer { ONE, TWO, THREE, STRANGER, STRANGE_EC, NOBODY };

static EVP_PKEY *keys[NOBODY + 1];
static struct auth *auth;
static struct auth_cache *cache;

#define RS "{\"alg\":\"RS256\"}"
#define ES "{\"alg\":\"ES256\"}"
#define SUB "\"sub\":\"urn:pennlabs:clubs\""
#define USE "\"use\":\"access\""
#define EXP "\"exp\":1790000600"
#define GOOD "{" USE "," SUB "," EXP "}"
#define DATES(dates) "{" USE "," SUB "," dates "}"

#define LONG_50 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define LONG_251 LONG_50 LONG_50 LONG_50 LONG_50 LONG_50 "a"
#define WITH_SUB(sub) "{" USE "," EXP ",\"sub\":" sub "}"

#define UNKNOWN "token is signed by an unknown key"
#define WRONG "the token's signature is wrong"
#define EXPIRED "token has expired"
#define EARLY "token is not valid yet"
#define NO_SUBJECT "sub must be a text of 1 to 255 printable characters"
#define NO_ACCESS "use must be access"

static const struct sample {
    const char *name;
    enum signer signer;
    const char *header;
    const char *claims;
    const char *refusal; /* NULL: good */
    int code;            /* 0 with a refusal: ERR_INVALID */
} samples[] = {
    /* Good ones. */
    {"RS256 without kid", ONE, RS, GOOD, NULL, 0},
    {"RS256 without kid, second key", TWO, RS, GOOD, NULL, 0},
    {"ES256 without kid", THREE, ES, GOOD, NULL, 0},
    {"RS256 with its kid", TWO, "{\"alg\":\"RS256\",\"kid\":\"two\"}", GOOD, NULL, 0},
    {"ES256 with its kid", THREE, "{\"typ\":\"JWT\",\"alg\":\"ES256\",\"kid\":\"three\"}", GOOD,
     NULL, 0},
    {"fractional dates", ONE, RS,
     DATES("\"exp\":1790000000.5,\"iat\":1789999999.25,\"nbf\":1789999999.75"), NULL, 0},
    {"more claims than needed", ONE, RS,
     DATES(EXP ",\"aud\":[\"x\"],\"jti\":1,\"deep\":{\"a\":{}}"), NULL, 0},
    {"escapes in claims", ONE, RS,
     "{\"u\\u0073e\":\"acc\\u0065ss\",\"sub\":\"urn:pennlabs:\\u0063lubs\"," EXP "}", NULL, 0},
    {"exp in the far future", ONE, RS, DATES("\"exp\":99999999999999"), NULL, 0},
    {"exp beyond 64 bits", ONE, RS, DATES("\"exp\":99999999999999999999"), NULL, 0},
    {"nbf below 64 bits", ONE, RS, DATES(EXP ",\"nbf\":-99999999999999999999"), NULL, 0},
    {"a claim that is not looked at, beyond 64 bits", ONE, RS,
     DATES(EXP ",\"jti\":340282366920938463463374607431768211456"), NULL, 0},
    {"exp as 1e300", ONE, RS, DATES("\"exp\":1e300"), NULL, 0},
    {"iat and nbf long ago", ONE, RS, DATES(EXP ",\"iat\":0,\"nbf\":-1e300"), NULL, 0},
    {"the longest subject", ONE, RS,
     WITH_SUB("\"urn:pennlabs:" LONG_50 LONG_50 LONG_50 LONG_50
              "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""),
     NULL, 0},
    {"a key inside", ONE, "{\"alg\":\"RS256\",\"jwk\":{\"kty\":\"oct\",\"k\":\"YQ\"}}", GOOD,
     "a token that brings its own key (jwk) is not accepted", 0},
    {"the URL of a key set", ONE, "{\"alg\":\"RS256\",\"jku\":\"http://x/\"}", GOOD,
     "a token that brings its own key (jku) is not accepted", 0},
    {"certificates inside", ONE, "{\"alg\":\"RS256\",\"x5c\":[]}", GOOD,
     "a token that brings its own key (x5c) is not accepted", 0},
    {"the URL of certificates", ONE, "{\"x5u\":null,\"alg\":\"RS256\"}", GOOD,
     "a token that brings its own key (x5u) is not accepted", 0},
    {"a certificate's digest is not looked at", ONE, "{\"alg\":\"RS256\",\"x5t\":\"?\"}", GOOD,
     NULL, 0},

    /* Time, with 30 s of leeway. */
    {"expired 29 s ago", ONE, RS, DATES("\"exp\":1789999971"), NULL, 0},
    {"expired 29.999999 s ago", ONE, RS, DATES("\"exp\":1789999970.000001"), NULL, 0},
    {"expired 30 s ago", ONE, RS, DATES("\"exp\":1789999970"), EXPIRED, 0},
    {"expired long ago", ONE, RS, DATES("\"exp\":1"), EXPIRED, 0},
    {"exp below zero", ONE, RS, DATES("\"exp\":-1e300"), EXPIRED, 0},
    {"nbf in 30 s", ONE, RS, DATES(EXP ",\"nbf\":1790000030"), NULL, 0},
    {"nbf in 30.5 s", ONE, RS, DATES(EXP ",\"nbf\":1790000030.5"), EARLY, 0},
    {"nbf in 31 s", ONE, RS, DATES(EXP ",\"nbf\":1790000031"), EARLY, 0},
    {"iat in 30 s", ONE, RS, DATES(EXP ",\"iat\":1790000030"), NULL, 0},
    {"iat in 31 s", ONE, RS, DATES(EXP ",\"iat\":1790000031"), EARLY, 0},
    {"iat in the future, nbf in the past", ONE, RS, DATES(EXP ",\"iat\":1790000500,\"nbf\":1"),
     EARLY, 0},
    {"nbf in the far future", ONE, RS, DATES("\"exp\":1e300,\"nbf\":1e300"), EARLY, 0},

    /* Claims that are missing or of another kind. */
    {"no exp", ONE, RS, "{" USE "," SUB "}", "exp is missing", 0},
    {"exp as text", ONE, RS, DATES("\"exp\":\"1790000600\""), "exp must be a number", 0},
    {"exp null", ONE, RS, DATES("\"exp\":null"), "exp must be a number", 0},
    {"exp true", ONE, RS, DATES("\"exp\":true"), "exp must be a number", 0},
    {"nbf as text", ONE, RS, DATES(EXP ",\"nbf\":\"1\""), "nbf must be a number", 0},
    {"iat as array", ONE, RS, DATES(EXP ",\"iat\":[1]"), "iat must be a number", 0},
    {"exp beyond any number", ONE, RS, DATES("\"exp\":1e999"),
     "the token's claims are not a JSON object", 0},
    {"a refresh token", ONE, RS, "{\"use\":\"refresh\"," SUB "," EXP "}", NO_ACCESS, 0},
    {"no use", ONE, RS, "{" SUB "," EXP "}", NO_ACCESS, 0},
    {"use as array", ONE, RS, "{\"use\":[\"access\"]," SUB "," EXP "}", NO_ACCESS, 0},
    {"use in capitals", ONE, RS, "{\"use\":\"ACCESS\"," SUB "," EXP "}", NO_ACCESS, 0},
    {"no sub", ONE, RS, "{" USE "," EXP "}", NO_SUBJECT, 0},
    {"sub null", ONE, RS, WITH_SUB("null"), NO_SUBJECT, 0},
    {"sub empty", ONE, RS, WITH_SUB("\"\""), NO_SUBJECT, 0},
    {"sub as number", ONE, RS, WITH_SUB("7"), NO_SUBJECT, 0},
    {"sub too long", ONE, RS, WITH_SUB("\"urn:p" LONG_251 "\""), NO_SUBJECT, 0},
    {"sub with a line break", ONE, RS, WITH_SUB("\"urn:pennlabs:a\\nb\""), NO_SUBJECT, 0},
    {"sub with a NUL", ONE, RS, WITH_SUB("\"urn:pennlabs:a\\u0000b\""),
     "the token's claims are not a JSON object", 0},
    {"sub not ASCII", ONE, RS, WITH_SUB("\"urn:pennlabs:\xc3\xa9\""), NO_SUBJECT, 0},
    {"a foreign sub", ONE, RS, WITH_SUB("\"urn:other:clubs\""),
     "urn:other:clubs is not an allowed URN", ERR_DENIED},
    {"the wildcard itself stands for nothing", ONE, RS, WITH_SUB("\"urn:pennlabs:\""),
     "urn:pennlabs: is not an allowed URN", ERR_DENIED},
    {"a sub in capitals", ONE, RS, WITH_SUB("\"URN:PENNLABS:CLUBS\""),
     "URN:PENNLABS:CLUBS is not an allowed URN", ERR_DENIED},
    {"a person's sub", ONE, RS, WITH_SUB("\"jdoe\""), "jdoe is not an allowed URN", ERR_DENIED},
    {"a foreign sub that has expired", ONE, RS, "{" USE ",\"sub\":\"urn:other:a\",\"exp\":1}",
     EXPIRED, 0},
    {"sub twice", ONE, RS, "{" USE "," EXP ",\"sub\":\"urn:other:a\"," SUB "}",
     "the token's claims are not a JSON object", 0},
    {"exp twice", ONE, RS, DATES("\"exp\":1," EXP), "the token's claims are not a JSON object", 0},
    {"claims as array", ONE, RS, "[" GOOD "]", "the token's claims are not a JSON object", 0},
    {"claims empty", ONE, RS, "", "the token's claims are not a JSON object", 0},
    {"claims with a tail", ONE, RS, GOOD "x", "the token's claims are not a JSON object", 0},

    /* Headers. */
    {"alg none", NOBODY, "{\"alg\":\"none\"}", GOOD, "algorithm none is not accepted", 0},
    {"alg None, signed", ONE, "{\"alg\":\"None\"}", GOOD, "algorithm None is not accepted", 0},
    {"alg HS256", ONE, "{\"alg\":\"HS256\"}", GOOD, "algorithm HS256 is not accepted", 0},
    {"alg RS512", ONE, "{\"alg\":\"RS512\"}", GOOD, "algorithm RS512 is not accepted", 0},
    {"alg PS256", ONE, "{\"alg\":\"PS256\"}", GOOD, "algorithm PS256 is not accepted", 0},
    {"alg in small letters", ONE, "{\"alg\":\"rs256\"}", GOOD, "algorithm rs256 is not accepted",
     0},
    {"alg with odd characters", ONE, "{\"alg\":\"<b>\\n\"}", GOOD,
     "the token's algorithm is not accepted", 0},
    {"alg very long", ONE, "{\"alg\":\"" LONG_50 "\"}", GOOD,
     "the token's algorithm is not accepted", 0},
    {"no alg", ONE, "{\"typ\":\"JWT\"}", GOOD, "the token's header has no alg", 0},
    {"alg as number", ONE, "{\"alg\":256}", GOOD, "the token's header has no alg", 0},
    {"alg twice", ONE, "{\"alg\":\"none\",\"alg\":\"RS256\"}", GOOD,
     "the token's header is not a JSON object", 0},
    {"header as array", ONE, "[\"RS256\"]", GOOD, "the token's header is not a JSON object", 0},
    {"header is no JSON", ONE, "alg=RS256", GOOD, "the token's header is not a JSON object", 0},
    {"header empty", ONE, "", GOOD, "the token's header is not a JSON object", 0},
    {"crit", ONE, "{\"alg\":\"RS256\",\"crit\":[\"exp\"],\"exp\":1}", GOOD,
     "a token with a crit header is not accepted", 0},
    {"crit null", ONE, "{\"alg\":\"RS256\",\"crit\":null}", GOOD,
     "a token with a crit header is not accepted", 0},
    {"kid as number", ONE, "{\"alg\":\"RS256\",\"kid\":1}", GOOD,
     "the token's kid must be a string", 0},
    {"kid null", ONE, "{\"alg\":\"RS256\",\"kid\":null}", GOOD, "the token's kid must be a string",
     0},

    /* Keys. */
    {"a kid nobody has", ONE, "{\"alg\":\"RS256\",\"kid\":\"nine\"}", GOOD, UNKNOWN, 0},
    {"an empty kid", ONE, "{\"alg\":\"RS256\",\"kid\":\"\"}", GOOD, UNKNOWN, 0},
    {"the kid of the other RSA key", ONE, "{\"alg\":\"RS256\",\"kid\":\"two\"}", GOOD, WRONG, 0},
    {"the kid of a key of another kind", ONE, "{\"alg\":\"RS256\",\"kid\":\"three\"}", GOOD,
     "the token's algorithm is not that of its key", 0},
    {"a kid like a path", ONE, "{\"alg\":\"RS256\",\"kid\":\"../../dev/null\"}", GOOD, UNKNOWN, 0},
    {"signed by a stranger", STRANGER, RS, GOOD, WRONG, 0},
    {"signed by a stranger with our kid", STRANGER, "{\"alg\":\"RS256\",\"kid\":\"one\"}", GOOD,
     WRONG, 0},
    {"signed by a strange EC key", STRANGE_EC, ES, GOOD, WRONG, 0},
    {"RS256 signed by our EC key", THREE, RS, GOOD, WRONG, 0},
    {"ES256 signed by our RSA key", ONE, ES, GOOD, WRONG, 0},
    {"no signature", NOBODY, RS, GOOD, WRONG, 0},
    {"no ES256 signature", NOBODY, ES, GOOD, WRONG, 0},
};

static int check(struct slice token, struct err *err, const struct auth_claims **ret)
{
    struct buf header = {0};
    int rc;

    buf_append_text(&header, "Bearer ");
    buf_append_slice(&header, token);
    rc = auth_check(cache, buf_slice(&header), NOW_US, ret, err);
    buf_free(&header);
    return rc;
}

static void every_sample_is_judged_as_it_should(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        const struct sample *sample = &samples[i];
        const struct auth_claims *claims = NULL;
        struct buf token = {0};
        int code = sample->refusal == NULL ? 0 : sample->code != 0 ? sample->code : ERR_INVALID;

        forge_token(keys[sample->signer], sample->header, sample->claims, &token);
        /* The second time it may come from the cache, and must be judged the same. */
        for (int turn = 0; turn < 2; turn++) {
            struct err err = {0};
            int rc = check(buf_slice(&token), &err, &claims);

            if (rc != code || strcmp(err.text, code != 0 ? sample->refusal : "") != 0)
                fail_msg("%s, turn %d: %s (%d)", sample->name, turn, err.text, rc);
        }
        if (code == 0) {
            assert_int_equal(strncmp(claims->subject, "urn:pennlabs:", 13), 0);
            assert_true(claims->expires_us > NOW_US - 30000000);
            assert_false(claims->development);
            assert_int_equal(claims->scopes, AUTH_WRITE | AUTH_READ);
        }
        buf_free(&token);
    }
}

static void is_refused(struct slice token, const char *words)
{
    const struct auth_claims *claims = NULL;
    struct err err = {0};

    assert_int_equal(check(token, &err, &claims), ERR_INVALID);
    assert_string_equal(err.text, words);
    assert_null(claims);
}

static int read_by(const struct auth_keys *set, enum signer signer, const char *header)
{
    struct auth_token token;
    struct buf text = {0};
    int rc;

    forge_token(keys[signer], header, GOOD, &text);
    rc = auth_token_read(set, &auth->urns, buf_slice(&text), &token, NULL);
    buf_free(&text);
    return rc;
}

/* Else anybody could have the keys fetched as often as they may be. */
static void only_a_key_that_is_not_in_the_set_may_be_a_new_one(void **state)
{
    (void)state;
    assert_int_equal(read_by(auth->keys, STRANGER, RS), ERR_NOT_FOUND);
    assert_int_equal(read_by(auth->keys, ONE, "{\"alg\":\"RS256\",\"kid\":\"nine\"}"),
                     ERR_NOT_FOUND);
    assert_int_equal(read_by(auth->keys, STRANGER, "{\"alg\":\"RS256\",\"kid\":\"one\"}"),
                     ERR_INVALID);
    assert_int_equal(read_by(auth->keys, ONE, "{\"alg\":\"RS256\",\"kid\":\"three\"}"),
                     ERR_INVALID);
}

static void a_key_without_a_name_takes_no_token_that_names_one(void **state)
{
    struct auth_keys *set;
    struct buf text = {0};

    (void)state;
    buf_append_text(&text, "{\"keys\":[");
    forge_jwk(keys[ONE], "", &text);
    buf_append_text(&text, "]}");
    assert_int_equal(auth_keys_parse(buf_slice(&text), false, &set, NULL), 0);
    assert_int_equal(read_by(set, ONE, RS), 0);
    assert_int_equal(read_by(set, ONE, "{\"alg\":\"RS256\",\"kid\":\"one\"}"), ERR_NOT_FOUND);
    auth_keys_free(set);
    buf_free(&text);
}

static void a_public_key_is_no_hmac_secret(void **state)
{
    static const char *const names[] = {"HS256", "RS256", "ES256"};
    unsigned char mac[32];
    unsigned len;
    BIO *pem = BIO_new(BIO_s_mem());
    char *secret;
    long secret_len;

    (void)state;
    assert_int_equal(PEM_write_bio_PUBKEY(pem, keys[ONE]), 1);
    secret_len = BIO_get_mem_data(pem, &secret);
    for (int i = 0; i < 3; i++) {
        struct buf token = {0};
        char header[32];

        snprintf(header, sizeof header, "{\"alg\":\"%s\"}", names[i]);
        forge_unsigned(header, GOOD, &token);
        HMAC(EVP_sha256(), secret, (int)secret_len, (unsigned char *)token.data, token.len, mac,
             &len);
        buf_append_char(&token, '.');
        forge_base64url(mac, len, &token);
        is_refused(buf_slice(&token), i == 0 ? "algorithm HS256 is not accepted" : WRONG);
        buf_free(&token);
    }
    BIO_free(pem);
}

static void an_embedded_key_verifies_nothing(void **state)
{
    struct buf header = {0}, token = {0};

    (void)state;
    buf_append_text(&header, "{\"alg\":\"RS256\",\"jwk\":");
    forge_jwk(keys[STRANGER], "", &header);
    buf_append(&header, "}", 2);
    forge_token(keys[STRANGER], header.data, GOOD, &token);
    is_refused(buf_slice(&token), "a token that brings its own key (jwk) is not accepted");
    buf_free(&header);
    buf_free(&token);
}

static void every_flipped_character_is_noticed(void **state)
{
    struct buf token = {0};
    const struct auth_claims *claims;

    (void)state;
    forge_token(keys[ONE], RS, GOOD, &token);
    for (size_t i = 0; i < token.len; i++) {
        char was = token.data[i];

        token.data[i] = was == 'A' ? 'B' : 'A';
        if (check(buf_slice(&token), NULL, &claims) != ERR_INVALID)
            fail_msg("character %zu", i);
        token.data[i] = was;
    }
    assert_int_equal(check(buf_slice(&token), NULL, &claims), 0);
    buf_free(&token);
}

static void a_token_cut_anywhere_is_refused(void **state)
{
    struct buf token = {0};
    const struct auth_claims *claims;

    (void)state;
    forge_token(keys[THREE], ES, GOOD, &token);
    for (size_t len = 0; len < token.len; len++)
        assert_int_equal(check((struct slice){token.data, len}, NULL, &claims), ERR_INVALID);
    buf_free(&token);
}

static void what_is_no_token_is_refused(void **state)
{
    static const char *const no_parts[] = {"a", "a.b", "a.b.c.d", "....", ". ", "a b"};
    static const char *const no_base64[] = {"..", "a.b.c", "e30.e30=.", "e30.e3/.", "e30.e31."};
    struct buf token = {0};

    (void)state;
    is_refused(SLICE(""), "the token is empty");
    is_refused(SLICE("   "), "the token is empty");
    for (size_t i = 0; i < sizeof no_parts / sizeof *no_parts; i++)
        is_refused(slice_of(no_parts[i]), "the token must have three parts");
    for (size_t i = 1; i < sizeof no_base64 / sizeof *no_base64; i++)
        is_refused(slice_of(no_base64[i]), "the token is not base64url");
    is_refused(slice_of(no_base64[0]), "the token's header is not a JSON object");
    forge_token(keys[ONE], RS, GOOD, &token);
    buf_append_char(&token, '=');
    is_refused(buf_slice(&token), "the token is not base64url");
    token.data[token.len - 1] = '\n';
    is_refused(buf_slice(&token), "the token is not base64url");
    token.data[token.len - 1] = '\0';
    is_refused(buf_slice(&token), "the token is not base64url");
    token.data[token.len - 1] = '.';
    is_refused(buf_slice(&token), "the token must have three parts");
    buf_free(&token);
}

static void a_token_over_8_kib_is_refused_unread(void **state)
{
    struct buf claims = {0}, token = {0};
    const struct auth_claims *got;
    struct auth_stats before;

    (void)state;
    buf_append_text(&claims, "{\"pad\":\"");
    while (claims.len < 5600)
        buf_append_char(&claims, 'x');
    buf_append_text(&claims, "\"," USE "," SUB "," EXP "}");
    buf_append_char(&claims, '\0');
    forge_token(keys[ONE], RS, claims.data, &token);
    assert_true(token.len < AUTH_MAX_TOKEN);
    assert_int_equal(check(buf_slice(&token), NULL, &got), 0);
    while (token.len <= AUTH_MAX_TOKEN)
        buf_append_char(&token, 'A');
    before = auth_cache_stats(cache);
    is_refused(buf_slice(&token), "the token is longer than 8192 bytes");
    assert_int_equal(auth_cache_stats(cache).misses, before.misses);
    buf_free(&claims);
    buf_free(&token);
}

static void json_as_deep_as_fits_is_survived(void **state)
{
    struct buf claims = {0}, token = {0};

    (void)state;
    while (claims.len < 5000)
        buf_append_char(&claims, '[');
    buf_append_char(&claims, '\0');
    forge_token(keys[ONE], RS, claims.data, &token);
    is_refused(buf_slice(&token), "the token's claims are not a JSON object");
    buf_free(&token);
    forge_token(keys[ONE], claims.data, GOOD, &token);
    is_refused(buf_slice(&token), "the token's header is not a JSON object");
    buf_free(&token);
    buf_free(&claims);
}

static void is_judged_with_signature(struct slice text, const unsigned char *bytes, size_t len,
                                     int code)
{
    struct buf token = {0};
    const struct auth_claims *claims;

    buf_append_slice(&token, text);
    buf_append_char(&token, '.');
    forge_base64url(bytes, len, &token);
    assert_int_equal(check(buf_slice(&token), NULL, &claims), code);
    buf_free(&token);
}

static void an_es256_signature_has_64_bytes(void **state)
{
    static const unsigned char zeros[64];
    unsigned char signature[FORGE_SIGNATURE], padded[66] = {0};
    struct buf text = {0};

    (void)state;
    forge_unsigned(ES, GOOD, &text);
    assert_int_equal(forge_signature(keys[THREE], buf_slice(&text), signature), 64);
    is_judged_with_signature(buf_slice(&text), signature, 64, 0);
    /* The same two numbers in 33 bytes each are not another good signature. */
    memcpy(padded + 1, signature, 32);
    memcpy(padded + 34, signature + 32, 32);
    is_judged_with_signature(buf_slice(&text), padded, 66, ERR_INVALID);
    is_judged_with_signature(buf_slice(&text), zeros, 64, ERR_INVALID);
    buf_free(&text);
}

static void the_scheme_is_bearer_in_any_case(void **state)
{
    static const char *const bad[] = {"Basic ", "Bearer", "Bearer\t", "", "Bear ", " Bearer "};
    static const char *const good[] = {"Bearer ", "bearer ", "BEARER   "};
    const struct auth_claims *claims;
    struct err err;

    (void)state;
    for (size_t i = 0; i < 6 + 3; i++) {
        struct buf value = {0};
        const char *scheme = i < 6 ? bad[i] : good[i - 6];

        buf_append_text(&value, scheme);
        forge_token(keys[ONE], RS, GOOD, &value);
        assert_int_equal(auth_check(cache, buf_slice(&value), NOW_US, &claims, &err),
                         i < 6 ? ERR_INVALID : 0);
        if (i < 6)
            assert_string_equal(err.text, "Authorization must be Bearer and a token");
        buf_free(&value);
    }
    assert_int_equal(auth_check(cache, (struct slice){0}, NOW_US, &claims, &err), ERR_INVALID);
    assert_string_equal(err.text, "Authorization is missing");
}

static int set_up(void **state)
{
    struct buf set = {0};
    struct auth_keys *parsed;

    (void)state;
    keys[ONE] = forge_rsa(2048);
    keys[TWO] = forge_rsa(2048);
    keys[THREE] = forge_ec("P-256");
    keys[STRANGER] = forge_rsa(2048);
    keys[STRANGE_EC] = forge_ec("P-256");
    buf_append_text(&set, "{\"keys\":[");
    forge_jwk(keys[ONE], ",\"kid\":\"one\",\"use\":\"sig\",\"alg\":\"RS256\"", &set);
    buf_append_char(&set, ',');
    forge_jwk(keys[TWO], ",\"kid\":\"two\"", &set);
    buf_append_char(&set, ',');
    forge_jwk(keys[THREE], ",\"kid\":\"three\"", &set);
    buf_append_text(&set, "]}");
    if (auth_keys_parse(buf_slice(&set), false, &parsed, NULL) != 0 ||
        auth_open("urn:pennlabs:*", &auth, NULL) != 0)
        return -1;
    buf_free(&set);
    auth_use_keys(auth, parsed);
    cache = auth_cache_open(auth, 1000);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    auth_cache_close(cache);
    auth_close(auth);
    for (int i = 0; i < NOBODY; i++)
        EVP_PKEY_free(keys[i]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sample_is_judged_as_it_should),
        cmocka_unit_test(only_a_key_that_is_not_in_the_set_may_be_a_new_one),
        cmocka_unit_test(a_key_without_a_name_takes_no_token_that_names_one),
        cmocka_unit_test(a_public_key_is_no_hmac_secret),
        cmocka_unit_test(an_embedded_key_verifies_nothing),
        cmocka_unit_test(every_flipped_character_is_noticed),
        cmocka_unit_test(a_token_cut_anywhere_is_refused),
        cmocka_unit_test(what_is_no_token_is_refused),
        cmocka_unit_test(a_token_over_8_kib_is_refused_unread),
        cmocka_unit_test(json_as_deep_as_fits_is_survived),
        cmocka_unit_test(an_es256_signature_has_64_bytes),
        cmocka_unit_test(the_scheme_is_bearer_in_any_case),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
