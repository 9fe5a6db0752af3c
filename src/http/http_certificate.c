/*
 * The certificate and its key: read, checked, and exchanged for new ones while all goes on.
 *
 * Both files make one SSL_CTX. Each connection holds a reference to the one it began with, so
 * an exchange touches new connections only, and the old one is freed with the last of its own.
 * Whatever is wrong with the files is found before the exchange, which then does not happen.
 *
 * What is spoken: TLS 1.2 and 1.3; in 1.2 only ephemeral keys (ECDHE) with authenticated
 * ciphers, in the server's order; HTTP/1.1 by ALPN (RFC 7301); no renegotiation, no
 * compression. Sessions are resumed by tickets alone. Their keys are the context's, so after an
 * exchange a client with an old ticket makes a whole handshake.
 */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/http_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXPIRY_WARNING_S (INT64_C(14) * 24 * 3600)

#define SECURITY_LEVEL 2 /* OpenSSL's: 112 bits, so RSA keys of at least 2048 */

#define CIPHERS                                                                                    \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"                                   \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                                   \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"

/* A client that offers protocols, but not this one, is told so; one that offers none is served. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *offered, unsigned offered_len, void *arg)
{
    static const unsigned char spoken[] = "\x08http/1.1";
    unsigned char *chosen;

    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, spoken, sizeof spoken - 1, offered, offered_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* A key under a passphrase: nobody is there to type it. */
static int no_passphrase(char *out, int size, int writing, void *arg)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static SSL_CTX *new_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    if (context == NULL)
        h2o_fatal("no memory");
    SSL_CTX_set_security_level(context, SECURITY_LEVEL);
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_cipher_list(context, CIPHERS);
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    SSL_CTX_set_default_passwd_cb(context, no_passphrase);
    tls_watch(context);
    return context;
}

/* What OpenSSL has against the file, without its numbers and places in its source. */
static int explain(const char *what, const char *path, struct err *err)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    ERR_clear_error();
    return err_set(err, ERR_INVALID, "%s %s: %s", what, path, reason != NULL ? reason : "unusable");
}

/* OpenSSL's words for a file that cannot be read are many; the system's are one. */
static int check_file(const char *what, const char *path, struct stat *ret, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat found;
    int code = 0;

    if (fd < 0)
        return err_system(err, errno, "%s %s", what, path);
    if (fstat(fd, &found) != 0)
        code = err_system(err, errno, "%s %s", what, path);
    else if (!S_ISREG(found.st_mode))
        code = err_set(err, ERR_INVALID, "%s %s: not a regular file", what, path);
    else
        *ret = found;
    close(fd);
    return code;
}

/* *ret_mode: the key's, for a warning. */
static int read_files(SSL_CTX *context, const char *cert, const char *key, mode_t *ret_mode,
                      struct err *err)
{
    struct stat found;
    int code;

    ERR_clear_error();
    if ((code = check_file("TLS certificate", cert, &found, err)) != 0)
        return code;
    if (SSL_CTX_use_certificate_chain_file(context, cert) != 1)
        return explain("TLS certificate", cert, err);
    if ((code = check_file("TLS key", key, &found, err)) != 0)
        return code;
    if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1)
        return explain("TLS key", key, err);
    *ret_mode = found.st_mode & 07777;
    return 0;
}

int http_check_certificate(const char *cert, const char *key, struct err *err)
{
    SSL_CTX *context = new_context();
    mode_t mode;
    int code = read_files(context, cert, key, &mode, err);

    SSL_CTX_free(context);
    return code;
}

static int64_t expiry_of(X509 *certificate)
{
    struct tm utc = {0};

    return ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &utc) == 1 ? (int64_t)timegm(&utc) : 0;
}

/* One line that names it and says how long it is good for. */
static void announce(X509 *certificate, int64_t expires_s)
{
    int64_t left_s = expires_s - clock_wall_us() / 1000000;
    time_t expires = (time_t)expires_s;
    char subject[256];
    char date[32];
    struct tm utc;

    X509_NAME_oneline(X509_get_subject_name(certificate), subject, sizeof subject);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&expires, &utc));
    log_info("http", "TLS certificate of %s, good until %s", subject, date);
    if (left_s <= 0)
        log_warning("http", "the TLS certificate has expired");
    else if (left_s < EXPIRY_WARNING_S)
        log_warning("http", "the TLS certificate expires in less than 14 days");
}

static int load(struct http_server *server, struct err *err)
{
    struct http_tls *tls = &server->tls;
    SSL_CTX *context = new_context();
    SSL_CTX *old;
    int64_t expires_s;
    mode_t mode;
    int code = read_files(context, tls->cert, tls->key, &mode, err);

    if (code != 0) {
        SSL_CTX_free(context);
        return code;
    }
    expires_s = expiry_of(SSL_CTX_get0_certificate(context));
    announce(SSL_CTX_get0_certificate(context), expires_s);
    if ((mode & 077) != 0)
        log_warning("http", "TLS key %s: others than its owner have rights on it (mode %04o)",
                    tls->key, (unsigned)mode);
    pthread_mutex_lock(&tls->lock);
    old = tls->context;
    tls->context = context;
    pthread_mutex_unlock(&tls->lock);
    atomic_store(&tls->expires_s, expires_s);
    SSL_CTX_free(old);
    return 0;
}

int certificate_open(struct http_server *server, struct err *err)
{
    struct http_tls *tls = &server->tls;

    pthread_mutex_init(&tls->lock, NULL);
    if (server->options.tls_cert == NULL || *server->options.tls_cert == '\0')
        return 0;
    tls->cert = mem_strdup(server->options.tls_cert);
    tls->key = mem_strdup(server->options.tls_key);
    return load(server, err);
}

void certificate_close(struct http_server *server)
{
    struct http_tls *tls = &server->tls;

    SSL_CTX_free(tls->context);
    free(tls->cert);
    free(tls->key);
    pthread_mutex_destroy(&tls->lock);
}

SSL_CTX *certificate_take(struct http_server *server)
{
    struct http_tls *tls = &server->tls;
    SSL_CTX *context;

    pthread_mutex_lock(&tls->lock);
    context = tls->context;
    SSL_CTX_up_ref(context);
    pthread_mutex_unlock(&tls->lock);
    return context;
}

int http_reload(struct http_server *server, struct err *err)
{
    return server->tls.cert != NULL ? load(server, err) : 0;
}
