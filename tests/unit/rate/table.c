/* Meters by name: one each, the same for all threads, and a bound on how many. */
#include "rate/rate.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static const struct rate_limits some = {.requests = 10, .burst_us = 1000000};

static void a_name_keeps_its_meter(void **state)
{
    struct rate_table *table = rate_open(&some, 100);
    struct rate_meter *clubs = rate_meter(table, "urn:pennlabs:clubs");
    struct rate_meter *ohq = rate_meter(table, "urn:pennlabs:ohq");

    (void)state;
    assert_non_null(clubs);
    assert_ptr_not_equal(clubs, ohq);
    assert_ptr_equal(rate_meter(table, "urn:pennlabs:clubs"), clubs);
    assert_ptr_equal(rate_meter(table, "urn:pennlabs:ohq"), ohq);
    assert_int_equal(clubs->limits->requests, 10);
    rate_close(table);
}

static void those_beyond_the_bound_share_one(void **state)
{
    struct rate_table *table = rate_open(&some, 2);
    struct rate_meter *first = rate_meter(table, "a");
    struct rate_meter *second = rate_meter(table, "b");
    struct rate_meter *third = rate_meter(table, "c");

    (void)state;
    assert_ptr_not_equal(first, second);
    assert_ptr_not_equal(third, first);
    assert_ptr_not_equal(third, second);
    assert_ptr_equal(rate_meter(table, "d"), third);
    assert_ptr_equal(rate_meter(table, "a"), first);
    assert_int_equal(third->limits->requests, 10);
    rate_close(table);
}

static void without_limits_there_is_no_meter(void **state)
{
    const struct rate_limits none = {.burst_us = 1000000};
    const struct rate_limits datapoints = {.datapoints = 1, .burst_us = 1000000};
    struct rate_table *table = rate_open(&none, 100);

    (void)state;
    assert_null(rate_meter(table, "a"));
    assert_null(rate_meter(NULL, "a"));
    rate_close(table);
    rate_close(NULL);
    table = rate_open(&datapoints, 100);
    assert_non_null(rate_meter(table, "a"));
    rate_close(table);
}

enum { THREADS = 4, NAMES = 1000 };
static struct rate_table *shared;

static void *find_all(void *arg)
{
    struct rate_meter **found = arg;
    char name[16];

    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "%d", i);
        found[i] = rate_meter(shared, name);
    }
    return NULL;
}

static void threads_find_the_same_meters(void **state)
{
    static struct rate_meter *found[THREADS][NAMES];
    pthread_t threads[THREADS];

    (void)state;
    shared = rate_open(&some, NAMES);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, find_all, found[i]), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 1; i < THREADS; i++)
        assert_memory_equal(found[i], found[0], sizeof found[0]);
    for (int i = 1; i < NAMES; i++)
        assert_ptr_not_equal(found[0][i], found[0][i - 1]);
    rate_close(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_keeps_its_meter),
        cmocka_unit_test(those_beyond_the_bound_share_one),
        cmocka_unit_test(without_limits_there_is_no_meter),
        cmocka_unit_test(threads_find_the_same_meters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
