/*
 * When to forward, over simulated days: windows in zones with and without summer time, lag,
 * orders, clocks that jump, and what counts as quiet.
 */
#include "forward/forward_schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define NEVER INT64_MAX

static void set_zone(const char *zone)
{
    setenv("TZ", zone, 1);
    tzset();
}

/* Of the wall clock in the zone that is set. */
static int64_t at(int year, int month, int day, int hour, int minute)
{
    struct tm tm = {.tm_year = year - 1900,
                    .tm_mon = month - 1,
                    .tm_mday = day,
                    .tm_hour = hour,
                    .tm_min = minute,
                    .tm_isdst = -1};

    return (int64_t)mktime(&tm) * SECOND;
}

static struct schedule window(const char *text)
{
    struct schedule schedule = {.max_lag_us = DAY};
    struct err err;

    assert_int_equal(schedule_parse(text, &schedule, &err), 0);
    return schedule;
}

/* One that arrived then, at a position; others may stand behind it. */
static struct schedule_backlog waits(int64_t oldest, uint64_t first, uint64_t end)
{
    return (struct schedule_backlog){oldest, first, end};
}

static struct schedule_verdict judge_one(const struct schedule *schedule,
                                         struct schedule_memory *memory, bool ordered,
                                         int64_t oldest, int64_t now)
{
    struct schedule_backlog backlog = waits(oldest, 100, oldest == NEVER ? 100 : 200);

    return schedule_judge(schedule, memory, ordered ? backlog.end : 0, &backlog, now);
}

static struct schedule_verdict judge(const struct schedule *schedule, int64_t now)
{
    struct schedule_memory memory = {0};

    return judge_one(schedule, &memory, false, now - SECOND, now);
}

static void windows_are_parsed(void **state)
{
    static const char *const bad[] = {"",
                                      "never",
                                      "2:00-05:00",
                                      "02:00-5:00",
                                      "02:00",
                                      "02:00-02:00",
                                      "24:00-05:00",
                                      "02:60-04:00",
                                      "02:00-03:60",
                                      "02:00-24:01",
                                      "02:00-03:00 ",
                                      "02:00_03:00",
                                      "00:00-24:00",
                                      "+2:00-03:00",
                                      "02:00-03:0x"};
    struct schedule schedule = {0};
    struct err err;

    (void)state;
    schedule = window("09:39-24:00");
    assert_int_equal(schedule.mode, SCHEDULE_WINDOW);
    assert_int_equal(schedule.opens, 9 * 60 + 39);
    assert_int_equal(schedule.closes, 24 * 60);
    assert_int_equal(schedule_parse("quiet", &schedule, &err), 0);
    assert_int_equal(schedule.mode, SCHEDULE_QUIET);
    assert_int_equal(schedule_parse("always", &schedule, &err), 0);
    assert_int_equal(schedule.mode, SCHEDULE_ALWAYS);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(schedule_parse(bad[i], &schedule, &err), ERR_INVALID);
}

/* Minute by minute through a day: open exactly between the two times. */
static void a_window_opens_and_closes_every_day(void **state)
{
    struct schedule schedule = window("02:00-05:30");
    unsigned open = 0;

    (void)state;
    set_zone("America/New_York");
    for (int minute = 0; minute < 3 * 24 * 60; minute++) {
        int64_t now = at(2026, 11, 24, 0, 0) + minute * MINUTE;
        struct schedule_verdict verdict = judge(&schedule, now);
        int of_day = minute % (24 * 60);

        assert_int_equal(verdict.go, of_day >= 120 && of_day < 330);
        open += verdict.go;
        if (!verdict.go)
            assert_true(judge(&schedule, verdict.until_us).go);
    }
    assert_int_equal(open, 3 * 210);
}

static void a_window_may_span_midnight(void **state)
{
    struct schedule schedule = window("23:59-01:00");
    struct schedule_verdict verdict;

    (void)state;
    set_zone("America/New_York");
    assert_true(judge(&schedule, at(2026, 11, 24, 23, 59)).go);
    assert_true(judge(&schedule, at(2026, 11, 25, 0, 59)).go);
    verdict = judge(&schedule, at(2026, 11, 25, 1, 0));
    assert_false(verdict.go);
    assert_int_equal(verdict.reason, REASON_OUTSIDE);
    assert_int_equal(verdict.until_us, at(2026, 11, 25, 23, 59));
}

