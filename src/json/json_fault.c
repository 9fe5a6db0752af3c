/*
 * Where a text that cannot be indexed goes wrong. The index only says that it does; this
 * looks again, byte by byte, because such texts are rare and their senders want the place.
 */
#include "json/json_priv.h"

#include "base/utf8.h"

static const char *find_bad_utf8(const unsigned char *text, size_t len, size_t *ret_offset)
{
    for (size_t at = 0; at < len;) {
        size_t step = utf8_len((const char *)text + at, len - at);

        if (step == 0) {
            *ret_offset = at;
            return "bad UTF-8";
        }
        at += step;
    }
    return NULL;
}

/* The first control character inside a string, or else the start of an unclosed one. */
static const char *find_in_strings(const unsigned char *text, size_t len, bool control,
                                   size_t *ret_offset)
{
    size_t opened = 0;
    bool inside = false;

    for (size_t at = 0; at < len; at++) {
        if (text[at] == '"') {
            inside = !inside;
            opened = at;
        } else if (inside && text[at] == '\\') {
            at++;
        } else if (inside && control && text[at] < 0x20) {
            *ret_offset = at;
            return "a control character in a string must be escaped";
        }
    }
    if (!inside || control)
        return NULL;
    *ret_offset = opened;
    return "this string has no end";
}

const char *json_find_fault(enum json_index_result result, const char *text, size_t len,
                            size_t *ret_offset)
{
    const unsigned char *bytes = (const unsigned char *)text;

    switch (result) {
    case JSON_INDEX_UTF8:
        return find_bad_utf8(bytes, len, ret_offset);
    case JSON_INDEX_CONTROL:
        return find_in_strings(bytes, len, true, ret_offset);
    case JSON_INDEX_UNCLOSED:
        return find_in_strings(bytes, len, false, ret_offset);
    default:
        return NULL;
    }
}
