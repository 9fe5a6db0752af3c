/*
 * Pseudonyms and their key: what a pennkey becomes, and which key files are used.
 */
#include "users/users.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];
static char key[128];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/users-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(key, sizeof key, "%s/pseudonym.key", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(key);
    return rmdir(folder);
}

static void write_key(size_t len, mode_t mode)
{
    int fd = open(key, O_WRONLY | O_CREAT | O_TRUNC, mode);

    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, mode), 0);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(write(fd, &(char){(char)i}, 1), 1);
    close(fd);
}

static int open_users(bool pseudonymize, struct users **ret, struct err *err)
{
    return users_open(&(struct users_options){.data_dir = folder, .pseudonymize = pseudonymize},
                      ret, err);
}

static void a_pseudonym_is_the_keyed_hash_of_the_pennkey(void **state)
{
    char out[USERS_PSEUDONYM_SIZE];
    struct users *users;
    (void)state;

    write_key(32, 0600);
    assert_int_equal(open_users(true, &users, NULL), 0);
    assert_true(users_pseudonym(users, SLICE("jdoe"), out));
    assert_string_equal(out, "p_60918c23a7eeccc2e60d4b5287a71cc1");
    assert_true(users_pseudonym(users, (struct slice){0}, out));
    assert_string_equal(out, "p_d38b42096d80f45f826b44a9d5607de7");
    users_close(users);
}

static void a_key_is_made_once_and_for_its_owner_alone(void **state)
{
    char first[USERS_PSEUDONYM_SIZE];
    char second[USERS_PSEUDONYM_SIZE];
    struct users *users;
    struct stat about;
    (void)state;

    assert_int_equal(open_users(true, &users, NULL), 0);
    assert_true(users_pseudonym(users, SLICE("jdoe"), first));
    users_close(users);
    assert_int_equal(stat(key, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    assert_int_equal(about.st_size, 32);
    assert_int_equal(open_users(true, &users, NULL), 0);
    assert_true(users_pseudonym(users, SLICE("jdoe"), second));
    assert_string_equal(first, second);
    assert_true(users_pseudonym(users, SLICE("jdof"), second));
    assert_string_not_equal(first, second);
    users_close(users);
    unlink(key);
    assert_int_equal(open_users(true, &users, NULL), 0);
    assert_true(users_pseudonym(users, SLICE("jdoe"), second));
    assert_string_not_equal(first, second);
    users_close(users);
}

static void what_is_a_pseudonym_already_stays_as_it_is(void **state)
{
    char first[USERS_PSEUDONYM_SIZE], again[USERS_PSEUDONYM_SIZE];
    struct users *users;
    (void)state;

    assert_int_equal(open_users(true, &users, NULL), 0);
    assert_true(users_pseudonym(users, SLICE("jdoe"), first));
    assert_true(users_pseudonym(users, slice_of(first), again));
    assert_string_equal(first, again);
    assert_true(users_pseudonym(users, SLICE("p_0123456789abcdef0123456789abcdeF"), again));
    assert_string_not_equal(again, "p_0123456789abcdef0123456789abcdeF");
    assert_true(users_pseudonym(users, SLICE("p_0123456789abcdef0123456789abcdeg"), again));
    assert_string_not_equal(again, "p_0123456789abcdef0123456789abcdeg");
    assert_true(users_pseudonym(users, SLICE("p_0123456789abcdef0123456789abcde"), again));
    assert_int_equal(strlen(again), USERS_PSEUDONYM_SIZE - 1);
    users_close(users);
}

static void without_pseudonyms_no_key_is_made(void **state)
{
    char out[USERS_PSEUDONYM_SIZE] = "untouched";
    struct users *users;
    (void)state;

    assert_int_equal(open_users(false, &users, NULL), 0);
    assert_false(users_pseudonym(users, SLICE("jdoe"), out));
    assert_string_equal(out, "untouched");
    assert_int_equal(access(key, F_OK), -1);
    users_close(users);
}

static void a_key_that_others_may_read_or_that_is_none_is_refused(void **state)
{
    static const struct {
        size_t len;
        mode_t mode;
        const char *words;
    } cases[] = {
        {32, 0640, "may be used by others"},    {32, 0604, "may be used by others"},
        {31, 0600, "is not a key of 32 bytes"}, {33, 0600, "is not a key of 32 bytes"},
        {0, 0600, "is not a key of 32 bytes"},
    };
    struct users *users = NULL;
    struct err err;
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_key(cases[i].len, cases[i].mode);
        assert_int_equal(open_users(true, &users, &err), ERR_INVALID);
        assert_non_null(strstr(err.text, cases[i].words));
        assert_null(users);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_pseudonym_is_the_keyed_hash_of_the_pennkey, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_key_is_made_once_and_for_its_owner_alone, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(what_is_a_pseudonym_already_stays_as_it_is, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(without_pseudonyms_no_key_is_made, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_key_that_others_may_read_or_that_is_none_is_refused,
                                        make_folder, remove_folder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
