/*
 * Reads requests out of a socket's input.
 *
 * A head is looked at only when it is whole, then its body is waited for: a length is counted,
 * chunks are decoded where they lie. What is malformed, doubtful or too large is refused. A
 * whole request is dispatched, and nothing more is read before it is answered.
 */
#include "http/http_priv.h"

#include <errno.h>

/* Made room for at once when a head announces a body; larger ones grow from there. */
#define ROOM_BYTES ((size_t)1 << 20)

/* Made for what is not announced. */
#define LEAST_ROOM ((size_t)4096)

/* Memory that a connection keeps for paths. */
#define KEEP_BYTES ((size_t)1024)

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

static void take_incomplete(struct http_conn *conn)
{
    const h2o_buffer_t *input = conn->sock->input;

    if (input->size > HEAD_MAX_BYTES)
        respond_refuse(conn, 431, "the head of the request is too large");
    else if (!head_is_token(input->bytes[0])) /* TLS, for one, begins like that */
        respond_refuse(conn, 400, "this is not HTTP");
    else if (conn->state != CONN_HEAD)
        conn_move(conn, CONN_HEAD);
}

/* A target that is not in normal form leaves its path in conn->path. */
static bool normalize_path(struct http_conn *conn, struct slice target)
{
    struct slice path;
    struct slice query;
    bool plain;

    buf_reset(&conn->path, KEEP_BYTES);
    target_split(target, &path, &query, &plain);
    return plain || target_normalize(path, &conn->path);
}

/* The head at the start of the input becomes the loop's. Whatever was read there before is gone,
 * also when this one is refused: what another connection reads next must not be this. */
static int parse_head(struct http_conn *conn, size_t len, const char **ret_why)
{
    struct http_loop *loop = conn->loop;
    const char *bytes = conn->sock->input->bytes;
    int status;

    loop->head_of = NULL;
    status = head_read((struct slice){bytes, len}, &loop->head, ret_why);
    if (status == 0) {
        loop->head_of = conn;
        loop->head_at = bytes;
    }
    return status;
}

/* 0, or the status to refuse the head with. */
static int check_head(struct http_conn *conn, size_t len, const char **ret_why)
{
    struct http_loop *loop = conn->loop;
    int status = parse_head(conn, len, ret_why);

    if (status != 0)
        return status;
    if (len > HEAD_MAX_BYTES) {
        *ret_why = "the head of the request is too large";
        return 431;
    }
    if (loop->head.length > loop->server->options.max_body) {
        *ret_why = "the body is too large";
        return 413;
    }
    if (!normalize_path(conn, loop->head.target)) {
        *ret_why = "malformed escape in the path";
        return 400;
    }
    return 0;
}

/* Room for the whole body at once: grown by doubling it would be copied time and again. Memory
 * that nothing is written to is only promised, so who announces more than comes takes none. */
static void make_room(struct http_conn *conn)
{
    size_t whole = conn->head_len + (conn->body_len < ROOM_BYTES ? conn->body_len : ROOM_BYTES) +
                   HTTP_BODY_PADDING;

    if (whole > conn->sock->input->size)
        h2o_buffer_reserve(&conn->sock->input, whole - conn->sock->input->size);
}

static void note_head(struct http_conn *conn, size_t len)
{
    const struct head *head = &conn->loop->head;

    conn->head_len = len;
    conn->body_len = (size_t)head->length;
    conn->chunked = head->chunked;
    conn->chunks = (struct chunked){0};
    conn->whole = conn->admitted = false;
    conn->head_only = slice_is(head->method, "HEAD");
    conn->minor_0 = head->minor == 0;
    conn->persistent = head_persists(head);
}

static size_t body_so_far(const struct http_conn *conn)
{
    return conn->sock->input->size - conn->head_len;
}

/* True when a whole, sound head stands at the start of the socket's input. */
static bool take_head(struct http_conn *conn)
{
    h2o_socket_t *sock = conn->sock;
    const char *why;
    size_t len;
    int status;

    if (conn->state != CONN_HEAD) {
        skip_empty_lines(sock);
        conn->scanned = 0;
    }
    if (sock->input->size == 0)
        return false;
    if (conn->misled) {
        respond_refuse(conn, 400, "this port speaks TLS: ask it by https://");
        return false;
    }
    len = head_end((struct slice){sock->input->bytes, sock->input->size}, &conn->scanned);
    if (len == 0) {
        take_incomplete(conn);
        return false;
    }
    status = check_head(conn, len, &why);
    if (status != 0) {
        respond_refuse(conn, status, why);
        return false;
    }
    note_head(conn, len);
    return true;
}

/* Before anything of a large body is kept, its request has to be one that may bring it. */
static bool begin_body(struct http_conn *conn)
{
    bool partial = conn->chunked ? body_so_far(conn) == 0 : body_so_far(conn) < conn->body_len;
    /* HTTP/1.0 knows no 100, and who has begun to send does not wait for it. */
    bool expects = partial && body_so_far(conn) == 0 && conn->loop->head.expects && !conn->minor_0;

    if (partial && conn->body_len > HTTP_SMALL_BODY && !request_admit(conn))
        return false;
    make_room(conn);
    if (expects)
        respond_continue(conn);
    return true;
}

