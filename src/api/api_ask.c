/*
 * The reading endpoints and those that change a failed transaction: check who asks and what,
 * then leave the work to a reader.
 */
#include "api/api_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LIMIT = 1000 };

static struct slice job_id(const struct job *job)
{
    return (struct slice){job->id, job->id_len};
}

static int run_status(struct job *job, const struct api_view *view)
{
    struct err err;

    return job_status(job, api_write_status(view, &job->out, &err), &err);
}

static int run_find(struct job *job, const struct api_view *view)
{
    struct err err;

    return job_status(job, api_write_transaction(view, job_id(job), &job->out, &err), &err);
}

static int run_list(struct job *job, const struct api_view *view)
{
    struct slice after = job->has_after ? job_id(job) : (struct slice){0};
    struct err err;

    return job_status(
        job, api_write_transactions(view, job->which, after, job->limit, &job->out, &err), &err);
}

static int run_export(struct job *job, const struct api_view *view)
{
    struct slice after = job->has_after ? job_id(job) : (struct slice){0};
    struct err err;

    return job_status(job, api_export_failed(view, after, job->limit, &job->out, &err), &err);
}

static int run_deliveries(struct job *job, const struct api_view *view)
{
    struct err err;

    return job_status(job, api_write_deliveries(view, job->limit, &job->out, &err), &err);
}

static int run_retry(struct job *job, const struct api_view *view)
{
    struct err err;
    int code = api_retry(view, job_id(job), &job->out, &err);
    int status = job_status(job, code, &err);

    audit_change("retry", job->who, job->id, job->from, code, &err);
    return status == 200 ? 202 : status;
}

static int run_discard(struct job *job, const struct api_view *view)
{
    struct err err;
    int code = api_discard(view, job_id(job), &job->out, &err);

    audit_change("discard", job->who, job->id, job->from, code, &err);
    return job_status(job, code, &err);
}

static void set_id(struct job *job, struct slice id)
{
    job->id_len = id.len < sizeof job->id ? id.len : sizeof job->id - 1;
    if (job->id_len > 0) /* most paths name nothing: then there is no text to copy from */
        memcpy(job->id, id.at, job->id_len);
}

/* `limit` of the query; false when the request has been answered with a fault. */
static bool read_limit(struct http_request *request, unsigned standard, unsigned *ret)
{
    char text[16];
    char *end;
    bool bad = false;
    unsigned long value;

    *ret = standard;
    if (!http_query(http_request_query(request), "limit", text, sizeof text, &bad) && !bad)
        return true;
    value = bad ? 0 : strtoul(text, &end, 10);
    if (bad || text[0] < '0' || text[0] > '9' || *end != '\0' || value < 1 || value > MAX_LIMIT) {
        http_respond_error(request, 400, NULL, "limit: must be a number from 1 to %d", MAX_LIMIT);
        return false;
    }
    *ret = (unsigned)value;
    return true;
}

static bool may_read(struct http_request *request)
{
    const struct auth_claims *claims;

    return check_caller(loop_of(request), request, AUTH_READ, &claims);
}

static void ask(struct readers *readers, struct http_request *request,
                int (*run)(struct job *job, const struct api_view *view))
{
    struct job *job = job_new(loop_of(request), request, run);

    set_id(job, http_request_capture(request));
    readers_ask(readers, job);
}

static void change(struct api *api, struct http_request *request,
                   int (*run)(struct job *job, const struct api_view *view))
{
    const struct auth_claims *claims;
    struct job *job;

    if (!check_caller(loop_of(request), request, AUTH_ADMIN, &claims))
        return;
    job = job_new(loop_of(request), request, run);
    set_id(job, http_request_capture(request));
    snprintf(job->who, sizeof job->who, "%s", claims->subject);
    http_request_peer(request, job->from, sizeof job->from);
    readers_ask(api->local, job);
}

void handle_transaction_get(struct http_request *request, void *arg)
{
    struct api *api = arg;

    if (may_read(request))
        ask(api->readers, request, run_find);
}

