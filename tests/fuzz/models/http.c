/*
 * See http.h.
 */
#include "models/http.h"

#include <stdlib.h>
#include <strings.h>

enum { MAX_HEAD = 32 * 1024, MAX_TARGET = 8 * 1024, MAX_FIELDS = 100, LARGE = 16 * 1024 };
enum { LONG_LINE = 4000, LONG_TRAILERS = 32000 }; /* a little below what is refused */

struct message {
    struct slice method, target;
    struct slice x; /* the field of that name */
    struct slice length;
    unsigned problems;
    unsigned minor, hosts, lengths, codings;
    bool expects, closes, keeps;
};

unsigned model_bit(int status)
{
    static const int statuses[] = {400, 403, 404, 405, 413, 414, 417, 431, 501, 505, 200};

    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        if (statuses[i] == status)
            return 1u << i;
    return 0;
}

static bool is_token(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];

        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
            (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL))
            return false;
    }
    return text.len > 0;
}

static bool has_control(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (((unsigned char)text.at[i] < 32 && text.at[i] != '\t') || text.at[i] == 127)
            return true;
    return false;
}

static bool same(struct slice text, const char *word)
{
    return text.len == strlen(word) && strncasecmp(text.at, word, text.len) == 0;
}

static bool begins(struct slice text, const char *word)
{
    return text.len > strlen(word) && strncasecmp(text.at, word, strlen(word)) == 0;
}

static struct slice cut(struct slice *rest, char mark)
{
    const char *found = rest->len > 0 ? memchr(rest->at, mark, rest->len) : NULL;
    struct slice part = {rest->at, found != NULL ? (size_t)(found - rest->at) : rest->len};
    size_t gone = part.len + (found != NULL);

    *rest = (struct slice){rest->at + gone, rest->len - gone};
    return part;
}

static struct slice line_of(struct slice *rest)
{
    struct slice line = cut(rest, '\n');

    if (line.len > 0 && line.at[line.len - 1] == '\r')
        line.len--;
    return line;
}

/* 0: its end is not there. */
static size_t head_length(struct slice stream)
{
    struct slice rest = stream;

    while (rest.len > 0) {
        bool whole = memchr(rest.at, '\n', rest.len) != NULL;

        if (line_of(&rest).len == 0 && whole)
            return (size_t)(rest.at - stream.at);
    }
    return 0;
}

static void read_request_line(struct slice line, struct message *message)
{
    struct slice rest = line;
    bool visible = true;

    message->method = cut(&rest, ' ');
    message->target = cut(&rest, ' ');
    for (size_t i = 0; i < message->target.len; i++)
        visible = visible && message->target.at[i] > 32 && message->target.at[i] < 127;
    if (!is_token(message->method) || !visible || rest.len != 8 ||
        memcmp(rest.at, "HTTP/", 5) != 0 || strchr("0123456789", rest.at[5]) == NULL ||
        rest.at[5] == 0 || rest.at[6] != '.' || rest.at[7] < '0' || rest.at[7] > '9')
        message->problems |= R400;
    else if (rest.at[5] != '1')
        message->problems |= R505;
    else
        message->minor = (unsigned)(rest.at[7] - '0');
    if ((message->target.len == 0 || message->target.at[0] != '/') &&
        !begins(message->target, "http://") && !begins(message->target, "https://"))
        message->problems |= R400;
    if (message->target.len > MAX_TARGET || (message->problems != 0 && line.len > MAX_TARGET))
        message->problems |= R414;
}

/* Whatever separates the options, they are tokens. */
static void read_options(struct slice value, struct message *message)
{
    size_t from = 0;

    for (size_t to = 0; to <= value.len; to++) {
        if (to < value.len && is_token((struct slice){value.at + to, 1}))
            continue;
        message->closes |= same((struct slice){value.at + from, to - from}, "close");
        message->keeps |= same((struct slice){value.at + from, to - from}, "keep-alive");
        from = to + 1;
    }
}

