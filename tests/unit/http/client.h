/*
 * What the tests of the http room share: a server on a free port and a client that speaks
 * in bytes. A client waits at most PATIENCE_S for anything, and then its test fails.
 */
#ifndef TESTS_HTTP_CLIENT_H
#define TESTS_HTTP_CLIENT_H

#include "base/buf.h"
#include "base/mem.h"
#include "http/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_S 20

/* Options that suit most tests; a test changes what it is about. */
__attribute__((unused)) static struct http_options usual_options(const struct http_route *routes)
{
    return (struct http_options){
        .listen = "127.0.0.1:0",
        .loops = 2,
        .max_body = 100000,
        .max_connections = 100,
        .header_timeout_ms = PATIENCE_S * 1000,
        .body_timeout_ms = PATIENCE_S * 1000,
        .idle_timeout_ms = PATIENCE_S * 1000,
        .routes = routes,
    };
}

__attribute__((unused)) static struct http_server *start_server(const struct http_options *options)
{
    struct http_server *server;
    struct err err;

    signal(SIGPIPE, SIG_IGN);
    if (http_open(options, &server, &err) != 0)
        fail_msg("open: %s", err.text);
    if (http_start(server, &err) != 0)
        fail_msg("start: %s", err.text);
    return server;
}

__attribute__((unused)) static void end_server(struct http_server *server)
{
    http_stop(server, 0);
    http_close(server);
}

/* A socket that is not connected yet. */
__attribute__((unused)) static int make_socket(void)
{
    const int on = 1;
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

__attribute__((unused)) static void connect_socket(int fd, const struct http_server *server)
{
    const char *port = strrchr(http_addresses(server), ':') + 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(port)),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};

    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
}

__attribute__((unused)) static int connect_to(const struct http_server *server)
{
    int fd = make_socket();

    connect_socket(fd, server);
    return fd;
}

__attribute__((unused)) static void send_bytes(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;

    while (len > 0) {
        ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        assert_true(sent > 0);
        at += sent;
        len -= (size_t)sent;
    }
}

__attribute__((unused)) static void send_text(int fd, const char *text)
{
    send_bytes(fd, text, strlen(text));
}

/* The same, to a server that may have stopped listening to it. */
__attribute__((unused)) static void try_send(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;
    ssize_t sent = 0;

    while (len > 0 && (sent = send(fd, at, len, MSG_NOSIGNAL)) > 0) {
        at += sent;
        len -= (size_t)sent;
    }
}

struct answer {
    int status;
    char head[4096];
    char body[200000];
    size_t body_len;
};

static void receive_exactly(int fd, char *out, size_t len)
{
    while (len > 0) {
        ssize_t got = recv(fd, out, len, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            fail_msg("the answer ends early: %s", got == 0 ? "closed" : strerror(errno));
        out += got;
        len -= (size_t)got;
    }
}

/* A header of the answer, or NULL. Overwritten by the next call. */
__attribute__((unused)) static const char *header_of(const struct answer *answer, const char *name)
{
    static __thread char value[1024];
    const char *line = answer->head;

    while ((line = strstr(line, "\r\n")) != NULL) {
        line += 2;
        if (strncasecmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':') {
            line += strlen(name) + 1;
            line += strspn(line, " ");
            snprintf(value, sizeof value, "%.*s", (int)strcspn(line, "\r\n"), line);
            return value;
        }
    }
    return NULL;
}

/* Reads the head alone, byte by byte so as to take no more. */
__attribute__((unused)) static void receive_head(int fd, struct answer *ret)
{
    size_t len = 0;

    memset(ret, 0, sizeof *ret);
    while (len < 4 || memcmp(ret->head + len - 4, "\r\n\r\n", 4) != 0) {
        assert_true(len + 1 < sizeof ret->head);
        receive_exactly(fd, ret->head + len, 1);
        len++;
    }
    assert_memory_equal(ret->head, "HTTP/1.1 ", 9);
    ret->status = atoi(ret->head + 9);
}

__attribute__((unused)) static void receive(int fd, struct answer *ret)
{
    const char *length;

    receive_head(fd, ret);
    length = header_of(ret, "content-length");
    ret->body_len = length != NULL ? (size_t)atoll(length) : 0;
    assert_true(ret->body_len < sizeof ret->body);
    receive_exactly(fd, ret->body, ret->body_len);
}

/* True when the server closes or resets the connection and nothing else arrives. */
__attribute__((unused)) static bool is_closed(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, 0);

    return got == 0 || (got < 0 && errno == ECONNRESET);
}

/* True if nothing can be read now. */
__attribute__((unused)) static bool is_silent(int fd)
{
    char byte;

    return recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* One request on a connection of its own. */
__attribute__((unused)) static void ask(const struct http_server *server, const char *request,
                                        struct answer *ret)
{
    int fd = connect_to(server);

    send_text(fd, request);
    receive(fd, ret);
    close(fd);
}

/* The answer is an error in JSON. */
__attribute__((unused)) static void assert_error(const struct answer *answer, int status)
{
    if (answer->status != status)
        fail_msg("status %d, not %d: %s", answer->status, status, answer->body);
    assert_string_equal(header_of(answer, "content-type"), "application/json");
    assert_memory_equal(answer->body, "{\"detail\": \"", 12);
    assert_memory_equal(answer->body + answer->body_len - 2, "\"}", 2);
}

/* Waits until the condition holds, looking often. */
#define WAIT_UNTIL(condition)                                                                      \
    do {                                                                                           \
        int looks = 0;                                                                             \
        while (!(condition)) {                                                                     \
            if (++looks > PATIENCE_S * 1000)                                                       \
                fail_msg("never: %s", #condition);                                                 \
            poll(NULL, 0, 1);                                                                      \
        }                                                                                          \
    } while (0)

enum { MUCH = 16 * 1024 * 1024 }; /* more than the kernel takes */

/* A handler. */
__attribute__((unused)) static void answer_much(struct http_request *request, void *arg)
{
    char *body = mem_zalloc(MUCH);

    (void)arg;
    http_respond(request, 200, NULL, (struct slice){body, MUCH});
    free(body);
}

#endif
