/*
 * The audit: who was refused, and who changed what, a line each.
 *
 * Anybody can be refused, as often as they like, so those lines have a rate; what exceeds
 * it is counted and said in one line a second, by whichever loop has something to do then.
 * A change takes an admin, so its line is always written. Where somebody comes from is the
 * address at the other end of the connection: a proxy's, if one is between.
 */
#include "api/api_priv.h"

#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>

enum { US_A_SECOND = 1000000 };

/* A path has a key in it only by mistake, and then ends there. */
static struct slice without_key(struct slice path)
{
    const char *key = path.len > 0 ? memmem(path.at, path.len, "la_", 3) : NULL;

    if (key != NULL)
        path.len = (size_t)(key - path.at);
    return path;
}

/* "POST /v1/transactions", without the query: a beacon's key stands there. */
static void name_target(const struct http_request *request, char *out, size_t size)
{
    struct slice method = http_request_method(request);
    struct slice path = without_key(http_request_path(request));

    if (path.len > 128)
        path.len = 128;
    snprintf(out, size, "%.*s %.*s", SLICE_ARG(method), SLICE_ARG(path));
}

void audit_refused(struct api *api, const struct http_request *request, const char *who,
                   const char *why)
{
    char target[192];
    char from[48];

    if (rate_take(&api->audit_lines, api->options.audit_lines, US_A_SECOND, clock_mono_us()) > 0) {
        atomic_fetch_add_explicit(&api->audit_unsaid, 1, memory_order_relaxed);
        return;
    }
    name_target(request, target, sizeof target);
    http_request_peer(request, from, sizeof from);
    log_audit(&(struct log_audit){.action = "login",
                                  .outcome = "refused",
                                  .who = who,
                                  .target = target,
                                  .from = from,
                                  .why = why});
}

void audit_sum_up(struct api *api, bool now)
{
    int64_t now_us;
    int64_t last_us;
    uint64_t unsaid;
    char why[64];

    if (atomic_load_explicit(&api->audit_unsaid, memory_order_relaxed) == 0)
        return;
    now_us = clock_mono_us();
    last_us = atomic_load(&api->audit_summed_us);
    if ((!now && now_us - last_us < US_A_SECOND) ||
        !atomic_compare_exchange_strong(&api->audit_summed_us, &last_us, now_us))
        return;
    unsaid = atomic_exchange(&api->audit_unsaid, 0);
    snprintf(why, sizeof why, "%" PRIu64 " more refused logins", unsaid);
    log_audit(&(struct log_audit){.action = "login", .outcome = "refused", .why = why});
}

void audit_change(const char *action, const char *who, const char *target, const char *from,
                  int code, const struct err *err)
{
    char shown[LOG_FIELD] = "";

    if (target != NULL)
        snprintf(shown, sizeof shown, "%.*s", SLICE_ARG(without_key(slice_of(target))));
    log_audit(&(struct log_audit){.action = action,
                                  .outcome = code == 0 ? "done" : "failed",
                                  .who = who,
                                  .target = target != NULL ? shown : NULL,
                                  .from = from,
                                  .why = code == 0 ? NULL : err->text});
}
