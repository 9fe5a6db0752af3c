/*
 * POST /analytics: one transaction in, one answer once it is on disk.
 *
 * Happy path: token, one parse, one record in the loop's open batch; the answer leaves when
 * the committer sends the batch home. Existing clients take exactly 200 for success.
 */
#include "api/api_priv.h"

#include "base/clock.h"
#include "json/json.h"

#include <stddef.h>

static struct waiter *waiter_of(struct wal_ticket *ticket)
{
    return (struct waiter *)((char *)ticket - offsetof(struct waiter, ticket));
}

static void stored(struct wal_ticket *ticket, int status, const struct err *err)
{
    static const struct slice head =
        SLICE("{\"message\": \"Data stored successfully!\", \"id\": \"");
    struct waiter *waiter = waiter_of(ticket);
    struct loop *loop = waiter->loop;
    struct buf *out = &loop->out;
    char id[TXN_ID_SIZE];
    uint32_t at = 0;

    if (status != 0) {
        respond_refused(loop, waiter->request, err);
    } else {
        queue_ticket_id(loop->api->options.view.queue, ticket, &at, id);
        out->len = 0;
        buf_append_slice(out, head);
        buf_append(out, id, TXN_ID_SIZE - 1);
        buf_append_slice(out, SLICE("\"}"));
        http_respond(waiter->request, 200, NULL, buf_slice(out));
    }
    waiter_give_back(waiter);
}

static bool acceptable(struct http_request *request)
{
    struct slice type = http_request_header(request, "content-type");
    struct slice encoding = http_request_header(request, "content-encoding");

    if (type.len > 0 && !media_is(type, "application/json")) {
        http_respond_error(request, 415, NULL, "content-type: must be application/json");
        return false;
    }
    if (encoding.len > 0 && !media_is(encoding, "identity")) {
        http_respond_error(request, 415, NULL,
                           "content-encoding: must be identity here; /v1/transactions "
                           "understands gzip and zstd");
        return false;
    }
    return true;
}

static void respond_fault(struct loop *loop, struct http_request *request,
                          const struct auth_claims *claims, int status,
                          const struct ingest_fault *fault)
{
    charge(claims, 1);
    atomic_fetch_add_explicit(&loop->counters.rejected, 1, memory_order_relaxed);
    if (fault->field[0] == '\0')
        http_respond_error(request, status, NULL, "%s", fault->message);
    else
        http_respond_error(request, status, NULL, "%s: %s", fault->field, fault->message);
}

void handle_analytics(struct http_request *request, void *arg)
{
    struct loop *loop = loop_of(request);
    const struct auth_claims *claims;
    struct ingest_fault fault;
    struct waiter *waiter;
    struct slice key;
    struct err err;
    struct txn txn;

    (void)arg;
    if (!check_caller(loop, request, AUTH_WRITE, &claims) || !acceptable(request) ||
        !idempotency_read(request, &key))
        return;
    if (ingest_one(loop->ingest, http_request_body(request), clock_wall_us(), &txn, &fault) != 0) {
        respond_fault(loop, request, claims, 400, &fault);
        return;
    }
    if (idempotency_apply(key, &txn, &err) != 0) {
        http_respond_error(request, 400, NULL, "%s", err.text);
        return;
    }
    if (!auth_may_write(claims, txn.product)) {
        product_fault(loop, claims, txn.product, &fault);
        audit_refused(loop->api, request, claims->subject, fault.message);
        respond_fault(loop, request, claims, 403, &fault);
        return;
    }
    if (txn.pennkey.at == NULL && read_session(loop, request, &txn.session, &err) != 0) {
        atomic_fetch_add_explicit(&loop->counters.rejected, 1, memory_order_relaxed);
        http_respond_error(request, 400, NULL, "%s", err.text);
        return;
    }
    if (queue_put(loop->producer, &txn, &err) != 0) {
        respond_refused(loop, request, &err);
        return;
    }
    charge(claims, txn.count);
    atomic_fetch_add_explicit(&loop->counters.accepted, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&loop->counters.datapoints, txn.count, memory_order_relaxed);
    waiter = waiter_take(loop, request);
    waiter->ticket.done = stored;
    wal_await(loop->producer, &waiter->ticket);
    http_request_release(request);
}
