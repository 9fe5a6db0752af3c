/*
 * Origins: what is one, how it is written, and which of them a list allows.
 */
#include "auth/auth_apikeys_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void is_written(const char *text, const char *normal)
{
    char out[AUTH_MAX_ORIGIN];

    if (!auth_origin_normal(slice_of(text), out))
        fail_msg("%s is not taken", text);
    assert_string_equal(out, normal);
}

static void an_origin_is_written_as_browsers_do(void **state)
{
    (void)state;
    is_written("https://pennclubs.com", "https://pennclubs.com");
    is_written("HTTPS://PennClubs.COM", "https://pennclubs.com");
    is_written("https://pennclubs.com:443", "https://pennclubs.com");
    is_written("http://pennclubs.com:80", "http://pennclubs.com");
    is_written("http://pennclubs.com:443", "http://pennclubs.com:443");
    is_written("http://localhost:3000", "http://localhost:3000");
    is_written("http://127.0.0.1:65535", "http://127.0.0.1:65535");
    is_written("https://[2001:DB8::1]:8443", "https://[2001:db8::1]:8443");
    is_written("capacitor://localhost", "capacitor://localhost");
    is_written("chrome-extension://abcdef", "chrome-extension://abcdef");
}

static void anything_else_is_no_origin(void **state)
{
    static const char *const bad[] = {
        "",
        "null",
        "*",
        "pennclubs.com",
        "https://",
        "https:/pennclubs.com",
        "://pennclubs.com",
        "1http://a",
        "https://pennclubs.com/",
        "https://pennclubs.com/path",
        "https://pennclubs.com?x",
        "https://user@pennclubs.com",
        "https://*.pennclubs.com",
        "https://pennclubs.com:",
        "https://pennclubs.com:0",
        "https://pennclubs.com:080",
        "https://pennclubs.com:65536",
        "https://pennclubs.com:80x",
        "https://penn clubs.com",
        "https://[::1",
        "https://[]",
        "https://a\r\nb",
        "file://",
        "https://p\xc3\xa9nn.com",
    };
    char out[AUTH_MAX_ORIGIN];
    char longest[AUTH_MAX_ORIGIN + 1];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (auth_origin_normal(slice_of(bad[i]), out))
            fail_msg("\"%s\" is taken", bad[i]);
    }
    assert_false(auth_origin_normal((struct slice){"https://a\0b", 11}, out));
    memset(longest, 'a', sizeof longest);
    memcpy(longest, "https://", 8);
    assert_false(auth_origin_normal((struct slice){longest, AUTH_MAX_ORIGIN}, out));
    assert_true(auth_origin_normal((struct slice){longest, AUTH_MAX_ORIGIN - 1}, out));
}

static struct auth_origins *origins_of(const char *text)
{
    struct auth_origins *origins;
    struct err err = {0};

    if (auth_origins_parse(text, &origins, &err) != 0)
        fail_msg("%s: %s", text, err.text);
    return origins;
}

static void a_list_allows_what_it_names(void **state)
{
    struct auth_origins *origins = origins_of(" https://A.example , http://b.example:3000");

    (void)state;
    assert_false(auth_origins_any(origins));
    assert_true(auth_origins_allow(origins, SLICE("https://a.example")));
    assert_true(auth_origins_allow(origins, SLICE("http://b.example:3000")));
    assert_false(auth_origins_allow(origins, SLICE("http://a.example")));
    assert_false(auth_origins_allow(origins, SLICE("https://a.example:8443")));
    assert_false(auth_origins_allow(origins, SLICE("https://a.example.evil.example")));
    assert_false(auth_origins_allow(origins, SLICE("https://a.exampl")));
    assert_false(auth_origins_allow(origins, SLICE("https://a.example,http://b.example:3000")));
    assert_false(auth_origins_allow(origins, SLICE("null")));
    assert_false(auth_origins_allow(origins, SLICE("")));
    assert_false(auth_origins_allow(origins, (struct slice){NULL, 0}));
    auth_origins_free(origins);
}

static void an_empty_list_allows_nothing(void **state)
{
    struct auth_origins *origins = origins_of("");

    (void)state;
    assert_false(auth_origins_allow(origins, SLICE("https://a.example")));
    assert_false(auth_origins_allow(origins, SLICE("")));
    auth_origins_free(origins);
}

static void a_star_allows_all_but_null(void **state)
{
    struct auth_origins *origins = origins_of(" * ");

    (void)state;
    assert_true(auth_origins_any(origins));
    assert_true(auth_origins_allow(origins, SLICE("https://a.example")));
    assert_false(auth_origins_allow(origins, SLICE("null")));
    assert_false(auth_origins_allow(origins, (struct slice){NULL, 0}));
    auth_origins_free(origins);
}

static void a_list_with_anything_else_is_refused(void **state)
{
    static const char *const bad[] = {"null",      "https://a.example,",
                                      ",",         "https://a.example,*",
                                      "a.example", "https://a.example,,https://b.example"};
    struct auth_origins *origins;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (auth_origins_parse(bad[i], &origins, NULL) != ERR_INVALID)
            fail_msg("\"%s\" is taken", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_origin_is_written_as_browsers_do),
        cmocka_unit_test(anything_else_is_no_origin),
        cmocka_unit_test(a_list_allows_what_it_names),
        cmocka_unit_test(an_empty_list_allows_nothing),
        cmocka_unit_test(a_star_allows_all_but_null),
        cmocka_unit_test(a_list_with_anything_else_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
