/*
 * The forwarder's decisions, driven against a pretended store: which transactions it takes,
 * which it refuses, when it is not there.
 */
#include "forward/forward_step.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MOST = 5000 };

/* A store that refuses some transactions and counts what it is asked. */
struct pretended {
    struct forward_state state;
    bool bad[MOST];
    unsigned stored[MOST];
    unsigned failed[MOST];
    unsigned attempts;
    unsigned cursor_moves; /* writes of no transaction */
};

static bool range_is_bad(const struct pretended *store, size_t first, size_t last)
{
    for (size_t i = first; i < last; i++) {
        if (store->bad[i])
            return true;
    }
    return false;
}

static struct forward_event answer(struct pretended *store)
{
    const struct forward_state *state = &store->state;

    store->attempts++;
    store->cursor_moves += state->first == state->last;
    if (range_is_bad(store, state->first, state->last))
        return (struct forward_event){.kind = EVENT_REFUSED};
    for (size_t i = state->first; i < state->last; i++)
        store->stored[i]++;
    return (struct forward_event){.kind = EVENT_STORED};
}

/* One batch from start to finish. */
static void deliver(struct pretended *store, size_t count)
{
    struct forward_event event = {.kind = EVENT_BATCH, .count = count};

    for (;;) {
        switch (forward_step(&store->state, &event, 0)) {
        case ACTION_WRITE:
            event = answer(store);
            break;
        case ACTION_FAIL:
            store->failed[store->state.first]++;
            event.kind = EVENT_FAILED;
            break;
        case ACTION_FINISH:
            return;
        default:
            fail_msg("neither a write nor a failure");
        }
    }
}

static struct pretended *connected(void)
{
    struct pretended *store = calloc(1, sizeof *store);

    assert_non_null(store);
    store->state = (struct forward_state){
        .retry_min_ms = 100, .retry_max_ms = 30000, .random = 88172645463325252u};
    assert_int_equal(forward_step(&store->state, &(struct forward_event){.kind = EVENT_START}, 0),
                     ACTION_CONNECT);
    assert_int_equal(
        forward_step(&store->state, &(struct forward_event){.kind = EVENT_CONNECTED}, 0),
        ACTION_LOAD);
    return store;
}

static void check_each_once(const struct pretended *store, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(store->stored[i], store->bad[i] ? 0 : 1);
        assert_int_equal(store->failed[i], store->bad[i] ? 1 : 0);
    }
}

static void a_good_batch_is_written_at_once(void **state)
{
    struct pretended *store = connected();

    (void)state;
    deliver(store, 5000);
    check_each_once(store, 5000);
    assert_int_equal(store->attempts, 1);
    free(store);
}

static void one_bad_transaction_among_5000_is_found_wherever_it_stands(void **state)
{
    static const size_t places[] = {0, 1, 2499, 2500, 4998, 4999};

    (void)state;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct pretended *store = connected();

        store->bad[places[i]] = true;
        deliver(store, 5000);
        check_each_once(store, 5000);
        assert_true(store->attempts <= 40); /* about 3 log2(5000) */
        free(store);
    }
}

static void many_bad_ones_cost_logarithms_and_not_the_batch(void **state)
{
    struct pretended *store = connected();

    (void)state;
    for (size_t i = 0; i < 50; i++)
        store->bad[i * 97 + 13] = true;
    deliver(store, 5000);
    check_each_once(store, 5000);
    assert_true(store->attempts <= 50 * 20);
    free(store);
}

static void a_batch_of_nothing_but_bad_ones_fails_each(void **state)
{
    struct pretended *store = connected();

    (void)state;
    for (size_t i = 0; i < 64; i++)
        store->bad[i] = true;
    deliver(store, 64);
    check_each_once(store, 64);
    free(store);
}

static void the_cursor_passes_a_bad_one_at_the_end(void **state)
{
    struct pretended *store = connected();

    (void)state;
    store->bad[9] = true;
    deliver(store, 10);
    check_each_once(store, 10);
    assert_int_equal(store->cursor_moves, 1);
    free(store);
}

static void damaged_bytes_alone_move_the_cursor(void **state)
{
    struct pretended *store = connected();

    (void)state;
    deliver(store, 0);
    assert_int_equal(store->cursor_moves, 1);
    free(store);
}

