/* Bodies in chunks: what they decode to, however they arrive, and what is refused. */
#include "http/http_chunked.h"

#include "base/slice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Decodes a copy of `text`, given in pieces, into out; *ret_rest is what lies behind the body. */
static enum chunked_result decode(struct slice text, size_t piece, char *out, size_t *ret_len,
                                  size_t *ret_rest)
{
    enum chunked_result result = CHUNKED_MORE;
    struct chunked chunked = {0};
    size_t given = 0;

    *ret_len = 0;
    while (result == CHUNKED_MORE && given < text.len) {
        size_t len = text.len - given < piece ? text.len - given : piece;
        char *copy = malloc(len); /* of just its size, for the sanitizer */
        size_t data;
        size_t taken;

        memcpy(copy, text.at + given, len);
        result = chunked_decode(&chunked, copy, len, &data, &taken);
        assert_true(data <= taken && taken <= len);
        assert_true(result != CHUNKED_MORE || taken == len);
        memcpy(out + *ret_len, copy, data);
        *ret_len += data;
        given += taken;
        free(copy);
    }
    *ret_rest = text.len - given;
    return result;
}

static void chunks_become_one_body_however_they_arrive(void **state)
{
    static const struct {
        const char *text;
        const char *body;
    } cases[] = {
        {"0\r\n\r\n", ""},
        {"5\r\nhello\r\n0\r\n\r\n", "hello"},
        {"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "hello"},
        {"00000000000005\r\nhello\r\n000\r\n\r\n", "hello"},
        {"a\r\n0123456789\r\n1\r\n\r\r\n0\r\n\r\n", "0123456789\r"},
        {"1;a=b;c=\"d;e\"\r\n\n\r\n0;last\r\n\r\n", "\n"},
        {"1 ; a\r\nx\r\n0\t\r\nOne: 1\r\nTwo:\r\n\r\n", "x"},
        {"1B\r\nabcdefghijklmnopqrstuvwxyz\n\r\n0\r\n\r\n", "abcdefghijklmnopqrstuvwxyz\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        size_t len = (size_t)snprintf(text, sizeof text, "%snext", cases[i].text);

        for (size_t piece = 1; piece <= len; piece++) {
            char out[256];
            size_t out_len;
            size_t rest;

            assert_int_equal(decode((struct slice){text, len}, piece, out, &out_len, &rest),
                             CHUNKED_DONE);
            assert_true(slice_is((struct slice){out, out_len}, cases[i].body));
            assert_int_equal(rest, strlen("next"));
        }
    }
}

static void what_is_no_chunk_is_refused_however_it_arrives(void **state)
{
    static const char *const cases[] = {
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "+1\r\n",
        "0x1\r\n",
        " 1\r\n",
        ";a\r\n",
        "1\n",
        "1\rx",
        "1;a\n",
        "2 5\r\nab\r\n",
        "1 a\r\nx\r\n",
        "1;a\x01\r\n",
        "1234567890123456\r\n",
        "1\r\nab",
        "1\r\na\n",
        "1\r\na\rx",
        "0\r\n\n",
        "0\r\n\rx",
        "0\r\n: x\r\n",
        "0\r\n folded\r\n",
        "0\r\nA: b\n",
        "0\r\nA: \x7f\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t piece = 1; piece <= strlen(cases[i]); piece++) {
            char out[64];
            size_t len;
            size_t rest;

            if (decode(slice_of(cases[i]), piece, out, &len, &rest) != CHUNKED_BROKEN)
                fail_msg("passed: %s", cases[i]);
        }
    }
}

/* The bytes before `fill` times 'a', those, and what comes behind. */
static enum chunked_result decode_filled(const char *before, size_t fill, const char *behind)
{
    size_t len = strlen(before) + fill + strlen(behind);
    char *text = malloc(len);
    char *out = malloc(len);
    enum chunked_result result;
    size_t out_len;
    size_t rest;

    memcpy(text, before, strlen(before));
    memset(text + strlen(before), 'a', fill);
    memcpy(text + strlen(before) + fill, behind, strlen(behind));
    result = decode((struct slice){text, len}, 1000, out, &out_len, &rest);
    free(text);
    free(out);
    return result;
}

static void lines_between_chunks_are_bounded(void **state)
{
    const size_t line = CHUNKED_MAX_LINE - strlen("1;\r\n");
    const size_t trailer = CHUNKED_MAX_TRAILERS - 32;

    (void)state;
    assert_int_equal(decode_filled("1;", line, "\r\nx\r\n0\r\n\r\n"), CHUNKED_DONE);
    assert_int_equal(decode_filled("1;", line + 10, "\r\nx\r\n0\r\n\r\n"), CHUNKED_BROKEN);
    assert_int_equal(decode_filled("0\r\nA: ", trailer, "\r\n\r\n"), CHUNKED_DONE);
    assert_int_equal(decode_filled("0\r\nA: ", trailer,
                                   "\r\nB: 123456789\r\nC: 123456789\r\n"
                                   "D: 123456789\r\nE: 123456789\r\n\r\n"),
                     CHUNKED_BROKEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_become_one_body_however_they_arrive),
        cmocka_unit_test(what_is_no_chunk_is_refused_however_it_arrives),
        cmocka_unit_test(lines_between_chunks_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
