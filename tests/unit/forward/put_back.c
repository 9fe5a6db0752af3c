/*
 * The store is put back to a point that the queue still holds: what was forwarded since comes
 * again, and only that.
 */
#include "support/forwarding.h"

/* The store as it was before it had anything; it takes by now what it has refused since. */
static void put_back(struct forwarding *at, uint64_t position)
{
    char text[256];

    snprintf(text, sizeof text,
             "BEGIN; " REFUSE_NO_MORE
             " DELETE FROM event; UPDATE forward_cursor SET position = %llu; COMMIT",
             (unsigned long long)position);
    forwarding_sql(at, text);
}

/* One that the store refuses, whose position is returned, and one that it takes. */
static uint64_t forward_a_bad_one_and_a_good_one(struct forwarding *at)
{
    uint64_t refused;

    forwarding_sql(at, REFUSE);
    refused = forwarding_send(at, "jdoe", "bad");
    forwarding_send(at, "other", "good");
    forwarding_start(at);
    forwarding_wait(queue_status(at->queue).pending_transactions == 0);
    return refused;
}

static void assert_the_discarded_one_stayed_out(struct forwarding *at)
{
    forwarding_wait(forwarding_rows(at, "last") == 1);
    forwarding_wait(queue_status(at->queue).pending_transactions == 0);
    assert_int_equal(forwarding_rows(at, "good"), 1);
    assert_int_equal(forwarding_rows(at, "bad"), 0);
    assert_int_equal(ledger_counts(at->ledger).discarded, 1);
}

static void a_discarded_one_stays_out_of_a_store_that_was_put_back(void **state)
{
    struct forwarding *at = *state;
    uint64_t refused = forward_a_bad_one_and_a_good_one(at);

    assert_int_equal(ledger_discard(at->ledger, refused, NULL), 0);
    put_back(at, refused);
    forwarding_send(at, "other", "last");
    assert_the_discarded_one_stayed_out(at);
}

/* Its cursor in the ledger tells no more that the store has been further on. */
static void a_discarded_one_is_known_after_a_restart(void **state)
{
    struct forwarding *at = *state;
    uint64_t refused = forward_a_bad_one_and_a_good_one(at);

    assert_int_equal(ledger_discard(at->ledger, refused, NULL), 0);
    forward_stop(at->forward, 0);
    put_back(at, refused);
    assert_int_equal(ledger_set_cursor(at->ledger, refused, NULL), 0);
    ledger_close(at->ledger);
    forwarding_open_ledger(at);
    forwarding_start(at);
    forwarding_send(at, "other", "last");
    assert_the_discarded_one_stayed_out(at);
}

static void a_retry_in_a_store_that_was_put_back_stores_nothing_twice(void **state)
{
    struct forwarding *at = *state;
    uint64_t refused = forward_a_bad_one_and_a_good_one(at);

    put_back(at, refused);
    assert_int_equal(ledger_retry(at->ledger, refused, NULL), 0);
    forward_poke(at->forward);
    forwarding_wait(ledger_counts(at->ledger).retrying == 0);
    forwarding_send(at, "other", "last");
    forwarding_wait(forwarding_rows(at, "last") == 1);
    forwarding_wait(queue_status(at->queue).pending_transactions == 0);
    forwarding_wait(ledger_counts(at->ledger).failed + ledger_counts(at->ledger).retrying == 0);
    assert_int_equal(forwarding_rows(at, "bad"), 1);
    assert_int_equal(forwarding_rows(at, "good"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        forwarding_test(a_discarded_one_stays_out_of_a_store_that_was_put_back),
        forwarding_test(a_discarded_one_is_known_after_a_restart),
        forwarding_test(a_retry_in_a_store_that_was_put_back_stores_nothing_twice),
    };

    return cmocka_run_group_tests_name("forward/put_back", tests, NULL, NULL);
}
