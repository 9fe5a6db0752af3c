/*
 * The keyring: changes of the API keys, one at a time.
 *
 * The array of keys.json is the truth, and every set that is put in force is read from it. A
 * change makes the next array, reads the next set from it, writes the file, and only then
 * replaces both. If the file cannot be written, nothing has changed. If it stands there and only
 * its name may be lost by a power cut, the change is in force and the caller is told.
 */
#include "auth/auth_apikeys_priv.h"

#include "base/mem.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

enum { OWN_BYTES = 4096 }; /* of the file, beside its keys */

struct auth_keyring {
    struct auth_keyring_options options;
    char *folder;
    pthread_mutex_t lock; /* what follows, and the file; held over writing it */
    json_t *keys;
    bool admits; /* the operator, whose id and digest follow */
    char operator_id[AUTH_KEY_ID_SIZE];
    unsigned char operator_digest[APIKEY_DIGEST];
};

static struct auth_apikey *operator_of(const struct auth_keyring *ring)
{
    struct auth_apikey *key = mem_zalloc(sizeof *key);

    memcpy(key->id, ring->operator_id, sizeof key->id);
    memcpy(key->digest, ring->operator_digest, sizeof key->digest);
    snprintf(key->claims.subject, sizeof key->claims.subject, "operator");
    key->claims.scopes = AUTH_WRITE | AUTH_READ | AUTH_ADMIN;
    key->claims.expires_us = INT64_MAX;
    return key;
}

/* Of keys that were read: each has an id. */
static bool has_id(const json_t *keys, const char *id, size_t *ret)
{
    size_t i;
    json_t *key;

    json_array_foreach(keys, i, key)
    {
        if (strcmp(json_string_value(json_object_get(key, "id")), id) == 0) {
            *ret = i;
            return true;
        }
    }
    return false;
}

static int by_id(const void *left, const void *right)
{
    const struct auth_apikey *const *a = left;
    const struct auth_apikey *const *b = right;

    return strcmp((*a)->id, (*b)->id);
}

static bool has_twins(struct auth_apikey **keys, size_t count)
{
    qsort(keys, count, sizeof(struct auth_apikey *), by_id);
    for (size_t i = 1; i < count; i++) {
        if (by_id(&keys[i - 1], &keys[i]) == 0)
            return true;
    }
    return false;
}

/* The meter is found by the subject, so a key keeps it through all changes of the set. */
static void measure(const struct auth_keyring *ring, struct auth_apikey *key)
{
    if (ring->options.auth != NULL)
        key->claims.meter = rate_meter(ring->options.auth->key_rates, key->claims.subject);
}

/* Reads the set that an array describes. */
static int read_set(const struct auth_keyring *ring, const json_t *keys, struct auth_apikeys **ret,
                    struct err *err)
{
    size_t count = json_array_size(keys);
    struct auth_apikey **list = mem_alloc((count + 1) * sizeof(struct auth_apikey *));
    struct err fault = {0};
    size_t done = 0;
    int rc = 0;

    while (done < count &&
           (rc = apikey_read_entry(json_array_get(keys, done), ring->options.products, &list[done],
                                   &fault)) == 0)
        measure(ring, list[done++]);
    if (rc != 0)
        rc = err_set(err, ERR_CORRUPT, "%s/keys.json is damaged: key %zu: %s", ring->folder,
                     done + 1, fault.text);
    if (rc == 0 && ring->admits)
        list[done++] = operator_of(ring);
    if (rc == 0 && has_twins(list, done))
        rc = err_set(err, ERR_CORRUPT, "%s/keys.json is damaged: two keys have one id",
                     ring->folder);
    if (rc == 0) {
        *ret = auth_apikeys_new(list, done);
        done = 0;
    }
    while (done > 0)
        apikey_free(list[--done]);
    free(list);
    return rc;
}