/* Decodes what has arrived of the chunks. 0, or the status to refuse the body with. */
static int take_chunks(struct http_conn *conn)
{
    h2o_buffer_t *input = conn->sock->input;
    char *raw = input->bytes + conn->head_len + conn->body_len;
    size_t len = body_so_far(conn) - conn->body_len;
    size_t data;
    size_t taken;
    enum chunked_result result = chunked_decode(&conn->chunks, raw, len, &data, &taken);
    size_t max_body = conn->loop->server->options.max_body;

    memmove(raw + data, raw + taken, len - taken);
    input->size -= taken - data;
    conn->body_len += data;
    conn->whole = result == CHUNKED_DONE;
    if (result == CHUNKED_BROKEN)
        return 400;
    return conn->body_len > max_body || conn->chunks.left > max_body - conn->body_len ? 413 : 0;
}

/* Chunks that have become many. */
static bool wants_admission(const struct http_conn *conn)
{
    return conn->chunked && !conn->whole && !conn->admitted && body_so_far(conn) > HTTP_SMALL_BODY;
}

static void take_body(struct http_conn *conn)
{
    int status = 0;

    if (!conn->chunked)
        conn->whole = body_so_far(conn) >= conn->body_len;
    else if (!conn->whole)
        status = take_chunks(conn);
    if (status == 0 && wants_admission(conn) && !request_admit(conn))
        return;
    hold_update(conn);
    if (status != 0) {
        respond_refuse(conn, status,
                       status == 413 ? "the body is too large" : "malformed request body");
    } else if (hold_is_over(conn)) {
        count_one(&conn->loop->over_memory);
        respond_refuse(conn, 503, "the memory for bodies of requests is full");
    } else if (conn->whole) {
        request_dispatch(conn);
    } else if (conn->state != CONN_BODY) {
        conn_move(conn, CONN_BODY);
    }
}

void read_on(struct http_conn *conn)
{
    if (conn->state == CONN_BODY || (take_head(conn) && begin_body(conn)))
        take_body(conn);
}

/* The room that the next bytes need at least: no more than a body that was announced still takes,
 * for which there is room already. */
static size_t least_room(const struct http_conn *conn)
{
    size_t left = LEAST_ROOM;

    if (conn->state == CONN_BODY && !conn->chunked && !conn->whole)
        left = conn->body_len - body_so_far(conn);
    return left < LEAST_ROOM ? left : LEAST_ROOM;
}

/* What is to be had at once, into the room that there is. Gives whether there may be more; a
 * connection that has ended is closed. */
static bool receive(struct http_conn *conn)
{
    h2o_buffer_t **input = &conn->sock->input;
    h2o_iovec_t room = h2o_buffer_reserve(input, least_room(conn));
    ssize_t got;

    got = recv(h2o_socket_get_fd(conn->sock), room.base, room.len, 0);
    if (got > 0)
        (*input)->size += (size_t)got;
    else if (got == 0 || (errno != EAGAIN && errno != EINTR))
        conn_close(conn);
    return got == (ssize_t)room.len;
}

static void take_in(struct http_conn *conn)
{
    h2o_buffer_t **input = &conn->sock->input;

    if (conn->state != CONN_LINGERING)
        read_on(conn);
    else if ((*input)->size > 0)
        h2o_buffer_consume(input, (*input)->size);
}

/* A "100 Continue" that is not written yet: nothing of the body is asked for before. Behind it an
 * answer could not be written, so what came could not be refused either. */
static bool is_continuing(const struct http_conn *conn)
{
    return conn->state == CONN_BODY && h2o_socket_is_writing(conn->sock);
}

/* libh2o reads what it decrypts, and nothing else: it would read on before the head is looked at,
 * into a memory that it doubles, and copies, every few kilobytes. */
void read_event(h2o_socket_t *sock, const char *err)
{
    struct http_conn *conn = conn_of(sock);
    bool more = false;

    if (conn->watching) {
        conn_stop(conn);
        return;
    }
    if (err != NULL) {
        conn_close(conn);
        return;
    }
    if (is_continuing(conn)) {
        conn_stop(conn);
        return;
    }
    do {
        if (!conn->secure)
            more = receive(conn);
        if (conn->state == CONN_CLOSING || conn->state == CONN_CLOSED)
            return;
        take_in(conn);
    } while (more && !is_continuing(conn) &&
             (conn->state == CONN_HEAD || (conn->state == CONN_BODY && !conn->whole)));
    hold_update(conn);
    conn_close_if_ended(conn);
}

const struct head *read_head(struct http_conn *conn)
{
    struct http_loop *loop = conn->loop;
    const char *why;

    if (loop->head_of != conn || loop->head_at != conn->sock->input->bytes)
        (void)parse_head(conn, conn->head_len, &why); /* it was sound */
    return &loop->head;
}