static void a_store_that_is_gone_is_asked_again_after_growing_pauses(void **state)
{
    struct pretended *store = connected();
    int64_t now = 1000;
    int64_t longest = 0;
    unsigned shortened = 0;

    (void)state;
    for (int i = 0; i < 30; i++) {
        struct forward_event event = {.kind = EVENT_UNAVAILABLE};
        int64_t pause;
        int64_t full = 100;

        for (int k = 0; k < i && full < 30000; k++)
            full *= 2;
        if (full > 30000)
            full = 30000;
        assert_int_equal(forward_step(&store->state, &event, now), ACTION_WAIT);
        pause = store->state.retry_at_ms - now;
        assert_true(pause >= full / 2 && pause <= full);
        longest = pause > longest ? pause : longest;
        shortened += pause < full;
        event.kind = EVENT_TIME;
        assert_int_equal(forward_step(&store->state, &event, now + pause - 1), ACTION_WAIT);
        now += pause;
        assert_int_equal(forward_step(&store->state, &event, now), ACTION_CONNECT);
    }
    assert_true(longest > 15000);
    assert_true(shortened > 15); /* so that many engines do not knock in step */
    free(store);
}

static void a_cursor_that_is_refused_is_tried_again_after_a_pause(void **state)
{
    struct pretended *store = connected();
    struct forward_event event = {.kind = EVENT_BATCH, .count = 0};

    (void)state;
    assert_int_equal(forward_step(&store->state, &event, 0), ACTION_WRITE);
    event.kind = EVENT_REFUSED;
    assert_int_equal(forward_step(&store->state, &event, 0), ACTION_WAIT);
    assert_true(store->state.retry_at_ms >= 50);
    event.kind = EVENT_TIME;
    assert_int_equal(forward_step(&store->state, &event, store->state.retry_at_ms), ACTION_CONNECT);
    free(store);
}

static void a_success_ends_the_growing_of_pauses(void **state)
{
    struct pretended *store = connected();
    struct forward_event event = {.kind = EVENT_UNAVAILABLE};

    (void)state;
    for (int i = 0; i < 10; i++)
        forward_step(&store->state, &event, 0);
    event.kind = EVENT_CONNECTED;
    assert_int_equal(forward_step(&store->state, &event, 0), ACTION_LOAD);
    deliver(store, 10);
    event.kind = EVENT_UNAVAILABLE;
    assert_int_equal(forward_step(&store->state, &event, 0), ACTION_WAIT);
    assert_true(store->state.retry_at_ms <= 100);
    free(store);
}

/* The store answers, and so does the ledger: what failed before is over. */
static void so_does_a_refusal_that_is_dealt_with(void **state)
{
    (void)state;
    for (size_t count = 1; count <= 2; count++) {
        struct pretended *store = connected();
        struct forward_event event = {.kind = EVENT_UNAVAILABLE};

        for (int i = 0; i < 10; i++)
            forward_step(&store->state, &event, 0);
        event.kind = EVENT_CONNECTED;
        assert_int_equal(forward_step(&store->state, &event, 0), ACTION_LOAD);
        event = (struct forward_event){.kind = EVENT_BATCH, .count = count};
        assert_int_equal(forward_step(&store->state, &event, 0), ACTION_WRITE);
        event.kind = EVENT_REFUSED;
        if (count == 1) { /* nothing to divide */
            assert_int_equal(forward_step(&store->state, &event, 0), ACTION_FAIL);
            event.kind = EVENT_FAILED;
        }
        assert_int_equal(forward_step(&store->state, &event, 0), ACTION_WRITE);
        event.kind = EVENT_UNAVAILABLE;
        assert_int_equal(forward_step(&store->state, &event, 0), ACTION_WAIT);
        assert_true(store->state.retry_at_ms <= 100);
        free(store);
    }
}

static void after_a_batch_that_was_divided_the_next_one_is_whole(void **state)
{
    struct pretended *store = connected();
    unsigned attempts;

    (void)state;
    store->bad[9] = true;
    deliver(store, 10);
    store->bad[9] = false;
    attempts = store->attempts;
    deliver(store, 5000);
    assert_int_equal(store->attempts, attempts + 1);
    free(store);
}

