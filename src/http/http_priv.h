/*
 * Inside the http room.
 *
 * libh2o owns sockets, timers, the parsing of requests and the writing of answers. The
 * room stands on both sides of its HTTP/1 code: in front, a gate (http_gate.c) reads the
 * socket first and passes on only heads that were checked; behind, a handler, a filter
 * and a logger, libh2o's own extension points, see each request dispatched, each error of
 * libh2o's making, and each request's end. Between them they drive the connection's
 * state, and the state alone decides which time limit runs.
 *
 * Everything of a loop is touched by the loop's thread only, but for what is _Atomic and
 * the mailbox.
 */
#ifndef HTTP_HTTP_PRIV_H
#define HTTP_HTTP_PRIV_H

#include "base/buf.h"
#include "http/http.h"
#include "http/http_head.h"

/* The header's other backend, libuv, is its default. */
#define H2O_USE_LIBUV 0
#define H2O_USE_EPOLL 1
#include <h2o.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

/* The gate leans on how this version's HTTP/1 code reads and closes (2.2.x). */
_Static_assert(H2O_LIBRARY_VERSION_MAJOR == 0 && H2O_LIBRARY_VERSION_MINOR == 13,
               "read http_gate.c, http_conn.c and http_tls.c against the new libh2o");

enum conn_state {
    CONN_OPENED,    /* nothing has arrived yet */
    CONN_SHAKING,   /* comes before that where TLS is spoken */
    CONN_IDLE,      /* kept alive, between requests */
    CONN_HEAD,      /* the head is arriving */
    CONN_BODY,      /* libh2o has the head, the body is arriving */
    CONN_HANDLING,  /* a handler owes the answer */
    CONN_SENDING,   /* the answer is on its way */
    CONN_CLOSING,   /* libh2o is closing it */
    CONN_REFUSING,  /* an answer of the gate is on its way */
    CONN_LINGERING, /* refused; what still arrives is thrown away, so that the client can
                     * read the refusal before a reset takes it back */
    CONN_CLOSED,    /* no socket any more; memory stays while an answer is owed */
};

enum conn_limit { LIMIT_HEADER, LIMIT_BODY, LIMIT_IDLE, LIMIT_SEND, LIMIT_LINGER, LIMITS };

/* Embedded in its connection, which carries one request at a time. */
struct http_request {
    h2o_req_t *req; /* NULL once libh2o has disposed of it */
    struct slice path;
    struct slice capture;
    bool owed; /* the handler has yet to answer */
};

struct http_conn {
    struct http_loop *loop;
    int fd;             /* until it is open on its loop */
    struct peer *peer;  /* whose connections are counted; NULL: they are not */
    struct mail opened; /* brings it there */
    h2o_socket_t *sock;
    h2o_socket_cb pass; /* libh2o's own reader; given an error, it closes the connection. NULL
                         * before libh2o's HTTP has it */
    enum conn_state state;
    h2o_timeout_entry_t timer;
    h2o_linklist_t link; /* in loop->conns */

    bool secure;            /* its listener speaks TLS */
    bool misled;            /* its client does not */
    SSL_CTX *context;       /* a reference; NULL without TLS */
    SSL *ssl;               /* the socket's own; NULL before the handshake */
    unsigned char alert[7]; /* a record that says why the handshake failed; [0] is 0: none */

    size_t head_len;  /* of the current request, 0 before it is whole */
    size_t scanned;   /* see head_end() */
    struct buf path;  /* the normalised path, if it is not the one that was sent */
    struct buf ahead; /* bytes read beyond the request that is being served */
    size_t ahead_at;  /* how many of them have been taken */
    size_t held;      /* bytes of it in server->body_bytes */
    bool feeding;     /* the bytes at hand come from there */
    bool watching;    /* see request_watch() */

    bool unsettled; /* in loop->unsettled */
    struct http_conn *next_unsettled;
    struct http_conn *next_dead;
    struct buf refusal;
    struct http_request request;
};

struct http_loop {
    struct http_server *server;
    unsigned index;
    pthread_t thread;
    int wake_fd; /* an eventfd */
    struct mailbox mailbox;
    void *arg; /* what loop_start() returned */

    h2o_evloop_t *evloop;
    h2o_context_t context;
    h2o_accept_ctx_t accept;
    h2o_socket_t *wake_sock;
    int *listen_fds;          /* its own descriptors of the server's sockets; -1: given away */
    h2o_socket_t **listeners; /* NULL before it accepts and once it is stopping */
    h2o_timeout_t limits[LIMITS];
    h2o_timeout_entry_t accept_later;
    _Atomic bool full; /* waits for room to accept */

    h2o_linklist_t conns;
    size_t open; /* of them with a socket */
    struct http_conn *unsettled;
    struct http_conn *dead;
    bool stopping;
    bool happened;    /* a request was dispatched or mail delivered in this turn */
    uint64_t answers; /* begun so far */

    _Atomic uint64_t connections; /* assigned to this loop, by whichever loop accepted */
    _Atomic uint64_t accepted;
    _Atomic uint64_t requests;
    _Atomic uint64_t status[6];
    _Atomic uint64_t timeouts;
    _Atomic uint64_t turned_away;
    _Atomic uint64_t over_memory;
    _Atomic uint64_t handshakes;
    _Atomic uint64_t handshake_failures;
};

