/* Requests that are answered at once: routes, targets, bodies, connections kept alive. */
#include "client.h"

#include <stdatomic.h>

/* Answers with what the request was: "POST /path?query capture|header|body". */
static void describe(struct http_request *request, void *arg)
{
    struct buf body = {0};
    char peer[64];

    assert_string_equal(arg, "the argument");
    http_request_peer(request, peer, sizeof peer);
    assert_string_equal(peer, "127.0.0.1");
    buf_append_slice(&body, http_request_method(request));
    buf_append_char(&body, ' ');
    buf_append_slice(&body, http_request_path(request));
    buf_append_char(&body, '?');
    buf_append_slice(&body, http_request_query(request));
    buf_append_char(&body, ' ');
    buf_append_slice(&body, http_request_capture(request));
    buf_append_char(&body, '|');
    buf_append_slice(&body, http_request_header(request, "x-thing"));
    buf_append_char(&body, '|');
    buf_append_slice(&body, http_request_body(request));
    http_respond_as(request, 200, "text/plain", NULL, buf_slice(&body));
    buf_free(&body);
}

static void answer_with_headers(struct http_request *request, void *arg)
{
    (void)arg;
    assert_true(slice_is(http_request_header(request, "host"), "x"));
    http_respond(request, 202,
                 (const struct http_header[]){{"x-one", "1"}, {"x-two", "a\r\nx-three: b"}, {0}},
                 SLICE("{}"));
}

static void answer_with_field(struct http_request *request, void *arg)
{
    (void)arg;
    http_request_answer_header(request, "x-field", "of this answer alone");
    http_respond(request, 200, NULL, SLICE("{}"));
}

static void answer_nothing(struct http_request *request, void *arg)
{
    (void)arg;
    http_respond(request, 204, NULL, SLICE(""));
}

static void answer_error(struct http_request *request, void *arg)
{
    (void)arg;
    http_respond_error(request, 422, NULL, "%s", "a \"quote\", a \\, a \n, \xc3\xa9 and \xff");
}

/* Reads every byte that may be read. */
static void sum_padding(struct http_request *request, void *arg)
{
    static _Atomic unsigned sum; /* so that the reads stay */
    struct slice body = http_request_body(request);
    (void)arg;
    for (size_t i = 0; i < body.len + HTTP_BODY_PADDING; i++)
        atomic_fetch_add(&sum, (unsigned char)body.at[i]);
    http_respond(request, 200, NULL, body);
}

static const struct http_route routes[] = {
    {"GET", "/", describe, NULL},
    {"GET", "/things", describe, NULL},
    {"POST", "/things", describe, NULL},
    {"GET", "/things/{}", describe, NULL},
    {"DELETE", "/things/{}", describe, NULL},
    {"POST", "/things/{}/retry", describe, NULL},
    {"GET", "/things/special", answer_nothing, NULL},
    {"GET", "/headers", answer_with_headers, NULL},
    {"GET", "/field", answer_with_field, NULL},
    {"GET", "/error", answer_error, NULL},
    {"POST", "/padding", sum_padding, NULL},
    {0},
};

static struct http_server *start_with(unsigned loops)
{
    struct http_options options = usual_options(routes);
    static char arg[] = "the argument";

    options.arg = arg;
    options.loops = loops;
    return start_server(&options);
}

static int set_up(void **state)
{
    *state = start_with(2);
    return 0;
}

static int tear_down(void **state)
{
    end_server(*state);
    return 0;
}

