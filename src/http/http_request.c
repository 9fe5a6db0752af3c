/*
 * A request from its dispatch to its end, through libh2o's three extension points.
 *
 * The handler gets every request whose body is whole and finds its route. The filter sees
 * every answer before it is written: one that the room did not make is libh2o's own (a
 * broken chunk), and is put into the room's words. The logger is called when libh2o
 * disposes of the request, which is when the connection is free for the next one.
 */
#include "http/http_priv.h"

#include <arpa/inet.h>
#include <stdio.h>

/* Something arrived, or the client left, while the answer is owed. Whatever it is can
 * wait; reading on is what the answer's end starts. */
static void on_watched(h2o_socket_t *sock, const char *err)
{
    (void)err;
    h2o_socket_read_stop(sock);
}

/*
 * libh2o stops reading while a request is handled. Left at that, an answer that comes
 * later costs two epoll_ctl(2): the socket out, the socket in. So the socket stays
 * registered, without being read; most clients send nothing before they have the answer.
 */
static void request_watch(struct http_conn *conn)
{
    conn->watching = true;
    h2o_socket_dont_read(conn->sock, 1);
    h2o_socket_read_start(conn->sock, on_watched);
}

static struct http_conn *conn_of_request(const struct http_request *request)
{
    return H2O_STRUCT_FROM_MEMBER(struct http_conn, request, request);
}

/* Makes HTTP_BODY_PADDING bytes behind the body readable. */
static void pad_body(struct http_conn *conn, h2o_req_t *req)
{
    size_t offset;

    if (req->entity.base == NULL)
        return;
    offset = (size_t)(req->entity.base - conn->sock->input->bytes);
    h2o_buffer_reserve(&conn->sock->input, HTTP_BODY_PADDING);
    req->entity.base = conn->sock->input->bytes + offset;
}

static void answer_unrouted(struct http_request *request, struct buf *allow)
{
    if (allow->len == 0) {
        http_respond_error(request, 404, NULL, "there is nothing at this path");
        return;
    }
    buf_append_char(allow, '\0');
    http_respond_error(request, 405, (const struct http_header[]){{"allow", allow->data}, {0}},
                       "this path takes only %s", allow->data);
}

static void route(struct http_conn *conn)
{
    const struct http_server *server = conn->loop->server;
    struct http_request *request = &conn->request;
    struct slice method = {request->req->method.base, request->req->method.len};
    struct buf allow = {0};
    http_handler *handler = route_find(server, method, request->path, &request->capture, &allow);

    if (request->req->entity.len > server->options.max_body)
        http_respond_error(request, 413, NULL, "the body is too large");
    else if (handler == NULL)
        answer_unrouted(request, &allow);
    else
        handler(request, server->options.arg);
    buf_free(&allow);
}

static int on_request(h2o_handler_t *self, h2o_req_t *req)
{
    struct http_conn *conn = conn_of_req(req);
    struct http_request *request = &conn->request;

    (void)self;
    gate_keep_rest(conn, req);
    pad_body(conn, req);
    conn_move(conn, CONN_HANDLING);
    count_one(&conn->loop->requests);
    conn->loop->happened = true;
    request->req = req;
    request->owed = true;
    request->path = conn->path.len > 0
                        ? buf_slice(&conn->path)
                        : (struct slice){req->path_normalized.base, req->path_normalized.len};
    route(conn);
    if (conn->state == CONN_HANDLING)
        request_watch(conn);
    return 0;
}

struct rewrite {
    h2o_ostream_t super;
    h2o_iovec_t body;
};

static void send_rewritten(h2o_ostream_t *self, h2o_req_t *req, h2o_iovec_t *bufs, size_t count,
                           h2o_send_state_t state)
{
    struct rewrite *rewrite = (struct rewrite *)self;

    (void)bufs;
    (void)count;
    h2o_ostream_send_next(self, req, &rewrite->body, 1, state);
}

static h2o_iovec_t words_of(h2o_req_t *req)
{
    struct buf body = {0};
    h2o_iovec_t copy;

    json_detail(&body,
                req->res.status == 400 ? "malformed request body" : status_reason(req->res.status));
    copy = h2o_strdup(&req->pool, body.data, body.len);
    buf_free(&body);
    return copy;
}

