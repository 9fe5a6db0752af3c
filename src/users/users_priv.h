/*
 * What the parts of the room share.
 */
#ifndef USERS_PRIV_H
#define USERS_PRIV_H

#include "users/users.h"

#include "base/buf.h"
#include "json/json.h"

#include <pthread.h>
#include <stdatomic.h>

enum { USERS_KEY_SIZE = 32, USERS_DIGEST_SIZE = 32, USERS_SALT_SIZE = 16 };

/* users_key.c: the key in <data_dir>/pseudonym.key, made if there is none. */
MUST_CHECK int users_key(const char *data_dir, unsigned char ret[USERS_KEY_SIZE], struct err *err);

/*
 * users_cache.c: what is known of sessions, by their digests; the one that was looked at longest
 * ago makes room for a new one.
 */
struct users_cache;

enum users_state { STATE_UNKNOWN, STATE_RESOLVED, STATE_REFUSED };

struct users_entry {
    enum users_state state;
    char name[USERS_NAME_SIZE]; /* of STATE_RESOLVED */
    int64_t expires_us;         /* what is known of it */
    /* While it is unknown: */
    unsigned failures;       /* questions that failed, ... */
    unsigned faults;         /* ... and those for which the session is to blame */
    int64_t first_failed_us; /* 0: not yet */
};

struct users_cache *users_cache_open(size_t capacity);
void users_cache_close(struct users_cache *cache);

/* NULL if nothing is known at this time. The entry stays until the next call. */
struct users_entry *users_cache_find(struct users_cache *cache,
                                     const unsigned char digest[USERS_DIGEST_SIZE], int64_t now_us);

/* The same, but makes an empty one. */
struct users_entry *users_cache_make(struct users_cache *cache,
                                     const unsigned char digest[USERS_DIGEST_SIZE], int64_t now_us);

/* users_answer.c: what an introspection endpoint answered. */
struct users_reply {
    bool active;                /* and with a user whose name can be stored */
    char name[USERS_NAME_SIZE]; /* if active */
    int64_t expires_us;         /* INT64_MAX: not said */
};

/* Reads a body (with JSON_PADDING behind it); ERR_INVALID for what is no answer of RFC 7662. */
MUST_CHECK int users_read_answer(struct json_parser *parser, struct slice body, const char *members,
                                 struct users_reply *ret, struct err *err);

/* users.c: appends text as a form has it. */
void users_encode(struct buf *out, struct slice text);

/* users_http.c: one question to the provider. `ret_blame`, of failures: it may be the session's
 * own fault. */
struct users_asker;
struct users_asker *users_asker_open(const struct users *users);
void users_asker_close(struct users_asker *asker);
MUST_CHECK int users_asker_ask(struct users_asker *asker, struct slice session,
                               struct users_reply *ret, bool *ret_blame, struct err *err);

/* A session that is asked for, and its caller's other ones (users_ask.c). */
struct users_question {
    struct slice session;
    unsigned char digest[USERS_DIGEST_SIZE];
    unsigned failures; /* so far; those with fewer are asked first */
};

struct users_round {
    struct users_question *questions;
    size_t count, taken, done;
    struct users_round *next;
};

struct users {
    bool pseudonymize;
    unsigned char key[USERS_KEY_SIZE];   /* of the pseudonyms */
    unsigned char salt[USERS_SALT_SIZE]; /* of the digests */

    /* Sessions; the strings are this room's own. */
    char *url, *login, *secret, *members, *ca_file;
    int64_t timeout_ms, patience_us, retry_min_ms, retry_max_ms;
    unsigned connections;
    pthread_t *threads;
    unsigned started;
    atomic_bool stop;

    pthread_mutex_t lock; /* of all that follows; not held over I/O */
    pthread_cond_t work, finished;
    struct users_round *rounds; /* first come, first served */
    size_t out;                 /* questions under way */
    struct users_cache *cache;
    unsigned failures; /* in a row */
    int64_t down_since_us;
    int64_t last_answer_us;
    int64_t ask_at_ms; /* monotonic */
    struct users_status status;
};

/* users_find.c */
void users_digest(const struct users *users, struct slice session,
                  unsigned char ret[USERS_DIGEST_SIZE]);
/* What became of one question; the lock is held. */
void users_note_reply(struct users *users, const unsigned char digest[USERS_DIGEST_SIZE],
                      const struct users_reply *reply);
void users_note_failure(struct users *users, const unsigned char digest[USERS_DIGEST_SIZE],
                        bool blame, const struct err *err);

/* users_ask.c: starts and ends the threads that ask. */
MUST_CHECK int users_start(struct users *users, struct err *err);
void users_stop(struct users *users);

#endif
