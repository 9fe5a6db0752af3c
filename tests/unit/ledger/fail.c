/*
 * Failed transactions: recording, retrying, discarding, walking.
 */
#include "scratch.h"

static void a_failure_is_found_with_its_content_and_reason(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    const struct slice record = {"re\0cord", 7};
    const struct slice reason = {"caf\xc3\xa9 \0 \xff", 9};
    struct ledger_failed found;
    struct buf storage = {0};

    assert_int_equal(ledger_fail(ledger, 42, record, reason, 1234567, NULL), 0);
    assert_int_equal(ledger_find(ledger, 42, &found, &storage, NULL), 0);
    assert_int_equal(found.position, 42);
    assert_true(slice_equal(found.record, record));
    assert_true(slice_equal(found.reason, reason));
    assert_int_equal(found.attempts, 1);
    assert_int_equal(found.failed_us, 1234567);
    assert_false(found.retrying);
    assert_counts(ledger, 1, 0, 7, 0);
    buf_free(&storage);
    ledger_close(ledger);
}

static void the_longest_record_comes_back_whole(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    const size_t len = 9 * 1024 * 1024;
    char *bytes = malloc(len);
    struct ledger_failed found;
    struct buf storage = {0};

    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(i * 31 + (i >> 12));
    assert_int_equal(ledger_fail(ledger, 1, (struct slice){bytes, len}, SLICE("too much"), 1, NULL),
                     0);
    assert_int_equal(ledger_find(ledger, 1, &found, &storage, NULL), 0);
    assert_true(slice_equal(found.record, (struct slice){bytes, len}));
    assert_counts(ledger, 1, 0, len, 0);
    free(bytes);
    buf_free(&storage);
    ledger_close(ledger);
}

static void position_zero_and_empty_texts_are_possible(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    struct ledger_failed found;
    struct buf storage = {0};

    assert_int_equal(
        ledger_fail(ledger, 0, (struct slice){NULL, 0}, (struct slice){NULL, 0}, 1, NULL), 0);
    assert_int_equal(ledger_find(ledger, 0, &found, &storage, NULL), 0);
    assert_int_equal(found.position, 0);
    assert_int_equal(found.record.len, 0);
    assert_int_equal(found.reason.len, 0);
    assert_counts(ledger, 1, 0, 0, 0);
    buf_free(&storage);
    ledger_close(ledger);
}

static void what_did_not_fail_is_not_found(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    struct ledger_failed found = {.position = 99};
    struct buf storage = {0};
    struct err err = {0};

    must_fail_at(ledger, 7, "seven");
    assert_int_equal(ledger_find(ledger, 8, &found, &storage, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "8"));
    assert_int_equal(found.position, 99);
    assert_int_equal(ledger_retry(ledger, 8, NULL), ERR_NOT_FOUND);
    assert_int_equal(ledger_discard(ledger, 8, NULL), ERR_NOT_FOUND);
    assert_int_equal(ledger_recovered(ledger, 8, NULL), ERR_NOT_FOUND);
    assert_int_equal(ledger_find(ledger, UINT64_MAX, &found, &storage, NULL), ERR_NOT_FOUND);
    assert_counts(ledger, 1, 0, 5, 0);
    buf_free(&storage);
    ledger_close(ledger);
}

static void a_second_failure_ends_retrying_and_counts_attempts(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    struct ledger_failed found;
    struct buf storage = {0};

    must_fail_at(ledger, 7, "seven");
    assert_int_equal(ledger_retry(ledger, 7, NULL), 0);
    assert_counts(ledger, 0, 1, 5, 0);
    assert_int_equal(ledger_fail(ledger, 7, SLICE("sevens"), SLICE("again"), 2000, NULL), 0);
    assert_counts(ledger, 1, 0, 6, 0);
    assert_int_equal(ledger_find(ledger, 7, &found, &storage, NULL), 0);
    assert_int_equal(found.attempts, 2);
    assert_int_equal(found.failed_us, 2000);
    assert_false(found.retrying);
    assert_true(slice_is(found.reason, "again"));
    assert_true(slice_is(found.record, "sevens"));
    must_fail_at(ledger, 7, "seven");
    assert_counts(ledger, 1, 0, 5, 0);
    buf_free(&storage);
    ledger_close(ledger);
}

