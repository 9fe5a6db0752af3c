/*
 * The life of the room: options are held against what they must be, the key is read, and, if
 * there is somebody to ask, the threads that ask are started.
 */
#include "users/users.h"

#include "users/users_priv.h"

#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <sys/random.h>

static bool is_given(const char *text)
{
    return text != NULL && *text != '\0';
}

/* Unreserved characters of RFC 3986 as they are, a space as "+", all others as "%2F". */
void users_encode(struct buf *out, struct slice text)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

    for (size_t i = 0; i < text.len; i++) {
        if (memchr(plain, text.at[i], sizeof plain - 1) != NULL)
            buf_append_char(out, text.at[i]);
        else if (text.at[i] == ' ')
            buf_append_char(out, '+');
        else
            buf_printf(out, "%%%02X", (unsigned char)text.at[i]);
    }
}

/* Client id and secret are encoded like a form's before they become user and password (RFC 6749,
 * section 2.3.1); for most that changes nothing. */
static char *encoded(const char *text)
{
    struct buf out = {0};
    char *made;

    if (text != NULL)
        users_encode(&out, slice_of(text));
    made = mem_strndup(out.len > 0 ? out.data : "", out.len);
    buf_free(&out);
    return made;
}

static int check(const struct users_options *options, struct err *err)
{
    if (!is_given(options->url))
        return 0;
    assert(options->cache >= 4 * (size_t)USERS_AT_ONCE && options->connections >= 1);
    if (is_given(options->client_secret) && !is_given(options->client_id))
        return err_set(err, ERR_INVALID,
                       "INTROSPECTION_CLIENT_ID: must be given, for there is a secret");
    return 0;
}

static void init(struct users *users, const struct users_options *options)
{
    pthread_mutex_init(&users->lock, NULL);
    pthread_cond_init(&users->work, NULL);
    pthread_cond_init(&users->finished, NULL);
    users->pseudonymize = options->pseudonymize;
    if (!is_given(options->url))
        return;
    users->url = mem_strdup(options->url);
    users->ca_file = mem_strdup(options->ca_file != NULL ? options->ca_file : "");
    users->members = mem_strdup(options->user_members);
    if (is_given(options->client_id)) {
        users->login = encoded(options->client_id);
        users->secret = encoded(options->client_secret);
    }
    users->timeout_ms = options->timeout_ms;
    users->patience_us = options->patience_ms * 1000;
    users->retry_min_ms = options->retry_min_ms;
    users->retry_max_ms = options->retry_max_ms;
    users->connections = options->connections;
    users->cache = users_cache_open(options->cache);
    users->status.asks = true;
}

int users_open(const struct users_options *options, struct users **ret, struct err *err)
{
    struct users *users;
    int code = check(options, err);

    if (code != 0)
        return code;
    users = mem_zalloc(sizeof *users);
    init(users, options);
    if (getrandom(users->salt, sizeof users->salt, 0) != sizeof users->salt)
        code = err_system(err, errno, "take random bytes");
    if (code == 0 && users->pseudonymize)
        code = users_key(options->data_dir, users->key, err);
    if (code == 0 && users->url != NULL)
        code = users_start(users, err);
    if (code != 0) {
        users_close(users);
        return code;
    }
    *ret = users;
    return 0;
}

void users_close(struct users *users)
{
    if (users == NULL)
        return;
    users_stop(users);
    users_cache_close(users->cache);
    pthread_cond_destroy(&users->finished);
    pthread_cond_destroy(&users->work);
    pthread_mutex_destroy(&users->lock);
    free(users->url);
    free(users->ca_file);
    free(users->members);
    free(users->login);
    if (users->secret != NULL)
        OPENSSL_cleanse(users->secret, strlen(users->secret));
    free(users->secret);
    OPENSSL_cleanse(users->key, sizeof users->key);
    free(users);
}

bool users_take_sessions(const struct users *users)
{
    return users->url != NULL;
}
