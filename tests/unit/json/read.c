/*
 * json_parse() and the walk over an array: what is JSON, what is not and where, and what
 * the tape says.
 */
#include "json/json.h"

#include "base/mem.h"
#include "support/padded.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct json_parser *parser;

static int open_parser(void **state)
{
    (void)state;
    parser = json_parser_open();
    return 0;
}

static int close_parser(void **state)
{
    (void)state;
    json_parser_close(parser);
    return 0;
}

/* Parses and writes the tape back as JSON without white space; text escaped our way. */
static void write_node(struct buf *out, const struct json_node *tape, uint32_t *at)
{
    const struct json_node *node = &tape[*at];
    uint32_t parts = node->type == JSON_OBJECT ? node->count * 2 : node->count;

    *at += 1;
    switch (node->type) {
    case JSON_STRING:
        json_write_string(out, json_text(node));
        break;
    case JSON_ARRAY:
    case JSON_OBJECT:
        buf_append_char(out, node->type == JSON_ARRAY ? '[' : '{');
        for (uint32_t i = 0; i < parts; i++) {
            if (i > 0)
                buf_append_char(out, node->type == JSON_OBJECT && i % 2 == 1 ? ':' : ',');
            write_node(out, tape, at);
        }
        buf_append_char(out, node->type == JSON_ARRAY ? ']' : '}');
        break;
    default:
        buf_append_slice(out, json_text(node));
    }
    assert_int_equal(*at, node->next);
}

static int parse_to(struct buf *out, struct slice text, struct err *err)
{
    static const char fillings[] = "\0 ]}\"1,";
    int rc = 0;

    for (size_t i = 0; i < sizeof fillings - 1; i++) {
        struct slice copy = padded(text, fillings[i]);
        const struct json_node *tape = NULL;
        uint32_t at = 0;

        rc = json_parse(parser, copy, &tape, err);
        buf_reset(out, 1 << 20);
        if (rc == 0) {
            write_node(out, tape, &at);
            buf_append_char(out, '\0');
        } else {
            assert_int_equal(rc, ERR_INVALID);
            assert_null(tape);
        }
        free((char *)copy.at);
    }
    return rc;
}

static void assert_reads_as(struct slice text, const char *expected)
{
    struct buf out = {0};
    struct err err = {0};

    if (parse_to(&out, text, &err) != 0)
        fail_msg("%.*s: %s", SLICE_ARG(text), err.text);
    assert_string_equal(out.data, expected);
    buf_free(&out);
}

static void assert_refused(struct slice text, const char *words)
{
    struct buf out = {0};
    struct err err = {0};

    if (parse_to(&out, text, &err) == 0)
        fail_msg("%.*s was taken as %s", SLICE_ARG(text), out.data);
    if (strstr(err.text, words) == NULL)
        fail_msg("%.*s: \"%s\" lacks \"%s\"", SLICE_ARG(text), err.text, words);
    buf_free(&out);
}

static void good_texts_are_read(void **state)
{
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"null", "null"},
        {" true ", "true"},
        {"false\r\n\t", "false"},
        {"\"\"", "\"\""},
        {"[]", "[]"},
        {"{}", "{}"},
        {" [ ] ", "[]"},
        {" { } ", "{}"},
        {"[1 ,2 , 3]", "[1,2,3]"},
        {"{\"a\" : 1 , \"b\":[{},[[]]]}", "{\"a\":1,\"b\":[{},[[]]]}"},
        {"{\"a\":1,\"a\":2}", "{\"a\":1,\"a\":2}"},
        {"{\"\":\"\"}", "{\"\":\"\"}"},
        {"[\"it's\",\"\xf0\x9f\x90\x98\",\"\x7f\"]", "[\"it's\",\"\xf0\x9f\x90\x98\",\"\x7f\"]"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_reads_as(slice_of(cases[i].text), cases[i].expected);
}

