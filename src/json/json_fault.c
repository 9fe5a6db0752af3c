/*
 * Where a text that cannot be indexed goes wrong. The index only says that it does; this
 * looks again, byte by byte, because such texts are rare and their senders want the place.
 */
#include "json/json_priv.h"

/* Bytes of the UTF-8 character at `at` (RFC 3629, section 4), 0 if it is none. */
static size_t character_len(const unsigned char *at, size_t left)
{
    unsigned char low = 0x80; /* the bounds of the second byte */
    unsigned char high = 0xbf;
    size_t len;

    if (at[0] < 0x80)
        return 1;
    if (at[0] < 0xc2 || at[0] > 0xf4)
        return 0;
    len = at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (at[0] == 0xe0)
        low = 0xa0;
    else if (at[0] == 0xed)
        high = 0x9f;
    else if (at[0] == 0xf0)
        low = 0x90;
    else if (at[0] == 0xf4)
        high = 0x8f;
    if (left < len || at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if (at[i] < 0x80 || at[i] > 0xbf)
            return 0;
    }
    return len;
}

static const char *find_bad_utf8(const unsigned char *text, size_t len, size_t *ret_offset)
{
    for (size_t at = 0; at < len;) {
        size_t step = character_len(text + at, len - at);

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
