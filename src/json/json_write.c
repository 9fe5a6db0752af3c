/*
 * Values become JSON. Only what must be escaped is: quotes, backslashes and control
 * characters; everything else is UTF-8 as it is.
 */
#include "json/json.h"

#include <inttypes.h>

static void write_escape(struct buf *out, unsigned char byte)
{
    static const char letters[32] = {
        ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};

    if (byte == '"' || byte == '\\')
        buf_printf(out, "\\%c", byte);
    else if (letters[byte] != 0)
        buf_printf(out, "\\%c", letters[byte]);
    else
        buf_printf(out, "\\u%04x", byte);
}

void json_write_string(struct buf *out, struct slice text)
{
    size_t plain = 0;

    if (text.at == NULL) {
        buf_append_text(out, "null");
        return;
    }
    buf_append_char(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.at[i];

        if (byte >= 0x20 && byte != '"' && byte != '\\')
            continue;
        buf_append(out, text.at + plain, i - plain);
        write_escape(out, byte);
        plain = i + 1;
    }
    buf_append(out, text.at + plain, text.len - plain);
    buf_append_char(out, '"');
}

void json_write_int(struct buf *out, int64_t value)
{
    buf_printf(out, "%" PRId64, value);
}

void json_write_uint(struct buf *out, uint64_t value)
{
    buf_printf(out, "%" PRIu64, value);
}

void json_write_seconds(struct buf *out, int64_t us)
{
    uint64_t size = us < 0 ? 0 - (uint64_t)us : (uint64_t)us;
    uint64_t fraction = size % 1000000;
    int digits = 6;

    buf_printf(out, "%s%" PRIu64, us < 0 ? "-" : "", size / 1000000);
    if (fraction == 0)
        return;
    for (; fraction % 10 == 0; digits--)
        fraction /= 10;
    buf_printf(out, ".%0*" PRIu64, digits, fraction);
}
