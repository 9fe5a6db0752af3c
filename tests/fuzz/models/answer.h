/*
 * What an introspection answers, read by jansson.
 */
#ifndef FUZZ_MODELS_ANSWER_H
#define FUZZ_MODELS_ANSWER_H

#include "base/slice.h"

#include <stdint.h>

struct model_reply {
    bool read;     /* jansson may be asked: it takes no number beyond a double and no NUL in a name,
                    * and passes over NULs that stand between values */
    bool says;     /* whether the session is active */
    bool active;   /* and its user has a name */
    char name[65]; /* if active */
    int64_t expires_us; /* INT64_MAX: not said */
    size_t depth;
};

void model_introspect(struct slice body, const char *members, struct model_reply *ret);

#endif
