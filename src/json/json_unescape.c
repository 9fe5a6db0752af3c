/*
 * The inside of a JSON string becomes the text that it stands for (RFC 8259, section 7).
 *
 * A \u escape of a surrogate must be half of a pair: text with a lone one cannot be written
 * as UTF-8, so it is refused. What comes out is never longer than what went in.
 */
#include "json/json_priv.h"

#include "base/hex.h"

#include <string.h>

/* The number of "\uXXXX" at `at`; -1 if that is not what stands there. */
static int32_t take_unit(const char *at, const char *end)
{
    int32_t unit = 0;

    if (end - at < 6 || at[0] != '\\' || at[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        int digit = hex_value(at[i]);

        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

static char *put_utf8(char *out, int32_t character)
{
    if (character < 0x80) {
        *out++ = (char)character;
    } else if (character < 0x800) {
        *out++ = (char)(0xc0 | character >> 6);
        *out++ = (char)(0x80 | (character & 0x3f));
    } else if (character < 0x10000) {
        *out++ = (char)(0xe0 | character >> 12);
        *out++ = (char)(0x80 | (character >> 6 & 0x3f));
        *out++ = (char)(0x80 | (character & 0x3f));
    } else {
        *out++ = (char)(0xf0 | character >> 18);
        *out++ = (char)(0x80 | (character >> 12 & 0x3f));
        *out++ = (char)(0x80 | (character >> 6 & 0x3f));
        *out++ = (char)(0x80 | (character & 0x3f));
    }
    return out;
}

/* One \u escape, or the pair of them that makes one character; NULL or what is wrong. */
static const char *take_character(const char **at, const char *end, int32_t *ret)
{
    int32_t high = take_unit(*at, end);
    int32_t low;

    if (high < 0)
        return "\\u needs four hexadecimal digits";
    if (high < 0xd800 || high > 0xdfff) {
        *at += 6;
        *ret = high;
        return NULL;
    }
    low = take_unit(*at + 6, end);
    if (high >= 0xdc00 || low < 0xdc00 || low > 0xdfff)
        return "a lone surrogate is no character";
    *at += 12;
    *ret = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    return NULL;
}

/* The byte that a one-letter escape stands for; 0 if there is no such escape. */
static char simple_escape(char letter)
{
    switch (letter) {
    case '"':
    case '\\':
    case '/':
        return letter;
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return 0;
    }
}

const char *json_unescape(const char *text, size_t len, char *out, size_t *ret_len,
                          bool *ret_has_nul, size_t *ret_offset)
{
    const char *at = text;
    const char *end = text + len;
    char *start = out;
    bool has_nul = false;

    while (at < end) {
        const char *backslash = memchr(at, '\\', (size_t)(end - at));
        size_t plain = (size_t)((backslash != NULL ? backslash : end) - at);
        const char *wrong = NULL;
        int32_t character = 0;

        memcpy(out, at, plain);
        out += plain;
        at += plain;
        if (at == end)
            break;
        if (end - at >= 2 && at[1] != 'u') {
            character = (unsigned char)simple_escape(at[1]);
            wrong = character == 0 ? "there is no such escape" : NULL;
            at += wrong == NULL ? 2 : 0;
        } else {
            wrong = take_character(&at, end, &character);
        }
        if (wrong != NULL) {
            *ret_offset = (size_t)(at - text);
            return wrong;
        }
        has_nul = has_nul || character == 0;
        out = put_utf8(out, character);
    }
    *ret_len = (size_t)(out - start);
    *ret_has_nul = has_nul;
    return NULL;
}