static void a_request_finds_its_route(void **state)
{
    static const char *const cases[][2] = {
        {"GET / HTTP/1.1", "GET /? ||"},
        {"GET /things?a=b&c HTTP/1.1", "GET /things?a=b&c ||"},
        {"GET /things/17 HTTP/1.1", "GET /things/17? 17||"},
        {"DELETE /things/a.b HTTP/1.1", "DELETE /things/a.b? a.b||"},
        {"POST /things/x/retry HTTP/1.1", "POST /things/x/retry? x||"},
        {"GET http://elsewhere:1/things/17?q HTTP/1.1", "GET /things/17?q 17||"},
        {"GET http://elsewhere?q HTTP/1.1", "GET /?q ||"},
        {"GET https://elsewhere HTTP/1.1", "GET /? ||"},
        {"GET /th%69ngs/%41%20b?q=%20 HTTP/1.1", "GET /things/A b?q=%20 A b||"},
        {"GET /x/../things/./17 HTTP/1.1", "GET /things/17? 17||"},
        {"GET /../../things HTTP/1.1", "GET /things? ||"},
        {"GET /things/a%2Fb HTTP/1.1", "GET /things/a%2Fb? a%2Fb||"},
        {"GET /x/..?a=/../b HTTP/1.1", "GET /?a=/../b ||"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer answer;
        char text[256];

        snprintf(text, sizeof text, "%s\r\nHost: x\r\n\r\n", cases[i][0]);
        ask(*state, text, &answer);
        assert_int_equal(answer.status, 200);
        assert_string_equal(answer.body, cases[i][1]);
        assert_string_equal(header_of(&answer, "content-type"), "text/plain");
    }
}

static void an_unknown_path_is_404(void **state)
{
    static const char *const targets[] = {"/nothing",   "/things/",           "/things//retry",
                                          "/things2",   "/things/a/b",        "/things/a/retry/",
                                          "/things%2F", "/things/a%2Fretry/x"};

    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        struct answer answer;
        char text[256];

        snprintf(text, sizeof text, "POST %s HTTP/1.1\r\nHost: x\r\n\r\n", targets[i]);
        ask(*state, text, &answer);
        assert_error(&answer, 404);
    }
}

static void another_method_is_405_and_told_which_are_allowed(void **state)
{
    struct answer answer;

    ask(*state, "PUT /things/1 HTTP/1.1\r\nHost: x\r\n\r\n", &answer);
    assert_error(&answer, 405);
    assert_string_equal(header_of(&answer, "allow"), "GET, HEAD, DELETE");
    ask(*state, "OPTIONS /things HTTP/1.1\r\nHost: x\r\n\r\n", &answer);
    assert_error(&answer, 405);
    assert_string_equal(header_of(&answer, "allow"), "GET, HEAD, POST");
    ask(*state, "get /things HTTP/1.1\r\nHost: x\r\n\r\n", &answer);
    assert_error(&answer, 405);
}

static void a_literal_path_goes_before_a_capture(void **state)
{
    struct answer answer;

    ask(*state, "GET /things/special HTTP/1.1\r\nHost: x\r\n\r\n", &answer);
    assert_int_equal(answer.status, 204);
    ask(*state, "DELETE /things/special HTTP/1.1\r\nHost: x\r\n\r\n", &answer);
    assert_error(&answer, 405);
    assert_string_equal(header_of(&answer, "allow"), "GET, HEAD");
}

