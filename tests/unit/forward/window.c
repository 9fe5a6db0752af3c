/*
 * Outside its window the forwarder waits, and looks at the clock once a second.
 */
#include "support/forwarding.h"

/* A window that is hours away, for as long as a test takes. */
static const char *a_window_hours_away(void)
{
    static char text[16];
    time_t now = time(NULL);
    struct tm local;

    localtime_r(&now, &local);
    snprintf(text, sizeof text, "%02d:00-%02d:00", (local.tm_hour + 6) % 24,
             (local.tm_hour + 7) % 24);
    return text;
}

static void start_outside_the_window(struct forwarding *at)
{
    at->window = a_window_hours_away();
    forwarding_send(at, "jdoe", "ordered");
    forwarding_start(at);
    forwarding_wait(forward_status(at->forward).waiting);
}

/* Each look reads the oldest transaction. More than two or three a second are a loop that does not
 * wait, and makes hundreds while these transactions are sent. */
static void assert_it_looks_once_a_second(struct forwarding *at)
{
    int64_t since_us = clock_mono_us();
    uint64_t reads = fault_disk_calls(at->faults, FAULT_READ);
    int64_t seconds;

    for (int i = 0; i < 20; i++)
        forwarding_send(at, "jdoe", "later");
    reads = fault_disk_calls(at->faults, FAULT_READ) - reads;
    seconds = (clock_mono_us() - since_us) / 1000000;
    assert_true(reads <= 10 * (2 + (uint64_t)seconds));
    assert_true(forward_status(at->forward).waiting);
}

static void outside_the_window_it_looks_once_a_second(void **state)
{
    struct forwarding *at = *state;

    start_outside_the_window(at);
    assert_it_looks_once_a_second(at);
}

static void an_order_that_was_carried_out_is_no_reason_to_look(void **state)
{
    struct forwarding *at = *state;

    start_outside_the_window(at);
    forward_order(at->forward);
    forwarding_wait(forwarding_rows(at, "ordered") == 1);
    forwarding_wait(forward_status(at->forward).waiting);
    assert_it_looks_once_a_second(at);
    assert_int_equal(forwarding_rows(at, "later"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        forwarding_test(outside_the_window_it_looks_once_a_second),
        forwarding_test(an_order_that_was_carried_out_is_no_reason_to_look),
    };

    return cmocka_run_group_tests_name("forward/window", tests, NULL, NULL);
}