static void escapes_become_text(void **state)
{
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
        {"\"a\\u0041\\u00e4\\u20AC\\uD83D\\uDC18z\"",
         "\"aA\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x98z\""},
        {"\"\\uD800\\uDC00\\uDBFF\\uDFFF\"", "\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\""},
        {"\"\\u007f\\u0080\\u07ff\\u0800\\uffff\"",
         "\"\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\""},
        {"\"\\u0000\\u001f\"", "\"\\u0000\\u001f\""},
        {"{\"\\u006bey\\\\\":\"\\\\\\\"\"}", "{\"key\\\\\":\"\\\\\\\"\"}"},
        {"[\"plain\",\"\\n\",\"plain\",\"\\\\u0041\"]",
         "[\"plain\",\"\\n\",\"plain\",\"\\\\u0041\"]"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_reads_as(slice_of(cases[i].text), cases[i].expected);
}

static void numbers_stay_as_written(void **state)
{
    static const char *const good[] = {
        "0",     "-0",    "10",   "-1",  "0.5",  "1e5",
        "1E+5",  "1e-05", "-0.0", "0e0", "1.50", "12345678901234567890123456789",
        "1e999", "0.1e1",
    };
    static const char *const bad[] = {
        "-",     "+1",    "01",       "-01", "00",        "1.",     "1.e5", ".5",
        "1e",    "1e+",   "1e-",      "0x1", "1_0",       "1a",     "1e5.", "--1",
        "1.2.3", "1e5e5", "Infinity", "NaN", "-Infinity", "1\"a\"",
    };
    char text[64];
    (void)state;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_reads_as(slice_of(good[i]), good[i]);
        snprintf(text, sizeof text, " %s\n", good[i]);
        assert_reads_as(slice_of(text), good[i]);
        snprintf(text, sizeof text, "[%s]", good[i]);
        assert_reads_as(slice_of(text), text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_refused(slice_of(bad[i]), "invalid JSON");
        snprintf(text, sizeof text, "{\"a\":%s}", bad[i]);
        assert_refused(slice_of(text), "invalid JSON at byte 5");
    }
}

static void bad_texts_are_refused_with_the_place(void **state)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "invalid JSON: the text is empty"},
        {" \n", "invalid JSON: the text is empty"},
        {"nul", "byte 0: expected a value"},
        {"nulll", "byte 0: expected a value"},
        {"True", "byte 0: expected a value"},
        {"'a'", "byte 0: expected a value"},
        {"\f", "byte 0: expected a value"},
        {"\x1a", "byte 0: expected a value"},
        {"\xef\xbb\xbf{}", "byte 0: expected a value"},
        {"1 2", "byte 2: something follows the value"},
        {"{}{}", "byte 2: something follows the value"},
        {"[]]", "byte 2: something follows the value"},
        {"\"a\"b", "byte 3: something follows the value"},
        {"\"a\"\"b\"", "byte 3: something follows the value"},
        {"[", "byte 1: the text ends too early"},
        {"[1", "byte 2: the text ends too early"},
        {"[1,", "byte 3: the text ends too early"},
        {"[[1]", "byte 4: the text ends too early"},
        {"{\"a\":[1]", "byte 8: the text ends too early"},
        {"{", "byte 1: the text ends too early"},
        {"{\"a\"", "byte 4: the text ends too early"},
        {"{\"a\":", "byte 5: the text ends too early"},
        {"{\"a\":1", "byte 6: the text ends too early"},
        {"[1,]", "byte 3: expected a value"},
        {"[,1]", "byte 1: expected a value"},
        {"[1 2]", "byte 3: expected ',' or ']'"},
        {"[1}", "byte 2: expected ',' or ']'"},
        {"{\"a\":1]", "byte 6: expected ',' or '}'"},
        {"{\"a\":1,}", "byte 7: expected the name of a member"},
        {"{,}", "byte 1: expected the name of a member"},
        {"{1:2}", "byte 1: expected the name of a member"},
        {"{a:2}", "byte 1: expected the name of a member"},
        {"{\"a\" 1}", "byte 5: expected ':'"},
        {"{\"a\",1}", "byte 4: expected ':'"},
        {"{\"a\":}", "byte 5: expected a value"},
        {"{\"a\":1 \"b\":2}", "byte 7: expected ',' or '}'"},
        {"{\"a\"b:1}", "byte 4: expected ':'"},
        {"[truefalse]", "byte 1: expected a value"},
        {"[true\"a\"]", "byte 1: expected a value"},
        {"[1/**/]", "byte 1: this is no number"},
        {"\"", "byte 0: this string has no end"},
        {"[\"a\",\"b]", "byte 5: this string has no end"},
        {"[\"a\\\"]", "byte 1: this string has no end"},
        {"\"a\nb\"", "byte 2: a control character in a string must be escaped"},
        {"\"\\\\\x01\"", "byte 3: a control character in a string must be escaped"},
        {"\"\\x\"", "byte 1: there is no such escape"},
        {"\"ab\\U0041\"", "byte 3: there is no such escape"},
        {"\"\\u12g4\"", "byte 1: \\u needs four hexadecimal digits"},
        {"\"\\u123\"", "byte 1: \\u needs four hexadecimal digits"},
        {"\"\\u\"", "byte 1: \\u needs four hexadecimal digits"},
        {"\"a\\ud83d\"", "byte 2: a lone surrogate"},
        {"\"\\udc18\"", "byte 1: a lone surrogate"},
        {"\"\\ud83d\\ud83d\"", "byte 1: a lone surrogate"},
        {"\"\\udc18\\udc18\"", "byte 1: a lone surrogate"},
        {"\"\\udc18\\ud83d\"", "byte 1: a lone surrogate"},
        {"\"\\ud83dx\\udc18\"", "byte 1: a lone surrogate"},
        {"\"\\ud83d\\u0041\"", "byte 1: a lone surrogate"},
        {"{\"\\ud83d\":1}", "byte 2: a lone surrogate"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(slice_of(cases[i].text), cases[i].words);
    assert_refused((struct slice){NULL, 0}, "the text is empty");
    assert_refused((struct slice){"[1,\0]", 5}, "byte 3: expected a value");
    assert_refused((struct slice){"[1]\0", 4}, "byte 3: something follows the value");
    assert_refused((struct slice){"\"\0\"", 3}, "byte 1: a control character");
}

