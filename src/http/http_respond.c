/*
 * Writes a handler's answer.
 *
 * Every answer says its length: libh2o ends the connection after one that does not. An
 * answer to a client that has left, or whose connection was cut meanwhile, frees what was
 * kept of the request and goes nowhere.
 */
#include "http/http_priv.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

void respond_count(struct http_loop *loop, int status)
{
    int class = status / 100;

    count_one(&loop->status[class >= 1 && class <= 5 ? class : 0]);
}

/* A line break in a value would begin a field of its own. */
static h2o_iovec_t copy_value(h2o_mem_pool_t *pool, const char *value)
{
    h2o_iovec_t copy = h2o_strdup(pool, value, SIZE_MAX);

    for (size_t i = 0; i < copy.len; i++)
        if ((unsigned char)copy.base[i] < 0x20 || copy.base[i] == 0x7f)
            copy.base[i] = ' ';
    return copy;
}

static void add_header(h2o_req_t *req, const char *name, const char *value)
{
    h2o_iovec_t name_copy = h2o_strdup(&req->pool, name, SIZE_MAX);
    h2o_iovec_t value_copy = copy_value(&req->pool, value);

    h2o_add_header_by_str(&req->pool, &req->res.headers, name_copy.base, name_copy.len, 1, NULL,
                          value_copy.base, value_copy.len);
}

static void add_headers(h2o_req_t *req, const char *content_type, const struct http_header *headers)
{
    if (content_type == NULL) {
        h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL,
                       H2O_STRLIT("application/json"));
    } else {
        h2o_iovec_t value = copy_value(&req->pool, content_type);

        h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL, value.base,
                       value.len);
    }
    for (; headers != NULL && headers->name != NULL; headers++)
        add_header(req, headers->name, headers->value);
}

void http_request_answer_header(struct http_request *request, const char *name, const char *value)
{
    if (request->req != NULL)
        add_header(request->req, name, value);
}

/* 204 and 304 have no body and say no length; libh2o keeps the connection all the same. */
static bool has_body(int status)
{
    return status != 204 && status != 304;
}

void respond_send(struct http_conn *conn, int status, const char *content_type,
                  const struct http_header *headers, struct slice body)
{
    h2o_req_t *req = conn->request.req;

    if (conn->watching) {
        h2o_socket_read_stop(conn->sock);
        h2o_socket_dont_read(conn->sock, 0);
        conn->watching = false;
    }
    if (conn->loop->stopping)
        req->http1_is_persistent = 0;
    respond_count(conn->loop, status);
    conn->loop->answers++;
    conn_move(conn, CONN_SENDING);
    req->res.status = status;
    req->res.reason = status_reason(status);
    if (has_body(status))
        req->res.content_length = body.len;
    else
        body.len = 0;
    add_headers(req, content_type, headers);
    h2o_send_inline(req, body.len > 0 ? body.at : "", body.len);
}

void http_respond_as(struct http_request *request, int status, const char *content_type,
                     const struct http_header *headers, struct slice body)
{
    struct http_conn *conn = H2O_STRUCT_FROM_MEMBER(struct http_conn, request, request);

    assert(request->owed);
    request->owed = false;
    if (conn->state == CONN_HANDLING)
        respond_send(conn, status, content_type, headers, body);
    else
        conn_forget(conn);
}

void http_respond(struct http_request *request, int status, const struct http_header *headers,
                  struct slice body)
{
    http_respond_as(request, status, NULL, headers, body);
}

void http_respond_error(struct http_request *request, int status, const struct http_header *headers,
                        const char *fmt, ...)
{
    char words[1024];
    struct buf body = {0};
    va_list args;

    va_start(args, fmt);
    vsnprintf(words, sizeof words, fmt, args);
    va_end(args);
    json_detail(&body, words);
    http_respond(request, status, headers, buf_slice(&body));
    buf_free(&body);
}