static void head_is_get_without_the_body(void **state)
{
    int fd = connect_to(*state);
    struct answer answer;

    send_text(fd, "HEAD /things/17 HTTP/1.1\r\nHost: x\r\n\r\n");
    receive_head(fd, &answer);
    assert_int_equal(answer.status, 200);
    assert_string_equal(header_of(&answer, "content-length"), "21");
    send_text(fd, "HEAD /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
    receive_head(fd, &answer);
    assert_int_equal(answer.status, 404);
    send_text(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    receive(fd, &answer);
    assert_string_equal(answer.body, "GET /? ||");
    close(fd);
}

static void headers_go_both_ways(void **state)
{
    struct answer answer;

    ask(*state, "GET / HTTP/1.1\r\nHost: x\r\nX-Thing:  spaced out \t\r\nx-thing: second\r\n\r\n",
        &answer);
    assert_string_equal(answer.body, "GET /? |spaced out|");
    ask(*state, "GET /headers HTTP/1.1\r\nHost: x\r\n\r\n", &answer);
    assert_int_equal(answer.status, 202);
    assert_string_equal(header_of(&answer, "content-type"), "application/json");
    assert_string_equal(header_of(&answer, "x-one"), "1");
    assert_null(header_of(&answer, "x-three"));
    assert_null(header_of(&answer, "server"));
    assert_non_null(header_of(&answer, "date"));
}

static void a_field_of_one_answer_is_not_in_the_next(void **state)
{
    int fd = connect_to(*state);
    struct answer answer;

    send_text(fd, "GET /field HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n");
    receive(fd, &answer);
    assert_string_equal(header_of(&answer, "x-field"), "of this answer alone");
    receive(fd, &answer);
    assert_string_equal(answer.body, "GET /? ||");
    assert_null(header_of(&answer, "x-field"));
    close(fd);
}

static void an_answer_without_content_keeps_the_connection(void **state)
{
    int fd = connect_to(*state);
    struct answer answer;

    for (int i = 0; i < 2; i++) {
        send_text(fd, "GET /things/special HTTP/1.1\r\nHost: x\r\n\r\n");
        receive(fd, &answer);
        assert_int_equal(answer.status, 204);
        assert_null(header_of(&answer, "content-length"));
        assert_null(header_of(&answer, "transfer-encoding"));
    }
    close(fd);
}

static void an_errors_words_become_sound_json(void **state)
{
    struct answer answer;

    ask(*state, "GET /error HTTP/1.1\r\nHost: x\r\n\r\n", &answer);
    assert_error(&answer, 422);
    assert_string_equal(answer.body,
                        "{\"detail\": \"a \\\"quote\\\", a \\\\, a \\u000a, \xc3\xa9 and "
                        "\\ufffd\"}");
}

static void a_body_comes_whole_or_in_chunks(void **state)
{
    struct answer answer;

    ask(*state, "POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nX-Thing: t\r\n\r\nhello",
        &answer);
    assert_string_equal(answer.body, "POST /things? |t|hello");
    ask(*state, "POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", &answer);
    assert_string_equal(answer.body, "POST /things? ||");
    ask(*state,
        "POST /things HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        "2\r\nhe\r\n3;ext=1\r\nllo\r\n0\r\nTrailer: x\r\n\r\n",
        &answer);
    assert_string_equal(answer.body, "POST /things? ||hello");
}

static void a_request_may_arrive_byte_by_byte(void **state)
{
    static const char *const requests[] = {
        "\r\n\r\nPOST /x/../things?q HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        "POST http://h/things?q HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n"
        "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    };
    int fd = connect_to(*state);

    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        struct answer answer;

        for (const char *at = requests[i]; *at != '\0'; at++) {
            send_bytes(fd, at, 1);
            poll(NULL, 0, 1); /* apart, so that the server reads them so */
        }
        receive(fd, &answer);
        assert_string_equal(answer.body, "POST /things?q ||hello");
    }
    close(fd);
}

/* All connections of a loop read their heads into one place. */
static void a_head_that_is_refused_is_nobody_elses(void **state)
{
    static const char *const heads[] = {
        "GET /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n",
        "GET /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n",
        "GET /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        "GET /nothing HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\n\r\n",
        "GET /nothing%zz HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /nothing HTTP/2.0\r\nHost: x\r\n\r\n",
        "GET /nothing HTTP/1.1\r\nX-Thing: theirs\r\n\r\n",
        "nothing\r\n\r\n",
    };
    struct http_server *server = start_with(1);

    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        int slow = connect_to(server);
        int refused = connect_to(server);
        struct answer answer;

        send_text(slow, "POST /things HTTP/1.1\r\nHost: x\r\nX-Thing: mine\r\n"
                        "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n");
        receive_head(slow, &answer); /* so its head has been read */
        assert_int_equal(answer.status, 100);
        send_text(refused, heads[i]);
        receive(refused, &answer);
        assert_true(answer.status >= 400);
        send_text(slow, "hello");
        receive(slow, &answer);
        assert_string_equal(answer.body, "POST /things? |mine|hello");
        close(slow);
        close(refused);
    }
    end_server(server);
}

static void a_body_of_just_the_bound_is_taken(void **state)
{
    const size_t len = usual_options(NULL).max_body;
    char *body = mem_zalloc(len);
    struct answer answer;
    int fd = connect_to(*state);
    char text[128];

    memset(body, 'b', len);
    snprintf(text, sizeof text, "POST /padding HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
             len);
    send_text(fd, text);
    send_bytes(fd, body, len);
    receive(fd, &answer);
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body_len, len);
    assert_memory_equal(answer.body, body, len);
    snprintf(text, sizeof text,
             "POST /padding HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n", len);
    send_text(fd, text);
    send_bytes(fd, body, len);
    send_text(fd, "\r\n0\r\n\r\n");
    receive(fd, &answer);
    assert_int_equal(answer.status, 200);
    assert_memory_equal(answer.body, body, len);
    close(fd);
    free(body);
}

