/*
 * What the tests of TLS need beside client.h: certificates made on the spot, and a client whose
 * records go through memory, so that a test decides when which bytes are sent.
 */
#ifndef TESTS_HTTP_TLS_CLIENT_H
#define TESTS_HTTP_TLS_CLIENT_H

#include "client.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

struct files {
    char folder[64];
    char cert[80];
    char key[80];
};

__attribute__((unused)) static void make_folder(struct files *files)
{
    snprintf(files->folder, sizeof files->folder, "/tmp/tls-test-XXXXXX");
    assert_non_null(mkdtemp(files->folder));
    snprintf(files->cert, sizeof files->cert, "%s/cert.pem", files->folder);
    snprintf(files->key, sizeof files->key, "%s/key.pem", files->folder);
}

__attribute__((unused)) static void remove_folder(struct files *files)
{
    unlink(files->cert);
    unlink(files->key);
    rmdir(files->folder);
}

static FILE *open_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    return fdopen(fd, "w");
}

__attribute__((unused)) static void write_file(const char *path, const char *text)
{
    FILE *file = open_file(path);

    fputs(text, file);
    fclose(file);
}

/* A certificate of that serial number for a new key, signed by itself. */
__attribute__((unused)) static void make_certificate(const struct files *files, long serial,
                                                     long days)
{
    const unsigned char name[] = "localhost";
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    FILE *file;

    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), days * 24 * 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, name, -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    X509_set_pubkey(cert, key);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    file = open_file(files->cert);
    assert_int_equal(PEM_write_X509(file, cert), 1);
    fclose(file);
    file = open_file(files->key);
    assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
    X509_free(cert);
    EVP_PKEY_free(key);
}

struct client {
    int fd;
    SSL_CTX *context;
    SSL *ssl;
    bool ended; /* the server has closed the connection */
};

__attribute__((unused)) static struct client open_client(const struct http_server *server)
{
    struct client client = {.fd = connect_to(server), .context = SSL_CTX_new(TLS_client_method())};

    SSL_CTX_set_security_level(client.context, 0); /* a client may offer what it should not */
    SSL_CTX_set_cipher_list(client.context, "ALL");
    client.ssl = SSL_new(client.context);
    SSL_set_bio(client.ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(client.ssl);
    return client;
}

__attribute__((unused)) static void close_client(struct client *client)
{
    SSL_free(client->ssl);
    SSL_CTX_free(client->context);
    close(client->fd);
    ERR_clear_error();
}

/* Sends what OpenSSL has written so far; the server may be gone. */
static void flush_client(struct client *client)
{
    char *bytes;
    long len = BIO_get_mem_data(SSL_get_wbio(client->ssl), &bytes);

    try_send(client->fd, bytes, (size_t)len);
    (void)BIO_reset(SSL_get_wbio(client->ssl));
}

/* Waits for bytes of the server and gives them to OpenSSL. */
static void fill_client(struct client *client)
{
    char bytes[16384];
    ssize_t got = recv(client->fd, bytes, sizeof bytes, 0);

    if (got < 0 && errno != ECONNRESET)
        fail_msg("the server says nothing: %s", strerror(errno));
    client->ended = got <= 0;
    if (got > 0)
        assert_int_equal(BIO_write(SSL_get_rbio(client->ssl), bytes, (int)got), got);
}

/* Without sending the client's last flight: flush_client() does. */
static bool shake_unsent(struct client *client)
{
    int done;

    while ((done = SSL_do_handshake(client->ssl)) != 1) {
        if (SSL_get_error(client->ssl, done) != SSL_ERROR_WANT_READ || client->ended)
            return false;
        flush_client(client);
        fill_client(client);
    }
    return true;
}

__attribute__((unused)) static bool shake(struct client *client)
{
    bool done = shake_unsent(client);

    flush_client(client);
    return done;
}

__attribute__((unused)) static struct client connect_tls(const struct http_server *server)
{
    struct client client = open_client(server);

    assert_true(shake(&client));
    return client;
}

__attribute__((unused)) static void tls_send(struct client *client, const void *bytes, size_t len)
{
    assert_int_equal(SSL_write(client->ssl, bytes, (int)len), len);
    flush_client(client);
}

__attribute__((unused)) static void tls_send_text(struct client *client, const char *text)
{
    tls_send(client, text, strlen(text));
}

/* Some decrypted bytes; 0 after close_notify, -1 if the connection ended without it. */
static int tls_receive_some(struct client *client, char *out, size_t size)
{
    int got;

    while ((got = SSL_read(client->ssl, out, (int)size)) <= 0) {
        if (SSL_get_error(client->ssl, got) == SSL_ERROR_ZERO_RETURN)
            return 0;
        if (SSL_get_error(client->ssl, got) != SSL_ERROR_WANT_READ || client->ended)
            return -1;
        fill_client(client);
    }
    return got;
}

__attribute__((unused)) static void tls_receive(struct client *client, struct answer *ret)
{
    const char *length;
    size_t len = 0;

    memset(ret, 0, sizeof *ret);
    while (len < 4 || memcmp(ret->head + len - 4, "\r\n\r\n", 4) != 0) {
        assert_true(len + 1 < sizeof ret->head);
        assert_int_equal(tls_receive_some(client, ret->head + len, 1), 1);
        len++;
    }
    assert_memory_equal(ret->head, "HTTP/1.1 ", 9);
    ret->status = atoi(ret->head + 9);
    length = header_of(ret, "content-length");
    assert_non_null(length);
    while (ret->body_len < (size_t)atoll(length)) {
        int got = tls_receive_some(client, ret->body + ret->body_len,
                                   (size_t)atoll(length) - ret->body_len);

        assert_true(got > 0);
        ret->body_len += (size_t)got;
    }
}

__attribute__((unused)) static long serial_of(const struct client *client)
{
    X509 *cert = SSL_get0_peer_certificate(client->ssl);

    assert_non_null(cert);
    return ASN1_INTEGER_get(X509_get0_serialNumber(cert));
}

/* True if the server ends the connection with close_notify. */
__attribute__((unused)) static bool is_ended_in_order(struct client *client)
{
    char byte;

    return tls_receive_some(client, &byte, 1) == 0;
}

#endif
