/*
 * The cursor and the deliveries.
 */
#include "scratch.h"

#include <sqlite3.h>

static void deliver(struct ledger *ledger, uint64_t first)
{
    const struct ledger_delivery delivery = {
        .first = first,
        .last = first + 9,
        .transactions = 10,
        .rows = 100,
        .started_us = 1000 + (int64_t)first,
        .duration_us = 50,
        .outcome = SLICE("stored"),
    };

    assert_int_equal(ledger_delivered(ledger, &delivery, NULL), 0);
}

struct walk {
    struct ledger_delivery last;
    char words[64];
    int64_t numbers[512];
    unsigned count;
    int answer;
};

static int note(void *arg, const struct ledger_delivery *delivery)
{
    struct walk *walk = arg;

    walk->last = *delivery;
    snprintf(walk->words, sizeof walk->words, "%.*s|%.*s", SLICE_ARG(delivery->outcome),
             SLICE_ARG(delivery->error));
    walk->numbers[walk->count++] = delivery->number;
    return walk->answer;
}

static struct walk walk_all(struct ledger *ledger, unsigned limit)
{
    struct walk walk = {0};

    assert_int_equal(ledger_each_delivery(ledger, limit, note, &walk, NULL), 0);
    return walk;
}

static void the_cursor_moves_both_ways(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    uint64_t cursor = 0;

    assert_int_equal(ledger_set_cursor(ledger, 100, NULL), 0);
    assert_int_equal(ledger_set_cursor(ledger, 100, NULL), 0);
    assert_int_equal(ledger_cursor(ledger, &cursor, NULL), 0);
    assert_int_equal(cursor, 100);
    assert_int_equal(ledger_set_cursor(ledger, 40, NULL), 0);
    ledger_close(ledger);
    ledger = open_scratch(*state);
    assert_int_equal(ledger_cursor(ledger, &cursor, NULL), 0);
    assert_int_equal(cursor, 40);
    ledger_close(ledger);
}

static void a_delivery_comes_back_as_it_was(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    const struct ledger_delivery refused = {
        .number = 77,
        .first = 5,
        .last = (UINT64_C(1) << 60) - 1,
        .transactions = 3,
        .rows = 30,
        .started_us = 111,
        .duration_us = 222,
        .outcome = SLICE("refused"),
        .error = SLICE("value too long"),
    };
    struct walk walk;

    assert_int_equal(ledger_delivered(ledger, &refused, NULL), 0);
    walk = walk_all(ledger, 10);
    assert_int_equal(walk.count, 1);
    assert_int_equal(walk.last.number, 1);
    assert_int_equal(walk.last.first, 5);
    assert_int_equal(walk.last.last, (UINT64_C(1) << 60) - 1);
    assert_int_equal(walk.last.transactions, 3);
    assert_int_equal(walk.last.rows, 30);
    assert_int_equal(walk.last.started_us, 111);
    assert_int_equal(walk.last.duration_us, 222);
    assert_string_equal(walk.words, "refused|value too long");
    ledger_close(ledger);
}

static int error_is_absent(void *arg, const struct ledger_delivery *delivery)
{
    *(bool *)arg = delivery->error.at == NULL;
    return 0;
}

static void no_error_and_an_empty_one_differ(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    const struct ledger_delivery empty = {.outcome = SLICE("refused"), .error = SLICE("")};
    bool absent = false;

    deliver(ledger, 1);
    assert_int_equal(ledger_each_delivery(ledger, 1, error_is_absent, &absent, NULL), 0);
    assert_true(absent);
    assert_int_equal(ledger_delivered(ledger, &empty, NULL), 0);
    assert_int_equal(ledger_each_delivery(ledger, 1, error_is_absent, &absent, NULL), 0);
    assert_false(absent);
    ledger_close(ledger);
}

