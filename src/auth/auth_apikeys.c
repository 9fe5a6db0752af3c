/*
 * The set of API keys that is in force: found by id, decided by digest.
 *
 * The table is open-addressed and at most half full. An id is random, so its own characters
 * are its hash; who tries ids finds short runs whatever he tries, for only ids that the engine
 * made are in it. The time of a lookup tells nothing of the secret: a digest is always made
 * and always compared whole, for an unknown id with one that no text has.
 */
#include "auth/auth_apikeys_priv.h"

#include "base/mem.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <stdlib.h>

struct origin {
    const char *text;
    int64_t expires_us; /* of the key that lasts longest */
};

struct auth_apikeys {
    atomic_uint references;
    size_t count;
    struct auth_apikey **keys;
    size_t mask;
    struct auth_apikey **slots;
    size_t origin_count;
    struct origin *origins; /* sorted, each once */
};

static size_t hash_of(const char *id)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */

    for (int i = 0; i < AUTH_KEY_ID_SIZE - 1; i++)
        hash = (hash ^ (unsigned char)id[i]) * 1099511628211u;
    return (size_t)(hash ^ hash >> 32);
}

static struct auth_apikey **slot_of(const struct auth_apikeys *apikeys, const char *id)
{
    size_t at = hash_of(id) & apikeys->mask;

    while (apikeys->slots[at] != NULL &&
           memcmp(apikeys->slots[at]->id, id, AUTH_KEY_ID_SIZE - 1) != 0)
        at = (at + 1) & apikeys->mask;
    return &apikeys->slots[at];
}

static int by_text(const void *left, const void *right)
{
    const struct origin *a = left;
    const struct origin *b = right;

    return strcmp(a->text, b->text);
}

static void collect_origins(struct auth_apikeys *apikeys)
{
    size_t total = 0, kept = 0;

    for (size_t i = 0; i < apikeys->count; i++)
        total += apikeys->keys[i]->claims.origin_count;
    apikeys->origins = mem_alloc((total + 1) * sizeof *apikeys->origins);
    total = 0;
    for (size_t i = 0; i < apikeys->count; i++) {
        const struct auth_claims *claims = &apikeys->keys[i]->claims;

        for (size_t j = 0; j < claims->origin_count; j++)
            apikeys->origins[total++] = (struct origin){claims->origins[j], claims->expires_us};
    }
    qsort(apikeys->origins, total, sizeof *apikeys->origins, by_text);
    for (size_t i = 0; i < total; i++) {
        struct origin *origin = &apikeys->origins[i];

        if (kept == 0 || by_text(&apikeys->origins[kept - 1], origin) != 0)
            apikeys->origins[kept++] = *origin;
        else if (origin->expires_us > apikeys->origins[kept - 1].expires_us)
            apikeys->origins[kept - 1].expires_us = origin->expires_us;
    }
    apikeys->origin_count = kept;
}

struct auth_apikeys *auth_apikeys_new(struct auth_apikey **keys, size_t count)
{
    struct auth_apikeys *apikeys = mem_zalloc(sizeof *apikeys);
    size_t slots = 2;

    while (slots < 2 * count)
        slots *= 2;
    atomic_init(&apikeys->references, 1);
    apikeys->count = count;
    apikeys->keys = mem_alloc((count + 1) * sizeof(struct auth_apikey *));
    apikeys->mask = slots - 1;
    apikeys->slots = mem_zalloc(slots * sizeof(struct auth_apikey *));
    for (size_t i = 0; i < count; i++) {
        struct auth_apikey **slot = slot_of(apikeys, keys[i]->id);

        assert(*slot == NULL);
        *slot = apikeys->keys[i] = keys[i];
    }
    collect_origins(apikeys);
    return apikeys;
}

struct auth_apikeys *auth_apikeys_retain(struct auth_apikeys *apikeys)
{
    if (apikeys != NULL)
        atomic_fetch_add_explicit(&apikeys->references, 1, memory_order_relaxed);
    return apikeys;
}

void auth_apikeys_free(struct auth_apikeys *apikeys)
{
    if (apikeys == NULL ||
        atomic_fetch_sub_explicit(&apikeys->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < apikeys->count; i++)
        apikey_free(apikeys->keys[i]);
    free(apikeys->keys);
    free(apikeys->slots);
    free(apikeys->origins);
    free(apikeys);
}

const struct auth_claims *auth_apikeys_find(const struct auth_apikeys *apikeys, EVP_MD_CTX *sha256,
                                            struct slice text)
{
    static const unsigned char nobody[APIKEY_DIGEST];
    const struct auth_apikey *key = NULL;
    unsigned char digest[APIKEY_DIGEST];
    bool same;

    if (!apikey_has_form(text))
        return NULL;
    if (apikeys != NULL)
        key = *slot_of(apikeys, text.at + sizeof APIKEY_PREFIX - 1);
    if (EVP_DigestInit_ex2(sha256, NULL, NULL) != 1 ||
        EVP_DigestUpdate(sha256, text.at, text.len) != 1 ||
        EVP_DigestFinal_ex(sha256, digest, NULL) != 1)
        return NULL;
    same = CRYPTO_memcmp(digest, key != NULL ? key->digest : nobody, sizeof digest) == 0;
    return same && key != NULL ? &key->claims : NULL;
}

bool auth_apikeys_know_origin(const struct auth_apikeys *apikeys, struct slice origin,
                              int64_t now_us)
{
    char text[AUTH_MAX_ORIGIN];
    struct origin wanted = {text, 0};
    const struct origin *found;

    if (apikeys == NULL || apikeys->origin_count == 0 || origin.len >= sizeof text ||
        origin.at == NULL || memchr(origin.at, '\0', origin.len) != NULL)
        return false;
    memcpy(text, origin.at, origin.len);
    text[origin.len] = '\0';
    found = bsearch(&wanted, apikeys->origins, apikeys->origin_count, sizeof *apikeys->origins,
                    by_text);
    return found != NULL && now_us < found->expires_us;
}
