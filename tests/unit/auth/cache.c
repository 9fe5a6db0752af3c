/*
 * The cache of tokens: when it answers, what it forgets, and that a change of keys from
 * another thread is seen at the next check.
 */
#include "forge.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000)

static EVP_PKEY *first, *second;

struct bench {
    struct auth *auth;
    struct auth_cache *cache;
};

static struct auth_keys *set_of(EVP_PKEY *key)
{
    struct buf set = {0};
    struct auth_keys *keys;

    buf_append_text(&set, "{\"keys\":[");
    forge_jwk(key, "", &set);
    buf_append_text(&set, "]}");
    assert_int_equal(auth_keys_parse(buf_slice(&set), false, &keys, NULL), 0);
    buf_free(&set);
    return keys;
}

static struct bench open_bench(size_t entries)
{
    struct bench bench;

    assert_int_equal(auth_open("urn:pennlabs:*", &bench.auth, NULL), 0);
    auth_use_keys(bench.auth, set_of(first));
    bench.cache = auth_cache_open(bench.auth, entries);
    return bench;
}

static void close_bench(struct bench *bench)
{
    auth_cache_close(bench->cache);
    auth_close(bench->auth);
}

/* "Bearer " and a token of the EC key for "urn:pennlabs:<number>". */
static struct buf make_token(EVP_PKEY *key, int number, const char *dates)
{
    struct buf value = {0};
    char claims[256];

    snprintf(claims, sizeof claims, "{\"use\":\"access\",\"sub\":\"urn:pennlabs:%d\",%s}", number,
             dates);
    buf_append_text(&value, "Bearer ");
    forge_token(key, "{\"alg\":\"ES256\"}", claims, &value);
    return value;
}

static int check(struct bench *bench, const struct buf *value, int64_t now_us)
{
    const struct auth_claims *claims;

    return auth_check(bench->cache, buf_slice(value), now_us, &claims, NULL);
}

static void assert_stats(const struct bench *bench, uint64_t hits, uint64_t misses,
                         uint64_t refused)
{
    struct auth_stats stats = auth_cache_stats(bench->cache);

    assert_int_equal(stats.hits, hits);
    assert_int_equal(stats.misses, misses);
    assert_int_equal(stats.refused, refused);
}

#define TEN_MINUTES "\"exp\":1790000600"

static void a_token_is_read_once(void **state)
{
    struct bench bench = open_bench(10);
    struct buf token = make_token(first, 7, TEN_MINUTES);
    const struct auth_claims *claims = NULL;

    (void)state;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(auth_check(bench.cache, buf_slice(&token), NOW_US, &claims, NULL), 0);
        assert_string_equal(claims->subject, "urn:pennlabs:7");
        assert_int_equal(claims->expires_us, (NOW_S + 600) * SECOND);
    }
    assert_stats(&bench, 4, 1, 0);
    buf_free(&token);
    close_bench(&bench);
}

static void a_cached_token_expires(void **state)
{
    struct bench bench = open_bench(10);
    struct buf token = make_token(first, 1, TEN_MINUTES);

    (void)state;
    assert_int_equal(check(&bench, &token, NOW_US), 0);
    assert_int_equal(check(&bench, &token, NOW_US + 630 * SECOND - 1), 0);
    assert_int_equal(check(&bench, &token, NOW_US + 630 * SECOND), ERR_INVALID);
    assert_stats(&bench, 2, 1, 1);
    buf_free(&token);
    close_bench(&bench);
}

static void a_token_seen_too_early_becomes_good_in_time(void **state)
{
    struct bench bench = open_bench(10);
    struct buf token = make_token(first, 1, TEN_MINUTES ",\"nbf\":1790000100");

    (void)state;
    assert_int_equal(check(&bench, &token, NOW_US), ERR_INVALID);
    assert_int_equal(check(&bench, &token, NOW_US + 70 * SECOND - 1), ERR_INVALID);
    assert_int_equal(check(&bench, &token, NOW_US + 70 * SECOND), 0);
    /* The clock may be set back, too. */
    assert_int_equal(check(&bench, &token, NOW_US), ERR_INVALID);
    buf_free(&token);
    close_bench(&bench);
}

static void a_forged_token_is_never_remembered(void **state)
{
    struct bench bench = open_bench(10);
    struct buf token = make_token(second, 1, TEN_MINUTES);

    (void)state;
    assert_int_equal(check(&bench, &token, NOW_US), ERR_INVALID);
    assert_int_equal(check(&bench, &token, NOW_US), ERR_INVALID);
    assert_stats(&bench, 0, 2, 2);
    buf_free(&token);
    close_bench(&bench);
}

static void a_cached_token_with_another_signature_is_another_token(void **state)
{
    struct bench bench = open_bench(10);
    struct buf token = make_token(first, 1, TEN_MINUTES);
    size_t at = token.len - 10;

    (void)state;
    assert_int_equal(check(&bench, &token, NOW_US), 0);
    token.data[at] = token.data[at] == 'A' ? 'B' : 'A';
    assert_int_equal(check(&bench, &token, NOW_US), ERR_INVALID);
    token.len--;
    assert_int_equal(check(&bench, &token, NOW_US), ERR_INVALID);
    assert_stats(&bench, 0, 3, 2);
    buf_free(&token);
    close_bench(&bench);
}

