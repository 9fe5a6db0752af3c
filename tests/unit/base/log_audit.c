/* The audit's lines, as they stand on stderr. */
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

static char written[3 * PIPE_BUF];

/* What log_audit() writes, in `written`; gives the text behind the time. */
static const char *said(const struct log_audit *line)
{
    int ends[2];
    int kept = dup(STDERR_FILENO);
    ssize_t len;

    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    log_audit(line);
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(ends[1]);
    len = read(ends[0], written, sizeof written - 1); /* all of it: it was one write */
    close(ends[0]);
    assert_in_range(len, STAMP, PIPE_BUF);
    written[len] = '\0';
    return written + STAMP;
}

static unsigned count(const char *text, char byte)
{
    unsigned found = 0;

    for (; *text != '\0'; text++)
        found += *text == byte;
    return found;
}

static void fields_stand_by_their_names(void **state)
{
    (void)state;
    log_open(LOG_INFO, false);
    assert_string_equal(said(&(struct log_audit){.action = "retry",
                                                 .outcome = "failed",
                                                 .who = "urn:pennlabs:clubs",
                                                 .target = "00c0ffee-42",
                                                 .from = "::1",
                                                 .why = "the transaction is not failed"}),
                        " info    audit: action=retry outcome=failed who=urn:pennlabs:clubs "
                        "target=00c0ffee-42 from=::1 why=\"the transaction is not failed\"\n");
}

static void a_field_that_is_not_there_is_a_dash_and_a_dash_is_quoted(void **state)
{
    (void)state;
    log_open(LOG_INFO, false);
    assert_string_equal(said(&(struct log_audit){.action = "login", .who = "-", .target = ""}),
                        " info    audit: action=login outcome=- who=\"-\" target=\"\" from=- "
                        "why=-\n");
}

static void json_has_members_and_nulls(void **state)
{
    (void)state;
    log_open(LOG_INFO, true);
    said(&(struct log_audit){
        .action = "login", .outcome = "refused", .target = "GET /", .from = "127.0.0.1"});
    assert_memory_equal(written, "{\"time\":\"", 9);
    assert_string_equal(strchr(written, ','),
                        ",\"level\":\"info\",\"room\":\"audit\",\"action\":\"login\","
                        "\"outcome\":\"refused\",\"who\":null,\"target\":\"GET /\","
                        "\"from\":\"127.0.0.1\",\"why\":null}\n");
}

static void nothing_forges_a_field_or_a_line(void **state)
{
    static const char evil[] =
        "x\n2026-01-01 info audit: action=login\r\t\x1b[31m\" who=root \\\x7f"
        "\xc3\xa9\xff";

    (void)state;
    log_open(LOG_INFO, false);
    assert_string_equal(
        said(&(struct log_audit){.action = "login", .who = evil}),
        " info    audit: action=login outcome=- "
        "who=\"x\\u000a2026-01-01 info audit: action=login\\u000d\\u0009\\u001b[31m\\\" who=root "
        "\\\\\\u007f\\u00c3\\u00a9\\u00ff\" target=- from=- why=-\n");
    log_open(LOG_INFO, true);
    said(&(struct log_audit){.action = "login", .target = evil, .why = "\",\"who\":\"root"});
    assert_int_equal(count(written, '\n'), 1);
    assert_non_null(strstr(written, "\"why\":\"\\\",\\\"who\\\":\\\"root\"}\n"));
    assert_non_null(strstr(written, "\\u001b[31m\\\" who=root \\\\\\u007f"));
}

static void fields_are_cut_where_an_escape_ends(void **state)
{
    char quotes[10000];
    char controls[10000];
    struct log_audit line = {quotes, controls, quotes, controls, quotes, controls};

    (void)state;
    memset(quotes, '"', sizeof quotes - 1);
    memset(controls, 1, sizeof controls - 1);
    quotes[sizeof quotes - 1] = controls[sizeof controls - 1] = '\0';
    for (int json = 0; json < 2; json++) {
        log_open(LOG_INFO, json == 1);
        said(&line);
        assert_int_equal(count(written, '\n'), 1);
        assert_null(strstr(written, "\\\\"));
        assert_true(strlen(written) > (size_t)4 * LOG_FIELD);
        for (const char *at = written; (at = strstr(at, "\\u")) != NULL; at++)
            assert_memory_equal(at, "\\u0001", 6);
        assert_non_null(strstr(written, json == 1 ? "\\u0001\"}\n" : "\\u0001\"\n"));
    }
}

static void it_is_written_at_every_level(void **state)
{
    (void)state;
    log_open(LOG_ERROR, false);
    assert_non_null(strstr(said(&(struct log_audit){.action = "discard"}), "action=discard"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_stand_by_their_names),
        cmocka_unit_test(a_field_that_is_not_there_is_a_dash_and_a_dash_is_quoted),
        cmocka_unit_test(json_has_members_and_nulls),
        cmocka_unit_test(nothing_forges_a_field_or_a_line),
        cmocka_unit_test(fields_are_cut_where_an_escape_ends),
        cmocka_unit_test(it_is_written_at_every_level),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
