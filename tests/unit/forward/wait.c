/*
 * A wait that is shorter than a second, and ends in the next one by the clock.
 */
#include "forward/forward_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void nobody_wakes_it_and_it_waits_to_the_end(void **state)
{
    struct forward forward = {.lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_condattr_t monotonic;
    int64_t began = now_ns();
    int64_t timeout_ms = 1001 - began % 1000000000 / 1000000;

    (void)state;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&forward.turn_wakes, &monotonic);
    pthread_mutex_lock(&forward.lock);
    assert_false(forward_wait(&forward, &forward.turn_wakes, timeout_ms));
    assert_true(now_ns() - began >= timeout_ms * 1000000);
    pthread_mutex_unlock(&forward.lock);
    pthread_cond_destroy(&forward.turn_wakes);
    pthread_condattr_destroy(&monotonic);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_wakes_it_and_it_waits_to_the_end),
    };

    return cmocka_run_group_tests_name("forward/wait", tests, NULL, NULL);
}
