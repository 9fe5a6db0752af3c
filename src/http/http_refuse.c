/*
 * Answers a request that libh2o does not get to see, or not to its end.
 *
 * The answer closes the connection, because what follows cannot be told from the refused
 * request. First the sending side is shut and the client's bytes are read and dropped for
 * a while: closing with bytes unread makes the kernel send a reset, and that can take the
 * answer back out of the client's hands.
 */
#include "http/http_priv.h"

#include <sys/socket.h>

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

const char *status_reason(int status)
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

void json_detail(struct buf *out, const char *words)
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

static void write_refusal(struct http_conn *conn, int status, const char *why)
{
    h2o_buffer_t *input = conn->sock->input;
    bool head_only = input->size > 5 && memcmp(input->bytes, "HEAD ", 5) == 0;
    char date[H2O_TIMESTR_RFC1123_LEN + 1];
    time_t now = time(NULL);
    struct buf body = {0};
    struct tm utc;

    h2o_time2str_rfc1123(date, gmtime_r(&now, &utc));
    json_detail(&body, why);
    buf_reset(&conn->refusal, 0);
    buf_printf(&conn->refusal,
               "HTTP/1.1 %d %s\r\nDate: %s\r\nConnection: close\r\nContent-Length: %zu\r\n"
               "content-type: application/json\r\n%s\r\n",
               status, status_reason(status), date, body.len,
               status == 503 ? "Retry-After: 2\r\n" : "");
    if (!head_only)
        buf_append_slice(&conn->refusal, buf_slice(&body));
    buf_free(&body);
}

static void on_refused(h2o_socket_t *sock, const char *err)
{
    struct http_conn *conn = conn_of(sock);

    if (err != NULL) {
        conn_close(conn);
        return;
    }
    tls_end(conn);
    shutdown(h2o_socket_get_fd(sock), SHUT_WR);
    conn_move(conn, CONN_LINGERING);
    gate_linger(sock, NULL);
    h2o_socket_read_start(sock, gate_linger);
}

void conn_refuse(struct http_conn *conn, int status, const char *why)
{
    h2o_iovec_t bytes;

    if (h2o_socket_is_writing(conn->sock)) { /* a "100 Continue" that nobody reads */
        conn_cut(conn);
        return;
    }
    write_refusal(conn, status, why);
    respond_count(conn->loop, status);
    h2o_socket_read_stop(conn->sock);
    conn_move(conn, CONN_REFUSING);
    conn->loop->answers++;
    bytes = h2o_iovec_init(conn->refusal.data, conn->refusal.len);
    h2o_socket_write(conn->sock, &bytes, 1, on_refused);
}
