/*
 * Checks a request's head line by line.
 *
 * The happy path: a request line, then fields, each a token, a colon and a value without
 * control characters; along the way the fields that frame the body, or end the connection, are
 * noted. Refused: what no grammar allows (400), a target or a head too long (414, 431), a transfer
 * coding other than chunked (501), an expectation other than 100-continue (417), another major
 * version (505), and everything by which two servers could see two different bodies: a
 * repeated or malformed Content-Length, one beside Transfer-Encoding, folded lines.
 */
#include "http/http_head.h"

#include <strings.h>

/* RFC 9110, section 5.6.2. */
static const bool tokens[256] = {
    ['!'] = true,         ['#'] = true, ['$'] = true, ['%'] = true,         ['&'] = true,
    ['\''] = true,        ['*'] = true, ['+'] = true, ['-'] = true,         ['.'] = true,
    ['0' ... '9'] = true, ['^'] = true, ['_'] = true, ['A' ... 'Z'] = true, ['`'] = true,
    ['a' ... 'z'] = true, ['|'] = true, ['~'] = true,
};

bool head_is_token(char byte)
{
    return tokens[(unsigned char)byte];
}

size_t head_end(struct slice bytes, size_t *scanned)
{
    const char *end = bytes.at + bytes.len;
    const char *line = bytes.at + *scanned;

    for (;;) {
        const char *feed = memchr(line, '\n', (size_t)(end - line));

        if (feed == NULL || feed + 1 == end)
            return 0;
        if (feed[1] == '\n')
            return (size_t)(feed + 2 - bytes.at);
        if (feed[1] == '\r') {
            if (feed + 2 == end)
                return 0;
            if (feed[2] == '\n')
                return (size_t)(feed + 3 - bytes.at);
        }
        line = feed + 1;
        *scanned = (size_t)(feed - bytes.at) + 1;
    }
}

static int refuse(int status, const char *why, const char **ret_why)
{
    *ret_why = why;
    return status;
}

/* Cuts the next line off, without its CRLF or LF. The head ends with one. */
static struct slice take_line(struct slice *rest)
{
    const char *feed = memchr(rest->at, '\n', rest->len);
    struct slice line = {rest->at, (size_t)(feed - rest->at)};

    rest->at = feed + 1;
    rest->len -= line.len + 1;
    if (line.len > 0 && line.at[line.len - 1] == '\r')
        line.len--;
    return line;
}

static size_t token_length(struct slice text)
{
    size_t len = 0;

    while (len < text.len && head_is_token(text.at[len]))
        len++;
    return len;
}

/* Visible ASCII only; a target has no spaces. */
static size_t target_length(struct slice text)
{
    size_t len = 0;

    while (len < text.len && text.at[len] > ' ' && text.at[len] < 0x7f)
        len++;
    return len;
}

static bool is_origin_or_absolute(struct slice target)
{
    return (target.len >= 1 && target.at[0] == '/') ||
           (target.len > 7 && strncasecmp(target.at, "http://", 7) == 0) ||
           (target.len > 8 && strncasecmp(target.at, "https://", 8) == 0);
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static int read_version(struct slice text, struct head *head, const char **ret_why)
{
    if (text.len != 8 || memcmp(text.at, "HTTP/", 5) != 0 || !is_digit(text.at[5]) ||
        text.at[6] != '.' || !is_digit(text.at[7]))
        return refuse(400, "malformed request line", ret_why);
    if (text.at[5] != '1')
        return refuse(505, "this server speaks HTTP/1.1", ret_why);
    head->minor = (unsigned)(text.at[7] - '0');
    return 0;
}

static int read_request_line(struct slice line, struct head *head, const char **ret_why)
{
    head->method = (struct slice){line.at, token_length(line)};
    if (head->method.len == 0 || head->method.len == line.len || line.at[head->method.len] != ' ')
        return refuse(400, "malformed request line", ret_why);
    line.at += head->method.len + 1;
    line.len -= head->method.len + 1;
    head->target = (struct slice){line.at, target_length(line)};
    if (head->target.len > HEAD_MAX_TARGET)
        return refuse(414, "the request target is too long", ret_why);
    if (head->target.len == line.len || line.at[head->target.len] != ' ')
        return refuse(400, "malformed request line", ret_why);
    if (!is_origin_or_absolute(head->target))
        return refuse(400, "the request target is no path and no http address", ret_why);
    line.at += head->target.len + 1;
    line.len -= head->target.len + 1;
    return read_version(line, head, ret_why);
}

static bool name_is(struct slice name, const char *lower_case)
{
    return name.len == strlen(lower_case) && strncasecmp(name.at, lower_case, name.len) == 0;
}

static int read_length(struct slice value, struct head *head, const char **ret_why)
{
    uint64_t length = 0;

    if (head->has_length)
        return refuse(400, "more than one Content-Length", ret_why);
    if (value.len == 0 || value.len > 18) /* 18 digits cannot overflow */
        return refuse(400, "malformed Content-Length", ret_why);
    for (size_t i = 0; i < value.len; i++) {
        if (!is_digit(value.at[i]))
            return refuse(400, "malformed Content-Length", ret_why);
        length = length * 10 + (uint64_t)(value.at[i] - '0');
    }
    head->has_length = true;
    head->length = length;
    return 0;
}

static int read_coding(struct slice value, struct head *head, const char **ret_why)
{
    if (head->chunked)
        return refuse(400, "more than one Transfer-Encoding", ret_why);
    if (!name_is(value, "chunked"))
        return refuse(501, "the only transfer coding understood is chunked", ret_why);
    head->chunked = true;
    return 0;
}

static int read_expectation(struct slice value, struct head *head, const char **ret_why)
{
    if (!name_is(value, "100-continue"))
        return refuse(417, "the only expectation understood is 100-continue", ret_why);
    head->expects = true;
    return 0;
}

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t';
}

