/*
 * What an answer or a failure changes about a session: what is known of it, and for how long.
 */
#include "users/users_priv.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000)

static const unsigned char session[USERS_DIGEST_SIZE] = {1};

static struct users open_users(void)
{
    return (struct users){
        .cache = users_cache_open(4), .retry_min_ms = 1000, .retry_max_ms = 60000};
}

/* Is anything known of the session so many seconds from now? */
static bool is_known(const struct users *users, int64_t seconds)
{
    return users_cache_find(users->cache, session, clock_wall_us() + seconds * SECOND) != NULL;
}

/* Known until then, give or take what the test takes. */
static void assert_known_for(const struct users *users, int64_t seconds)
{
    assert_true(is_known(users, seconds - 30));
    assert_false(is_known(users, seconds + 1));
}

static void an_answer_is_known_until_the_token_ends_within_bounds(void **state)
{
    const int64_t now_us = clock_wall_us();
    const struct {
        int64_t expires_us, seconds;
    } cases[] = {
        {now_us + 600 * SECOND, 600},
        {now_us + 7200 * SECOND, 3600},
        {INT64_MAX, 3600},
        {now_us + 1 * SECOND, 60},
        {0, 60},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct users users = open_users();
        struct users_reply reply = {
            .active = true, .name = "jdoe", .expires_us = cases[i].expires_us};

        users_note_reply(&users, session, &reply);
        assert_known_for(&users, cases[i].seconds);
        users_cache_close(users.cache);
    }
}

static void a_refusal_is_known_for_five_minutes(void **state)
{
    struct users users = open_users();
    struct users_reply reply = {.expires_us = INT64_MAX};
    (void)state;

    users_note_reply(&users, session, &reply);
    assert_known_for(&users, 300);
    assert_true(users.last_answer_us > 0); /* it is an answer, too */
    users_cache_close(users.cache);
}

static void failures_of_a_session_are_counted_from_the_first_on(void **state)
{
    struct err err = {.text = "no answer"};
    struct users users = open_users();
    const struct users_entry *entry;
    int64_t first_us = 0;
    (void)state;

    for (unsigned i = 1; i <= 3; i++) {
        users_note_failure(&users, session, i > 1, &err);
        entry = users_cache_find(users.cache, session, clock_wall_us());
        assert_int_equal(entry->failures, i);
        assert_int_equal(entry->faults, i - 1);
        first_us = i == 1 ? entry->first_failed_us : first_us;
        assert_true(entry->first_failed_us == first_us);
        while (clock_wall_us() <= first_us) /* the next one is later */
            continue;
    }
    assert_known_for(&users, 300);
    users_cache_close(users.cache);
}

static void a_failure_takes_no_answer_back(void **state)
{
    struct err err = {.text = "no answer"};
    struct users users = open_users();
    struct users_reply reply = {.active = true, .name = "jdoe", .expires_us = INT64_MAX};
    const struct users_entry *entry;
    (void)state;

    users_note_reply(&users, session, &reply);
    users_note_failure(&users, session, true, &err);
    entry = users_cache_find(users.cache, session, clock_wall_us());
    assert_int_equal(entry->state, STATE_RESOLVED);
    assert_int_equal(entry->failures, 0);
    assert_known_for(&users, 3600);
    users_cache_close(users.cache);
}

static void pauses_grow_up_to_the_longest(void **state)
{
    struct err err = {.text = "no answer"};
    struct users users = open_users();
    (void)state;

    for (int64_t longest = 1000, i = 0; i < 60; i++) {
        int64_t before_ms = clock_mono_us() / 1000;

        users_note_failure(&users, session, false, &err);
        assert_true(users.ask_at_ms >= before_ms + longest / 2);
        assert_true(users.ask_at_ms <= clock_mono_us() / 1000 + longest);
        longest = longest < 30000 ? longest * 2 : 60000;
        while (clock_mono_us() / 1000 == before_ms) /* how much less hangs on the clock */
            continue;
    }
    users_cache_close(users.cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_known_until_the_token_ends_within_bounds),
        cmocka_unit_test(a_refusal_is_known_for_five_minutes),
        cmocka_unit_test(failures_of_a_session_are_counted_from_the_first_on),
        cmocka_unit_test(a_failure_takes_no_answer_back),
        cmocka_unit_test(pauses_grow_up_to_the_longest),
    };

    return cmocka_run_group_tests_name("users/find", tests, NULL, NULL);
}