static void padding_behind_a_body_may_be_read_whatever_its_size(void **state)
{
    int fd = connect_to(*state);

    /* Around the sizes at which the input buffer is exactly full. */
    for (size_t len = 8000; len < 8300; len++) {
        static char body[8300];
        struct answer answer;
        char text[128];

        snprintf(text, sizeof text,
                 "POST /padding HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", len);
        send_text(fd, text);
        memset(body, 'p', sizeof body);
        send_bytes(fd, body, len);
        receive(fd, &answer);
        assert_int_equal(answer.body_len, len);
    }
    close(fd);
}

static void a_client_may_ask_to_be_told_to_continue(void **state)
{
    int fd = connect_to(*state);

    for (int i = 0; i < 3; i++) {
        struct answer answer;

        send_text(fd, "POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
                      "Expect: 100-continue\r\n\r\n");
        receive_head(fd, &answer);
        assert_int_equal(answer.status, 100);
        send_text(fd, "he");
        send_text(fd, "llo");
        receive(fd, &answer);
        assert_string_equal(answer.body, "POST /things? ||hello");
    }
    close(fd);
}

static void a_client_need_not_wait_for_continue(void **state)
{
    int fd = connect_to(*state);
    struct answer answer;

    send_text(fd, "POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
                  "Expect: 100-continue\r\n\r\nhelloGET / HTTP/1.1\r\nHost: x\r\n\r\n");
    receive(fd, &answer); /* with the body there, nobody need be told (RFC 9110, 10.1.1) */
    assert_string_equal(answer.body, "POST /things? ||hello");
    receive(fd, &answer);
    assert_string_equal(answer.body, "GET /? ||");
    close(fd);
}

static void who_has_begun_to_send_is_not_told_to_continue(void **state)
{
    int fd = connect_to(*state);
    struct answer answer;

    send_text(fd, "POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
                  "Expect: 100-continue\r\n\r\nhel");
    poll(NULL, 0, 10); /* apart, so that the server reads them so */
    send_text(fd, "lo");
    receive(fd, &answer);
    assert_string_equal(answer.body, "POST /things? ||hello");
    close(fd);
}

static void who_has_nothing_to_send_is_not_told_to_continue(void **state)
{
    struct answer answer;

    ask(*state,
        "POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n",
        &answer);
    assert_string_equal(answer.body, "POST /things? ||");
}