static void a_ledger_that_cannot_write_does_not_let_the_cursor_pass(void **state)
{
    struct pretended *store = connected();
    struct forward_event event = {.kind = EVENT_BATCH, .count = 1};

    (void)state;
    assert_int_equal(forward_step(&store->state, &event, 0), ACTION_WRITE);
    event.kind = EVENT_REFUSED;
    assert_int_equal(forward_step(&store->state, &event, 0), ACTION_FAIL);
    event.kind = EVENT_UNAVAILABLE;
    assert_int_equal(forward_step(&store->state, &event, 0), ACTION_WAIT);
    event.kind = EVENT_TIME; /* the store may take it by now */
    assert_int_equal(forward_step(&store->state, &event, store->state.retry_at_ms), ACTION_WRITE);
    assert_int_equal(store->state.first, 0);
    assert_int_equal(store->state.last, 1);
    event.kind = EVENT_REFUSED;
    assert_int_equal(forward_step(&store->state, &event, 0), ACTION_FAIL);
    event.kind = EVENT_FAILED;
    assert_int_equal(forward_step(&store->state, &event, 0), ACTION_WRITE);
    assert_int_equal(store->state.first, 1);
    assert_int_equal(store->state.last, 1);
    free(store);
}

static void
what_is_refused_while_the_ledger_cannot_write_is_asked_for_ever_more_rarely(void **state)
{
    struct pretended *store = connected();
    struct forward_event event = {.kind = EVENT_BATCH, .count = 1};
    int64_t pause = 0;

    (void)state;
    assert_int_equal(forward_step(&store->state, &event, 0), ACTION_WRITE);
    for (int i = 0; i < 20; i++) {
        event.kind = EVENT_REFUSED;
        assert_int_equal(forward_step(&store->state, &event, 0), ACTION_FAIL);
        event.kind = EVENT_UNAVAILABLE;
        assert_int_equal(forward_step(&store->state, &event, 0), ACTION_WAIT);
        pause = store->state.retry_at_ms;
        event.kind = EVENT_TIME;
        assert_int_equal(forward_step(&store->state, &event, pause), ACTION_WRITE);
    }
    assert_true(pause >= 15000);
    free(store);
}

static void a_conflict_starts_over_at_the_store_s_cursor(void **state)
{
    struct pretended *store = connected();
    struct forward_event event = {.kind = EVENT_BATCH, .count = 7};

    (void)state;
    assert_int_equal(forward_step(&store->state, &event, 0), ACTION_WRITE);
    event.kind = EVENT_CONFLICT;
    assert_int_equal(forward_step(&store->state, &event, 0), ACTION_WAIT);
    event.kind = EVENT_TIME;
    assert_int_equal(forward_step(&store->state, &event, store->state.retry_at_ms), ACTION_CONNECT);
    free(store);
}

static void a_ledger_that_is_full_lets_the_cursor_pass_what_it_has(void **state)
{
    struct forward_state machine = {
        .phase = PHASE_IDLE, .retry_min_ms = 10, .retry_max_ms = 10, .random = 1};
    struct forward_event event = {.kind = EVENT_BATCH, .count = 2};

    (void)state;
    assert_int_equal(forward_step(&machine, &event, 0), ACTION_WRITE);
    event.kind = EVENT_REFUSED;
    assert_int_equal(forward_step(&machine, &event, 0), ACTION_WRITE);
    assert_int_equal(forward_step(&machine, &event, 0), ACTION_FAIL);
    event.kind = EVENT_FAILED; /* the first: the ledger had room */
    assert_int_equal(forward_step(&machine, &event, 0), ACTION_WRITE);
    event.kind = EVENT_REFUSED;
    assert_int_equal(forward_step(&machine, &event, 0), ACTION_FAIL);
    event.kind = EVENT_UNAVAILABLE; /* the second: none left */
    assert_int_equal(forward_step(&machine, &event, 0), ACTION_WRITE);
    assert_int_equal(machine.first, 1);
    assert_int_equal(machine.last, 1);
    event.kind = EVENT_STORED;
    assert_int_equal(forward_step(&machine, &event, 0), ACTION_WRITE);
    assert_int_equal(machine.last, 2);
    event.kind = EVENT_REFUSED;
    assert_int_equal(forward_step(&machine, &event, 0), ACTION_FAIL);
    event.kind = EVENT_UNAVAILABLE; /* now there is nothing to pass: it waits */
    assert_int_equal(forward_step(&machine, &event, 0), ACTION_WAIT);
    event.kind = EVENT_TIME;
    assert_int_equal(forward_step(&machine, &event, 20), ACTION_WRITE);
    assert_int_equal(machine.first, 1);
    assert_int_equal(machine.last, 2);
}

/* A store that can do so many at once within the time limit. */
struct slow_store {
    size_t most, left;
    unsigned writes, too_many;
};

