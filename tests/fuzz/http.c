/*
 * Any bytes on two connections at once, on one as they are, on the other cut at any places: every
 * request is answered once, in order and as the model of models/http.h has it, whether its handler
 * answers at once or later; and when a client has sent its last byte its connection ends, with
 * nothing left of it.
 *
 * The first byte says how handlers and clients behave, the second how the stream is cut. Behind
 * them 0x01 and n stand for n * 128 times "x" (n = 0: for 0x01), so that a short input reaches
 * the bounds. The server has no thread: its loop is turned here, between two pieces.
 */
#include "models/http.h"
#include "http/http_priv.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LATER = 1, RELEASED = 2, LONG = 4, LEAVES = 8 };
enum { MOST_STREAM = 100 * 1000, LONG_ANSWER = 8 * 1024, MOST_TURNS = 100 * 1000 };

static struct http_server *server;
static struct http_loop *loop;
static unsigned flags;

/* Requests that are answered later, one of each client at most. */
enum { CLIENTS = 2 };
static struct owed {
    struct http_request *request;
    struct buf answer;
} owed[CLIENTS];

struct client {
    int fd;
    struct slice left; /* of the stream */
    uint32_t seed;     /* 0: the stream is not cut */
    struct buf out;    /* what was answered */
};

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void answer_one(struct owed *one)
{
    struct http_request *request = one->request;

    one->request = NULL;
    if (request != NULL)
        http_respond_as(request, 200, "text/plain", NULL, buf_slice(&one->answer));
}

static void pad(struct buf *out, size_t len)
{
    memset(buf_reserve(out, len), 'z', len);
    out->len += len;
}

/* Says what it was asked. */
static void echo(struct http_request *request, void *arg)
{
    struct owed *one = owed[0].request == NULL ? &owed[0] : &owed[1];
    struct buf *answer = &one->answer;

    (void)arg;
    require(one->request == NULL);
    answer->len = 0;
    buf_printf(answer, "%.*s %.*s?%.*s %.*s %.*s\n", SLICE_ARG(http_request_method(request)),
               SLICE_ARG(http_request_path(request)), SLICE_ARG(http_request_query(request)),
               SLICE_ARG(http_request_capture(request)),
               SLICE_ARG(http_request_header(request, "x")));
    buf_append_slice(answer, http_request_body(request));
    if ((flags & LONG) != 0)
        pad(answer, LONG_ANSWER);
    one->request = request;
    if ((flags & RELEASED) != 0)
        http_request_release(request);
    if ((flags & LATER) == 0)
        answer_one(one);
}

static void forbid(struct http_request *request, void *arg)
{
    (void)arg;
    http_respond_error(request, 403, NULL, "no");
}

static bool admit_none(struct http_request *request, void *arg)
{
    forbid(request, arg);
    return false;
}

static void open_once(void)
{
    static const struct http_route routes[] = {
        {"GET", "/", echo, NULL},           {"POST", "/b", echo, NULL},
        {"POST", "/d", forbid, admit_none}, {"PUT", "/c/{}", echo, NULL},
        {"GET", "/c/{}", echo, NULL},       {0}};
    const struct http_options options = {
        .listen = "127.0.0.1:0",
        .loops = 1,
        .max_body = MODEL_MAX_BODY,
        .max_connections = CLIENTS,
        .routes = routes,
    };

    if (server != NULL)
        return;
    signal(SIGPIPE, SIG_IGN); /* as the engine does */
    require(http_open(&options, &server, NULL) == 0);
    loop = &server->loops[0];
    loop->evloop = h2o_evloop_create();
    for (int i = 0; i < LIMITS; i++)
        h2o_timeout_init(loop->evloop, &loop->limits[i], INT_MAX); /* nothing here is slow */
}

static void receive(struct client *client)
{
    ssize_t got;

    do {
        got = recv(client->fd, buf_reserve(&client->out, 4096), 4096, 0);
        client->out.len += got > 0 ? (size_t)got : 0;
    } while (got > 0);
}

static void turn(struct client clients[CLIENTS])
{
    require(h2o_evloop_run(loop->evloop, 0) == 0);
    conn_settle(loop);
    for (int i = 0; i < CLIENTS; i++)
        answer_one(&owed[i]);
    for (int i = 0; i < CLIENTS; i++)
        receive(&clients[i]);
}

/* How much comes next; the same seed cuts the same stream in the same way. */
static size_t next_cut(uint32_t *seed, size_t left)
{
    static const size_t pieces[] = {1, 1, 2, 3, 5, 17, 90, 1000};
    size_t len = left;

    if (*seed != 0) {
        *seed = *seed * 1664525 + 1013904223;
        len = pieces[*seed >> 29] << (*seed >> 27 & 2);
    }
    return len < left ? len : left;
}

/* False: there is no more. */
static bool send_some(struct client *client)
{
    size_t len = next_cut(&client->seed, client->left.len);
    ssize_t taken = len > 0 ? send(client->fd, client->left.at, len, MSG_NOSIGNAL) : 0;

    require(taken >= 0 || errno == EAGAIN);
    if (taken > 0) {
        client->left.at += taken;
        client->left.len -= (size_t)taken;
    }
    return client->left.len > 0;
}

