/*
 * A connection's life: opened, moved from state to state, cut when too slow, closed.
 *
 * Each state has at most one time limit, counted from the moment the limit began to apply
 * and not from the last byte: who sends a byte a second is cut like who sends none. A
 * connection that has answered while more of its requests are at hand goes on at the end of
 * the turn, with one of them.
 */
#include "base/mem.h"
#include "http/http_priv.h"

#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>

static void on_timeout(h2o_timeout_entry_t *entry);

/* The limit of a state, or LIMITS for none. */
static enum conn_limit limit_of(enum conn_state state)
{
    switch (state) {
    case CONN_SHAKING:
    case CONN_OPENED:
    case CONN_HEAD:
        return LIMIT_HEADER;
    case CONN_IDLE:
        return LIMIT_IDLE;
    case CONN_BODY:
        return LIMIT_BODY;
    case CONN_SENDING:
        return LIMIT_SEND;
    case CONN_CLOSING:
    case CONN_LINGERING:
        return LIMIT_LINGER;
    case CONN_HANDLING:
    case CONN_CLOSED:
        break;
    }
    return LIMITS;
}

static bool may_move(enum conn_state from, enum conn_state to)
{
    bool reading =
        from == CONN_OPENED || from == CONN_IDLE || from == CONN_HEAD || from == CONN_BODY;

    switch (to) {
    case CONN_SHAKING:
        return false;
    case CONN_OPENED:
        return from == CONN_SHAKING;
    case CONN_HEAD:
        return from == CONN_OPENED || from == CONN_IDLE;
    case CONN_BODY:
        return reading && from != CONN_BODY;
    case CONN_HANDLING:
        return reading;
    case CONN_SENDING: /* a request that is not whole is refused */
        return reading || from == CONN_HANDLING;
    case CONN_IDLE:
    case CONN_LINGERING:
        return from == CONN_SENDING;
    case CONN_CLOSING:
    case CONN_CLOSED:
        return from != CONN_CLOSED;
    }
    return false;
}

void conn_move(struct http_conn *conn, enum conn_state state)
{
    struct http_loop *loop = conn->loop;
    enum conn_limit before = limit_of(conn->state);
    enum conn_limit limit = limit_of(state);

    assert(may_move(conn->state, state));
    conn->state = state;
    if (limit == before)
        return;
    h2o_timeout_unlink(&conn->timer);
    if (limit != LIMITS)
        h2o_timeout_link(loop->evloop, &loop->limits[limit], &conn->timer);
}