static void bad_utf8_is_refused_wherever_it_is(void **state)
{
    static const char *const bad[] = {
        "\x80", /* continuation alone */
        "\xbf",
        "\xc3", /* cut off */
        "\xe2\x82",
        "\xf0\x9f\x90",
        "\xc0\xaf", /* overlong */
        "\xc1\xbf",
        "\xe0\x9f\xbf",
        "\xf0\x8f\xbf\xbf",
        "\xed\xa0\x80", /* surrogates */
        "\xed\xbf\xbf",
        "\xf4\x90\x80\x80", /* beyond U+10FFFF */
        "\xf5\x80\x80\x80",
        "\xff",
        "\xc3\xc3",
        "\xe2\x28\xa1",
    };
    char text[200];
    char words[64];
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        for (int before = 0; before < 130; before += 13) {
            snprintf(text, sizeof text, "[\"%.*s%s\"]", before,
                     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                     "xxxxxx"
                     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                     bad[i]);
            snprintf(words, sizeof words, "invalid JSON at byte %d: bad UTF-8", before + 2);
            assert_refused(slice_of(text), words);
        }
    }
    assert_refused(slice_of("[1,\xc3\xa4]"), "byte 3: expected a value");
    assert_refused(slice_of("[1]\xff"), "byte 3: bad UTF-8");
}

