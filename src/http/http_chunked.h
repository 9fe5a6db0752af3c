/*
 * A body in chunks (RFC 9112, section 7.1), decoded where it lies.
 *
 * Strict: a line ends with CRLF and nothing else, a size has up to 15 digits. Extensions and
 * trailers are checked for control characters and dropped. Pure functions on borrowed bytes,
 * any thread.
 */
#ifndef HTTP_HTTP_CHUNKED_H
#define HTTP_HTTP_CHUNKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHUNKED_MAX_LINE ((size_t)4 * 1024)      /* a chunk's size with its extensions */
#define CHUNKED_MAX_TRAILERS ((size_t)32 * 1024) /* all of them together */

enum chunked_result { CHUNKED_MORE, CHUNKED_DONE, CHUNKED_BROKEN };

/* `struct chunked c = {0};` stands before the first chunk. */
struct chunked {
    uint64_t left; /* bytes of the chunk that are still to come */
    size_t line;   /* bytes of its size's line so far, or of the trailers */
    unsigned digits;
    unsigned char at; /* a place in the grammar */
};

/*
 * Takes in the next `len` bytes. *ret_data of them, now moved to the start of `bytes`, are
 * of the body. With CHUNKED_DONE the body ends behind *ret_taken bytes, else all are taken.
 * After CHUNKED_BROKEN nothing may be given any more.
 */
enum chunked_result chunked_decode(struct chunked *chunked, char *bytes, size_t len,
                                   size_t *ret_data, size_t *ret_taken);

#endif
