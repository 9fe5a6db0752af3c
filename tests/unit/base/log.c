/* The log's lines, as they stand on stderr. */
#include "base/log.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define STAMP 27 /* the time that a line begins with */

/* The line that these words make, from its level on. */
static const char *said(const char *words)
{
    static char line[PIPE_BUF];
    int kept = dup(STDERR_FILENO);
    int ends[2];
    ssize_t len;

    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    log_info("test", "%s", words);
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(ends[1]);
    len = read(ends[0], line, sizeof line - 1); /* all of it: it was one write */
    close(ends[0]);
    assert_true(len > STAMP);
    line[len] = '\0';
    return strstr(line, "info");
}

static void a_line_is_one_line_and_ends(void **state)
{
    (void)state;
    log_open(LOG_INFO, false);
    assert_string_equal(said("two\nlines, \x1b[31mred"),
                        "info    test: two\\u000alines, \\u001b[31mred\n");
    log_open(LOG_INFO, true);
    assert_string_equal(said("a \"b\" c:\\d\n"),
                        "info\",\"room\":\"test\",\"message\":\"a \\\"b\\\" c:\\\\d\\u000a\"}\n");
}

static void what_is_no_utf8_is_escaped_byte_by_byte(void **state)
{
    static const struct {
        const char *words, *line;
    } cases[] = {
        {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"caf\xe9/data", "caf\\u00e9/data"},
        {"cut \xf0\x9f\x98", "cut \\u00f0\\u009f\\u0098"},
        {"\xc0\x80 \xed\xa0\x80", "\\u00c0\\u0080 \\u00ed\\u00a0\\u0080"},
    };
    (void)state;

    for (int json = 0; json < 2; json++) {
        log_open(LOG_INFO, json == 1);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            assert_non_null(strstr(said(cases[i].words), cases[i].line));
    }
}

static void words_that_are_too_long_end_with_a_whole_line(void **state)
{
    char words[5000];
    (void)state;

    log_open(LOG_INFO, true);
    for (unsigned byte = 1; byte < 256; byte++) {
        const char *line;

        memset(words, (int)byte, sizeof words - 1);
        words[sizeof words - 1] = '\0';
        line = said(words);
        assert_string_equal(line + strlen(line) - 3, "\"}\n");
        assert_true(strlen(line) > 1000);
    }
}

static void fill(int pipe_end)
{
    static const char dots[4096];

    fcntl(pipe_end, F_SETFL, O_NONBLOCK);
    while (write(pipe_end, dots, sizeof dots) > 0)
        ;
    fcntl(pipe_end, F_SETFL, 0);
}

static void a_reader_that_stalls_holds_nobody_up(void **state)
{
    static char heap[1 << 20];
    char line[PIPE_BUF];
    int kept = dup(STDERR_FILENO);
    int ends[2];
    ssize_t len;
    (void)state;

    log_open(LOG_INFO, false);
    assert_int_equal(pipe(ends), 0);
    fill(ends[1]);
    dup2(ends[1], STDERR_FILENO);
    log_info("test", "lost");
    log_audit(&(struct log_audit){.action = "login", .outcome = "refused"});
    assert_int_equal(log_lost(), 2);
    assert_true(read(ends[0], heap, sizeof heap) > 0);
    log_info("test", "said");
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(ends[1]);
    len = read(ends[0], line, sizeof line - 1);
    close(ends[0]);
    assert_true(len > STAMP);
    line[len] = '\0';
    assert_non_null(strstr(line, "warning log: 2 lines of the log were lost since the start"));
    assert_non_null(strstr(line, "info    test: said\n"));
    assert_int_equal(log_lost(), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_one_line_and_ends),
        cmocka_unit_test(what_is_no_utf8_is_escaped_byte_by_byte),
        cmocka_unit_test(words_that_are_too_long_end_with_a_whole_line),
        cmocka_unit_test(a_reader_that_stalls_holds_nobody_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