static void the_least_recently_used_goes_first(void **state)
{
    struct bench bench = open_bench(3);
    struct buf tokens[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        tokens[i] = make_token(first, i, TEN_MINUTES);
    for (int i = 0; i < 3; i++)
        assert_int_equal(check(&bench, &tokens[i], NOW_US), 0);
    assert_int_equal(check(&bench, &tokens[0], NOW_US), 0); /* 1 is the oldest now */
    assert_stats(&bench, 1, 3, 0);
    assert_int_equal(check(&bench, &tokens[3], NOW_US), 0); /* puts 1 out */
    assert_stats(&bench, 1, 4, 0);
    assert_int_equal(check(&bench, &tokens[0], NOW_US), 0);
    assert_int_equal(check(&bench, &tokens[2], NOW_US), 0);
    assert_int_equal(check(&bench, &tokens[3], NOW_US), 0);
    assert_stats(&bench, 4, 4, 0);
    assert_int_equal(check(&bench, &tokens[1], NOW_US), 0);
    assert_stats(&bench, 4, 5, 0);
    for (int i = 0; i < 4; i++)
        buf_free(&tokens[i]);
    close_bench(&bench);
}

static void sizes_of_zero_and_one_work(void **state)
{
    struct bench none = open_bench(0), one = open_bench(1);
    struct buf a = make_token(first, 1, TEN_MINUTES), b = make_token(first, 2, TEN_MINUTES);

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(check(&none, &a, NOW_US), 0);
        assert_int_equal(check(&one, &a, NOW_US), 0);
        assert_int_equal(check(&one, &a, NOW_US), 0);
        assert_int_equal(check(&one, &b, NOW_US), 0);
    }
    assert_stats(&none, 0, 2, 0);
    assert_stats(&one, 2, 4, 0);
    buf_free(&a);
    buf_free(&b);
    close_bench(&none);
    close_bench(&one);
}

static void many_tokens_are_told_apart(void **state)
{
    enum { TOKENS = 200, ROOM = 64 };
    struct bench bench = open_bench(ROOM);
    static struct buf tokens[TOKENS];
    unsigned random = 12345;

    (void)state;
    for (int i = 0; i < TOKENS; i++)
        tokens[i] = make_token(first, i, TEN_MINUTES);
    for (int i = 0; i < 3000; i++) {
        const struct auth_claims *claims = NULL;
        char subject[32];
        int which;

        random = random * 1103515245 + 12345;
        which = (int)(random >> 16) % (i % 2 != 0 ? TOKENS : ROOM / 2);
        snprintf(subject, sizeof subject, "urn:pennlabs:%d", which);
        assert_int_equal(auth_check(bench.cache, buf_slice(&tokens[which]), NOW_US, &claims, NULL),
                         0);
        assert_string_equal(claims->subject, subject);
    }
    assert_true(auth_cache_stats(bench.cache).hits > 500);
    assert_true(auth_cache_stats(bench.cache).misses >= TOKENS);
    for (int i = 0; i < TOKENS; i++)
        buf_free(&tokens[i]);
    close_bench(&bench);
}

static void a_change_of_keys_voids_what_was_cached(void **state)
{
    struct bench bench = open_bench(10);
    struct buf old = make_token(first, 1, TEN_MINUTES), new = make_token(second, 1, TEN_MINUTES);

    (void)state;
    assert_int_equal(check(&bench, &old, NOW_US), 0);
    assert_int_equal(check(&bench, &new, NOW_US), ERR_INVALID);
    auth_use_keys(bench.auth, set_of(second));
    assert_int_equal(check(&bench, &old, NOW_US), ERR_INVALID);
    assert_int_equal(check(&bench, &new, NOW_US), 0);
    auth_use_keys(bench.auth, set_of(first));
    assert_int_equal(check(&bench, &old, NOW_US), 0);
    assert_int_equal(check(&bench, &new, NOW_US), ERR_INVALID);
    assert_int_equal(auth_cache_stats(bench.cache).hits, 0);
    buf_free(&old);
    buf_free(&new);
    close_bench(&bench);
}