struct http_listener {
    int fd;
    bool secure;      /* speaks TLS */
    char address[64]; /* "[2001:db8::1]:8000" */
};

struct http_tls {
    char *cert; /* NULL: there is none */
    char *key;
    pthread_mutex_t lock; /* over the pointer alone, never over a file */
    SSL_CTX *context;
    _Atomic int64_t expires_s;
};

struct route {
    struct slice method;
    struct slice before; /* the path, or what comes before "{}" */
    struct slice after;  /* behind it */
    bool captures;
    http_handler *handler;
};

struct http_server {
    struct http_options options;
    h2o_globalconf_t config;
    struct http_listener *listeners;
    size_t listener_count;
    char *addresses;
    struct http_tls tls;
    struct route *routes;
    size_t route_count;
    struct http_loop *loops;
    unsigned started;             /* loops with a thread */
    sem_t ready;                  /* posted by each once it serves */
    _Atomic unsigned accepting;   /* loops with listeners */
    _Atomic uint64_t connections; /* open or about to be */
    struct peers *peers;          /* NULL: they are not counted */
    _Atomic size_t body_bytes;    /* of bodies in memory, but for small ones */
    _Atomic bool stopping;
    _Atomic int64_t deadline_us; /* when to cut what is still open */
};

/* http_listen.c: fills server->listeners and addresses; closes what is listening. */
MUST_CHECK int listen_open(struct http_server *server, struct err *err);
void listen_close(struct http_server *server);

/* http_route.c */
void route_compile(struct http_server *server);
void route_free(struct http_server *server);
/* The handler, with *ret_capture set; or NULL, and then *ret_allow says whether the path
 * is known for other methods, which are appended to `allow` ("GET, HEAD, POST"). */
http_handler *route_find(const struct http_server *server, struct slice method, struct slice path,
                         struct slice *ret_capture, struct buf *allow);

/* http_loop.c */
void *loop_main(void *loop);
void loop_wake(void *loop);

/* http_accept.c */
void accept_start(struct http_loop *loop);
void accept_stop(struct http_loop *loop);
void accept_resume(struct http_loop *loop);  /* if it waits and there is room again */
void accept_release(struct http_conn *conn); /* it is gone */

/* http_peer.c: how many connections each address has. Any thread. */
struct peers *peers_open(unsigned each);
void peers_close(struct peers *peers);
/* One more; NULL if it has as many as it may. */
struct peer *peer_claim(struct peers *peers, const struct sockaddr *address);
void peer_release(struct peers *peers, struct peer *peer);

/* http_hold.c: what bodies take of the memory that there is for them. */
void hold_update(struct http_conn *conn);
bool hold_is_over(const struct http_conn *conn); /* this one may not grow any more */

/* http_conn.c */
struct http_conn *conn_new(struct http_loop *loop, int fd, bool secure);
void conn_open(struct http_conn *conn);   /* on its loop */
void conn_accept(struct http_conn *conn); /* gives it to the gate and to libh2o's HTTP */
void conn_move(struct http_conn *conn, enum conn_state state);
void conn_close(struct http_conn *conn);
void conn_cut(struct http_conn *conn); /* as fast as its state allows */
void conn_close_if_quiet(struct http_conn *conn);
void conn_unsettle(struct http_conn *conn); /* have conn_settle() look at it */
void conn_settle(struct http_loop *loop);   /* at the end of each turn */
void conn_forget(struct http_conn *conn);   /* frees it at the turn's end if nobody needs it */
struct http_conn *conn_of(h2o_socket_t *sock);
struct http_conn *conn_of_req(h2o_req_t *req);
void conn_free_all(struct http_loop *loop);

/* http_certificate.c */
MUST_CHECK int certificate_open(struct http_server *server, struct err *err);
void certificate_close(struct http_server *server);
SSL_CTX *certificate_take(struct http_server *server); /* a reference to the one in force */

/* http_tls.c */
void tls_watch(SSL_CTX *context); /* have OpenSSL tell what the others here need */
void tls_begin(struct http_conn *conn);
bool tls_has_ended(const struct http_conn *conn); /* the client's close_notify has arrived */
void tls_end(struct http_conn *conn); /* sends close_notify; nothing is written after it */

/* http_gate.c */
void gate_set_aside(struct http_conn *conn); /* what is there before libh2o's HTTP is */
void gate_enter(struct http_conn *conn);
void gate_feed(struct http_conn *conn); /* passes on what was read ahead */
void gate_keep_rest(struct http_conn *conn, h2o_req_t *req);
void gate_linger(h2o_socket_t *sock, const char *err);

/* http_refuse.c: answers in libh2o's place, then lingers and closes. */
void conn_refuse(struct http_conn *conn, int status, const char *why);
const char *status_reason(int status);
void json_detail(struct buf *out, const char *words); /* appends {"detail": "<words>"} */

/* http_request.c: puts handler, filter and logger into the configuration. */
void request_register(h2o_hostconf_t *host);

/* http_respond.c */
void respond_send(struct http_conn *conn, int status, const char *content_type,
                  const struct http_header *headers, struct slice body);
void respond_count(struct http_loop *loop, int status);

/* A counter has one writer, its loop; readers see some recent value. */
static inline void count_one(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

#endif
