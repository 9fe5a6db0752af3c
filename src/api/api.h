/*
 * The HTTP API: binds routes to rooms. What users see of it is in docs/http-api.md.
 *
 * Writing requests are answered on their loop once their records are durable; reading ones
 * are worked out by a small pool of readers, because they may wait for a disk or a database.
 */
#ifndef API_API_H
#define API_API_H

#include "auth/auth.h"
#include "base/buf.h"
#include "base/err.h"
#include "forward/forward.h"
#include "http/http.h"
#include "ledger/ledger.h"
#include "queue/queue.h"
#include "store/store.h"
#include "txn/txn.h"
#include "upkeep/upkeep.h"
#include "users/users.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * What is known of transactions, for the endpoints and for offline commands alike. All are
 * borrowed. One view belongs to one thread.
 */
struct api_view {
    struct queue *queue;
    struct ledger *ledger;
    const struct txn_products *products;
    struct users *users;
    struct auth *auth;       /* NULL: offline */
    struct forward *forward; /* NULL: offline */
    struct upkeep *upkeep;   /* NULL: offline */
    struct store *store;     /* for what the log no longer holds; NULL: not asked */
    const char *store_kind;
    int64_t started_us;  /* when the engine started, by clock_mono_us(); 0: offline */
    uint64_t forget_max; /* orders to forget a user, recorded at a time */
    unsigned step_rows;  /* of the store, looked at at a time */
};

/* Each appends one JSON text. */
MUST_CHECK int api_write_status(const struct api_view *view, struct buf *out, struct err *err);

/* ERR_NOT_FOUND if the id was never given here; ERR_UNAVAILABLE if only the store knows and
 * does not answer. */
MUST_CHECK int api_write_transaction(const struct api_view *view, struct slice id, struct buf *out,
                                     struct err *err);

/* Successful ones are listed as far as the log still holds them; the store has them all. All are
 * listed in the order they came. */
enum api_list { API_ALL, API_FAILED, API_UNCOMPLETED, API_SUCCESSFUL };
/* The list of that status; false if there is none. */
bool api_list_by_name(const char *name, enum api_list *ret);
/* `after`: an id, or at == NULL. ERR_INVALID if it is no id of this node. */
MUST_CHECK int api_write_transactions(const struct api_view *view, enum api_list which,
                                      struct slice after, unsigned limit, struct buf *out,
                                      struct err *err);
/* Failed ones behind `after`, a line of JSON each that POST /v1/transactions takes as it stands; no
 * more than `limit`, and fewer when they are large. Left out are those to be erased with their
 * user, and those whose record cannot be read. Nothing at all: there are no more. */
MUST_CHECK int api_export_failed(const struct api_view *view, struct slice after, unsigned limit,
                                 struct buf *out, struct err *err);
MUST_CHECK int api_write_deliveries(const struct api_view *view, unsigned limit, struct buf *out,
                                    struct err *err);

/* Failed transactions: another try, or away with it. ERR_NOT_FOUND if the id was never given
 * here, ERR_CONFLICT if it is not failed. Each appends what became of it. */
MUST_CHECK int api_retry(const struct api_view *view, struct slice id, struct buf *out,
                         struct err *err);
MUST_CHECK int api_discard(const struct api_view *view, struct slice id, struct buf *out,
                           struct err *err);

/* Forgets a user in all that has been accepted up to now: upkeep_forget(). Needs the view's store.
 * Appends how much was found where. */
MUST_CHECK int api_forget(const struct api_view *view, struct slice pennkey, bool erase,
                          struct buf *out, struct err *err);

struct api;

struct api_options {
    struct api_view view; /* its store is left NULL: each reader opens its own */
    struct auth *auth;
    struct auth_keyring *keyring;
    const struct auth_origins *origins; /* whose pages may call; see api_cors.c */
    const char *store_url;
    int64_t store_timeout_ms;
    size_t max_body;
    size_t commit_max_bytes;
    size_t token_cache;
    unsigned audit_lines; /* of refused logins a second; more are summed up */
    unsigned readers;
    unsigned loops;
};

MUST_CHECK int api_open(const struct api_options *options, struct api **ret, struct err *err);

/* Fills in routes, arg and the loop callbacks. */
void api_bind(struct api *api, struct http_options *http);

/* After http_open(), for /metrics. */
void api_set_server(struct api *api, struct http_server *server);

/* After http_stop(). */
void api_close(struct api *api);

#endif
