/*
 * Who is asking, and what may they?
 *
 * A backend sends `Authorization: Bearer <JWT>` (RFC 7519, RFC 6750) signed with RS256
 * or ES256 by a key of the issuer. A check costs tens of microseconds; backends repeat
 * one token for minutes, so each HTTP loop keeps a bounded cache of verified tokens.
 *
 * Claims that must hold: `use` is "access", `sub` is an allowed URN, `exp` lies in the
 * future, `nbf` and `iat`, where there, do not; AUTH_LEEWAY seconds are forgiven, numeric
 * dates may have fractions. The algorithm comes from the key and must be the token's;
 * `none` and HS* are never taken. A token without `kid` is tried against every key of
 * its kind; one with a `kid` only against the keys of that name. A token that brings a key of
 * its own (jwk, jku, x5c, x5u) is refused and that key never looked at; so is `crit` (RFC 7515
 * section 4.1.11: no extension is understood here), and JSON with a name given twice.
 *
 * Browsers, apps, readers and administrators send an API key instead, `la_...`: see the
 * keyring below.
 */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include "base/buf.h"
#include "base/disk.h"
#include "base/err.h"
#include "base/slice.h"
#include "rate/rate.h"
#include "txn/txn.h"

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
 * A set of keys that verifies: what both sources of keys make, the development issuer and an
 * identity provider. A set is immutable once it is in force.
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

/* Which products a URN may write, before the first cache is opened:
 * "urn:pennlabs:clubs=CLUBS,urn:pennlabs:courses=PCA+PCP", with "*" as in allowed_urns. Of the
 * entries for a URN the most exact one counts; a URN without any, and "" as a whole, may write
 * all. ERR_INVALID names a bad entry. */
MUST_CHECK int auth_use_products(struct auth *auth, const char *urn_products,
                                 const struct txn_products *products, struct err *err);

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
 * Checks the value of an Authorization header (at == NULL: there was none), whose token is a
 * JWT or an API key.
 *   0            and *ret_claims (owned by the cache, until its next check)
 *   ERR_INVALID  no token, or not a good one: answer 401
 *   ERR_DENIED   a good one, whose subject may not: answer 403; *ret_claims says who
 *   ERR_UNAVAILABLE  no set of keys was ever put in force: answer 503
 * The words never repeat the token.
 */
MUST_CHECK int auth_check(struct auth_cache *cache, struct slice authorization, int64_t now_us,
                          const struct auth_claims **ret_claims, struct err *err);

/* Checks an API key alone, as a URL may carry one that does nothing but write; the same codes,
 * ERR_DENIED for one that may more. */
MUST_CHECK int auth_check_key(struct auth_cache *cache, struct slice key, int64_t now_us,
                              const struct auth_claims **ret_claims, struct err *err);

/*
 * Origins (RFC 6454): scheme://host[:port], as browsers write them, in lower case and without
 * the port that http and https have anyway. "null" is never one.
 */
#define AUTH_MAX_ORIGIN 256 /* bytes with a NUL */

/* A list of them, "https://a.example,https://b.example", or "*" for all; "": none.
 * ERR_INVALID names a bad one. Any thread may ask. */
struct auth_origins;
MUST_CHECK int auth_origins_parse(const char *text, struct auth_origins **ret, struct err *err);
void auth_origins_free(struct auth_origins *origins);
bool auth_origins_any(const struct auth_origins *origins); /* it is "*" */
bool auth_origins_allow(const struct auth_origins *origins, struct slice origin);

/* Is it among the claims' origins, or have they none? at == NULL is no origin. */
bool auth_may_come_from(const struct auth_claims *claims, struct slice origin);

/* Is it an origin of any API key that has not expired? */
bool auth_knows_origin(struct auth_cache *cache, struct slice origin, int64_t now_us);

/*
 * The keyring: all API keys, in <data_dir>/keys.json (docs/disk-format.md), mode 0600.
 *
 * A key is "la_", an id of 10 characters that may be shown, and a secret of 160 random bits,
 * both in Crockford's base 32 in lower case. Only the SHA-256 of the whole is kept; with so
 * many random bits it needs no salt and no slow hash. A change is on disk, and in force
 * for every cache's next check, when the call returns; it waits for the disk.
 */
#define AUTH_KEY_ID_SIZE 11 /* with a NUL */
#define AUTH_KEY_SIZE 46    /* with a NUL */

