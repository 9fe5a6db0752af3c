/*
 * Who is asking, and may they write?
 *
 * A backend sends `Authorization: Bearer <JWT>` (RFC 7519, RFC 6750) signed with RS256
 * or ES256 by a key of the issuer. A check costs tens of microseconds; backends repeat
 * one token for minutes, so each HTTP loop keeps a bounded cache of verified tokens.
 *
 * Claims that must hold: `use` is "access", `sub` is an allowed URN, `exp` lies in the
 * future, `nbf` and `iat`, where there, do not; AUTH_LEEWAY seconds are forgiven, numeric
 * dates may have fractions. The algorithm comes from the key and must be the token's;
 * `none` and HS* are never taken. A token without `kid` is tried against every key of
 * its kind; one with a `kid` only against the keys of that name. Keys inside a token
 * (jwk, jku, x5c, x5u) are never looked at, `crit` is refused (RFC 7515 section 4.1.11:
 * no extension is understood here), and so is JSON with a name given twice.
 */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "rate/rate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AUTH_LEEWAY 30       /* seconds */
#define AUTH_MAX_TOKEN 8192  /* bytes; longer ones are refused unread */
#define AUTH_MAX_SUBJECT 256 /* bytes with a NUL; printable ASCII */
#define AUTH_MAX_KEYS 32     /* in one set: a token without `kid` is tried against all */
#define AUTH_MAX_JWKS 262144 /* bytes */

/* What a caller may, as bits. */
enum auth_scope {
    AUTH_WRITE = 1, /* send transactions */
    AUTH_READ = 2,  /* the transaction log, status */
    AUTH_ADMIN = 4, /* change: retry, discard, keys, users */
};

/* Who asks, and what they may. Lists are borrowed, from the cache that answered. */
struct auth_claims {
    char subject[AUTH_MAX_SUBJECT]; /* "urn:pennlabs:clubs", of an API key "key:<id>" */
    int64_t expires_us;             /* INT64_MAX: never */
    unsigned scopes;                /* bits of enum auth_scope */
    bool development;               /* signed by the development issuer */
    const uint32_t *products;       /* that it may write; product_count 0: all */
    size_t product_count;
    const char *const *origins; /* that it may come from; origin_count 0: any, or none */
    size_t origin_count;
    struct rate_meter *meter; /* what it does a second is counted here; NULL: no limit */
};

/* May it write this product? (Its scopes are another question.) */
bool auth_may_write(const struct auth_claims *claims, uint32_t product);

/*
 * A set of keys that verifies: the interface that every source of keys fills (now the
 * development issuer, later JWKS). A set is immutable once it is in force.
 */
struct auth_keys;

/* Reads a JWK set (RFC 7517: {"keys":[...]}) of public keys. Keys that are neither RSA
 * (2048 to 8192 bits) nor EC P-256, or whose `use`, `key_ops` or `alg` rules these
 * signatures out, are skipped; ERR_INVALID if none is left, or more than AUTH_MAX_KEYS.
 * `development` marks their claims. */
MUST_CHECK int auth_keys_parse(struct slice jwks, bool development, struct auth_keys **ret,
                               struct err *err);
void auth_keys_free(struct auth_keys *keys);

struct auth;

/* `allowed_urns`: comma-separated; "*" as the last part after a colon stands for at least
 * one character: "urn:pennlabs:*". ERR_INVALID names a bad one. Closed after its caches. */
MUST_CHECK int auth_open(const char *allowed_urns, struct auth **ret, struct err *err);
void auth_close(struct auth *auth);

/* What each URN and each API key may do a second, before the first cache is opened; at most
 * `meters` of either kind are counted on their own. Without it nothing is limited. */
void auth_use_limits(struct auth *auth, const struct rate_limits *urns,
                     const struct rate_limits *keys, size_t meters);

/* Puts a set of keys in force, from any thread; takes ownership. Cached tokens of the
 * set before are no longer valid from the next check on. */
void auth_use_keys(struct auth *auth, struct auth_keys *keys);

/* One thread's cache of at most `entries` verified tokens (0: every check is a full one);
 * the least recently used goes first. */
struct auth_cache;
struct auth_cache *auth_cache_open(struct auth *auth, size_t entries);
void auth_cache_close(struct auth_cache *cache);

struct auth_stats {
    uint64_t hits, misses; /* checks that found their token in the cache, or did not */
    uint64_t refused;      /* checks that did not end in 0 */
};
struct auth_stats auth_cache_stats(const struct auth_cache *cache); /* any thread */

/*
 * Checks the value of an Authorization header (at == NULL: there was none).
 *   0            and *ret_claims (owned by the cache, until its next check)
 *   ERR_INVALID  no token, or not a good one: answer 401
 *   ERR_DENIED   a good one, whose subject may not: answer 403; *ret_claims says who
 *   ERR_UNAVAILABLE  no set of keys was ever put in force: answer 503
 * The words never repeat the token.
 */
MUST_CHECK int auth_check(struct auth_cache *cache, struct slice authorization, int64_t now_us,
                          const struct auth_claims **ret_claims, struct err *err);

/*
 * The development issuer: an RSA key of 2048 bits in <data_dir>/development-key.pem,
 * mode 0600, made on first use (atomically: two processes may race). ERR_INVALID if
 * others may read the file, or if it holds no such key; else what the system said.
 */
struct auth_issuer;
MUST_CHECK int auth_issuer_open(const char *data_dir, struct auth_issuer **ret, struct err *err);
void auth_issuer_close(struct auth_issuer *issuer);

/* The issuer's public key as a set with development = true. */
MUST_CHECK int auth_issuer_keys(struct auth_issuer *issuer, struct auth_keys **ret,
                                struct err *err);

/* Appends a compact JWT for `urn` (1 to AUTH_MAX_SUBJECT - 1 printable characters) that is
 * valid for ttl_s seconds (1 to ten years) from now_us. Any thread. */
MUST_CHECK int auth_issuer_sign(struct auth_issuer *issuer, const char *urn, int64_t now_us,
                                int64_t ttl_s, struct buf *out, struct err *err);

#endif