static void read_field(struct slice line, struct message *message)
{
    bool has_colon = memchr(line.at, ':', line.len) != NULL;
    struct slice name = cut(&line, ':');

    while (line.len > 0 && strchr(" \t", line.at[0]) != NULL && line.at[0] != 0) {
        line.at++;
        line.len--;
    }
    while (line.len > 0 && (line.at[line.len - 1] == ' ' || line.at[line.len - 1] == '\t'))
        line.len--;
    if (!has_colon || !is_token(name) || has_control(line)) {
        message->problems |= R400;
    } else if (same(name, "content-length")) {
        message->lengths++;
        message->length = line;
    } else if (same(name, "transfer-encoding")) {
        message->codings++;
        message->problems |= same(line, "chunked") ? 0 : R501;
    } else if (same(name, "expect")) {
        message->expects = true;
        message->problems |= same(line, "100-continue") ? 0 : R417;
    } else if (same(name, "connection")) {
        read_options(line, message);
    } else if (same(name, "host")) {
        message->hosts++;
    } else if (same(name, "x") && message->x.at == NULL) {
        message->x = line;
    }
}

static uint64_t length_of(struct message *message)
{
    uint64_t length = 0;

    if (message->lengths == 0)
        return 0;
    if (message->length.len == 0 || message->length.len > 18)
        message->problems |= R400;
    for (size_t i = 0; i < message->length.len && i < 18; i++) {
        if (message->length.at[i] < '0' || message->length.at[i] > '9')
            message->problems |= R400;
        length = length * 10 + (uint64_t)(message->length.at[i] - '0');
    }
    if (length > MODEL_MAX_BODY)
        message->problems |= R413;
    return length;
}

static void read_head(struct slice head, struct message *message)
{
    struct slice line;
    unsigned fields = 0;

    read_request_line(line_of(&head), message);
    while ((line = line_of(&head)).len > 0) {
        read_field(line, message);
        fields++;
    }
    if (fields > MAX_FIELDS)
        message->problems |= R431;
    if (message->lengths > 1 || message->codings > 1 ||
        (message->codings > 0 && (message->lengths > 0 || message->minor == 0)) ||
        message->hosts > 1 || (message->hosts == 0 && message->minor > 0))
        message->problems |= R400;
}

static int hex(char c)
{
    const char *digits = "0123456789abcdef";
    const char *found = c == 0 ? NULL : strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c);

    return found != NULL ? (int)(found - digits) : -1;
}

/* Appends "/" and a segment; false if an escape is none. */
static bool put_segment(struct slice raw, struct buf *out)
{
    buf_append_char(out, '/');
    for (size_t i = 0; i < raw.len; i++) {
        int byte;

        if (raw.at[i] != '%') {
            buf_append_char(out, raw.at[i]);
            continue;
        }
        if (raw.len - i < 3 || hex(raw.at[i + 1]) < 0 || hex(raw.at[i + 2]) < 0)
            return false;
        byte = hex(raw.at[i + 1]) * 16 + hex(raw.at[i + 2]);
        if (byte == 0)
            return false;
        if (byte == '/')
            buf_append_text(out, "%2F");
        else
            buf_append_char(out, (char)byte);
        i += 2;
    }
    return true;
}

/* The path of a target with its dots resolved (RFC 3986, section 5.2.4). */
static bool read_path(struct slice target, struct buf *out, struct slice *ret_query)
{
    struct slice path = target;
    size_t segments[MAX_TARGET + 1]; /* where each begins in `out` */
    size_t count = 0;
    bool good = true;
    bool last = false;

    if (target.at[0] != '/') {
        path.at = strchr(target.at, ':') + 3;
        path.len -= (size_t)(path.at - target.at);
        while (path.len > 0 && *path.at != '/' && *path.at != '?') {
            path.at++;
            path.len--;
        }
    }
    *ret_query = path;
    path = cut(ret_query, '?');
    if (path.len == 0)
        path = SLICE("/");
    path.at++;
    path.len--;
    while (good && !last) {
        struct slice segment;

        last = path.len == 0 || memchr(path.at, '/', path.len) == NULL;
        segments[count++] = out->len;
        good = put_segment(cut(&path, '/'), out);
        segment =
            (struct slice){out->data + segments[count - 1] + 1, out->len - segments[count - 1] - 1};
        if (!slice_is(segment, ".") && !slice_is(segment, ".."))
            continue;
        count -= segment.len == 2 && count > 1 ? 2 : 1;
        out->len = segments[count];
        if (last)
            buf_append_char(out, '/');
    }
    return good;
}

