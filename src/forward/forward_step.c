/*
 * The forwarder's decisions. Every event moves the phase; what a phase wants is the action.
 * Impossible events are programmer's errors.
 */
#include "forward/forward_step.h"

#include <assert.h>

static uint64_t next_random(struct forward_state *state)
{
    state->random ^= state->random << 13; /* xorshift64, G. Marsaglia 2003 */
    state->random ^= state->random >> 7;
    state->random ^= state->random << 17;
    return state->random;
}

/* min, 2 min, 4 min ... max, each less up to a half: many engines do not knock in step. */
static int64_t pause_ms(struct forward_state *state)
{
    int64_t pause = state->retry_min_ms;

    for (unsigned i = 1; i < state->failures && pause < state->retry_max_ms; i++)
        pause *= 2;
    if (pause > state->retry_max_ms)
        pause = state->retry_max_ms;
    return pause - (int64_t)(next_random(state) % (uint64_t)(pause / 2 + 1));
}

static enum forward_action back_off(struct forward_state *state, enum forward_phase phase,
                                    int64_t now_ms)
{
    state->phase = phase;
    state->failures++;
    state->retry_at_ms = now_ms + pause_ms(state);
    return ACTION_WAIT;
}

/* Aims at the transactions from first on, as many as width and time allow. */
static enum forward_action aim(struct forward_state *state)
{
    size_t rest = state->count - state->first;
    size_t tried = state->width != 0 && state->width < rest ? state->width : rest;

    if (rest == 0 && !state->behind) {
        state->phase = PHASE_IDLE;
        return ACTION_FINISH;
    }
    state->phase = PHASE_BATCH;
    if (state->most != 0 && state->most < tried)
        tried = state->most;
    state->last = state->first + tried;
    return ACTION_WRITE;
}

static enum forward_action stored(struct forward_state *state)
{
    size_t tried = state->last - state->first;

    state->failures = 0;
    state->behind = false;
    if (state->width != 0 && tried > 0)
        state->width = tried * 2;
    if (state->most != 0 && tried >= state->most)
        state->most += state->most / 8 + 1;
    state->first = state->last;
    return aim(state);
}

static enum forward_action refused(struct forward_state *state, int64_t now_ms)
{
    size_t tried = state->last - state->first;

    if (tried == 0) /* the cursor alone is refused: no transaction's fault */
        return back_off(state, PHASE_DOWN, now_ms);
    if (tried == 1) {
        state->phase = PHASE_FAILING;
        return ACTION_FAIL;
    }
    state->failures = 0;
    state->width = tried / 2;
    return aim(state);
}

/* The wait is over: take up what it interrupted. What was refused goes to the store once more, for
 * somebody may have mended that by now, and then the ledger need not take it. */
static enum forward_action resume(struct forward_state *state)
{
    if (state->phase == PHASE_DOWN)
        return ACTION_CONNECT;
    assert(state->phase == PHASE_FAILING);
    state->phase = PHASE_BATCH;
    return ACTION_WRITE;
}

enum forward_action forward_step(struct forward_state *state, const struct forward_event *event,
                                 int64_t now_ms)
{
    switch (event->kind) {
    case EVENT_START:
        state->phase = PHASE_DOWN;
        return ACTION_CONNECT;
    case EVENT_TIME:
        return now_ms < state->retry_at_ms ? ACTION_WAIT : resume(state);
    case EVENT_CONNECTED:
        assert(state->phase == PHASE_DOWN);
        state->phase = PHASE_IDLE;
        return ACTION_LOAD;
    case EVENT_BATCH:
        assert(state->phase == PHASE_IDLE);
        state->first = 0;
        state->count = event->count;
        state->width = 0;
        state->behind = event->count == 0; /* nothing but damaged bytes */
        return aim(state);
    case EVENT_NOTHING:
        assert(state->phase == PHASE_IDLE);
        return ACTION_LOAD;
    case EVENT_STORED:
        assert(state->phase == PHASE_BATCH);
        return stored(state);
    case EVENT_REFUSED:
        assert(state->phase == PHASE_BATCH);
        return refused(state, now_ms);
    case EVENT_FAILED:
        assert(state->phase == PHASE_FAILING);
        state->failures = 0;
        state->first++;
        state->width = 1;
        state->behind = true;
        return aim(state);
    case EVENT_UNAVAILABLE:
        if (state->phase == PHASE_FAILING && state->behind) {
            /* The ledger may be full of what this batch gave it, and nobody can discard that
             * before the cursor has passed it. */
            state->phase = PHASE_BATCH;
            state->last = state->first;
            return ACTION_WRITE;
        }
        if (state->phase == PHASE_BATCH && state->last > state->first)
            state->most = (state->last - state->first + 1) / 2;
        /* The ledger's trouble is no reason to leave the store. */
        return back_off(state, state->phase == PHASE_FAILING ? PHASE_FAILING : PHASE_DOWN, now_ms);
    case EVENT_CONFLICT:
        return back_off(state, PHASE_DOWN, now_ms);
    }
    return ACTION_CONNECT;
}