static void deliveries_are_shown_newest_first(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    struct walk walk;

    for (uint64_t i = 1; i <= 5; i++)
        deliver(ledger, i * 10);
    walk = walk_all(ledger, 3);
    assert_int_equal(walk.count, 3);
    assert_int_equal(walk.numbers[0], 5);
    assert_int_equal(walk.numbers[2], 3);
    assert_int_equal(walk.last.first, 30);
    walk.count = 0;
    walk.answer = ERR_CLOSED;
    assert_int_equal(ledger_each_delivery(ledger, 3, note, &walk, NULL), ERR_CLOSED);
    assert_int_equal(walk.count, 1);
    ledger_close(ledger);
}

static int64_t rows_on_disk(struct scratch *scratch)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    int64_t rows;

    assert_int_equal(sqlite3_open(scratch->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM delivery", -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    rows = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return rows;
}

static void only_the_last_ones_are_kept_and_numbers_go_on(void **state)
{
    struct scratch *scratch = *state;
    struct ledger *ledger = open_keeping(scratch, 10);
    struct walk walk;

    for (uint64_t i = 1; i <= 300; i++)
        deliver(ledger, i);
    walk = walk_all(ledger, 500);
    assert_int_equal(walk.count, 10);
    assert_int_equal(walk.numbers[0], 300);
    assert_int_equal(walk.numbers[9], 291);
    ledger_close(ledger);
    assert_true(rows_on_disk(scratch) < 10 + 64);

    ledger = open_keeping(scratch, 10);
    deliver(ledger, 1);
    walk = walk_all(ledger, 500);
    assert_int_equal(walk.count, 10);
    assert_int_equal(walk.numbers[0], 301);
    ledger_close(ledger);
}

static void a_lowered_bound_is_reached_in_steps(void **state)
{
    struct scratch *scratch = *state;
    struct ledger *ledger = open_keeping(scratch, 2000);
    struct walk walk;

    for (uint64_t i = 1; i <= 1280; i++)
        deliver(ledger, i);
    ledger_close(ledger);
    assert_int_equal(rows_on_disk(scratch), 1280);
    ledger = open_keeping(scratch, 5);
    for (uint64_t i = 1; i <= 192; i++)
        deliver(ledger, i);
    walk = walk_all(ledger, 500);
    assert_int_equal(walk.count, 5);
    ledger_close(ledger);
    assert_true(rows_on_disk(scratch) < 5 + 64);
}

static void none_are_shown_if_none_are_kept(void **state)
{
    struct ledger *ledger = open_keeping(*state, 0);

    for (uint64_t i = 1; i <= 70; i++)
        deliver(ledger, i);
    assert_int_equal(walk_all(ledger, 500).count, 0);
    ledger_close(ledger);
}

static void a_delivery_and_its_cursor_are_one_step(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    const struct ledger_delivery delivery = {.first = 1, .last = 20, .outcome = SLICE("stored")};
    uint64_t cursor = 0;

    assert_int_equal(ledger_delivered_to(ledger, &delivery, 21, NULL), 0);
    assert_int_equal(ledger_cursor(ledger, &cursor, NULL), 0);
    assert_int_equal(cursor, 21);
    ledger_close(ledger);
    ledger = open_scratch(*state);
    assert_int_equal(ledger_cursor(ledger, &cursor, NULL), 0);
    assert_int_equal(cursor, 21);
    assert_int_equal(walk_all(ledger, 10).last.last, 20);
    ledger_close(ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_scratch(the_cursor_moves_both_ways),
        in_scratch(a_delivery_comes_back_as_it_was),
        in_scratch(no_error_and_an_empty_one_differ),
        in_scratch(deliveries_are_shown_newest_first),
        in_scratch(only_the_last_ones_are_kept_and_numbers_go_on),
        in_scratch(a_lowered_bound_is_reached_in_steps),
        in_scratch(none_are_shown_if_none_are_kept),
        in_scratch(a_delivery_and_its_cursor_are_one_step),
    };

    return cmocka_run_group_tests_name("ledger/deliver", tests, NULL, NULL);
}
