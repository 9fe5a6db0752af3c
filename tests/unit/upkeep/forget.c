/*
 * Users are forgotten while the forwarder is at work.
 */
#include "support/forwarding.h"

#include "upkeep/upkeep.h"

/* Orders that this user be erased; true if the order is still open. */
static bool order_to_erase(struct forwarding *at, const char *user)
{
    struct upkeep_request request = {
        .user = slice_of(user), .erase = true, .most = 100, .step_rows = 1000, .patience_ms = 5000};
    struct upkeep_rooms rooms = {
        .queue = at->queue, .ledger = at->ledger, .users = at->users, .forward = at->forward};
    struct upkeep_forgotten forgotten = {0};
    struct err err = {0};

    assert_int_equal(store_open(at->url, 5000, &rooms.store, &err), 0);
    if (upkeep_forget(&rooms, &request, &forgotten, &err) != 0)
        fail_msg("%s", err.text);
    store_close(rooms.store);
    return forgotten.pending;
}

static void keep_house_until_all_orders_are_done(struct forwarding *at)
{
    struct upkeep_options options = {
        .queue = at->queue,
        .ledger = at->ledger,
        .users = at->users,
        .forward = at->forward,
        .store_url = at->url,
        .store_timeout_ms = 5000,
        .retry_min_ms = 2,
        .retry_max_ms = 10,
        .step_rows = 1000,
    };
    struct upkeep *upkeep = NULL;
    struct err err = {0};

    assert_int_equal(upkeep_start(&options, &upkeep, &err), 0);
    forwarding_wait(ledger_open_orders(at->ledger) == 0);
    upkeep_stop(upkeep);
}

static void an_order_to_erase_reaches_what_failed_ahead_of_the_cursor(void **state)
{
    struct forwarding *at = *state;
    struct ledger_failed failed;
    struct buf storage = {0};
    uint64_t refused;

    forwarding_sql(at, REFUSE DELAY);
    refused = forwarding_send(at, "jdoe", "bad");
    forwarding_send(at, "other", "later");
    forwarding_start(at);
    forwarding_wait(ledger_counts(at->ledger).failed == 1 &&
                    forward_status(at->forward).errors > 0);

    assert_true(order_to_erase(at, "jdoe"));
    forwarding_sql(at, DELAY_NO_MORE);
    forwarding_wait(queue_status(at->queue).pending_transactions == 0);
    keep_house_until_all_orders_are_done(at);

    assert_int_equal(ledger_find(at->ledger, refused, &failed, &storage, NULL), ERR_NOT_FOUND);
    assert_int_equal(ledger_counts(at->ledger).failed, 0);
    assert_int_equal(ledger_counts(at->ledger).discarded, 1);
    assert_int_equal(forwarding_rows(at, "later"), 1);
    buf_free(&storage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        forwarding_test(an_order_to_erase_reaches_what_failed_ahead_of_the_cursor),
    };

    return cmocka_run_group_tests_name("upkeep/forget", tests, NULL, NULL);
}
