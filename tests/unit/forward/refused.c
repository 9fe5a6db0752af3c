/*
 * What the store refuses, and what becomes of it when log, ledger or store are not as they were.
 */
#include "support/forwarding.h"

#include <errno.h>
#include <limits.h>

/* The ledger has room for the first one; the second, whose position is returned, waits for it. */
static uint64_t refuse_one_more_than_the_ledger_takes(struct forwarding *at)
{
    uint64_t refused;

    ledger_bound(at->ledger, 1, 0);
    forwarding_sql(at, REFUSE);
    forwarding_send(at, "jdoe", "bad");
    forwarding_start(at);
    forwarding_wait(queue_status(at->queue).pending_transactions == 0);
    refused = forwarding_send(at, "other", "bad");
    forwarding_wait(forwarding_said(at, "the ledger cannot be written") > 0);
    return refused;
}

static void rot(struct forwarding *at, uint64_t position)
{
    static const char path[] = "data/queue/00000000000000000001.seg";
    uint64_t place = 64 + position - queue_status(at->queue).log.first + 20;
    unsigned char byte;

    fault_disk_peek(at->faults, path, place, &byte, 1);
    byte ^= 0x55;
    fault_disk_poke(at->faults, path, place, &byte, 1);
}

static void a_refused_one_that_rots_before_the_ledger_has_it_is_passed_over(void **state)
{
    struct forwarding *at = *state;
    uint64_t refused = refuse_one_more_than_the_ledger_takes(at);

    forwarding_send(at, "other", "good");
    rot(at, refused);
    forwarding_wait(queue_status(at->queue).pending_transactions == 0);
    assert_int_equal(queue_status(at->queue).damaged, 1);
    assert_int_equal(forwarding_rows(at, "good"), 1);
    assert_int_equal(ledger_counts(at->ledger).failed, 1);
    assert_int_equal(forwarding_said(at, "the ledger cannot be written"), 1);
    assert_int_equal(forwarding_said(at, "the ledger can be written again"), 1);
}

/* With nothing behind it that the reader would have to go on to. */
static void the_last_one_that_rots_before_the_ledger_has_it_is_passed_over(void **state)
{
    struct forwarding *at = *state;

    rot(at, refuse_one_more_than_the_ledger_takes(at));
    forwarding_wait(queue_status(at->queue).pending_transactions == 0);
    assert_int_equal(queue_status(at->queue).damaged, 1);
    assert_int_equal(ledger_counts(at->ledger).failed, 1);
}

static void a_refused_one_that_cannot_be_read_now_is_no_fault_of_the_ledgers(void **state)
{
    struct forwarding *at = *state;

    refuse_one_more_than_the_ledger_takes(at);
    fault_disk_fail(at->faults, FAULT_READ, ".seg", 0, UINT_MAX, EIO);
    forwarding_wait(forwarding_said(at, "cannot read a refused transaction") > 0);
    ledger_bound(at->ledger, 2, 0);
    forwarding_wait(fault_disk_failed(at->faults, FAULT_READ) > 5);
    assert_int_equal(ledger_counts(at->ledger).failed, 1);
    fault_disk_fail(at->faults, FAULT_READ, NULL, 0, 0, 0);
    forwarding_wait(ledger_counts(at->ledger).failed == 2);
    forwarding_wait(queue_status(at->queue).pending_transactions == 0);
    assert_int_equal(forwarding_said(at, "cannot read a refused transaction"), 1);
    assert_int_equal(forwarding_said(at, "refused transactions can be read again"), 1);
    assert_int_equal(forwarding_said(at, "the ledger cannot be written"), 1);
    assert_int_equal(forwarding_said(at, "the ledger can be written again"), 1);
}

static void a_full_ledger_is_said_once_though_the_cursor_gets_on(void **state)
{
    struct forwarding *at = *state;

    ledger_bound(at->ledger, 1, 0);
    forwarding_sql(at, REFUSE);
    for (int i = 0; i < 3; i++)
        forwarding_send(at, "jdoe", "bad");
    forwarding_start(at);
    forwarding_wait(queue_status(at->queue).pending_transactions == 2);
    forwarding_wait(forwarding_said(at, "the ledger cannot be written") > 0);
    ledger_bound(at->ledger, 3, 0);
    forwarding_wait(queue_status(at->queue).pending_transactions == 0);
    assert_int_equal(forwarding_said(at, "the ledger cannot be written"), 1);
    assert_int_equal(forwarding_said(at, "the ledger can be written again"), 1);
}

