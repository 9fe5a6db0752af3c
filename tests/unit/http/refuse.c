/* Requests that are refused before any handler sees them. */
#include "client.h"

static void answer(struct http_request *request, void *arg)
{
    (void)arg;
    http_respond(request, 200, NULL, SLICE("{}"));
}

static const struct http_route routes[] = {
    {"POST", "/", answer, NULL}, {"GET", "/", answer, NULL}, {0}};

static int set_up(void **state)
{
    struct http_options options = usual_options(routes);

    *state = start_server(&options);
    return 0;
}

static int tear_down(void **state)
{
    end_server(*state);
    return 0;
}

static void assert_refused(struct http_server *server, const char *request, size_t len, int status)
{
    int fd = connect_to(server);
    struct answer answer_;

    send_bytes(fd, request, len);
    receive(fd, &answer_);
    assert_error(&answer_, status);
    assert_string_equal(header_of(&answer_, "connection"), "close");
    assert_true(is_closed(fd));
    close(fd);
}

#define TWO_LENGTHS                                                                                \
    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"                                          \
    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"

static void a_malformed_request_is_400_in_json(void **state)
{
    static const char *const requests[] = {
        "nonsense\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        TWO_LENGTHS,
        "\x16\x03\x01\x02",
    };

    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
        assert_refused(*state, requests[i], strlen(requests[i]), 400);
    assert_int_equal(http_stats(*state).status[4], sizeof requests / sizeof *requests);
}

