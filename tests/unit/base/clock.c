/*
 * Instants as text, and back.
 */
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void instants_are_written_as_rfc_3339(void **state)
{
    static const struct {
        int64_t us;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000000Z"},
        {1, "1970-01-01T00:00:00.000001Z"},
        {-1, "1969-12-31T23:59:59.999999Z"},
        {-INT64_C(86400000000), "1969-12-31T00:00:00.000000Z"},
        {INT64_C(1790000000250000), "2026-09-21T14:13:20.250000Z"},
        {INT64_C(951782400000000), "2000-02-29T00:00:00.000000Z"},
        {INT64_C(4107542400000000), "2100-03-01T00:00:00.000000Z"},
        {CLOCK_MAX_US, "2100-01-01T00:00:00.000000Z"},
        {INT64_C(253402300799999999), "9999-12-31T23:59:59.999999Z"},
        {INT64_C(-62167219200000000), "0000-01-01T00:00:00.000000Z"},
    };
    char text[CLOCK_TEXT_SIZE];
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        clock_format(text, cases[i].us);
        assert_string_equal(text, cases[i].text);
    }
}

static void what_is_written_reads_back(void **state)
{
    char text[CLOCK_TEXT_SIZE];
    int64_t us;
    (void)state;

    /* a step of 11 days and some, so that all months, hours and leap years are met */
    for (int64_t at = INT64_C(-62167219200000000); at < INT64_C(253402300800000000);
         at += INT64_C(987654321987)) {
        clock_format(text, at);
        assert_true(clock_parse(slice_of(text), &us));
        assert_true(us == at);
    }
}

static void every_form_of_rfc_3339_is_read(void **state)
{
    static const struct {
        const char *text;
        int64_t us;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01t00:00:00z", 0},
        {"1970-01-01 00:00:00Z", 0},
        {"1970-01-01T00:00:00.5Z", 500000},
        {"1970-01-01T00:00:00.1234567890123Z", 123456},
        {"1970-01-01T00:00:00.0000009Z", 0},
        {"1970-01-01T00:00:00+00:00", 0},
        {"1970-01-01T00:00:00-00:00", 0},
        {"1970-01-01T01:30:00+01:30", 0},
        {"1969-12-31T20:00:00-04:00", 0},
        {"1969-12-31T00:01:00-23:59", 0},
        {"2016-12-31T23:59:60Z", INT64_C(1483228800000000)},
        {"2000-02-29T00:00:00Z", INT64_C(951782400000000)},
        {"1969-12-31T23:59:59.999999Z", -1},
    };
    int64_t us;
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!clock_parse(slice_of(cases[i].text), &us) || us != cases[i].us)
            fail_msg("%s", cases[i].text);
    }
}

static void other_text_is_no_instant(void **state)
{
    static const char *const texts[] = {
        "",
        "1970-01-01",
        "1970-01-01T00:00Z",
        "1970-01-01T00:00:00",
        "1970-01-01T00:00:00.Z",
        "1970-01-01T00:00:00,5Z",
        "1970-01-01T00:00:00Zx",
        "1970-01-01T00:00:00ZZ",
        " 1970-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z ",
        "1970-1-01T00:00:00Z",
        "70-01-01T00:00:00Z",
        "+1970-01-01T00:00:00Z",
        "1970/01/01T00:00:00Z",
        "1970-01-01x00:00:00Z",
        "1970-00-01T00:00:00Z",
        "1970-13-01T00:00:00Z",
        "1970-01-00T00:00:00Z",
        "1970-01-32T00:00:00Z",
        "1970-04-31T00:00:00Z",
        "1970-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "1970-01-01T24:00:00Z",
        "1970-01-01T00:60:00Z",
        "1970-01-01T00:00:61Z",
        "1970-01-01T00:00:00+24:00",
        "1970-01-01T00:00:00+01:60",
        "1970-01-01T00:00:00+0100",
        "1970-01-01T00:00:00+01",
        "1970-01-01T00:00:00-1:00",
        "1970-01-01T00:00:0aZ",
    };
    int64_t us = 77;
    (void)state;

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (clock_parse(slice_of(texts[i]), &us))
            fail_msg("%s", texts[i]);
    }
    assert_false(clock_parse((struct slice){"1970-01-01\0"
                                            "00:00:00Z",
                                            20},
                             &us));
    assert_false(clock_parse((struct slice){"1970-01-01T00:00:00\0", 20}, &us));
    assert_false(clock_parse((struct slice){NULL, 0}, &us));
    assert_true(us == 77);
}

static void the_clocks_run(void **state)
{
    int64_t wall = clock_wall_us();
    int64_t mono = clock_mono_us();
    (void)state;

    assert_true(wall > INT64_C(1700000000000000));
    assert_true(clock_mono_us() >= mono);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(instants_are_written_as_rfc_3339),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(every_form_of_rfc_3339_is_read),
        cmocka_unit_test(other_text_is_no_instant),
        cmocka_unit_test(the_clocks_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
