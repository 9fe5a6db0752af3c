/*
 * The log: one line an event on stderr, as text or as one JSON object.
 *
 * Rooms log what an operator acts on: a fault once when it starts and once when it
 * ends, never per request, never a secret. Any thread may log; a line is one
 * write(2), and never waits: while nobody reads a full stderr, lines are lost and counted.
 * log_open() is called once, before threads start.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

void log_open(enum log_level lowest, bool json);

uint64_t log_lost(void); /* lines, since the start */

/* `room` is the speaking room ("forward"); the words are one sentence, no newline. */
void log_write(enum log_level level, const char *room, const char *fmt, ...) PRINTF_LIKE(3, 4);

/*
 * A line of the audit: who did what, from where, and what came of it. Written whatever the
 * lowest level is; every part is a field of its own:
 *
 *   2026-11-24T02:33:26.104511Z info    audit: action=retry outcome=done who=key:k7 \
 *   target=00c0ffee-42 from=127.0.0.1 why=-
 *
 * In JSON the fields are members, and one that is NULL is null. As text, "-" is NULL, and what
 * is not made of letters, digits and ._:/@*+- alone is quoted. Both forms escape quotes,
 * backslashes and all that is not printable ASCII, and cut a field at LOG_FIELD bytes, escapes
 * counted, so that a whole line is one write to a pipe, too (PIPE_BUF).
 * The caller sees to it that no field is a secret.
 */
#define LOG_FIELD 512

struct log_audit {
    const char *action;  /* "login", "retry": one word */
    const char *outcome; /* "refused", "done", "failed" */
    const char *who;     /* a subject; NULL: nobody knows */
    const char *target;  /* what it was done to */
    const char *from;    /* an address */
    const char *why;     /* words, for what was refused or failed */
};
void log_audit(const struct log_audit *line);

#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)

#endif
