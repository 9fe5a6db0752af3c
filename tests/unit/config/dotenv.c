/*
 * config_dotenv_parse(): what a line of a .env file may be.
 */
#include "config/config_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void write_down(struct slice name, struct slice value, unsigned line, void *arg)
{
    struct buf *seen = arg;

    buf_printf(seen, "%u:%.*s=[%.*s]", line, SLICE_ARG(name), SLICE_ARG(value));
}

static void gives(const char *text, const char *expected)
{
    struct buf seen = {0};
    struct err err = {0};

    if (config_dotenv_parse(slice_of(text), write_down, &seen, &err) != 0)
        fail_msg("%s: %s", text, err.text);
    buf_append_char(&seen, '\0');
    assert_string_equal(seen.data, expected);
    buf_free(&seen);
}

static void is_refused(const char *text, const char *words)
{
    struct buf seen = {0};
    struct err err = {0};

    assert_int_equal(config_dotenv_parse(slice_of(text), write_down, &seen, &err), ERR_INVALID);
    assert_string_equal(err.text, words);
    buf_free(&seen);
}

static void plain_lines_are_names_and_values(void **state)
{
    (void)state;
    gives("", "");
    gives("A=1", "1:A=[1]");
    gives("A=1\nB=2\n", "1:A=[1]2:B=[2]");
    gives("A=\nB=", "1:A=[]2:B=[]");
    gives("  A = 1 2  \n", "1:A=[1 2]");
    gives("A=b=c", "1:A=[b=c]");
    gives("export A=1\nexport\tB=2\n", "1:A=[1]2:B=[2]");
    gives("export=1\nexport =2", "1:export=[1]2:export=[2]");
    gives("\xef\xbb\xbf"
          "A=1",
          "1:A=[1]");
}

static void comments_and_blank_lines_are_nothing(void **state)
{
    (void)state;
    gives("# A=1\n\n   \n\t# B\nC=3 # three\n", "5:C=[3]");
    gives("A=1#2\n", "1:A=[1#2]");
    gives("A=#2\n", "1:A=[]");
    gives("A='1'#2\nB=\"x\" # y", "1:A=[1]2:B=[x]");
}

static void lines_may_end_with_crlf(void **state)
{
    (void)state;
    gives("A=1\r\n\r\nB='2'\r\nC=3\r", "1:A=[1]3:B=[2]4:C=[3]");
}

static void quotes_keep_what_is_inside(void **state)
{
    (void)state;
    gives("A='a # \\n \"b\" '", "1:A=[a # \\n \"b\" ]");
    gives("A=\"a # 'b' \"", "1:A=[a # 'b' ]");
    gives("A=\"\\n\\r\\t\\\"\\\\\\$\\x\"", "1:A=[\n\r\t\"\\$\\x]");
    gives("A=\"one\ntwo\"\nB=3\n", "1:A=[one\ntwo]3:B=[3]");
    gives("A=$HOME\nB=\"${HOME}\"", "1:A=[$HOME]2:B=[${HOME}]");
}

static void a_bad_line_is_named(void **state)
{
    (void)state;
    is_refused("A=1\nB\n", "line 2: must be NAME=value");
    is_refused("=1", "line 1: must be NAME=value");
    is_refused("export", "line 1: must be NAME=value");
    is_refused("export A B=1", "line 1: must be NAME=value");
    is_refused("A B=1", "line 1: must be NAME=value");
    is_refused("\n\nA='x\ny\n", "line 3: the quote is never closed");
    is_refused("A=\"x\\\"", "line 1: the quote is never closed");
    is_refused("A='x\ny' z\n", "line 2: text after the closing quote");
}

static void a_nul_byte_is_refused_wherever_it_stands(void **state)
{
    struct buf seen = {0};
    struct err err = {0};

    (void)state;
    assert_int_equal(config_dotenv_parse(SLICE("A='1\n\0'\n"), write_down, &seen, &err),
                     ERR_INVALID);
    assert_string_equal(err.text, "line 2: holds a NUL byte");
    assert_int_equal(config_dotenv_parse(SLICE("#\0"), write_down, &seen, &err), ERR_INVALID);
    assert_string_equal(err.text, "line 1: holds a NUL byte");
    assert_int_equal(seen.len, 0);
    buf_free(&seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_lines_are_names_and_values),
        cmocka_unit_test(comments_and_blank_lines_are_nothing),
        cmocka_unit_test(lines_may_end_with_crlf),
        cmocka_unit_test(quotes_keep_what_is_inside),
        cmocka_unit_test(a_bad_line_is_named),
        cmocka_unit_test(a_nul_byte_is_refused_wherever_it_stands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
