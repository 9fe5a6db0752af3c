/*
 * What is known of sessions, and what an answer or a failure changes about it.
 *
 * A session that nobody could say anything of stays open until its transaction has been here for
 * as long as the option allows. It is then given up if the provider is down, or after three
 * failed questions. One that goes on to fail while others are answered is given up before: else
 * a client could hold up everybody's transactions with a session that upsets the provider.
 */
#include "users/users_priv.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#define SECOND INT64_C(1000000)

enum {
    GIVE_UP_AFTER = 3, /* questions about one session */
    DOWN_AFTER = 4,    /* failures in a row */
};

static const int64_t longest_us = 3600 * SECOND;
/* A token that ends at once is good for the transactions at hand. */
static const int64_t shortest_us = 60 * SECOND;
static const int64_t refused_us = 300 * SECOND;
static const int64_t upsetting_us = 10 * SECOND;

void users_digest(const struct users *users, struct slice session,
                  unsigned char ret[USERS_DIGEST_SIZE])
{
    unsigned char text[USERS_SALT_SIZE + TXN_MAX_SESSION];
    size_t len = session.len < TXN_MAX_SESSION ? session.len : TXN_MAX_SESSION;

    memcpy(text, users->salt, USERS_SALT_SIZE);
    memcpy(text + USERS_SALT_SIZE, session.at, len);
    if (EVP_Digest(text, USERS_SALT_SIZE + len, ret, NULL, EVP_sha256(), NULL) != 1)
        abort(); /* as mem_alloc(): all that can fail here is memory */
}

/* Does the provider answer for others, but not for this one? */
static bool is_upsetting(const struct users *users, const struct users_entry *entry, int64_t now_us)
{
    int64_t least_us = users->patience_us < upsetting_us ? users->patience_us : upsetting_us;

    return entry != NULL && entry->faults >= GIVE_UP_AFTER &&
           users->last_answer_us > entry->first_failed_us &&
           now_us - entry->first_failed_us >= least_us;
}

static enum users_answer find_open(const struct users *users, const struct users_entry *entry,
                                   int64_t received_us, int64_t now_us)
{
    unsigned failures = entry != NULL ? entry->failures : 0;

    if (is_upsetting(users, entry, now_us))
        return USERS_GIVEN_UP;
    if (now_us - received_us >= users->patience_us &&
        (users->status.down || failures >= GIVE_UP_AFTER))
        return USERS_GIVEN_UP;
    return USERS_OPEN;
}

enum users_answer users_find(struct users *users, struct slice session, int64_t received_us,
                             char ret_name[USERS_NAME_SIZE])
{
    unsigned char digest[USERS_DIGEST_SIZE];
    int64_t now_us = clock_wall_us();
    enum users_answer answer;
    const struct users_entry *entry;

    if (!users_take_sessions(users)) /* taken when they still were of use */
        return USERS_GIVEN_UP;
    users_digest(users, session, digest);
    pthread_mutex_lock(&users->lock);
    entry = users_cache_find(users->cache, digest, now_us);
    if (entry == NULL || entry->state == STATE_UNKNOWN) {
        answer = find_open(users, entry, received_us, now_us);
    } else {
        answer = entry->state == STATE_RESOLVED ? USERS_RESOLVED : USERS_REFUSED;
        if (answer == USERS_RESOLVED)
            memcpy(ret_name, entry->name, USERS_NAME_SIZE);
        users->status.cache_hits++;
    }
    pthread_mutex_unlock(&users->lock);
    return answer;
}

int64_t users_pause_ms(struct users *users)
{
    int64_t pause;

    if (atomic_load(&users->stop))
        return INT32_MAX;
    pthread_mutex_lock(&users->lock);
    pause = users->ask_at_ms - clock_mono_us() / 1000;
    pthread_mutex_unlock(&users->lock);
    return pause > 0 ? pause : 0;
}

static void note_up(struct users *users)
{
    users->failures = 0;
    if (!users->status.down)
        return;
    users->status.down = false;
    log_info("users", "introspection answers again after %.1f s",
             (double)(clock_mono_us() - users->down_since_us) / 1e6);
}

void users_note_reply(struct users *users, const unsigned char digest[USERS_DIGEST_SIZE],
                      const struct users_reply *reply)
{
    int64_t now_us = clock_wall_us();
    struct users_entry *entry = users_cache_make(users->cache, digest, now_us);
    int64_t until_us = now_us + refused_us;

    if (reply->active) {
        until_us =
            reply->expires_us < now_us + longest_us ? reply->expires_us : now_us + longest_us;
        if (until_us < now_us + shortest_us)
            until_us = now_us + shortest_us;
    }
    *entry = (struct users_entry){
        .state = reply->active ? STATE_RESOLVED : STATE_REFUSED,
        .expires_us = until_us,
    };
    if (reply->active)
        memcpy(entry->name, reply->name, USERS_NAME_SIZE);
    users->last_answer_us = now_us;
    note_up(users);
}

/* min, 2 min, 4 min ... max, each less up to a half, by the clock: many engines do not knock in
 * step. */
static int64_t pause_ms(const struct users *users)
{
    int64_t pause = users->retry_min_ms;

    for (unsigned i = 1; i < users->failures && pause < users->retry_max_ms; i++)
        pause *= 2;
    if (pause > users->retry_max_ms)
        pause = users->retry_max_ms;
    return pause - clock_mono_us() % (pause / 2 + 1);
}

void users_note_failure(struct users *users, const unsigned char digest[USERS_DIGEST_SIZE],
                        bool blame, const struct err *err)
{
    int64_t now_us = clock_wall_us();
    struct users_entry *entry = users_cache_make(users->cache, digest, now_us);

    if (entry->state == STATE_UNKNOWN) { /* else somebody else was answered meanwhile */
        entry->failures++;
        entry->faults += blame;
        if (entry->first_failed_us == 0)
            entry->first_failed_us = now_us;
        entry->expires_us = now_us + refused_us;
    }
    users->failures++;
    users->status.failures++;
    users->ask_at_ms = clock_mono_us() / 1000 + pause_ms(users);
    snprintf(users->status.last_error, sizeof users->status.last_error, "%s", err->text);
    if (users->failures < DOWN_AFTER || users->status.down)
        return;
    users->status.down = true;
    users->down_since_us = clock_mono_us();
    log_warning("users", "introspection fails, transactions with a session wait: %s", err->text);
}

struct users_status users_status(struct users *users)
{
    struct users_status status;

    pthread_mutex_lock(&users->lock);
    status = users->status;
    pthread_mutex_unlock(&users->lock);
    return status;
}
