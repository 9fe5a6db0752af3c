/*
 * Wiring: which rooms there are and in which order they start and stop. The only room that
 * knows everyone, and, with cli, the only one that prints, exits and reads the environment.
 */
#ifndef APP_APP_H
#define APP_APP_H

#include "api/api.h"
#include "base/err.h"
#include "config/config.h"

/* Runs the engine in the foreground until SIGTERM or SIGINT. 0 after an orderly stop. */
MUST_CHECK int app_serve(const struct config *config, struct err *err);

/* app_listen.c: LISTEN names this machine alone, as it must where the engine is its own token
 * issuer; it is a list of addresses, certificate and key are given both or not at all, and fit;
 * and, for the log, where tokens travel in the clear (of the addresses in force). ERR_INVALID in
 * one line. */
MUST_CHECK int app_listen_check_local(const struct config *config, struct err *err);
MUST_CHECK int app_listen_check_tls(const struct config *config, struct err *err);
void app_listen_warn(const char *addresses);

/* Lifts the limit of open files as far as it goes. Gives how many connections leave enough of
 * them for the engine's own files and `loops` HTTP loops: at most `connections`. */
unsigned app_descriptors(unsigned connections, unsigned loops);

/* Where the keys that tokens are checked by come from, and who is asked for sessions. ERR_INVALID
 * in words that begin with the option's name. */
MUST_CHECK int app_identity_check(const struct config *config, struct err *err);
/* Puts the development issuer's key in force, or starts to fetch the identity provider's: then
 * *ret is to be stopped after the last check, else it stays as it is. */
MUST_CHECK int app_identity_open(const struct config *config, struct auth *auth,
                                 struct auth_jwks **ret, struct err *err);

/*
 * The data directory and its lock: either one engine has it, or any number of commands look
 * at it. The lock file holds the addresses of the engine that has it.
 */
struct app_dir {
    int lock;            /* descriptor of <data_dir>/lock; closing it unlocks */
    char addresses[512]; /* of the running engine when it is taken */
};

/* Makes the directory if it is not there. */
MUST_CHECK int app_dir_make(const char *data_dir, struct err *err);

/* ERR_NOT_FOUND, in words that say what to do. */
int app_dir_none(const char *data_dir, struct err *err);

/* Commands look, and may prepare a directory for the first engine that will have it. */
enum app_dir_use { APP_DIR_LOOK, APP_DIR_PREPARE, APP_DIR_ENGINE };

/* ERR_BUSY if an engine has it (then ret->addresses is filled); for an engine also if commands
 * look at it for longer than a moment. ERR_NOT_FOUND, for who only looks, if no engine ever had
 * it; the others make it. */
MUST_CHECK int app_dir_open(const char *data_dir, enum app_dir_use use, struct app_dir *ret,
                            struct err *err);
MUST_CHECK int app_dir_announce(struct app_dir *dir, const char *addresses, struct err *err);
void app_dir_close(struct app_dir *dir);

/* Queue and ledger of a data directory that no engine runs on, to look at and to mark failed
 * transactions. */
struct app_offline {
    struct app_dir dir;
    struct txn_products *products;
    struct users *users;
    struct ledger *ledger;
    struct queue *queue;
    struct api_view view;
    struct wal_recovery recovery; /* what reading the log found */
};
MUST_CHECK int app_offline_open(const struct config *config, struct app_offline *ret,
                                struct err *err);
void app_offline_close(struct app_offline *offline);

/* The API keys of a data directory that no engine runs on; ERR_BUSY as above, with dir.addresses.
 * One process at a time has them. `make`: the directory too, if it is not there. */
struct app_keys {
    struct app_dir dir;
    int folder; /* its descriptor, with a lock on it */
    struct txn_products *products;
    struct auth_keyring *ring;
};
MUST_CHECK int app_keys_open(const struct config *config, bool make, struct app_keys *ret,
                             struct err *err);
void app_keys_close(struct app_keys *keys);
/* Judges a request for a key as auth_keyring_create() does, by the options alone. */
MUST_CHECK int app_keys_check(const struct config *config, struct slice request, struct err *err);

#endif
