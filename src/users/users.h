/*
 * Who the user of a transaction is, for the store: whose session it was, and under which name
 * the store knows them.
 *
 * Sessions. A transaction without a pennkey may carry a session, a token that its client had of
 * the identity provider. The provider says whose it is (OAuth 2.0 token introspection, RFC 7662);
 * its answers are remembered, good ones for as long as the token lives and for an hour at most,
 * refusals for five minutes. Sessions themselves are not kept, only a keyed hash of each. Asking
 * takes a network: whoever calls users_ask() waits, so no HTTP loop does.
 *
 * Pseudonyms. With PSEUDONYMIZE a user is stored under a keyed hash of the pennkey, the same one
 * for as long as <data_dir>/pseudonym.key is kept. Whoever has the key can find a user's events
 * by the pennkey; nobody finds the pennkey by the events.
 *
 * Every function may be called by any thread.
 */
#ifndef USERS_USERS_H
#define USERS_USERS_H

#include "base/err.h"
#include "base/slice.h"
#include "txn/txn.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A user's name, and a pseudonym ("p_" and 32 hexadecimal digits in lower case), with a NUL. */
#define USERS_NAME_SIZE (TXN_MAX_PENNKEY + 1)
#define USERS_PSEUDONYM_SIZE 35

/* The most sessions that users_ask() takes at a time. */
#define USERS_AT_ONCE 256

struct users;

struct users_options {
    const char *data_dir;
    bool pseudonymize;
    const char *url;       /* of the introspection endpoint, one that fetch_check_url() lets pass;
                            * "" or NULL: sessions are of no use */
    const char *client_id; /* with the secret for Basic authentication; "": none */
    const char *client_secret;
    const char *ca_file;      /* as in struct fetch_request */
    const char *user_members; /* where an answer names the user: "username,user.username", the
                               * first one that is there counts; users_check_members() lets it
                               * pass */
    int64_t timeout_ms;       /* of one question */
    int64_t patience_ms;      /* a transaction waits so long for an answer, from its arrival on */
    int64_t retry_min_ms;     /* pause after a failure; it doubles ... */
    int64_t retry_max_ms;     /* ... up to this, each less up to a half at random */
    size_t cache;             /* sessions remembered, at least 4 * USERS_AT_ONCE */
    unsigned connections;     /* questions at the same time */
};

/* ERR_INVALID if this is no list of members as `user_members` has it. */
MUST_CHECK int users_check_members(const char *members, struct err *err);

/* Makes the key of the pseudonyms if there is none yet and it is needed. ERR_INVALID for options
 * that are wrong, in words that begin with the option's name, and for a key file that is none or
 * that others than its owner may use. */
MUST_CHECK int users_open(const struct users_options *options, struct users **ret, struct err *err);
void users_close(struct users *users);

/* Are sessions of use? */
bool users_take_sessions(const struct users *users);

enum users_answer {
    USERS_NO_SESSION,
    USERS_RESOLVED, /* the user's name is known */
    USERS_REFUSED,  /* the provider knows no user of the session, or not any more */
    USERS_GIVEN_UP, /* nobody could say in time */
    USERS_OPEN,     /* yet to be asked for, with users_ask() */
    USERS_ANSWERS,
};

/* What is known of a session without asking, for a transaction that arrived at received_us. The
 * name is written for USERS_RESOLVED only. */
enum users_answer users_find(struct users *users, struct slice session, int64_t received_us,
                             char ret_name[USERS_NAME_SIZE]);

/* How long to wait before users_ask() is of use again; 0: not at all. */
int64_t users_pause_ms(struct users *users);

/* Asks for the users of at most USERS_AT_ONCE different sessions, and returns when all are
 * answered or it has turned out that the provider cannot answer now. users_find() knows. */
void users_ask(struct users *users, const struct slice *sessions, size_t count);

/* Ends all questions soon, and later ones at once. For the end. */
void users_interrupt(struct users *users);

struct users_status {
    bool asks;            /* there is somebody to ask */
    bool down;            /* who does not answer */
    char last_error[512]; /* "" if there was none yet */
    uint64_t requests, failures, cache_hits;
};
struct users_status users_status(struct users *users);

/* The pseudonym under which the store has this user, itself if it is one; false, and nothing in
 * `out`, if users are stored by their pennkeys. */
bool users_pseudonym(const struct users *users, struct slice pennkey,
                     char out[USERS_PSEUDONYM_SIZE]);

#endif
