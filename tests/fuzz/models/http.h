/*
 * What a server has to answer to a stream of bytes, read by the letter of RFC 9112 and without a
 * thought for speed: the whole stream is there, and each question is asked of it anew. The routes
 * are those of http.c: GET /, POST /b, POST /d (may not have large bodies), GET and PUT /c/{}.
 */
#ifndef FUZZ_MODELS_HTTP_H
#define FUZZ_MODELS_HTTP_H

#include "base/buf.h"

#include <stdint.h>

enum { MODEL_MAX_BODY = 20000 };

/* Sets of statuses. */
enum {
    R400 = 1 << 0,
    R403 = 1 << 1,
    R404 = 1 << 2,
    R405 = 1 << 3,
    R413 = 1 << 4,
    R414 = 1 << 5,
    R417 = 1 << 6,
    R431 = 1 << 7,
    R501 = 1 << 8,
    R505 = 1 << 9,
    R200 = 1 << 10,
    ANY_REFUSAL = R400 | R413 | R414 | R417 | R431 | R501 | R505,
};

unsigned model_bit(int status); /* 0: none of these */

/* What may come of the next request of a stream. One at least is set. */
struct expected {
    unsigned answer;   /* it is whole and sound, and gets this; then comes the next */
    unsigned refusals; /* one of these ends the connection: which one may depend on how the bytes
                        * are cut, for what is wrong in several ways is refused for the first */
    bool silent;       /* it is not there, or not to its end */
    bool unsure;       /* at a bound that is no part of the grammar: all may be */

    bool may_continue; /* a 100 may come first */
    bool head_only;
    bool persistent;
    bool minor_0;
    struct buf text; /* of a 200 */
};

/* Takes the next request off the stream; *ret has room in `text` for reuse. */
void model_next(struct slice *stream, struct expected *ret);

#endif
