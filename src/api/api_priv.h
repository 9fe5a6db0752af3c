/*
 * What the endpoints share: one context a loop, one kind of waiting request, the readers.
 */
#ifndef API_PRIV_H
#define API_PRIV_H

#include "api/api.h"

#include "ingest/ingest.h"

#include <pthread.h>
#include <stdatomic.h>

enum { MAX_LOOPS = 64, RETRY_AFTER_S = 2 };

/* Counted on the loops, read by /metrics. */
struct api_counters {
    atomic_uint_fast64_t accepted, rejected, datapoints, refused, body_bytes;
    atomic_uint_fast64_t limited_requests, limited_datapoints;
};

struct waiter;

/* One HTTP loop's own. */
struct loop {
    struct api *api;
    struct http_loop *http;
    struct wal_producer *producer;
    struct ingest *ingest;
    struct auth_cache *tokens;
    struct waiter *free; /* waiters to use again */
    struct buf out;      /* the answer that is being written */
    unsigned jobs;       /* given to the readers and not yet answered */
    struct api_counters counters;
};

/* A request of POST that waits for its records to be durable. */
struct waiter {
    struct wal_ticket ticket;
    struct waiter *next;
    struct loop *loop;
    struct http_request *request;
    uint32_t transactions; /* accepted and rejected */
    struct buf rejected;   /* of many: u32 index, u32 length, JSON of the error; repeated */
    uint32_t rejections;
};

/* api_wait.c */
struct waiter *waiter_take(struct loop *loop, struct http_request *request);
void waiter_give_back(struct waiter *waiter);

/* api_check.c: who asks, and may they do what takes `scope`, from where they ask? False when the
 * request has been answered with a refusal. The claims hold until the loop's next check. */
bool check_caller(struct loop *loop, struct http_request *request, enum auth_scope scope,
                  const struct auth_claims **ret_claims);
/* The same before a large body is taken in, but for the rates: they are the handler's to ask. */
http_admission admit_writer;
http_admission admit_admin;
http_admission admit_no_body; /* the path takes none */
/* api_rate.c: within its rates? False when the request has been answered with 429. */
bool check_rate(struct loop *loop, struct http_request *request, const struct auth_claims *claims,
                enum auth_scope scope);
/* What was taken in of a request is counted against the caller's rate. */
void charge(const struct auth_claims *claims, uint64_t datapoints);
/* api_audit.c: the log's lines on who was refused and who changed what. A login is refused
 * when the answer is 401 or 403; `who` may be NULL. */
void audit_refused(struct api *api, const struct http_request *request, const char *who,
                   const char *why);
/* Says how many refused logins were not written since it was last said, once a second. */
void audit_sum_up(struct api *api, bool now);
/* `who` did, or tried (code != 0), `action` to `target`. Any thread. */
void audit_change(const char *action, const char *who, const char *target, const char *from,
                  int code, const struct err *err);
/* "PCR: may not be written by urn:pennlabs:clubs" as a fault of the field `product`. */
void product_fault(struct loop *loop, const struct auth_claims *claims, uint32_t product,
                   struct ingest_fault *ret);
/* api_idempotency.c: the header Idempotency-Key, at == NULL if there is none. False when the
 * request has been answered, because it is none. */
bool idempotency_read(struct http_request *request, struct slice *ret);
/* It is the transaction's id; ERR_INVALID if that has another. */
MUST_CHECK int idempotency_apply(struct slice key, struct txn *txn, struct err *err);
/* Media type without parameters, compared without case. */
bool media_is(struct slice header, const char *media_type);
/* The session of a transaction that names no user, if sessions are of use: *ret stays untouched if
 * there is none. ERR_INVALID for a header that cannot be one. */
MUST_CHECK int read_session(struct loop *loop, struct http_request *request, struct slice *ret,
                            struct err *err);
/* 503 with Retry-After, for errors of the queue. */
void respond_refused(struct loop *loop, struct http_request *request, const struct err *err);

/* api_read.c, the readers: `run` fills `out` on a reader's thread, and returns the HTTP
 * status; the answer goes out on the loop. */
struct job {
    struct mail mail;
    struct job *next;
    struct loop *loop;
    struct http_request *request;
    int (*run)(struct job *job, const struct api_view *view);
    char who[AUTH_MAX_SUBJECT]; /* wants to change something, and from where */
    char from[48];
    char id[64]; /* what the path names; "" if nothing */
    size_t id_len;
    unsigned limit;
    enum api_list which;
    bool has_after;
    struct buf body; /* of the request, where it is read on the reader's thread */
    struct buf out;
    const char *content_type; /* of a good answer; NULL: JSON */
    int status;
};

struct readers;
MUST_CHECK int readers_open(const struct api_options *options, unsigned count, const char *name,
                            struct readers **ret, struct err *err);
void readers_close(struct readers *readers); /* after all loops have stopped */
/* Makes what waits for a store fail soon; for the end. Any thread. */
void readers_interrupt(struct readers *readers);
/* Takes the job (made by job_new()); answers 503 if too many wait. */
void readers_ask(struct readers *readers, struct job *job);
/* The HTTP status of a code; of an error, the words are left in the job's answer. */
int job_status(struct job *job, int code, const struct err *err);
struct job *job_new(struct loop *loop, struct http_request *request,
                    int (*run)(struct job *job, const struct api_view *view));

struct api {
    struct api_options options;
    struct readers *readers; /* for what may ask the store */
    struct readers *local;   /* as many, for what does not: no store that stalls holds it up */
    struct readers *keepers; /* one, for API keys: whoever floods the others can be shut out */
    struct http_server *server;
    _Atomic(struct loop *) loops[MAX_LOOPS];
    struct rate_bucket audit_lines;
    atomic_uint_fast64_t audit_unsaid; /* refused logins */
    _Atomic int64_t audit_summed_us;   /* when they were last said */
};

/* api_cors.c: lets a browser's page read the answer to this request, whatever it will be, if the
 * page's origin may call. */
void let_origin_read(struct loop *loop, struct http_request *request);

/* Handlers. */
void handle_preflight(struct http_request *request, void *arg);
void handle_key_create(struct http_request *request, void *arg);
void handle_key_list(struct http_request *request, void *arg);
void handle_key_revoke(struct http_request *request, void *arg);
void handle_analytics(struct http_request *request, void *arg);
void handle_transactions(struct http_request *request, void *arg);
void handle_transaction_get(struct http_request *request, void *arg);
void handle_transaction_list(struct http_request *request, void *arg);
void handle_transaction_retry(struct http_request *request, void *arg);
void handle_transaction_discard(struct http_request *request, void *arg);
void handle_deliveries(struct http_request *request, void *arg);
void handle_forward(struct http_request *request, void *arg);
void handle_user_forget(struct http_request *request, void *arg);
void handle_status(struct http_request *request, void *arg);
void handle_live(struct http_request *request, void *arg);
void handle_ready(struct http_request *request, void *arg);
void handle_metrics(struct http_request *request, void *arg);

static inline struct loop *loop_of(struct http_request *request)
{
    return http_loop_arg(http_request_loop(request));
}

#endif