static int add_stored(void *arg, const struct ledger_delivery *delivery)
{
    uint64_t *transactions = arg;

    if (slice_is(delivery->outcome, "stored"))
        *transactions += delivery->transactions;
    return 0;
}

static void a_refusal_ahead_of_what_cannot_be_stored_now_is_counted_and_said_once(void **state)
{
    struct forwarding *at = *state;
    uint64_t stored = 0;

    forwarding_sql(at, REFUSE DELAY);
    forwarding_send(at, "jdoe", "bad");
    forwarding_send(at, "other", "later");
    forwarding_start(at);
    forwarding_wait(forward_status(at->forward).errors > 5);
    assert_int_equal(forward_status(at->forward).store, FORWARD_DOWN);
    assert_int_equal(forward_status(at->forward).refusals, 1);
    assert_int_equal(forward_status(at->forward).ahead, 1);
    assert_int_equal(forwarding_said(at, "the store is down"), 1);
    assert_int_equal(forwarding_said(at, "the store is up again"), 0);
    forwarding_sql(at, DELAY_NO_MORE);
    forwarding_wait(queue_status(at->queue).pending_transactions == 0);
    forwarding_wait(forwarding_said(at, "the store is up again") > 0);
    assert_int_equal(forward_status(at->forward).refusals, 1);
    assert_int_equal(forward_status(at->forward).ahead, 0);
    assert_int_equal(forward_status(at->forward).transactions, 1);
    assert_int_equal(forward_status(at->forward).rows, 1);
    assert_int_equal(ledger_each_delivery(at->ledger, 100, add_stored, &stored, NULL), 0);
    assert_int_equal(stored, 1);
    assert_int_equal(forwarding_said(at, "the store is down"), 1);
    assert_int_equal(forwarding_said(at, "the store is up again"), 1);
}

static void each_outage_is_said_and_its_end(void **state)
{
    struct forwarding *at = *state;

    forwarding_start(at);
    for (unsigned i = 1; i <= 2; i++) {
        forwarding_sql(at, "ALTER TABLE event RENAME TO away");
        forwarding_send(at, "jdoe", "good");
        forwarding_wait(forwarding_said(at, "the store is down") == i);
        forwarding_sql(at, "ALTER TABLE away RENAME TO event");
        forwarding_wait(forwarding_said(at, "the store is up again") == i);
    }
}

static void a_store_that_is_mended_gets_what_the_ledger_has_no_room_for(void **state)
{
    struct forwarding *at = *state;

    refuse_one_more_than_the_ledger_takes(at);
    forwarding_sql(at, REFUSE_NO_MORE);
    forwarding_wait(queue_status(at->queue).pending_transactions == 0);
    assert_true(queue_status(at->queue).cursor == queue_status(at->queue).durable);
    assert_int_equal(forwarding_rows(at, "bad"), 1);
    assert_int_equal(ledger_counts(at->ledger).failed, 1);
    assert_int_equal(forwarding_said(at, "the ledger can be written again"), 1);
}

static void an_outage_during_another_try_is_no_refusal(void **state)
{
    struct forwarding *at = *state;
    struct ledger_failed found;
    struct buf storage = {0};
    uint64_t position;

    forwarding_sql(at, REFUSE DELAY);
    position = forwarding_send(at, "jdoe", "bad");
    forwarding_start(at);
    forwarding_wait(queue_status(at->queue).pending_transactions == 0);
    forwarding_sql(at, REFUSE_NO_MORE
                   "CREATE TRIGGER refuse BEFORE INSERT ON event WHEN new.value = 'bad'"
                   " BEGIN INSERT INTO torn (torn) VALUES ('integrity-check'); END;");
    assert_int_equal(ledger_retry(at->ledger, position, NULL), 0);
    forward_poke(at->forward);
    forwarding_wait(forward_status(at->forward).errors > 2);
    assert_int_equal(ledger_counts(at->ledger).retrying, 1);
    assert_int_equal(ledger_find(at->ledger, position, &found, &storage, NULL), 0);
    assert_int_equal(found.attempts, 1);
    forwarding_sql(at, REFUSE_NO_MORE);
    forwarding_wait(ledger_counts(at->ledger).retrying == 0);
    assert_int_equal(ledger_counts(at->ledger).failed, 0);
    assert_int_equal(forwarding_rows(at, "bad"), 1);
    forwarding_wait(forward_status(at->forward).store == FORWARD_UP);
    buf_free(&storage);
}