void handle_status(struct http_request *request, void *arg)
{
    struct api *api = arg;

    if (may_read(request))
        ask(api->local, request, run_status);
}

void handle_transaction_retry(struct http_request *request, void *arg)
{
    change(arg, request, run_retry);
}

void handle_transaction_discard(struct http_request *request, void *arg)
{
    change(arg, request, run_discard);
}

void handle_deliveries(struct http_request *request, void *arg)
{
    struct api *api = arg;
    unsigned limit;
    struct job *job;

    if (!may_read(request) || !read_limit(request, 50, &limit))
        return;
    job = job_new(loop_of(request), request, run_deliveries);
    job->limit = limit;
    readers_ask(api->local, job);
}

/* `format` of the query; false when the request has been answered with a fault. */
static bool read_format(struct http_request *request, enum api_list which, bool *ret_lines)
{
    char format[16];
    bool bad = false;
    bool named =
        http_query(http_request_query(request), "format", format, sizeof format, &bad) && !bad;

    *ret_lines = named && strcmp(format, "ndjson") == 0;
    if (bad || (named && !*ret_lines && strcmp(format, "json") != 0)) {
        http_respond_error(request, 400, NULL, "format: must be json or ndjson");
        return false;
    }
    if (*ret_lines && which != API_ALL && which != API_FAILED) {
        http_respond_error(request, 400, NULL, "format: ndjson is for status=failed");
        return false;
    }
    return true;
}

void handle_transaction_list(struct http_request *request, void *arg)
{
    struct api *api = arg;
    struct slice query = http_request_query(request);
    enum api_list which = API_ALL;
    char status[16];
    char after[64];
    bool bad = false;
    bool lines;
    bool has_after;
    unsigned limit;
    struct job *job;

    if (!may_read(request) || !read_limit(request, 100, &limit))
        return;
    if (http_query(query, "status", status, sizeof status, &bad))
        bad = !api_list_by_name(status, &which);
    if (bad) {
        http_respond_error(request, 400, NULL, "status: must be uncompleted, successful or failed");
        return;
    }
    if (!read_format(request, which, &lines))
        return;
    has_after = http_query(query, "after", after, sizeof after, &bad);
    if (bad) {
        http_respond_error(request, 400, NULL, "after: must be the id of a transaction");
        return;
    }
    job = job_new(loop_of(request), request, lines ? run_export : run_list);
    job->content_type = lines ? "application/x-ndjson" : NULL;
    job->limit = limit;
    job->which = which;
    job->has_after = has_after;
    if (has_after)
        set_id(job, slice_of(after));
    readers_ask(api->local, job);
}

void handle_forward(struct http_request *request, void *arg)
{
    const struct auth_claims *claims;
    struct api *api = arg;
    char body[96];
    char from[48];

    if (!check_caller(loop_of(request), request, AUTH_ADMIN, &claims))
        return;
    http_request_peer(request, from, sizeof from);
    audit_change("forward", claims->subject, NULL, from, 0, NULL);
    snprintf(body, sizeof body, "{\"pending_transactions\":%llu}",
             (unsigned long long)queue_status(api->options.view.queue).pending_transactions);
    forward_order(api->options.view.forward);
    http_respond(request, 202, NULL, slice_of(body));
}

void handle_live(struct http_request *request, void *arg)
{
    (void)arg;
    http_respond(request, 200, NULL, SLICE("{\"status\":\"alive\"}"));
}

void handle_ready(struct http_request *request, void *arg)
{
    struct api *api = arg;
    struct auth_status keys;
    struct err err;

    auth_status(api->options.auth, &keys);
    if (keys.keys == 0)
        err_set(&err, ERR_UNAVAILABLE, "the keys to check tokens with are not known yet");
    if (keys.keys == 0 || queue_refusing(api->options.view.queue, &err))
        respond_refused(loop_of(request), request, &err);
    else
        http_respond(request, 200, NULL, SLICE("{\"status\":\"ready\"}"));
}
