/*
 * The table as text, and what never appears in it.
 */
#include "config/config_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static void load(struct config *config, char *const *environ_, const char *dotenv)
{
    char *argv[] = {(char *)"x", NULL};
    int argc = 1;
    struct err err = {0};

    if (config_load(config, &argc, argv, environ_, dotenv, &err) != 0)
        fail_msg("%s", err.text);
}

static void is_shown_as(const char *url, const char *expected)
{
    struct buf out = {0};

    config_redacted_url(url, &out);
    buf_append_char(&out, '\0');
    assert_string_equal(out.data, expected);
    buf_free(&out);
}

static void passwords_in_urls_are_hidden(void **state)
{
    (void)state;
    is_shown_as("sqlite:./data/events.db", "sqlite:./data/events.db");
    is_shown_as("postgres://db/x", "postgres://db/x");
    is_shown_as("postgres://db:5432/x", "postgres://db:5432/x");
    is_shown_as("postgres://me@db:5432/x", "postgres://me@db:5432/x");
    is_shown_as("postgres://me:hush@db:5432/x", "postgres://me:***@db:5432/x");
    is_shown_as("postgres://me:@db/x", "postgres://me:***@db/x");
    is_shown_as("postgres://:hush@db/x", "postgres://:***@db/x");
    is_shown_as("postgres://me:hu:sh@db/x", "postgres://me:***@db/x");
    is_shown_as("postgres://me:hu@sh/?#@db/x", "postgres://me:***@db/x");
    is_shown_as("postgres://db/x?user=me&password=hu%20sh&sslmode=require",
                "postgres://db/x?user=me&password=***&sslmode=require");
    is_shown_as("postgres://db/x?Password=hush", "postgres://db/x?Password=***");
    is_shown_as("postgres://me:a@db/x?sslpassword=b&password=c#d",
                "postgres://me:***@db/x?sslpassword=***&password=***");
    is_shown_as("postgres://db/x?pass%77ord=hush&user=me",
                "postgres://db/x?pass%77ord=***&user=me");
    is_shown_as("postgres://db/x?ssl%70%41%73%73%77%6Frd=hush",
                "postgres://db/x?ssl%70%41%73%73%77%6Frd=***");
    is_shown_as("postgres://db/x?pass%7=a&pass%7", "postgres://db/x?pass%7=a&pass%7");
}

static void passwords_in_mistyped_urls_are_hidden(void **state)
{
    (void)state;
    is_shown_as("postgres:/me:hush@db/x", "postgres:***@db/x");
    is_shown_as("postgres//me:hush@db/x", "postgres//me:***@db/x");
    is_shown_as("postgres:me:hu@sh@db/x?password=hush", "postgres:***@db/x?password=***");
    is_shown_as("me:hush@db/x", "me:***@db/x");
    is_shown_as("db:5432/x", "db:5432/x");
    is_shown_as("sqlite:/home/a:b@c/events.db", "sqlite:/home/a:b@c/events.db");
    is_shown_as("host=::1 user=me@here password=a:b@c", "host=::1 user=me@here password=***");
}

static void passwords_in_keyword_strings_are_hidden(void **state)
{
    (void)state;
    is_shown_as("host=db password=hush user=me", "host=db password=*** user=me");
    is_shown_as("host=db password = hush user=me", "host=db password = *** user=me");
    is_shown_as("password='hu sh\\' still' user=me", "password=*** user=me");
    is_shown_as("password=hu\\ sh user=me", "password=*** user=me");
    is_shown_as("user=me password='hush", "user=me password=***");
    is_shown_as("user=me sslpassword=hush", "user=me sslpassword=***");
    is_shown_as("password", "password");
    is_shown_as("password=", "password=***");
    is_shown_as("", "");
}

static void an_address_is_shown_without_its_query(void **state)
{
    static const char *const cases[][2] = {
        {"https://id/jwks/", "https://id/jwks/"},
        {"https://id/jwks/?token=hush&a=b", "https://id/jwks/?***"},
        {"https://me:hush@id/jwks/?token=hush", "https://me:***@id/jwks/?***"},
        {"https://me:hu?sh@id/jwks/", "https://me:***@id/jwks/"},
        {"https://id/jwks/#hush", "https://id/jwks/?***"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};

        config_redacted_address(cases[i][0], &out);
        buf_append_char(&out, '\0');
        assert_string_equal(out.data, cases[i][1]);
        buf_free(&out);
    }
}

