/*
 * The identity provider's key set: when it is fetched, which sets are the same, and the file that
 * keeps it, on disks that fail.
 */
#include "forge.h"

#include "auth/auth_jwks_priv.h"
#include "support/fault_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define URL "https://provider.example/jwks/"

static EVP_PKEY *rsa, *ec;

/* -- when */

static int64_t wait_after(unsigned failures, bool wanted)
{
    const struct jwks_past past = {.tried = true, .ended_us = 1000 * SECOND, .failures = failures};

    return jwks_due(&past, 5 * MINUTE, 10 * SECOND, wanted) - past.ended_us;
}

static void the_first_fetch_is_due_at_once(void **state)
{
    const struct jwks_past past = {0};

    (void)state;
    assert_true(jwks_due(&past, 5 * MINUTE, 10 * SECOND, false) < 0);
    assert_true(jwks_due(&past, 5 * MINUTE, 10 * SECOND, true) < 0);
}

static void a_good_set_is_fetched_again_by_age(void **state)
{
    (void)state;
    assert_int_equal(wait_after(0, false), 5 * MINUTE);
}

static void a_token_asks_for_newer_keys_but_not_more_often_than_the_interval(void **state)
{
    const struct jwks_past past = {.tried = true, .ended_us = SECOND};

    (void)state;
    assert_int_equal(wait_after(0, true), 10 * SECOND);
    assert_int_equal(wait_after(20, true), 10 * SECOND);
    /* An interval that is longer than the age changes nothing. */
    assert_int_equal(jwks_due(&past, 5 * SECOND, 10 * SECOND, true), 6 * SECOND);
}

static void failures_are_tried_again_with_a_pause_that_doubles(void **state)
{
    static const int64_t seconds[] = {1, 2, 4, 8, 16, 32, 60, 60};
    const struct jwks_past past = {.tried = true, .failures = 20};

    (void)state;
    for (unsigned i = 0; i < sizeof seconds / sizeof *seconds; i++)
        assert_int_equal(wait_after(i + 1, false), seconds[i] * SECOND);
    assert_int_equal(wait_after(UINT32_MAX, false), 60 * SECOND);
    assert_int_equal(wait_after(1, true), SECOND);
    assert_int_equal(jwks_due(&past, 3 * SECOND, SECOND / 2, false), 3 * SECOND);
}

/* Starts fetching from where nobody listens, and gives how that went the first time. */
static struct auth_jwks *fetch_once(struct auth *auth, struct auth_status *ret)
{
    static const struct auth_jwks_options options = {
        .url = "http://127.0.0.1:1/",
        .data_dir = "/nonexistent",
        .refresh_ms = 3600000,
        .min_interval_ms = 3600000,
        .timeout_ms = 60000,
    };
    struct auth_jwks *jwks;

    assert_int_equal(auth_jwks_start(auth, &options, &jwks, NULL), 0);
    do
        auth_status(auth, ret);
    while (ret->fetches == 0 && nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL) == 0);
    return jwks;
}

static void a_fetch_is_for_all_who_want_newer_keys(void **state)
{
    struct auth_status status;
    struct auth_jwks *jwks;
    struct auth *auth;

    (void)state;
    assert_int_equal(auth_open("urn:pennlabs:*", &auth, NULL), 0);
    atomic_store(&auth->wanted, true);
    jwks = fetch_once(auth, &status);
    assert_false(atomic_load(&auth->wanted));
    auth_jwks_stop(jwks);
    auth_close(auth);
}

static void a_failed_fetch_confirms_no_keys(void **state)
{
    struct auth_status status;
    struct auth_jwks *jwks;
    struct auth *auth;

    (void)state;
    assert_int_equal(auth_open("urn:pennlabs:*", &auth, NULL), 0);
    jwks = fetch_once(auth, &status);
    assert_int_equal(status.failures, 1);
    assert_int_equal(status.age_us, -1);
    auth_jwks_stop(jwks);
    auth_close(auth);
}

/* -- which sets are the same */

static struct auth_keys *parse(const struct buf *text)
{
    struct auth_keys *keys;

    assert_int_equal(auth_keys_parse(buf_slice(text), false, &keys, NULL), 0);
    return keys;
}

/* A set of one or two keys with these members beside their own; second == NULL: of one. */
static struct buf set_text(EVP_PKEY *first, const char *more, EVP_PKEY *second)
{
    struct buf text = {0};