static void on_answer(h2o_filter_t *self, h2o_req_t *req, h2o_ostream_t **slot)
{
    struct http_conn *conn = conn_of_req(req);
    struct rewrite *rewrite;

    (void)self;
    if (conn->state == CONN_SENDING) { /* the room's own */
        h2o_setup_next_ostream(req, slot);
        return;
    }
    conn->request.req = req;
    conn_move(conn, CONN_SENDING);
    respond_count(conn->loop, req->res.status);
    rewrite = (struct rewrite *)h2o_add_ostream(req, sizeof *rewrite, slot);
    rewrite->super.do_send = send_rewritten;
    rewrite->body = words_of(req);
    req->res.content_length = rewrite->body.len;
    h2o_set_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE,
                   H2O_STRLIT("application/json"), 1);
    h2o_setup_next_ostream(req, &rewrite->super.next);
}

static void on_end(h2o_logger_t *self, h2o_req_t *req)
{
    struct http_conn *conn = conn_of_req(req);

    (void)self;
    conn->request.req = NULL;
    if (conn->state != CONN_SENDING)
        return;
    conn_move(conn, req->http1_is_persistent ? CONN_IDLE : CONN_CLOSING);
    conn_unsettle(conn);
}

void request_register(h2o_hostconf_t *host)
{
    h2o_create_handler(&host->fallback_path, sizeof(h2o_handler_t))->on_req = on_request;
    h2o_create_filter(&host->fallback_path, sizeof(h2o_filter_t))->on_setup_ostream = on_answer;
    h2o_create_logger(&host->fallback_path, sizeof(h2o_logger_t))->log_access = on_end;
}

/* The request while its client and libh2o have it, or NULL. */
static h2o_req_t *req_of(const struct http_request *request)
{
    return conn_of_request(request)->state == CONN_HANDLING ? request->req : NULL;
}

static struct slice slice_of_iovec(h2o_iovec_t bytes)
{
    return (struct slice){bytes.base, bytes.len};
}

struct http_loop *http_request_loop(struct http_request *request)
{
    return conn_of_request(request)->loop;
}

struct slice http_request_method(const struct http_request *request)
{
    h2o_req_t *req = req_of(request);

    return req != NULL ? slice_of_iovec(req->method) : (struct slice){NULL, 0};
}

struct slice http_request_path(const struct http_request *request)
{
    return req_of(request) != NULL ? request->path : (struct slice){NULL, 0};
}

struct slice http_request_query(const struct http_request *request)
{
    h2o_req_t *req = req_of(request);

    if (req == NULL || req->query_at == SIZE_MAX)
        return (struct slice){NULL, 0};
    return (struct slice){req->path.base + req->query_at + 1, req->path.len - req->query_at - 1};
}

struct slice http_request_capture(const struct http_request *request)
{
    return req_of(request) != NULL ? request->capture : (struct slice){NULL, 0};
}

struct slice http_request_header(const struct http_request *request, const char *lower_case_name)
{
    h2o_req_t *req = req_of(request);
    struct slice value;
    ssize_t at;

    if (req == NULL)
        return (struct slice){NULL, 0};
    if (strcmp(lower_case_name, "host") == 0)
        return slice_of_iovec(req->input.authority);
    at = h2o_find_header_by_str(&req->headers, lower_case_name, strlen(lower_case_name), -1);
    if (at == -1)
        return (struct slice){NULL, 0};
    value = slice_of_iovec(req->headers.entries[at].value);
    while (value.len > 0 && (value.at[value.len - 1] == ' ' || value.at[value.len - 1] == '\t'))
        value.len--;
    return value;
}

struct slice http_request_body(const struct http_request *request)
{
    h2o_req_t *req = req_of(request);

    return req != NULL ? slice_of_iovec(req->entity) : (struct slice){NULL, 0};
}

void http_request_peer(const struct http_request *request, char *out, size_t size)
{
    h2o_req_t *req = req_of(request);
    struct sockaddr_storage address;

    snprintf(out, size, "unknown");
    if (req == NULL || req->conn->callbacks->get_peername(req->conn, (void *)&address) == 0)
        return;
    if (address.ss_family == AF_INET)
        inet_ntop(AF_INET, &((struct sockaddr_in *)&address)->sin_addr, out, (socklen_t)size);
    else if (address.ss_family == AF_INET6)
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&address)->sin6_addr, out, (socklen_t)size);
}
