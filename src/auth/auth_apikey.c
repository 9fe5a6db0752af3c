/*
 * What a key may, read from JSON: from a request that asks for one, or from the file.
 *
 * Both have the same members for it, and both are read strictly; the file has three more. Only
 * products are treated differently. A request must name those there are. The file may name one
 * that the product table has lost meanwhile: then the key writes it no longer, and still not
 * any other.
 */
#include "auth/auth_apikeys_priv.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *name;
    unsigned scopes;
} scopes[] = {
    {"write", AUTH_WRITE},
    {"read", AUTH_READ},
    {"admin", AUTH_READ | AUTH_ADMIN},
};

/* The members of a request come first, then those that only the file has. */
static const char *const members[] = {"scope",   "products", "origins", "name",
                                      "expires", "id",       "sha256",  "created"};
enum { OF_A_REQUEST = 5, OF_AN_ENTRY = 8 };

static struct slice text_of(const json_t *value)
{
    if (!json_is_string(value))
        return (struct slice){NULL, 0};
    return (struct slice){json_string_value(value), json_string_length(value)};
}

static int check_members(const json_t *object, size_t known, struct err *err)
{
    const char *name;
    json_t *value;

    if (!json_is_object(object))
        return err_set(err, ERR_INVALID, "a key is described by a JSON object");
    json_object_foreach((json_t *)object, name, value)
    {
        size_t i = 0;

        while (i < known && strcmp(name, members[i]) != 0)
            i++;
        if (i == known)
            return err_set(err, ERR_INVALID, "%.40s: there is no such member", name);
    }
    return 0;
}

static int read_scope(const json_t *value, struct auth_apikey *key, struct err *err)
{
    for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++) {
        if (slice_is(text_of(value), scopes[i].name)) {
            key->scope = scopes[i].name;
            key->claims.scopes = scopes[i].scopes;
            return 0;
        }
    }
    return err_set(err, ERR_INVALID, "scope: must be write, read or admin");
}

static int add_product(const json_t *value, const struct txn_products *products, bool must_exist,
                       struct auth_apikey *key, struct err *err)
{
    struct slice name = text_of(value);
    uint32_t number = APIKEY_NO_PRODUCT;

    if (json_is_integer(value) && json_integer_value(value) >= 0 &&
        json_integer_value(value) < UINT32_MAX)
        name = slice_of(txn_product_name(products, (uint32_t)json_integer_value(value)));
    else if (!json_is_string(value))
        return err_set(err, ERR_INVALID, "products: must be names or numbers of products");
    if (name.len == 0 || name.len > TXN_MAX_PRODUCT_NAME ||
        (!txn_product_by_name(products, name, &number) && must_exist))
        return err_set(err, ERR_INVALID, "products: there is no product \"%.*s\"",
                       name.len < TXN_MAX_PRODUCT_NAME ? (int)name.len : TXN_MAX_PRODUCT_NAME,
                       name.at != NULL ? name.at : "of that number");
    key->product_names[key->claims.product_count] = mem_strndup(name.at, name.len);
    key->products[key->claims.product_count++] = number;
    return 0;
}

/* False, with the words, unless it is absent or a list that is not too long. */
static bool is_list(const json_t *value, const char *name, struct err *err)
{
    if (value == NULL || (json_is_array(value) && json_array_size(value) <= APIKEY_MOST_LIST))
        return true;
    err_set(err, ERR_INVALID, "%s: must be a list of at most %d", name, APIKEY_MOST_LIST);
    return false;
}

static int read_products(const json_t *list, const struct txn_products *products, bool must_exist,
                         struct auth_apikey *key, struct err *err)
{
    bool writes = (key->claims.scopes & AUTH_WRITE) != 0;
    int rc = 0;

    if (!is_list(list, "products", err))
        return ERR_INVALID;
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++)
        rc = add_product(json_array_get(list, i), products, must_exist, key, err);
    if (rc != 0)
        return rc;
    if (writes && key->claims.product_count == 0)
        return err_set(err, ERR_INVALID, "products: a write key needs at least one");
    if (!writes && key->claims.product_count > 0)
        return err_set(err, ERR_INVALID, "products: only a write key has them");
    return 0;
}

static int read_origins(const json_t *list, struct auth_apikey *key, struct err *err)
{
    if (!is_list(list, "origins", err))
        return ERR_INVALID;
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct slice text = text_of(json_array_get(list, i));
        char origin[AUTH_MAX_ORIGIN];

        if (!auth_origin_normal(text, origin))
            return err_set(err, ERR_INVALID,
                           "origins: \"%.*s\" is not an origin such as https://pennclubs.com",
                           text.len < 100 ? (int)text.len : 100, text.at != NULL ? text.at : "");
        key->origins[key->claims.origin_count++] = mem_strdup(origin);
    }
    return 0;
}

