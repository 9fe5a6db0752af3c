/*
 * One HTTP request to another service, and its whole answer, within bounds of time and size.
 *
 * For the engine's background work and its commands: a call blocks its thread, so no HTTP
 * loop makes one. TLS is verified, the certificate's name too; nothing is asked through a
 * proxy, no redirect is followed (it would carry secrets elsewhere), and only http and https
 * are spoken. A handle keeps its connection for the next call.
 */
#ifndef FETCH_FETCH_H
#define FETCH_FETCH_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fetch; /* one thread's at a time */

struct fetch *fetch_open(void);
void fetch_close(struct fetch *fetch);

struct fetch_request {
    const char *method;         /* NULL: GET */
    const char *url;            /* http:// or https:// */
    const char *const *headers; /* "Name: value", the last NULL; NULL: none */
    struct slice body;          /* at == NULL: none */
    const char *user; /* with `password` for Basic authentication (RFC 7617); NULL: none */
    const char *password;
    int64_t timeout_ms; /* for all of it: name, connection, TLS, answer */
    size_t max_bytes;   /* of the answer's body */
    /* A PEM file whose certificates alone are trusted, whatever name they bear: for the engine
     * on this machine. NULL: the system's authorities and the URL's name. */
    const char *pinned;
    /* A PEM file of authorities that are trusted instead of the system's, for the URL's name, read
     * for each new connection; NULL or "": the system's. */
    const char *ca_file;
    const atomic_bool *stop; /* once true, the call ends within about a second; NULL: never */
};

/* That a URL may be asked with secrets: https://, or http:// to this machine (localhost,
 * 127.0.0.0/8, [::1]), and without a user in it. ERR_INVALID says what it must be. */
MUST_CHECK int fetch_check_url(const char *url, struct err *err);

/* That a file can be a `ca_file`: there are certificates in it. ERR_INVALID. */
MUST_CHECK int fetch_check_authorities(const char *ca_file, struct err *err);

/* 0 for an answer of any status, with its body in `out` (emptied first); ERR_UNAVAILABLE if
 * none came in time (also: unknown name, refused connection, failed verification), ERR_TOO_LARGE
 * if it was too large, ERR_INVALID for a URL that is none. The words name the URL without its
 * query and never a header. */
MUST_CHECK int fetch(struct fetch *fetch, const struct fetch_request *request, struct buf *out,
                     long *ret_status, struct err *err);

#endif