struct auth_keyring;

struct auth_keyring_options {
    const char *data_dir;
    const struct txn_products *products; /* borrowed */
    size_t most;                         /* keys; one more is ERR_CONFLICT */
    struct auth *auth;                   /* where keys are put in force; NULL: nowhere */
    struct disk *disk;                   /* for writing; NULL: the real one */
};

/* ERR_INVALID if others may use the file, or it holds too many keys; ERR_CORRUPT if it is
 * damaged. No file: no keys. Closed before `auth`. */
MUST_CHECK int auth_keyring_open(const struct auth_keyring_options *options,
                                 struct auth_keyring **ret, struct err *err);
void auth_keyring_close(struct auth_keyring *ring);

/*
 * Makes a key as `request` says, a JSON object, and appends its description to `out`, with
 * the key itself as "key": it is not to be had again.
 *   scope     "write", "read" or "admin"
 *   products  of a write key at least one, names or numbers; of others none
 *   origins   that it may come from, or absent
 *   name      a text for people, or absent
 *   expires   an RFC 3339 date-time, or null, or absent
 * ERR_INVALID says which member is wrong. Any thread.
 */
MUST_CHECK int auth_keyring_create(struct auth_keyring *ring, struct slice request, int64_t now_us,
                                   char ret_id[AUTH_KEY_ID_SIZE], struct buf *out, struct err *err);

/* The same judgement of a request, and nothing else. */
MUST_CHECK int auth_keyring_check(struct slice request, const struct txn_products *products,
                                  int64_t now_us, struct err *err);

/* ERR_NOT_FOUND if there is no key of that id. Any thread. */
MUST_CHECK int auth_keyring_revoke(struct auth_keyring *ring, struct slice id, struct err *err);

/* Appends {"keys":[...]}, each without its secret and its hash, in the order they were made. */
void auth_keyring_list(struct auth_keyring *ring, struct buf *out);

/*
 * The operator key: what the commands on this machine ask a running engine with. Made anew at
 * each start, in <data_dir>/operator.key, mode 0600; its claims say "operator". Once for a ring,
 * whose end removes it.
 */
MUST_CHECK int auth_keyring_admit_operator(struct auth_keyring *ring, struct err *err);
/* Reads the file. `ret` holds a NUL-terminated text. */
MUST_CHECK int auth_operator_key(const char *data_dir, char ret[AUTH_KEY_SIZE], struct err *err);

/*
 * The key set of an identity provider, fetched from a URL by a thread of its own: at once, again
 * by age, and soon (but not more often than every min_interval_ms) when a token came that a newer
 * key may have signed. A fetch that fails (also: no answer in time, another status than 200, more
 * than AUTH_MAX_JWKS bytes, no key of use) is tried again after a pause that doubles from 1 s to
 * 60 s, and changes nothing: the last good set stays in force. It is kept in
 * <data_dir>/jwks.json, with the URL that it came from, and is in force from the start on. A set
 * of the same keys leaves the caches as they are.
 */
struct auth_jwks;

struct auth_jwks_options {
    const char *url; /* one that fetch_check_url() lets pass */
    const char *data_dir;
    const char *ca_file; /* as in struct fetch_request */
    int64_t refresh_ms;
    int64_t min_interval_ms;
    int64_t timeout_ms; /* of one fetch */
};

/* Reads the set that was kept, and starts the thread. */
MUST_CHECK int auth_jwks_start(struct auth *auth, const struct auth_jwks_options *options,
                               struct auth_jwks **ret, struct err *err);
/* After the last check, before auth_close(). Takes about a second at most. */
void auth_jwks_stop(struct auth_jwks *jwks);

/* Where the keys come from, and how that goes. */
struct auth_status {
    bool fetched;     /* from an identity provider */
    size_t keys;      /* in force; 0: no set ever was */
    int64_t age_us;   /* since the provider last gave the set; -1: it never did */
    uint64_t fetches; /* since the start, those that failed too */
    uint64_t failures;
    char last_error[512]; /* why the last fetch failed; "": it did not */
};
void auth_status(struct auth *auth, struct auth_status *ret); /* any thread */

/* Has the set fetched at once. Any thread; never blocks. */
void auth_jwks_refresh(struct auth_jwks *jwks);

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
