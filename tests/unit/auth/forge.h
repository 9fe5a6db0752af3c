/*
 * Tokens of every kind, good and forged, made with OpenSSL alone, so that what the room
 * accepts is checked against another hand than its own.
 */
#ifndef TESTS_UNIT_AUTH_FORGE_H
#define TESTS_UNIT_AUTH_FORGE_H

#include "auth/auth.h"

#include <assert.h>
#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>

#define NOW_S INT64_C(1790000000)
#define NOW_US (NOW_S * 1000000)

static inline EVP_PKEY *forge_rsa(unsigned bits)
{
    EVP_PKEY *key = EVP_RSA_gen(bits);

    assert(key != NULL);
    return key;
}

static inline EVP_PKEY *forge_ec(const char *curve)
{
    EVP_PKEY *key = EVP_EC_gen(curve);

    assert(key != NULL);
    return key;
}

static inline void forge_base64url(const void *bytes, size_t len, struct buf *out)
{
    char *start = buf_reserve(out, len / 3 * 4 + 5);
    int made = EVP_EncodeBlock((unsigned char *)start, bytes, (int)len);

    while (made > 0 && start[made - 1] == '=')
        made--;
    for (int i = 0; i < made; i++)
        start[i] = start[i] == '+' ? '-' : start[i] == '/' ? '_' : start[i];
    out->len += (size_t)made;
}

static inline void forge_number(EVP_PKEY *key, const char *name, struct buf *out)
{
    unsigned char bytes[1024];
    BIGNUM *number = NULL;

    assert(EVP_PKEY_get_bn_param(key, name, &number) == 1 &&
           BN_num_bytes(number) <= (int)sizeof bytes);
    forge_base64url(bytes, (size_t)BN_bn2bin(number, bytes), out);
    BN_free(number);
}

/* One JWK; `more` is put behind the key's own members (",\"kid\":\"a\""). */
static inline void forge_jwk(EVP_PKEY *key, const char *more, struct buf *out)
{
    unsigned char point[256];
    size_t len, half;

    if (EVP_PKEY_is_a(key, "RSA")) {
        buf_append_text(out, "{\"kty\":\"RSA\",\"n\":\"");
        forge_number(key, "n", out);
        buf_append_text(out, "\",\"e\":\"");
        forge_number(key, "e", out);
    } else {
        assert(EVP_PKEY_get_octet_string_param(key, "pub", point, sizeof point, &len) == 1);
        half = (len - 1) / 2;
        buf_printf(out, "{\"kty\":\"EC\",\"crv\":\"P-%zu\",\"x\":\"", half * 8);
        forge_base64url(point + 1, half, out);
        buf_append_text(out, "\",\"y\":\"");
        forge_base64url(point + 1 + half, half, out);
    }
    buf_printf(out, "\"%s}", more);
}

/* The DER signature of OpenSSL as the two numbers of RFC 7518 section 3.4. */
static inline size_t forge_raw_signature(unsigned char *der, size_t len, unsigned char raw[64])
{
    const unsigned char *at = der;
    ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &at, (long)len);

    assert(signature != NULL);
    BN_bn2binpad(ECDSA_SIG_get0_r(signature), raw, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(signature), raw + 32, 32);
    ECDSA_SIG_free(signature);
    return 64;
}

#define FORGE_SIGNATURE 1024

/* The signature as a JWS has it; returns its length. */
static inline size_t forge_signature(EVP_PKEY *key, struct slice text,
                                     unsigned char out[FORGE_SIGNATURE])
{
    unsigned char raw[64];
    size_t len = FORGE_SIGNATURE;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int good = EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
               EVP_DigestSign(ctx, out, &len, (const unsigned char *)text.at, text.len) == 1;

    assert(good);
    (void)good;
    EVP_MD_CTX_free(ctx);
    if (EVP_PKEY_is_a(key, "RSA"))
        return len;
    len = forge_raw_signature(out, len, raw);
    memcpy(out, raw, len);
    return len;
}

static inline void forge_sign(EVP_PKEY *key, struct slice text, struct buf *out)
{
    unsigned char signature[FORGE_SIGNATURE];
    size_t len = forge_signature(key, text, signature);

    forge_base64url(signature, len, out);
}

/* header.payload, ready to be signed. */
static inline void forge_unsigned(const char *header, const char *claims, struct buf *out)
{
    forge_base64url(header, strlen(header), out);
    buf_append_char(out, '.');
    forge_base64url(claims, strlen(claims), out);
}

/* A whole token; key == NULL: with an empty signature. */
static inline void forge_token(EVP_PKEY *key, const char *header, const char *claims,
                               struct buf *out)
{
    struct buf text = {0};

    forge_unsigned(header, claims, &text);
    buf_append_slice(out, buf_slice(&text));
    buf_append_char(out, '.');
    if (key != NULL)
        forge_sign(key, buf_slice(&text), out);
    buf_free(&text);
}

#endif
