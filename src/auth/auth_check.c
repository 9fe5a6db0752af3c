/*
 * One check: find the token in this thread's cache, or read it and keep what it says;
 * then judge that by the time.
 *
 * The cache is a hash table with chains and a list from the most to the least recently
 * used. The hash is keyed, so a token is compared with one that is kept only when the caller
 * has that one, and nobody learns from the time that a comparison takes; the whole token
 * is compared all the same. (It need be no more than that: SipHash took 0.5 us for 600 bytes,
 * XXH3 takes 0.05.) Only tokens whose signature held are kept, together with the
 * generation of the keys that said so: after a change of keys an entry counts for nothing.
 * An entry may be expired, not valid yet or not allowed: a client that goes on sending
 * such a token is refused for the price of a hit. API keys need no cache: their set is in
 * memory, and finding one in it is cheaper than the hash of a token.
 */
#include "auth/auth_apikeys_priv.h"

#include "base/hash.h"
#include "base/mem.h"

#include <stdlib.h>
#include <strings.h>

struct entry {
    struct entry *chain;
    struct entry *newer;
    struct entry *older;
    uint64_t hash;
    uint64_t generation;
    struct auth_token token;
    size_t len;
    char text[];
};

struct auth_cache {
    struct auth *auth;
    struct auth_keys *keys; /* retained; those of `generation` */
    uint64_t generation;
    struct auth_apikeys *apikeys; /* retained; those of `apikey_generation` */
    uint64_t apikey_generation;
    EVP_MD_CTX *sha256;
    struct entry **buckets;
    size_t mask;
    size_t count;
    size_t limit;
    struct entry *newest;
    struct entry *oldest;
    struct auth_token uncached; /* the last token, if limit is 0 */
    /* Written by the owner only, read by anybody. */
    _Atomic uint64_t hits, misses, refused;
};

struct auth_cache *auth_cache_open(struct auth *auth, size_t entries)
{
    struct auth_cache *cache = mem_zalloc(sizeof *cache);
    size_t buckets = 1;

    while (buckets < entries)
        buckets *= 2;
    cache->auth = auth;
    cache->limit = entries;
    cache->mask = buckets - 1;
    cache->buckets = mem_zalloc(buckets * sizeof(struct entry *));
    cache->sha256 = EVP_MD_CTX_new();
    if (cache->sha256 == NULL || EVP_DigestInit_ex2(cache->sha256, auth->sha256, NULL) != 1)
        abort(); /* as mem_alloc(): all that can fail here is memory */
    return cache;
}

static void unlink_used(struct auth_cache *cache, struct entry *entry)
{
    *(entry->newer != NULL ? &entry->newer->older : &cache->newest) = entry->older;
    *(entry->older != NULL ? &entry->older->newer : &cache->oldest) = entry->newer;
}

static void link_newest(struct auth_cache *cache, struct entry *entry)
{
    entry->newer = NULL;
    entry->older = cache->newest;
    *(cache->newest != NULL ? &cache->newest->newer : &cache->oldest) = entry;
    cache->newest = entry;
}

static void drop(struct auth_cache *cache, struct entry *entry)
{
    struct entry **at = &cache->buckets[entry->hash & cache->mask];

    while (*at != entry)
        at = &(*at)->chain;
    *at = entry->chain;
    unlink_used(cache, entry);
    cache->count--;
    free(entry);
}

void auth_cache_close(struct auth_cache *cache)
{
    if (cache == NULL)
        return;
    while (cache->newest != NULL)
        drop(cache, cache->newest);
    EVP_MD_CTX_free(cache->sha256);
    auth_keys_free(cache->keys);
    auth_apikeys_free(cache->apikeys);
    free(cache->buckets);
    free(cache);
}

static struct entry *find(const struct auth_cache *cache, uint64_t hash, struct slice text)
{
    struct entry *entry = cache->buckets[hash & cache->mask];

    while (entry != NULL && (entry->hash != hash || entry->len != text.len ||
                             memcmp(entry->text, text.at, text.len) != 0))
        entry = entry->chain;
    return entry;
}

static struct entry *add(struct auth_cache *cache, uint64_t hash, struct slice text)
{
    struct entry *entry = mem_alloc(sizeof *entry + text.len);

    if (cache->count == cache->limit)
        drop(cache, cache->oldest);
    entry->hash = hash;
    entry->len = text.len;
    memcpy(entry->text, text.at, text.len);
    entry->chain = cache->buckets[hash & cache->mask];
    cache->buckets[hash & cache->mask] = entry;
    link_newest(cache, entry);
    cache->count++;
    return entry;
}

static void count(_Atomic uint64_t *counter)
{
    uint64_t before = atomic_load_explicit(counter, memory_order_relaxed);

    atomic_store_explicit(counter, before + 1, memory_order_relaxed);
}

/* Reads what is not in the cache, and adds what the token does not say itself. */
static int read_token(struct auth_cache *cache, struct slice text, struct auth_token *ret,
                      struct err *err)
{
    const struct auth *auth = cache->auth;
    const struct auth_grant *grant;
    struct auth_token token;
    int rc = auth_token_read(cache->keys, &auth->urns, text, &token, err);

    if (rc == ERR_NOT_FOUND) {
        auth_want_keys(cache->auth);
        if (err != NULL)
            err->code = ERR_INVALID; /* the words are right as they are */
        return ERR_INVALID;
    }
    if (rc != 0)
        return rc;
    grant = auth_grants_find(&auth->grants, token.claims.subject);
    if (grant != NULL) {
        token.claims.products = grant->products;
        token.claims.product_count = grant->count;
    }
    if (token.allowed)
        token.claims.meter = rate_meter(auth->urn_rates, token.claims.subject);
    *ret = token;
    return 0;
}