/* 8 March 2026 has no 02:00 to 03:00 in New York, 1 November has 01:00 to 02:00 twice. */
static void summer_time_begins_and_ends(void **state)
{
    struct schedule schedule = window("02:15-02:45");
    struct schedule early = window("01:00-01:30");
    struct schedule_verdict verdict;
    int64_t first = 0;
    unsigned open = 0;

    (void)state;
    set_zone("America/New_York");
    /* The gap swallows the window: until then names an instant at which it looks again. */
    verdict = judge(&schedule, at(2026, 3, 8, 1, 30));
    assert_false(verdict.go);
    assert_true(verdict.until_us > at(2026, 3, 8, 1, 59));
    assert_true(verdict.until_us <= at(2026, 3, 9, 2, 15));
    assert_true(judge(&schedule, at(2026, 3, 9, 2, 15)).go);
    /* A time that is there twice opens twice, the first time as announced. */
    verdict = judge(&early, at(2026, 11, 1, 0, 30));
    assert_false(verdict.go);
    for (int minute = 0; minute < 180; minute++) {
        int64_t now = at(2026, 11, 1, 0, 30) + minute * MINUTE;

        if (judge(&early, now).go) {
            first = first == 0 ? now : first;
            open++;
        }
    }
    assert_int_equal(open, 60);
    assert_int_equal(verdict.until_us, first);
}

static void simulated_years_always_find_their_window(void **state)
{
    static const char *const zones[] = {"America/New_York", "Europe/Berlin", "Australia/Lord_Howe",
                                        "UTC", "Asia/Kathmandu"};
    struct schedule schedule = window("02:00-04:00");

    (void)state;
    for (size_t i = 0; i < sizeof zones / sizeof *zones; i++) {
        int64_t now;

        set_zone(zones[i]);
        now = at(2026, 1, 1, 12, 0);
        for (int day = 0; day < 730; day++) {
            struct schedule_verdict verdict = judge(&schedule, now);

            assert_false(verdict.go);
            assert_true(verdict.until_us > now);
            assert_true(verdict.until_us <= now + 16 * HOUR);
            assert_true(judge(&schedule, verdict.until_us).go);
            now += DAY;
            /* Summer time moves noon by at most an hour; the window stays far away. */
        }
    }
}

static void who_has_waited_too_long_takes_all_along(void **state)
{
    struct schedule schedule = window("02:00-03:00");
    struct schedule_memory memory = {0};
    struct schedule_backlog backlog;
    struct schedule_verdict verdict;
    int64_t now;

    (void)state;
    set_zone("UTC");
    now = at(2026, 11, 24, 12, 0);
    schedule.max_lag_us = 4 * HOUR;
    verdict = judge_one(&schedule, &memory, false, now - 4 * HOUR + SECOND, now);
    assert_false(verdict.go);
    assert_int_equal(verdict.until_us, now + SECOND);
    verdict = judge_one(&schedule, &memory, false, now - 4 * HOUR, now);
    assert_true(verdict.go);
    assert_int_equal(verdict.reason, REASON_LAG);
    /* The next ones are younger, but were there: they go too; what comes later waits. */
    backlog = waits(now - SECOND, 150, 250);
    assert_true(schedule_judge(&schedule, &memory, 0, &backlog, now + SECOND).go);
    backlog = waits(now, 199, 300);
    assert_true(schedule_judge(&schedule, &memory, 0, &backlog, now + MINUTE).go);
    backlog = waits(now, 200, 300);
    assert_false(schedule_judge(&schedule, &memory, 0, &backlog, now + MINUTE).go);
}

static void an_order_holds_once(void **state)
{
    struct schedule schedule = window("02:00-03:00");
    struct schedule_memory memory = {0};
    struct schedule_backlog backlog;
    int64_t now;

    (void)state;
    set_zone("UTC");
    now = at(2026, 11, 24, 12, 0);
    assert_false(judge_one(&schedule, &memory, false, now - HOUR, now).go);
    assert_int_equal(judge_one(&schedule, &memory, true, now - HOUR, now).reason, REASON_ORDER);
    backlog = waits(now - SECOND, 150, 250);
    assert_true(schedule_judge(&schedule, &memory, 0, &backlog, now + SECOND).go);
    backlog = waits(now - SECOND, 200, 250);
    assert_false(schedule_judge(&schedule, &memory, 0, &backlog, now + SECOND).go);
}

