/*
 * HTTP/1.1 over libh2o's event loops and sockets, with no h2o type in sight.
 *
 * A server has one listening socket an address and N loops, each a thread that owns its
 * connections and requests. A request is given to its route's handler on its loop, with
 * the whole body read; the handler answers at once or later, on the same loop. Between
 * threads only mail travels (base/mailbox.h): http_loop_mailbox().
 *
 * The server itself answers 400 (malformed), 404 and 405 with `Allow` (from the table of
 * routes), 408 (too slow), 413 (body over max_body), 414, 417, 431, 501 and 505; error
 * bodies are {"detail": "..."}; and 503 where a bound is reached. HEAD is answered as GET without a
 * body. A request cut by http_stop() gets 503; one that its handler has released gets no answer.
 */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include "base/err.h"
#include "base/mailbox.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_server;
struct http_loop;
struct http_request;

typedef void http_handler(struct http_request *request, void *arg);

/* Asked before a large body is taken in: true to take it; false if the request has been answered,
 * and then the connection is closed behind the answer. There is no body yet; fields for the answer
 * (http_request_answer_header) are those of a refusal only. */
typedef bool http_admission(struct http_request *request, void *arg);

/*
 * A path is literal but for one optional "{}" segment ("/v1/transactions/{}/retry"),
 * which matches one non-empty segment; see http_request_capture(). A literal path goes
 * before one with a capture, whatever its methods. The table ends with .handler == NULL.
 *
 * `admit` is asked once the head is there and more than HTTP_SMALL_BODY is announced, or that much
 * has come in chunks, but not for what is whole by then. NULL: all is taken in. What has no route
 * is answered then, too.
 */
struct http_route {
    const char *method;
    const char *path;
    http_handler *handler;
    http_admission *admit;
};

struct http_options {
    /* "127.0.0.1:8000,https://[::1]:8443"; port 0: any free one; IPv6 sockets take IPv6 only.
     * "https://" before an address: TLS, "http://": none; neither: TLS if there is tls_cert. */
    const char *listen;
    /* PEM files: the certificate with what chains it to an authority, and its key. NULL or
     * empty, both: no TLS. Copied. */
    const char *tls_cert;
    const char *tls_key;
    unsigned loops;
    size_t max_body;          /* bytes; over it 413 */
    unsigned max_connections; /* over all loops; more wait in the listen queue */
    /* Of them from one address (IPv6: from one /64), 0: all. More are answered 503 unread (TLS:
     * closed). */
    unsigned max_connections_per_address;
    /* Bytes of bodies in memory over all loops, and of answers that their clients do not read, and
     * of what handlers keep (http_request_keep()); 0: no bound. A connection whose body would grow
     * over it is answered 503, one whose answer would, cut; up to HTTP_SMALL_BODY do not count. */
    size_t body_memory;
    /* Total times, however the bytes are spread over them. */
    int64_t header_timeout_ms; /* a request's first byte (a new connection's start) to the
                                * end of its headers; TLS is part of it */
    int64_t body_timeout_ms;   /* the end of headers to the end of the body; and as long for
                                * the client to take in an answer */
    int64_t idle_timeout_ms;   /* keep-alive connections with no request */
    const struct http_route *routes;
    void *arg; /* given to every handler */
    /* Called on the loop's thread: before its first request, at the end of every turn of
     * the loop in which a request was dispatched or mail delivered, and after its last
     * request. Answering is allowed in all of them. Any may be NULL. */
    void *(*loop_start)(struct http_loop *loop, void *arg);
    void (*loop_turn)(struct http_loop *loop, void *loop_arg);
    void (*loop_stop)(struct http_loop *loop, void *loop_arg);
};

/* Binds and listens; no thread runs yet. ERR_INVALID for an address that is none and for a
 * certificate or key that cannot be used (logged if it can, with its expiry), else
 * what the system said ("listen on 127.0.0.1:80: Permission denied"). Options are copied,
 * routes borrowed. */
MUST_CHECK int http_open(const struct http_options *options, struct http_server **ret,
                         struct err *err);

/* The addresses in force, "127.0.0.1:41233,https://127.0.0.1:8443"; owned by the server. */
const char *http_addresses(const struct http_server *server);

/* Whether `listen` is a list of addresses for http_open(); nothing is bound. ERR_INVALID. */
MUST_CHECK int http_check_listen(const char *listen, bool has_certificate, struct err *err);

/* Whether http_open() could use these files; they are left as they are. */
MUST_CHECK int http_check_certificate(const char *cert, const char *key, struct err *err);

/* Reads certificate and key again, for connections from now on; those that are open keep what
 * they have. On failure all stays as it was. Without TLS it does nothing. Reads files: any
 * thread but a loop's, one at a time. */
