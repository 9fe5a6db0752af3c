/*
 * A text as a parser of JSON gets it: with so many readable bytes behind it as were promised, and
 * not one more, so that a sanitizer sees who reads further.
 */
#ifndef SUPPORT_PADDED_H
#define SUPPORT_PADDED_H

#include "base/mem.h"
#include "base/slice.h"
#include "json/json.h"

#include <string.h>

/* A copy with JSON_PADDING of `filling`, which may be what misleads. free((char *)ret.at). */
static inline struct slice padded(struct slice text, char filling)
{
    char *copy = mem_alloc(text.len + JSON_PADDING);

    if (text.len > 0)
        memcpy(copy, text.at, text.len);
    memset(copy + text.len, filling, JSON_PADDING);
    return (struct slice){copy, text.len};
}

#endif
