/*
 * The table of routes, and what a loop has while it runs.
 */
#include "api/api.h"

#include "api/api_priv.h"

#include "base/mem.h"
#include "json/json.h"

#include <assert.h>
#include <stdlib.h>
#include <time.h>

static const struct http_route routes[] = {
    {"POST", "/analytics", handle_analytics, admit_writer},
    {"OPTIONS", "/analytics", handle_preflight, admit_no_body},
    {"POST", "/analytics/", handle_analytics, admit_writer},
    {"OPTIONS", "/analytics/", handle_preflight, admit_no_body},
    {"POST", "/v1/transactions", handle_transactions, admit_writer},
    {"GET", "/v1/transactions", handle_transaction_list, admit_no_body},
    {"OPTIONS", "/v1/transactions", handle_preflight, admit_no_body},
    {"GET", "/v1/transactions/{}", handle_transaction_get, admit_no_body},
    {"OPTIONS", "/v1/transactions/{}", handle_preflight, admit_no_body},
    {"DELETE", "/v1/transactions/{}", handle_transaction_discard, admit_no_body},
    {"POST", "/v1/transactions/{}/retry", handle_transaction_retry, admit_no_body},
    {"GET", "/v1/deliveries", handle_deliveries, admit_no_body},
    {"OPTIONS", "/v1/deliveries", handle_preflight, admit_no_body},
    {"POST", "/v1/forward", handle_forward, admit_no_body},
    {"POST", "/v1/users/forget", handle_user_forget, admit_admin},
    {"GET", "/v1/status", handle_status, admit_no_body},
    {"OPTIONS", "/v1/status", handle_preflight, admit_no_body},
    {"POST", "/v1/keys", handle_key_create, admit_admin},
    {"GET", "/v1/keys", handle_key_list, admit_no_body},
    {"DELETE", "/v1/keys/{}", handle_key_revoke, admit_no_body},
    {"GET", "/livez", handle_live, admit_no_body},
    {"GET", "/readyz", handle_ready, admit_no_body},
    {"GET", "/metrics", handle_metrics, admit_no_body},
    {0},
};

int api_open(const struct api_options *options, struct api **ret, struct err *err)
{
    struct api *api = mem_zalloc(sizeof *api);
    int code;

    assert(options->loops <= MAX_LOOPS);
    api->options = *options;
    if ((code = readers_open(options, options->readers, "reader", &api->readers, err)) != 0 ||
        (code = readers_open(options, options->readers, "local", &api->local, err)) != 0 ||
        (code = readers_open(options, 1, "keys", &api->keepers, err)) != 0) {
        readers_close(api->local);
        readers_close(api->readers);
        free(api);
        return code;
    }
    *ret = api;
    return 0;
}

static void *loop_start(struct http_loop *http, void *arg)
{
    struct api *api = arg;
    struct loop *loop = mem_zalloc(sizeof *loop);

    loop->api = api;
    loop->http = http;
    loop->producer = queue_producer_open(api->options.view.queue, http_loop_mailbox(http),
                                         api->options.commit_max_bytes);
    loop->ingest = ingest_open(api->options.view.products, api->options.max_body);
    loop->tokens = auth_cache_open(api->options.auth, api->options.token_cache);
    atomic_store(&api->loops[http_loop_index(http)], loop);
    return loop;
}

static_assert(HTTP_BODY_PADDING >= JSON_PADDING, "bodies are read where they arrived");

static void loop_turn(struct http_loop *http, void *arg)
{
    struct loop *loop = arg;

    (void)http;
    wal_flush(loop->producer);
    audit_sum_up(loop->api, false);
}

/* What is under way comes home first: a batch, or a reader's job, may outlive the request that
 * it answers. */
static void loop_stop(struct http_loop *http, void *arg)
{
    static const struct timespec a_moment = {.tv_nsec = 1000000};
    struct loop *loop = arg;
    struct waiter *waiter;

    readers_interrupt(loop->api->readers);
    while (!wal_producer_idle(loop->producer) || loop->jobs > 0) {
        wal_flush(loop->producer);
        nanosleep(&a_moment, NULL);
        mailbox_deliver(http_loop_mailbox(http));
    }
    wal_producer_close(loop->producer);
    ingest_close(loop->ingest);
    while ((waiter = loop->free) != NULL) {
        loop->free = waiter->next;
        buf_free(&waiter->rejected);
        free(waiter);
    }
    buf_free(&loop->out);
}

void api_bind(struct api *api, struct http_options *http)
{
    http->routes = routes;
    http->arg = api;
    http->loop_start = loop_start;
    http->loop_turn = loop_turn;
    http->loop_stop = loop_stop;
}

void api_set_server(struct api *api, struct http_server *server)
{
    api->server = server;
}

void api_close(struct api *api)
{
    if (api == NULL)
        return;
    audit_sum_up(api, true);
    readers_close(api->readers);
    readers_close(api->local);
    readers_close(api->keepers);
    for (int i = 0; i < MAX_LOOPS; i++) {
        struct loop *loop = atomic_load(&api->loops[i]);

        if (loop != NULL)
            auth_cache_close(loop->tokens);
        free(loop);
    }
    free(api);
}
