/*
 * Finds a parameter in a query ("a=1&b=x%20y") and undoes its encoding.
 */
#include "http/http.h"
#include "http/http_head.h"

/* Cuts the next "name=value" off. */
static struct slice take_pair(struct slice *rest)
{
    const char *end = rest->at + rest->len;
    const char *mark = memchr(rest->at, '&', rest->len);
    struct slice pair = {rest->at, (size_t)((mark != NULL ? mark : end) - rest->at)};

    rest->at = mark != NULL ? mark + 1 : end;
    rest->len = (size_t)(end - rest->at);
    return pair;
}

/* The bytes it decodes to, into out unless that is NULL, and a NUL behind them; 0 if it is
 * malformed. A NUL cannot be told from the text's end, so an encoded one is malformed. */
static size_t decode(struct slice value, char *out)
{
    size_t len = 0;

    for (size_t i = 0; i < value.len; i++) {
        int byte = (unsigned char)value.at[i];

        if (byte == '%') {
            byte = target_unescape(value.at + i, value.len - i);
            i += 2;
        } else if (byte == '+') {
            byte = ' ';
        }
        if (byte <= 0)
            return 0;
        if (out != NULL)
            out[len] = (char)byte;
        len++;
    }
    if (out != NULL)
        out[len] = '\0';
    return len + 1;
}

bool http_query(struct slice query, const char *name, char *out, size_t size, bool *ret_bad)
{
    *ret_bad = false;
    while (query.len > 0) {
        struct slice pair = take_pair(&query);
        const char *mark = pair.len > 0 ? memchr(pair.at, '=', pair.len) : NULL;
        struct slice key = {pair.at, mark != NULL ? (size_t)(mark - pair.at) : pair.len};
        struct slice value = {pair.at + pair.len, 0};
        size_t needed;

        if (!slice_is(key, name))
            continue;
        if (mark != NULL)
            value = (struct slice){mark + 1, (size_t)(pair.at + pair.len - mark - 1)};
        needed = decode(value, NULL);
        *ret_bad = needed == 0 || needed > size;
        if (*ret_bad)
            return false;
        decode(value, out);
        return true;
    }
    return false;
}
