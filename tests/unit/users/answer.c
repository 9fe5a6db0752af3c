/*
 * What an introspection endpoint answers: whose token it is, until when, or no answer at all.
 */
#include "users/users_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static const char usual[] = "username,user.username";

static int read_as(const char *text, const char *members, struct users_reply *ret)
{
    struct json_parser *parser = json_parser_open();
    struct buf body = {0};
    struct err err;
    int code;

    buf_append_text(&body, text);
    buf_reserve(&body, JSON_PADDING);
    code = users_read_answer(parser, buf_slice(&body), members, ret, &err);
    buf_free(&body);
    json_parser_close(parser);
    return code;
}

static void a_user_is_found_where_the_option_says(void **state)
{
    static const struct {
        const char *text, *members, *name;
    } cases[] = {
        {"{\"active\":true,\"username\":\"jdoe\"}", usual, "jdoe"},
        {"{\"active\":true,\"user\":{\"username\":\"jdoe\",\"pennid\":7}}", usual, "jdoe"},
        {"{\"active\":true,\"user\":{\"username\":\"b\"},\"username\":\"a\"}", usual, "a"},
        {"{\"active\":true,\"username\":null,\"user\":{\"username\":\"b\"}}", usual, "b"},
        {"{\"username\":\"a\",\"active\":false,\"username\":\"b\",\"active\":true}", usual, "b"},
        {"{\"active\":true,\"a\":{\"b\":{\"c\":\"deep\"}}}", "a.b.c", "deep"},
        {"{\"active\":true,\"a.b\":\"no\",\"a\":{\"b\":\"yes\"}}", "a.b", "yes"},
        {"{\"active\":true,\"username\":\"\\u00e9\\u00e9\"}", usual, "\xc3\xa9\xc3\xa9"},
        {"{\"x\":[1,{\"y\":2}],\"active\":true,\"username\":\"jdoe\"}", usual, "jdoe"},
    };
    struct users_reply reply;
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(read_as(cases[i].text, cases[i].members, &reply), 0);
        assert_true(reply.active);
        assert_string_equal(reply.name, cases[i].name);
    }
}

static void who_is_no_user_is_refused(void **state)
{
    static const char *const texts[] = {
        "{\"active\":false}",
        "{\"active\":false,\"username\":\"jdoe\"}",
        "{\"active\":true}",
        "{\"active\":true,\"username\":null}",
        "{\"active\":true,\"username\":\"\"}",
        "{\"active\":true,\"username\":17}",
        "{\"active\":true,\"username\":{\"username\":\"jdoe\"}}",
        "{\"active\":true,\"username\":\"a\\u0000b\"}",
        "{\"active\":true,\"user\":\"jdoe\"}",
        "{\"active\":true,\"user\":[{\"username\":\"jdoe\"}]}",
    };
    struct users_reply reply;
    (void)state;

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        reply.active = true;
        assert_int_equal(read_as(texts[i], usual, &reply), 0);
        assert_false(reply.active);
    }
}

static void a_name_has_at_most_64_bytes(void **state)
{
    char text[200];
    struct users_reply reply;
    (void)state;

    snprintf(text, sizeof text, "{\"active\":true,\"username\":\"%064d\"}", 0);
    assert_int_equal(read_as(text, usual, &reply), 0);
    assert_true(reply.active);
    assert_int_equal(strlen(reply.name), 64);
    snprintf(text, sizeof text, "{\"active\":true,\"username\":\"%065d\"}", 0);
    assert_int_equal(read_as(text, usual, &reply), 0);
    assert_false(reply.active);
}

static void the_end_of_a_token_is_read(void **state)
{
    static const struct {
        const char *exp;
        int64_t us;
    } cases[] = {
        {"1790000000", INT64_C(1790000000000000)},
        {"1790000000.5", INT64_C(1790000000500000)},
        {"0", 0},
        {"-1", INT64_MAX},
        {"1e300", INT64_MAX},
        {"\"1790000000\"", INT64_MAX},
        {"null", INT64_MAX},
        {"11111111111111111111111111111111111111111111111111", INT64_MAX},
    };
    struct users_reply reply;
    char text[200];
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(text, sizeof text, "{\"active\":true,\"username\":\"j\",\"exp\":%s}",
                 cases[i].exp);
        assert_int_equal(read_as(text, usual, &reply), 0);
        assert_true(reply.expires_us == cases[i].us);
    }
}

static void what_does_not_say_whether_it_is_active_is_no_answer(void **state)
{
    static const char *const texts[] = {
        "",
        "null",
        "[]",
        "[{\"active\":true}]",
        "{}",
        "{\"active\":1}",
        "{\"active\":\"true\"}",
        "{\"active\":null}",
        "{\"active\":true",
        "<html>",
        "{\"user\":{\"active\":true}}",
        "{\"active\":true}x",
    };
    struct users_reply reply = {.expires_us = 77};
    (void)state;

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(read_as(texts[i], usual, &reply), ERR_INVALID);
    assert_int_equal(reply.expires_us, 77);
}

static void paths_have_names_everywhere(void **state)
{
    static const char *const good[] = {"a", "a,b", "a.b", "a.b,c.d.e"};
    static const char *const bad[] = {"",   ",",    "a,",   ",a",   "a..b", ".a",
                                      "a.", "a,,b", "a, b", "a ,b", " a",   "a "};
    (void)state;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(users_check_members(good[i], NULL), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(users_check_members(bad[i], NULL), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_user_is_found_where_the_option_says),
        cmocka_unit_test(who_is_no_user_is_refused),
        cmocka_unit_test(a_name_has_at_most_64_bytes),
        cmocka_unit_test(the_end_of_a_token_is_read),
        cmocka_unit_test(what_does_not_say_whether_it_is_active_is_no_answer),
        cmocka_unit_test(paths_have_names_everywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
