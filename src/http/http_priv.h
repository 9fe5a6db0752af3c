/*
 * Inside the http room.
 *
 * libh2o owns the loop, sockets, timers and TLS; what is spoken over them, HTTP/1.1, is the
 * room's: requests are read in http_read.c, answers written in http_respond.c. Both drive
 * the connection's state, and the state alone decides which time limit runs.
 *
 * A request's bytes stay in the socket's input, where they arrived, until it is answered or its
 * handler releases it; what has arrived behind them waits there too. Nothing is read while an
 * answer is owed.
 *
 * Everything of a loop is touched by the loop's thread only, but for what is _Atomic and
 * the mailbox.
 */
#ifndef HTTP_HTTP_PRIV_H
#define HTTP_HTTP_PRIV_H

#include "base/buf.h"
#include "http/http.h"
#include "http/http_chunked.h"
#include "http/http_head.h"

/* The header's other backend, libuv, is its default. */
#define H2O_USE_LIBUV 0
#define H2O_USE_EPOLL 1
#include <h2o.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

/* The room leans on how this version's sockets read, write and close (2.2.x). */
_Static_assert(H2O_LIBRARY_VERSION_MAJOR == 0 && H2O_LIBRARY_VERSION_MINOR == 13,
               "read http_conn.c, http_respond.c and http_tls.c against the new libh2o");

enum conn_state {
    CONN_OPENED,    /* nothing has arrived yet */
    CONN_SHAKING,   /* comes before that where TLS is spoken */
    CONN_IDLE,      /* kept alive, between requests */
    CONN_HEAD,      /* the head is arriving */
    CONN_BODY,      /* the body is arriving */
    CONN_HANDLING,  /* a handler owes the answer */
    CONN_SENDING,   /* the answer is on its way */
    CONN_LINGERING, /* answered for the last time; what still arrives is thrown away, so that
                     * the client can read the answer before a reset takes it back */
    CONN_CLOSING,   /* libh2o is closing it */
    CONN_CLOSED,    /* no socket any more; memory stays while an answer is owed */
};

enum conn_limit { LIMIT_HEADER, LIMIT_BODY, LIMIT_IDLE, LIMIT_SEND, LIMIT_LINGER, LIMITS };

/* Embedded in its connection, which carries one request at a time. The slices are set while
 * it is CONN_HANDLING. */
struct http_request {
    struct slice method;
    struct slice path;
    struct slice query;
    struct slice capture;
    struct slice body;
    struct buf fields; /* of the answer, from before it is known */
    bool owed;         /* the handler has yet to answer */
};

struct http_conn {
    struct http_loop *loop;
    int fd;             /* until it is open on its loop */
    struct peer *peer;  /* whose connections are counted; NULL: they are not */
    struct mail opened; /* brings it there */
    h2o_socket_t *sock;
    enum conn_state state;
    h2o_timeout_entry_t timer;
    h2o_linklist_t link; /* in loop->conns */

    bool secure;            /* its listener speaks TLS */
    bool misled;            /* its client does not */
    SSL_CTX *context;       /* a reference; NULL without TLS */
    SSL *ssl;               /* the socket's own; NULL before the handshake */
    unsigned char alert[7]; /* a record that says why the handshake failed; [0] is 0: none */

    /* Of the current request, which begins where the socket's input does. */
    size_t head_len; /* 0 before it is whole, and once it is released */
    size_t body_len; /* of a body in chunks: what has been decoded */
    size_t scanned;  /* see head_end() */
    struct chunked chunks;
    bool chunked;
    bool whole;    /* nothing of it is still to come */
    bool admitted; /* its body may be large */
    bool head_only;
    bool minor_0;    /* HTTP/1.0, which has to be told that the connection stays */
    bool persistent; /* another request may follow */

    bool watching;   /* the socket is registered, but not read: see conn_watch() */
    bool stopped;    /* nor is it registered */
    struct buf path; /* the normalised path, if it is not the one that was sent */
    struct buf out;  /* what of an answer the kernel has not taken yet */
    size_t unsent;   /* bytes of it, with TLS before they are encrypted */
    size_t kept;     /* bytes that the handler has of its own */
    size_t held;     /* bytes in server->body_bytes */