static void put_in_force(struct auth_keyring *ring, struct auth_apikeys *set)
{
    if (ring->options.auth != NULL)
        auth_use_apikeys(ring->options.auth, set);
    else
        auth_apikeys_free(set);
}

int auth_keyring_open(const struct auth_keyring_options *options, struct auth_keyring **ret,
                      struct err *err)
{
    struct auth_keyring *ring = mem_zalloc(sizeof *ring);
    struct auth_apikeys *set = NULL;
    int rc;

    ring->options = *options;
    if (options->disk == NULL)
        ring->options.disk = &disk_real;
    ring->folder = mem_strdup(options->data_dir);
    pthread_mutex_init(&ring->lock, NULL);
    rc = keyring_read(ring->folder, OWN_BYTES + options->most * APIKEY_MOST_JSON, &ring->keys, err);
    if (rc == 0 && json_array_size(ring->keys) > options->most)
        rc = err_set(err, ERR_INVALID, "%s/keys.json has %zu keys, more than MAX_API_KEYS=%zu",
                     ring->folder, json_array_size(ring->keys), options->most);
    if (rc == 0)
        rc = read_set(ring, ring->keys, &set, err);
    if (rc != 0) {
        auth_keyring_close(ring);
        return rc;
    }
    put_in_force(ring, set);
    *ret = ring;
    return 0;
}

void auth_keyring_close(struct auth_keyring *ring)
{
    if (ring == NULL)
        return;
    if (ring->admits)
        keyring_remove_operator(ring->folder);
    pthread_mutex_destroy(&ring->lock);
    json_decref(ring->keys);
    free(ring->folder);
    free(ring);
}

/* Makes `keys`, which it takes over, the ring's. Under the lock. */
static int change(struct auth_keyring *ring, json_t *keys, struct err *err)
{
    struct auth_apikeys *set;
    bool replaced;
    int rc = read_set(ring, keys, &set, err);

    if (rc != 0) {
        json_decref(keys);
        return rc;
    }
    rc = keyring_write(ring->options.disk, ring->folder, keys, &replaced, err);
    if (!replaced) {
        auth_apikeys_free(set);
        json_decref(keys);
        return rc;
    }
    put_in_force(ring, set);
    json_decref(ring->keys);
    ring->keys = keys;
    return rc;
}

static void append_json(struct buf *out, const json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);

    if (text == NULL)
        abort(); /* as mem_alloc(): all that can fail here is memory */
    buf_append_text(out, text);
    OPENSSL_cleanse(text, strlen(text));
    free(text);
}

/* A key's description for people: what the file says, without the digest. */
static json_t *shown(const json_t *entry)
{
    json_t *copy = json_deep_copy(entry);

    json_object_del(copy, "sha256");
    return copy;
}

static int add(struct auth_keyring *ring, struct auth_apikey *key, char text[AUTH_KEY_SIZE],
               json_t **ret_entry, struct err *err)
{
    size_t at;
    json_t *keys, *entry;
    int rc;

    if (json_array_size(ring->keys) >= ring->options.most)
        return err_set(err, ERR_CONFLICT, "there are %zu keys, as many as MAX_API_KEYS allows",
                       ring->options.most);
    do {
        rc = apikey_make(key, text, err);
    } while (rc == 0 && (has_id(ring->keys, key->id, &at) ||
                         (ring->admits && strcmp(key->id, ring->operator_id) == 0)));
    if (rc != 0)
        return rc;
    keys = json_copy(ring->keys);
    entry = apikey_entry(key);
    json_array_append(keys, entry);
    rc = change(ring, keys, err);
    if (rc == 0)
        *ret_entry = shown(entry);
    json_decref(entry);
    return rc;
}

static int read_request(struct slice request, const struct txn_products *products, int64_t now_us,
                        struct auth_apikey **ret, struct err *err)
{
    json_t *asked;
    int rc;

