/*
 * Writing JSON, and that what is written reads back.
 */
#include "json/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct buf out;

static const char *written(void)
{
    buf_append_char(&out, '\0');
    out.len = 0;
    return out.data;
}

static int free_out(void **state)
{
    (void)state;
    buf_free(&out);
    return 0;
}

static void strings_are_quoted_and_escaped(void **state)
{
    static const struct {
        struct slice text;
        const char *expected;
    } cases[] = {
        {{NULL, 0}, "null"},
        {{"", 0}, "\"\""},
        {{"plain", 5}, "\"plain\""},
        {{"\"", 1}, "\"\\\"\""},
        {{"a\\b", 3}, "\"a\\\\b\""},
        {{"\b\f\n\r\t", 5}, "\"\\b\\f\\n\\r\\t\""},
        {{"\0\x1f\x7f/'", 5}, "\"\\u0000\\u001f\x7f/'\""},
        {{"\xf0\x9f\x90\x98", 4}, "\"\xf0\x9f\x90\x98\""},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_write_string(&out, cases[i].text);
        assert_string_equal(written(), cases[i].expected);
    }
}

static void every_byte_of_ascii_reads_back(void **state)
{
    struct json_parser *parser = json_parser_open();
    const struct json_node *tape;
    char text[128];
    (void)state;

    for (int i = 0; i < 128; i++)
        text[i] = (char)i;
    json_write_string(&out, (struct slice){text, sizeof text});
    buf_reserve(&out, JSON_PADDING);
    assert_int_equal(json_parse(parser, buf_slice(&out), &tape, NULL), 0);
    assert_int_equal(tape[0].len, sizeof text);
    assert_memory_equal(tape[0].text, text, sizeof text);
    assert_true(tape[0].has_nul);
    out.len = 0;
    json_parser_close(parser);
}

static void integers_are_written_to_their_bounds(void **state)
{
    (void)state;

    json_write_int(&out, INT64_MIN);
    assert_string_equal(written(), "-9223372036854775808");
    json_write_int(&out, 0);
    assert_string_equal(written(), "0");
    json_write_uint(&out, UINT64_MAX);
    assert_string_equal(written(), "18446744073709551615");
}

static void seconds_have_the_digits_they_need(void **state)
{
    static const struct {
        int64_t us;
        const char *expected;
    } cases[] = {
        {0, "0"},
        {12500000, "12.5"},
        {1, "0.000001"},
        {1000, "0.001"},
        {-500000, "-0.5"},
        {-1000001, "-1.000001"},
        {1790000000250000, "1790000000.25"},
        {60000000, "60"},
        {INT64_MIN, "-9223372036854.775808"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_write_seconds(&out, cases[i].us);
        assert_string_equal(written(), cases[i].expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_are_quoted_and_escaped),
        cmocka_unit_test(every_byte_of_ascii_reads_back),
        cmocka_unit_test(integers_are_written_to_their_bounds),
        cmocka_unit_test(seconds_have_the_digits_they_need),
    };

    return cmocka_run_group_tests(tests, NULL, free_out);
}
