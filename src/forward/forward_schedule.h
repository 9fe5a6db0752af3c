/*
 * When to forward: a pure function of settings, what was seen so far, and the time.
 *
 *   always   at once
 *   window   inside a daily window of local time (the zone of TZ), which may span midnight
 *   quiet    while few requests come in, compared with the recent peak: forwarding begins
 *            below one share of it and ends above another (hysteresis)
 *
 * An order to forward now, or a transaction that has waited for max_lag, goes before all of them:
 * then everything goes that is there at that moment (not only what is overdue, which would be a
 * trickle of small batches from then on). Wall-clock time may jump: a window is judged
 * by the present reading alone, an age that would be negative counts as none, and what is there at
 * a moment is told by positions, not by times. On the day
 * that summer time begins or ends a window opens and closes when the clocks on the wall show
 * its times, or would have shown them; a time that the wall shows twice is taken the first time.
 */
#ifndef FORWARD_SCHEDULE_H
#define FORWARD_SCHEDULE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum schedule_mode { SCHEDULE_ALWAYS, SCHEDULE_WINDOW, SCHEDULE_QUIET };

struct schedule {
    enum schedule_mode mode;
    unsigned opens, closes;    /* minutes since local midnight; closes < opens spans midnight */
    int64_t max_lag_us;        /* a transaction older than this is forwarded regardless */
    unsigned quiet_below;      /* per cent of the peak, to begin ... */
    unsigned quiet_above;      /* ... and to end; not below quiet_below */
    double quiet_least;        /* requests a second that are always quiet */
    int64_t peak_half_life_us; /* how soon a peak counts half */
};

/* "always", "quiet" or "HH:MM-HH:MM" (00:00 to 24:00, not empty); sets mode and times only.
 * ERR_INVALID otherwise. */
MUST_CHECK int schedule_parse(const char *text, struct schedule *schedule, struct err *err);

enum schedule_reason {
    REASON_ALWAYS,  /* go */
    REASON_WINDOW,  /* go: inside */
    REASON_QUIET,   /* go: few requests */
    REASON_LAG,     /* go: the oldest has waited for max_lag */
    REASON_ORDER,   /* go: somebody asked for it */
    REASON_OUTSIDE, /* wait for the window */
    REASON_BUSY,    /* wait for a quieter time */
};

/* What is remembered. Zeroed at the start: the first sample is then the peak. */
struct schedule_memory {
    uint64_t drain_to;                 /* all that stands before this position goes, ... */
    enum schedule_reason drain_reason; /* ... for this reason */
    bool began;                        /* forwarding because it is quiet, for the hysteresis */
    bool sampled;
    int64_t at_us;     /* of the last sample, monotonic */
    uint64_t requests; /* counted then */
    double rate;       /* requests a second, smoothed over some ten seconds */
    double peak;
};

/* Takes in the count of requests so far; at most once a second is enough, but any rhythm is
 * right. mono_us does not jump. */
void schedule_sample(const struct schedule *schedule, struct schedule_memory *memory,
                     uint64_t requests, int64_t mono_us);

struct schedule_verdict {
    bool go;
    enum schedule_reason reason;
    int64_t until_us; /* when waiting: the latest instant at which it goes on, by the window or by
                         max_lag; INT64_MAX: nothing waits, and no window is known */
};

/* What waits. */
struct schedule_backlog {
    int64_t oldest_us; /* when the oldest arrived, by the same clock as wall_us; INT64_MAX: none */
    uint64_t first, end; /* its position, and that behind the youngest */
};

/* `ordered_to`: behind what was there when it was ordered to go; 0: nothing was ordered. */
struct schedule_verdict schedule_judge(const struct schedule *schedule,
                                       struct schedule_memory *memory, uint64_t ordered_to,
                                       const struct schedule_backlog *backlog, int64_t wall_us);

/* "outside the window" */
const char *schedule_words(enum schedule_reason reason);

#endif
