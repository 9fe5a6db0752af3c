/*
 * The request target: split into path and query, and made normal (RFC 3986, section 6.2).
 *
 * Segments are cut at the slashes that were sent, then each is unescaped: an escaped
 * slash cannot move a request from one route to another, and an escaped dot is a dot.
 */
#include "base/hex.h"
#include "http/http_head.h"

int target_unescape(const char *at, size_t len)
{
    if (len < 3 || at[0] != '%' || hex_value(at[1]) < 0 || hex_value(at[2]) < 0)
        return -1;
    return hex_value(at[1]) * 16 + hex_value(at[2]);
}

static const char *find_any(struct slice text, const char *any)
{
    for (size_t i = 0; i < text.len; i++)
        if (strchr(any, text.at[i]) != NULL)
            return text.at + i;
    return text.at + text.len;
}

void target_split(struct slice target, struct slice *ret_path, struct slice *ret_query,
                  bool *ret_plain)
{
    const char *end = target.at + target.len;
    const char *path = target.at;
    const char *mark;
    bool plain = true;

    if (*path != '/') { /* absolute form: the path begins behind "//" and the authority */
        const char *authority = (const char *)memchr(path, ':', target.len) + 3;

        path = find_any((struct slice){authority, (size_t)(end - authority)}, "/?");
        plain = false;
    }
    mark = memchr(path, '?', (size_t)(end - path));
    *ret_query =
        mark == NULL ? (struct slice){end, 0} : (struct slice){mark + 1, (size_t)(end - mark - 1)};
    if (mark == NULL)
        mark = end;
    *ret_path = path == mark ? SLICE("/") : (struct slice){path, (size_t)(mark - path)};
    *ret_plain = plain && memchr(path, '%', (size_t)(mark - path)) == NULL &&
                 memmem(path, (size_t)(mark - path), "/.", 2) == NULL;
}

/* Appends one segment, unescaped. */
static bool append_segment(struct slice segment, struct buf *out)
{
    for (size_t i = 0; i < segment.len; i++) {
        int byte = (unsigned char)segment.at[i];

        if (byte == '%') {
            byte = target_unescape(segment.at + i, segment.len - i);
            if (byte <= 0)
                return false;
            if (byte == '/')
                buf_append_text(out, "%2F");
            else
                buf_append_char(out, (char)byte);
            i += 2;
        } else {
            buf_append_char(out, (char)byte);
        }
    }
    return true;
}

/* Takes the last segment away, and its slash. */
static void drop_segment(struct buf *out, size_t start)
{
    while (out->len > start && out->data[out->len - 1] != '/')
        out->len--;
    if (out->len > start)
        out->len--;
}

bool target_normalize(struct slice path, struct buf *out)
{
    const char *end = path.at + path.len;
    const char *at = path.at; /* always on a slash */
    size_t start = out->len;

    while (at < end) {
        const char *segment = at + 1;
        const char *next = memchr(segment, '/', (size_t)(end - segment));
        size_t slash = out->len;
        struct slice written;

        if (next == NULL)
            next = end;
        buf_append_char(out, '/');
        if (!append_segment((struct slice){segment, (size_t)(next - segment)}, out))
            return false;
        written = (struct slice){out->data + slash + 1, out->len - slash - 1};
        if (slice_is(written, ".") || slice_is(written, "..")) {
            bool up = written.len == 2;

            out->len = slash;
            if (up)
                drop_segment(out, start);
            if (next == end) /* "/a/." and "/a/.." name a folder */
                buf_append_char(out, '/');
        }
        at = next;
    }
    return true;
}
