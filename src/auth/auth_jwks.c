/*
 * The thread that keeps the identity provider's key set.
 *
 * It sleeps until the next fetch is due, or until a loop or the end wakes it through an eventfd;
 * a loop writes to that once, however many tokens ask, until the next fetch begins. A good answer
 * goes into force only if its keys differ from those that are, and is kept on disk. A bad one
 * changes nothing but what is said: once when it begins to fail, once when it is over.
 */
#include "auth/auth_jwks_priv.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "fetch/fetch.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define US_PER_MS INT64_C(1000)

struct auth_jwks {
    struct auth *auth;
    char *url, *data_dir, *ca_file;
    int shown; /* bytes of the URL without its query */
    int64_t refresh_us, min_interval_us, timeout_ms;
    atomic_bool stop;
    atomic_bool ordered; /* to fetch, however short ago it did */
    pthread_t thread;

    /* The thread's own. */
    struct fetch *fetch;
    struct buf answer;
    struct auth_keys *keys; /* in force, retained; NULL: none yet */
    struct jwks_past past;
    int64_t failing_since_us; /* if past.failures > 0 */
    bool kept;                /* the file could be written when it last was */
};

void auth_want_keys(struct auth *auth)
{
    if (auth->wake >= 0 && !atomic_load_explicit(&auth->wanted, memory_order_relaxed) &&
        !atomic_exchange(&auth->wanted, true))
        eventfd_write(auth->wake, 1);
}

static void use(struct auth_jwks *jwks, struct auth_keys *keys)
{
    auth_keys_free(jwks->keys);
    jwks->keys = auth_keys_retain(keys);
    auth_use_keys(jwks->auth, keys);
}

/* What became of a fetch, for others to see; err == NULL: a good set. */
static void note(struct auth_jwks *jwks, const struct err *err)
{
    struct auth_status *status = &jwks->auth->status;
    int64_t now_us = clock_mono_us();

    pthread_mutex_lock(&jwks->auth->lock);
    status->fetches++;
    status->failures += err != NULL;
    if (err == NULL)
        jwks->auth->confirmed_us = now_us;
    snprintf(status->last_error, sizeof status->last_error, "%s", err != NULL ? err->text : "");
    pthread_mutex_unlock(&jwks->auth->lock);
}

static int ask(struct auth_jwks *jwks, struct auth_keys **ret, struct err *err)
{
    static const char *const headers[] = {"Accept: application/json", NULL};
    const struct fetch_request request = {
        .url = jwks->url,
        .headers = headers,
        .timeout_ms = jwks->timeout_ms,
        .max_bytes = AUTH_MAX_JWKS,
        .ca_file = jwks->ca_file,
        .stop = &jwks->stop,
    };
    long status = 0;
    int code = fetch(jwks->fetch, &request, &jwks->answer, &status, err);

    if (code != 0)
        return code;
    if (status != 200)
        return err_set(err, ERR_UNAVAILABLE, "%.*s: answered with %ld", jwks->shown, jwks->url,
                       status);
    if (auth_keys_parse(buf_slice(&jwks->answer), false, ret, err) != 0)
        return err_wrap(err, "%.*s", jwks->shown, jwks->url);
    return 0;
}

static void keep(struct auth_jwks *jwks)
{
    struct err err;
    int code = jwks_save(&disk_real, jwks->data_dir, jwks->url, buf_slice(&jwks->answer),
                         clock_wall_us(), &err);

    if (code != 0 && jwks->kept)
        log_warning("auth", "the key set cannot be kept for the next start: %s", err.text);
    else if (code == 0 && !jwks->kept)
        log_info("auth", "the key set can be kept again");
    jwks->kept = code == 0;
}

static void take(struct auth_jwks *jwks, struct auth_keys *keys)
{
    size_t added = jwks->keys != NULL ? auth_keys_missing(keys, jwks->keys) : keys->count;
    size_t withdrawn = jwks->keys != NULL ? auth_keys_missing(jwks->keys, keys) : 0;

    if (added > 0 || withdrawn > 0) {
        log_info("auth", "%zu keys of %.*s are in force: %zu new, %zu withdrawn", keys->count,
                 jwks->shown, jwks->url, added, withdrawn);
        use(jwks, keys);
    } else {
        auth_keys_free(keys);
    }
    if (jwks->past.failures > 0)
        log_info("auth", "the identity provider gives its keys again after %.1f s",
                 (double)(clock_mono_us() - jwks->failing_since_us) / 1e6);
    jwks->past.failures = 0;
}

