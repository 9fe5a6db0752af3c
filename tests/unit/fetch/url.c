/*
 * Which URLs may be asked with secrets.
 */
#include "fetch/fetch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void https_and_this_machine_may_be_asked(void **state)
{
    static const char *const urls[] = {
        "https://platform.example.org/introspect/",
        "HTTPS://platform.example.org",
        "https://10.0.0.1:8443/a?b=c",
        "http://localhost:8000/",
        "http://127.0.0.1/",
        "http://127.9.9.9:1/x",
        "http://[::1]:80/",
    };
    (void)state;

    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++)
        assert_int_equal(fetch_check_url(urls[i], NULL), 0);
}

static void others_in_the_clear_may_not(void **state)
{
    static const char *const urls[] = {
        "",
        "nonsense",
        "platform.example.org",
        "http://platform.example.org/",
        "http://127.0.0.1.example.org/",
        "http://localhost.example.org/",
        "http://example.org#@localhost/",
        "http://example.org\\@localhost/",
        "http://[::2]/",
        "http://0.0.0.0/",
        "http://10.0.0.1/",
        "ftp://localhost/",
        "file:///etc/passwd",
        "https://",
    };
    (void)state;

    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++)
        assert_int_equal(fetch_check_url(urls[i], NULL), ERR_INVALID);
}

static void a_secret_in_the_url_is_refused_and_not_repeated(void **state)
{
    struct err err;
    (void)state;

    assert_int_equal(fetch_check_url("https://me:hush@example.org/", &err), ERR_INVALID);
    assert_null(strstr(err.text, "hush"));
    assert_int_equal(fetch_check_url("https://me@example.org/", &err), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(https_and_this_machine_may_be_asked),
        cmocka_unit_test(others_in_the_clear_may_not),
        cmocka_unit_test(a_secret_in_the_url_is_refused_and_not_repeated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
