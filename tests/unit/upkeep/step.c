/*
 * What the housekeeping thread decides.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "upkeep/upkeep_step.h"

enum { HOUR_MS = 3600000 };

static struct upkeep_state a_state(int64_t interval_ms)
{
    return (struct upkeep_state){
        .interval_ms = interval_ms, .retry_min_ms = 100, .retry_max_ms = 350, .next_run_ms = 1000};
}

static enum upkeep_action on(struct upkeep_state *state, enum upkeep_event_kind kind,
                             int64_t now_ms)
{
    return upkeep_step(state, &(struct upkeep_event){.kind = kind}, now_ms);
}

static enum upkeep_action on_step(struct upkeep_state *state, bool ended, uint64_t rows,
                                  int64_t now_ms)
{
    struct upkeep_event event = {
        .kind = UPKEEP_STEPPED, .ended = ended, .rows = rows, .took_ms = 7};

    return upkeep_step(state, &event, now_ms);
}

/* Goes through a run that finds nothing; gives whether it was to be a full one. */
static bool a_run(struct upkeep_state *state, int64_t now_ms)
{
    bool full;

    assert_int_equal(on(state, UPKEEP_NO_ORDER, now_ms), UPKEEP_EXPIRE);
    full = state->full;
    assert_int_equal(on_step(state, true, 0, now_ms), UPKEEP_LOOK);
    assert_false(state->expiring);
    return full;
}

static void with_nothing_to_do_it_rests_until_poked(void **unused)
{
    struct upkeep_state state = a_state(0);

    (void)unused;
    assert_int_equal(on(&state, UPKEEP_TIME, 5000), UPKEEP_LOOK);
    assert_int_equal(on(&state, UPKEEP_NO_ORDER, 5000), UPKEEP_REST);
    assert_true(state.until_ms == INT64_MAX);
    assert_int_equal(on(&state, UPKEEP_TIME, 999999), UPKEEP_REST);
    assert_int_equal(on(&state, UPKEEP_POKED, 999999), UPKEEP_LOOK);
}

static void an_order_is_carried_out_step_by_step(void **unused)
{
    struct upkeep_state state = a_state(0);

    (void)unused;
    assert_int_equal(on(&state, UPKEEP_ORDER, 50), UPKEEP_FORGET);
    assert_int_equal(on_step(&state, false, 3, 60), UPKEEP_REST);
    assert_int_equal(state.until_ms, 67); /* as long as the step took */
    assert_int_equal(on(&state, UPKEEP_TIME, 66), UPKEEP_REST);
    assert_int_equal(on(&state, UPKEEP_TIME, 67), UPKEEP_FORGET);
    assert_int_equal(on_step(&state, false, 0, 80), UPKEEP_REST); /* rows do not matter */
    assert_int_equal(on(&state, UPKEEP_TIME, 87), UPKEEP_FORGET);
    assert_int_equal(on_step(&state, true, 0, 90), UPKEEP_LOOK); /* is there another? */
    assert_false(state.forgetting);
}

static void orders_that_cannot_be_taken_up_are_looked_at_again(void **unused)
{
    struct upkeep_state state = a_state(0);
    struct upkeep_event none = {.kind = UPKEEP_NO_ORDER, .open = true};

    (void)unused;
    assert_int_equal(upkeep_step(&state, &none, 5000), UPKEEP_REST);
    assert_int_equal(state.until_ms, 5000 + UPKEEP_LOOK_MS);
    state = a_state(HOUR_MS);
    assert_int_equal(upkeep_step(&state, &none, 900), UPKEEP_REST);
    assert_int_equal(state.until_ms, 1000); /* old events are due before that */
}

static void the_first_run_waits_for_its_time_and_the_next_for_the_interval(void **unused)
{
    struct upkeep_state state = a_state(HOUR_MS);

    (void)unused;
    assert_int_equal(on(&state, UPKEEP_NO_ORDER, 999), UPKEEP_REST);
    assert_int_equal(state.until_ms, 1000);
    a_run(&state, 1000);
    assert_int_equal(on(&state, UPKEEP_NO_ORDER, 1001), UPKEEP_REST);
    assert_int_equal(state.until_ms, 1000 + HOUR_MS);
    a_run(&state, 1000 + HOUR_MS);
}

static void the_whole_table_is_gone_through_now_and_then(void **unused)
{
    struct upkeep_state state = a_state(HOUR_MS);

    (void)unused;
    for (int64_t run = 0; run < 3 * UPKEEP_FULL_EVERY; run++)
        assert_int_equal(a_run(&state, 1000 + run * HOUR_MS), run % UPKEEP_FULL_EVERY == 0);
}

