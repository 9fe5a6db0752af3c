/*
 * Reads chunks: a size in hexadecimal, perhaps extensions, CRLF, as many bytes, CRLF; the
 * size 0 ends them, then come trailers and an empty line.
 *
 * The bytes of a chunk are moved as one piece; the lines between are read byte by byte.
 */
#include "http/http_chunked.h"

#include "base/hex.h"
#include "http/http_head.h"

#include <string.h>

enum { MAX_DIGITS = 15 };

enum place {
    SIZE,         /* at the line's start */
    SIZE_MORE,    /* behind a digit */
    SIZE_BLANK,   /* behind a blank: an extension may come */
    EXTENSION,    /* up to the line's end */
    SIZE_END,     /* between CR and LF */
    DATA,         /* in the chunk */
    DATA_CR,      /* behind it */
    DATA_LF,      /* between CR and LF */
    TRAILER,      /* at the line's start */
    TRAILER_MORE, /* up to the line's end */
    TRAILER_END,  /* between CR and LF */
    LAST_LF,      /* behind the empty line's CR */
    END,
    BROKEN,
};

static bool is_control(char byte)
{
    return ((unsigned char)byte < 0x20 && byte != '\t') || byte == 0x7f;
}

static enum place take_digit(struct chunked *chunked, char byte)
{
    int digit = hex_value(byte);

    if (digit < 0 || ++chunked->digits > MAX_DIGITS)
        return BROKEN;
    chunked->left = chunked->left << 4 | (unsigned)digit;
    return SIZE_MORE;
}

static enum place behind_digit(struct chunked *chunked, char byte)
{
    if (byte == '\r')
        return SIZE_END;
    if (byte == ' ' || byte == '\t')
        return SIZE_BLANK;
    return byte == ';' ? EXTENSION : take_digit(chunked, byte);
}

static enum place behind_blank(char byte)
{
    if (byte == '\r')
        return SIZE_END;
    if (byte == ';')
        return EXTENSION;
    return byte == ' ' || byte == '\t' ? SIZE_BLANK : BROKEN;
}

static enum place begin_chunk(struct chunked *chunked)
{
    chunked->digits = 0;
    chunked->line = 0;
    return chunked->left > 0 ? DATA : TRAILER;
}

static enum place to_line_end(enum place here, char byte, enum place end)
{
    if (byte == '\r')
        return end;
    return is_control(byte) ? BROKEN : here;
}

/* A byte that is not a chunk's. */
static enum place step(struct chunked *chunked, char byte)
{
    switch ((enum place)chunked->at) {
    case SIZE:
        return take_digit(chunked, byte);
    case SIZE_MORE:
        return behind_digit(chunked, byte);
    case SIZE_BLANK:
        return behind_blank(byte);
    case EXTENSION:
        return to_line_end(EXTENSION, byte, SIZE_END);
    case SIZE_END:
        return byte == '\n' ? begin_chunk(chunked) : BROKEN;
    case DATA_CR:
        return byte == '\r' ? DATA_LF : BROKEN;
    case DATA_LF:
        return byte == '\n' ? SIZE : BROKEN;
    case TRAILER:
        if (byte == '\r')
            return LAST_LF;
        return head_is_token(byte) ? TRAILER_MORE : BROKEN;
    case TRAILER_MORE:
        return to_line_end(TRAILER_MORE, byte, TRAILER_END);
    case TRAILER_END:
        return byte == '\n' ? TRAILER : BROKEN;
    case LAST_LF:
        return byte == '\n' ? END : BROKEN;
    case DATA:
    case END:
    case BROKEN:
        break;
    }
    return BROKEN;
}

static bool is_line_too_long(const struct chunked *chunked)
{
    return chunked->line > (chunked->at >= TRAILER ? CHUNKED_MAX_TRAILERS : CHUNKED_MAX_LINE);
}

/* Moves what there is of a chunk's bytes. */
static size_t take_data(struct chunked *chunked, char *to, const char *from, size_t len)
{
    if (len > chunked->left)
        len = (size_t)chunked->left;
    memmove(to, from, len);
    chunked->left -= len;
    if (chunked->left == 0)
        chunked->at = DATA_CR;
    return len;
}

enum chunked_result chunked_decode(struct chunked *chunked, char *bytes, size_t len,
                                   size_t *ret_data, size_t *ret_taken)
{
    size_t data = 0;
    size_t taken = 0;

    while (taken < len && chunked->at != END && chunked->at != BROKEN) {
        if (chunked->at == DATA) {
            size_t moved = take_data(chunked, bytes + data, bytes + taken, len - taken);

            data += moved;
            taken += moved;
            continue;
        }
        chunked->at = (unsigned char)step(chunked, bytes[taken++]);
        chunked->line++;
        if (is_line_too_long(chunked))
            chunked->at = BROKEN;
    }
    *ret_data = data;
    *ret_taken = taken;
    if (chunked->at == BROKEN)
        return CHUNKED_BROKEN;
    return chunked->at == END ? CHUNKED_DONE : CHUNKED_MORE;
}
