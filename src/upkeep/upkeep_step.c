/*
 * The decisions of the housekeeping thread.
 */
#include "upkeep/upkeep_step.h"

static enum upkeep_action rest(struct upkeep_state *state, int64_t until_ms)
{
    state->until_ms = until_ms;
    return UPKEEP_REST;
}

static enum upkeep_action resume(const struct upkeep_state *state)
{
    return state->forgetting ? UPKEEP_FORGET : UPKEEP_LOOK;
}

static enum upkeep_action fail(struct upkeep_state *state, int64_t now_ms)
{
    int64_t pause = state->retry_min_ms;

    for (unsigned i = 0; i < state->failures && pause < state->retry_max_ms; i++)
        pause *= 2;
    state->failures++;
    return rest(state, now_ms + (pause < state->retry_max_ms ? pause : state->retry_max_ms));
}

/* Nobody is to be forgotten now: old events, or nothing. */
static enum upkeep_action idle(struct upkeep_state *state, bool open, int64_t now_ms)
{
    if (!state->expiring && state->interval_ms > 0 && now_ms >= state->next_run_ms) {
        state->expiring = true;
        state->full = state->runs++ % UPKEEP_FULL_EVERY == 0;
    }
    if (state->expiring)
        return UPKEEP_EXPIRE;
    if (open && (state->interval_ms == 0 || now_ms + UPKEEP_LOOK_MS < state->next_run_ms))
        return rest(state, now_ms + UPKEEP_LOOK_MS);
    return rest(state, state->interval_ms > 0 ? state->next_run_ms : INT64_MAX);
}

static enum upkeep_action stepped(struct upkeep_state *state, const struct upkeep_event *event,
                                  int64_t now_ms)
{
    bool over = event->ended;

    state->failures = 0;
    if (state->forgetting) {
        state->forgetting = !over;
    } else if (over || (!state->full && event->rows == 0)) {
        over = true;
        state->expiring = false;
        state->next_run_ms = now_ms + state->interval_ms;
    }
    return over ? UPKEEP_LOOK : rest(state, now_ms + (event->took_ms > 0 ? event->took_ms : 1));
}

enum upkeep_action upkeep_step(struct upkeep_state *state, const struct upkeep_event *event,
                               int64_t now_ms)
{
    switch (event->kind) {
    case UPKEEP_TIME:
        return now_ms < state->until_ms ? UPKEEP_REST : resume(state);
    case UPKEEP_POKED: /* what failed keeps its pause */
        return state->failures > 0 && now_ms < state->until_ms ? UPKEEP_REST : resume(state);
    case UPKEEP_ORDER:
        state->forgetting = true;
        return UPKEEP_FORGET;
    case UPKEEP_NO_ORDER:
        return idle(state, event->open, now_ms);
    case UPKEEP_STEPPED:
        return stepped(state, event, now_ms);
    case UPKEEP_FAILED:
        return fail(state, now_ms);
    }
    return UPKEEP_LOOK;
}
