/* Bounds over all connections: how many an address may have, and what bodies may take. */
#include "later.h"

#define GET "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

static void answer(struct http_request *request, void *arg)
{
    (void)arg;
    http_respond(request, 200, NULL, SLICE("{}"));
}

static _Atomic unsigned asked; /* for admission */

/* Takes in what names itself a friend's. */
static bool admit_friends(struct http_request *request, void *arg)
{
    (void)arg;
    atomic_fetch_add(&asked, 1);
    http_request_answer_header(request, "x-asked", "yes");
    if (http_request_header(request, "x-friend").at != NULL &&
        http_request_body(request).at == NULL && slice_is(http_request_path(request), "/friends"))
        return true;
    http_respond_error(request, 401, NULL, "who is there?");
    return false;
}

/* Keeps as many bytes as it is asked to, and answers later. */
static void keep(struct http_request *request, void *arg)
{
    char bytes[16];
    bool bad;

    assert_true(http_query(http_request_query(request), "bytes", bytes, sizeof bytes, &bad));
    if (http_request_keep(request, (size_t)atol(bytes)))
        later_handle(request, arg);
    else
        http_respond_error(request, 503, NULL, "there is no room");
}

static const struct http_route routes[] = {{"GET", "/", answer, NULL},
                                           {"GET", "/keep", keep, NULL},
                                           {"POST", "/", answer, NULL},
                                           {"GET", "/much", answer_much, NULL},
                                           {"POST", "/later", later_handle, NULL},
                                           {"POST", "/released", later_release, NULL},
                                           {"POST", "/friends", answer, admit_friends},
                                           {0}};

/* -- connections of an address */

/* From 127.0.0.<last>. */
static int connect_from(const struct http_server *server, uint8_t last)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {htonl(UINT32_C(0x7f000000) + last)}};
    int fd = make_socket();

    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    connect_socket(fd, server);
    return fd;
}

static void assert_served(int fd)
{
    struct answer answer_;

    send_text(fd, GET);
    receive(fd, &answer_);
    assert_int_equal(answer_.status, 200);
}

static void assert_turned_away(int fd)
{
    struct answer answer_;

    receive(fd, &answer_);
    assert_error(&answer_, 503);
    assert_string_equal(header_of(&answer_, "retry-after"), "2");
    assert_string_equal(header_of(&answer_, "connection"), "close");
    assert_true(is_closed(fd));
    close(fd);
}

static void an_address_has_no_more_connections_than_it_may(void **state)
{
    struct http_options options = usual_options(routes);
    struct http_server *server;
    int first[3];

    (void)state;
    options.max_connections_per_address = 3;
    server = start_server(&options);
    for (int i = 0; i < 3; i++) {
        first[i] = connect_from(server, 1);
        assert_served(first[i]);
    }
    for (int i = 0; i < 20; i++)
        assert_turned_away(connect_from(server, 1));
    WAIT_UNTIL(http_stats(server).turned_away == 20);
    assert_int_equal(http_stats(server).accepted, 3);
    for (int i = 0; i < 3; i++)
        assert_served(first[i]);
    for (int i = 0; i < 3; i++)
        close(first[i]);
    end_server(server);
}

static void another_address_is_not_affected(void **state)
{
    struct http_options options = usual_options(routes);
    struct http_server *server;
    int one, other;

    (void)state;
    options.max_connections_per_address = 1;
    server = start_server(&options);
    one = connect_from(server, 1);
    assert_served(one);
    assert_turned_away(connect_from(server, 1));
    other = connect_from(server, 2);
    assert_served(other);
    assert_turned_away(connect_from(server, 2));
    close(one);
    close(other);
    end_server(server);
}

static void a_connection_that_ends_makes_room_for_the_next(void **state)
{
    struct http_options options = usual_options(routes);
    struct http_server *server;

    (void)state;
    options.max_connections_per_address = 1;
    server = start_server(&options);
    for (int i = 0; i < 50; i++) {
        int fd = connect_from(server, (uint8_t)(1 + i % 2));

        assert_served(fd);
        close(fd);
        WAIT_UNTIL(http_stats(server).connections == 0);
    }
    assert_int_equal(http_stats(server).turned_away, 0);
    end_server(server);
}