static void an_order_is_for_what_was_there_when_it_was_given(void **state)
{
    struct schedule schedule = window("02:00-03:00");
    struct schedule_memory memory = {0};
    struct schedule_backlog backlog;
    int64_t now;

    (void)state;
    set_zone("UTC");
    now = at(2026, 11, 24, 12, 0);
    /* Given inside the window, it holds when that closes. */
    backlog = waits(now, 100, 150);
    assert_true(schedule_judge(&schedule, &memory, 120, &backlog, at(2026, 11, 24, 2, 59)).go);
    assert_true(schedule_judge(&schedule, &memory, 0, &backlog, at(2026, 11, 24, 3, 0)).go);
    memory = (struct schedule_memory){0};
    /* Nothing was: what has come until it is looked at waits. */
    backlog = waits(now, 100, 150);
    assert_false(schedule_judge(&schedule, &memory, 100, &backlog, now).go);
    assert_true(schedule_judge(&schedule, &memory, 140, &backlog, now).go);
    backlog = waits(now, 140, 150);
    assert_false(schedule_judge(&schedule, &memory, 0, &backlog, now).go);
}

static void an_order_does_not_ask_what_the_clock_was(void **state)
{
    struct schedule schedule = window("02:00-03:00");
    struct schedule_memory memory = {0};
    struct schedule_backlog backlog;
    int64_t now;

    (void)state;
    set_zone("UTC");
    now = at(2026, 11, 24, 12, 0);
    /* What arrived while the clock was a year ahead goes when it is ordered to. */
    assert_true(judge_one(&schedule, &memory, true, now + 365 * DAY, now).go);
    /* The clock is a year ahead when the oldest is overdue, and then right again: the order that
     * follows from it does not hold for all that comes in that year. */
    memory = (struct schedule_memory){0};
    assert_true(judge_one(&schedule, &memory, false, now, now + 365 * DAY).go);
    backlog = waits(now + HOUR, 200, 250);
    assert_false(schedule_judge(&schedule, &memory, 0, &backlog, now + HOUR).go);
}

static void nothing_waits_and_no_window_is_known(void **state)
{
    struct schedule schedule = {.mode = SCHEDULE_QUIET, .max_lag_us = DAY};
    struct schedule_memory memory = {.rate = 100, .peak = 100};
    struct schedule_verdict verdict;

    (void)state;
    set_zone("UTC");
    verdict = judge_one(&schedule, &memory, false, NEVER, DAY);
    assert_false(verdict.go);
    assert_int_equal(verdict.reason, REASON_BUSY);
    assert_int_equal(verdict.until_us, NEVER);
}

static void a_clock_that_jumps_back_a_year_waits_for_the_window(void **state)
{
    struct schedule schedule = window("02:00-03:00");
    struct schedule_memory memory = {0};
    struct schedule_verdict verdict;
    int64_t arrived, now;

    (void)state;
    set_zone("UTC");
    arrived = at(2026, 11, 24, 12, 0);
    now = at(2025, 11, 24, 12, 0);
    verdict = judge_one(&schedule, &memory, false, arrived, now);
    assert_false(verdict.go);
    assert_int_equal(verdict.until_us, at(2025, 11, 25, 2, 0));
    /* And forward a year: all is overdue. */
    now = at(2027, 11, 24, 12, 0);
    assert_int_equal(judge_one(&schedule, &memory, false, arrived, now).reason, REASON_LAG);
}