/* What the token says, from the cache or by reading it. */
static int look_up(struct auth_cache *cache, struct slice text, const struct auth_token **ret,
                   struct err *err)
{
    uint64_t hash = cache->limit > 0 ? hash_keyed(cache->auth->hash_key, text) : 0;
    struct entry *entry = cache->limit > 0 ? find(cache, hash, text) : NULL;
    struct auth_token token;
    int rc;

    if (entry != NULL && entry->generation == cache->generation) {
        unlink_used(cache, entry);
        link_newest(cache, entry);
        count(&cache->hits);
        *ret = &entry->token;
        return 0;
    }
    count(&cache->misses);
    if (entry != NULL)
        drop(cache, entry);
    rc = read_token(cache, text, &token, err);
    if (rc != 0)
        return rc;
    if (cache->limit == 0) {
        cache->uncached = token;
        *ret = &cache->uncached;
        return 0;
    }
    entry = add(cache, hash, text);
    entry->generation = cache->generation;
    entry->token = token;
    *ret = &entry->token;
    return 0;
}

/* The token behind "Bearer " (RFC 6750 section 2.1; the scheme in any case). */
static int take_bearer(struct slice authorization, struct slice *ret, struct err *err)
{
    static const char scheme[] = "Bearer ";
    size_t len = sizeof scheme - 1;

    if (authorization.at == NULL)
        return err_set(err, ERR_INVALID, "Authorization is missing");
    if (authorization.len < len || strncasecmp(authorization.at, scheme, len) != 0)
        return err_set(err, ERR_INVALID, "Authorization must be Bearer and a token");
    while (len < authorization.len && authorization.at[len] == ' ')
        len++;
    *ret = (struct slice){authorization.at + len, authorization.len - len};
    return 0;
}

static int check_token(struct auth_cache *cache, struct slice text, int64_t now_us,
                       const struct auth_claims **ret_claims, struct err *err)
{
    const struct auth_token *token;
    int rc;

    if (atomic_load_explicit(&cache->auth->generation, memory_order_acquire) != cache->generation) {
        auth_keys_free(cache->keys);
        cache->keys = auth_current_keys(cache->auth, &cache->generation);
    }
    if (text.len > AUTH_MAX_TOKEN)
        return err_set(err, ERR_INVALID, "the token is longer than %d bytes", AUTH_MAX_TOKEN);
    if (cache->keys == NULL)
        return err_set(err, ERR_UNAVAILABLE, "the keys to check tokens with are not known yet");
    rc = look_up(cache, text, &token, err);
    if (rc != 0)
        return rc;
    rc = auth_token_judge(token, now_us, err);
    if (rc == 0 || rc == ERR_DENIED)
        *ret_claims = &token->claims;
    return rc;
}

static const struct auth_apikeys *current_apikeys(struct auth_cache *cache)
{
    if (atomic_load_explicit(&cache->auth->apikey_generation, memory_order_acquire) !=
        cache->apikey_generation) {
        auth_apikeys_free(cache->apikeys);
        cache->apikeys = auth_current_apikeys(cache->auth, &cache->apikey_generation);
    }
    return cache->apikeys;
}

static int check_key(struct auth_cache *cache, struct slice text, int64_t now_us,
                     const struct auth_claims **ret_claims, struct err *err)
{
    const struct auth_claims *claims =
        auth_apikeys_find(current_apikeys(cache), cache->sha256, text);

    if (claims == NULL)
        return err_set(err, ERR_INVALID, "the API key is not known here");
    if (now_us >= claims->expires_us)
        return err_set(err, ERR_INVALID, "the API key has expired");
    *ret_claims = claims;
    return 0;
}

static bool is_key(struct slice text)
{
    size_t len = sizeof APIKEY_PREFIX - 1;

    return text.len >= len && memcmp(text.at, APIKEY_PREFIX, len) == 0;
}

int auth_check(struct auth_cache *cache, struct slice authorization, int64_t now_us,
               const struct auth_claims **ret_claims, struct err *err)
{
    struct slice text;
    int rc = take_bearer(authorization, &text, err);

    if (rc == 0)
        rc = is_key(text) ? check_key(cache, text, now_us, ret_claims, err)
                          : check_token(cache, text, now_us, ret_claims, err);
    if (rc != 0)
        count(&cache->refused);
    return rc;
}

int auth_check_key(struct auth_cache *cache, struct slice key, int64_t now_us,
                   const struct auth_claims **ret_claims, struct err *err)
{
    int rc = check_key(cache, key, now_us, ret_claims, err);

    if (rc == 0 && (*ret_claims)->scopes != AUTH_WRITE)
        rc = err_set(err, ERR_DENIED, "%s may not stand in a URL", (*ret_claims)->subject);
    if (rc != 0)
        count(&cache->refused);
    return rc;
}

bool auth_knows_origin(struct auth_cache *cache, struct slice origin, int64_t now_us)
{
    return auth_apikeys_know_origin(current_apikeys(cache), origin, now_us);
}

struct auth_stats auth_cache_stats(const struct auth_cache *cache)
{
    return (struct auth_stats){
        .hits = atomic_load_explicit(&cache->hits, memory_order_relaxed),
        .misses = atomic_load_explicit(&cache->misses, memory_order_relaxed),
        .refused = atomic_load_explicit(&cache->refused, memory_order_relaxed),
    };
}
