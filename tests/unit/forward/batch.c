/*
 * When a batch goes that is not full, and what goes at the end.
 */
#include "support/forwarding.h"

/* Also while more comes all the time and the store takes each soon; all together fill none. */
static void a_batch_that_is_not_full_waits_for_its_age(void **state)
{
    struct forwarding *at = *state;
    int64_t since_us = clock_mono_us();
    uint64_t batches;

    at->batch_age_ms = 100;
    forwarding_start(at);
    for (int i = 0; i < 900; i++)
        forwarding_send(at, "jdoe", "good");
    batches = forward_status(at->forward).batches;
    assert_true((int64_t)batches * (at->batch_age_ms - 1) * 1000 <= clock_mono_us() - since_us);
    forward_stop(at->forward, INT32_MAX);
    at->forward = NULL;
    assert_int_equal(forwarding_rows(at, "good"), 900);
}

/* Whether the loader waits already when the order comes, or has yet to find what is there. */
static void what_is_ordered_to_go_does_not_wait_for_its_age(void **state)
{
    struct forwarding *at = *state;

    at->batch_age_ms = 3600 * 1000;
    forwarding_start(at);
    for (int i = 1; i <= 20; i++) {
        forwarding_send(at, "jdoe", "good");
        forward_order(at->forward);
        forwarding_wait(forwarding_rows(at, "good") == i);
    }
}

/* Nothing has been loaded when the end is ordered. */
static void all_that_is_there_goes_before_the_end(void **state)
{
    struct forwarding *at = *state;

    at->batch_rows = 10;
    for (int i = 0; i < 35; i++)
        forwarding_send(at, "jdoe", "good");
    forwarding_start(at);
    forward_stop(at->forward, INT32_MAX);
    at->forward = NULL;
    assert_int_equal(forwarding_rows(at, "good"), 35);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        forwarding_test(a_batch_that_is_not_full_waits_for_its_age),
        forwarding_test(what_is_ordered_to_go_does_not_wait_for_its_age),
        forwarding_test(all_that_is_there_goes_before_the_end),
    };

    return cmocka_run_group_tests_name("forward/batch", tests, NULL, NULL);
}