#define HOLD "CREATE TRIGGER hold BEFORE DELETE ON failed BEGIN SELECT RAISE(ABORT, 'held'); END;"

/* And the next one is tried before the end, which waits for no ledger. */
static void another_try_that_the_ledger_cannot_note_stores_nothing_twice(void **state)
{
    struct forwarding *at = *state;
    uint64_t first, second, third;

    forwarding_sql(at, REFUSE);
    first = forwarding_send(at, "jdoe", "bad");
    second = forwarding_send(at, "other", "bad");
    third = forwarding_send(at, "other", "bad");
    forwarding_start(at);
    forwarding_wait(queue_status(at->queue).pending_transactions == 0);
    forwarding_sql(at, REFUSE_NO_MORE);
    forwarding_ledger_sql(at, HOLD);
    assert_int_equal(ledger_retry(at->ledger, first, NULL), 0);
    forward_poke(at->forward);
    forwarding_wait(forwarding_said(at, "the ledger cannot be written") > 0);
    assert_int_equal(ledger_counts(at->ledger).retrying, 1);
    assert_int_equal(forwarding_rows(at, "bad"), 1);
    forwarding_ledger_sql(at, "DROP TRIGGER hold");
    forwarding_wait(ledger_counts(at->ledger).retrying == 0);
    assert_int_equal(forwarding_rows(at, "bad"), 1);
    assert_int_equal(ledger_retry(at->ledger, second, NULL), 0);
    forward_stop(at->forward, INT32_MAX);
    assert_int_equal(ledger_counts(at->ledger).retrying, 0);
    assert_int_equal(forwarding_rows(at, "bad"), 2);
    assert_int_equal(ledger_retry(at->ledger, third, NULL), 0);
    forwarding_ledger_sql(at, HOLD);
    forwarding_start(at);
    forward_stop(at->forward, INT32_MAX);
    at->forward = NULL;
    assert_int_equal(ledger_counts(at->ledger).retrying, 1);
    assert_int_equal(forwarding_rows(at, "bad"), 3);
}

static void another_try_of_one_makes_room_for_the_next(void **state)
{
    struct forwarding *at = *state;
    uint64_t first;

    ledger_bound(at->ledger, 1, 0);
    forwarding_sql(at, REFUSE);
    first = forwarding_send(at, "jdoe", "bad");
    forwarding_start(at);
    forwarding_wait(queue_status(at->queue).pending_transactions == 0);
    forwarding_send(at, "other", "bad");
    forwarding_wait(forwarding_said(at, "the ledger cannot be written") > 0);
    forwarding_sql(at, REFUSE_NO_MORE
                   "CREATE TRIGGER refuse BEFORE INSERT ON event WHEN new.pennkey = 'other'"
                   " BEGIN SELECT RAISE(ABORT, 'not the other'); END;");
    assert_int_equal(ledger_retry(at->ledger, first, NULL), 0);
    forward_poke(at->forward);
    forwarding_wait(queue_status(at->queue).pending_transactions == 0);
    assert_int_equal(forwarding_rows(at, "bad"), 1);
    assert_int_equal(ledger_counts(at->ledger).failed, 1);
    assert_int_equal(ledger_counts(at->ledger).retrying, 0);
    assert_int_equal(ledger_retry(at->ledger, first, NULL), ERR_NOT_FOUND);
}

