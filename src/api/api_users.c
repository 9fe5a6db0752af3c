/*
 * POST /v1/users/forget: for administrators, on a reader's thread, since it waits for the disk and
 * the store. The pennkey is in the body, so that no log of requests has it, and the audit
 * says who had somebody forgotten, not whom.
 */
#include "api/api_priv.h"

#include "json/json.h"

#include <inttypes.h>
#include <stdio.h>

enum { PATIENCE_MS = 20000 }; /* for the store; commands wait a minute for an answer */

struct order {
    struct slice pennkey;
    bool erase;
};

static int read_member(const struct json_node *name, struct order *order, struct err *err)
{
    const struct json_node *value = name + 1;

    if (slice_is(json_text(name), "pennkey")) {
        if (value->type != JSON_STRING || value->has_nul || value->len < 1 ||
            value->len > TXN_MAX_PENNKEY)
            return err_set(err, ERR_INVALID, "pennkey: must be a string of 1 to %d bytes",
                           TXN_MAX_PENNKEY);
        order->pennkey = json_text(value);
    } else if (slice_is(json_text(name), "delete")) {
        if (value->type != JSON_TRUE && value->type != JSON_FALSE)
            return err_set(err, ERR_INVALID, "delete: must be true or false");
        order->erase = value->type == JSON_TRUE;
    } else { /* a misspelt "delete" would do something else than was meant */
        return err_set(err, ERR_INVALID, "the body may have pennkey and delete, nothing else");
    }
    return 0;
}

static int read_order(const struct json_node *tape, struct order *ret, struct err *err)
{
    struct order order = {0};
    uint32_t at = 1;

    if (tape[0].type != JSON_OBJECT)
        return err_set(err, ERR_INVALID, "body: must be an object");
    for (uint32_t i = 0; i < tape[0].count; i++) {
        int code = read_member(&tape[at], &order, err);

        if (code != 0)
            return code;
        at = tape[at + 1].next;
    }
    if (order.pennkey.at == NULL)
        return err_set(err, ERR_INVALID, "pennkey: is missing");
    *ret = order;
    return 0;
}

int api_forget(const struct api_view *view, struct slice pennkey, bool erase, struct buf *out,
               struct err *err)
{
    struct upkeep_forgotten forgotten;
    struct upkeep_rooms rooms = {
        .queue = view->queue,
        .ledger = view->ledger,
        .users = view->users,
        .forward = view->forward,
        .upkeep = view->upkeep,
        .store = view->store,
    };
    struct upkeep_request request = {
        .user = pennkey,
        .erase = erase,
        .most = view->forget_max,
        .step_rows = view->step_rows,
        .patience_ms = PATIENCE_MS,
    };
    int code = upkeep_forget(&rooms, &request, &forgotten, err);

    if (code != 0)
        return code;
    if (forgotten.cleaned)
        buf_printf(out, "{\"store\":%" PRIu64, forgotten.rows);
    else
        buf_append_text(out, "{\"store\":null");
    buf_printf(out, ",\"queue\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"pending\":%s}",
               forgotten.queued, forgotten.failed, forgotten.pending ? "true" : "false");
    return 0;
}

static int run_forget(struct job *job, const struct api_view *view)
{
    struct json_parser *parser = json_parser_open();
    const struct json_node *tape;
    struct order order = {0};
    struct err err;
    int code;

    buf_reserve(&job->body, JSON_PADDING);
    code = json_parse(parser, buf_slice(&job->body), &tape, &err);
    if (code == 0)
        code = read_order(tape, &order, &err);
    if (code == 0) {
        code = api_forget(view, order.pennkey, order.erase, &job->out, &err);
        audit_change(order.erase ? "user-delete" : "user-forget", job->who, NULL, job->from, code,
                     &err);
    }
    json_parser_close(parser);
    if (job->body.len > 0)
        explicit_bzero(job->body.data, job->body.len);
    return job_status(job, code, &err);
}

void handle_user_forget(struct http_request *request, void *arg)
{
    struct loop *loop = loop_of(request);
    const struct auth_claims *claims;
    struct api *api = arg;
    struct job *job;

    if (!check_caller(loop, request, AUTH_ADMIN, &claims))
        return;
    job = job_new(loop, request, run_forget);
    snprintf(job->who, sizeof job->who, "%s", claims->subject);
    http_request_peer(request, job->from, sizeof job->from);
    buf_append_slice(&job->body, http_request_body(request));
    readers_ask(api->readers, job);
}
