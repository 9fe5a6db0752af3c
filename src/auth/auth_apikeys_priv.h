/*
 * API keys inside the room: one key, the set that is in force, and its way from and to JSON.
 */
#ifndef AUTH_AUTH_APIKEYS_PRIV_H
#define AUTH_AUTH_APIKEYS_PRIV_H

#include "auth/auth_priv.h"

#define APIKEY_PREFIX "la_"
#define APIKEY_DIGEST 32       /* bytes of a SHA-256 */
#define APIKEY_MOST_LIST 32    /* products, and origins, of one key */
#define APIKEY_MOST_NAME 100   /* bytes */
#define APIKEY_MOST_JSON 32768 /* bytes of one key's description, in any spelling */

#define APIKEY_NO_PRODUCT UINT32_MAX /* stands for a name that is in the product table no more */

/* One key. What the claims borrow is the key's own. */
struct auth_apikey {
    char id[AUTH_KEY_ID_SIZE];
    unsigned char digest[APIKEY_DIGEST];
    struct auth_claims claims;
    const char *scope;
    char *product_names[APIKEY_MOST_LIST];
    uint32_t products[APIKEY_MOST_LIST];
    char *origins[APIKEY_MOST_LIST];
    char *name; /* "": none */
    int64_t created_us;
};

/* auth_apikey.c: one key's text and terms. Each leaves *ret empty on failure. */

/* What is asked for, as auth_keyring_create() describes it; id, digest and created are the
 * caller's to fill in. Unknown members are refused: a misspelt one would make a key that may
 * more than was meant. */
MUST_CHECK int apikey_read_request(const json_t *request, const struct txn_products *products,
                                   int64_t now_us, struct auth_apikey **ret, struct err *err);
/* An entry of the file. A product that is unknown is one that nobody can write. */
MUST_CHECK int apikey_read_entry(const json_t *entry, const struct txn_products *products,
                                 struct auth_apikey **ret, struct err *err);
void apikey_free(struct auth_apikey *key);

/* auth_apikey_text.c */

/* The entry of the file. */
json_t *apikey_entry(const struct auth_apikey *key);
/* Makes a random key into `text`, and its id and digest. ERR_IO: no random bytes. */
MUST_CHECK int apikey_make(struct auth_apikey *key, char text[AUTH_KEY_SIZE], struct err *err);
/* Has it a key's form? Says nothing of whether there is such a key. */
bool apikey_has_form(struct slice text);
bool apikey_is_id(struct slice text);

/* auth_origin.c: writes an origin as a browser would; false if it is none. */
bool auth_origin_normal(struct slice text, char out[AUTH_MAX_ORIGIN]);

/* auth_apikeys.c: a set, immutable but for the count of references. */
struct auth_apikeys;

/* Takes over the keys (not the array), whose ids must differ. */
struct auth_apikeys *auth_apikeys_new(struct auth_apikey **keys, size_t count);
struct auth_apikeys *auth_apikeys_retain(struct auth_apikeys *apikeys);
void auth_apikeys_free(struct auth_apikeys *apikeys);

/* The claims of the key whose text this is, or NULL. It costs one SHA-256 (by `sha256`, a
 * context that is set up for it) and one comparison of all of its bytes, also for an id that
 * is unknown; `apikeys` may be NULL, for none. */
const struct auth_claims *auth_apikeys_find(const struct auth_apikeys *apikeys, EVP_MD_CTX *sha256,
                                            struct slice text);
bool auth_apikeys_know_origin(const struct auth_apikeys *apikeys, struct slice origin,
                              int64_t now_us);

/* auth_open.c: as auth_use_keys() and auth_current_keys(). */
void auth_use_apikeys(struct auth *auth, struct auth_apikeys *apikeys);
struct auth_apikeys *auth_current_apikeys(struct auth *auth, uint64_t *ret_generation);

/* auth_keyring_file.c: the file's array of keys. */

/* An empty array if there is no file. */
MUST_CHECK int keyring_read(const char *folder, size_t most_bytes, json_t **ret, struct err *err);
/* *ret_replaced: the new file stands in the old one's place, though its name may not be on disk
 * if the call failed. */
MUST_CHECK int keyring_write(struct disk *disk, const char *folder, json_t *keys,
                             bool *ret_replaced, struct err *err);
MUST_CHECK int keyring_write_operator(const char *folder, const char *text, struct err *err);
void keyring_remove_operator(const char *folder);

#endif