/* Its version knows no 100 (RFC 9110, 10.1.1). */
static void an_older_client_is_not_told_to_continue(void **state)
{
    int fd = connect_to(*state);
    struct answer answer;

    send_text(fd, "POST /things HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_true(is_silent(fd));
    send_text(fd, "hello");
    receive(fd, &answer);
    assert_string_equal(answer.body, "POST /things? ||hello");
    close(fd);
}

static void a_connection_carries_many_requests(void **state)
{
    int fd = connect_to(*state);
    struct http_stats before = http_stats(*state);

    for (int i = 0; i < 100; i++) {
        struct answer answer;

        send_text(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        receive(fd, &answer);
        assert_null(header_of(&answer, "connection"));
    }
    close(fd);
    assert_int_equal(http_stats(*state).requests - before.requests, 100);
    assert_int_equal(http_stats(*state).status[2] - before.status[2], 100);
}

static void a_connection_ends_when_the_client_says_so(void **state)
{
    static const char *const requests[] = {
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
    };

    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        int fd = connect_to(*state);
        struct answer answer;

        send_text(fd, requests[i]);
        receive(fd, &answer);
        assert_string_equal(answer.body, "GET /? ||");
        assert_string_equal(header_of(&answer, "connection"), "close");
        assert_true(is_closed(fd));
        close(fd);
    }
    WAIT_UNTIL(http_stats(*state).connections == 0);
}

static void an_older_client_is_told_that_its_connection_stays(void **state)
{
    int fd = connect_to(*state);

    for (int i = 0; i < 3; i++) {
        struct answer answer;

        send_text(fd, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        receive(fd, &answer);
        assert_string_equal(header_of(&answer, "connection"), "keep-alive");
    }
    close(fd);
}

/* Closing with bytes unread would make the kernel take the answer back. */
static void a_last_answer_arrives_whatever_is_sent_behind_the_request(void **state)
{
    const size_t len = 3000000;
    char *more = mem_zalloc(len);
    struct answer answer;
    int fd = connect_to(*state);

    send_text(fd, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    try_send(fd, more, len);
    free(more);
    receive(fd, &answer);
    assert_int_equal(answer.status, 200);
    assert_string_equal(header_of(&answer, "connection"), "close");
    assert_true(is_closed(fd));
    close(fd);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    const int count = 2000;
    struct buf text = {0};
    int fd = connect_to(*state);

    for (int i = 0; i < count; i++) {
        if (i % 3 == 0)
            buf_printf(&text, "GET /things/%d HTTP/1.1\r\nHost: x\r\n\r\n", i);
        else if (i % 3 == 1)
            buf_printf(&text,
                       "POST /things/%d/retry HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
                       i);
        else
            buf_printf(&text,
                       "POST /x/../things/%d/retry HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
                       "chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
                       i);
    }
    send_bytes(fd, text.data, text.len);
    buf_free(&text);
    for (int i = 0; i < count; i++) {
        struct answer answer;
        char expected[64];

        if (i % 3 == 0)
            snprintf(expected, sizeof expected, "GET /things/%d? %d||", i, i);
        else
            snprintf(expected, sizeof expected, "POST /things/%d/retry? %d||abc", i, i);
        receive(fd, &answer);
        assert_string_equal(answer.body, expected);
    }
    assert_true(is_silent(fd));
    close(fd);
}

static void a_half_closed_client_gets_its_answer(void **state)
{
    int fd = connect_to(*state);
    struct answer answer;

    send_text(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    shutdown(fd, SHUT_WR);
    receive(fd, &answer);
    assert_string_equal(answer.body, "GET /? ||");
    assert_true(is_closed(fd));
    close(fd);
}

static void a_half_closed_client_gets_all_its_answers(void **state)
{
    int fd = connect_to(*state);

    send_text(fd, "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n"
                  "GET /c HTTP/1.1\r\nHost: x\r\n\r\n");
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < 3; i++) {
        struct answer answer;

        receive(fd, &answer);
        assert_int_equal(answer.status, 404);
    }
    assert_true(is_closed(fd));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_finds_its_route),
        cmocka_unit_test(an_unknown_path_is_404),
        cmocka_unit_test(another_method_is_405_and_told_which_are_allowed),
        cmocka_unit_test(a_literal_path_goes_before_a_capture),
        cmocka_unit_test(head_is_get_without_the_body),
        cmocka_unit_test(headers_go_both_ways),
        cmocka_unit_test(a_field_of_one_answer_is_not_in_the_next),
        cmocka_unit_test(an_answer_without_content_keeps_the_connection),
        cmocka_unit_test(an_errors_words_become_sound_json),
        cmocka_unit_test(a_body_comes_whole_or_in_chunks),
        cmocka_unit_test(a_request_may_arrive_byte_by_byte),
        cmocka_unit_test(a_head_that_is_refused_is_nobody_elses),
        cmocka_unit_test(a_body_of_just_the_bound_is_taken),
        cmocka_unit_test(padding_behind_a_body_may_be_read_whatever_its_size),
        cmocka_unit_test(a_client_may_ask_to_be_told_to_continue),
        cmocka_unit_test(a_client_need_not_wait_for_continue),
        cmocka_unit_test(who_has_begun_to_send_is_not_told_to_continue),
        cmocka_unit_test(who_has_nothing_to_send_is_not_told_to_continue),
        cmocka_unit_test(an_older_client_is_not_told_to_continue),
        cmocka_unit_test(a_connection_carries_many_requests),
        cmocka_unit_test(a_connection_ends_when_the_client_says_so),
        cmocka_unit_test(an_older_client_is_told_that_its_connection_stays),
        cmocka_unit_test(a_last_answer_arrives_whatever_is_sent_behind_the_request),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(a_half_closed_client_gets_its_answer),
        cmocka_unit_test(a_half_closed_client_gets_all_its_answers),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