static void a_retrying_one_is_neither_retried_nor_discarded(void **state)
{
    struct ledger *ledger = open_scratch(*state);

    must_fail_at(ledger, 7, "seven");
    assert_int_equal(ledger_retry(ledger, 7, NULL), 0);
    assert_int_equal(ledger_retry(ledger, 7, NULL), ERR_NOT_FOUND);
    assert_int_equal(ledger_discard(ledger, 7, NULL), ERR_NOT_FOUND);
    assert_counts(ledger, 0, 1, 5, 0);
    ledger_close(ledger);
}

static void only_a_retrying_one_recovers(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    struct ledger_failed found;
    struct buf storage = {0};

    must_fail_at(ledger, 7, "seven");
    assert_int_equal(ledger_recovered(ledger, 7, NULL), ERR_NOT_FOUND);
    assert_int_equal(ledger_retry(ledger, 7, NULL), 0);
    assert_int_equal(ledger_recovered(ledger, 7, NULL), 0);
    assert_int_equal(ledger_find(ledger, 7, &found, &storage, NULL), ERR_NOT_FOUND);
    assert_counts(ledger, 0, 0, 0, 0);
    buf_free(&storage);
    ledger_close(ledger);
}

static void discarding_forgets_and_is_counted(void **state)
{
    struct ledger *ledger = open_scratch(*state);

    must_fail_at(ledger, 7, "seven");
    must_fail_at(ledger, 8, "eight!");
    assert_int_equal(ledger_discard(ledger, 7, NULL), 0);
    assert_counts(ledger, 1, 0, 6, 1);
    assert_int_equal(ledger_discard(ledger, 7, NULL), ERR_NOT_FOUND);
    assert_int_equal(ledger_discard(ledger, 8, NULL), 0);
    assert_counts(ledger, 0, 0, 0, 2);
    ledger_close(ledger);
}

static void assert_discarded(struct ledger *ledger, uint64_t position, bool expected)
{
    bool discarded = !expected;

    assert_int_equal(ledger_discarded(ledger, position, &discarded, NULL), 0);
    assert_int_equal(discarded, expected);
}

static void what_was_discarded_is_known_in_whatever_order_and_after_reopening(void **state)
{
    struct ledger *ledger = open_scratch(*state);

    for (uint64_t position = 7; position <= 9; position++)
        must_fail_at(ledger, position, "1");
    assert_int_equal(ledger_discard(ledger, 9, NULL), 0);
    assert_int_equal(ledger_discard(ledger, 7, NULL), 0);
    for (int times = 0; times < 2; times++) {
        assert_discarded(ledger, 7, true);
        assert_discarded(ledger, 8, false);
        assert_discarded(ledger, 9, true);
        assert_discarded(ledger, 10, false);
        ledger_close(ledger);
        ledger = open_scratch(*state);
    }
    ledger_close(ledger);
}

static void reopening_ends_retries_from_the_cursor_on(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    uint64_t ahead = 0;

    must_fail_at(ledger, 1, "1");
    must_fail_at(ledger, 2, "22");
    must_fail_at(ledger, 3, "333");
    must_fail_at(ledger, 4, "4444");
    assert_int_equal(ledger_retry(ledger, 1, NULL), 0);
    assert_int_equal(ledger_retry(ledger, 4, NULL), 0);
    assert_int_equal(ledger_reopen_from(ledger, UINT64_MAX, NULL), 0);
    assert_counts(ledger, 2, 2, 10, 0);
    assert_int_equal(ledger_reopen_from(ledger, 3, NULL), 0);
    assert_counts(ledger, 3, 1, 10, 0);
    assert_int_equal(ledger_ahead(ledger, 3, &ahead, NULL), 0);
    assert_int_equal(ahead, 2);
    assert_int_equal(ledger_ahead(ledger, 5, &ahead, NULL), 0);
    assert_int_equal(ahead, 0);
    assert_int_equal(ledger_retry(ledger, 4, NULL), 0);
    assert_int_equal(ledger_reopen_from(ledger, 5, NULL), 0);
    assert_counts(ledger, 2, 2, 10, 0);
    assert_int_equal(ledger_reopen_from(ledger, 4, NULL), 0); /* that is the next to come */
    assert_counts(ledger, 3, 1, 10, 0);
    ledger_close(ledger);
}