static void those_turned_away_take_no_place(void **state)
{
    struct http_options options = usual_options(routes);
    struct http_server *server;
    int one, other;

    (void)state;
    options.max_connections = 2;
    options.max_connections_per_address = 1;
    server = start_server(&options);
    one = connect_from(server, 1);
    assert_served(one);
    for (int i = 0; i < 10; i++)
        assert_turned_away(connect_from(server, 1));
    other = connect_from(server, 2);
    assert_served(other);
    close(one);
    close(other);
    end_server(server);
}

/* -- memory of bodies */

enum { BUDGET = 200000, LARGE = 90000 };

static struct http_server *start_with_budget(void)
{
    struct http_options options = usual_options(routes);

    options.body_memory = BUDGET;
    use_later(&options);
    return start_server(&options);
}

/* Announces LARGE bytes and sends some of them. */
static int send_part(const struct http_server *server, const char *path, size_t len)
{
    static const char bytes[LARGE];
    char head[128];
    int fd = connect_to(server);

    snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", path,
             LARGE);
    send_text(fd, head);
    try_send(fd, bytes, len);
    return fd;
}

static void post_small(const struct http_server *server)
{
    static char request[HTTP_SMALL_BODY + 100];
    struct answer answer_;
    int len =
        snprintf(request, sizeof request,
                 "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", HTTP_SMALL_BODY);
    int fd = connect_to(server);

    send_bytes(fd, request, (size_t)len + HTTP_SMALL_BODY);
    receive(fd, &answer_);
    assert_int_equal(answer_.status, 200);
    close(fd);
}

static void assert_out_of_memory(int fd)
{
    struct answer answer_;

    receive(fd, &answer_);
    assert_error(&answer_, 503);
    assert_string_equal(header_of(&answer_, "retry-after"), "2");
    assert_true(is_closed(fd));
    close(fd);
}

static void bodies_that_are_announced_count_for_nothing(void **state)
{
    struct http_server *server = start_with_budget();
    struct answer answer_;
    int fds[20];
    int fd;

    (void)state;
    for (int i = 0; i < 20; i++)
        fds[i] = send_part(server, "/", HTTP_SMALL_BODY / 2);
    fd = send_part(server, "/", LARGE);
    receive(fd, &answer_);
    assert_int_equal(answer_.status, 200);
    assert_int_equal(http_stats(server).over_memory, 0);
    for (int i = 0; i < 20; i++)
        close(fds[i]);
    close(fd);
    end_server(server);
}

static void the_body_that_would_outgrow_the_memory_is_refused(void **state)
{
    struct http_server *server = start_with_budget();
    int one = send_part(server, "/", LARGE - 1);
    int two = send_part(server, "/", LARGE - 1);
    struct answer answer_;

    (void)state;
    WAIT_UNTIL(http_stats(server).body_bytes == 2 * (LARGE - 1));
    assert_out_of_memory(send_part(server, "/", LARGE - 1));
    assert_int_equal(http_stats(server).over_memory, 1);
    post_small(server);
    WAIT_UNTIL(http_stats(server).body_bytes == 2 * (LARGE - 1));
    send_text(one, "x"); /* what is held already may be finished */
    receive(one, &answer_);
    assert_int_equal(answer_.status, 200);
    WAIT_UNTIL(http_stats(server).body_bytes == LARGE - 1);
    close(two);
    WAIT_UNTIL(http_stats(server).body_bytes == 0);
    assert_served(one);
    close(one);
    end_server(server);
}