static bool holds(const struct buf *text, const char *words)
{
    return memmem(text->data, text->len, words, strlen(words)) != NULL;
}

static void every_option_is_in_every_print(void **state)
{
    char *none[] = {NULL};
    struct config config;
    struct buf help = {0}, markdown = {0}, shown = {0};
    int rows = 0;

    (void)state;
    load(&config, none, NULL);
    config_help(&help);
    config_markdown(&markdown);
    config_show(&config, &shown);
    for (; config_table[rows].name != NULL; rows++) {
        char flag[CONFIG_FLAG_SIZE], line[CONFIG_FLAG_SIZE + 8];

        config_flag(&config_table[rows], flag);
        snprintf(line, sizeof line, "  --%s ", flag);
        assert_true(holds(&help, line));
        snprintf(line, sizeof line, "`--%s`", flag);
        assert_true(holds(&markdown, line));
        snprintf(line, sizeof line, "\n%s=", config_table[rows].name);
        assert_true(holds(&shown, line));
        assert_true(holds(&help, config_table[rows].help));
        assert_true(holds(&markdown, config_table[rows].help));
    }
    assert_true(rows >= 29);
    assert_true(holds(&help, "(a size from 64MiB to 1PiB; default: 8GiB)"));
    assert_true(holds(&markdown, "| `WORKERS` | `--workers` | number of cores | "
                                 "an integer from 1 to 64 | "));
    buf_free(&help);
    buf_free(&markdown);
    buf_free(&shown);
    config_free(&config);
}

static void values_are_shown_with_their_source_and_no_password(void **state)
{
    char *environ_[] = {(char *)"DATABASE_URL=postgres://me:hush@db/x",
                        (char *)"QUEUE_MAX_BYTES=1536MiB", NULL};
    struct config config;
    struct buf shown = {0};

    (void)state;
    load(&config, environ_, NULL);
    config_show(&config, &shown);
    assert_true(holds(&shown, "DATABASE_URL=postgres://me:***@db/x"));
    assert_false(holds(&shown, "hush"));
    assert_true(holds(&shown, "\nQUEUE_MAX_BYTES=1536MiB                  # environment; disk"));
    assert_true(holds(&shown, "\nFORWARD_BATCH_AGE=200ms                  # default; a batch"));
    buf_free(&shown);
    config_free(&config);
}

static void what_is_shown_reads_back_as_the_same(void **state)
{
    char *environ_[] = {(char *)"DATA_DIR=/a b/'c' #\"\\$d",
                        (char *)"PRODUCTS=11=A,12=B",
                        (char *)"LOG_FORMAT=json",
                        (char *)"STORE_TIMEOUT=1500ms",
                        (char *)"DEDUP_IDS=0",
                        NULL};
    char *none[] = {NULL};
    char path[] = "/tmp/config-print-XXXXXX";
    int fd = mkstemp(path);
    struct config first, second;
    struct buf shown = {0};

    (void)state;
    assert_true(fd >= 0);
    load(&first, environ_, NULL);
    config_show(&first, &shown);
    assert_int_equal(write(fd, shown.data, shown.len), shown.len);
    close(fd);
    load(&second, none, path);
    unlink(path);
    for (int row = 0; config_table[row].name != NULL; row++) {
        assert_int_equal(second.sources[row], CONFIG_DOTENV);
        if (config_table[row].type == CONFIG_TYPE_STRING)
            assert_string_equal(*config_string(&config_table[row], &first),
                                *config_string(&config_table[row], &second));
        else
            assert_int_equal(*config_number(&config_table[row], &first),
                             *config_number(&config_table[row], &second));
    }
    buf_free(&shown);
    config_free(&first);
    config_free(&second);
}

static void flags_fit_their_room(void **state)
{
    (void)state;
    for (int row = 0; config_table[row].name != NULL; row++)
        assert_true(strlen(config_table[row].name) < CONFIG_FLAG_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passwords_in_urls_are_hidden),
        cmocka_unit_test(passwords_in_mistyped_urls_are_hidden),
        cmocka_unit_test(an_address_is_shown_without_its_query),
        cmocka_unit_test(passwords_in_keyword_strings_are_hidden),
        cmocka_unit_test(every_option_is_in_every_print),
        cmocka_unit_test(values_are_shown_with_their_source_and_no_password),
        cmocka_unit_test(what_is_shown_reads_back_as_the_same),
        cmocka_unit_test(flags_fit_their_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
