/*
 * Signing with the development issuer's key, and its public part as a key set. The
 * tokens look like the identity provider's, but for the `kid`: use, sub, iat, nbf, exp.
 */
#include "auth/auth_issuer_priv.h"

#include "base/mem.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <stdlib.h>

#define US_PER_SECOND INT64_C(1000000)
#define LONGEST_TTL_S (INT64_C(3653) * 86400) /* ten years */

/* One number of the key as big-endian bytes; the caller frees them. */
static bool take_number(const EVP_PKEY *key, const char *name, uint8_t **ret, size_t *ret_len)
{
    BIGNUM *number = NULL;

    if (EVP_PKEY_get_bn_param(key, name, &number) != 1)
        return false;
    *ret_len = (size_t)BN_num_bytes(number);
    *ret = mem_alloc(*ret_len);
    BN_bn2bin(number, *ret);
    BN_clear_free(number);
    return true;
}

static void wipe(uint8_t *bytes, size_t len)
{
    if (bytes != NULL)
        OPENSSL_cleanse(bytes, len);
    free(bytes);
}

int auth_issuer_of_key(const EVP_PKEY *key, struct auth_issuer **ret, struct err *err)
{
    cjose_jwk_rsa_keyspec spec = {0};
    cjose_jwk_t *jwk = NULL;

    if (take_number(key, OSSL_PKEY_PARAM_RSA_N, &spec.n, &spec.nlen) &&
        take_number(key, OSSL_PKEY_PARAM_RSA_E, &spec.e, &spec.elen) &&
        take_number(key, OSSL_PKEY_PARAM_RSA_D, &spec.d, &spec.dlen) &&
        take_number(key, OSSL_PKEY_PARAM_RSA_FACTOR1, &spec.p, &spec.plen) &&
        take_number(key, OSSL_PKEY_PARAM_RSA_FACTOR2, &spec.q, &spec.qlen) &&
        take_number(key, OSSL_PKEY_PARAM_RSA_EXPONENT1, &spec.dp, &spec.dplen) &&
        take_number(key, OSSL_PKEY_PARAM_RSA_EXPONENT2, &spec.dq, &spec.dqlen) &&
        take_number(key, OSSL_PKEY_PARAM_RSA_COEFFICIENT1, &spec.qi, &spec.qilen))
        jwk = cjose_jwk_create_RSA_spec(&spec, NULL);
    wipe(spec.n, spec.nlen);
    wipe(spec.e, spec.elen);
    wipe(spec.d, spec.dlen);
    wipe(spec.p, spec.plen);
    wipe(spec.q, spec.qlen);
    wipe(spec.dp, spec.dplen);
    wipe(spec.dq, spec.dqlen);
    wipe(spec.qi, spec.qilen);
    if (jwk == NULL || !cjose_jwk_set_kid(jwk, AUTH_KID, strlen(AUTH_KID), NULL)) {
        cjose_jwk_release(jwk);
        return err_set(err, ERR_INVALID, "the development key cannot sign");
    }
    *ret = mem_zalloc(sizeof **ret);
    (*ret)->jwk = jwk;
    return 0;
}

void auth_issuer_close(struct auth_issuer *issuer)
{
    if (issuer == NULL)
        return;
    cjose_jwk_release(issuer->jwk);
    free(issuer);
}

int auth_issuer_keys(struct auth_issuer *issuer, struct auth_keys **ret, struct err *err)
{
    char *key = cjose_jwk_to_json(issuer->jwk, false, NULL);
    struct buf set = {0};
    int rc;

    if (key == NULL)
        return err_set(err, ERR_IO, "the development key has no public part");
    buf_printf(&set, "{\"keys\":[%s]}", key);
    rc = auth_keys_parse(buf_slice(&set), true, ret, err);
    buf_free(&set);
    cjose_get_dealloc()(key);
    return rc;
}

static char *claims_of(const char *urn, int64_t now_us, int64_t ttl_s)
{
    int64_t now_s = now_us / US_PER_SECOND;
    int64_t end_s = now_s + ttl_s;
    json_t *claims =
        json_pack("{s:s, s:s, s:I, s:I, s:I}", "use", "access", "sub", urn, "iat",
                  (json_int_t)now_s, "nbf", (json_int_t)now_s, "exp", (json_int_t)end_s);
    char *text = json_dumps(claims, JSON_COMPACT);

    json_decref(claims);
    return text;
}

int auth_issuer_sign(struct auth_issuer *issuer, const char *urn, int64_t now_us, int64_t ttl_s,
                     struct buf *out, struct err *err)
{
    cjose_header_t *header = NULL;
    cjose_jws_t *jws = NULL;
    const char *token;
    char *claims;
    int rc = 0;

    if (!auth_is_subject(urn, strlen(urn)))
        return err_set(err, ERR_INVALID, "the URN must be 1 to %d printable characters",
                       AUTH_MAX_SUBJECT - 1);
    if (ttl_s < 1 || ttl_s > LONGEST_TTL_S)
        return err_set(err, ERR_INVALID, "a token must be valid for 1 second to 10 years");
    claims = claims_of(urn, now_us, ttl_s);
    header = cjose_header_new(NULL);
    if (claims != NULL && header != NULL &&
        cjose_header_set(header, CJOSE_HDR_ALG, CJOSE_HDR_ALG_RS256, NULL) &&
        cjose_header_set(header, CJOSE_HDR_KID, AUTH_KID, NULL) &&
        cjose_header_set(header, "typ", "JWT", NULL))
        jws = cjose_jws_sign(issuer->jwk, header, (const uint8_t *)claims, strlen(claims), NULL);
    if (jws != NULL && cjose_jws_export(jws, &token, NULL))
        buf_append_text(out, token);
    else
        rc = err_set(err, ERR_IO, "the development key did not sign");
    cjose_jws_release(jws);
    cjose_header_release(header);
    free(claims);
    return rc;
}