MUST_CHECK int http_reload(struct http_server *server, struct err *err);

/* Starts the loops' threads; when it returns, each has called loop_start and serves. */
MUST_CHECK int http_start(struct http_server *server, struct err *err);

/* Stops accepting; open requests are finished (answers say `Connection: close`), idle
 * connections closed; what is not done after timeout_ms is cut: requests still owed an
 * answer get 503, or none once they are released. Joins the threads. Any thread that is not a loop.
 */
void http_stop(struct http_server *server, int64_t timeout_ms);
void http_close(struct http_server *server); /* after http_stop() or without http_start() */

#define HTTP_SMALL_BODY ((size_t)16 * 1024)

struct http_stats {
    uint64_t connections; /* open now */
    uint64_t accepted;    /* connections since the start */
    uint64_t requests;    /* complete requests */
    uint64_t status[6];   /* answers by class: [2] counts 2xx, [0] the rest */
    uint64_t timeouts;    /* connections cut for being slow */
    uint64_t turned_away; /* connections over max_connections_per_address */
    uint64_t body_bytes;  /* of bodies in memory now, without small ones */
    uint64_t over_memory; /* requests refused, or answers cut, for body_memory */
    uint64_t handshakes;  /* of TLS, done */
    uint64_t handshake_failures;
    int64_t certificate_expires_s; /* Unix seconds; 0: no TLS */
};
struct http_stats http_stats(const struct http_server *server); /* any thread */

/* A loop: what loop_start() returned, its number, its mailbox (put from any thread, delivered
 * on the loop, until loop_stop() has returned). */
void *http_loop_arg(const struct http_loop *loop);
unsigned http_loop_index(const struct http_loop *loop);
struct mailbox *http_loop_mailbox(struct http_loop *loop);

/*
 * A request lives until it is answered; the handler may keep it beyond its own return and
 * must answer it exactly once, also when the client has left meanwhile (then the answer
 * goes nowhere). All of this on the request's loop. Slices live as long as the request's
 * client stays, so a handler that answers later copies first what it needs then; asked
 * later than that, the functions below return absent slices. What is still owed when its
 * loop ends must not be answered any more.
 */
#define HTTP_BODY_PADDING 64 /* bytes behind a body that may be read, for simdjson */

struct http_loop *http_request_loop(struct http_request *request);
struct slice http_request_method(const struct http_request *request);
/* Without the query; percent-encoding undone, but for "%2F"; dot segments resolved. */
struct slice http_request_path(const struct http_request *request);
struct slice http_request_query(const struct http_request *request); /* behind the "?", or empty */
struct slice http_request_capture(const struct http_request *request);
/* The first of that name, without spaces around. */
struct slice http_request_header(const struct http_request *request, const char *lower_case_name);
struct slice http_request_body(const struct http_request *request);
/* Its `admit` has been asked, and took it in. */
bool http_request_was_admitted(const struct http_request *request);

/* "127.0.0.1". */
void http_request_peer(const struct http_request *request, char *out, size_t size);

/* For a handler that answers later and needs no more of what was sent, as what it asks for is under
 * way: method, path, query, capture, headers and body are absent from now on, and their memory
 * takes in other requests meanwhile. */
void http_request_release(struct http_request *request);

/* The handler keeps `bytes` of its own until it answers: more than HTTP_SMALL_BODY count for
 * body_memory. False if that is over its bound: then it should answer 503 at once. */
MUST_CHECK bool http_request_keep(struct http_request *request, size_t bytes);

/* The value of a query parameter, percent-decoded into out (size bytes with a NUL).
 * False if it is not there, or malformed or too long (then *ret_bad is true). */
bool http_query(struct slice query, const char *name, char *out, size_t size, bool *ret_bad);

struct http_header {
    const char *name; /* lower case */
    const char *value;
};

/* Adds a header to whatever answer this request gets from its handler; copied. For those that
 * a check decides on before the answer is known, as CORS does. */
void http_request_answer_header(struct http_request *request, const char *lower_case_name,
                                const char *value);

/* Answers with a JSON body. All arguments are copied. `headers` may be NULL, else ends
 * with name == NULL; the length is the room's to say. */
void http_respond(struct http_request *request, int status, const struct http_header *headers,
                  struct slice body);

/* The same with another content type. */
void http_respond_as(struct http_request *request, int status, const char *content_type,
                     const struct http_header *headers, struct slice body);

/* Answers {"detail": "<words>"}. */
void http_respond_error(struct http_request *request, int status, const struct http_header *headers,
                        const char *fmt, ...) PRINTF_LIKE(4, 5);

#endif
