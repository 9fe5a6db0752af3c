/*
 * A request from its dispatch to its answer, as its handler sees it.
 */
#include "http/http_priv.h"

#include <arpa/inet.h>
#include <stdio.h>

static struct http_conn *conn_of_request(const struct http_request *request)
{
    return H2O_STRUCT_FROM_MEMBER(struct http_conn, request, request);
}

static void answer_unrouted(struct http_request *request, struct buf *allow)
{
    if (allow->len == 0) {
        http_respond_error(request, 404, NULL, "there is nothing at this path");
        return;
    }
    http_respond_error(request, 405, (const struct http_header[]){{"allow", allow->data}, {0}},
                       "this path takes only %s", allow->data);
}

/* From now on an answer is owed. The route, or NULL if there is none: then it is given. */
static const struct route *begin(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    const struct head *head = read_head(conn);
    const struct route *route;
    struct buf allow = {0};
    bool plain;

    conn->loop->happened = true;
    request->owed = true;
    request->method = head->method;
    target_split(head->target, &request->path, &request->query, &plain);
    if (!plain)
        request->path = buf_slice(&conn->path);
    route =
        route_find(conn->loop->server, request->method, request->path, &request->capture, &allow);
    if (allow.len > 0)
        buf_append_char(&allow, '\0');
    if (route == NULL)
        answer_unrouted(request, &allow);
    else if (allow.len > 0)
        http_request_answer_header(request, "allow", allow.data);
    buf_free(&allow);
    return route;
}

bool request_admit(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    void *arg = conn->loop->server->options.arg;
    bool persistent = conn->persistent;
    enum conn_state state = conn->state;
    const struct route *route;

    conn->state = CONN_HANDLING; /* just to be asked: its time goes on */
    conn->persistent = false;    /* behind a refusal comes what is left of the body */
    request->body = (struct slice){0};
    route = begin(conn);
    if (route == NULL || (route->admit != NULL && !route->admit(request, arg)))
        return false;
    request->owed = false;
    request->fields.len = 0;
    conn->persistent = persistent;
    conn->state = state;
    conn->admitted = true;
    return true;
}

void request_dispatch(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    const struct route *route;

    h2o_buffer_reserve(&conn->sock->input, HTTP_BODY_PADDING);
    conn_move(conn, CONN_HANDLING);
    count_one(&conn->loop->requests);
    request->body = (struct slice){conn->sock->input->bytes + conn->head_len, conn->body_len};
    route = begin(conn);
    if (route != NULL)
        route->handler(request, conn->loop->server->options.arg);
    if (conn->state == CONN_HANDLING)
        conn_watch(conn);
}

void http_request_release(struct http_request *request)
{
    struct http_conn *conn = conn_of_request(request);

    if (conn->state != CONN_HANDLING || conn->head_len == 0)
        return;
    hold_end(conn);
    request->method = request->path = request->query = (struct slice){0};
    request->capture = request->body = (struct slice){0};
}

bool http_request_keep(struct http_request *request, size_t bytes)
{
    struct http_conn *conn = conn_of_request(request);

    conn->kept = bytes;
    hold_update(conn);
    if (bytes <= HTTP_SMALL_BODY || !hold_is_over(conn))
        return true;
    count_one(&conn->loop->over_memory);
    return false;
}

/* What is absent once the client has left. */
static struct slice while_handled(const struct http_request *request, struct slice part)
{
    return conn_of_request(request)->state == CONN_HANDLING ? part : (struct slice){NULL, 0};
}

bool http_request_was_admitted(const struct http_request *request)
{
    return conn_of_request(request)->admitted;
}

struct http_loop *http_request_loop(struct http_request *request)
{
    return conn_of_request(request)->loop;
}

struct slice http_request_method(const struct http_request *request)
{
    return while_handled(request, request->method);
}

struct slice http_request_path(const struct http_request *request)
{
    return while_handled(request, request->path);
}

struct slice http_request_query(const struct http_request *request)
{
    return while_handled(request, request->query);
}

struct slice http_request_capture(const struct http_request *request)
{
    return while_handled(request, request->capture);
}

struct slice http_request_header(const struct http_request *request, const char *lower_case_name)
{
    struct http_conn *conn = conn_of_request(request);

    if (conn->state != CONN_HANDLING || conn->head_len == 0)
        return (struct slice){NULL, 0};
    return head_field(read_head(conn), lower_case_name);
}

struct slice http_request_body(const struct http_request *request)
{
    return while_handled(request, request->body);
}

void http_request_peer(const struct http_request *request, char *out, size_t size)
{
    const struct http_conn *conn = conn_of_request(request);
    struct sockaddr_storage address;

    snprintf(out, size, "unknown");
    if (conn->state != CONN_HANDLING ||
        h2o_socket_getpeername(conn->sock, (struct sockaddr *)&address) == 0)
        return;
    if (address.ss_family == AF_INET)
        inet_ntop(AF_INET, &((struct sockaddr_in *)&address)->sin_addr, out, (socklen_t)size);
    else if (address.ss_family == AF_INET6)
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&address)->sin6_addr, out, (socklen_t)size);
}
