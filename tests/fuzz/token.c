/*
 * Any bytes where tokens and keys come from outside. The first byte chooses the door:
 *
 *   0  an Authorization header, against a set of one RSA and one EC key
 *   1  claims whose signature has held
 *   2  a key set, counted by models/token.c
 *   3  a list of allowed URNs
 *   4  a list of who may write which products
 *
 * Nobody can forge a signature here, so door 0 must never let anybody in; behind door 1
 * only subjects below urn:pennlabs: may come out as allowed.
 */
#include "models/token.h"
#include "auth/auth_priv.h"

#include <stdlib.h>

#define NOW_US INT64_C(1790000000000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Public keys whose private parts nobody kept. */
static const char key_set[] =
    "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"6c7ViLHUavhtVTdeZ3RD-4YNyny4AQOgr5Qxn0eM-gmZRLfM"
    "ad0KhztD9p_4_NPOKhy5JKZ77f5wMZfcmlgOdUH16-tStxMoKvvjuy2quwODgJyCD0q2jiIZQZ5IVo3yaoBs"
    "Uba9E-iowTziPKhaRHFYnVSEzUU41FkvM9Q3H7-sKR4mS05G7Zskr-fEqfYgemq2F8FVG4lXTyYwwiQSRL7v"
    "2O-b2ixuABW8VhWXWJJJNID7-hNOrhjzOabLZtfZk4ybZ3GKHbTvngVJM5bv5BK5PAtXQSVnyGpn5Vp4aPxx"
    "7LWDao8BFuA6P8pMUKHvYzxHpiJRWb-DjeTzh-vsYQ\",\"e\":\"AQAB\"},{\"kty\":\"EC\",\"crv\""
    ":\"P-256\",\"x\":\"XndzONC8mtnKvps2_iqJkjI0zwxmnwCt1RzOnCHziGc\",\"y\":\"WHXwt03jC2x"
    "wefoCH3DGWctYC7uP7Kn0VNeyIYlSqf0\",\"kid\":\"e\"}]}";

static struct auth *auth;
static struct auth_cache *cache;
static struct txn_products *products;

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void open_once(void)
{
    struct auth_keys *keys;

    if (auth != NULL)
        return;
    require(auth_open("urn:pennlabs:*", &auth, NULL) == 0);
    require(txn_products_open(NULL, &products, NULL) == 0);
    require(auth_keys_parse(SLICE(key_set), false, &keys, NULL) == 0 && keys->count == 2);
    auth_use_keys(auth, keys);
    cache = auth_cache_open(auth, 2);
}

static void try_header(struct slice text)
{
    const struct auth_claims *claims = NULL;
    struct err err = {0};

    require(auth_check(cache, text, NOW_US, &claims, &err) == ERR_INVALID);
    require(claims == NULL && err.text[0] != '\0');
}

static void try_claims(struct slice text)
{
    struct auth_token token;
    int rc;

    if (auth_claims_read(text, false, &auth->urns, &token, NULL) != 0)
        return;
    require(auth_is_subject(token.claims.subject, strlen(token.claims.subject)));
    require(token.allowed == (strncmp(token.claims.subject, "urn:pennlabs:", 13) == 0 &&
                              token.claims.subject[13] != '\0'));
    rc = auth_token_judge(&token, NOW_US, NULL);
    require(rc == 0 ? token.allowed : rc == ERR_INVALID || !token.allowed);
}

/* Read again, it is the same set. */
static void check_keys(const struct auth_keys *keys, struct slice text)
{
    struct auth_keys *again;

    require(auth_keys_parse(text, false, &again, NULL) == 0);
    require(auth_keys_missing(keys, again) == 0 && auth_keys_missing(again, keys) == 0);
    auth_keys_free(again);
}

static void try_keys(struct slice text)
{
    struct auth_keys *keys;
    struct err err = {0};
    size_t count = model_keys(text);

    if (auth_keys_parse(text, false, &keys, &err) != 0) {
        require(err.code == ERR_INVALID && err.text[0] != '\0');
        require(count == 0 || count > AUTH_MAX_KEYS);
        return;
    }
    require(keys->count == count && count <= AUTH_MAX_KEYS);
    check_keys(keys, text);
    auth_keys_free(keys);
}

static void try_urns(struct slice text)
{
    char *list = strndup(text.at, text.len);
    struct auth_urns urns;

    if (auth_urns_parse(list, &urns, NULL) == 0) {
        require(urns.count > 0 && !auth_urns_allow(&urns, "jdoe"));
        auth_urns_free(&urns);
    }
    free(list);
}

static void try_grants(struct slice text)
{
    char *list = strndup(text.at, text.len);
    const struct auth_grant *grant;
    struct auth_grants grants;

    if (auth_grants_parse(list, products, &grants, NULL) == 0) {
        require((grants.count == 0) == (list[0] == '\0'));
        require(auth_grants_find(&grants, "jdoe") == NULL);
        grant = auth_grants_find(&grants, "urn:pennlabs:clubs");
        require(grant == NULL || grant->count > 0);
        auth_grants_free(&grants);
    }
    free(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text;

    open_once();
    if (size == 0)
        return 0;
    text = (struct slice){(const char *)data + 1, size - 1};
    switch (data[0] % 8) {
    case 0:
        try_header(text);
        break;
    case 1:
        try_claims(text);
        break;
    case 2:
        try_keys(text);
        break;
    case 3:
        try_urns(text);
        break;
    default:
        try_grants(text);
    }
    return 0;
}
