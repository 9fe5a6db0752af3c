/*
 * API keys over HTTP, for administrators. A change waits for the disk, so a reader makes it; it is
 * in force on every loop before the answer is sent.
 */
#include "api/api_priv.h"

#include "base/clock.h"

#include <stdio.h>

static struct auth_keyring *keyring_of(const struct job *job)
{
    return job->loop->api->options.keyring;
}

static int run_create(struct job *job, const struct api_view *view)
{
    struct err err;
    int code = auth_keyring_create(keyring_of(job), buf_slice(&job->body), clock_wall_us(), job->id,
                                   &job->out, &err);

    (void)view;
    audit_change("key-create", job->who, code == 0 ? job->id : NULL, job->from, code, &err);
    return code == 0 ? 201 : job_status(job, code, &err);
}

static int run_list(struct job *job, const struct api_view *view)
{
    (void)view;
    auth_keyring_list(keyring_of(job), &job->out);
    return 200;
}

static int run_revoke(struct job *job, const struct api_view *view)
{
    struct err err;
    int code = auth_keyring_revoke(keyring_of(job), (struct slice){job->id, job->id_len}, &err);

    (void)view;
    audit_change("key-revoke", job->who, job->id, job->from, code, &err);
    return code == 0 ? 204 : job_status(job, code, &err);
}

/* A job for an administrator; NULL when the request has been refused. */
static struct job *admins_job(struct http_request *request,
                              int (*run)(struct job *job, const struct api_view *view))
{
    struct loop *loop = loop_of(request);
    const struct auth_claims *claims;
    struct job *job;

    if (!check_caller(loop, request, AUTH_ADMIN, &claims))
        return NULL;
    job = job_new(loop, request, run);
    snprintf(job->who, sizeof job->who, "%s", claims->subject);
    http_request_peer(request, job->from, sizeof job->from);
    return job;
}

void handle_key_create(struct http_request *request, void *arg)
{
    struct api *api = arg;
    struct job *job = admins_job(request, run_create);

    if (job == NULL)
        return;
    buf_append_slice(&job->body, http_request_body(request));
    readers_ask(api->keepers, job);
}

void handle_key_list(struct http_request *request, void *arg)
{
    struct api *api = arg;
    struct job *job = admins_job(request, run_list);

    if (job != NULL)
        readers_ask(api->keepers, job);
}

void handle_key_revoke(struct http_request *request, void *arg)
{
    struct api *api = arg;
    struct slice id = http_request_capture(request);
    struct job *job = admins_job(request, run_revoke);

    if (job == NULL)
        return;
    if (id.len == AUTH_KEY_ID_SIZE - 1) { /* anything else names no key, and may be a whole one */
        memcpy(job->id, id.at, id.len);
        job->id_len = id.len;
    }
    readers_ask(api->keepers, job);
}