/* Names of options that mean nothing here are passed over (RFC 9110, section 7.6.1). */
static int read_connection(struct slice value, struct head *head)
{
    const char *at = value.at;
    const char *end = value.at + value.len;

    while (at < end) {
        struct slice option = {at, token_length((struct slice){at, (size_t)(end - at)})};

        head->closes |= name_is(option, "close");
        head->keeps |= name_is(option, "keep-alive");
        at += option.len > 0 ? option.len : 1; /* a comma, a space */
    }
    return 0;
}

/* Notes what frames the body. The first letter spares most fields the comparisons. */
static int note_field(struct slice name, struct slice value, struct head *head,
                      const char **ret_why)
{
    switch (name.at[0] | 0x20) {
    case 'c':
        if (name_is(name, "connection"))
            return read_connection(value, head);
        return name_is(name, "content-length") ? read_length(value, head, ret_why) : 0;
    case 'e':
        return name_is(name, "expect") ? read_expectation(value, head, ret_why) : 0;
    case 'h':
        head->hosts += name_is(name, "host");
        return 0;
    case 't':
        return name_is(name, "transfer-encoding") ? read_coding(value, head, ret_why) : 0;
    default:
        return 0;
    }
}

/* No control characters but tabs. Eight bytes at a time: a token is most of a head, and
 * each of its bytes passes here. */
static bool is_value(struct slice value)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t highs = ones << 7;
    size_t i = 0;

    for (; i + 8 <= value.len; i += 8) {
        uint64_t word;
        uint64_t below;
        uint64_t del;

        memcpy(&word, value.at + i, 8);
        below = (word - ones * 0x20) & ~word; /* high bit set: perhaps below 0x20 */
        del = ((word ^ (ones * 0x7f)) - ones) & ~(word ^ (ones * 0x7f)); /* perhaps 0x7f */
        if (((below | del) & highs) != 0)
            break;
    }
    for (; i < value.len; i++) {
        unsigned char byte = (unsigned char)value.at[i];

        if ((byte < 0x20 && byte != '\t') || byte == 0x7f)
            return false;
    }
    return true;
}

static struct slice without_end_spaces(struct slice text)
{
    while (text.len > 0 && is_space(text.at[text.len - 1]))
        text.len--;
    return text;
}

static int read_field(struct slice line, struct head *head, const char **ret_why)
{
    struct slice name = {line.at, token_length(line)};
    struct slice value;

    if (name.len == 0 || name.len == line.len || line.at[name.len] != ':')
        return refuse(400, "malformed header field", ret_why);
    value = (struct slice){line.at + name.len + 1, line.len - name.len - 1};
    while (value.len > 0 && is_space(*value.at)) {
        value.at++;
        value.len--;
    }
    value = without_end_spaces(value);
    if (!is_value(value))
        return refuse(400, "a header field has a control character", ret_why);
    if (head->count == HEAD_MAX_FIELDS)
        return refuse(431, "too many header fields", ret_why);
    head->fields[head->count++] = (struct head_field){name, value};
    return note_field(name, value, head, ret_why);
}

/* What only the whole head can tell. */
static int check_framing(const struct head *head, const char **ret_why)
{
    if (head->chunked && head->has_length)
        return refuse(400, "both Content-Length and Transfer-Encoding", ret_why);
    if (head->chunked && head->minor == 0)
        return refuse(400, "Transfer-Encoding in HTTP/1.0", ret_why);
    if (head->hosts > 1 || (head->hosts == 0 && head->minor > 0))
        return refuse(400, "exactly one Host is needed", ret_why);
    return 0;
}

/* All but the fields, of which only as many are looked at as were read. */
static void clear(struct head *head)
{
    memset(head, 0, offsetof(struct head, fields));
}

int head_read(struct slice bytes, struct head *ret, const char **ret_why)
{
    struct slice line = take_line(&bytes);
    int status;

    clear(ret);
    status = read_request_line(line, ret, ret_why);
    while (status == 0 && bytes.len > 0) {
        line = take_line(&bytes);
        if (line.len == 0)
            break;
        status = read_field(line, ret, ret_why);
    }
    return status != 0 ? status : check_framing(ret, ret_why);
}

struct slice head_field(const struct head *head, const char *lower_case_name)
{
    size_t len = strlen(lower_case_name);

    for (unsigned i = 0; i < head->count; i++)
        if (head->fields[i].name.len == len &&
            strncasecmp(head->fields[i].name.at, lower_case_name, len) == 0)
            return head->fields[i].value;
    return (struct slice){NULL, 0};
}

bool head_persists(const struct head *head)
{
    return !head->closes && (head->minor > 0 || head->keeps);
}