    if (request.len == 0 || request.len > APIKEY_MOST_JSON)
        return err_set(err, ERR_INVALID, "a key is described by a JSON object of at most %d bytes",
                       APIKEY_MOST_JSON);
    /* A NUL in a text is let in, for the words to say which text may not have one. */
    asked = json_loadb(request.at, request.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    rc = apikey_read_request(asked, products, now_us, ret, err);
    json_decref(asked);
    return rc;
}

int auth_keyring_check(struct slice request, const struct txn_products *products, int64_t now_us,
                       struct err *err)
{
    struct auth_apikey *key = NULL;
    int rc = read_request(request, products, now_us, &key, err);

    apikey_free(key);
    return rc;
}

int auth_keyring_create(struct auth_keyring *ring, struct slice request, int64_t now_us,
                        char ret_id[AUTH_KEY_ID_SIZE], struct buf *out, struct err *err)
{
    struct auth_apikey *key = NULL;
    json_t *entry = NULL;
    char text[AUTH_KEY_SIZE];
    int rc = read_request(request, ring->options.products, now_us, &key, err);

    if (rc == 0) {
        pthread_mutex_lock(&ring->lock);
        rc = add(ring, key, text, &entry, err);
        pthread_mutex_unlock(&ring->lock);
    }
    if (rc == 0) {
        memcpy(ret_id, key->id, sizeof key->id);
        json_object_set_new(entry, "key", json_string(text));
        append_json(out, entry);
        json_decref(entry);
    }
    OPENSSL_cleanse(text, sizeof text);
    apikey_free(key);
    return rc;
}

int auth_keyring_revoke(struct auth_keyring *ring, struct slice id, struct err *err)
{
    char text[AUTH_KEY_ID_SIZE];
    json_t *keys;
    size_t at;
    int rc;

    if (!apikey_is_id(id))
        return err_set(err, ERR_NOT_FOUND, "this is no id of a key");
    snprintf(text, sizeof text, "%.*s", SLICE_ARG(id));
    pthread_mutex_lock(&ring->lock);
    if (has_id(ring->keys, text, &at)) {
        keys = json_copy(ring->keys);
        json_array_remove(keys, at);
        rc = change(ring, keys, err);
    } else {
        rc = err_set(err, ERR_NOT_FOUND, "there is no key of this id");
    }
    pthread_mutex_unlock(&ring->lock);
    return rc;
}

void auth_keyring_list(struct auth_keyring *ring, struct buf *out)
{
    size_t i;
    json_t *key;

    buf_append_text(out, "{\"keys\":[");
    pthread_mutex_lock(&ring->lock);
    json_array_foreach(ring->keys, i, key)
    {
        json_t *entry = shown(key);

        if (i > 0)
            buf_append_char(out, ',');
        append_json(out, entry);
        json_decref(entry);
    }
    pthread_mutex_unlock(&ring->lock);
    buf_append_text(out, "]}");
}

int auth_keyring_admit_operator(struct auth_keyring *ring, struct err *err)
{
    struct auth_apikey *key = mem_zalloc(sizeof *key);
    struct auth_apikeys *set;
    char text[AUTH_KEY_SIZE];
    size_t at;
    int rc;

    pthread_mutex_lock(&ring->lock);
    do {
        rc = apikey_make(key, text, err);
    } while (rc == 0 && has_id(ring->keys, key->id, &at));
    if (rc == 0)
        rc = keyring_write_operator(ring->folder, text, err);
    if (rc == 0) {
        memcpy(ring->operator_id, key->id, sizeof key->id);
        memcpy(ring->operator_digest, key->digest, sizeof key->digest);
        ring->admits = true;
        rc = read_set(ring, ring->keys, &set, err);
    }
    if (rc == 0)
        put_in_force(ring, set);
    pthread_mutex_unlock(&ring->lock);
    OPENSSL_cleanse(text, sizeof text);
    apikey_free(key);
    return rc;
}
