/*
 * POST /v1/transactions: one, an array or NDJSON; each accepted or rejected on its own.
 *
 * All that is accepted of one body stands together in one batch and is durable together. A
 * body that is wrong as a whole leaves nothing behind (wal_forget()).
 */
#include "api/api_priv.h"

#include "base/clock.h"
#include "json/json.h"

#include <stddef.h>
#include <stdio.h>

struct taking {
    struct loop *loop;
    const struct auth_claims *claims;
    struct slice key; /* Idempotency-Key; at == NULL: none */
    struct waiter *waiter;
    struct http_request *request;
    uint32_t accepted;
    uint32_t forbidden; /* refused for who asks, not for what they say */
    uint64_t datapoints;
    struct ingest_fault first_fault;
};

/* {"loc": ["body", 3, "data", 0, "key"], "msg": ..., "type": ...}; index < 0: no index. */
static void write_fault(struct buf *out, int64_t index, const struct ingest_fault *fault)
{
    buf_append_text(out, "{\"loc\":[\"body\"");
    if (index >= 0)
        buf_printf(out, ",%lld", (long long)index);
    if (fault->loc[0] != '\0')
        buf_printf(out, ",%s", fault->loc);
    buf_append_text(out, "],\"msg\":");
    json_write_string(out, slice_of(fault->message));
    buf_append_text(out, ",\"type\":");
    json_write_string(out, slice_of(fault->type));
    buf_append_char(out, '}');
}

static int refuse_one(void *arg, const struct ingest_fault *fault, struct err *err)
{
    struct taking *taking = arg;
    struct waiter *waiter = taking->waiter;
    struct buf *rejected = &waiter->rejected;
    size_t at = rejected->len;
    uint32_t head[2] = {waiter->transactions, 0};

    (void)err;
    if (waiter->rejections == 0)
        taking->first_fault = *fault;
    buf_append(rejected, head, sizeof head);
    write_fault(rejected, waiter->transactions, fault);
    head[1] = (uint32_t)(rejected->len - at - sizeof head);
    memcpy(rejected->data + at, head, sizeof head);
    waiter->transactions++;
    waiter->rejections++;
    return 0;
}

static int accept_one(void *arg, const struct txn *txn, struct err *err)
{
    struct taking *taking = arg;
    struct txn known = *txn;
    int code = idempotency_apply(taking->key, &known, err);

    if (code != 0)
        return code;
    if (!auth_may_write(taking->claims, txn->product)) {
        struct ingest_fault fault;

        product_fault(taking->loop, taking->claims, txn->product, &fault);
        if (taking->forbidden++ == 0)
            audit_refused(taking->loop->api, taking->waiter->request, taking->claims->subject,
                          fault.message);
        return refuse_one(taking, &fault, err);
    }
    if (txn->pennkey.at == NULL &&
        (code = read_session(taking->loop, taking->request, &known.session, err)) != 0)
        return code;
    code = queue_put(taking->loop->producer, &known, err);
    if (code != 0)
        return code == ERR_TOO_LARGE ? ERR_FULL : code;
    taking->waiter->transactions++;
    taking->accepted++;
    taking->datapoints += txn->count;
    return 0;
}

/* The answer to many, with the ids of `ticket` (NULL: none was accepted) in request order. */
static void respond_results(struct waiter *waiter, const struct wal_ticket *ticket)
{
    struct loop *loop = waiter->loop;
    struct buf *out = &loop->out;
    const char *rejection = waiter->rejected.data;
    const char *end = rejection + waiter->rejected.len;
    uint32_t iterator = 0;

    out->len = 0;
    buf_printf(out, "{\"accepted\":%u,\"rejected\":%u,\"results\":[",
               waiter->transactions - waiter->rejections, waiter->rejections);
    for (uint32_t i = 0; i < waiter->transactions; i++) {
        uint32_t head[2] = {UINT32_MAX, 0};
        char id[TXN_ID_SIZE];

        if (i > 0)
            buf_append_char(out, ',');
        if (rejection != end)
            memcpy(head, rejection, sizeof head);
        if (head[0] == i) {
            buf_append_text(out, "{\"error\":");
            buf_append(out, rejection + sizeof head, head[1]);
            rejection += sizeof head + head[1];
        } else {
            queue_ticket_id(loop->api->options.view.queue, ticket, &iterator, id);
            buf_append_text(out, "{\"id\":\"");
            buf_append(out, id, TXN_ID_SIZE - 1);
            buf_append_char(out, '"');
        }
        buf_append_char(out, '}');
    }
    buf_append_text(out, "]}");
    http_respond(waiter->request, 202, NULL, buf_slice(out));
    buf_reset(out, 1 << 20);
}