static void a_single_one_ahead_is_counted(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    uint64_t ahead = 9;

    assert_int_equal(ledger_ahead(ledger, 0, &ahead, NULL), 0);
    assert_int_equal(ahead, 0);
    must_fail_at(ledger, 3, "1");
    assert_int_equal(ledger_ahead(ledger, 3, &ahead, NULL), 0);
    assert_int_equal(ahead, 1);
    assert_int_equal(ledger_ahead(ledger, 4, &ahead, NULL), 0);
    assert_int_equal(ahead, 0);
    ledger_close(ledger);
}

static void what_is_stored_after_all_has_not_failed(void **state)
{
    const struct ledger_delivery delivery = {.first = 2, .last = 4, .outcome = SLICE("stored")};
    struct ledger *ledger = open_scratch(*state);

    for (uint64_t position = 1; position <= 5; position++)
        must_fail_at(ledger, position, "1");
    assert_int_equal(ledger_delivered(ledger, &delivery, NULL), 0); /* an attempt */
    assert_counts(ledger, 5, 0, 5, 0);
    assert_int_equal(ledger_delivered_to(ledger, &delivery, 5, NULL), 0);
    assert_counts(ledger, 2, 0, 2, 0);
    ledger_close(ledger);
    ledger = open_scratch(*state);
    assert_counts(ledger, 2, 0, 2, 0);
    ledger_close(ledger);
}

static void so_have_those_that_were_all_to_be_tried_again(void **state)
{
    const struct ledger_delivery delivery = {.first = 1, .last = 1, .outcome = SLICE("stored")};
    struct ledger *ledger = open_scratch(*state);

    must_fail_at(ledger, 1, "1");
    assert_int_equal(ledger_retry(ledger, 1, NULL), 0);
    assert_int_equal(ledger_delivered_to(ledger, &delivery, 2, NULL), 0);
    assert_counts(ledger, 0, 0, 0, 0);
    ledger_close(ledger);
}

struct walk {
    struct ledger *ledger;
    uint64_t seen[16];
    unsigned count;
    int answer;
};

static int note(void *arg, const struct ledger_failed *failed)
{
    struct walk *walk = arg;
    char expected[32];

    snprintf(expected, sizeof expected, "record %d", (int)failed->position);
    assert_true(slice_is(failed->record, expected));
    walk->seen[walk->count++] = failed->position;
    return walk->answer;
}

static void fill(struct ledger *ledger, uint64_t first, uint64_t last)
{
    for (uint64_t i = first; i <= last; i++) {
        char record[32];

        snprintf(record, sizeof record, "record %d", (int)i);
        must_fail_at(ledger, i, record);
    }
}

static void a_walk_goes_by_position_in_pages(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    struct walk walk = {0};

    fill(ledger, 5, 9);
    fill(ledger, 0, 4);
    assert_int_equal(ledger_each_failed(ledger, false, 0, true, 3, note, &walk, NULL), 0);
    assert_int_equal(walk.count, 3);
    assert_int_equal(walk.seen[0], 0);
    assert_int_equal(walk.seen[2], 2);
    walk.count = 0;
    assert_int_equal(ledger_each_failed(ledger, false, 2, false, 100, note, &walk, NULL), 0);
    assert_int_equal(walk.count, 7);
    assert_int_equal(walk.seen[0], 3);
    assert_int_equal(walk.seen[6], 9);
    walk.count = 0;
    assert_int_equal(ledger_each_failed(ledger, false, 0, false, 1, note, &walk, NULL), 0);
    assert_int_equal(walk.seen[0], 1);
    walk.count = 0;
    assert_int_equal(ledger_each_failed(ledger, false, UINT64_MAX, false, 100, note, &walk, NULL),
                     0);
    assert_int_equal(walk.count, 0);
    ledger_close(ledger);
}

static void a_walk_shows_one_kind(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    struct walk walk = {0};

    fill(ledger, 0, 5);
    assert_int_equal(ledger_retry(ledger, 0, NULL), 0);
    assert_int_equal(ledger_retry(ledger, 3, NULL), 0);
    assert_int_equal(ledger_each_failed(ledger, true, 0, true, 100, note, &walk, NULL), 0);
    assert_int_equal(walk.count, 2);
    assert_int_equal(walk.seen[0], 0);
    assert_int_equal(walk.seen[1], 3);
    walk.count = 0;
    assert_int_equal(ledger_each_failed(ledger, false, 0, true, 100, note, &walk, NULL), 0);
    assert_int_equal(walk.count, 4);
    assert_int_equal(walk.seen[0], 1);
    ledger_close(ledger);
}

