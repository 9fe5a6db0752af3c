/* The check of a request's head, and the target's normal form. */
#include "http/http_head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int status_of(const char *text, struct head *head)
{
    const char *why = NULL;
    size_t scanned = 0;
    size_t len = head_end(slice_of(text), &scanned);
    int status;

    assert_int_equal(len, strlen(text));
    status = head_read((struct slice){text, len}, head, &why);
    if (status != 0)
        assert_non_null(why);
    return status;
}

static void a_head_says_how_its_body_is_framed(void **state)
{
    struct head head;

    (void)state;
    assert_int_equal(
        status_of("POST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n", &head), 0);
    assert_true(slice_is(head.method, "POST"));
    assert_true(slice_is(head.target, "/a?b"));
    assert_true(head.has_length);
    assert_int_equal(head.length, 12);
    assert_false(head.chunked);
    assert_int_equal(
        status_of("PUT / HTTP/1.1\nhOST:\ntRANSFER-eNCODING: \t Chunked\nExpect: 100-Continue\n\n",
                  &head),
        0);
    assert_true(head.chunked);
    assert_true(head.expects);
    assert_int_equal(status_of("GET / HTTP/1.0\r\n\r\n", &head), 0);
    assert_int_equal(head.minor, 0);
    /* Blanks around a value are not of it (RFC 9112, section 5). */
    assert_int_equal(status_of("POST / HTTP/1.1\r\nHost: x \r\nContent-Length:\t12 \t\r\n"
                               "Expect: 100-continue\t\r\n\r\n",
                               &head),
                     0);
    assert_int_equal(head.length, 12);
    assert_true(head.expects);
    assert_int_equal(
        status_of("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked \r\n\r\n", &head), 0);
    assert_true(head.chunked);
}

