/* Parameters of a query. */
#include "http/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void a_parameter_is_found_and_decoded(void **state)
{
    static const struct {
        const char *query;
        const char *value;
    } cases[] = {
        {"a=1", "1"},      {"b=2&a=1", "1"}, {"a=1&a=2", "1"},       {"a", ""},
        {"a=", ""},        {"a=&b=1", ""},   {"a=x+y%20z", "x y z"}, {"a=%C3%A9", "\xc3\xa9"},
        {"ab=1&a=2", "2"}, {"&&a=1", "1"},   {"a=b=c", "b=c"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[16];
        bool bad;

        assert_true(http_query(slice_of(cases[i].query), "a", out, sizeof out, &bad));
        assert_false(bad);
        assert_string_equal(out, cases[i].value);
    }
}

static void an_absent_parameter_is_no_bad_one(void **state)
{
    static const char *const queries[] = {"", "b=1", "aa=1", "A=1", "=1", "b=a"};

    (void)state;
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        char out[4];
        bool bad = true;

        assert_false(http_query(slice_of(queries[i]), "a", out, sizeof out, &bad));
        assert_false(bad);
    }
    assert_false(http_query((struct slice){NULL, 0}, "a", (char[4]){0}, 4, &(bool){true}));
}

static void a_malformed_or_long_value_is_bad_and_changes_nothing(void **state)
{
    static const char *const queries[] = {"a=%", "a=%4", "a=%zz", "a=x%00", "a=1234"};

    (void)state;
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        char out[4] = "old";
        bool bad = false;

        assert_false(http_query(slice_of(queries[i]), "a", out, sizeof out, &bad));
        assert_true(bad);
        assert_string_equal(out, "old");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_parameter_is_found_and_decoded),
        cmocka_unit_test(an_absent_parameter_is_no_bad_one),
        cmocka_unit_test(a_malformed_or_long_value_is_bad_and_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