static struct forward_event ask_slow_store(struct slow_store *store,
                                           const struct forward_state *state)
{
    size_t tried = state->last - state->first;

    store->writes++;
    if (tried > store->most) {
        store->too_many++;
        return (struct forward_event){.kind = EVENT_UNAVAILABLE};
    }
    store->left -= tried;
    return (struct forward_event){.kind = EVENT_STORED};
}

/* Forwards all that is left, in batches of this many. */
static void forward_to_slow_store(struct slow_store *store, struct forward_state *state,
                                  size_t batch)
{
    struct forward_event event = {.kind = EVENT_START};

    while (store->left > 0) {
        assert_true(store->writes < 1000);
        switch (forward_step(state, &event, state->retry_at_ms)) {
        case ACTION_CONNECT:
            event.kind = EVENT_CONNECTED;
            break;
        case ACTION_WAIT:
            event.kind = EVENT_TIME;
            break;
        case ACTION_WRITE:
            event = ask_slow_store(store, state);
            break;
        default:
            event.kind = EVENT_BATCH;
            event.count = store->left < batch ? store->left : batch;
        }
    }
}

static void what_is_too_much_for_the_time_limit_is_divided(void **state)
{
    struct forward_state machine = {.retry_min_ms = 10, .retry_max_ms = 10, .random = 1};
    struct slow_store store = {.most = 300, .left = 100000};

    (void)state;
    forward_to_slow_store(&store, &machine, 5000);
    assert_true(store.too_many <= 5 + store.writes / 6);
    assert_true(store.writes <= 100000 / 150 + store.too_many);
}

static void a_single_one_is_the_least_and_a_cursor_alone_is_no_measure(void **state)
{
    struct pretended *store = connected();
    struct forward_event event = {.kind = EVENT_BATCH, .count = 1};

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(forward_step(&store->state, &event, 0), ACTION_WRITE);
        event.kind = EVENT_UNAVAILABLE;
        assert_int_equal(forward_step(&store->state, &event, 0), ACTION_WAIT);
        assert_int_equal(store->state.most, 1);
        event.kind = EVENT_CONNECTED;
        assert_int_equal(forward_step(&store->state, &event, 0), ACTION_LOAD);
        event = (struct forward_event){.kind = EVENT_BATCH, .count = 0};
    }
    free(store);
}

static void a_store_that_is_fast_again_gets_whole_batches(void **state)
{
    struct forward_state machine = {.retry_min_ms = 10, .retry_max_ms = 10, .random = 1};
    struct slow_store store = {.most = 1, .left = 10};

    (void)state;
    forward_to_slow_store(&store, &machine, 5000);
    store = (struct slow_store){.most = SIZE_MAX, .left = 100000};
    forward_to_slow_store(&store, &machine, 5000);
    assert_true(store.writes < 100);
    assert_true(machine.most > 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_batch_is_written_at_once),
        cmocka_unit_test(one_bad_transaction_among_5000_is_found_wherever_it_stands),
        cmocka_unit_test(many_bad_ones_cost_logarithms_and_not_the_batch),
        cmocka_unit_test(a_batch_of_nothing_but_bad_ones_fails_each),
        cmocka_unit_test(the_cursor_passes_a_bad_one_at_the_end),
        cmocka_unit_test(damaged_bytes_alone_move_the_cursor),
        cmocka_unit_test(a_store_that_is_gone_is_asked_again_after_growing_pauses),
        cmocka_unit_test(a_cursor_that_is_refused_is_tried_again_after_a_pause),
        cmocka_unit_test(a_success_ends_the_growing_of_pauses),
        cmocka_unit_test(so_does_a_refusal_that_is_dealt_with),
        cmocka_unit_test(after_a_batch_that_was_divided_the_next_one_is_whole),
        cmocka_unit_test(a_ledger_that_cannot_write_does_not_let_the_cursor_pass),
        cmocka_unit_test(
            what_is_refused_while_the_ledger_cannot_write_is_asked_for_ever_more_rarely),
        cmocka_unit_test(a_conflict_starts_over_at_the_store_s_cursor),
        cmocka_unit_test(what_is_too_much_for_the_time_limit_is_divided),
        cmocka_unit_test(a_single_one_is_the_least_and_a_cursor_alone_is_no_measure),
        cmocka_unit_test(a_store_that_is_fast_again_gets_whole_batches),
        cmocka_unit_test(a_ledger_that_is_full_lets_the_cursor_pass_what_it_has),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