static void a_visitor_ends_the_walk(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    struct walk walk = {.answer = 1};

    fill(ledger, 1, 3);
    assert_int_equal(ledger_each_failed(ledger, false, 0, true, 100, note, &walk, NULL), 0);
    assert_int_equal(walk.count, 1);
    walk.answer = ERR_CLOSED;
    assert_int_equal(ledger_each_failed(ledger, false, 0, true, 100, note, &walk, NULL),
                     ERR_CLOSED);
    assert_int_equal(walk.count, 2);
    ledger_close(ledger);
}

static int recover(void *arg, const struct ledger_failed *failed)
{
    struct walk *walk = arg;

    walk->seen[walk->count++] = failed->position;
    return ledger_recovered(walk->ledger, failed->position, NULL);
}

static void a_visitor_may_change_what_it_is_shown(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    struct walk walk = {.ledger = ledger};

    fill(ledger, 1, 6);
    for (uint64_t i = 1; i <= 6; i++)
        assert_int_equal(ledger_retry(ledger, i, NULL), 0);
    assert_int_equal(ledger_each_failed(ledger, true, 0, true, 100, recover, &walk, NULL), 0);
    assert_int_equal(walk.count, 6);
    assert_counts(ledger, 0, 0, 0, 0);
    ledger_close(ledger);
}

static void beyond_a_bound_no_new_one_is_taken(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    struct err err = {0};

    ledger_bound(ledger, 2, 1000);
    must_fail_at(ledger, 1, "one");
    assert_false(ledger_counts(ledger).full);
    must_fail_at(ledger, 2, "two");
    assert_true(ledger_counts(ledger).full);
    assert_int_equal(ledger_fail(ledger, 3, SLICE("three"), SLICE("reason"), 1, &err), ERR_FULL);
    assert_non_null(strstr(err.text, "FAILED_MAX"));
    assert_counts(ledger, 2, 0, 6, 0);
    /* One that is kept already may fail again, by the same right as before. */
    assert_int_equal(ledger_retry(ledger, 2, NULL), 0);
    assert_int_equal(ledger_fail(ledger, 3, SLICE("three"), SLICE("reason"), 1, &err), ERR_FULL);
    must_fail_at(ledger, 2, "two");
    assert_int_equal(ledger_discard(ledger, 1, NULL), 0);
    must_fail_at(ledger, 3, "three");
    ledger_bound(ledger, 100, 8);
    assert_true(ledger_counts(ledger).full);
    assert_int_equal(ledger_fail(ledger, 4, SLICE("four"), SLICE("reason"), 1, &err), ERR_FULL);
    ledger_close(ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_scratch(a_failure_is_found_with_its_content_and_reason),
        in_scratch(the_longest_record_comes_back_whole),
        in_scratch(position_zero_and_empty_texts_are_possible),
        in_scratch(what_did_not_fail_is_not_found),
        in_scratch(a_second_failure_ends_retrying_and_counts_attempts),
        in_scratch(a_retrying_one_is_neither_retried_nor_discarded),
        in_scratch(only_a_retrying_one_recovers),
        in_scratch(discarding_forgets_and_is_counted),
        in_scratch(what_was_discarded_is_known_in_whatever_order_and_after_reopening),
        in_scratch(reopening_ends_retries_from_the_cursor_on),
        in_scratch(a_single_one_ahead_is_counted),
        in_scratch(what_is_stored_after_all_has_not_failed),
        in_scratch(so_have_those_that_were_all_to_be_tried_again),
        in_scratch(a_walk_goes_by_position_in_pages),
        in_scratch(a_walk_shows_one_kind),
        in_scratch(a_visitor_ends_the_walk),
        in_scratch(a_visitor_may_change_what_it_is_shown),
        in_scratch(beyond_a_bound_no_new_one_is_taken),
    };

    return cmocka_run_group_tests_name("ledger/fail", tests, NULL, NULL);
}