static void fail(struct auth_jwks *jwks, const struct err *err)
{
    if (jwks->past.failures == 0) {
        jwks->failing_since_us = clock_mono_us();
        log_warning("auth", "the identity provider does not give its keys: %s; %s", err->text,
                    jwks->keys != NULL ? "the last good ones stay in force"
                                       : "tokens are answered with 503");
    }
    if (jwks->past.failures < UINT32_MAX)
        jwks->past.failures++;
}

static void refresh(struct auth_jwks *jwks)
{
    struct auth_keys *keys;
    struct err err;
    int code;

    atomic_store(&jwks->ordered, false);
    atomic_store(&jwks->auth->wanted, false);
    code = ask(jwks, &keys, &err);
    if (code == 0) {
        take(jwks, keys);
        note(jwks, NULL);
        keep(jwks);
    } else if (!atomic_load(&jwks->stop)) {
        fail(jwks, &err);
        note(jwks, &err);
    }
    jwks->past.tried = true;
    jwks->past.ended_us = clock_mono_us();
}

static void *run(void *arg)
{
    struct auth_jwks *jwks = arg;
    struct pollfd wake = {.fd = jwks->auth->wake, .events = POLLIN};

    thread_name("jwks");
    while (!atomic_load(&jwks->stop)) {
        int64_t due_us = jwks_due(&jwks->past, jwks->refresh_us, jwks->min_interval_us,
                                  atomic_load(&jwks->auth->wanted));
        int64_t now_us = clock_mono_us();
        eventfd_t ignored;

        if (due_us <= now_us || atomic_load(&jwks->ordered))
            refresh(jwks);
        else if (poll(&wake, 1, (int)((due_us - now_us) / US_PER_MS) + 1) > 0)
            eventfd_read(wake.fd, &ignored);
    }
    return NULL;
}

static void load(struct auth_jwks *jwks)
{
    struct auth_keys *keys;
    char when[CLOCK_TEXT_SIZE];
    int64_t fetched_us, age_us;
    struct err err;
    int code = jwks_load(&disk_real, jwks->data_dir, jwks->url, &keys, &fetched_us, &err);

    if (code == 0) {
        clock_format(when, fetched_us);
        log_info("auth", "%zu keys of %.*s are in force, fetched %s", keys->count, jwks->shown,
                 jwks->url, when);
        age_us = clock_wall_us() - fetched_us;
        jwks->auth->confirmed_us = clock_mono_us() - (age_us > 0 ? age_us : 0);
        use(jwks, keys);
    } else if (code != ERR_NOT_FOUND) {
        log_warning("auth", "the key set that was kept is not used: %s", err.text);
    }
}

static void release(struct auth_jwks *jwks)
{
    if (jwks->auth->wake >= 0)
        close(jwks->auth->wake);
    jwks->auth->wake = -1;
    fetch_close(jwks->fetch);
    buf_free(&jwks->answer);
    auth_keys_free(jwks->keys);
    free(jwks->url);
    free(jwks->data_dir);
    free(jwks->ca_file);
    free(jwks);
}

int auth_jwks_start(struct auth *auth, const struct auth_jwks_options *options,
                    struct auth_jwks **ret, struct err *err)
{
    struct auth_jwks *jwks = mem_zalloc(sizeof *jwks);
    int code = 0;
    int number;

    jwks->auth = auth;
    jwks->url = mem_strdup(options->url);
    jwks->shown = (int)strcspn(options->url, "?");
    jwks->data_dir = mem_strdup(options->data_dir);
    jwks->ca_file = mem_strdup(options->ca_file != NULL ? options->ca_file : "");
    jwks->refresh_us = options->refresh_ms * US_PER_MS;
    jwks->min_interval_us = options->min_interval_ms * US_PER_MS;
    jwks->timeout_ms = options->timeout_ms;
    jwks->kept = true;
    jwks->fetch = fetch_open();
    auth->status.fetched = true;
    auth->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (auth->wake < 0) {
        code = err_system(err, errno, "make an eventfd");
        goto release_jwks;
    }
    load(jwks);
    number = pthread_create(&jwks->thread, NULL, run, jwks);
    if (number != 0) {
        code = err_system(err, number, "start the thread of the key set");
        goto release_jwks;
    }
    *ret = jwks;
    return 0;
release_jwks:
    release(jwks);
    return code;
}

void auth_jwks_stop(struct auth_jwks *jwks)
{
    if (jwks == NULL)
        return;
    atomic_store(&jwks->stop, true);
    eventfd_write(jwks->auth->wake, 1);
    pthread_join(jwks->thread, NULL);
    release(jwks);
}

void auth_jwks_refresh(struct auth_jwks *jwks)
{
    atomic_store(&jwks->ordered, true);
    eventfd_write(jwks->auth->wake, 1);
}
