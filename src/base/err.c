/*
 * The table of error codes and the three ways to put words on one.
 */
#include "base/err.h"

#include "base/utf8.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* What the header lays over them for the analyzer. */
#undef err_set
#undef err_wrap
#undef err_system

static const char *const names[] = {
    [-ERR_OK] = "ok",
    [-ERR_INVALID] = "invalid",
    [-ERR_NOT_FOUND] = "not_found",
    [-ERR_EXISTS] = "exists",
    [-ERR_FULL] = "full",
    [-ERR_IO] = "io",
    [-ERR_BUSY] = "busy",
    [-ERR_CORRUPT] = "corrupt",
    [-ERR_UNAVAILABLE] = "unavailable",
    [-ERR_REFUSED] = "refused",
    [-ERR_DENIED] = "denied",
    [-ERR_UNSUPPORTED] = "unsupported",
    [-ERR_TIMEOUT] = "timeout",
    [-ERR_CONFLICT] = "conflict",
    [-ERR_CLOSED] = "closed",
    [-ERR_TOO_LARGE] = "too_large",
};

const char *err_name(int code)
{
    size_t index = code <= 0 ? (size_t)(-(int64_t)code) : sizeof names;

    if (index >= sizeof names / sizeof *names || names[index] == NULL)
        return "unknown";
    return names[index];
}

/* Bytes of a path, or of what another program says, may be no UTF-8; nor is a character that was
 * cut for want of room. */
static void make_utf8(char *text)
{
    size_t left = strlen(text);

    while (left > 0) {
        size_t len = utf8_len(text, left);

        if (len == 0) {
            *text = '?';
            len = 1;
        }
        text += len;
        left -= len;
    }
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
    va_list args;

    if (err == NULL)
        return code;
    err->code = code;
    va_start(args, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    make_utf8(err->text);
    return code;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
    char inner[sizeof err->text];
    va_list args;
    size_t used;

    if (err == NULL)
        return ERR_IO;
    memcpy(inner, err->text, sizeof inner);
    va_start(args, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    used = strlen(err->text);
    snprintf(err->text + used, sizeof err->text - used, ": %s", inner);
    make_utf8(err->text);
    return err->code;
}

static int code_of_errno(int number)
{
    switch (number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ERR_FULL;
    case ENOENT:
        return ERR_NOT_FOUND;
    case EEXIST:
        return ERR_EXISTS;
    default:
        return ERR_IO;
    }
}

int err_system(struct err *err, int number, const char *fmt, ...)
{
    char reason[128];
    va_list args;
    size_t used;

    if (err == NULL)
        return code_of_errno(number);
    err->code = code_of_errno(number);
    va_start(args, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    used = strlen(err->text);
    snprintf(err->text + used, sizeof err->text - used, ": %s",
             strerror_r(number, reason, sizeof reason));
    make_utf8(err->text);
    return err->code;
}