static void a_chunked_body_counts_too(void **state)
{
    struct http_server *server = start_with_budget();
    static char chunk[LARGE];
    int fds[3];

    (void)state;
    for (int i = 0; i < 3; i++) {
        char size[32];

        fds[i] = connect_to(server);
        send_text(fds[i], "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        snprintf(size, sizeof size, "%x\r\n", LARGE);
        send_text(fds[i], size);
        try_send(fds[i], chunk, sizeof chunk);
        if (i < 2)
            WAIT_UNTIL(http_stats(server).body_bytes == (uint64_t)(i + 1) * LARGE);
    }
    assert_out_of_memory(fds[2]);
    WAIT_UNTIL(http_stats(server).body_bytes == 2 * LARGE);
    close(fds[0]);
    close(fds[1]);
    WAIT_UNTIL(http_stats(server).body_bytes == 0);
    end_server(server);
}

static void a_body_of_just_the_memory_is_taken(void **state)
{
    struct http_options options = usual_options(routes);
    struct http_server *server;
    struct answer answer_;
    int fd;

    (void)state;
    options.body_memory = LARGE;
    server = start_server(&options);
    fd = send_part(server, "/", LARGE);
    receive(fd, &answer_);
    assert_int_equal(answer_.status, 200);
    close(fd);
    end_server(server);
}

static void what_a_handler_keeps_counts_until_it_answers(void **state)
{
    struct http_server *server = start_with_budget();
    struct answer answer_;
    int one, two;

    (void)state;
    later_begin();
    later_gate(false);
    one = connect_to(server);
    send_text(one, "GET /keep?bytes=150000 HTTP/1.1\r\nHost: x\r\n\r\n");
    WAIT_UNTIL(atomic_load(&later.held) == 1);
    assert_int_equal(http_stats(server).body_bytes, 150000);
    two = connect_to(server);
    send_text(two, "GET /keep?bytes=150000 HTTP/1.1\r\nHost: x\r\n\r\n");
    receive(two, &answer_);
    assert_error(&answer_, 503);
    assert_int_equal(http_stats(server).over_memory, 1);
    assert_int_equal(http_stats(server).body_bytes, 150000);
    assert_out_of_memory(send_part(server, "/", LARGE));
    later_gate(true);
    receive(one, &answer_);
    assert_int_equal(answer_.status, 202);
    WAIT_UNTIL(http_stats(server).body_bytes == 0);
    close(one);
    close(two);
    end_server(server);
    later_end();
}

static void a_body_whose_answer_is_owed_is_held(void **state)
{
    struct http_server *server = start_with_budget();
    struct answer answer_;
    int one, two;

    (void)state;
    later_begin();
    later_gate(false);
    one = send_part(server, "/later", LARGE);
    two = send_part(server, "/later", LARGE);
    WAIT_UNTIL(atomic_load(&later.held) == 2);
    assert_int_equal(http_stats(server).body_bytes, 2 * LARGE);
    assert_out_of_memory(send_part(server, "/later", LARGE));
    close(two); /* who leaves meanwhile */
    later_gate(true);
    receive(one, &answer_);
    assert_int_equal(answer_.status, 202);
    WAIT_UNTIL(http_stats(server).body_bytes == 0);
    close(one);
    end_server(server);
    later_end();
}

static void a_body_that_is_released_is_not_held(void **state)
{
    struct http_server *server = start_with_budget();
    struct answer answer_;
    int fds[4];

    (void)state;
    later_begin();
    later_gate(false);
    for (size_t i = 0; i < 4; i++) { /* more than there is memory for */
        fds[i] = send_part(server, "/released", LARGE);
        WAIT_UNTIL(atomic_load(&later.held) == i + 1);
        WAIT_UNTIL(http_stats(server).body_bytes == 0);
    }
    later_gate(true);
    for (int i = 0; i < 4; i++) {
        receive(fds[i], &answer_);
        assert_int_equal(answer_.status, 202);
        close(fds[i]);
    }
    end_server(server);
    later_end();
}

static void answers_that_are_not_read_are_bounded(void **state)
{
    struct http_options options = usual_options(routes);
    struct http_server *server;
    int fds[4];
    int fd;

    (void)state;
    options.body_memory = (size_t)40 * 1024 * 1024;
    server = start_server(&options);
    for (size_t i = 0; i < 4; i++) {
        fds[i] = connect_to(server);
        send_text(fds[i], "GET /much HTTP/1.1\r\nHost: x\r\n\r\n");
        WAIT_UNTIL(http_stats(server).requests == i + 1);
    }
    WAIT_UNTIL(http_stats(server).over_memory > 0);
    WAIT_UNTIL(http_stats(server).body_bytes <= options.body_memory);
    assert_true(http_stats(server).body_bytes > 0);
    fd = connect_to(server);
    assert_served(fd); /* others are answered */
    close(fd);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    WAIT_UNTIL(http_stats(server).body_bytes == 0);
    end_server(server);
}

static void answers_that_were_read_make_room_for_others(void **state)
{
    struct http_options options = usual_options(routes);
    static char bytes[65536];
    struct http_server *server;
    struct answer answer_;
    int fd;

    (void)state;
    options.body_memory = MUCH + MUCH / 2; /* for one of them */
    server = start_server(&options);
    fd = connect_to(server);
    for (int i = 0; i < 3; i++) {
        send_text(fd, "GET /much HTTP/1.1\r\nHost: x\r\n\r\n");
        receive_head(fd, &answer_);
        assert_int_equal(answer_.status, 200);
        for (size_t left = MUCH; left > 0; left -= sizeof bytes)
            receive_exactly(fd, bytes, sizeof bytes);
        WAIT_UNTIL(http_stats(server).body_bytes == 0);
    }
    assert_int_equal(http_stats(server).over_memory, 0);
    close(fd);
    end_server(server);
}

/* What others send is no reason to cut an answer that is read: its request has been carried out. */
static void bodies_take_no_memory_from_answers(void **state)
{
    enum { HELD = 12 * 1024 * 1024 };
    struct http_options options = usual_options(routes);
    static char bytes[65536];
    struct http_server *server;
    int body, fd;
    ssize_t got;
    size_t sum = 0;

    (void)state;
    options.body_memory = options.max_body = MUCH;
    server = start_server(&options);
    body = connect_to(server);
    send_text(body, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 16777216\r\n\r\n");
    for (size_t sent = 0; sent < HELD; sent += sizeof bytes)
        send_bytes(body, bytes, sizeof bytes);
    WAIT_UNTIL(http_stats(server).body_bytes == HELD);
    fd = connect_to(server);
    send_text(fd, "GET /much HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    WAIT_UNTIL(http_stats(server).body_bytes > options.body_memory);
    post_small(server); /* nor is any of it one to refuse small bodies */
    while ((got = recv(fd, bytes, sizeof bytes, 0)) > 0)
        sum += (size_t)got;
    assert_int_equal(got, 0);
    assert_true(sum > MUCH);
    assert_int_equal(http_stats(server).over_memory, 0);
    WAIT_UNTIL(http_stats(server).body_bytes == HELD);
    close(fd);
    close(body);
    end_server(server);
}

static void what_is_read_ahead_counts_too(void **state)
{
    struct http_server *server = start_with_budget();
    static char pipelined[LARGE];
    struct answer answer_;
    size_t len = sizeof GET - 1;
    int fd;

    (void)state;
    for (size_t at = 0; at + len <= sizeof pipelined; at += len)
        memcpy(pipelined + at, GET, len);
    fd = connect_to(server);
    send_bytes(fd, pipelined, sizeof pipelined / len * len);
    for (size_t i = 0; i < sizeof pipelined / len; i++) {
        receive(fd, &answer_);
        assert_int_equal(answer_.status, 200);
    }
    WAIT_UNTIL(http_stats(server).body_bytes == 0);
    close(fd);
    end_server(server);
}

/* Sends the head of a POST, and `len` bytes behind it. */
static int post(const struct http_server *server, const char *path, const char *fields, size_t len)
{
    static const char bytes[LARGE];
    char head[256];
    int fd = connect_to(server);

    snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, fields);
    send_text(fd, head);
    try_send(fd, bytes, len);
    return fd;
}

static void assert_not_admitted(int fd, int status)
{
    struct answer answer_;

    receive(fd, &answer_);
    assert_error(&answer_, status);
    assert_string_equal(header_of(&answer_, "connection"), "close");
    assert_true(is_closed(fd));
    close(fd);
}

static void a_large_body_is_taken_from_those_who_may_bring_it(void **state)
{
    static const char small[HTTP_SMALL_BODY];
    struct http_server *server = start_with_budget();
    struct answer answer_;
    int fd;

    (void)state;
    assert_not_admitted(post(server, "/friends", "Content-Length: 90000\r\n", 0), 401);
    assert_not_admitted(
        post(server, "/friends", "Expect: 100-continue\r\nContent-Length: 90000\r\n", 0), 401);
    assert_not_admitted(post(server, "/nobody", "Content-Length: 90000\r\n", 0), 404);
    fd = post(server, "/friends", "X-Friend: 1\r\nContent-Length: 90000\r\n", LARGE);
    receive(fd, &answer_);
    assert_int_equal(answer_.status, 200);
    assert_null(header_of(&answer_, "x-asked")); /* it was for a refusal */
    assert_served(fd);
    close(fd);
    fd = post(server, "/friends", "Content-Length: 16384\r\n", 1); /* a small one */
    send_bytes(fd, small, HTTP_SMALL_BODY - 1);
    receive(fd, &answer_);
    assert_int_equal(answer_.status, 200);
    close(fd);
    assert_int_equal(http_stats(server).over_memory, 0);
    end_server(server);
}

static void chunks_that_become_many_are_taken_from_those_who_may_bring_them(void **state)
{
    static const char *const whose[] = {"Transfer-Encoding: chunked\r\n",
                                        "X-Friend: 1\r\nTransfer-Encoding: chunked\r\n"};
    static const char bytes[HTTP_SMALL_BODY];
    struct http_server *server = start_with_budget();
    struct answer answer_;
    int fd;

    (void)state;
    for (int i = 0; i < 4; i++) {
        bool friend = i % 2 == 1, many = i >= 2;

        fd = post(server, "/friends", whose[friend], 0);
        send_text(fd, "4000\r\n");
        send_bytes(fd, bytes, sizeof bytes);
        send_text(fd, many ? "\r\n1\r\nx" : "\r\n0\r\n\r\n");
        if (many && !friend) {
            assert_not_admitted(fd, 401);
            continue;
        }
        if (many)
            send_text(fd, "\r\n0\r\n\r\n" GET);
        for (int answers = many ? 2 : 1; answers > 0; answers--) {
            receive(fd, &answer_);
            assert_int_equal(answer_.status, 200);
        }
        close(fd);
    }
    end_server(server);
}

static void a_large_body_is_asked_for_once_and_the_next_one_again(void **state)
{
    static const char bytes[HTTP_SMALL_BODY + 1];
    struct http_server *server = start_with_budget();
    struct answer answer_;
    int fd;

    (void)state;
    atomic_store(&asked, 0);
    fd = post(server, "/friends", "X-Friend: 1\r\nTransfer-Encoding: chunked\r\n", 0);
    send_text(fd, "4001\r\n");
    send_bytes(fd, bytes, sizeof bytes);
    WAIT_UNTIL(http_stats(server).body_bytes == sizeof bytes);
    send_text(fd, "\r\n1\r\nx");
    WAIT_UNTIL(http_stats(server).body_bytes == sizeof bytes + 1);
    send_text(fd, "\r\n0\r\n\r\n");
    receive(fd, &answer_);
    assert_int_equal(answer_.status, 200);
    assert_int_equal(atomic_load(&asked), 1);
    send_text(fd, "POST /friends HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    send_text(fd, "4001\r\n");
    send_bytes(fd, bytes, sizeof bytes);
    assert_not_admitted(fd, 401);
    assert_int_equal(atomic_load(&asked), 2);
    end_server(server);
}

static void everything_is_released_in_the_end(void **state)
{
    struct http_server *server = start_with_budget();
    int fds[8];

    (void)state;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 8; i++)
            fds[i] = send_part(server, "/", (size_t)(i + 1) * LARGE / 9);
        for (int i = 0; i < 8; i++)
            close(fds[i]);
    }
    WAIT_UNTIL(http_stats(server).connections == 0);
    assert_int_equal(http_stats(server).body_bytes, 0);
    end_server(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_has_no_more_connections_than_it_may),
        cmocka_unit_test(another_address_is_not_affected),
        cmocka_unit_test(a_connection_that_ends_makes_room_for_the_next),
        cmocka_unit_test(those_turned_away_take_no_place),
        cmocka_unit_test(bodies_that_are_announced_count_for_nothing),
        cmocka_unit_test(the_body_that_would_outgrow_the_memory_is_refused),
        cmocka_unit_test(a_chunked_body_counts_too),
        cmocka_unit_test(a_body_of_just_the_memory_is_taken),
        cmocka_unit_test(what_a_handler_keeps_counts_until_it_answers),
        cmocka_unit_test(a_body_whose_answer_is_owed_is_held),
        cmocka_unit_test(a_body_that_is_released_is_not_held),
        cmocka_unit_test(answers_that_are_not_read_are_bounded),
        cmocka_unit_test(answers_that_were_read_make_room_for_others),
        cmocka_unit_test(bodies_take_no_memory_from_answers),
        cmocka_unit_test(what_is_read_ahead_counts_too),
        cmocka_unit_test(a_large_body_is_taken_from_those_who_may_bring_it),
        cmocka_unit_test(chunks_that_become_many_are_taken_from_those_who_may_bring_them),
        cmocka_unit_test(a_large_body_is_asked_for_once_and_the_next_one_again),
        cmocka_unit_test(everything_is_released_in_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
