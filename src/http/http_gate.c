/*
 * Reads the socket before libh2o does.
 *
 * libh2o calls whoever is registered as the socket's reader after it has put what arrived
 * into the socket's input. The gate registers itself there and remembers libh2o's own
 * reader. It holds a request back until its head is whole and checked, so libh2o never
 * sees a malformed, doubtful or half one; of the body it only watches the size, its own and
 * that of all bodies together. When the
 * request is dispatched, what was read beyond its end (pipelining) is taken aside, and
 * passed on again after the answer, a piece a turn.
 *
 * A target that is not in normal form is replaced by "/" and its query in the bytes that
 * libh2o gets; routes and handlers see the path that target_normalize() made. (libh2o's
 * own normalising lets an escaped slash separate, and prints what it cannot do.)
 */
#include "http/http_priv.h"

/* Fed at once from what was read ahead. Bounded, because what lies behind the request is
 * put back: a megabyte of small requests must not be copied once for each of them. */
#define FEED_BYTES ((size_t)16 * 1024)

/* Made room for at once when a head announces a body; larger ones grow from there. */
#define ROOM_BYTES ((size_t)1 << 20)

/* Memory that a connection keeps for reading ahead and for paths. */
#define KEEP_BYTES ((size_t)16 * 1024)

/* Empty lines before a request are allowed, and sent by old clients behind a body. */
static void skip_empty_lines(h2o_socket_t *sock)
{
    size_t skip = 0;

    while (skip < sock->input->size &&
           (sock->input->bytes[skip] == '\r' || sock->input->bytes[skip] == '\n'))
        skip++;
    if (skip > 0)
        h2o_buffer_consume(&sock->input, skip);
}

/* Moves the method up against what replaces the target, which ends where that did, and
 * drops the bytes that are left over in front. */
static void replace_target(h2o_socket_t *sock, const struct head *head, struct slice query)
{
    char *end = (char *)head->target.at + head->target.len;
    size_t query_len = query.len > 0 ? query.len + 1 : 0; /* with its "?" */
    char *target = end - query_len - 1;
    char *method = target - 1 - head->method.len;

    *target = '/';
    target[-1] = ' ';
    memmove(method, head->method.at, head->method.len);
    h2o_buffer_consume(&sock->input, (size_t)(method - sock->input->bytes));
}

static bool take_target(struct http_conn *conn, const struct head *head)
{
    struct slice path;
    struct slice query;
    bool plain;

    buf_reset(&conn->path, KEEP_BYTES);
    target_split(head->target, &path, &query, &plain);
    if (plain)
        return true;
    if (!target_normalize(path, &conn->path))
        return false;
    replace_target(conn->sock, head, query);
    return true;
}

static void check_incomplete(struct http_conn *conn)
{
    struct slice bytes = {conn->sock->input->bytes, conn->sock->input->size};

    if (bytes.len > HEAD_MAX_BYTES)
        conn_refuse(conn, 431, "the head of the request is too large");
    else if (!head_is_token(bytes.at[0])) /* TLS, for one, begins like that */
        conn_refuse(conn, 400, "this is not HTTP");
}

/* Room for the whole body at once: grown by doubling it would be copied time and again. Memory
 * that nothing is written to is only promised, so who announces more than comes takes none. */
static void make_room(struct http_conn *conn, const struct head *head)
{
    size_t whole = conn->head_len + (size_t)head->length + HTTP_BODY_PADDING;

    if (head->length > ROOM_BYTES)
        whole = conn->head_len + ROOM_BYTES;
    if (whole > conn->sock->input->size)
        h2o_buffer_reserve(&conn->sock->input, whole - conn->sock->input->size);
}

/* True when a whole, sound head stands at the start of the socket's input. */
static bool take_head(struct http_conn *conn)
{
    h2o_socket_t *sock = conn->sock;
    struct head head;
    const char *why;
    size_t before;
    size_t len;
    int status;

    if (conn->state != CONN_HEAD) {
        skip_empty_lines(sock);
        if (sock->input->size == 0)
            return false;
        conn->scanned = 0;
        conn_move(conn, CONN_HEAD);
    }
    if (conn->misled) {
        conn_refuse(conn, 400, "this port speaks TLS: ask it by https://");
        return false;
    }
    before = sock->input->size;
    len = head_end((struct slice){sock->input->bytes, before}, &conn->scanned);
    if (len == 0) {
        check_incomplete(conn);
        return false;
    }
    status = head_read((struct slice){sock->input->bytes, len}, &head, &why);
    if (status == 0 && len > HEAD_MAX_BYTES) {
        status = 431;
        why = "the head of the request is too large";
    } else if (status == 0 && head.length > conn->loop->server->options.max_body) {
        status = 413;
        why = "the body is too large";
    } else if (status == 0 && !take_target(conn, &head)) {
        status = 400;
        why = "malformed escape in the path";
    }
    if (status != 0) {
        conn_refuse(conn, status, why);
        return false;
    }
    conn->head_len = len - (before - sock->input->size);
    make_room(conn, &head);
    conn_move(conn, CONN_BODY);
    if (head.expects && (head.chunked || head.has_length))
        conn_unsettle(conn); /* libh2o sends "100 Continue" and reads by itself then */
    return true;
}