/* The status of a request for its path and method alone; *ret_large: it may have any body. */
static unsigned route(struct slice method, struct slice path, bool *ret_large,
                      struct slice *ret_capture)
{
    bool is_get = slice_is(method, "GET") || slice_is(method, "HEAD");
    struct slice part = {path.at + 3, path.len - 3};

    *ret_large = true;
    *ret_capture = SLICE("");
    if (slice_is(path, "/"))
        return is_get ? R200 : R405;
    if (slice_is(path, "/b"))
        return slice_is(method, "POST") ? R200 : R405;
    if (slice_is(path, "/d")) {
        *ret_large = false;
        return slice_is(method, "POST") ? R403 : R405;
    }
    if (path.len <= 3 || memcmp(path.at, "/c/", 3) != 0 || memchr(part.at, '/', part.len) != NULL)
        return R404;
    *ret_capture = part;
    return is_get || slice_is(method, "PUT") ? R200 : R405;
}

enum body { WHOLE, CUT, BROKEN };

struct chunks {
    struct slice rest;
    bool exceeded; /* more is announced than a body may have */
    bool unsure;
};

/* A CRLF, perhaps with anything printable before. */
static enum body take_crlf(struct chunks *chunks, bool any)
{
    while (chunks->rest.len > 0) {
        struct slice byte = {chunks->rest.at++, 1};

        chunks->rest.len--;
        if (*byte.at == '\r') {
            if (chunks->rest.len == 0)
                return CUT;
            chunks->rest.len--;
            return *chunks->rest.at++ == '\n' ? WHOLE : BROKEN;
        }
        if (!any || has_control(byte))
            return BROKEN;
    }
    return CUT;
}

static enum body take_size(struct chunks *chunks, size_t room, uint64_t *ret)
{
    const char *start = chunks->rest.at;
    unsigned digits = 0;
    enum body end;

    for (*ret = 0; chunks->rest.len > 0 && hex(*chunks->rest.at) >= 0; digits++) {
        if (digits == 15)
            return BROKEN;
        *ret = *ret * 16 + (uint64_t)hex(*chunks->rest.at++);
        chunks->rest.len--;
        chunks->exceeded |= *ret > room;
    }
    if (digits == 0)
        return chunks->rest.len == 0 ? CUT : BROKEN;
    while (chunks->rest.len > 0 && (*chunks->rest.at == ' ' || *chunks->rest.at == '\t')) {
        chunks->rest.at++;
        chunks->rest.len--;
    }
    end = take_crlf(chunks, chunks->rest.len > 0 && *chunks->rest.at == ';');
    chunks->unsure |= chunks->rest.at - start > LONG_LINE;
    return end;
}

static enum body take_trailers(struct chunks *chunks)
{
    const char *start = chunks->rest.at;
    enum body end = WHOLE;
    bool last = false;

    while (end == WHOLE && !last) {
        if (chunks->rest.len == 0)
            return CUT;
        last = *chunks->rest.at == '\r';
        if (!last && !is_token((struct slice){chunks->rest.at, 1}))
            return BROKEN;
        end = take_crlf(chunks, !last);
    }
    chunks->unsure |= chunks->rest.at - start > LONG_TRAILERS;
    return end;
}

static enum body take_chunks(struct chunks *chunks, struct buf *out)
{
    size_t before = out->len;

