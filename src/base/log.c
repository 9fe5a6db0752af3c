/*
 * One line an event. Control characters and bytes that are no UTF-8 are escaped in both forms,
 * quotes in JSON, so that words from outside (a store's error, a path) cannot forge a line or spoil
 * it. Lines of the audit (log_audit.c) are put together in the same way.
 *
 * A reader of stderr that stalls (a full pipe) must not hold up who has something to say: a line
 * that would have to wait is lost, and counted. One thread at a time asks whether there is room for
 * a line and writes it.
 */
#include "base/log.h"
#include "base/log_priv.h"

#include "base/clock.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static enum log_level lowest_level = LOG_INFO;
static bool as_json;

static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;
static bool untold; /* whether lines were lost since that was last said; under the lock */
static atomic_uint_fast64_t lost;

static const char *const level_names[] = {"debug", "info", "warning", "error"};

void log_open(enum log_level lowest, bool json)
{
    lowest_level = lowest;
    as_json = json;
}

bool log_is_json(void)
{
    return as_json;
}

uint64_t log_lost(void)
{
    return atomic_load_explicit(&lost, memory_order_relaxed);
}

void log_line(const char *line, size_t len)
{
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    ssize_t written = 0;
    bool tell = false;

    pthread_mutex_lock(&writing);
    if (poll(&out, 1, 0) == 0) {
        atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
        untold = true;
    } else {
        written = write(STDERR_FILENO, line, len);
        tell = untold;
        untold = false;
    }
    pthread_mutex_unlock(&writing);
    (void)written; /* if it failed there is nowhere left to say it */
    if (tell)
        log_warning("log",
                    "%" PRIu64 " lines of the log were lost since the start: nobody read them",
                    log_lost());
}

/* Escapes into out, at most size - 1 bytes; returns the bytes written. */
static size_t escape(char *out, size_t size, const char *text, bool json)
{
    size_t left = strlen(text);
    size_t used = 0;

    while (left > 0 && used + 7 < size) {
        unsigned char byte = (unsigned char)*text;
        size_t len = utf8_len(text, left);

        if (byte < 0x20 || byte == 0x7f || len == 0) {
            used += (size_t)snprintf(out + used, size - used, "\\u%04x", byte);
            len = 1;
        } else if (json && (byte == '"' || byte == '\\')) {
            used += (size_t)snprintf(out + used, size - used, "\\%c", byte);
        } else {
            memcpy(out + used, text, len);
            used += len;
        }
        text += len;
        left -= len;
    }
    out[used] = '\0';
    return used;
}

void log_write(enum log_level level, const char *room, const char *fmt, ...)
{
    char words[1024];
    char safe[2048];
    char line[2304];
    char when[CLOCK_TEXT_SIZE];
    va_list args;
    int len;

    if (level < lowest_level)
        return;
    va_start(args, fmt);
    vsnprintf(words, sizeof words, fmt, args);
    va_end(args);
    escape(safe, sizeof safe, words, as_json);
    clock_format(when, clock_wall_us());
    len = snprintf(line, sizeof line,
                   as_json ? "{\"time\":\"%s\",\"level\":\"%s\",\"room\":\"%s\","
                             "\"message\":\"%s\"}\n"
                           : "%s %-7s %s: %s\n",
                   when, level_names[level], room, safe);
    if (len > 0)
        log_line(line, (size_t)len);
}