/* Takes in what stands in the socket's input. */
static void advance(struct http_conn *conn)
{
    size_t max_body = conn->loop->server->options.max_body;

    if (conn->state != CONN_BODY && !take_head(conn))
        return;
    hold_update(conn);
    if (hold_is_over(conn)) {
        count_one(&conn->loop->over_memory);
        conn_refuse(conn, 503, "the memory for bodies of requests is full");
        return;
    }
    conn->pass(conn->sock, NULL);
    hold_update(conn); /* without the sizes of chunks, which libh2o has cut out */
    if (conn->state == CONN_BODY && conn->sock->input->size > conn->head_len &&
        conn->sock->input->size - conn->head_len > max_body)
        conn_refuse(conn, 413, "the body is too large");
}

static bool wants_more(const struct http_conn *conn)
{
    return (conn->state == CONN_OPENED || conn->state == CONN_IDLE || conn->state == CONN_HEAD ||
            conn->state == CONN_BODY) &&
           conn->sock->_cb.read != NULL;
}

/* A plain connection's end arrives as an error; TLS says it in a record. */
static void close_if_ended(struct http_conn *conn)
{
    if (wants_more(conn) && conn->ahead_at == conn->ahead.len && tls_has_ended(conn))
        conn_close(conn);
}

static void on_read(h2o_socket_t *sock, const char *err)
{
    struct http_conn *conn = conn_of(sock);

    if (err != NULL) {
        conn_close(conn);
        return;
    }
    advance(conn);
    close_if_ended(conn);
}

void gate_set_aside(struct http_conn *conn)
{
    h2o_socket_t *sock = conn->sock;

    if (sock->input->size == 0)
        return;
    buf_append(&conn->ahead, sock->input->bytes, sock->input->size);
    h2o_buffer_consume(&sock->input, sock->input->size);
}

void gate_enter(struct http_conn *conn)
{
    if (conn->sock->_cb.read == on_read)
        return;
    conn->pass = conn->sock->_cb.read;
    h2o_socket_read_start(conn->sock, on_read);
}

void gate_feed(struct http_conn *conn)
{
    conn->feeding = true;
    while (conn->ahead_at < conn->ahead.len && wants_more(conn)) {
        size_t len = conn->ahead.len - conn->ahead_at;
        h2o_iovec_t room;

        if (len > FEED_BYTES)
            len = FEED_BYTES;
        room = h2o_buffer_reserve(&conn->sock->input, len);
        memcpy(room.base, conn->ahead.data + conn->ahead_at, len);
        conn->sock->input->size += len;
        conn->ahead_at += len;
        advance(conn);
    }
    conn->feeding = false;
    if (conn->ahead_at == conn->ahead.len) {
        buf_reset(&conn->ahead, KEEP_BYTES);
        conn->ahead_at = 0;
    }
    close_if_ended(conn);
}

void gate_keep_rest(struct http_conn *conn, h2o_req_t *req)
{
    h2o_buffer_t *input = conn->sock->input;
    size_t end = conn->head_len;
    size_t rest;

    if (req->entity.base != NULL)
        end = (size_t)(req->entity.base + req->entity.len - input->bytes);
    rest = input->size - end;
    if (conn->feeding)
        conn->ahead_at -= rest;
    else if (rest > 0)
        buf_append(&conn->ahead, input->bytes + end, rest);
    input->size = end;
}

void gate_linger(h2o_socket_t *sock, const char *err)
{
    struct http_conn *conn = conn_of(sock);

    if (err != NULL)
        conn_close(conn);
    else if (sock->input->size > 0)
        h2o_buffer_consume(&sock->input, sock->input->size);
    hold_update(conn);
}
