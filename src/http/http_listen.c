/*
 * Turns "127.0.0.1:8000,https://[::1]:8443" into listening sockets.
 *
 * Each address gets one socket, which all loops share. An IPv6 socket takes IPv6 only, so
 * that "0.0.0.0:80,[::]:80" means what it says. Names are not resolved, but for
 * "localhost": a start must not wait for DNS.
 */
#include "base/mem.h"
#include "http/http_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

/* Cuts "host:port" or "[host]:port" in two; false if it is neither. */
static bool split_address(const char *text, char host[64], char port[8])
{
    const char *colon = strrchr(text, ':');
    const char *start = text;
    size_t len;

    if (colon == NULL)
        return false;
    len = (size_t)(colon - text);
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        start++;
        len -= 2;
    } else if (memchr(text, ':', len) != NULL) {
        return false; /* an IPv6 address without its brackets */
    }
    if (len == 0 || len >= 64 || strlen(colon + 1) == 0 || strlen(colon + 1) >= 8 ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1) || atoi(colon + 1) > 65535)
        return false;
    memcpy(host, start, len);
    host[len] = '\0';
    memcpy(port, colon + 1, strlen(colon + 1) + 1);
    return true;
}

struct address {
    socklen_t len;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } as;
};

static int read_address(const char *text, struct address *ret, struct err *err)
{
    struct address address = {0};
    char host[64];
    char port[8];

    if (!split_address(text, host, port))
        return err_set(err, ERR_INVALID,
                       "listen on \"%s\": not an address like 127.0.0.1:8000 or [::1]:8000", text);
    if (strcmp(host, "localhost") == 0)
        strcpy(host, "127.0.0.1");
    if (inet_pton(AF_INET, host, &address.as.v4.sin_addr) == 1) {
        address.as.v4.sin_family = AF_INET;
        address.as.v4.sin_port = htons((uint16_t)atoi(port));
        address.len = sizeof address.as.v4;
    } else if (inet_pton(AF_INET6, host, &address.as.v6.sin6_addr) == 1) {
        address.as.v6.sin6_family = AF_INET6;
        address.as.v6.sin6_port = htons((uint16_t)atoi(port));
        address.len = sizeof address.as.v6;
    } else {
        return err_set(err, ERR_INVALID, "listen on \"%s\": \"%s\" is no IP address", text, host);
    }
    *ret = address;
    return 0;
}

/* Reads back what was bound: port 0 has become a real one. */
static int describe(struct http_listener *listener)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    char host[INET6_ADDRSTRLEN];
    char port[8];

    if (getsockname(listener->fd, (struct sockaddr *)&address, &len) != 0)
        return -1;
    if (getnameinfo((struct sockaddr *)&address, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return -1;
    snprintf(listener->address, sizeof listener->address,
             address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
    return 0;
}

/* Takes the scheme off the address; whether it means TLS. */
static int read_scheme(const char **text, bool has_certificate, bool *ret_secure, struct err *err)
{
    bool secure = has_certificate;

    if (strncmp(*text, "http://", 7) == 0) {
        *text += 7;
        secure = false;
    } else if (strncmp(*text, "https://", 8) == 0) {
        if (!has_certificate)
            return err_set(err, ERR_INVALID,
                           "listen on \"%s\": TLS needs a certificate and its key", *text);
        *text += 8;
        secure = true;
    }
    *ret_secure = secure;
    return 0;
}

/* The next one of a list that is cut up; NULL at its end. Blanks around it are nothing, those
 * within are for read_address() to refuse. */
static const char *next_text(char **rest)
{
    char *text = strsep(rest, ",");
    size_t len;

    if (text == NULL)
        return NULL;
    text += strspn(text, " \t");
    len = strlen(text);
    while (len > 0 && strchr(" \t", text[len - 1]) != NULL)
        len--;
    text[len] = '\0';
    return text;
}

int http_check_listen(const char *listen, bool has_certificate, struct err *err)
{
    char *list = mem_strdup(listen);
    char *rest = list;
    const char *text;
    struct address ignored;
    bool secure;
    int code = 0;

    while (code == 0 && (text = next_text(&rest)) != NULL)
        if ((code = read_scheme(&text, has_certificate, &secure, err)) == 0)
            code = read_address(text, &ignored, err);
    free(list);
    return code;
}

static int listen_on(const char *text, bool has_certificate, struct http_listener *ret,
                     struct err *err)
{
    const int on = 1;
    struct http_listener listener;
    struct address address;
    int code = read_scheme(&text, has_certificate, &listener.secure, err);

    if (code == 0)
        code = read_address(text, &address, err);
    if (code != 0)
        return code;
    listener.fd = socket(address.as.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener.fd < 0)
        return err_system(err, errno, "listen on %s", text);
    if (address.as.any.sa_family == AF_INET6)
        setsockopt(listener.fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(listener.fd, &address.as.any, address.len) != 0 ||
        listen(listener.fd, SOMAXCONN) != 0 || describe(&listener) != 0) {
        code = err_system(err, errno, "listen on %s", text);
        close(listener.fd);
        return code;
    }
    *ret = listener;
    return 0;
}

static void list_addresses(struct http_server *server)
{
    struct buf list = {0};

    for (size_t i = 0; i < server->listener_count; i++)
        buf_printf(&list, "%s%s%s", i > 0 ? "," : "", server->listeners[i].secure ? "https://" : "",
                   server->listeners[i].address);
    buf_append_char(&list, '\0');
    server->addresses = list.data;
}

int listen_open(struct http_server *server, struct err *err)
{
    char *list = mem_strdup(server->options.listen);
    char *rest = list;
    const char *text;
    int code = 0;

    while (code == 0 && (text = next_text(&rest)) != NULL) {
        server->listeners = mem_realloc(server->listeners,
                                        (server->listener_count + 1) * sizeof *server->listeners);
        code = listen_on(text, server->tls.cert != NULL, &server->listeners[server->listener_count],
                         err);
        if (code == 0)
            server->listener_count++;
    }
    free(list);
    if (code != 0) {
        listen_close(server);
        return code;
    }
    list_addresses(server);
    return 0;
}

void listen_close(struct http_server *server)
{
    for (size_t i = 0; i < server->listener_count; i++)
        if (server->listeners[i].fd >= 0)
            close(server->listeners[i].fd);
    for (size_t i = 0; i < server->listener_count; i++)
        server->listeners[i].fd = -1;
}
