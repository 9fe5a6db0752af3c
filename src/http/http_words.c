/*
 * The words of answers: what a status is called, and errors as JSON.
 */
#include "http/http_priv.h"

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {505, "HTTP Version Not Supported"},
};

const char *words_of_status(int status)
{
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Unknown";
}

/* The length of the UTF-8 sequence at the start, or 0 if it is none. */
static size_t utf8_length(struct slice text)
{
    unsigned char first = (unsigned char)text.at[0];
    size_t len = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    unsigned char second = len > 1 && text.len > 1 ? (unsigned char)text.at[1] : 0x80;

    if (len == 0 || first > 0xf4 || len > text.len)
        return 0;
    if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
        (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f))
        return 0;
    for (size_t i = 1; i < len; i++)
        if (((unsigned char)text.at[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

void words_in_json(struct buf *out, const char *words)
{
    struct slice rest = slice_of(words);

    buf_append_text(out, "{\"detail\": \"");
    while (rest.len > 0) {
        size_t len = utf8_length(rest);
        unsigned char byte = (unsigned char)*rest.at;

        if (len == 0)
            buf_append_text(out, "\\ufffd");
        else if (byte == '"' || byte == '\\')
            buf_printf(out, "\\%c", byte);
        else if (byte < 0x20)
            buf_printf(out, "\\u%04x", byte);
        else
            buf_append(out, rest.at, len);
        len = len > 0 ? len : 1;
        rest.at += len;
        rest.len -= len;
    }
    buf_append_text(out, "\"}");
}
