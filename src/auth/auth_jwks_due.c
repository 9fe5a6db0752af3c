/*
 * When to fetch the key set: a function of what came so far, so that tests pass the time in.
 *
 * After a success the set is good for a while, after a failure it is asked for again with a pause
 * that doubles. A token that asks for newer keys shortens the wait, but never below the least
 * interval: anybody can send such tokens, as many as they like.
 */
#include "auth/auth_jwks_priv.h"

#define RETRY_MIN_US INT64_C(1000000)
#define RETRY_MAX_US INT64_C(60000000)

static int64_t pause_after(unsigned failures)
{
    int64_t pause = RETRY_MIN_US;

    while (--failures > 0 && pause < RETRY_MAX_US)
        pause *= 2;
    return pause < RETRY_MAX_US ? pause : RETRY_MAX_US;
}

int64_t jwks_due(const struct jwks_past *past, int64_t refresh_us, int64_t min_interval_us,
                 bool wanted)
{
    int64_t wait = refresh_us;

    if (!past->tried)
        return INT64_MIN;
    if (past->failures > 0 && pause_after(past->failures) < wait)
        wait = pause_after(past->failures);
    if (wanted && min_interval_us < wait)
        wait = min_interval_us;
    return past->ended_us + wait;
}
