/*
 * How much a caller may do: asked before a body is parsed, charged for what was in it.
 *
 * A request is one of the requests a second. Its datapoints are known only once it is
 * parsed, so it is let in as long as any of the caller's datapoints are left, and then pays
 * for all it brought: a batch larger than the rate is taken, and the next one waits longer.
 * Who is over a limit gets 429 and in `Retry-After` the seconds until there is room again.
 */
#include "api/api_priv.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>

enum { US_A_SECOND = 1000000 };

static bool limit(struct http_request *request, const struct auth_claims *claims,
                  uint64_t per_second, const char *what, int64_t wait_us,
                  atomic_uint_fast64_t *counter)
{
    char seconds[24];
    const struct http_header headers[] = {{"retry-after", seconds}, {NULL, NULL}};

    snprintf(seconds, sizeof seconds, "%" PRId64, (wait_us + US_A_SECOND - 1) / US_A_SECOND);
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
    http_respond_error(request, 429, headers,
                       "%s is over its limit of %" PRIu64 " %s a second: try again in %s s",
                       claims->subject, per_second, what, seconds);
    return false;
}

bool check_rate(struct loop *loop, struct http_request *request, const struct auth_claims *claims,
                enum auth_scope scope)
{
    struct rate_meter *meter = claims->meter;
    const struct rate_limits *limits;
    int64_t now_us;
    int64_t wait_us = 0;

    if (meter == NULL)
        return true;
    limits = meter->limits;
    now_us = clock_mono_us();
    if (limits->requests > 0 && !http_request_was_admitted(request)) /* else it was counted then */
        wait_us = rate_take(&meter->requests, limits->requests, limits->burst_us, now_us);
    if (wait_us > 0)
        return limit(request, claims, limits->requests, "requests", wait_us,
                     &loop->counters.limited_requests);
    if (scope == AUTH_WRITE && limits->datapoints > 0)
        wait_us = rate_wait(&meter->datapoints, limits->datapoints, limits->burst_us, now_us);
    return wait_us == 0 || limit(request, claims, limits->datapoints, "datapoints", wait_us,
                                 &loop->counters.limited_datapoints);
}

void charge(const struct auth_claims *claims, uint64_t datapoints)
{
    struct rate_meter *meter = claims->meter;

    if (meter != NULL && meter->limits->datapoints > 0)
        rate_charge(&meter->datapoints, meter->limits->datapoints, datapoints, clock_mono_us());
}