static bool is_printable(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.at[i] < ' ' || text.at[i] == 0x7f)
            return false;
    }
    return text.at != NULL;
}

static int read_name(const json_t *value, struct auth_apikey *key, struct err *err)
{
    struct slice name = value == NULL || json_is_null(value) ? SLICE("") : text_of(value);

    if (!is_printable(name) || name.len > APIKEY_MOST_NAME)
        return err_set(err, ERR_INVALID, "name: must be a printable text of at most %d bytes",
                       APIKEY_MOST_NAME);
    key->name = mem_strndup(name.at, name.len);
    return 0;
}

static int read_expires(const json_t *value, struct auth_apikey *key, struct err *err)
{
    key->claims.expires_us = INT64_MAX;
    if (value == NULL || json_is_null(value))
        return 0;
    if (!json_is_string(value) || !clock_parse(text_of(value), &key->claims.expires_us) ||
        key->claims.expires_us < 0 || key->claims.expires_us >= CLOCK_MAX_US)
        return err_set(err, ERR_INVALID, "expires: must be an RFC 3339 date-time before 2100");
    return 0;
}

static int read_terms(const json_t *json, const struct txn_products *products, bool must_exist,
                      struct auth_apikey *key, struct err *err)
{
    int rc;

    key->claims.products = key->products;
    key->claims.origins = (const char *const *)key->origins;
    if ((rc = read_scope(json_object_get(json, "scope"), key, err)) != 0 ||
        (rc = read_products(json_object_get(json, "products"), products, must_exist, key, err)) !=
            0 ||
        (rc = read_origins(json_object_get(json, "origins"), key, err)) != 0 ||
        (rc = read_name(json_object_get(json, "name"), key, err)) != 0)
        return rc;
    return read_expires(json_object_get(json, "expires"), key, err);
}

int apikey_read_request(const json_t *request, const struct txn_products *products, int64_t now_us,
                        struct auth_apikey **ret, struct err *err)
{
    struct auth_apikey *key = mem_zalloc(sizeof *key);
    int rc = check_members(request, OF_A_REQUEST, err);

    if (rc == 0)
        rc = read_terms(request, products, true, key, err);
    if (rc == 0 && key->claims.expires_us <= now_us)
        rc = err_set(err, ERR_INVALID, "expires: must be in the future");
    key->created_us = now_us;
    if (rc == 0)
        *ret = key;
    else
        apikey_free(key);
    return rc;
}

static bool read_digest(struct slice text, unsigned char *out)
{
    static const char digits[] = "0123456789abcdef";

    if (text.len != 2 * (size_t)APIKEY_DIGEST)
        return false;
    for (int i = 0; i < APIKEY_DIGEST; i++) {
        const char *high = memchr(digits, text.at[2 * i], 16);
        const char *low = memchr(digits, text.at[2 * i + 1], 16);

        if (high == NULL || low == NULL)
            return false;
        out[i] = (unsigned char)((high - digits) << 4 | (low - digits));
    }
    return true;
}

static int read_identity(const json_t *entry, struct auth_apikey *key, struct err *err)
{
    struct slice id = text_of(json_object_get(entry, "id"));

    if (id.at == NULL || !apikey_is_id(id))
        return err_set(err, ERR_INVALID, "id: is no id of a key");
    memcpy(key->id, id.at, id.len);
    snprintf(key->claims.subject, sizeof key->claims.subject, "key:%s", key->id);
    if (!read_digest(text_of(json_object_get(entry, "sha256")), key->digest))
        return err_set(err, ERR_INVALID, "sha256: is no SHA-256");
    if (!clock_parse(text_of(json_object_get(entry, "created")), &key->created_us))
        return err_set(err, ERR_INVALID, "created: is no date-time");
    return 0;
}

int apikey_read_entry(const json_t *entry, const struct txn_products *products,
                      struct auth_apikey **ret, struct err *err)
{
    struct auth_apikey *key = mem_zalloc(sizeof *key);
    int rc = check_members(entry, OF_AN_ENTRY, err);

    if (rc == 0)
        rc = read_identity(entry, key, err);
    if (rc == 0)
        rc = read_terms(entry, products, false, key, err);
    if (rc == 0)
        *ret = key;
    else
        apikey_free(key);
    return rc;
}

void apikey_free(struct auth_apikey *key)
{
    if (key == NULL)
        return;
    for (size_t i = 0; i < APIKEY_MOST_LIST; i++) {
        free(key->product_names[i]);
        free(key->origins[i]);
    }
    free(key->name);
    free(key);
}