/* After the machine stood still, time is up before the kernel's queue has been looked at. */
static bool has_input(struct http_conn *conn)
{
    char byte;

    return conn->sock->input->size > 0 ||
           recv(h2o_socket_get_fd(conn->sock), &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static void on_quiet_timeout(struct http_conn *conn)
{
    struct http_loop *loop = conn->loop;

    if (has_input(conn)) {
        h2o_timeout_link(loop->evloop, &loop->limits[limit_of(conn->state)], &conn->timer);
        return;
    }
    if (conn->state == CONN_OPENED)
        count_one(&loop->timeouts);
    conn_close(conn);
}

static void on_timeout(h2o_timeout_entry_t *entry)
{
    struct http_conn *conn = H2O_STRUCT_FROM_MEMBER(struct http_conn, timer, entry);

    switch (conn->state) {
    case CONN_SHAKING:
        count_one(&conn->loop->timeouts);
        conn_close(conn);
        break;
    case CONN_OPENED:
    case CONN_IDLE:
        on_quiet_timeout(conn);
        break;
    case CONN_HEAD:
        count_one(&conn->loop->timeouts);
        respond_refuse(conn, 408, "the head of the request took too long");
        break;
    case CONN_BODY:
        count_one(&conn->loop->timeouts);
        respond_refuse(conn, 408, "the body of the request took too long");
        break;
    case CONN_SENDING:
        count_one(&conn->loop->timeouts);
        conn_cut(conn);
        break;
    case CONN_HANDLING:
    case CONN_CLOSING:
    case CONN_LINGERING:
    case CONN_CLOSED:
        conn_cut(conn);
        break;
    }
}

struct http_conn *conn_new(struct http_loop *loop, int fd, bool secure)
{
    struct http_conn *conn = mem_zalloc(sizeof *conn);

    conn->loop = loop;
    conn->fd = fd;
    conn->secure = secure;
    conn->timer.cb = on_timeout;
    return conn;
}

static void on_closed(void *arg)
{
    struct http_conn *conn = arg;

    conn->sock = NULL;
    if (conn->loop->head_of == conn)
        conn->loop->head_of = NULL;
    hold_unsent(conn, 0);
    conn->ssl = NULL;
    SSL_CTX_free(conn->context);
    conn->context = NULL;
    conn_move(conn, CONN_CLOSED);
    conn->loop->open--;
    accept_release(conn);
    conn_forget(conn);
}

void conn_begin(struct http_conn *conn)
{
    h2o_socket_read_start(conn->sock, read_event);
    if (conn->sock->input->size > 0)
        read_on(conn);
    if (conn->loop->stopping)
        conn_close_if_quiet(conn);
}

void conn_open(struct http_conn *conn)
{
    struct http_loop *loop = conn->loop;
    const int on = 1;

    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    conn->sock = h2o_evloop_socket_create(loop->evloop, conn->fd,
                                          H2O_SOCKET_FLAG_IS_ACCEPTED_CONNECTION |
                                              (conn->secure ? 0 : H2O_SOCKET_FLAG_DONT_READ));
    conn->sock->on_close.cb = on_closed;
    conn->sock->on_close.data = conn;
    h2o_linklist_insert(&loop->conns, &conn->link);
    loop->open++;
    h2o_timeout_link(loop->evloop, &loop->limits[LIMIT_HEADER], &conn->timer);
    if (!conn->secure) {
        conn_begin(conn);
        return;
    }
    tls_begin(conn);
    if (loop->stopping)
        conn_close(conn);
}

struct http_conn *conn_of(h2o_socket_t *sock)
{
    return sock->on_close.data;
}

/*
 * A socket that is taken out of epoll and put in again for each answer that comes later costs
 * two system calls. So it stays registered while nothing may be read; most clients send nothing
 * before they have the answer, and one that does (or leaves) is taken out.
 */
void conn_watch(struct http_conn *conn)
{
    conn->watching = true;
    if (conn->secure)
        h2o_socket_dont_read(conn->sock, 1);
}

void conn_stop(struct http_conn *conn)
{
    conn->stopped = true;
    h2o_socket_read_stop(conn->sock);
}

void conn_unwatch(struct http_conn *conn)
{
    if (conn->watching && conn->secure)
        h2o_socket_dont_read(conn->sock, 0);
    if (conn->stopped)
        h2o_socket_read_start(conn->sock, read_event);
    conn->watching = conn->stopped = false;
}

/* With TLS the socket lives on until close_notify is written. */
void conn_close(struct http_conn *conn)
{
    if (conn->state == CONN_SHAKING && conn->sock->ssl != NULL)
        count_one(&conn->loop->handshake_failures);
    conn_move(conn, CONN_CLOSING);
    h2o_socket_close(conn->sock);
}

/* A write that is under way fails then, and whoever waits for it closes the connection. */
static void break_socket(struct http_conn *conn)
{
    shutdown(h2o_socket_get_fd(conn->sock), SHUT_RDWR);
}

void conn_cut(struct http_conn *conn)
{
    switch (conn->state) {
    case CONN_HANDLING:
        if (conn->head_len == 0) { /* released: it may be done all the same, so nothing is said */
            conn_close(conn);
            break;
        }
        respond_refuse(conn, 503, "the server is stopping");
        break;
    case CONN_SENDING:
        conn->persistent = false;
        break_socket(conn);
        break;
    case CONN_CLOSING:
        break_socket(conn);
        break;
    case CONN_BODY:
        if (h2o_socket_is_writing(conn->sock)) { /* "100 Continue" */
            break_socket(conn);
            break;
        }
        conn_close(conn);
        break;
    case CONN_SHAKING:
    case CONN_OPENED:
    case CONN_IDLE:
    case CONN_HEAD:
    case CONN_LINGERING:
        conn_close(conn);
        break;
    case CONN_CLOSED:
        break;
    }
}

/* Quiet: between requests, and none waits to be read. A handshake is not waited for: its bytes
 * are no request, and its client might take its time. */
void conn_close_if_quiet(struct http_conn *conn)
{
    if (conn->state == CONN_SHAKING ||
        ((conn->state == CONN_OPENED || conn->state == CONN_IDLE) && !has_input(conn)))
        conn_close(conn);
}

void conn_unsettle(struct http_conn *conn)
{
    if (conn->unsettled)
        return;
    conn->unsettled = true;
    conn->next_unsettled = conn->loop->unsettled;
    conn->loop->unsettled = conn;
}

static bool wants_more(const struct http_conn *conn)
{
    return (conn->state == CONN_OPENED || conn->state == CONN_IDLE || conn->state == CONN_HEAD ||
            conn->state == CONN_BODY) &&
           !conn->unsettled;
}

/* A plain connection's end arrives as an error; TLS says it in a record. */
void conn_close_if_ended(struct http_conn *conn)
{
    if (wants_more(conn) && tls_has_ended(conn))
        conn_close(conn);
}

static void settle_one(struct http_conn *conn)
{
    if (conn->state == CONN_IDLE)
        read_on(conn);
    if (!wants_more(conn))
        return;
    conn_unwatch(conn);
    if (conn->loop->stopping && conn->state == CONN_IDLE)
        conn_close_if_quiet(conn);
    conn_close_if_ended(conn);
}

static void conn_free(struct http_conn *conn)
{
    h2o_linklist_unlink(&conn->link);
    buf_free(&conn->path);
    buf_free(&conn->out);
    buf_free(&conn->request.fields);
    free(conn);
}

void conn_settle(struct http_loop *loop)
{
    struct http_conn *conn = loop->unsettled;
    struct http_conn *next;

    loop->unsettled = NULL;
    for (; conn != NULL; conn = next) {
        next = conn->next_unsettled;
        conn->unsettled = false;
        settle_one(conn);
    }
    conn = loop->dead;
    loop->dead = NULL;
    for (; conn != NULL; conn = next) {
        next = conn->next_dead;
        if (conn->unsettled)
            conn_forget(conn); /* the other list still has it: next turn */
        else
            conn_free(conn);
    }
}

void conn_forget(struct http_conn *conn)
{
    if (conn->state != CONN_CLOSED || conn->request.owed)
        return;
    conn->next_dead = conn->loop->dead;
    conn->loop->dead = conn;
}

/* What is left then are connections whose handlers never answered. */
void conn_free_all(struct http_loop *loop)
{
    while (!h2o_linklist_is_empty(&loop->conns))
        conn_free(H2O_STRUCT_FROM_MEMBER(struct http_conn, link, loop->conns.next));
}
