/* Token buckets under a time that the test makes. */
#include "rate/rate.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000)
#define NOW (INT64_C(1000) * SECOND)

static unsigned take_all(struct rate_bucket *bucket, uint64_t rate, int64_t burst_us, int64_t now)
{
    unsigned taken = 0;

    while (taken < 1000000 && rate_take(bucket, rate, burst_us, now) == 0)
        taken++;
    return taken;
}

static void a_full_bucket_gives_its_burst_and_no_more(void **state)
{
    struct rate_bucket bucket = {0};

    (void)state;
    assert_int_equal(take_all(&bucket, 100, 2 * SECOND, NOW), 200);
    assert_int_equal(rate_take(&bucket, 100, 2 * SECOND, NOW), SECOND / 100);
}

static void it_fills_at_its_rate_and_not_over_the_brim(void **state)
{
    struct rate_bucket bucket = {0};

    (void)state;
    take_all(&bucket, 100, 2 * SECOND, NOW);
    assert_int_equal(take_all(&bucket, 100, 2 * SECOND, NOW + SECOND / 2), 50);
    assert_int_equal(take_all(&bucket, 100, 2 * SECOND, NOW + SECOND), 50);
    assert_int_equal(take_all(&bucket, 100, 2 * SECOND, NOW + 1000 * SECOND), 200);
}

static void the_wait_it_names_is_enough_and_not_too_long(void **state)
{
    static const uint64_t rates[] = {1, 3, 7, 100, 999, 50000};

    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        struct rate_bucket bucket = {0};
        int64_t wait;

        take_all(&bucket, rates[i], SECOND, NOW);
        wait = rate_take(&bucket, rates[i], SECOND, NOW);
        assert_in_range(wait, 1, SECOND);
        assert_int_not_equal(rate_take(&bucket, rates[i], SECOND, NOW + wait - 1), 0);
        assert_int_equal(rate_take(&bucket, rates[i], SECOND, NOW + wait), 0);
    }
}

static void refusals_cost_nothing(void **state)
{
    struct rate_bucket bucket = {0};

    (void)state;
    take_all(&bucket, 10, SECOND, NOW);
    for (int i = 0; i < 1000; i++)
        assert_int_not_equal(rate_take(&bucket, 10, SECOND, NOW), 0);
    assert_int_equal(rate_take(&bucket, 10, SECOND, NOW + SECOND / 10), 0);
}

static void a_burst_shorter_than_one_is_one(void **state)
{
    struct rate_bucket bucket = {0};

    (void)state;
    assert_int_equal(take_all(&bucket, 1, 1000, NOW), 1);
    assert_int_equal(rate_take(&bucket, 1, 1000, NOW), SECOND);
    assert_int_equal(rate_take(&bucket, 1, 1000, NOW + SECOND), 0);
}

static void a_charge_may_go_into_debt_and_is_paid_in_time(void **state)
{
    struct rate_bucket bucket = {0};

    (void)state;
    assert_int_equal(rate_wait(&bucket, 1000, SECOND, NOW), 0);
    rate_charge(&bucket, 1000, 11000, NOW); /* ten seconds of debt */
    assert_int_equal(rate_wait(&bucket, 1000, SECOND, NOW), 10 * SECOND + SECOND / 1000);
    assert_int_not_equal(rate_wait(&bucket, 1000, SECOND, NOW + 10 * SECOND), 0);
    assert_int_equal(rate_wait(&bucket, 1000, SECOND, NOW + 10 * SECOND + SECOND / 1000), 0);
}

static void asking_takes_nothing(void **state)
{
    struct rate_bucket bucket = {0};

    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(rate_wait(&bucket, 10, SECOND, NOW), 0);
    assert_int_equal(take_all(&bucket, 10, SECOND, NOW), 10);
}

static void no_count_is_too_large(void **state)
{
    struct rate_bucket bucket = {0};

    (void)state;
    for (int i = 0; i < 1000; i++)
        rate_charge(&bucket, 1, UINT64_MAX, NOW);
    assert_true(rate_wait(&bucket, 1, SECOND, NOW) > 364 * 86400 * SECOND);
    assert_true(rate_wait(&bucket, 1, SECOND, NOW) < 367 * 86400 * SECOND);
}

static void the_largest_rate_works(void **state)
{
    struct rate_bucket bucket = {0};

    (void)state;
    rate_charge(&bucket, RATE_MAX, RATE_MAX, NOW);
    assert_int_not_equal(rate_wait(&bucket, RATE_MAX, SECOND, NOW), 0);
    assert_int_equal(rate_wait(&bucket, RATE_MAX, SECOND, NOW + 1), 0);
}

enum { THREADS = 4, TRIES = 20000, RATE = 1000 };
static struct rate_bucket shared;

static void *take_some(void *arg)
{
    unsigned *taken = arg;

    for (int i = 0; i < TRIES; i++) {
        *taken += rate_take(&shared, RATE, 10 * SECOND, NOW) == 0;
        rate_wait(&shared, RATE, 10 * SECOND, NOW);
    }
    return NULL;
}

static void threads_together_take_what_there_is(void **state)
{
    pthread_t threads[THREADS];
    unsigned taken[THREADS] = {0};
    unsigned sum = 0;

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_some, &taken[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        sum += taken[i];
    }
    assert_int_equal(sum, 10 * RATE);
}

static void *charge_some(void *arg)
{
    (void)arg;
    for (int i = 0; i < TRIES; i++)
        rate_charge(&shared, RATE, 1, NOW);
    return NULL;
}

static void threads_lose_no_charge(void **state)
{
    pthread_t threads[THREADS];

    (void)state;
    atomic_store(&shared.full_ns, 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, charge_some, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&shared.full_ns), (NOW + THREADS * TRIES * SECOND / RATE) * 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_bucket_gives_its_burst_and_no_more),
        cmocka_unit_test(it_fills_at_its_rate_and_not_over_the_brim),
        cmocka_unit_test(the_wait_it_names_is_enough_and_not_too_long),
        cmocka_unit_test(refusals_cost_nothing),
        cmocka_unit_test(a_burst_shorter_than_one_is_one),
        cmocka_unit_test(a_charge_may_go_into_debt_and_is_paid_in_time),
        cmocka_unit_test(asking_takes_nothing),
        cmocka_unit_test(no_count_is_too_large),
        cmocka_unit_test(the_largest_rate_works),
        cmocka_unit_test(threads_together_take_what_there_is),
        cmocka_unit_test(threads_lose_no_charge),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
