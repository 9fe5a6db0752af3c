/*
 * Writes answers.
 *
 * An answer is put together in the loop's buffer and given to the kernel at once, which takes
 * nearly all of them whole; libh2o is asked only for the rest, and where TLS is spoken. Behind
 * it the connection goes on to its next request, or lingers: its sending side is shut, and the
 * client's bytes are read and dropped for a while, because closing with bytes unread makes the
 * kernel send a reset, and that can take the answer back out of the client's hands.
 *
 * An answer to a client that has left, or whose connection was cut meanwhile, frees what was
 * kept of the request and goes nowhere.
 */
#include "http/http_priv.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

/* Memory that a loop keeps for answers, and a connection for fields of one. */
#define KEEP_ANSWER_BYTES ((size_t)256 * 1024)
#define KEEP_FIELDS_BYTES ((size_t)1024)

void respond_count(struct http_loop *loop, int status)
{
    int class = status / 100;

    count_one(&loop->status[class >= 1 && class <= 5 ? class : 0]);
}

static void put_number(struct buf *out, size_t number)
{
    char digits[20];
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    buf_append(out, digits + at, sizeof digits - at);
}

/* A line break in a value would begin a field of its own. */
static void put_value(struct buf *out, const char *value)
{
    for (; *value != '\0'; value++)
        buf_append_char(out, (unsigned char)*value < 0x20 || *value == 0x7f ? ' ' : *value);
}

static void put_field(struct buf *out, const char *name, const char *value)
{
    buf_append_text(out, name);
    buf_append_slice(out, SLICE(": "));
    put_value(out, value);
    buf_append_slice(out, SLICE("\r\n"));
}

static void put_date(struct http_loop *loop, struct buf *out)
{
    time_t now = time(NULL);
    struct tm utc;

    if (now != loop->date_s) {
        h2o_time2str_rfc1123(loop->date, gmtime_r(&now, &utc));
        loop->date_s = now;
    }
    buf_append_slice(out, SLICE("Date: "));
    buf_append(out, loop->date, H2O_TIMESTR_RFC1123_LEN);
    buf_append_slice(out, SLICE("\r\n"));
}

/* 204 and 304 have no body and say no length (RFC 9110, section 8.6). */
static bool has_body(int status)
{
    return status != 204 && status != 304;
}

static void put_head(struct http_conn *conn, int status, const char *content_type,
                     const struct http_header *headers, size_t body_len)
{
    struct buf *out = &conn->loop->answer;

    buf_append_slice(out, SLICE("HTTP/1.1 "));
    put_number(out, (size_t)status);
    buf_append_char(out, ' ');
    buf_append_text(out, words_of_status(status));
    buf_append_slice(out, SLICE("\r\n"));
    put_date(conn->loop, out);
    if (!conn->persistent)
        buf_append_slice(out, SLICE("Connection: close\r\n"));
    else if (conn->minor_0)
        buf_append_slice(out, SLICE("Connection: keep-alive\r\n"));
    if (has_body(status)) {
        buf_append_slice(out, SLICE("Content-Length: "));
        put_number(out, body_len);
        buf_append_slice(out, SLICE("\r\n"));
        put_field(out, "Content-Type", content_type != NULL ? content_type : "application/json");
    }
    buf_append_slice(out, buf_slice(&conn->request.fields));
    for (; headers != NULL && headers->name != NULL; headers++)
        put_field(out, headers->name, headers->value);
    buf_append_slice(out, SLICE("\r\n"));
}

static void go_on(struct http_conn *conn)
{
    conn_move(conn, CONN_IDLE);
    hold_end(conn);
    if (conn->sock->input->size == 0 && !conn->loop->stopping && !tls_has_ended(conn)) {
        conn_unwatch(conn);
        return;
    }
    conn_watch(conn); /* first what is there */
    conn_unsettle(conn);
}

static void linger(struct http_conn *conn)
{
    tls_end(conn);
    shutdown(h2o_socket_get_fd(conn->sock), SHUT_WR);
    conn_move(conn, CONN_LINGERING);
    h2o_buffer_consume(&conn->sock->input, conn->sock->input->size);
    hold_update(conn);
    conn_unwatch(conn);
}