static void a_caller_keeps_its_meter_through_a_change_of_keys(void **state)
{
    const struct rate_limits urns = {.requests = 10, .burst_us = SECOND};
    const struct rate_limits keys = {.burst_us = SECOND};
    struct auth *auth;
    struct auth_cache *one, *other;
    struct buf token = make_token(first, 7, TEN_MINUTES);
    struct buf later = make_token(first, 7, "\"exp\":1790000700");
    struct buf stranger = make_token(first, 8, TEN_MINUTES);
    const struct auth_claims *claims = NULL;
    struct rate_meter *meter;

    (void)state;
    assert_int_equal(auth_open("urn:pennlabs:*", &auth, NULL), 0);
    auth_use_limits(auth, &urns, &keys, 100);
    auth_use_keys(auth, set_of(first));
    one = auth_cache_open(auth, 10);
    other = auth_cache_open(auth, 0);
    assert_int_equal(auth_check(one, buf_slice(&token), NOW_US, &claims, NULL), 0);
    meter = claims->meter;
    assert_non_null(meter);
    assert_int_equal(auth_check(other, buf_slice(&later), NOW_US, &claims, NULL), 0);
    assert_ptr_equal(claims->meter, meter);
    assert_int_equal(auth_check(one, buf_slice(&stranger), NOW_US, &claims, NULL), 0);
    assert_ptr_not_equal(claims->meter, meter);
    auth_use_keys(auth, set_of(first));
    assert_int_equal(auth_check(one, buf_slice(&token), NOW_US, &claims, NULL), 0);
    assert_ptr_equal(claims->meter, meter);
    auth_cache_close(one);
    auth_cache_close(other);
    auth_close(auth);
    buf_free(&token);
    buf_free(&later);
    buf_free(&stranger);
}

static void before_any_keys_nobody_is_blamed(void **state)
{
    struct bench bench;
    struct buf token = make_token(first, 1, TEN_MINUTES);

    (void)state;
    assert_int_equal(auth_open("urn:pennlabs:*", &bench.auth, NULL), 0);
    bench.cache = auth_cache_open(bench.auth, 10);
    assert_int_equal(check(&bench, &token, NOW_US), ERR_UNAVAILABLE);
    auth_use_keys(bench.auth, set_of(first));
    assert_int_equal(check(&bench, &token, NOW_US), 0);
    buf_free(&token);
    close_bench(&bench);
}

/* Threads check tokens of both keys while the main thread swaps the keys. */
struct checker {
    struct auth *auth;
    const struct buf *old, *new;
    atomic_bool *stop;
    atomic_uint checks, accepted_old, accepted_new, unexpected;
};

static void *check_until_stopped(void *arg)
{
    struct checker *checker = arg;
    struct auth_cache *cache = auth_cache_open(checker->auth, 4);

    while (!atomic_load(checker->stop)) {
        const struct auth_claims *claims;
        int old = auth_check(cache, buf_slice(checker->old), NOW_US, &claims, NULL);
        int new = auth_check(cache, buf_slice(checker->new), NOW_US, &claims, NULL);

        atomic_fetch_add(&checker->accepted_old, old == 0);
        atomic_fetch_add(&checker->accepted_new, new == 0);
        atomic_fetch_add(&checker->unexpected,
                         (old != 0 && old != ERR_INVALID) || (new != 0 && new != ERR_INVALID));
        atomic_fetch_add(&checker->checks, 1);
    }
    auth_cache_close(cache);
    return NULL;
}

static void keys_change_under_threads_that_check(void **state)
{
    enum { THREADS = 2, SWAPS = 100 };
    struct bench bench = open_bench(1);
    struct buf old = make_token(first, 1, TEN_MINUTES), new = make_token(second, 1, TEN_MINUTES);
    static struct checker checkers[THREADS];
    pthread_t threads[THREADS];
    atomic_bool stop = false;

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        checkers[i] = (struct checker){.auth = bench.auth, .old = &old, .new = &new, .stop = &stop};
        assert_int_equal(pthread_create(&threads[i], NULL, check_until_stopped, &checkers[i]), 0);
    }
    for (int swap = 0; swap < SWAPS; swap++) {
        auth_use_keys(bench.auth, set_of(swap % 2 == 0 ? second : first));
        /* Every thread has looked at both tokens after this swap before the next comes:
         * the round it was in, and a whole one. */
        for (int i = 0; i < THREADS; i++) {
            unsigned seen = atomic_load(&checkers[i].checks);

            while (atomic_load(&checkers[i].checks) - seen < 2)
                sched_yield();
        }
    }
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_true(atomic_load(&checkers[i].accepted_old) >= SWAPS / 2);
        assert_true(atomic_load(&checkers[i].accepted_new) >= SWAPS / 2);
        assert_int_equal(atomic_load(&checkers[i].unexpected), 0);
    }
    buf_free(&old);
    buf_free(&new);
    close_bench(&bench);
}

static int make_keys(void **state)
{
    (void)state;
    first = forge_ec("P-256");
    second = forge_ec("P-256");
    return 0;
}

static int free_keys(void **state)
{
    (void)state;
    EVP_PKEY_free(first);
    EVP_PKEY_free(second);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_read_once),
        cmocka_unit_test(a_cached_token_expires),
        cmocka_unit_test(a_token_seen_too_early_becomes_good_in_time),
        cmocka_unit_test(a_forged_token_is_never_remembered),
        cmocka_unit_test(a_cached_token_with_another_signature_is_another_token),
        cmocka_unit_test(the_least_recently_used_goes_first),
        cmocka_unit_test(sizes_of_zero_and_one_work),
        cmocka_unit_test(many_tokens_are_told_apart),
        cmocka_unit_test(a_change_of_keys_voids_what_was_cached),
        cmocka_unit_test(a_caller_keeps_its_meter_through_a_change_of_keys),
        cmocka_unit_test(before_any_keys_nobody_is_blamed),
        cmocka_unit_test(keys_change_under_threads_that_check),
    };

    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