    bool unsettled; /* in loop->unsettled */
    struct http_conn *next_unsettled;
    struct http_conn *next_dead;
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
    h2o_socket_t *wake_sock;
    int *listen_fds;          /* its own descriptors of the server's sockets; -1: given away */
    h2o_socket_t **listeners; /* NULL before it accepts and once it is stopping */
    h2o_timeout_t limits[LIMITS];
    h2o_timeout_t accept_pause;
    h2o_timeout_entry_t accept_later;
    _Atomic bool full; /* waits for room to accept */

    h2o_linklist_t conns;
    size_t open; /* of them with a socket */
    struct http_conn *unsettled;
    struct http_conn *dead;
    bool stopping;
    bool happened;   /* a request was dispatched or mail delivered in this turn */
    uint64_t writes; /* that libh2o was given so far */

    struct head head;          /* the last that was read, */
    struct http_conn *head_of; /* from this connection's input, or NULL, */
    const char *head_at;       /* which began there then */
    struct buf answer;         /* the one that is being written */
    char date[H2O_TIMESTR_RFC1123_LEN + 1];
    time_t date_s; /* whose date that is */

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
    http_admission *admit; /* NULL: any body */
};

struct http_server {
    struct http_options options;
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
    _Atomic size_t unsent_bytes;  /* of answers among them */
    _Atomic bool stopping;
    _Atomic int64_t deadline_us; /* when to cut what is still open */
};

/* http_listen.c: fills server->listeners and addresses; closes what is listening. */
MUST_CHECK int listen_open(struct http_server *server, struct err *err);
void listen_close(struct http_server *server);

/* http_route.c */
void route_compile(struct http_server *server);
void route_free(struct http_server *server);
/* The route, with *ret_capture set; or NULL, and then `allow` says whether the path is known
 * for other methods, which are appended to it ("GET, HEAD, POST"). They are for OPTIONS, too. */
const struct route *route_find(const struct http_server *server, struct slice method,
                               struct slice path, struct slice *ret_capture, struct buf *allow);

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
void hold_end(struct http_conn *conn); /* the bytes of the current request go, and their memory */
bool hold_is_over(const struct http_conn *conn);          /* this one may not grow any more */
void hold_unsent(struct http_conn *conn, size_t bytes);   /* of its answer */
bool hold_answers_are_over(const struct http_conn *conn); /* this one's may not stay */

/* http_conn.c */
struct http_conn *conn_new(struct http_loop *loop, int fd, bool secure);
void conn_open(struct http_conn *conn);  /* on its loop */
void conn_begin(struct http_conn *conn); /* reads its first request */
void conn_move(struct http_conn *conn, enum conn_state state);
void conn_watch(struct http_conn *conn);   /* does not read what comes while an answer is owed */
void conn_unwatch(struct http_conn *conn); /* reads again */
void conn_stop(struct http_conn *conn);    /* reads no more until conn_unwatch() */
void conn_close(struct http_conn *conn);
void conn_cut(struct http_conn *conn); /* as fast as its state allows */
void conn_close_if_quiet(struct http_conn *conn);
void conn_close_if_ended(struct http_conn *conn); /* its client sends no more */
void conn_unsettle(struct http_conn *conn);       /* have conn_settle() look at it */
void conn_settle(struct http_loop *loop);         /* at the end of each turn */
void conn_forget(struct http_conn *conn); /* frees it at the turn's end if nobody needs it */
struct http_conn *conn_of(h2o_socket_t *sock);
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

/* http_read.c */
void read_on(struct http_conn *conn); /* takes in what is there of one request */
void read_event(h2o_socket_t *sock, const char *err);
const struct head *read_head(struct http_conn *conn); /* of the current request, which is whole */

/* http_request.c: gives a whole request to its handler. */
void request_dispatch(struct http_conn *conn);
/* May its body be taken in? Else it has been refused. */
bool request_admit(struct http_conn *conn);

/* http_respond.c */
void respond_send(struct http_conn *conn, int status, const char *content_type,
                  const struct http_header *headers, struct slice body);
void respond_continue(struct http_conn *conn); /* 100 */
void respond_count(struct http_loop *loop, int status);
/* Answers a request that has not come, or not to its end, or whose handler takes too long, and
 * closes. */
void respond_refuse(struct http_conn *conn, int status, const char *why);

/* http_words.c */
const char *words_of_status(int status);
void words_in_json(struct buf *out, const char *words); /* appends {"detail": "<words>"} */

/* A counter has one writer, its loop; readers see some recent value. */
static inline void count_one(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

#endif
