/*
 * The audit's lines: fields, each quoted so that it ends where it should.
 *
 * Fields hold what came from outside: a path, a subject. Each has a bound, and so has the
 * line. Bytes beyond ASCII are escaped one by one, so that a line is good JSON whatever they
 * were.
 */
#include "base/log.h"
#include "base/log_priv.h"

#include "base/clock.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { FIELDS = 6, NAME_AND_QUOTES = 16, LONGEST_ESCAPE = 6 };

struct line {
    char text[128 + FIELDS * (LOG_FIELD + NAME_AND_QUOTES)];
    size_t len;
};

_Static_assert(sizeof(struct line) <= PIPE_BUF, "two lines must not mix in a pipe");

static void add(struct line *line, const char *bytes, size_t len)
{
    memcpy(line->text + line->len, bytes, len);
    line->len += len;
}

static void add_text(struct line *line, const char *text)
{
    add(line, text, strlen(text));
}

static void add_quoted(struct line *line, const char *value, size_t len)
{
    size_t end = line->len + LOG_FIELD - LONGEST_ESCAPE;

    add_text(line, "\"");
    for (size_t i = 0; i < len && line->len <= end; i++) {
        unsigned char byte = (unsigned char)value[i];
        char escape[LONGEST_ESCAPE + 1];

        if (byte < 0x20 || byte >= 0x7f) {
            snprintf(escape, sizeof escape, "\\u%04x", byte);
            add(line, escape, LONGEST_ESCAPE);
            continue;
        }
        if (byte == '"' || byte == '\\')
            add_text(line, "\\");
        add(line, value + i, 1);
    }
    add_text(line, "\"");
}

static bool is_plain(const char *value, size_t len)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "._:/@*+-";

    return len > 0 && strspn(value, plain) >= len && (len > 1 || *value != '-');
}

static void add_field(struct line *line, bool json, const char *name, const char *value)
{
    size_t len = value != NULL ? strnlen(value, LOG_FIELD) : 0;

    add_text(line, json ? ",\"" : " ");
    add_text(line, name);
    add_text(line, json ? "\":" : "=");
    if (value == NULL)
        add_text(line, json ? "null" : "-");
    else if (!json && is_plain(value, len))
        add(line, value, len);
    else
        add_quoted(line, value, len);
}

void log_audit(const struct log_audit *audit)
{
    struct line line = {.len = 0};
    char when[CLOCK_TEXT_SIZE];
    bool json = log_is_json();

    clock_format(when, clock_wall_us());
    if (json) {
        add_text(&line, "{\"time\":\"");
        add_text(&line, when);
        add_text(&line, "\",\"level\":\"info\",\"room\":\"audit\"");
    } else {
        add_text(&line, when);
        add_text(&line, " info    audit:");
    }
    add_field(&line, json, "action", audit->action);
    add_field(&line, json, "outcome", audit->outcome);
    add_field(&line, json, "who", audit->who);
    add_field(&line, json, "target", audit->target);
    add_field(&line, json, "from", audit->from);
    add_field(&line, json, "why", audit->why);
    add_text(&line, json ? "}\n" : "\n");
    log_line(line.text, line.len);
}
