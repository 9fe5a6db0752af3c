/* Clients that are too slow, with short limits. Only one limit is short in each test, so
 * what cuts the client is that one. */
#include "client.h"

#include <pthread.h>
#include <stdatomic.h>

#define SHORT_MS 200

static void answer(struct http_request *request, void *arg)
{
    (void)arg;
    http_respond(request, 200, NULL, SLICE("{}"));
}

static const struct http_route routes[] = {{"POST", "/", answer, NULL},
                                           {"GET", "/", answer, NULL},
                                           {"GET", "/much", answer_much, NULL},
                                           {0}};

/* Sends a byte at a time until the server has had enough. */
static void drip(int fd, const char *byte)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    while (poll(&poll_fd, 1, 20) == 0)
        try_send(fd, byte, 1);
}

static void assert_cut(struct http_server *server, int fd)
{
    struct answer answer_;

    receive(fd, &answer_);
    assert_error(&answer_, 408);
    assert_string_equal(header_of(&answer_, "connection"), "close");
    assert_true(is_closed(fd));
    close(fd);
    WAIT_UNTIL(http_stats(server).connections == 0);
    assert_int_equal(http_stats(server).timeouts, 1);
    assert_int_equal(http_stats(server).status[4], 1);
}

static void a_client_that_drips_its_head_is_cut(void **state)
{
    struct http_options options = usual_options(routes);
    struct http_server *server;
    int fd;

    (void)state;
    options.header_timeout_ms = SHORT_MS;
    server = start_server(&options);
    fd = connect_to(server);
    send_text(fd, "GET / HTTP/1.1\r\nHost: ");
    drip(fd, "x");
    assert_cut(server, fd);
    end_server(server);
}

static void a_later_head_is_held_to_the_same_limit(void **state)
{
    struct http_options options = usual_options(routes);
    struct http_server *server;
    struct answer answer_;
    int fd;

    (void)state;
    options.header_timeout_ms = SHORT_MS;
    server = start_server(&options);
    fd = connect_to(server);
    send_text(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    receive(fd, &answer_);
    assert_int_equal(answer_.status, 200);
    send_text(fd, "GET / HTTP/1.1\r\nHost: ");
    drip(fd, "x");
    assert_cut(server, fd);
    end_server(server);
}

/* Two connections of one loop: the one that was there first is cut first, whatever it has sent. */
static void the_first_byte_gives_no_more_time(void **state)
{
    struct http_options options = usual_options(routes);
    struct http_server *server;
    int first, second;

    (void)state;
    options.loops = 1;
    options.header_timeout_ms = 5 * SHORT_MS;
    server = start_server(&options);
    first = connect_to(server);
    second = connect_to(server);
    WAIT_UNTIL(http_stats(server).connections == 2);
    poll(NULL, 0, SHORT_MS / 2); /* some of the time passes */
    send_text(first, "GET / HT");
    assert_true(is_closed(second));
    assert_false(is_silent(first));
    close(first);
    close(second);
    end_server(server);
}

static void a_client_that_drips_its_body_is_cut(void **state)
{
    static const char *const heads[] = {
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;ext=",
    };

    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct http_options options = usual_options(routes);
        struct http_server *server;
        int fd;

        options.body_timeout_ms = SHORT_MS;
        server = start_server(&options);
        fd = connect_to(server);
        send_text(fd, heads[i]);
        drip(fd, "x");
        assert_cut(server, fd);
        end_server(server);
    }
}

static void a_client_that_was_told_to_continue_and_does_not_is_cut(void **state)
{
    struct http_options options = usual_options(routes);
    struct http_server *server;
    struct answer answer_;
    int fd;

    (void)state;
    options.body_timeout_ms = SHORT_MS;
    server = start_server(&options);
    fd = connect_to(server);
    send_text(
        fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\nExpect: 100-continue\r\n\r\n");
    receive_head(fd, &answer_);
    assert_int_equal(answer_.status, 100);
    drip(fd, "x");
    assert_cut(server, fd);
    end_server(server);
}

static void a_connection_that_says_nothing_is_closed(void **state)
{
    struct http_options options = usual_options(routes);
    struct http_server *server;
    int fd;

    (void)state;
    options.header_timeout_ms = SHORT_MS;
    server = start_server(&options);
    fd = connect_to(server);
    assert_true(is_closed(fd));
    close(fd);
    end_server(server);
}

static void an_idle_connection_is_closed_and_not_called_slow(void **state)
{
    struct http_options options = usual_options(routes);
    struct http_server *server;
    struct answer answer_;
    int fd;

    (void)state;
    options.idle_timeout_ms = SHORT_MS;
    server = start_server(&options);
    fd = connect_to(server);
    send_text(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    receive(fd, &answer_);
    assert_int_equal(answer_.status, 200);
    assert_true(is_closed(fd));
    close(fd);
    assert_int_equal(http_stats(server).timeouts, 0);
    end_server(server);
}

static void a_client_that_does_not_read_its_answer_is_cut(void **state)
{
    struct http_options options = usual_options(routes);
    struct http_server *server;
    int fd;

    (void)state;
    options.body_timeout_ms = SHORT_MS;
    server = start_server(&options);
    fd = connect_to(server);
    send_text(fd, "GET /much HTTP/1.1\r\nHost: x\r\n\r\n");
    WAIT_UNTIL(http_stats(server).requests == 1);
    WAIT_UNTIL(http_stats(server).connections == 0);
    assert_int_equal(http_stats(server).timeouts, 1);
    close(fd);
    end_server(server);
}

static void a_client_that_stays_after_the_last_answer_is_cut(void **state)
{
    struct http_options options = usual_options(routes);
    struct http_server *server = start_server(&options);
    struct answer answer_;
    int fd = connect_to(server);

    (void)state;
    send_text(fd, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    receive(fd, &answer_);
    assert_true(is_closed(fd));
    WAIT_UNTIL(http_stats(server).connections == 0);
    close(fd);
    end_server(server);
}

static void slow_clients_hold_nobody_up(void **state)
{
    struct http_options options = usual_options(routes);
    struct http_server *server;
    int fds[20];

    (void)state;
    options.loops = 1;
    server = start_server(&options);
    for (int i = 0; i < 20; i++) {
        fds[i] = connect_to(server);
        send_text(fds[i], i % 2 == 0 ? "GET / HT"
                                     : "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n");
    }
    for (int i = 0; i < 50; i++) {
        struct answer answer_;

        ask(server, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", &answer_);
        assert_int_equal(answer_.status, 200);
    }
    for (int i = 0; i < 20; i++)
        close(fds[i]);
    end_server(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_that_drips_its_head_is_cut),
        cmocka_unit_test(a_later_head_is_held_to_the_same_limit),
        cmocka_unit_test(the_first_byte_gives_no_more_time),
        cmocka_unit_test(a_client_that_drips_its_body_is_cut),
        cmocka_unit_test(a_client_that_was_told_to_continue_and_does_not_is_cut),
        cmocka_unit_test(a_connection_that_says_nothing_is_closed),
        cmocka_unit_test(an_idle_connection_is_closed_and_not_called_slow),
        cmocka_unit_test(a_client_that_does_not_read_its_answer_is_cut),
        cmocka_unit_test(a_client_that_stays_after_the_last_answer_is_cut),
        cmocka_unit_test(slow_clients_hold_nobody_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
