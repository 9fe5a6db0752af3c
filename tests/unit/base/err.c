/*
 * Errors and their words.
 */
#include "base/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void every_code_has_its_name(void **state)
{
    (void)state;

    assert_string_equal(err_name(ERR_OK), "ok");
    assert_string_equal(err_name(ERR_INVALID), "invalid");
    assert_string_equal(err_name(ERR_TOO_LARGE), "too_large");
    for (int a = 0; a >= ERR_TOO_LARGE; a--) {
        assert_string_not_equal(err_name(a), "unknown");
        for (int b = 0; b > a; b--)
            assert_string_not_equal(err_name(a), err_name(b));
    }
    assert_string_equal(err_name(1), "unknown");
    assert_string_equal(err_name(-1000), "unknown");
}

static void words_are_set_and_wrapped(void **state)
{
    struct err err = {0};
    (void)state;

    assert_int_equal(err_set(&err, ERR_FULL, "%d bytes", 5), ERR_FULL);
    assert_int_equal(err.code, ERR_FULL);
    assert_string_equal(err.text, "5 bytes");
    assert_int_equal(err_wrap(&err, "segment %d", 12), ERR_FULL);
    assert_string_equal(err.text, "segment 12: 5 bytes");
    assert_int_equal(err_wrap(&err, "open"), ERR_FULL);
    assert_string_equal(err.text, "open: segment 12: 5 bytes");
}

static void an_errno_becomes_a_code_and_words(void **state)
{
    static const struct {
        int number, code;
    } cases[] = {
        {ENOSPC, ERR_FULL},   {EDQUOT, ERR_FULL}, {EFBIG, ERR_FULL}, {ENOENT, ERR_NOT_FOUND},
        {EEXIST, ERR_EXISTS}, {EIO, ERR_IO},      {EACCES, ERR_IO},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err = {0};

        assert_int_equal(err_system(&err, cases[i].number, "open %s", "a"), cases[i].code);
        assert_int_equal(err.code, cases[i].code);
        assert_memory_equal(err.text, "open a: ", 8);
        assert_string_equal(err.text + 8, strerror(cases[i].number));
        assert_int_equal(err_system(NULL, cases[i].number, "open"), cases[i].code);
    }
}

static void nobody_has_to_listen(void **state)
{
    (void)state;

    assert_int_equal(err_set(NULL, ERR_BUSY, "words"), ERR_BUSY);
    assert_true(err_wrap(NULL, "words") < 0);
}

static void long_words_are_cut_not_overrun(void **state)
{
    struct {
        struct err err;
        char guard[16];
    } held = {0};
    char words[2000];
    (void)state;

    memset(words, 'w', sizeof words - 1);
    words[sizeof words - 1] = '\0';
    memset(held.guard, 'g', sizeof held.guard);
    err_set(&held.err, ERR_IO, "%s", words);
    assert_int_equal(strlen(held.err.text), sizeof held.err.text - 1);
    err_wrap(&held.err, "%s", words);
    assert_int_equal(strlen(held.err.text), sizeof held.err.text - 1);
    err_wrap(&held.err, "short");
    assert_memory_equal(held.err.text, "short: ww", 9);
    assert_int_equal(strlen(held.err.text), sizeof held.err.text - 1);
    err_system(&held.err, EIO, "%s", words);
    assert_int_equal(strlen(held.err.text), sizeof held.err.text - 1);
    for (size_t i = 0; i < sizeof held.guard; i++)
        assert_int_equal(held.guard[i], 'g');
}

static void words_are_utf8_whatever_is_quoted(void **state)
{
    struct err err = {0};
    char long_words[sizeof err.text + 8];
    (void)state;

    err_set(&err, ERR_IO, "caf\xe9 \xc3\xa9");
    assert_string_equal(err.text, "caf? \xc3\xa9");
    err_wrap(&err, "open \xff");
    assert_string_equal(err.text, "open ?: caf? \xc3\xa9");
    err_system(&err, EIO, "read \xc3");
    assert_memory_equal(err.text, "read ?: ", 8);
    memset(long_words, 'w', sizeof long_words);
    memcpy(long_words + sizeof err.text - 2, "\xc3\xa9", 3); /* of which one byte has room */
    err_set(&err, ERR_IO, "%s", long_words);
    assert_string_equal(err.text + sizeof err.text - 3, "w?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_name),
        cmocka_unit_test(words_are_set_and_wrapped),
        cmocka_unit_test(an_errno_becomes_a_code_and_words),
        cmocka_unit_test(nobody_has_to_listen),
        cmocka_unit_test(long_words_are_cut_not_overrun),
        cmocka_unit_test(words_are_utf8_whatever_is_quoted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