    buf_append_text(&text, "{\"keys\":[");
    forge_jwk(first, more, &text);
    if (second != NULL) {
        buf_append_char(&text, ',');
        forge_jwk(second, "", &text);
    }
    buf_append_text(&text, "]}");
    return text;
}

static struct auth_keys *set_of(EVP_PKEY *first, const char *more, EVP_PKEY *second)
{
    struct buf text = set_text(first, more, second);
    struct auth_keys *keys = parse(&text);

    buf_free(&text);
    return keys;
}

static void assert_missing(struct auth_keys *one, struct auth_keys *other, size_t in_other,
                           size_t in_one)
{
    assert_int_equal(auth_keys_missing(one, other), in_other);
    assert_int_equal(auth_keys_missing(other, one), in_one);
    auth_keys_free(one);
    auth_keys_free(other);
}

static void sets_of_the_same_keys_are_the_same(void **state)
{
    (void)state;
    assert_missing(set_of(rsa, "", ec), set_of(rsa, "", ec), 0, 0);
    assert_missing(set_of(rsa, "", ec), set_of(ec, "", rsa), 0, 0);
    assert_missing(set_of(rsa, "", NULL), set_of(rsa, "", rsa), 0, 0);
    assert_missing(set_of(rsa, ",\"use\":\"sig\"", NULL), set_of(rsa, ",\"x5t\":\"a\"", NULL), 0,
                   0);
}

static void another_key_and_another_kid_make_another_set(void **state)
{
    (void)state;
    assert_missing(set_of(rsa, "", ec), set_of(rsa, "", NULL), 1, 0);
    assert_missing(set_of(rsa, "", NULL), set_of(ec, "", NULL), 1, 1);
    assert_missing(set_of(rsa, ",\"kid\":\"a\"", NULL), set_of(rsa, ",\"kid\":\"b\"", NULL), 1, 1);
    assert_missing(set_of(rsa, ",\"kid\":\"\"", NULL), set_of(rsa, "", NULL), 1, 1);
}

/* -- the file */

static int load(struct disk *disk, const char *url, size_t *ret_count, int64_t *ret_fetched_us)
{
    struct auth_keys *keys;
    int code = jwks_load(disk, "data", url, &keys, ret_fetched_us, NULL);

    if (code == 0) {
        *ret_count = keys->count;
        auth_keys_free(keys);
    }
    return code;
}

static int save(struct disk *disk, const struct buf *set, int64_t fetched_us)
{
    struct err err = {0};
    int code = jwks_save(disk, "data", URL, buf_slice(set), fetched_us, &err);

    assert_true((code == 0) == (err.text[0] == '\0'));
    return code;
}

static void a_set_that_was_kept_comes_back_with_its_time(void **state)
{
    struct fault_disk *faults = fault_disk_new(1);
    struct disk *disk = fault_disk_of(faults);
    struct buf one = set_text(rsa, ",\"kid\":\"\\u00e9\"", NULL), two = set_text(rsa, "", ec);
    int64_t fetched_us = 0;
    size_t count = 0;

    (void)state;
    assert_int_equal(disk->make_dir(disk, "data"), 0);
    assert_int_equal(load(disk, URL, &count, &fetched_us), ERR_NOT_FOUND);
    assert_int_equal(save(disk, &one, NOW_US), 0);
    assert_int_equal(load(disk, URL, &count, &fetched_us), 0);
    assert_int_equal(fetched_us, NOW_US);
    assert_int_equal(count, 1);
    assert_int_equal(save(disk, &two, NOW_US + 1), 0);
    assert_int_equal(load(disk, URL, &count, &fetched_us), 0);
    assert_int_equal(fetched_us, NOW_US + 1);
    assert_int_equal(count, 2);
    assert_int_equal(load(disk, URL "?", &count, &fetched_us), ERR_CONFLICT);
    buf_free(&one);
    buf_free(&two);
    fault_disk_free(faults);
}

