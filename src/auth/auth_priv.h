/*
 * What the files of this room share: key sets, what a token says, allowed URNs.
 */
#ifndef AUTH_AUTH_PRIV_H
#define AUTH_AUTH_PRIV_H

#include "auth/auth.h"
#include "base/hash.h"

#include <cjose/cjose.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>

/* The two algorithms there are; a key has exactly one. */
enum auth_algorithm { AUTH_RS256, AUTH_ES256 };

/* False for every other name. */
bool auth_algorithm_of(const char *name, enum auth_algorithm *ret);

#define AUTH_DIGEST 32 /* bytes of a SHA-256 */

struct auth_key {
    cjose_jwk_t *jwk;
    enum auth_algorithm algorithm;
    char *kid;                         /* NULL: it has none */
    unsigned char digest[AUTH_DIGEST]; /* equal keys have equal ones, others have not */
};

/* Immutable but for the count of references, so any number of threads may verify by it. */
struct auth_keys {
    atomic_uint references;
    bool development;
    size_t count;
    struct auth_key keys[AUTH_MAX_KEYS];
};

struct auth_keys *auth_keys_retain(struct auth_keys *keys);

/* auth_keys_parse() of JSON that is read already; set == NULL: of none. */
MUST_CHECK int auth_keys_read(const json_t *set, bool development, struct auth_keys **ret,
                              struct err *err);

/* How many of `keys` are not in the other set. */
size_t auth_keys_missing(const struct auth_keys *keys, const struct auth_keys *in);

/* Patterns of URNs: literal, or a prefix where "*" stood. */
struct auth_urn {
    char *text;
    size_t len;
    bool prefix;
};
struct auth_urns {
    size_t count;
    struct auth_urn *list;
};

struct slice auth_trim(struct slice text); /* without the spaces around it */
MUST_CHECK int auth_urn_parse(struct slice text, struct auth_urn *ret, struct err *err);
bool auth_urn_covers(const struct auth_urn *pattern, const char *urn);

MUST_CHECK int auth_urns_parse(const char *text, struct auth_urns *ret, struct err *err);
void auth_urns_free(struct auth_urns *urns);
bool auth_urns_allow(const struct auth_urns *urns, const char *urn);

/* Who may write what: of the entries that cover a URN the most exact one counts. */
struct auth_grant {
    struct auth_urn urn;
    uint32_t *products;
    size_t count;
};
struct auth_grants {
    size_t count;
    struct auth_grant *list;
};

MUST_CHECK int auth_grants_parse(const char *text, const struct txn_products *products,
                                 struct auth_grants *ret, struct err *err);
void auth_grants_free(struct auth_grants *grants);
/* NULL: no entry covers it. */
const struct auth_grant *auth_grants_find(const struct auth_grants *grants, const char *urn);

/* A subject must be 1 to AUTH_MAX_SUBJECT - 1 printable ASCII characters without spaces. */
bool auth_is_subject(const char *text, size_t len);

/* What a token says, once its signature has held. It says the same for ever; whether
 * that is good enough is a question of the time, and asked at every check. */
struct auth_token {
    struct auth_claims claims;
    int64_t starts_us; /* the later of nbf and iat; INT64_MIN: neither is there */
    bool allowed;      /* the subject is an allowed URN */
};

/* Splits, decodes and verifies a compact JWS and reads its claims. ERR_INVALID; ERR_NOT_FOUND if
 * a key may have signed it that is not in the set: none has its `kid`, or it names none and no
 * key of its kind takes the signature. */
MUST_CHECK int auth_token_read(const struct auth_keys *keys, const struct auth_urns *urns,
                               struct slice text, struct auth_token *ret, struct err *err);

/* Reads the claims alone, from JSON whose signature has held. ERR_INVALID. */
MUST_CHECK int auth_claims_read(struct slice json, bool development, const struct auth_urns *urns,
                                struct auth_token *ret, struct err *err);

/* Is it good now? 0, ERR_INVALID or ERR_DENIED. */
MUST_CHECK int auth_token_judge(const struct auth_token *token, int64_t now_us, struct err *err);

/* Decodes base64url without padding (RFC 7515 section 2) to out, which has room for
 * text.len bytes. False if any character, the length or the unused last bits are not as
 * an encoder makes them. */
bool auth_base64url_decode(struct slice text, unsigned char *out, size_t *ret_len);

struct auth_apikeys;

struct auth {
    struct auth_urns urns;
    struct auth_grants grants;
    EVP_MD *sha256;
    unsigned char hash_key[HASH_KEY_SIZE]; /* of the token caches */
    struct rate_table *urn_rates;          /* NULL: no limits */
    struct rate_table *key_rates;
    pthread_mutex_t lock;        /* both sets and status; held for a few instructions */
    struct auth_keys *keys;      /* NULL: none yet */
    struct auth_status status;   /* but for `keys` and `age_us` */
    int64_t confirmed_us;        /* of clock_mono_us(); INT64_MIN: never */
    _Atomic uint64_t generation; /* counts the sets that were put in force */
    struct auth_apikeys *apikeys;
    _Atomic uint64_t apikey_generation;
    atomic_bool wanted; /* a token was signed by a key that is not in force */
    int wake;           /* an eventfd of the thread that fetches keys; -1: there is none */
};

/* Has the keys fetched soon, if somebody fetches any; never blocks. */
void auth_want_keys(struct auth *auth);

/* The set in force, retained (or NULL), and its generation. */
struct auth_keys *auth_current_keys(struct auth *auth, uint64_t *ret_generation);

#define AUTH_KID "development" /* the kid of the development issuer's key */

#endif