static void nesting_has_a_bound(void **state)
{
    char text[2 * 1000 + 1];
    struct slice parsed;
    const struct json_node *tape;
    struct err err;
    (void)state;

    for (size_t depth = 1; depth <= 1000; depth += depth < 100 ? 1 : 100) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        parsed = padded((struct slice){text, 2 * depth}, ' ');
        if (depth <= JSON_MAX_DEPTH) {
            assert_int_equal(json_parse(parser, parsed, &tape, &err), 0);
            assert_int_equal(tape[0].next, depth);
        } else {
            assert_int_equal(json_parse(parser, parsed, &tape, &err), ERR_INVALID);
            assert_string_equal(err.text, "invalid JSON at byte 64: nested too deeply");
        }
        free((char *)parsed.at);
    }
}

static void too_many_values_are_refused(void **state)
{
    struct buf text = {0};
    const struct json_node *tape;
    struct err err;
    (void)state;

    buf_append_char(&text, '[');
    for (uint32_t i = 1; i < JSON_MAX_NODES; i++)
        buf_append_text(&text, i == 1 ? "1" : ",1");
    buf_append_char(&text, ']');
    buf_reserve(&text, JSON_PADDING);
    assert_int_equal(json_parse(parser, buf_slice(&text), &tape, &err), 0);
    assert_int_equal(tape[0].count, JSON_MAX_NODES - 1);
    text.len -= 1;
    buf_append_text(&text, ",1]");
    buf_reserve(&text, JSON_PADDING);
    assert_int_equal(json_parse(parser, buf_slice(&text), &tape, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, "more values than"));
    json_parser_shrink(parser, 4096);
    buf_free(&text);
}

static void whatever_stands_where_the_tape_grows_is_read(void **state)
{
    static const char *const last[] = {"\"s\"", "\"\\n\"", "{\"k\":\"v\"}", "{\"k\":[1]}",
                                       "[]",    "true",    "1.50",          "{}"};
    struct buf text = {0};
    (void)state;

    for (size_t kind = 0; kind < sizeof last / sizeof *last; kind++) {
        for (int before = 252; before < 260; before++) { /* it begins with 256 nodes */
            text.len = 0;
            buf_append_char(&text, '[');
            for (int i = 0; i < before; i++)
                buf_append_text(&text, i % 2 == 0 ? "0," : "\"x\",");
            buf_append_text(&text, last[kind]);
            buf_append_text(&text, "]");
            buf_reserve(&text, 1)[0] = '\0';
            json_parser_close(parser);
            parser = json_parser_open();
            assert_reads_as(buf_slice(&text), text.data);
        }
    }
    buf_free(&text);
}

static void nul_is_told(void **state)
{
    struct slice text = padded(SLICE("[\"a\\u0000b\",\"ab\",\"\\u0001\"]"), 0);
    const struct json_node *tape;
    (void)state;

    assert_int_equal(json_parse(parser, text, &tape, NULL), 0);
    assert_true(tape[1].has_nul);
    assert_int_equal(tape[1].len, 3);
    assert_memory_equal(tape[1].text, "a\0b", 3);
    assert_false(tape[2].has_nul);
    assert_false(tape[3].has_nul);
    free((char *)text.at);
}

static void a_text_of_20_mib_is_read_and_its_memory_given_back(void **state)
{
    size_t len = 20u << 20;
    char *text = mem_alloc(len + JSON_PADDING);
    const struct json_node *tape;
    struct err err;
    (void)state;

    memset(text, 'x', len);
    memcpy(text, "{\"a\":\"\\n", 8);
    memcpy(text + len - 2, "\"}", 2);
    assert_int_equal(json_parse(parser, (struct slice){text, len}, &tape, &err), 0);
    assert_int_equal(tape[2].len, len - 9);
    assert_int_equal(tape[2].text[0], '\n');
    json_parser_shrink(parser, 64 << 10);
    free(text);
    assert_reads_as(SLICE("{\"a\":\"\\n\"}"), "{\"a\":\"\\n\"}");
}