static void what_no_grammar_allows_is_refused(void **state)
{
    static const struct {
        int status;
        const char *text;
    } cases[] = {
        {400, "GET\r\n\r\n"},
        {400, "GET /\r\n\r\n"},
        {400, "GET  / HTTP/1.1\r\nHost: x\r\n\r\n"},
        {400, "GET /  HTTP/1.1\r\nHost: x\r\n\r\n"},
        {400, " GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
        {400, "G@T / HTTP/1.1\r\nHost: x\r\n\r\n"},
        {400, "GET / HTTP/1.1 \r\nHost: x\r\n\r\n"},
        {400, "GET / HTTP/1\r\nHost: x\r\n\r\n"},
        {400, "GET / http/1.1\r\nHost: x\r\n\r\n"},
        {400, "GET /\x80 HTTP/1.1\r\nHost: x\r\n\r\n"},
        {400, "GET * HTTP/1.1\r\nHost: x\r\n\r\n"},
        {400, "GET x:80 HTTP/1.1\r\nHost: x\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: x\r\n: empty\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost : x\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n folded\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: x\r\nA: a rather long value \x01 with a control\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: x\r\nA: \x7f\r\n\r\n"},
        {505, "GET / HTTP/2.0\r\nHost: x\r\n\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct head head;
        int status = status_of(cases[i].text, &head);

        if (status != cases[i].status)
            fail_msg("%d, not %d: %s", status, cases[i].status, cases[i].text);
    }
}

static void a_body_of_doubtful_length_is_refused(void **state)
{
    static const struct {
        int status;
        const char *fields;
    } cases[] = {
        {400, "Content-Length: 1\r\nContent-Length: 1"},
        {400, "Content-Length: 1\r\nTransfer-Encoding: chunked"},
        {400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"},
        {400, "Content-Length:"},
        {400, "Content-Length: -1"},
        {400, "Content-Length: +1"},
        {400, "Content-Length: 1,1"},
        {400, "Content-Length: 0x1"},
        {400, "Content-Length: 99999999999999999999999"},
        {501, "Transfer-Encoding: gzip"},
        {501, "Transfer-Encoding: gzip, chunked"},
        {501, "Transfer-Encoding: xchunked"},
        {417, "Expect: miracles"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        struct head head;
        int status;

        snprintf(text, sizeof text, "POST / HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", cases[i].fields);
        status = status_of(text, &head);
        if (status != cases[i].status)
            fail_msg("%d, not %d: %s", status, cases[i].status, cases[i].fields);
    }
    assert_int_equal(
        status_of("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", &(struct head){0}), 400);
}

static void tabs_and_high_bytes_are_fine_in_values(void **state)
{
    struct head head;

    (void)state;
    assert_int_equal(status_of("GET / HTTP/1.1\r\nHost: x\r\nA: caf\xc3\xa9 \t na\xc3\xafve, and "
                               "more of it\r\n\r\n",
                               &head),
                     0);
}

static void a_field_is_found_by_its_name_and_the_first_counts(void **state)
{
    struct head head;

    (void)state;
    assert_int_equal(status_of("GET / HTTP/1.1\r\nHost: x\r\nA:1\r\naB: \t two words\t \r\n"
                               "ab: second\r\nempty:  \r\n\r\n",
                               &head),
                     0);
    assert_int_equal(head.count, 5);
    assert_true(slice_is(head_field(&head, "host"), "x"));
    assert_true(slice_is(head_field(&head, "a"), "1"));
    assert_true(slice_is(head_field(&head, "ab"), "two words"));
    assert_non_null(head_field(&head, "empty").at);
    assert_int_equal(head_field(&head, "empty").len, 0);
    assert_null(head_field(&head, "b").at);
    assert_int_equal(status_of("GET / HTTP/1.1\r\nHost: x\r\n\r\n", &head), 0);
    assert_null(head_field(&head, "ab").at); /* nothing is left of the head before */
}

static void a_connection_persists_as_its_version_and_options_say(void **state)
{
    static const struct {
        bool persists;
        const char *text;
    } cases[] = {
        {true, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
        {true, "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade, te\r\n\r\n"},
        {true, "GET / HTTP/1.1\r\nHost: x\r\nConnection: closed\r\n\r\n"},
        {false, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n"},
        {false, "GET / HTTP/1.1\r\nHost: x\r\nConnection: te , ,close\r\n\r\n"},
        {false, "GET / HTTP/1.1\r\nHost: x\r\nConnection: a\r\nConnection: close\r\n\r\n"},
        {false, "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, close\r\n\r\n"},
        {false, "GET / HTTP/1.0\r\n\r\n"},
        {true, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct head head;

        assert_int_equal(status_of(cases[i].text, &head), 0);
        if (head_persists(&head) != cases[i].persists)
            fail_msg("%d: %s", head_persists(&head), cases[i].text);
    }
}

static void a_head_ends_with_its_empty_line_however_it_arrives(void **state)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\nbody\n\n";
    const size_t end = strlen("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    size_t scanned = 0;

    (void)state;
    for (size_t len = 0; len < sizeof text; len++) {
        size_t fresh = 0;
        size_t expected = len < end ? 0 : end;

        assert_int_equal(head_end((struct slice){text, len}, &scanned), expected);
        assert_int_equal(head_end((struct slice){text, len}, &fresh), expected);
    }
}

static void a_target_is_split_into_path_and_query(void **state)
{
    static const struct {
        const char *target;
        const char *path;
        const char *query;
        bool plain;
    } cases[] = {
        {"/", "/", "", true},
        {"/a/b?c=d?e", "/a/b", "c=d?e", true},
        {"/a?", "/a", "", true},
        {"/a?x=%20/..", "/a", "x=%20/..", true},
        {"/a%20b", "/a%20b", "", false},
        {"/a/./b", "/a/./b", "", false},
        {"http://h:80/a?b", "/a", "b", false},
        {"HTTPS://h", "/", "", false},
        {"http://h?q", "/", "q", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct slice path;
        struct slice query;
        bool plain;

        target_split(slice_of(cases[i].target), &path, &query, &plain);
        assert_true(slice_is(path, cases[i].path));
        assert_true(slice_is(query, cases[i].query));
        assert_int_equal(plain, cases[i].plain);
    }
}

static void a_path_is_unescaped_and_its_dots_resolved(void **state)
{
    static const char *const cases[][2] = {
        {"/", "/"},           {"/a/b", "/a/b"},  {"/%61%2e%7E", "/a.~"}, {"/a%2Fb%2f", "/a%2Fb%2F"},
        {"/a/./b", "/a/b"},   {"/a/../b", "/b"}, {"/a/%2e%2E/b", "/b"},  {"/../../b", "/b"},
        {"/..", "/"},         {"/a/..", "/"},    {"/a/.", "/a/"},        {"/a/b/..", "/a/"},
        {"/a//../b", "/a/b"}, {"//", "//"},      {"/...", "/..."},       {"/.a/..b", "/.a/..b"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};

        assert_true(target_normalize(slice_of(cases[i][0]), &out));
        if (!slice_is(buf_slice(&out), cases[i][1]))
            fail_msg("%s became %.*s", cases[i][0], (int)out.len, out.data);
        buf_free(&out);
    }
}

static void a_malformed_escape_is_found(void **state)
{
    static const char *const cases[] = {"/%", "/%4", "/%4x", "/%x4", "/a%00b", "/%4/1"};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};

        assert_false(target_normalize(slice_of(cases[i]), &out));
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_says_how_its_body_is_framed),
        cmocka_unit_test(what_no_grammar_allows_is_refused),
        cmocka_unit_test(a_body_of_doubtful_length_is_refused),
        cmocka_unit_test(tabs_and_high_bytes_are_fine_in_values),
        cmocka_unit_test(a_field_is_found_by_its_name_and_the_first_counts),
        cmocka_unit_test(a_connection_persists_as_its_version_and_options_say),
        cmocka_unit_test(a_head_ends_with_its_empty_line_however_it_arrives),
        cmocka_unit_test(a_target_is_split_into_path_and_query),
        cmocka_unit_test(a_path_is_unescaped_and_its_dots_resolved),
        cmocka_unit_test(a_malformed_escape_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