static void sent(struct http_conn *conn)
{
    buf_free(&conn->out);
    if (conn->unsent > 0)
        hold_unsent(conn, 0);
    buf_reset(&conn->request.fields, KEEP_FIELDS_BYTES);
    if (conn->persistent)
        go_on(conn);
    else
        linger(conn);
}

static void on_written(h2o_socket_t *sock, const char *err)
{
    if (err != NULL)
        conn_close(conn_of(sock));
    else
        sent(conn_of(sock));
}

/* What libh2o encrypts it copies; what it is to write later it does not. */
static void write_rest(struct http_conn *conn, struct slice rest)
{
    h2o_iovec_t bytes;

    if (conn->sock->ssl == NULL) {
        buf_append_slice(&conn->out, rest);
        rest = buf_slice(&conn->out);
    }
    conn_watch(conn);
    conn->loop->writes++;
    bytes = h2o_iovec_init(rest.at, rest.len);
    h2o_socket_write(conn->sock, &bytes, 1, on_written);
    if (conn->persistent)
        hold_end(conn); /* what was asked is of no more use */
    hold_unsent(conn, rest.len);
    if (hold_answers_are_over(conn)) {
        count_one(&conn->loop->over_memory);
        conn_cut(conn);
    }
}

static void write_answer(struct http_conn *conn, struct slice bytes)
{
    ssize_t taken = 0;

    conn_move(conn, CONN_SENDING);
    if (conn->sock->ssl == NULL)
        taken =
            send(h2o_socket_get_fd(conn->sock), bytes.at, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (taken == (ssize_t)bytes.len) {
        sent(conn);
        return;
    }
    if (taken > 0) {
        bytes.at += taken;
        bytes.len -= (size_t)taken;
    }
    write_rest(conn, bytes); /* an error is met there again, and closes the connection */
}

void respond_send(struct http_conn *conn, int status, const char *content_type,
                  const struct http_header *headers, struct slice body)
{
    struct buf *out = &conn->loop->answer;

    if (conn->loop->stopping)
        conn->persistent = false;
    respond_count(conn->loop, status);
    buf_reset(out, KEEP_ANSWER_BYTES);
    put_head(conn, status, content_type, headers, body.len);
    if (has_body(status) && !conn->head_only)
        buf_append_slice(out, body);
    write_answer(conn, buf_slice(out));
}

static void on_continued(h2o_socket_t *sock, const char *err)
{
    struct http_conn *conn = conn_of(sock);

    if (err != NULL) {
        conn_close(conn);
    } else if (conn->state == CONN_BODY) {
        conn_unwatch(conn);
        read_on(conn);
        conn_close_if_ended(conn);
    }
}

void respond_continue(struct http_conn *conn)
{
    h2o_iovec_t bytes = h2o_iovec_init(H2O_STRLIT("HTTP/1.1 100 Continue\r\n\r\n"));

    conn->loop->writes++;
    h2o_socket_write(conn->sock, &bytes, 1, on_continued);
}

void respond_refuse(struct http_conn *conn, int status, const char *why)
{
    static const struct http_header retry[] = {{"Retry-After", "2"}, {0}};
    h2o_buffer_t *input = conn->sock->input;
    struct buf body = {0};

    if (h2o_socket_is_writing(conn->sock)) { /* a "100 Continue" that nobody reads */
        conn_cut(conn);
        return;
    }
    words_in_json(&body, why);
    conn->persistent = false;
    conn->head_only = input->size > 5 && memcmp(input->bytes, "HEAD ", 5) == 0;
    respond_send(conn, status, NULL, status == 503 ? retry : NULL, buf_slice(&body));
    buf_free(&body);
}

void http_request_answer_header(struct http_request *request, const char *name, const char *value)
{
    if (request->owed)
        put_field(&request->fields, name, value);
}

void http_respond_as(struct http_request *request, int status, const char *content_type,
                     const struct http_header *headers, struct slice body)
{
    struct http_conn *conn = H2O_STRUCT_FROM_MEMBER(struct http_conn, request, request);

    assert(request->owed);
    request->owed = false;
    if (conn->kept > 0) {
        conn->kept = 0;
        hold_update(conn);
    }
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
    words_in_json(&body, words);
    http_respond(request, status, headers, buf_slice(&body));
    buf_free(&body);
}