static void stored(struct wal_ticket *ticket, int status, const struct err *err)
{
    struct waiter *waiter = (struct waiter *)((char *)ticket - offsetof(struct waiter, ticket));

    if (status != 0)
        respond_refused(waiter->loop, waiter->request, err);
    else
        respond_results(waiter, ticket);
    waiter_give_back(waiter);
}

static bool read_headers(struct http_request *request, enum ingest_encoding *ret_encoding,
                         enum ingest_shape *ret_shape)
{
    struct slice type = http_request_header(request, "content-type");
    struct slice encoding = http_request_header(request, "content-encoding");

    *ret_shape = INGEST_OBJECT_OR_ARRAY;
    if (media_is(type, "application/x-ndjson") || media_is(type, "application/ndjson")) {
        *ret_shape = INGEST_NDJSON;
    } else if (type.len > 0 && !media_is(type, "application/json") &&
               !media_is(type, "text/plain")) { /* what beacons send */
        http_respond_error(request, 415, NULL,
                           "content-type: must be application/json, application/x-ndjson or "
                           "text/plain");
        return false;
    }
    *ret_encoding = INGEST_IDENTITY;
    if (media_is(encoding, "gzip") || media_is(encoding, "x-gzip")) { /* RFC 9110, 8.4.1.3 */
        *ret_encoding = INGEST_GZIP;
    } else if (media_is(encoding, "zstd")) {
        *ret_encoding = INGEST_ZSTD;
    } else if (encoding.len > 0 && !media_is(encoding, "identity")) {
        http_respond_error(request, 415, NULL, "content-encoding: must be gzip, zstd or identity");
        return false;
    }
    return true;
}

static void respond_single_fault(struct loop *loop, struct http_request *request, int status,
                                 const struct ingest_fault *fault)
{
    loop->out.len = 0;
    buf_append_text(&loop->out, "{\"detail\":[");
    write_fault(&loop->out, -1, fault);
    buf_append_text(&loop->out, "]}");
    http_respond(request, status, NULL, buf_slice(&loop->out));
}

/* The body as a whole is refused: nothing of it stays. */
static void respond_whole(struct taking *taking, struct http_request *request, int code,
                          const struct err *err)
{
    wal_forget(taking->loop->producer);
    switch (code) {
    case ERR_INVALID:
    case ERR_CORRUPT:
        http_respond_error(request, 400, NULL, "%s", err->text);
        break;
    case ERR_TOO_LARGE:
        http_respond_error(request, 413, NULL, "%s", err->text);
        break;
    default:
        respond_refused(taking->loop, request, err);
        break;
    }
}

/* Until the disk has what was accepted: nothing of the request stays but what its answer will say
 * of the rejected, and there is a bound for that. */
static int keep_only_rejections(struct taking *taking, struct err *err)
{
    http_request_release(taking->request);
    if (http_request_keep(taking->request, taking->waiter->rejected.len))
        return 0;
    return err_set(err, ERR_FULL, "the memory for bodies of requests is full");
}

void handle_transactions(struct http_request *request, void *arg)
{
    struct loop *loop = loop_of(request);
    struct taking taking = {.loop = loop, .request = request};
    const struct ingest_sink sink = {&taking, accept_one, refuse_one};
    enum ingest_encoding encoding;
    enum ingest_shape shape;
    bool single = false;
    struct err err;
    int code;

    (void)arg;
    if (!check_caller(loop, request, AUTH_WRITE, &taking.claims) ||
        !read_headers(request, &encoding, &shape) || !idempotency_read(request, &taking.key))
        return;
    taking.waiter = waiter_take(loop, request);
    code = ingest_many(loop->ingest, http_request_body(request), encoding, shape, clock_wall_us(),
                       &sink, &single, &err);
    if (code == 0 && taking.key.at != NULL && !single)
        code = err_set(&err, ERR_INVALID,
                       "idempotency-key: is for one transaction, not for a list of them: give "
                       "each its own id");
    if (code == 0 && taking.accepted > 0)
        code = keep_only_rejections(&taking, &err);
    if (code != 0) {
        respond_whole(&taking, request, code, &err);
        waiter_give_back(taking.waiter);
        return;
    }
    charge(taking.claims, taking.datapoints + taking.waiter->rejections);
    atomic_fetch_add_explicit(&loop->counters.accepted, taking.accepted, memory_order_relaxed);
    atomic_fetch_add_explicit(&loop->counters.rejected, taking.waiter->rejections,
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&loop->counters.datapoints, taking.datapoints, memory_order_relaxed);
    if (taking.accepted > 0) {
        taking.waiter->ticket.done = stored;
        wal_await(loop->producer, &taking.waiter->ticket);
        return;
    }
    if (single)
        respond_single_fault(loop, request, taking.forbidden > 0 ? 403 : 422, &taking.first_fault);
    else
        respond_results(taking.waiter, NULL);
    waiter_give_back(taking.waiter);
}