static void a_power_cut_leaves_the_one_set_or_the_other(void **state)
{
    struct buf one = set_text(rsa, "", NULL), two = set_text(rsa, "", ec);
    bool finished = false;

    (void)state;
    for (unsigned cut = 1; !finished; cut++) {
        struct fault_disk *faults = fault_disk_new(cut);
        struct disk *disk = fault_disk_of(faults);
        int64_t fetched_us;
        size_t count = 0;

        assert_int_equal(disk->make_dir(disk, "data"), 0);
        assert_int_equal(disk->sync_dir(disk, "."), 0);
        assert_int_equal(save(disk, &one, NOW_US), 0);
        fault_disk_crash_at(faults, cut);
        finished = save(disk, &two, NOW_US) == 0;
        fault_disk_restart(faults, true);
        assert_int_equal(load(disk, URL, &count, &fetched_us), 0);
        assert_true(finished ? count == 2 : count == 1 || count == 2);
        fault_disk_free(faults);
    }
    buf_free(&one);
    buf_free(&two);
}

static void a_disk_that_fails_leaves_the_set_that_was_kept(void **state)
{
    static const enum fault_op ops[] = {FAULT_OPEN, FAULT_WRITE, FAULT_SYNC, FAULT_RENAME};
    struct fault_disk *faults = fault_disk_new(1);
    struct disk *disk = fault_disk_of(faults);
    struct buf one = set_text(rsa, "", NULL), two = set_text(rsa, "", ec);
    int64_t fetched_us;
    size_t count = 0;

    (void)state;
    assert_int_equal(disk->make_dir(disk, "data"), 0);
    assert_int_equal(save(disk, &one, NOW_US), 0);
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        fault_disk_fail(faults, ops[i], NULL, 0, 1, ENOSPC);
        assert_int_equal(save(disk, &two, NOW_US), ERR_FULL);
        assert_int_equal(load(disk, URL, &count, &fetched_us), 0);
        assert_int_equal(count, 1);
    }
    assert_int_equal(save(disk, &two, NOW_US), 0);
    assert_int_equal(load(disk, URL, &count, &fetched_us), 0);
    assert_int_equal(count, 2);
    buf_free(&one);
    buf_free(&two);
    fault_disk_free(faults);
}

static void a_file_that_is_no_set_is_corrupt(void **state)
{
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "{\"url\":\"" URL "\",\"keys\":[]}",
        "{\"url\":\"" URL "\",\"fetched\":7,\"keys\":[]}",
        "{\"url\":\"" URL "\",\"fetched\":\"2026-09-21T14:13:20Z\",\"keys\":[]}",
        "{\"url\":\"" URL "\",\"fetched\":\"2026-09-21T14:13:20Z\"}",
    };
    struct fault_disk *faults = fault_disk_new(1);
    struct disk *disk = fault_disk_of(faults);
    int64_t fetched_us;
    size_t count;

    (void)state;
    assert_int_equal(disk->make_dir(disk, "data"), 0);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct iovec bytes = {(char *)texts[i], strlen(texts[i])};
        int fd = disk->open(disk, "data/jwks.json", O_WRONLY | O_CREAT | O_TRUNC);

        assert_true(fd >= 0);
        assert_int_equal(disk->write(disk, fd, &bytes, 1, 0), 0);
        assert_int_equal(disk->close(disk, fd), 0);
        assert_int_equal(load(disk, URL, &count, &fetched_us), ERR_CORRUPT);
    }
    fault_disk_free(faults);
}

static int set_up(void **state)
{
    (void)state;
    rsa = forge_rsa(2048);
    ec = forge_ec("P-256");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ec);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_fetch_is_due_at_once),
        cmocka_unit_test(a_good_set_is_fetched_again_by_age),
        cmocka_unit_test(a_token_asks_for_newer_keys_but_not_more_often_than_the_interval),
        cmocka_unit_test(failures_are_tried_again_with_a_pause_that_doubles),
        cmocka_unit_test(a_fetch_is_for_all_who_want_newer_keys),
        cmocka_unit_test(a_failed_fetch_confirms_no_keys),
        cmocka_unit_test(sets_of_the_same_keys_are_the_same),
        cmocka_unit_test(another_key_and_another_kid_make_another_set),
        cmocka_unit_test(a_set_that_was_kept_comes_back_with_its_time),
        cmocka_unit_test(a_power_cut_leaves_the_one_set_or_the_other),
        cmocka_unit_test(a_disk_that_fails_leaves_the_set_that_was_kept),
        cmocka_unit_test(a_file_that_is_no_set_is_corrupt),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