/* A day of traffic: quiet at night, busy by day, sampled every second. */
static void quiet_follows_the_day_with_hysteresis(void **state)
{
    struct schedule schedule = {.mode = SCHEDULE_QUIET,
                                .max_lag_us = 2 * DAY,
                                .quiet_below = 20,
                                .quiet_above = 40,
                                .quiet_least = 1,
                                .peak_half_life_us = DAY};
    struct schedule_memory memory = {0};
    unsigned changes = 0, night_open = 0, day_open = 0;
    uint64_t requests = 0;
    bool went = true;

    (void)state;
    set_zone("UTC");
    for (int64_t second = 0; second < 3 * 86400; second++) {
        int hour = (int)(second / 3600 % 24);
        /* 1,000 a second by day, 50 at night, an hour of 300 on both sides of the day. */
        unsigned rate = hour >= 9 && hour < 17 ? 1000 : hour == 8 || hour == 17 ? 300 : 50;
        struct schedule_verdict verdict;

        requests += rate + (second % 2 == 0 ? rate / 2 : 0) - (second % 2 == 1 ? rate / 2 : 0);
        schedule_sample(&schedule, &memory, requests, second * SECOND);
        verdict = judge_one(&schedule, &memory, false, NEVER, second * SECOND);
        if (second < 86400) /* the first day it learns the peak */
            continue;
        changes += verdict.go != went;
        went = verdict.go;
        night_open += verdict.go && (hour < 8 || hour >= 18);
        day_open += verdict.go && hour >= 9 && hour < 17;
    }
    assert_true(changes >= 3 && changes <= 6);
    assert_true(night_open > 2 * 13 * 3600);
    assert_true(day_open < 120);
}

static void between_the_shares_it_goes_on_as_it_was(void **state)
{
    const struct schedule schedule = {.mode = SCHEDULE_QUIET,
                                      .max_lag_us = DAY,
                                      .quiet_below = 20,
                                      .quiet_above = 40,
                                      .quiet_least = 1,
                                      .peak_half_life_us = DAY};
    struct schedule_memory memory = {.peak = 1000};
    static const struct {
        double rate;
        bool go;
    } steps[] = {{201, false}, {200, true}, {400, true}, {401, false}, {400, false}, {200, true}};

    (void)state;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        memory.rate = steps[i].rate;
        assert_int_equal(judge_one(&schedule, &memory, false, NEVER, DAY).go, steps[i].go);
    }
}

static void an_idle_engine_is_quiet(void **state)
{
    struct schedule schedule = {
        .mode = SCHEDULE_QUIET, .quiet_least = 1, .peak_half_life_us = DAY, .max_lag_us = DAY};
    struct schedule_memory memory = {0};

    (void)state;
    set_zone("UTC");
    assert_true(judge_one(&schedule, &memory, false, NEVER, DAY).go);
    /* A counter that starts again, and time that stands still, are taken for nothing new. */
    schedule_sample(&schedule, &memory, 100, SECOND);
    schedule_sample(&schedule, &memory, 5, 2 * SECOND);
    schedule_sample(&schedule, &memory, 6, 2 * SECOND);
    assert_true(memory.rate == 0);
    assert_true(judge_one(&schedule, &memory, false, NEVER, DAY).go);
}

static void an_engine_that_gets_nothing_any_more_is_quiet(void **state)
{
    struct schedule schedule = {
        .mode = SCHEDULE_QUIET, .quiet_least = 1, .peak_half_life_us = DAY, .max_lag_us = DAY};
    struct schedule_memory memory = {0};

    (void)state;
    schedule_sample(&schedule, &memory, 0, 0);
    schedule_sample(&schedule, &memory, 1000, SECOND);
    assert_false(judge_one(&schedule, &memory, false, NEVER, DAY).go);
    for (int second = 2; second < 120; second++)
        schedule_sample(&schedule, &memory, 1000, second * SECOND);
    assert_true(judge_one(&schedule, &memory, false, NEVER, DAY).go);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_are_parsed),
        cmocka_unit_test(a_window_opens_and_closes_every_day),
        cmocka_unit_test(a_window_may_span_midnight),
        cmocka_unit_test(summer_time_begins_and_ends),
        cmocka_unit_test(simulated_years_always_find_their_window),
        cmocka_unit_test(who_has_waited_too_long_takes_all_along),
        cmocka_unit_test(an_order_holds_once),
        cmocka_unit_test(an_order_is_for_what_was_there_when_it_was_given),
        cmocka_unit_test(an_order_does_not_ask_what_the_clock_was),
        cmocka_unit_test(nothing_waits_and_no_window_is_known),
        cmocka_unit_test(a_clock_that_jumps_back_a_year_waits_for_the_window),
        cmocka_unit_test(quiet_follows_the_day_with_hysteresis),
        cmocka_unit_test(between_the_shares_it_goes_on_as_it_was),
        cmocka_unit_test(an_idle_engine_is_quiet),
        cmocka_unit_test(an_engine_that_gets_nothing_any_more_is_quiet),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