/* Walks and joins the elements by '|'; "ERR_INVALID" words end up behind "!". */
static void assert_walks_as(const char *text, const char *expected)
{
    struct slice copy = padded(slice_of(text), ']');
    struct buf out = {0};
    struct err err = {0};
    const struct json_node *tape;
    bool is_array = false;
    int rc = json_array_begin(parser, copy, &is_array, &err);

    if (rc == 0 && !is_array) {
        buf_append_text(&out, "no array");
    } else if (rc == 0) {
        while ((rc = json_array_next(parser, &tape, &err)) == 0 && tape != NULL) {
            uint32_t at = 0;

            write_node(&out, tape, &at);
            buf_append_char(&out, '|');
        }
    }
    if (rc != 0) {
        assert_int_equal(rc, ERR_INVALID);
        buf_printf(&out, "!%s", err.text);
    }
    if (is_array) /* the walk is over, either way */
        assert_int_equal(json_array_next(parser, &tape, NULL), ERR_INVALID);
    buf_append_char(&out, '\0');
    assert_string_equal(out.data, expected);
    buf_free(&out);
    free((char *)copy.at);
}

static void an_array_is_walked_element_by_element(void **state)
{
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"[]", ""},
        {" [ ] ", ""},
        {"[1]", "1|"},
        {" [{\"a\":\"\\n\"} , [\"\\t\",[2]],null ]\n", "{\"a\":\"\\n\"}|[\"\\t\",[2]]|null|"},
        {"{}", "no array"},
        {" 1", "no array"},
        {"", "no array"},
        {"nonsense", "no array"},
        {"[1,{\"a\" 1},2]", "1|!invalid JSON at byte 8: expected ':'"},
        {"[1,2", "1|2|!invalid JSON at byte 4: the text ends too early"},
        {"[1,2,]", "1|2|!invalid JSON at byte 5: expected a value"},
        {"[,1]", "!invalid JSON at byte 1: expected a value"},
        {"[1 2]", "1|!invalid JSON at byte 3: expected ',' or ']'"},
        {"[1]2", "1|!invalid JSON at byte 3: something follows the value"},
        {"[1]]", "1|!invalid JSON at byte 3: something follows the value"},
        {"[1}", "1|!invalid JSON at byte 2: expected ',' or ']'"},
        {"[1,\"\xff\"]", "!invalid JSON at byte 4: bad UTF-8"},
        {"[1,\"a]", "!invalid JSON at byte 3: this string has no end"},
        {"[", "!invalid JSON at byte 1: the text ends too early"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_walks_as(cases[i].text, cases[i].expected);
}

static void elements_are_as_deep_as_in_the_whole(void **state)
{
    char text[2 * 65 + 1] = {0};
    char expected[2 * 65 + 2] = {0};
    (void)state;

    memset(text, '[', 64);
    memset(text + 64, ']', 64);
    memset(expected, '[', 63);
    memset(expected + 63, ']', 63);
    expected[126] = '|';
    assert_walks_as(text, expected);
    memset(text, '[', 65);
    memset(text + 65, ']', 65);
    assert_walks_as(text, "!invalid JSON at byte 64: nested too deeply");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_texts_are_read),
        cmocka_unit_test(escapes_become_text),
        cmocka_unit_test(numbers_stay_as_written),
        cmocka_unit_test(bad_texts_are_refused_with_the_place),
        cmocka_unit_test(bad_utf8_is_refused_wherever_it_is),
        cmocka_unit_test(nesting_has_a_bound),
        cmocka_unit_test(too_many_values_are_refused),
        cmocka_unit_test(whatever_stands_where_the_tape_grows_is_read),
        cmocka_unit_test(nul_is_told),
        cmocka_unit_test(a_text_of_20_mib_is_read_and_its_memory_given_back),
        cmocka_unit_test(an_array_is_walked_element_by_element),
        cmocka_unit_test(elements_are_as_deep_as_in_the_whole),
    };

    return cmocka_run_group_tests(tests, open_parser, close_parser);
}
