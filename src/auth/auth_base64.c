/*
 * base64url without padding, strictly: one text for every run of bytes. Lenient decoders
 * give one signed token many spellings, which a cache would take for many tokens.
 */
#include "auth/auth_priv.h"

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '-')
        return 62;
    return c == '_' ? 63 : -1;
}

bool auth_base64url_decode(struct slice text, unsigned char *out, size_t *ret_len)
{
    unsigned bits = 0;
    unsigned held = 0; /* bits in hand that are not written yet */
    size_t len = 0;

    if (text.len % 4 == 1)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        int value = value_of(text.at[i]);

        if (value < 0)
            return false;
        bits = bits << 6 | (unsigned)value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[len++] = (unsigned char)(bits >> held);
            bits &= (1U << held) - 1;
        }
    }
    if (bits != 0)
        return false;
    *ret_len = len;
    return true;
}
