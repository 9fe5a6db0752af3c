/*
 * A .env file: one NAME=value a line, as shells and other dotenv readers have it.
 *
 *   # a comment                       a blank line or one that starts with # is nothing
 *   export NAME=value                 "export " is allowed and means nothing
 *   NAME = value # a comment          spaces around are cut; " #" starts a comment
 *   NAME='as it is'                   no escapes inside single quotes
 *   NAME="a\tb \"c\" \\ \$"           \n \r \t \" \\ \$ inside double quotes
 *
 * Quoted values may go over several lines. Nothing is expanded: $NAME stays as written.
 * Lines end with LF or CRLF. A line that is none of these ends the reading with its
 * number; so does a NUL, which no value could carry.
 */
#include "config/config_priv.h"

struct reader {
    const char *at;
    const char *end;
    unsigned line;
};

static bool at_end_of_line(const struct reader *r)
{
    return r->at == r->end || *r->at == '\n' ||
           (*r->at == '\r' && (r->at + 1 == r->end || r->at[1] == '\n'));
}

static void skip_blanks(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t'))
        r->at++;
}

static void skip_line(struct reader *r)
{
    while (r->at < r->end && *r->at != '\n')
        r->at++;
    if (r->at < r->end) {
        r->at++;
        r->line++;
    }
}

static bool is_name_byte(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
}

static struct slice take_name(struct reader *r)
{
    const char *start = r->at;

    while (r->at < r->end && is_name_byte(*r->at))
        r->at++;
    return (struct slice){start, (size_t)(r->at - start)};
}

static int take_plain(struct reader *r, struct buf *value)
{
    const char *start = r->at;

    while (!at_end_of_line(r) &&
           !(*r->at == '#' && (r->at == start || r->at[-1] == ' ' || r->at[-1] == '\t')))
        r->at++;
    buf_append(value, start, (size_t)(r->at - start));
    while (value->len > 0 &&
           (value->data[value->len - 1] == ' ' || value->data[value->len - 1] == '\t'))
        value->len--;
    return 0;
}

static void append_escape(struct buf *value, char c)
{
    switch (c) {
    case 'n':
        buf_append_char(value, '\n');
        return;
    case 'r':
        buf_append_char(value, '\r');
        return;
    case 't':
        buf_append_char(value, '\t');
        return;
    case '"':
    case '\\':
    case '$':
        break;
    default: /* not one of ours: keep it as written */
        buf_append_char(value, '\\');
    }
    buf_append_char(value, c);
}

static int take_quoted(struct reader *r, struct buf *value, struct err *err)
{
    unsigned first = r->line;
    char quote = *r->at++;

    for (; r->at < r->end && *r->at != quote; r->at++) {
        if (*r->at == '\n')
            r->line++;
        if (quote == '"' && *r->at == '\\' && r->at + 1 < r->end && r->at[1] != '\n')
            append_escape(value, *++r->at);
        else
            buf_append_char(value, *r->at);
    }
    if (r->at == r->end)
        return err_set(err, ERR_INVALID, "line %u: the quote is never closed", first);
    r->at++;
    skip_blanks(r);
    if (!at_end_of_line(r) && *r->at != '#')
        return err_set(err, ERR_INVALID, "line %u: text after the closing quote", r->line);
    return 0;
}

static int take_assignment(struct reader *r, struct buf *value, config_dotenv_visit *visit,
                           void *arg, struct err *err)
{
    unsigned line = r->line;
    struct slice name = take_name(r);
    int rc;

    if (slice_is(name, "export") && r->at < r->end && (*r->at == ' ' || *r->at == '\t')) {
        skip_blanks(r);
        if (r->at < r->end && is_name_byte(*r->at))
            name = take_name(r);
    }
    skip_blanks(r);
    if (name.len == 0 || r->at == r->end || *r->at != '=')
        return err_set(err, ERR_INVALID, "line %u: must be NAME=value", line);
    r->at++;
    skip_blanks(r);
    buf_reset(value, CONFIG_DOTENV_MAX);
    if (r->at < r->end && (*r->at == '"' || *r->at == '\''))
        rc = take_quoted(r, value, err);
    else
        rc = take_plain(r, value);
    if (rc == 0)
        visit(name, (struct slice){value->len > 0 ? value->data : "", value->len}, line, arg);
    return rc;
}

/* The line that holds the first NUL byte; 0: there is none. */
static unsigned line_of_nul(struct slice text)
{
    const char *nul = memchr(text.at, '\0', text.len);
    unsigned line = 1;

    if (nul == NULL)
        return 0;
    for (const char *at = text.at; at < nul; at++)
        line += *at == '\n';
    return line;
}

int config_dotenv_parse(struct slice text, config_dotenv_visit *visit, void *arg, struct err *err)
{
    struct reader r = {text.at, NULL, 1};
    struct buf value = {0};
    int rc = 0;

    if (text.len == 0)
        return 0;
    if (text.len > CONFIG_DOTENV_MAX)
        return err_set(err, ERR_INVALID, "larger than %d bytes", CONFIG_DOTENV_MAX);
    if (line_of_nul(text) != 0)
        return err_set(err, ERR_INVALID, "line %u: holds a NUL byte", line_of_nul(text));
    r.end = text.at + text.len;
    if (text.len >= 3 && memcmp(text.at, "\xef\xbb\xbf", 3) == 0)
        r.at += 3; /* the byte order mark that some editors write */
    while (rc == 0 && r.at < r.end) {
        skip_blanks(&r);
        if (!at_end_of_line(&r) && *r.at != '#')
            rc = take_assignment(&r, &value, visit, arg, err);
        skip_line(&r);
    }
    buf_free(&value);
    return rc;
}