static void what_is_not_spoken_here_has_its_own_status(void **state)
{
    static const struct {
        int status;
        const char *request;
    } cases[] = {
        {400, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
        {505, "GET / HTTP/2.0\r\nHost: x\r\n\r\n"},
        {501, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"},
        {417, "POST / HTTP/1.1\r\nHost: x\r\nExpect: more\r\nContent-Length: 1\r\n\r\n"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(*state, cases[i].request, strlen(cases[i].request), cases[i].status);
}

static void a_large_head_is_431_and_a_long_target_414(void **state)
{
    struct buf text = {0};

    buf_append_text(&text, "GET / HTTP/1.1\r\nHost: x\r\nA: ");
    for (int i = 0; i < 40000; i++)
        buf_append_char(&text, 'a');
    assert_refused(*state, text.data, text.len, 431); /* not even whole */
    buf_append_text(&text, "\r\n\r\n");
    assert_refused(*state, text.data, text.len, 431);
    buf_reset(&text, SIZE_MAX);
    buf_append_text(&text, "GET / HTTP/1.1\r\nHost: x\r\n");
    for (int i = 0; i < 100; i++)
        buf_append_text(&text, "a: b\r\n");
    buf_append_text(&text, "\r\n");
    assert_refused(*state, text.data, text.len, 431);
    buf_reset(&text, SIZE_MAX);
    buf_append_text(&text, "GET /");
    for (int i = 0; i < 9000; i++)
        buf_append_char(&text, 'a');
    buf_append_text(&text, " HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_refused(*state, text.data, text.len, 414);
    buf_free(&text);
}

static void the_largest_head_that_is_allowed_is_served(void **state)
{
    struct buf text = {0};
    struct answer answer_;

    buf_append_text(&text, "GET / HTTP/1.1\r\nHost: x\r\n");
    for (int i = 0; i < 98; i++)
        buf_append_text(&text, "a: b\r\n");
    buf_append_text(&text, "b: ");
    while (text.len + 4 < (size_t)32 * 1024)
        buf_append_char(&text, 'b');
    buf_append_text(&text, "\r\n\r\n");
    buf_append_char(&text, '\0');
    ask(*state, text.data, &answer_);
    assert_int_equal(answer_.status, 200);
    buf_free(&text);
}

/* The client sends all of it before it reads: no reset may take the answer away. */
static void a_length_over_the_bound_is_413(void **state)
{
    const size_t len = 3000000;
    char *body = mem_zalloc(len);
    struct answer answer_;
    int fd = connect_to(*state);

    send_text(fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n");
    try_send(fd, body, len);
    receive(fd, &answer_);
    assert_error(&answer_, 413);
    close(fd);
    assert_refused(*state, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n\r\n",
                   strlen("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n\r\n"), 413);
    free(body);
}

static void a_client_that_expects_is_told_413_before_it_sends(void **state)
{
    const char *request = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n"
                          "Expect: 100-continue\r\n\r\n";

    assert_refused(*state, request, strlen(request), 413);
}

static void chunks_that_grow_over_the_bound_are_413(void **state)
{
    static char chunk[10000];
    int fd = connect_to(*state);
    struct answer answer_;

    memset(chunk, 'c', sizeof chunk);
    send_text(fd, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 300; i++) {
        try_send(fd, "2710\r\n", 6);
        try_send(fd, chunk, sizeof chunk);
        try_send(fd, "\r\n", 2);
    }
    receive(fd, &answer_);
    assert_error(&answer_, 413);
    assert_true(is_closed(fd));
    close(fd);
}

static void chunks_one_byte_over_the_bound_are_413(void **state)
{
    const size_t len = 100001;
    struct buf text = {0};
    struct answer answer_;
    int fd = connect_to(*state);

    buf_printf(&text, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n",
               len);
    for (size_t i = 0; i < len; i++)
        buf_append_char(&text, 'c');
    buf_append_text(&text, "\r\n0\r\n\r\n");
    send_bytes(fd, text.data, text.len);
    receive(fd, &answer_);
    assert_error(&answer_, 413);
    close(fd);
    buf_free(&text);
}

static void a_broken_chunk_is_400_in_json(void **state)
{
    const char *request = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";

    assert_refused(*state, request, strlen(request), 400);
}

static void a_refusal_ends_pipelined_requests_but_not_those_before(void **state)
{
    int fd = connect_to(*state);
    struct answer answer_;

    send_text(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
                  "GET / HTTP/1.1\r\n\r\n"
                  "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    receive(fd, &answer_);
    assert_int_equal(answer_.status, 200);
    receive(fd, &answer_);
    assert_error(&answer_, 400);
    assert_true(is_closed(fd));
    close(fd);
}

static void a_refusal_of_head_has_no_body(void **state)
{
    int fd = connect_to(*state);
    struct answer answer_;

    send_text(fd, "HEAD / HTTP/1.1\r\n\r\n");
    receive_head(fd, &answer_);
    assert_int_equal(answer_.status, 400);
    assert_true(is_closed(fd));
    close(fd);
}

static void a_refusal_behind_head_has_a_body(void **state)
{
    int fd = connect_to(*state);
    struct answer answer_;

    send_text(fd, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    receive_head(fd, &answer_);
    assert_int_equal(answer_.status, 200);
    send_text(fd, "GET / HTTP/1.1\r\n\r\n");
    receive(fd, &answer_);
    assert_error(&answer_, 400);
    assert_true(is_closed(fd));
    close(fd);
}

static void no_connection_is_left_behind(void **state)
{
    WAIT_UNTIL(http_stats(*state).connections == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_malformed_request_is_400_in_json),
        cmocka_unit_test(what_is_not_spoken_here_has_its_own_status),
        cmocka_unit_test(a_large_head_is_431_and_a_long_target_414),
        cmocka_unit_test(the_largest_head_that_is_allowed_is_served),
        cmocka_unit_test(a_length_over_the_bound_is_413),
        cmocka_unit_test(a_client_that_expects_is_told_413_before_it_sends),
        cmocka_unit_test(chunks_that_grow_over_the_bound_are_413),
        cmocka_unit_test(chunks_one_byte_over_the_bound_are_413),
        cmocka_unit_test(a_broken_chunk_is_400_in_json),
        cmocka_unit_test(a_refusal_ends_pipelined_requests_but_not_those_before),
        cmocka_unit_test(a_refusal_of_head_has_no_body),
        cmocka_unit_test(a_refusal_behind_head_has_a_body),
        cmocka_unit_test(no_connection_is_left_behind),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