static void a_full_run_goes_to_the_end_and_a_short_one_to_the_first_step_without_rows(void **unused)
{
    struct upkeep_state state = a_state(HOUR_MS);

    (void)unused;
    assert_int_equal(on(&state, UPKEEP_NO_ORDER, 1000), UPKEEP_EXPIRE);
    assert_int_equal(on_step(&state, false, 0, 1000), UPKEEP_REST);
    assert_int_equal(on(&state, UPKEEP_TIME, 1007), UPKEEP_LOOK); /* orders go first */
    assert_int_equal(on(&state, UPKEEP_NO_ORDER, 1007), UPKEEP_EXPIRE);
    assert_int_equal(on_step(&state, true, 5, 1010), UPKEEP_LOOK);
    assert_int_equal(on(&state, UPKEEP_NO_ORDER, 1010 + HOUR_MS), UPKEEP_EXPIRE);
    assert_int_equal(on_step(&state, false, 1, 1010 + HOUR_MS), UPKEEP_REST);
    assert_int_equal(on(&state, UPKEEP_NO_ORDER, 1020 + HOUR_MS), UPKEEP_EXPIRE);
    assert_int_equal(on_step(&state, false, 0, 1030 + HOUR_MS), UPKEEP_LOOK);
    assert_false(state.expiring);
}

static void forgetting_goes_before_old_events_which_go_on_afterwards(void **unused)
{
    struct upkeep_state state = a_state(HOUR_MS);

    (void)unused;
    assert_int_equal(on(&state, UPKEEP_NO_ORDER, 1000), UPKEEP_EXPIRE);
    assert_int_equal(on_step(&state, false, 5, 1000), UPKEEP_REST);
    assert_int_equal(on(&state, UPKEEP_POKED, 1001), UPKEEP_LOOK);
    assert_int_equal(on(&state, UPKEEP_ORDER, 1001), UPKEEP_FORGET);
    assert_int_equal(on_step(&state, true, 0, 1002), UPKEEP_LOOK);
    assert_true(state.expiring); /* the end of that walk was not the end of the run */
    assert_int_equal(on(&state, UPKEEP_NO_ORDER, 1002), UPKEEP_EXPIRE);
    assert_true(state.full);
}

static void what_fails_is_tried_again_with_growing_pauses(void **unused)
{
    struct upkeep_state state = a_state(0);

    (void)unused;
    assert_int_equal(on(&state, UPKEEP_ORDER, 0), UPKEEP_FORGET);
    assert_int_equal(on(&state, UPKEEP_FAILED, 0), UPKEEP_REST);
    assert_int_equal(state.until_ms, 100);
    assert_int_equal(on(&state, UPKEEP_POKED, 50), UPKEEP_REST); /* that does not help */
    assert_int_equal(on(&state, UPKEEP_TIME, 100), UPKEEP_FORGET);
    assert_int_equal(on(&state, UPKEEP_FAILED, 100), UPKEEP_REST);
    assert_int_equal(state.until_ms, 300);
    assert_int_equal(on(&state, UPKEEP_TIME, 300), UPKEEP_FORGET);
    assert_int_equal(on(&state, UPKEEP_FAILED, 300), UPKEEP_REST);
    assert_int_equal(state.until_ms, 650);
    assert_int_equal(on(&state, UPKEEP_TIME, 650), UPKEEP_FORGET);
    assert_int_equal(on_step(&state, true, 1, 660), UPKEEP_LOOK);
    assert_int_equal(on(&state, UPKEEP_FAILED, 700), UPKEEP_REST);
    assert_int_equal(state.until_ms, 800);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_nothing_to_do_it_rests_until_poked),
        cmocka_unit_test(an_order_is_carried_out_step_by_step),
        cmocka_unit_test(orders_that_cannot_be_taken_up_are_looked_at_again),
        cmocka_unit_test(the_first_run_waits_for_its_time_and_the_next_for_the_interval),
        cmocka_unit_test(the_whole_table_is_gone_through_now_and_then),
        cmocka_unit_test(a_full_run_goes_to_the_end_and_a_short_one_to_the_first_step_without_rows),
        cmocka_unit_test(forgetting_goes_before_old_events_which_go_on_afterwards),
        cmocka_unit_test(what_fails_is_tried_again_with_growing_pauses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
