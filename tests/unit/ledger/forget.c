/*
 * Orders to forget users, and taking a user out of what the ledger keeps.
 */
#include "scratch.h"

#include <sqlite3.h>

enum { MOST = 100 };

static struct ledger_order must_forget(struct ledger *ledger, const char *user, bool erase,
                                       uint64_t position)
{
    struct ledger_order order = {0};
    struct err err = {0};

    if (ledger_forget(ledger, slice_of(user), erase, position, 1000, MOST, &order, &err) != 0)
        fail_msg("%s", err.text);
    return order;
}

static void assert_verdict(struct ledger *ledger, uint64_t position, const char *user,
                           enum ledger_verdict expected)
{
    assert_int_equal(ledger_verdict(ledger, position, slice_of(user)), expected);
}

/* The first value of a query, as a number. */
static int64_t number(struct scratch *scratch, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *statement;
    int64_t value;

    assert_int_equal(sqlite3_open(scratch->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return value;
}

static void without_orders_everybody_is_kept(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    struct ledger_order order;

    assert_verdict(ledger, 0, "jdoe", LEDGER_KEEP);
    assert_int_equal(ledger_verdict(ledger, 0, (struct slice){0}), LEDGER_KEEP);
    assert_int_equal(ledger_open_orders(ledger), 0);
    assert_false(ledger_next_order(ledger, UINT64_MAX, &order));
    ledger_close(ledger);
}

static void an_order_holds_for_its_user_before_its_position(void **state)
{
    struct ledger *ledger = open_scratch(*state);

    must_forget(ledger, "jdoe", false, 50);
    must_forget(ledger, "asmith", true, 60);
    assert_verdict(ledger, 49, "jdoe", LEDGER_ANONYMISE);
    assert_verdict(ledger, 50, "jdoe", LEDGER_KEEP);
    assert_verdict(ledger, 59, "asmith", LEDGER_ERASE);
    assert_verdict(ledger, 60, "asmith", LEDGER_KEEP);
    assert_verdict(ledger, 10, "jdo", LEDGER_KEEP);
    assert_verdict(ledger, 10, "jdoex", LEDGER_KEEP);
    assert_verdict(ledger, 10, "", LEDGER_KEEP);
    assert_int_equal(ledger_verdict(ledger, 10, (struct slice){0}), LEDGER_KEEP);
    ledger_close(ledger);
}

static void erasing_goes_before_anonymising(void **state)
{
    struct ledger *ledger = open_scratch(*state);

    must_forget(ledger, "jdoe", true, 50);
    must_forget(ledger, "jdoe", false, 70);
    assert_verdict(ledger, 49, "jdoe", LEDGER_ERASE);
    assert_verdict(ledger, 69, "jdoe", LEDGER_ANONYMISE);
    assert_int_equal(ledger_open_orders(ledger), 2);
    ledger_close(ledger);
}

static void many_users_are_told_apart(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    char user[16];

    for (unsigned i = 0; i < MOST; i++) {
        snprintf(user, sizeof user, "u%u", i * 7 % MOST);
        must_forget(ledger, user, false, 100 + i * 7 % MOST);
    }
    for (unsigned i = 0; i < MOST; i++) {
        snprintf(user, sizeof user, "u%u", i);
        assert_verdict(ledger, 99 + i, user, LEDGER_ANONYMISE);
        assert_verdict(ledger, 100 + i, user, LEDGER_KEEP);
    }
    ledger_close(ledger);
}

static void orders_are_bounded_but_for_repeats(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    struct ledger_order order = {.position = 77};
    struct err err = {0};
    static const char longest[] =
        "1234567890123456789012345678901234567890123456789012345678901234";

    assert_int_equal(ledger_forget(ledger, SLICE(longest), false, 5, 1, 1, &order, &err), 0);
    assert_string_equal(order.user, longest);
    assert_int_equal(ledger_forget(ledger, SLICE("b"), false, 5, 1, 1, &order, &err), ERR_FULL);
    assert_string_equal(order.user, longest);
    assert_int_equal(ledger_forget(ledger, SLICE(longest), false, 9, 1, 1, &order, &err), 0);
    assert_int_equal(ledger_forget(ledger, SLICE(""), false, 9, 1, 9, &order, &err), ERR_INVALID);
    assert_int_equal(
        ledger_forget(ledger, (struct slice){longest, 65}, false, 9, 1, 9, &order, &err),
        ERR_INVALID);
    ledger_close(ledger);
}

static void open_orders_come_back_oldest_first_once_the_cursor_is_there(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    struct ledger_order order;

    assert_int_equal(ledger_forget(ledger, SLICE("a"), false, 60, 20, MOST, &order, NULL), 0);
    assert_int_equal(ledger_forget(ledger, SLICE("b"), true, 50, 10, MOST, &order, NULL), 0);
    assert_false(ledger_next_order(ledger, 49, &order));
    assert_true(ledger_next_order(ledger, 50, &order));
    assert_string_equal(order.user, "b");
    assert_true(order.erase);
    assert_true(ledger_next_order(ledger, 60, &order));
    assert_string_equal(order.user, "b");
    assert_int_equal(ledger_forgotten(ledger, &order, NULL), 0);
    assert_int_equal(ledger_forgotten(ledger, &order, NULL), ERR_NOT_FOUND);
    assert_true(ledger_next_order(ledger, 60, &order));
    assert_string_equal(order.user, "a");
    assert_int_equal(order.position, 60);
    assert_int_equal(order.ordered_us, 20);
    assert_int_equal(ledger_open_orders(ledger), 1);
    ledger_close(ledger);
}

static void an_order_that_moved_on_is_not_done(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    struct ledger_order first = must_forget(ledger, "jdoe", false, 50);
    struct ledger_order second = must_forget(ledger, "jdoe", false, 70);

    assert_int_equal(ledger_forgotten(ledger, &first, NULL), ERR_NOT_FOUND);
    assert_int_equal(ledger_open_orders(ledger), 1);
    assert_int_equal(ledger_forgotten(ledger, &second, NULL), 0);
    assert_int_equal(ledger_open_orders(ledger), 0);
    assert_int_equal(must_forget(ledger, "jdoe", false, 60).position, 70);
    assert_int_equal(ledger_open_orders(ledger), 1);
    ledger_close(ledger);
}

/* Nothing was accepted here in between, but in the store there may be rows of others. */
static void an_order_that_was_given_again_at_the_same_position_is_not_done(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    struct ledger_order first, second, found;

    assert_int_equal(ledger_forget(ledger, SLICE("jdoe"), true, 50, 10, MOST, &first, NULL), 0);
    assert_int_equal(ledger_forget(ledger, SLICE("jdoe"), true, 50, 20, MOST, &second, NULL), 0);
    assert_int_equal(ledger_forgotten(ledger, &first, NULL), ERR_NOT_FOUND);
    assert_true(ledger_next_order(ledger, 50, &found));
    assert_int_equal(found.ordered_us, 20);
    assert_int_equal(ledger_forgotten(ledger, &second, NULL), 0);
    assert_int_equal(ledger_open_orders(ledger), 0);
    ledger_close(ledger);
}

static void orders_survive_and_hold_until_they_are_dropped(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    struct ledger_order order = must_forget(ledger, "jdoe", true, 50);

    must_forget(ledger, "asmith", false, 60);
    assert_int_equal(ledger_forgotten(ledger, &order, NULL), 0);
    ledger_close(ledger);
    ledger = open_scratch(*state);
    assert_verdict(ledger, 49, "jdoe", LEDGER_ERASE);
    assert_verdict(ledger, 59, "asmith", LEDGER_ANONYMISE);
    assert_int_equal(ledger_open_orders(ledger), 1);
    assert_int_equal(ledger_drop_orders(ledger, 49, 2000, NULL), 0);
    assert_verdict(ledger, 49, "jdoe", LEDGER_ERASE);
    assert_int_equal(ledger_drop_orders(ledger, 50, 1000, NULL), 0); /* too young */
    assert_verdict(ledger, 49, "jdoe", LEDGER_ERASE);
    assert_int_equal(ledger_drop_orders(ledger, 90, 1001, NULL), 0);
    assert_verdict(ledger, 49, "jdoe", LEDGER_KEEP);
    assert_verdict(ledger, 59, "asmith", LEDGER_ANONYMISE); /* not done yet */
    ledger_close(ledger);
    ledger = open_scratch(*state);
    assert_verdict(ledger, 49, "jdoe", LEDGER_KEEP);
    assert_verdict(ledger, 59, "asmith", LEDGER_ANONYMISE);
    ledger_close(ledger);
}

static void give_done(struct ledger *ledger, const char *user, uint64_t position, int64_t now_us)
{
    struct ledger_order order;

    assert_int_equal(
        ledger_forget(ledger, slice_of(user), true, position, now_us, MOST, &order, NULL), 0);
    assert_int_equal(ledger_forgotten(ledger, &order, NULL), 0);
}

/* In memory and in the file. */
static void only_orders_that_are_old_enough_and_passed_are_dropped(void **state)
{
    struct ledger *ledger = open_scratch(*state);

    give_done(ledger, "passed", 50, 19);
    give_done(ledger, "young", 50, 20);
    give_done(ledger, "ahead", 51, 19);
    assert_int_equal(ledger_drop_orders(ledger, 50, 20, NULL), 0);
    for (int times = 0; times < 2; times++) {
        assert_verdict(ledger, 49, "passed", LEDGER_KEEP);
        assert_verdict(ledger, 49, "young", LEDGER_ERASE);
        assert_verdict(ledger, 49, "ahead", LEDGER_ERASE);
        ledger_close(ledger);
        ledger = open_scratch(*state);
    }
    ledger_close(ledger);
}

static void a_record_is_replaced_and_keeps_its_state(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    struct ledger_failed found;
    struct buf storage = {0};

    must_fail_at(ledger, 1, "one");
    must_fail_at(ledger, 2, "two");
    assert_int_equal(ledger_retry(ledger, 2, NULL), 0);
    assert_int_equal(ledger_replace(ledger, 1, SLICE("first"), NULL), 0);
    assert_counts(ledger, 1, 1, 8, 0);
    assert_int_equal(ledger_replace(ledger, 2, SLICE("2"), NULL), 0);
    assert_int_equal(ledger_replace(ledger, 3, SLICE("3"), NULL), ERR_NOT_FOUND);
    assert_counts(ledger, 1, 1, 6, 0);
    assert_int_equal(ledger_find(ledger, 2, &found, &storage, NULL), 0);
    assert_true(slice_is(found.record, "2"));
    assert_true(slice_is(found.reason, "refused"));
    assert_true(found.retrying);
    buf_free(&storage);
    ledger_close(ledger);
}

static void both_kinds_are_erased_and_count_as_discarded_once(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    bool discarded = false;

    must_fail_at(ledger, 1, "one");
    must_fail_at(ledger, 2, "two");
    assert_int_equal(ledger_retry(ledger, 2, NULL), 0);
    assert_int_equal(ledger_erase(ledger, 1, NULL), 0);
    assert_int_equal(ledger_erase(ledger, 2, NULL), 0);
    assert_int_equal(ledger_erase(ledger, 2, NULL), ERR_NOT_FOUND);
    assert_counts(ledger, 0, 0, 0, 2);
    assert_int_equal(ledger_discarded(ledger, 2, &discarded, NULL), 0);
    assert_true(discarded);
    must_fail_at(ledger, 2, "two"); /* the forwarder was about to say so */
    assert_int_equal(ledger_erase(ledger, 2, NULL), 0);
    assert_counts(ledger, 0, 0, 0, 2);
    ledger_close(ledger);
    ledger = open_scratch(*state);
    assert_counts(ledger, 0, 0, 0, 2);
    ledger_close(ledger);
}

static void a_user_is_masked_in_the_words_of_the_store(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    const struct slice words = SLICE("Failing row contains (1, CLUBS, jdoe, k, v).");
    struct ledger_delivery delivery = {.outcome = SLICE("refused"), .error = words};
    struct ledger_failed found;
    struct buf storage = {0};

    assert_int_equal(ledger_fail(ledger, 1, SLICE("x"), words, 5, NULL), 0);
    assert_int_equal(ledger_delivered(ledger, &delivery, NULL), 0);
    delivery.error = SLICE("jdoe is fine here");
    assert_int_equal(ledger_delivered(ledger, &delivery, NULL), 0);
    delivery.error = (struct slice){0};
    assert_int_equal(ledger_delivered(ledger, &delivery, NULL), 0);
    assert_int_equal(ledger_mask(ledger, SLICE(", jdoe,"), SLICE(", null,"), NULL), 0);
    assert_int_equal(ledger_find(ledger, 1, &found, &storage, NULL), 0);
    assert_true(slice_is(found.reason, "Failing row contains (1, CLUBS, null, k, v)."));
    buf_free(&storage);
    ledger_close(ledger);
    assert_int_equal(number(*state, "SELECT count(*) FROM delivery WHERE error LIKE '%jdoe%'"), 1);
    assert_int_equal(number(*state, "SELECT count(*) FROM delivery WHERE error LIKE '%null,%'"), 1);
    assert_int_equal(number(*state, "SELECT count(*) FROM delivery WHERE error IS NULL"), 1);
}

static bool file_holds(const char *path, const char *word)
{
    FILE *file = fopen(path, "rb");
    char *bytes = malloc(1 << 22);
    size_t len = file != NULL ? fread(bytes, 1, 1 << 22, file) : 0;
    bool found = len > 0 && memmem(bytes, len, word, strlen(word)) != NULL;

    if (file != NULL)
        fclose(file);
    free(bytes);
    return found;
}

static void what_was_taken_out_is_not_in_the_file_any_more(void **state)
{
    struct scratch *scratch = *state;
    struct ledger *ledger = open_scratch(scratch);
    char large[20000];

    memset(large, 'x', sizeof large);
    memcpy(large + 100, "secret-one", 10);
    memcpy(large + 19000, "secret-two", 10);
    assert_int_equal(
        ledger_fail(ledger, 1, (struct slice){large, sizeof large}, SLICE("r"), 1, NULL), 0);
    must_fail_at(ledger, 2, "secret-three");
    ledger_close(ledger); /* the write-ahead file goes into the file */
    assert_true(file_holds(scratch->path, "secret-one"));
    assert_true(file_holds(scratch->path, "secret-two"));
    ledger = open_scratch(scratch);
    assert_int_equal(ledger_replace(ledger, 1, SLICE("y"), NULL), 0);
    assert_int_equal(ledger_erase(ledger, 2, NULL), 0);
    ledger_close(ledger);
    assert_false(file_holds(scratch->path, "secret"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_scratch(without_orders_everybody_is_kept),
        in_scratch(an_order_holds_for_its_user_before_its_position),
        in_scratch(erasing_goes_before_anonymising),
        in_scratch(many_users_are_told_apart),
        in_scratch(orders_are_bounded_but_for_repeats),
        in_scratch(open_orders_come_back_oldest_first_once_the_cursor_is_there),
        in_scratch(an_order_that_moved_on_is_not_done),
        in_scratch(an_order_that_was_given_again_at_the_same_position_is_not_done),
        in_scratch(orders_survive_and_hold_until_they_are_dropped),
        in_scratch(only_orders_that_are_old_enough_and_passed_are_dropped),
        in_scratch(a_record_is_replaced_and_keeps_its_state),
        in_scratch(both_kinds_are_erased_and_count_as_discarded_once),
        in_scratch(a_user_is_masked_in_the_words_of_the_store),
        in_scratch(what_was_taken_out_is_not_in_the_file_any_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
