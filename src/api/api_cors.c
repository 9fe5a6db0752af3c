/*
 * Cross-origin requests of browsers (https://fetch.spec.whatwg.org/#http-cors-protocol).
 *
 * A page of another origin may call the engine if CORS_ORIGINS has its origin, or an API key
 * that has not expired. A preflight carries no key, so its answer cannot be about one key; and
 * it need not be: what a request may do is decided when it comes, by its key. Credentials that a
 * browser adds by itself (cookies, certificates) mean nothing here and are never allowed, so a
 * foreign page has nothing to borrow. An origin that may not call gets no header, which makes
 * its browser keep the answer from the page.
 */
#include "api/api_priv.h"

#include "base/clock.h"

#include <stdio.h>

static bool may_call(struct loop *loop, struct slice origin)
{
    return auth_origins_allow(loop->api->options.origins, origin) ||
           auth_knows_origin(loop->tokens, origin, clock_wall_us());
}

/* Says so in the answer; false if it may not. The answer differs by origin either way. */
static bool allow_origin(struct loop *loop, struct http_request *request, struct slice origin)
{
    char text[AUTH_MAX_ORIGIN];

    http_request_answer_header(request, "vary", "Origin");
    if (origin.len >= sizeof text || !may_call(loop, origin))
        return false;
    snprintf(text, sizeof text, "%.*s", SLICE_ARG(origin));
    http_request_answer_header(request, "access-control-allow-origin",
                               auth_origins_any(loop->api->options.origins) ? "*" : text);
    return true;
}

void let_origin_read(struct loop *loop, struct http_request *request)
{
    struct slice origin = http_request_header(request, "origin");

    if (origin.at != NULL && allow_origin(loop, request, origin))
        http_request_answer_header(request, "access-control-expose-headers", "retry-after");
}

/* Before a browser sends what a form could not send, it asks. Which methods a path takes is the
 * business of the request itself; only those that change what is stored are never allowed. */
void handle_preflight(struct http_request *request, void *arg)
{
    static const char headers[] =
        "authorization, content-type, content-encoding, idempotency-key, x-session-id";
    struct slice method = http_request_header(request, "access-control-request-method");
    struct loop *loop = loop_of(request);

    (void)arg;
    if (allow_origin(loop, request, http_request_header(request, "origin"))) {
        http_request_answer_header(request, "access-control-allow-methods",
                                   slice_is(method, "GET") ? "GET" : "POST");
        http_request_answer_header(request, "access-control-allow-headers", headers);
        http_request_answer_header(request, "access-control-max-age", "86400"); /* a day */
    }
    http_respond(request, 204, NULL, (struct slice){NULL, 0});
}