    for (;;) {
        size_t have = out->len - before;
        uint64_t size;
        enum body end = take_size(chunks, have < MODEL_MAX_BODY ? MODEL_MAX_BODY - have : 0, &size);

        if (end != WHOLE)
            return end;
        if (size == 0)
            return take_trailers(chunks);
        have = size < chunks->rest.len ? (size_t)size : chunks->rest.len;
        buf_append(out, chunks->rest.at, have);
        chunks->rest.at += have;
        chunks->rest.len -= have;
        if (have < size)
            return CUT;
        end = take_crlf(chunks, false);
        if (end != WHOLE)
            return end;
    }
}

/* `early`: what a large body is refused with before it is whole; 0: it is not. */
static void judge_chunks(struct slice *stream, unsigned early, struct expected *ret)
{
    struct chunks chunks = {.rest = *stream};
    size_t before = ret->text.len;
    enum body end = take_chunks(&chunks, &ret->text);

    if (ret->text.len - before <= LARGE)
        early = 0;
    ret->unsure = chunks.unsure;
    ret->refusals = early | (chunks.exceeded ? R413 : 0) | (end == BROKEN ? R400 : 0);
    ret->silent = end == CUT && ret->refusals == 0;
    if (end != WHOLE || chunks.exceeded)
        ret->answer = 0;
    *stream = chunks.rest;
}

static void judge_length(struct slice *stream, uint64_t length, unsigned early,
                         struct expected *ret)
{
    bool whole = length <= stream->len;
    size_t len = whole ? (size_t)length : stream->len;

    ret->refusals = length > LARGE ? early : 0;
    ret->silent = !whole && ret->refusals == 0;
    if (!whole)
        ret->answer = 0;
    buf_append(&ret->text, stream->at, len);
    *stream = (struct slice){stream->at + len, stream->len - len};
}

static void judge(struct slice *stream, struct message *message, struct expected *ret)
{
    uint64_t length = length_of(message);
    struct slice query = {0};
    struct slice capture;
    struct buf path = {0};
    bool large;

    if (message->problems == 0 && !read_path(message->target, &path, &query))
        message->problems = R400;
    ret->refusals = message->problems;
    if (message->problems == 0) {
        ret->persistent = !message->closes && (message->minor > 0 || message->keeps);
        ret->minor_0 = message->minor == 0;
        ret->may_continue = message->expects && message->minor > 0;
        ret->answer = route(message->method, buf_slice(&path), &large, &capture);
        buf_printf(&ret->text, "%.*s %.*s?%.*s %.*s %.*s\n", SLICE_ARG(message->method),
                   SLICE_ARG(buf_slice(&path)), SLICE_ARG(query), SLICE_ARG(capture),
                   SLICE_ARG(message->x));
        if (message->codings > 0)
            judge_chunks(stream, large && ret->answer == R200 ? 0 : ret->answer, ret);
        else
            judge_length(stream, length, large && ret->answer == R200 ? 0 : ret->answer, ret);
    }
    buf_free(&path);
}

void model_next(struct slice *stream, struct expected *ret)
{
    struct message message = {0};
    struct slice head;

    *ret = (struct expected){.text = ret->text};
    ret->text.len = 0;
    while (stream->len > 0 && (*stream->at == '\r' || *stream->at == '\n')) {
        stream->at++;
        stream->len--;
    }
    ret->head_only = stream->len > 5 && memcmp(stream->at, "HEAD ", 5) == 0;
    head = (struct slice){stream->at, head_length(*stream)};
    if (stream->len == 0) {
        ret->silent = true;
    } else if (head.len > MAX_HEAD || (head.len == 0 && stream->len > MAX_HEAD)) {
        ret->refusals = ANY_REFUSAL;
    } else if (head.len == 0) {
        ret->silent = is_token((struct slice){stream->at, 1});
        ret->refusals = ret->silent ? 0 : R400;
    } else {
        stream->at += head.len;
        stream->len -= head.len;
        read_head(head, &message);
        judge(stream, &message, ret);
    }
}