static void connect_one(struct client *client)
{
    const int least = 1;
    int fds[2];

    client->out.len = 0;
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    if ((flags & LONG) != 0) /* the kernel takes less than an answer */
        setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &least, sizeof least);
    client->fd = fds[1];
    atomic_fetch_add(&server->connections, 1);
    atomic_fetch_add(&loop->connections, 1);
    conn_open(conn_new(loop, fds[0], false));
}

/* Of each client its `out` then has all that came. */
static void converse(struct client clients[CLIENTS])
{
    unsigned turns = 0;
    bool more = true;

    for (int i = 0; i < CLIENTS; i++)
        connect_one(&clients[i]);
    while (more) {
        more = false;
        for (int i = 0; i < CLIENTS; i++)
            more |= send_some(&clients[i]);
        turn(clients);
        turn(clients);
        require(++turns < MOST_TURNS);
    }
    for (int i = 0; i < CLIENTS; i++)
        shutdown(clients[i].fd, (flags & LEAVES) != 0 ? SHUT_RDWR : SHUT_WR);
    while (loop->open > 0 || loop->dead != NULL) {
        turn(clients);
        require(++turns < MOST_TURNS);
    }
    for (int i = 0; i < CLIENTS; i++) {
        receive(&clients[i]);
        close(clients[i].fd);
        require(owed[i].request == NULL);
    }
    require(h2o_linklist_is_empty(&loop->conns) && loop->unsettled == NULL);
    require(atomic_load(&server->connections) == 0 && atomic_load(&server->body_bytes) == 0);
}

struct response {
    unsigned bit;
    struct slice head;
    struct slice body;
};

static bool has_line(struct slice head, const char *line)
{
    return memmem(head.at, head.len, line, strlen(line)) != NULL;
}

static void take_response(struct slice *out, bool head_only, struct response *ret)
{
    static const char field[] = "\r\nContent-Length: ";
    const char *end = out->len > 0 ? memmem(out->at, out->len, "\r\n\r\n", 4) : NULL;
    const char *length;
    size_t len;

    require(end != NULL && memcmp(out->at, "HTTP/1.1 ", 9) == 0);
    ret->bit = model_bit(atoi(out->at + 9));
    ret->head = (struct slice){out->at, (size_t)(end + 4 - out->at)};
    length = memmem(out->at, ret->head.len, field, sizeof field - 1);
    require(length != NULL);
    len = head_only ? 0 : strtoul(length + sizeof field - 1, NULL, 10);
    require(len <= out->len - ret->head.len);
    ret->body = (struct slice){end + 4, len};
    out->at = end + 4 + len;
    out->len -= ret->head.len + len;
}

static void take_continue(struct slice *out, bool may)
{
    static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
    size_t len = sizeof line - 1;

    if (!may || out->len < len || memcmp(out->at, line, len) != 0)
        return;
    out->at += len;
    out->len -= len;
}

static void check_answer(const struct response *response, const struct expected *expected)
{
    bool closes = has_line(response->head, "\r\nConnection: close\r\n");
    struct buf text = {0};

    require(closes == !expected->persistent);
    require(has_line(response->head, "\r\nConnection: keep-alive\r\n") ==
            (expected->persistent && expected->minor_0));
    buf_append_slice(&text, buf_slice(&expected->text));
    if ((flags & LONG) != 0)
        pad(&text, LONG_ANSWER);
    if (response->bit == R200 && !expected->head_only)
        require(slice_equal(response->body, buf_slice(&text)));
    buf_free(&text);
}

/* Whether the next request is the connection's last, and all of `out` is looked at. */
static bool check_next(struct slice *stream, struct slice *out, struct expected *expected)
{
    struct response response;

    model_next(stream, expected);
    if (expected->unsure)
        return true;
    take_continue(out, expected->may_continue);
    if (out->len == 0) {
        require(expected->silent);
        return true;
    }
    take_response(out, expected->head_only, &response);
    if ((response.bit & expected->refusals) != 0 &&
        has_line(response.head, "\r\nConnection: close\r\n")) {
        require(out->len == 0);
        return true;
    }
    require(response.bit != 0 && response.bit == expected->answer);
    check_answer(&response, expected);
    require(expected->persistent || out->len == 0);
    return !expected->persistent;
}

static void check(struct slice stream, const struct buf *out)
{
    static struct expected expected;
    struct slice rest = buf_slice(out);

    if ((flags & LEAVES) != 0)
        return;
    while (!check_next(&stream, &rest, &expected))
        continue;
}

static void expand(const uint8_t *data, size_t size, struct buf *stream)
{
    for (size_t i = 0; i < size && stream->len < MOST_STREAM; i++) {
        size_t times = data[i] == 1 && i + 1 < size ? data[i + 1] * (size_t)128 : 0;

        if (times > 0)
            memset(buf_reserve(stream, times), 'x', times);
        else
            buf_append_char(stream, (char)data[i]);
        stream->len += times;
        i += data[i] == 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct client clients[CLIENTS];
    struct buf stream = {0};

    open_once();
    if (size < 3)
        return 0;
    flags = data[0];
    expand(data + 2, size - 2, &stream);
    for (int i = 0; i < CLIENTS; i++)
        clients[i].left = buf_slice(&stream);
    clients[1].seed = data[1] * 2654435761u;
    converse(clients);
    for (int i = 0; i < CLIENTS; i++)
        check(buf_slice(&stream), &clients[i].out);
    buf_free(&stream);
    return 0;
}
