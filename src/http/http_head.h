/*
 * The head of a request (RFC 9112, sections 2 to 6).
 *
 * Strict where two servers in a row must not disagree (two lengths, folded lines, a missing
 * host): what is doubtful is refused. Pure functions on borrowed bytes, any thread.
 */
#ifndef HTTP_HTTP_HEAD_H
#define HTTP_HTTP_HEAD_H

#include "base/buf.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAD_MAX_BYTES ((size_t)32 * 1024) /* tokens of several KiB are common */
#define HEAD_MAX_TARGET ((size_t)8 * 1024) /* RFC 9112 asks for at least 8,000 octets */
#define HEAD_MAX_FIELDS 100

struct head_field {
    struct slice name;  /* as sent */
    struct slice value; /* without spaces around */
};

struct head {
    struct slice method;
    struct slice target; /* as sent, origin or absolute form */
    uint64_t length;     /* Content-Length, 0 without one */
    unsigned minor;      /* of HTTP/1.<minor> */
    unsigned hosts;
    bool has_length;
    bool chunked;
    bool expects; /* a body comes only after "100 Continue" */
    bool closes;  /* Connection: close */
    bool keeps;   /* Connection: keep-alive */
    unsigned count;
    struct head_field fields[HEAD_MAX_FIELDS]; /* of them, `count` */
};

/* The bytes of a head up to and with its empty line, or 0 while that is not there.
 * *scanned (0 at first) remembers how far earlier calls looked. */
size_t head_end(struct slice bytes, size_t *scanned);

/* Reads a head that is whole. 0, or the status to refuse it with and why (static); *ret is
 * good for nothing then. Its slices are parts of `bytes`. */
int head_read(struct slice bytes, struct head *ret, const char **ret_why);

/* The value of the first field of that name; absent without one. */
struct slice head_field(const struct head *head, const char *lower_case_name);

/* Whether the connection may carry another request (RFC 9112, section 9.3). */
bool head_persists(const struct head *head);

/* True for a byte that may stand in a method or a field's name. */
bool head_is_token(char byte);

/*
 * The target's two parts. The path begins with "/"; *ret_plain says that it is normal as
 * it stands: origin form, nothing percent-encoded, no dot segments.
 */
void target_split(struct slice target, struct slice *ret_path, struct slice *ret_query,
                  bool *ret_plain);

/* Appends the path with percent-encoding undone ("%2F" stays: it is no separator) and dot
 * segments resolved, never above the root. False if an escape is malformed or a NUL. */
bool target_normalize(struct slice path, struct buf *out);

/* The byte behind "%41", or -1 if these (up to 3) bytes are no escape. */
int target_unescape(const char *at, size_t len);

#endif
