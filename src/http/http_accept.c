/*
 * Accepts connections, and gives each to the loop that has the fewest.
 *
 * All loops listen on the same sockets. A place is claimed before accept() is called, so
 * the bound holds over all loops; who finds none stops listening (the rest wait in the
 * kernel's queue) until a connection somewhere is gone. An address that has as many
 * connections as one may is told so and closed. Without descriptors or memory a
 * loop pauses for a while instead: the kernel would report the queue again at once.
 */
#include "base/mem.h"
#include "http/http_priv.h"

#include <errno.h>
#include <unistd.h>

/* Per turn and listener: a flood of connections must not starve the open ones. */
#define ACCEPTS_A_TURN 16

static bool has_room(struct http_server *server)
{
    return atomic_load(&server->connections) < server->options.max_connections;
}

static bool claim(struct http_server *server)
{
    if (atomic_fetch_add(&server->connections, 1) < server->options.max_connections)
        return true;
    atomic_fetch_sub(&server->connections, 1);
    return false;
}

/* Gives a place back. A loop that waits for one set its flag before it looked again. */
static void unclaim(struct http_server *server)
{
    if (atomic_fetch_sub(&server->connections, 1) > server->options.max_connections)
        return;
    for (unsigned i = 0; i < server->options.loops; i++)
        if (atomic_load(&server->loops[i].full))
            loop_wake(&server->loops[i]);
}

static struct http_loop *least_loaded(struct http_loop *self)
{
    struct http_server *server = self->server;
    struct http_loop *best = self;

    for (unsigned i = 0; i < server->options.loops; i++)
        if (atomic_load_explicit(&server->loops[i].connections, memory_order_relaxed) <
            atomic_load_explicit(&best->connections, memory_order_relaxed))
            best = &server->loops[i];
    return best;
}

static void on_opened(struct mail *mail)
{
    conn_open(H2O_STRUCT_FROM_MEMBER(struct http_conn, opened, mail));
}

/* Its bytes are not waited for; those that have come already would, unread, make the kernel
 * take the answer back. Who waits for TLS could not read it. */
static void turn_away(struct http_loop *loop, int fd, bool secure)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"
                                 "Retry-After: 2\r\nContent-Type: application/json\r\n"
                                 "Content-Length: 52\r\n\r\n"
                                 "{\"detail\": \"too many connections from this address\"}";
    char unread[4096];
    ssize_t sent = secure ? 0 : send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL);

    if (sent > 0)
        respond_count(loop, 503);
    if (sent > 0 && shutdown(fd, SHUT_WR) == 0)
        sent = recv(fd, unread, sizeof unread, 0);
    close(fd);
    unclaim(loop->server);
    count_one(&loop->turned_away);
}

static void give_away(struct http_loop *self, int fd, bool secure, struct peer *peer)
{
    struct http_loop *loop = least_loaded(self);
    struct http_conn *conn = conn_new(loop, fd, secure);

    conn->peer = peer;
    count_one(&self->accepted);
    atomic_fetch_add_explicit(&loop->connections, 1, memory_order_relaxed);
    if (loop == self) {
        conn_open(conn);
        return;
    }
    conn->opened.deliver = on_opened;
    mailbox_put(&loop->mailbox, &conn->opened);
}

static void on_accept(h2o_socket_t *listener, const char *err);

static void listen_again(struct http_loop *loop)
{
    for (size_t i = 0; i < loop->server->listener_count; i++)
        h2o_socket_read_start(loop->listeners[i], on_accept);
}

static void listen_no_more(struct http_loop *loop)
{
    for (size_t i = 0; i < loop->server->listener_count; i++)
        h2o_socket_read_stop(loop->listeners[i]);
}

static void wait_for_room(struct http_loop *loop)
{
    listen_no_more(loop);
    atomic_store(&loop->full, true);
    accept_resume(loop); /* it may have come in between */
}

void accept_resume(struct http_loop *loop)
{
    if (loop->listeners == NULL || !atomic_load(&loop->full) || !has_room(loop->server))
        return;
    atomic_store(&loop->full, false);
    listen_again(loop);
}

static void on_accept_later(h2o_timeout_entry_t *entry)
{
    listen_again(H2O_STRUCT_FROM_MEMBER(struct http_loop, accept_later, entry));
}

static void pause_listening(struct http_loop *loop)
{
    listen_no_more(loop);
    loop->accept_later.cb = on_accept_later;
    h2o_timeout_unlink(&loop->accept_later);
    h2o_timeout_link(loop->evloop, &loop->accept_pause, &loop->accept_later);
}

static bool is_secure(const struct http_loop *loop, const h2o_socket_t *listener)
{
    size_t i = 0;

    while (loop->listeners[i] != listener)
        i++;
    return loop->server->listeners[i].secure;
}

static bool is_shortage(int number)
{
    return number == EMFILE || number == ENFILE || number == ENOBUFS || number == ENOMEM;
}

static void on_accept(h2o_socket_t *listener, const char *err)
{
    struct http_loop *loop = listener->data;
    struct peers *peers = loop->server->peers;

    (void)err;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        struct sockaddr_storage address;
        socklen_t len = sizeof address;
        struct peer *peer = NULL;
        int fd;

        if (!claim(loop->server)) {
            wait_for_room(loop);
            return;
        }
        fd = accept4(h2o_socket_get_fd(listener), (struct sockaddr *)&address, &len,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            int number = errno;

            unclaim(loop->server);
            if (is_shortage(number))
                pause_listening(loop);
            return; /* nobody there, or one who has already left */
        }
        if (peers != NULL && (peer = peer_claim(peers, (struct sockaddr *)&address)) == NULL)
            turn_away(loop, fd, is_secure(loop, listener));
        else
            give_away(loop, fd, is_secure(loop, listener), peer);
    }
}

void accept_start(struct http_loop *loop)
{
    size_t count = loop->server->listener_count;

    loop->listeners = mem_alloc(count * sizeof *loop->listeners);
    for (size_t i = 0; i < count; i++) {
        loop->listeners[i] =
            h2o_evloop_socket_create(loop->evloop, loop->listen_fds[i], H2O_SOCKET_FLAG_DONT_READ);
        loop->listeners[i]->data = loop;
        loop->listen_fds[i] = -1;
    }
    listen_again(loop);
}

void accept_stop(struct http_loop *loop)
{
    struct http_server *server = loop->server;

    for (size_t i = 0; i < server->listener_count; i++)
        h2o_socket_close(loop->listeners[i]);
    free(loop->listeners);
    loop->listeners = NULL;
    h2o_timeout_unlink(&loop->accept_later);
    if (atomic_fetch_sub(&server->accepting, 1) > 1)
        return;
    for (unsigned i = 0; i < server->options.loops; i++)
        loop_wake(&server->loops[i]);
}

void accept_release(struct http_conn *conn)
{
    atomic_fetch_sub_explicit(&conn->loop->connections, 1, memory_order_relaxed);
    if (conn->peer != NULL)
        peer_release(conn->loop->server->peers, conn->peer);
    conn->peer = NULL;
    unclaim(conn->loop->server);
}
