/*
 * The log: one line an event on stderr, as text or as one JSON object.
 *
 * Rooms log what an operator acts on: a fault once when it starts and once when it
 * ends, never per request, never a secret. Any thread may log; a line is one
 * write(2). log_open() is called once, before threads start.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/err.h"

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

void log_open(enum log_level lowest, bool json);

/* `room` is the speaking room ("forward"); the words are one sentence, no newline. */
void log_write(enum log_level level, const char *room, const char *fmt, ...) PRINTF_LIKE(3, 4);

#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)

#endif
