/*
 * The part that threads share: who may write, and which keys are in force.
 *
 * A new set of keys is swapped in under a short lock and counted. A cache compares that
 * count at every check, by one atomic load, and takes the lock only when it has changed.
 */
#include "auth/auth_apikeys_priv.h"

#include "base/clock.h"
#include "base/mem.h"

#include <openssl/rand.h>
#include <stdlib.h>

int auth_open(const char *allowed_urns, struct auth **ret, struct err *err)
{
    struct auth *auth = mem_zalloc(sizeof *auth);
    int rc;

    auth->wake = -1;
    auth->confirmed_us = INT64_MIN;
    json_object_seed(0); /* before threads: jansson would otherwise do so in any of them */
    rc = auth_urns_parse(allowed_urns, &auth->urns, err);
    if (rc != 0)
        goto free_auth;
    auth->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (auth->sha256 == NULL) {
        rc = err_set(err, ERR_UNSUPPORTED, "this OpenSSL has no SHA256");
        goto free_urns;
    }
    if (RAND_bytes(auth->hash_key, sizeof auth->hash_key) != 1) {
        rc = err_set(err, ERR_IO, "OpenSSL has no random bytes");
        goto free_sha256;
    }
    pthread_mutex_init(&auth->lock, NULL);
    *ret = auth;
    return 0;
free_sha256:
    EVP_MD_free(auth->sha256);
free_urns:
    auth_urns_free(&auth->urns);
free_auth:
    free(auth);
    return rc;
}

void auth_close(struct auth *auth)
{
    if (auth == NULL)
        return;
    rate_close(auth->urn_rates);
    rate_close(auth->key_rates);
    pthread_mutex_destroy(&auth->lock);
    auth_keys_free(auth->keys);
    auth_apikeys_free(auth->apikeys);
    EVP_MD_free(auth->sha256);
    auth_grants_free(&auth->grants);
    auth_urns_free(&auth->urns);
    free(auth);
}

void auth_use_limits(struct auth *auth, const struct rate_limits *urns,
                     const struct rate_limits *keys, size_t meters)
{
    auth->urn_rates = rate_open(urns, meters);
    auth->key_rates = rate_open(keys, meters);
}

int auth_use_products(struct auth *auth, const char *urn_products,
                      const struct txn_products *products, struct err *err)
{
    return auth_grants_parse(urn_products, products, &auth->grants, err);
}

void auth_use_keys(struct auth *auth, struct auth_keys *keys)
{
    struct auth_keys *before;

    pthread_mutex_lock(&auth->lock);
    before = auth->keys;
    auth->keys = keys;
    atomic_fetch_add_explicit(&auth->generation, 1, memory_order_release);
    pthread_mutex_unlock(&auth->lock);
    auth_keys_free(before);
}

void auth_use_apikeys(struct auth *auth, struct auth_apikeys *apikeys)
{
    struct auth_apikeys *before;

    pthread_mutex_lock(&auth->lock);
    before = auth->apikeys;
    auth->apikeys = apikeys;
    atomic_fetch_add_explicit(&auth->apikey_generation, 1, memory_order_release);
    pthread_mutex_unlock(&auth->lock);
    auth_apikeys_free(before);
}

struct auth_keys *auth_current_keys(struct auth *auth, uint64_t *ret_generation)
{
    struct auth_keys *keys;

    pthread_mutex_lock(&auth->lock);
    keys = auth_keys_retain(auth->keys);
    *ret_generation = atomic_load_explicit(&auth->generation, memory_order_relaxed);
    pthread_mutex_unlock(&auth->lock);
    return keys;
}

struct auth_apikeys *auth_current_apikeys(struct auth *auth, uint64_t *ret_generation)
{
    struct auth_apikeys *apikeys;

    pthread_mutex_lock(&auth->lock);
    apikeys = auth_apikeys_retain(auth->apikeys);
    *ret_generation = atomic_load_explicit(&auth->apikey_generation, memory_order_relaxed);
    pthread_mutex_unlock(&auth->lock);
    return apikeys;
}

void auth_status(struct auth *auth, struct auth_status *ret)
{
    pthread_mutex_lock(&auth->lock);
    *ret = auth->status;
    ret->keys = auth->keys != NULL ? auth->keys->count : 0;
    ret->age_us = auth->confirmed_us != INT64_MIN ? clock_mono_us() - auth->confirmed_us : -1;
    pthread_mutex_unlock(&auth->lock);
}
