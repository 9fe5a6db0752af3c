/*
 * TLS between accepting a connection and its first request.
 *
 * The first byte decides: a TLS record of a handshake begins with 22, HTTP never does. libh2o
 * makes the handshake, and from then on its sockets decrypt before they call their reader and
 * encrypt what is written, so nothing else knows the difference. All that arrived is decrypted
 * at once: what is not in the socket's input has not arrived whole.
 *
 * A handshake waits for nobody: it is a state of its connection under the time limit of the
 * head. One that fails closes the connection, after an alert that says why if the two sides had
 * no keys yet (libh2o drops it). Who speaks HTTP here is told so in HTTP.
 *
 * libh2o closes a connection whose client changes keys or renegotiates, as it cannot write while
 * it reads.
 */
#include "http/http_priv.h"

#include <openssl/err.h>

#define RECORD_ALERT 21
#define RECORD_HANDSHAKE 22

/* Keeps the alert's record as it is sent in the clear (RFC 8446, 5.1 and 6). */
static void keep_alert(struct http_conn *conn, const SSL *ssl, int what)
{
    int version = SSL_version(ssl);

    if (version < TLS1_VERSION || version > TLS1_2_VERSION)
        version = TLS1_2_VERSION;
    conn->alert[0] = RECORD_ALERT;
    conn->alert[1] = (unsigned char)(version >> 8);
    conn->alert[2] = (unsigned char)version;
    conn->alert[3] = 0;
    conn->alert[4] = 2;
    conn->alert[5] = (unsigned char)(what >> 8);
    conn->alert[6] = (unsigned char)what;
}

/* OpenSSL tells of a handshake's start and of alerts. This is the one way to a socket's SSL,
 * which libh2o makes late and keeps to itself; its BIO's data is the socket. */
static void on_info(const SSL *ssl, int where, int what)
{
    struct http_conn *conn = conn_of(BIO_get_data(SSL_get_rbio(ssl)));
    OSSL_HANDSHAKE_STATE state = SSL_get_state(ssl);

    conn->ssl = (SSL *)ssl;
    if ((where & SSL_CB_WRITE_ALERT) == SSL_CB_WRITE_ALERT &&
        (state == TLS_ST_BEFORE || state == TLS_ST_SR_CLNT_HELLO))
        keep_alert(conn, ssl, what);
}

void tls_watch(SSL_CTX *context)
{
    SSL_CTX_set_info_callback(context, on_info);
}

static void fail(struct http_conn *conn)
{
    if (conn->alert[0] != 0)
        send(h2o_socket_get_fd(conn->sock), conn->alert, sizeof conn->alert,
             MSG_NOSIGNAL | MSG_DONTWAIT);
    ERR_clear_error();
    conn_close(conn);
}

static void on_shaken(h2o_socket_t *sock, const char *err)
{
    struct http_conn *conn = conn_of(sock);

    if (err != NULL) {
        fail(conn);
        return;
    }
    count_one(&conn->loop->handshakes);
    conn_move(conn, CONN_OPENED);
    conn_begin(conn);
}

static void on_first_bytes(h2o_socket_t *sock, const char *err)
{
    struct http_conn *conn = conn_of(sock);

    if (err != NULL) {
        conn_close(conn);
        return;
    }
    if (sock->input->size == 0)
        return;
    h2o_socket_read_stop(sock);
    if (*sock->input->bytes == RECORD_HANDSHAKE) {
        h2o_socket_ssl_handshake(sock, conn->context, NULL, on_shaken);
        return;
    }
    conn->misled = true;
    count_one(&conn->loop->handshake_failures);
    conn_move(conn, CONN_OPENED);
    conn_begin(conn);
}

void tls_begin(struct http_conn *conn)
{
    conn->context = certificate_take(conn->loop->server);
    conn->state = CONN_SHAKING;
    h2o_socket_read_start(conn->sock, on_first_bytes);
}

bool tls_has_ended(const struct http_conn *conn)
{
    return conn->ssl != NULL && (SSL_get_shutdown(conn->ssl) & SSL_RECEIVED_SHUTDOWN) != 0;
}

void tls_end(struct http_conn *conn)
{
    BIO *out;

    if (conn->ssl == NULL)
        return;
    out = BIO_new_socket(h2o_socket_get_fd(conn->sock), BIO_NOCLOSE);
    if (out == NULL)
        return;
    SSL_set0_wbio(conn->ssl, out);
    SSL_shutdown(conn->ssl);
    ERR_clear_error();
}