static void a_store_that_refuses_what_the_ledger_has_no_room_for_is_not_down(void **state)
{
    struct forwarding *at = *state;

    ledger_bound(at->ledger, 1, 0);
    forwarding_sql(at, REFUSE DELAY);
    forwarding_send(at, "jdoe", "bad");
    forwarding_start(at);
    forwarding_wait(queue_status(at->queue).pending_transactions == 0);
    forwarding_send(at, "other", "later");
    forwarding_wait(forward_status(at->forward).store == FORWARD_DOWN);
    forwarding_sql(at, "DROP TRIGGER delay; CREATE TRIGGER delay BEFORE INSERT ON event"
                       " WHEN new.value = 'later' BEGIN SELECT RAISE(ABORT, 'refused'); END;");
    forwarding_wait(forwarding_said(at, "the ledger cannot be written") == 1);
    forwarding_wait(forward_status(at->forward).store == FORWARD_UP);
    assert_int_equal(forward_status(at->forward).refusals, 1);
}

static void one_whose_user_is_erased_before_the_ledger_has_it_does_not_fail(void **state)
{
    struct forwarding *at = *state;
    uint64_t refused = refuse_one_more_than_the_ledger_takes(at);
    struct ledger_order order;

    assert_int_equal(ledger_forget(at->ledger, SLICE("other"), true, refused + 1, clock_wall_us(),
                                   1, &order, NULL),
                     0);
    forwarding_wait(queue_status(at->queue).pending_transactions == 0);
    assert_int_equal(forwarding_rows(at, "bad"), 0);
    assert_int_equal(ledger_counts(at->ledger).failed, 1);
    assert_int_equal(forward_status(at->forward).refusals, 1);
}

static void a_queue_that_cannot_be_read_is_said_once_and_does_not_hold_up_the_end(void **state)
{
    struct forwarding *at = *state;

    forwarding_start(at);
    forwarding_send(at, "jdoe", "good");
    forwarding_wait(forwarding_rows(at, "good") == 1);
    fault_disk_fail(at->faults, FAULT_READ, ".seg", 0, UINT_MAX, EIO);
    forwarding_send(at, "jdoe", "unread");
    forwarding_wait(fault_disk_failed(at->faults, FAULT_READ) > 1);
    assert_int_equal(forwarding_said(at, "cannot read the queue"), 1);
    fault_disk_fail(at->faults, FAULT_READ, NULL, 0, 0, 0);
    forwarding_wait(forwarding_rows(at, "unread") == 1);
    assert_int_equal(forwarding_said(at, "cannot read the queue"), 1);
    assert_int_equal(forwarding_said(at, "the queue can be read again"), 1);
    fault_disk_fail(at->faults, FAULT_READ, ".seg", 0, UINT_MAX, EIO);
    forwarding_send(at, "jdoe", "late");
    forwarding_wait(forwarding_said(at, "cannot read the queue") == 2);
    forward_stop(at->forward, 0);
    at->forward = NULL;
    assert_int_equal(forwarding_rows(at, "late"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        forwarding_test(a_refused_one_that_rots_before_the_ledger_has_it_is_passed_over),
        forwarding_test(the_last_one_that_rots_before_the_ledger_has_it_is_passed_over),
        forwarding_test(a_refused_one_that_cannot_be_read_now_is_no_fault_of_the_ledgers),
        forwarding_test(a_full_ledger_is_said_once_though_the_cursor_gets_on),
        forwarding_test(a_refusal_ahead_of_what_cannot_be_stored_now_is_counted_and_said_once),
        forwarding_test(each_outage_is_said_and_its_end),
        forwarding_test(a_store_that_is_mended_gets_what_the_ledger_has_no_room_for),
        forwarding_test(an_outage_during_another_try_is_no_refusal),
        forwarding_test(another_try_that_the_ledger_cannot_note_stores_nothing_twice),
        forwarding_test(another_try_of_one_makes_room_for_the_next),
        forwarding_test(a_store_that_refuses_what_the_ledger_has_no_room_for_is_not_down),
        forwarding_test(a_queue_that_cannot_be_read_is_said_once_and_does_not_hold_up_the_end),
        forwarding_test(one_whose_user_is_erased_before_the_ledger_has_it_does_not_fail),
    };

    return cmocka_run_group_tests_name("forward/refused", tests, NULL, NULL);
}
