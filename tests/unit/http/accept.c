/* Addresses, the bound on connections, and a shortage of descriptors. */
#include "client.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>

static void answer(struct http_request *request, void *arg)
{
    (void)arg;
    http_respond(request, 200, NULL, SLICE("{}"));
}

static const struct http_route routes[] = {{"GET", "/", answer, NULL}, {0}};

#define GET "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

static void an_address_that_is_none_is_invalid(void **state)
{
    static const char *const addresses[] = {
        "",
        "127.0.0.1",
        ":8000",
        "127.0.0.1:",
        "127.0.0.1:x",
        "host:1",
        "127.0.0.1:-1",
        "127.0.0.1:65536",
        "::1:8000",
        "[::1]8000",
        "1.2.3:80",
        "[::1:80",
        "127.0.0.1:0,",
        "127.0.0.1:0,wrong",
        "[127.0.0.1]x:1",
        "127.0.0.1:0 127.0.0.1:0",
        "127.0.0.1:0 ;",
        "127.0.0.1:0,127.0.0.1:0 x",
    };

    (void)state;
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        struct http_options options = usual_options(routes);
        struct http_server *server = NULL;
        struct err err = {0};

        options.listen = addresses[i];
        if (http_open(&options, &server, &err) != ERR_INVALID)
            fail_msg("accepted: %s", addresses[i]);
        assert_memory_equal(err.text, "listen on \"", 11);
        assert_null(server);
    }
}

static void an_address_in_use_is_reported_by_name(void **state)
{
    struct http_options options = usual_options(routes);
    struct http_server *first;
    struct http_server *second = NULL;
    struct err err;
    char expected[256];

    (void)state;
    assert_int_equal(http_open(&options, &first, &err), 0);
    options.listen = http_addresses(first);
    assert_int_equal(http_open(&options, &second, &err), ERR_IO);
    snprintf(expected, sizeof expected, "listen on %s: Address already in use",
             http_addresses(first));
    assert_string_equal(err.text, expected);
    http_close(first); /* without http_start() */
}

static void several_addresses_are_served(void **state)
{
    struct http_options options = usual_options(routes);
    struct http_server *server;
    struct answer answer_;
    unsigned one;
    unsigned two;

    (void)state;
    options.listen = "127.0.0.1:0, localhost:0";
    server = start_server(&options);
    assert_int_equal(sscanf(http_addresses(server), "127.0.0.1:%u,127.0.0.1:%u", &one, &two), 2);
    assert_true(one != 0 && two != 0 && one != two);
    ask(server, GET, &answer_); /* the last one */
    assert_int_equal(answer_.status, 200);
    end_server(server);
}

static void an_ipv6_address_is_written_in_brackets(void **state)
{
    struct http_options options = usual_options(routes);
    struct http_server *server;
    struct err err;
    unsigned port;

    (void)state;
    options.listen = "[::1]:0";
    if (http_open(&options, &server, &err) != 0)
        skip(); /* a machine without IPv6 */
    assert_int_equal(sscanf(http_addresses(server), "[::1]:%u", &port), 1);
    http_close(server);
}

static void connections_over_the_bound_wait_for_their_turn(void **state)
{
    struct http_options options = usual_options(routes);
    struct http_server *server;
    struct answer answer_;
    int fds[6];

    (void)state;
    options.max_connections = 2;
    server = start_server(&options);
    for (int i = 0; i < 6; i++) {
        fds[i] = connect_to(server);
        send_text(fds[i], GET);
    }
    for (int i = 0; i < 6; i++) {
        receive(fds[i], &answer_);
        assert_int_equal(answer_.status, 200);
        assert_true(http_stats(server).connections <= 2);
        assert_true(http_stats(server).accepted <= (uint64_t)i + 2);
        close(fds[i]);
    }
    WAIT_UNTIL(http_stats(server).connections == 0);
    end_server(server);
}

static void a_place_that_is_left_goes_to_who_waits_while_others_stay(void **state)
{
    struct http_options options = usual_options(routes);
    struct http_server *server;
    struct answer answer_;
    int stays;
    int fds[20];

    (void)state;
    options.max_connections = 2;
    options.idle_timeout_ms = 10 * PATIENCE_S * 1000; /* it must not make the place */
    server = start_server(&options);
    stays = connect_to(server);
    send_text(stays, GET);
    receive(stays, &answer_);
    for (int i = 0; i < 20; i++) {
        fds[i] = connect_to(server);
        send_text(fds[i], GET);
    }
    for (int i = 0; i < 20; i++) {
        receive(fds[i], &answer_);
        assert_int_equal(answer_.status, 200);
        close(fds[i]);
    }
    close(stays);
    end_server(server);
}

static int64_t cpu_ms(void)
{
    struct timespec used;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return used.tv_sec * 1000 + used.tv_nsec / 1000000;
}

/* With no descriptor to be had, loops that tried again at once would burn all of it. */
static void a_shortage_of_descriptors_is_waited_out(void **state)
{
    const int wait_ms = 500;
    struct http_options options = usual_options(routes);
    struct http_server *server;
    struct rlimit before;
    struct rlimit none;
    struct answer answer_;
    int64_t used;
    int fd;

    (void)state;
    server = start_server(&options);
    fd = make_socket();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    connect_socket(fd, server);
    send_text(fd, GET);
    used = cpu_ms();
    poll(NULL, 0, wait_ms);
    used = cpu_ms() - used;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(used < wait_ms / 2);
    receive(fd, &answer_);
    assert_int_equal(answer_.status, 200);
    close(fd);
    end_server(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_that_is_none_is_invalid),
        cmocka_unit_test(an_address_in_use_is_reported_by_name),
        cmocka_unit_test(several_addresses_are_served),
        cmocka_unit_test(an_ipv6_address_is_written_in_brackets),
        cmocka_unit_test(connections_over_the_bound_wait_for_their_turn),
        cmocka_unit_test(a_place_that_is_left_goes_to_who_waits_while_others_stay),
        cmocka_unit_test(a_shortage_of_descriptors_is_waited_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
