/*
 * A keyring in a folder of its own, with an auth and one cache, and what tests ask of them.
 */
#ifndef TESTS_UNIT_AUTH_RING_H
#define TESTS_UNIT_AUTH_RING_H

#include "auth/auth_apikeys_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW INT64_C(1790000000000000) /* 2026-09-21T14:13:20Z */
#define SECOND INT64_C(1000000)
#define WRITER "{\"scope\":\"write\",\"products\":[\"CLUBS\"]}"

struct bench {
    char folder[32];
    struct txn_products *products;
    struct auth *auth;
    struct auth_cache *cache;
    struct auth_keyring_options options;
    struct auth_keyring *ring;
};

static inline void open_ring(struct bench *bench)
{
    struct err err = {0};

    if (auth_keyring_open(&bench->options, &bench->ring, &err) != 0)
        fail_msg("%s", err.text);
}

static inline void path_of(const struct bench *bench, const char *name, char out[64])
{
    snprintf(out, 64, "%s/%s", bench->folder, name);
}

static inline struct bench open_bench(size_t most)
{
    struct bench bench = {.folder = "/tmp/auth-ring-XXXXXX"};

    assert_non_null(mkdtemp(bench.folder));
    assert_int_equal(txn_products_open(NULL, &bench.products, NULL), 0);
    assert_int_equal(auth_open("urn:pennlabs:*", &bench.auth, NULL), 0);
    bench.cache = auth_cache_open(bench.auth, 10);
    bench.options =
        (struct auth_keyring_options){.products = bench.products, .most = most, .auth = bench.auth};
    return bench;
}

/* open_bench() and its ring; the folder's name must not move. */
static inline void start_bench(struct bench *bench, size_t most)
{
    *bench = open_bench(most);
    bench->options.data_dir = bench->folder;
    open_ring(bench);
}

/* Fails if anything but keys.json is left behind. */
static inline void close_bench(struct bench *bench)
{
    char path[64];

    auth_keyring_close(bench->ring);
    auth_cache_close(bench->cache);
    auth_close(bench->auth);
    txn_products_close(bench->products);
    path_of(bench, "keys.json", path);
    unlink(path);
    assert_int_equal(rmdir(bench->folder), 0);
}

/* The member "key" of what creating gave. */
static inline void create(struct bench *bench, const char *request, char key[AUTH_KEY_SIZE])
{
    char id[AUTH_KEY_ID_SIZE];
    struct buf out = {0};
    struct err err = {0};
    json_t *made;

    if (auth_keyring_create(bench->ring, slice_of(request), NOW, id, &out, &err) != 0)
        fail_msg("%s: %s", request, err.text);
    made = json_loadb(out.data, out.len, 0, NULL);
    snprintf(key, AUTH_KEY_SIZE, "%s", json_string_value(json_object_get(made, "key")));
    assert_int_equal(strlen(key), AUTH_KEY_SIZE - 1);
    assert_memory_equal(key + 3, id, sizeof id - 1);
    json_decref(made);
    buf_free(&out);
}

static inline int check_at(struct bench *bench, const char *key, int64_t now_us,
                           const struct auth_claims **ret)
{
    char header[128];

    snprintf(header, sizeof header, "Bearer %s", key);
    return auth_check(bench->cache, slice_of(header), now_us, ret, NULL);
}

static inline int check(struct bench *bench, const char *key)
{
    const struct auth_claims *claims;

    return check_at(bench, key, NOW, &claims);
}

static inline struct slice id_of(const char *key)
{
    return (struct slice){key + 3, AUTH_KEY_ID_SIZE - 1};
}

#endif
