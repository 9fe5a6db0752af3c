/*
 * A borrowed run of bytes: somebody else owns them and must outlive it.
 * Text in slices is UTF-8 without a terminating NUL; `at == NULL` means "absent".
 */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
    const char *at;
    size_t len;
};

/* A slice of a string literal. */
#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})

/* For printf("%.*s"). */
#define SLICE_ARG(s) (int)(s).len, ((s).at != NULL ? (s).at : "")

static inline struct slice slice_of(const char *text)
{
    return (struct slice){text, text != NULL ? strlen(text) : 0};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len &&
           (a.len == 0 || (a.at != NULL && b.at != NULL && memcmp(a.at, b.at, a.len) == 0));
}

static inline bool slice_is(struct slice a, const char *text)
{
    return slice_equal(a, slice_of(text));
}

#endif
