/*
 * Settings, memory and time in; go or wait out.
 *
 * A window's next opening is looked for day by day with mktime(3), which knows the zone's rules:
 * a local time that does not exist on the day that summer time begins is moved forward by it, one
 * that exists twice is tried as summer time first, which is the first of the two.
 */
#include "forward/forward_schedule.h"

#include <math.h>
#include <string.h>
#include <time.h>

enum { MINUTES_A_DAY = 24 * 60 };

#define US_PER_SECOND INT64_C(1000000)
#define SMOOTH_US (10.0 * 1e6) /* over which a rate is smoothed */

/* "HH:MM" at text[0..4]. */
static bool parse_time(const char *text, unsigned *ret)
{
    for (int i = 0; i < 5; i++) {
        if (i == 2 ? text[i] != ':' : text[i] < '0' || text[i] > '9')
            return false;
    }
    *ret = (unsigned)((text[0] - '0') * 600 + (text[1] - '0') * 60 + (text[3] - '0') * 10 +
                      (text[4] - '0'));
    return text[3] < '6' && *ret <= MINUTES_A_DAY;
}

int schedule_parse(const char *text, struct schedule *schedule, struct err *err)
{
    unsigned opens, closes;

    if (strcmp(text, "always") == 0) {
        schedule->mode = SCHEDULE_ALWAYS;
        return 0;
    }
    if (strcmp(text, "quiet") == 0) {
        schedule->mode = SCHEDULE_QUIET;
        return 0;
    }
    if (strlen(text) == 11 && text[5] == '-' && parse_time(text, &opens) &&
        parse_time(text + 6, &closes) && opens < MINUTES_A_DAY && closes % MINUTES_A_DAY != opens) {
        schedule->mode = SCHEDULE_WINDOW;
        schedule->opens = opens;
        schedule->closes = closes;
        return 0;
    }
    return err_set(err, ERR_INVALID,
                   "must be always, quiet or a window of local time such as 02:00-05:30");
}

void schedule_sample(const struct schedule *schedule, struct schedule_memory *memory,
                     uint64_t requests, int64_t mono_us)
{
    double elapsed = (double)(mono_us - memory->at_us);
    double rate;

    if (memory->sampled && elapsed <= 0)
        return;
    if (memory->sampled && requests >= memory->requests) {
        rate = (double)(requests - memory->requests) * 1e6 / elapsed;
        memory->rate += (rate - memory->rate) * (1 - exp(-elapsed / SMOOTH_US));
        memory->peak *= exp2(-elapsed / (double)schedule->peak_half_life_us);
        if (memory->peak < memory->rate)
            memory->peak = memory->rate;
    }
    memory->sampled = true;
    memory->at_us = mono_us;
    memory->requests = requests;
}

static bool is_quiet(const struct schedule *schedule, struct schedule_memory *memory)
{
    unsigned share = memory->began ? schedule->quiet_above : schedule->quiet_below;

    return memory->rate <= schedule->quiet_least || memory->rate * 100 <= memory->peak * share;
}

static bool is_inside(const struct schedule *schedule, int64_t wall_us)
{
    time_t seconds = (time_t)(wall_us / US_PER_SECOND);
    struct tm local;
    unsigned minute;

    localtime_r(&seconds, &local);
    minute = (unsigned)(local.tm_hour * 60 + local.tm_min);
    if (schedule->opens < schedule->closes)
        return minute >= schedule->opens && minute < schedule->closes;
    return minute >= schedule->opens || minute < schedule->closes;
}

/* Of the local day `day` days after that of `now`. */
static int64_t opening_on(const struct schedule *schedule, const struct tm *now, int day)
{
    struct tm opening = {
        .tm_year = now->tm_year,
        .tm_mon = now->tm_mon,
        .tm_mday = now->tm_mday + day,
        .tm_hour = (int)schedule->opens / 60,
        .tm_min = (int)schedule->opens % 60,
        .tm_isdst = -1,
    };

    return (int64_t)mktime(&opening) * US_PER_SECOND;
}

/* Outside: when it opens next. A clock on the wall that jumps over the opening (summer time)
 * shows a time inside right after it, and mktime gives an instant not before that. */
static int64_t next_opening(const struct schedule *schedule, int64_t wall_us)
{
    time_t seconds = (time_t)(wall_us / US_PER_SECOND);
    int64_t opening = 0;
    struct tm now;

    localtime_r(&seconds, &now);
    for (int day = 0; day < 3 && opening <= wall_us; day++)
        opening = opening_on(schedule, &now, day);
    return opening;
}

static struct schedule_verdict go(struct schedule_memory *memory, enum schedule_reason reason)
{
    memory->began = reason == REASON_QUIET;
    return (struct schedule_verdict){.go = true, .reason = reason};
}

struct schedule_verdict schedule_judge(const struct schedule *schedule,
                                       struct schedule_memory *memory, uint64_t ordered_to,
                                       const struct schedule_backlog *backlog, int64_t wall_us)
{
    int64_t oldest_us = backlog->oldest_us;
    struct schedule_verdict verdict = {.until_us = INT64_MAX};

    if (ordered_to > memory->drain_to) { /* noted in any case: a window may close meanwhile */
        memory->drain_to = ordered_to;
        memory->drain_reason = REASON_ORDER;
    }
    if (schedule->mode == SCHEDULE_ALWAYS)
        return go(memory, REASON_ALWAYS);
    if (schedule->mode == SCHEDULE_WINDOW && is_inside(schedule, wall_us))
        return go(memory, REASON_WINDOW);
    if (schedule->mode == SCHEDULE_QUIET && is_quiet(schedule, memory))
        return go(memory, REASON_QUIET);
    if (oldest_us <= wall_us && wall_us - oldest_us >= schedule->max_lag_us) {
        memory->drain_to = backlog->end;
        memory->drain_reason = REASON_LAG;
    }
    if (backlog->first < memory->drain_to)
        return go(memory, memory->drain_reason);
    memory->began = false;
    if (oldest_us != INT64_MAX)
        verdict.until_us = oldest_us + schedule->max_lag_us;
    if (schedule->mode == SCHEDULE_WINDOW) {
        int64_t opening = next_opening(schedule, wall_us);

        if (opening < verdict.until_us)
            verdict.until_us = opening;
    }
    verdict.reason = schedule->mode == SCHEDULE_WINDOW ? REASON_OUTSIDE : REASON_BUSY;
    return verdict;
}

const char *schedule_words(enum schedule_reason reason)
{
    static const char *const words[] = {
        [REASON_ALWAYS] = "always",
        [REASON_WINDOW] = "inside the window",
        [REASON_QUIET] = "few requests come in",
        [REASON_LAG] = "the oldest has waited for FORWARD_MAX_LAG",
        [REASON_ORDER] = "ordered",
        [REASON_OUTSIDE] = "outside the window",
        [REASON_BUSY] = "many requests come in",
    };

    return words[reason];
}
