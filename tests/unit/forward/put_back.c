/*
 * The store is put back to a point that the queue still holds: what was forwarded since comes
 * again, and only that.
 */
#include "support/forwarding.h"

/* The store as it was before it had anything. */
static void put_back(struct forwarding *at, uint64_t position, const char *with)
{
    char text[256];

    snprintf(text, sizeof text, "%s DELETE FROM event; UPDATE forward_cursor SET position = %llu;",
             with, (unsigned long long)position);
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
    put_back(at, refused, REFUSE_NO_MORE);
    forwarding_send(at, "other", "last");
    assert_the_discarded_one_stayed_out(at);
    assert_int_equal(forward_status(at->forward).conflicts, 1);
    assert_int_equal(forwarding_said(at, "the store is down"), 1);
    forwarding_wait(forwarding_said(at, "the store is up again") == 1);
}

/* Its cursor in the ledger tells no more that the store has been further on. */
static void a_discarded_one_is_known_after_a_restart(void **state)
{
    struct forwarding *at = *state;
    uint64_t refused = forward_a_bad_one_and_a_good_one(at);

    assert_int_equal(ledger_discard(at->ledger, refused, NULL), 0);
    forward_stop(at->forward, 0);
    put_back(at, refused, REFUSE_NO_MORE);
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

    put_back(at, refused, REFUSE_NO_MORE);
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

static void what_is_refused_again_by_a_store_that_was_put_back_is_kept_as_it_was(void **state)
{
    struct forwarding *at = *state;
    uint64_t refused = forward_a_bad_one_and_a_good_one(at);
    struct ledger_failed found;
    struct buf storage = {0};

    put_back(at, refused, "");
    forwarding_send(at, "other", "last");
    forwarding_wait(forwarding_rows(at, "last") == 1);
    forwarding_wait(queue_status(at->queue).pending_transactions == 0);
    assert_int_equal(ledger_find(at->ledger, refused, &found, &storage, NULL), 0);
    assert_int_equal(found.attempts, 2);
    assert_int_equal(forward_status(at->forward).refusals, 1);
    buf_free(&storage);
    forwarding_sql(at, REFUSE_NO_MORE);
    assert_int_equal(ledger_retry(at->ledger, refused, NULL), 0);
    forward_poke(at->forward);
    forwarding_wait(ledger_counts(at->ledger).failed + ledger_counts(at->ledger).retrying == 0);
    assert_int_equal(forwarding_rows(at, "bad"), 1);
}

/* Else what comes again would be taken for delivered by a start without the store, and given up. */
static void where_the_store_is_is_known_before_anything_is_stored(void **state)
{
    struct forwarding *at = *state;
    uint64_t position = forwarding_send(at, "jdoe", "later");
    uint64_t known = 0;

    forward_a_bad_one_and_a_good_one(at);
    forwarding_sql(at, DELAY);
    put_back(at, position, "");
    forwarding_send(at, "other", "last");
    forwarding_wait(ledger_cursor(at->ledger, &known, NULL) == 0 && known == position);
    forwarding_wait(forward_status(at->forward).ahead == 1);
    assert_int_equal(forwarding_rows(at, "later"), 0);
}

/* The loader is at it, and fills a batch, while the writer finds out where the store is. */
static void what_is_loaded_meanwhile_is_stored_in_its_turn_alone(void **state)
{
    struct forwarding *at = *state;
    uint64_t refused;

    at->batch_rows = 1;
    refused = forward_a_bad_one_and_a_good_one(at);
    put_back(at, refused, REFUSE_NO_MORE);
    fault_disk_hold(at->faults, FAULT_READ, ".seg", true);
    forwarding_send(at, "other", "last");
    fault_disk_await_held(at->faults, FAULT_READ);
    assert_int_equal(ledger_retry(at->ledger, refused, NULL), 0);
    forward_poke(at->forward);
    forwarding_wait(queue_status(at->queue).cursor == refused);
    assert_true(forward_pass(at->forward, INT32_MAX));
    fault_disk_hold(at->faults, FAULT_READ, ".seg", false);
    forwarding_send(at, "other", "end");
    forwarding_wait(forwarding_rows(at, "end") == 1);
    assert_int_equal(forwarding_rows(at, "bad"), 1);
    assert_int_equal(forwarding_rows(at, "good"), 1);
    assert_int_equal(forwarding_rows(at, "last"), 1);
}

/* It is in a batch already when that is ordered. */
static void what_failed_before_goes_out_of_the_ledger_if_its_user_is_erased_now(void **state)
{
    struct forwarding *at = *state;
    uint64_t good = forwarding_send(at, "other", "good");
    uint64_t refused = forward_a_bad_one_and_a_good_one(at);
    struct ledger_order order;

    ledger_bound(at->ledger, 1, 0);
    put_back(at, good,
             "CREATE TRIGGER hold BEFORE INSERT ON event WHEN new.value = 'good'"
             " BEGIN SELECT RAISE(ABORT, 'refused'); END;");
    forwarding_send(at, "other", "last");
    forwarding_wait(forwarding_said(at, "the ledger cannot be written") > 0);
    assert_int_equal(ledger_counts(at->ledger).failed, 1);
    assert_int_equal(ledger_forget(at->ledger, SLICE("jdoe"), true, refused + 1, clock_wall_us(), 1,
                                   &order, NULL),
                     0);
    forwarding_sql(at, "DROP TRIGGER hold");
    forwarding_wait(queue_status(at->queue).pending_transactions == 0);
    assert_int_equal(ledger_counts(at->ledger).failed, 0);
    assert_int_equal(forwarding_rows(at, "bad"), 0);
    assert_int_equal(forwarding_rows(at, "good"), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        forwarding_test(a_discarded_one_stays_out_of_a_store_that_was_put_back),
        forwarding_test(a_discarded_one_is_known_after_a_restart),
        forwarding_test(a_retry_in_a_store_that_was_put_back_stores_nothing_twice),
        forwarding_test(what_is_refused_again_by_a_store_that_was_put_back_is_kept_as_it_was),
        forwarding_test(where_the_store_is_is_known_before_anything_is_stored),
        forwarding_test(what_is_loaded_meanwhile_is_stored_in_its_turn_alone),
        forwarding_test(what_failed_before_goes_out_of_the_ledger_if_its_user_is_erased_now),
    };

    return cmocka_run_group_tests_name("forward/put_back", tests, NULL, NULL);
}
