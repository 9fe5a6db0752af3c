/*
 * Errors are values with words.
 *
 * A function that can fail returns 0 or a negative `enum err_code` and, where it
 * takes a `struct err`, leaves a sentence there that each level may wrap:
 * "open segment 12: No space left on device". The caller owns the struct; it may
 * be NULL when the words are of no interest. Outputs stay untouched on failure.
 * The words are UTF-8, with "?" for bytes that are not.
 * Threads: a struct err belongs to one thread at a time.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

enum err_code {
    ERR_OK = 0,
    ERR_INVALID = -1,      /* the input is wrong; the text names the field and the fault */
    ERR_NOT_FOUND = -2,    /* there is no such thing */
    ERR_EXISTS = -3,       /* there is one already */
    ERR_FULL = -4,         /* a bound is reached: disk, budget, memory; try later */
    ERR_IO = -5,           /* the operating system refused or the device failed */
    ERR_BUSY = -6,         /* somebody else holds it */
    ERR_CORRUPT = -7,      /* bytes are there but not whole */
    ERR_UNAVAILABLE = -8,  /* a server or a connection is gone; try later */
    ERR_REFUSED = -9,      /* the store refuses the content itself; trying again is useless */
    ERR_DENIED = -10,      /* known, but not allowed */
    ERR_UNSUPPORTED = -11, /* understood, but this build or format does not do it */
    ERR_TIMEOUT = -12,     /* a time limit passed */
    ERR_CONFLICT = -13,    /* the state is not the one that was expected */
    ERR_CLOSED = -14,      /* shutting down */
    ERR_TOO_LARGE = -15,   /* over a size limit */
};

struct err {
    int code;
    char text[512];
};

/* The name of a code, for logs and metrics: "not_found". Static storage. */
const char *err_name(int code);

/* Sets code and text (both optional to the caller: err may be NULL); returns code. */
int err_set(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts "<words>: " before the text that is there; returns the code that is there. */
int err_wrap(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Sets "<words>: <strerror(number)>" and the code that fits `number` (an errno):
 * ENOSPC, EDQUOT, EFBIG → ERR_FULL; ENOENT → ERR_NOT_FOUND; EEXIST → ERR_EXISTS;
 * anything else → ERR_IO. Returns the code. */
int err_system(struct err *err, int number, const char *fmt, ...) PRINTF_LIKE(3, 4);

#ifdef __clang_analyzer__
/* The analyzer sees one file at a time: what it must know of these three is that they never
 * return 0, so that "return err_set(...)" leaves outputs untouched for a reason. */
static inline int err_not_ok(int code)
{
    if (code == ERR_OK)
        __builtin_unreachable();
    return code;
}
#define err_set(...) err_not_ok((err_set)(__VA_ARGS__))
#define err_wrap(...) err_not_ok((err_wrap)(__VA_ARGS__))
#define err_system(...) err_not_ok((err_system)(__VA_ARGS__))
#endif

#endif
