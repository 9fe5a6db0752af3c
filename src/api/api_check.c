/*
 * Who asks, and in what form: the checks that come before a body is looked at.
 */
#include "api/api_priv.h"

#include "base/clock.h"

#include <stdio.h>
#include <strings.h>

static bool refuse_scope(struct loop *loop, struct http_request *request,
                         const struct auth_claims *claims, enum auth_scope scope)
{
    const char *what = scope == AUTH_WRITE  ? "send transactions"
                       : scope == AUTH_READ ? "read"
                                            : "change anything: that takes an admin's key";
    char why[64];

    snprintf(why, sizeof why, "may not %s", what);
    audit_refused(loop->api, request, claims->subject, why);
    http_respond_error(request, 403, NULL, "%s may not %s", claims->subject, what);
    return false;
}

/* Has it the scope, and does it come from where its key may be used? */
static bool may(struct loop *loop, struct http_request *request, const struct auth_claims *claims,
                enum auth_scope scope)
{
    if ((claims->scopes & scope) == 0)
        return refuse_scope(loop, request, claims, scope);
    if (claims->origin_count == 0 ||
        auth_may_come_from(claims, http_request_header(request, "origin")))
        return true;
    audit_refused(loop->api, request, claims->subject, "may not be used from this origin");
    http_respond_error(request, 403, NULL, "%s may not be used from this origin", claims->subject);
    return false;
}

/* Where the caller's key or token stands: in the header, or, for writing, in the URL, because
 * navigator.sendBeacon() cannot send headers. The header goes before. Keys that may do more than
 * write are refused there by their scope. */
static int identify(struct loop *loop, struct http_request *request, enum auth_scope scope,
                    const struct auth_claims **ret_claims, struct err *err)
{
    struct slice authorization = http_request_header(request, "authorization");
    char key[AUTH_KEY_SIZE];
    bool bad = false;

    if (authorization.at == NULL && scope == AUTH_WRITE &&
        (http_query(http_request_query(request), "key", key, sizeof key, &bad) || bad))
        return auth_check_key(loop->tokens, bad ? SLICE("") : slice_of(key), clock_wall_us(),
                              ret_claims, err);
    return auth_check(loop->tokens, authorization, clock_wall_us(), ret_claims, err);
}

/* Who asks? False when the request has been answered, because nobody knows. */
static bool know_caller(struct loop *loop, struct http_request *request, enum auth_scope scope,
                        const struct auth_claims **ret_claims)
{
    static const struct http_header challenge[] = {{"www-authenticate", "Bearer"}, {NULL, NULL}};
    struct err err;

    let_origin_read(loop, request);
    switch (identify(loop, request, scope, ret_claims, &err)) {
    case 0:
        return true;
    case ERR_DENIED:
        audit_refused(loop->api, request, (*ret_claims)->subject, err.text);
        http_respond_error(request, 403, NULL, "%s", err.text);
        return false;
    case ERR_UNAVAILABLE:
        respond_refused(loop, request, &err);
        return false;
    default:
        audit_refused(loop->api, request, NULL, err.text);
        http_respond_error(request, 401, challenge, "%s", err.text);
        return false;
    }
}

bool check_caller(struct loop *loop, struct http_request *request, enum auth_scope scope,
                  const struct auth_claims **ret_claims)
{
    return know_caller(loop, request, scope, ret_claims) &&
           check_rate(loop, request, *ret_claims, scope) && may(loop, request, *ret_claims, scope);
}

static bool admit(struct http_request *request, enum auth_scope scope)
{
    const struct auth_claims *claims;

    return check_caller(loop_of(request), request, scope, &claims);
}

bool admit_writer(struct http_request *request, void *arg)
{
    (void)arg;
    return admit(request, AUTH_WRITE);
}

bool admit_admin(struct http_request *request, void *arg)
{
    (void)arg;
    return admit(request, AUTH_ADMIN);
}

bool admit_no_body(struct http_request *request, void *arg)
{
    (void)arg;
    http_respond_error(request, 413, NULL, "this path takes no body");
    return false;
}

void product_fault(struct loop *loop, const struct auth_claims *claims, uint32_t product,
                   struct ingest_fault *ret)
{
    const char *name = txn_product_name(loop->api->options.view.products, product);

    *ret = (struct ingest_fault){.loc = "\"product\"", .field = "product", .type = "forbidden"};
    snprintf(ret->message, sizeof ret->message, "%.64s may not be written by %.60s",
             name != NULL ? name : "it", claims->subject);
}

bool media_is(struct slice header, const char *media_type)
{
    size_t len = strlen(media_type);

    if (header.len < len || strncasecmp(header.at, media_type, len) != 0)
        return false;
    return header.len == len || header.at[len] == ';' || header.at[len] == ' ';
}

int read_session(struct loop *loop, struct http_request *request, struct slice *ret,
                 struct err *err)
{
    struct slice session;

    if (!users_take_sessions(loop->api->options.view.users))
        return 0;
    session = http_request_header(request, "x-session-id");
    if (session.len == 0)
        return 0;
    if (session.len > TXN_MAX_SESSION)
        return err_set(err, ERR_INVALID, "x-session-id: must be at most %d bytes long",
                       TXN_MAX_SESSION);
    for (size_t i = 0; i < session.len; i++) {
        if (session.at[i] <= ' ' || session.at[i] > '~')
            return err_set(err, ERR_INVALID,
                           "x-session-id: must be printable ASCII without spaces");
    }
    *ret = session;
    return 0;
}

void respond_refused(struct loop *loop, struct http_request *request, const struct err *err)
{
    char seconds[16];
    const struct http_header headers[] = {{"retry-after", seconds}, {NULL, NULL}};

    snprintf(seconds, sizeof seconds, "%d", RETRY_AFTER_S);
    atomic_fetch_add_explicit(&loop->counters.refused, 1, memory_order_relaxed);
    http_respond_error(request, 503, headers, "%s", err->text);
}
