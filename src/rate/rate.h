/*
 * How much a caller may do a second: token buckets, and a meter of two of them a caller.
 *
 * A bucket holds what a rate gives in `burst`; it fills at the rate and what a caller does
 * is taken out of it. It is kept as one number, the time at which it will be full again
 * (the "theoretical arrival time" of the Generic Cell Rate Algorithm, ITU-T I.371), so
 * threads share it without a lock. Time is an argument: microseconds of any clock that does
 * not go back.
 */
#ifndef RATE_RATE_H
#define RATE_RATE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define RATE_MAX 100000000 /* a second */

struct rate_bucket {
    _Atomic int64_t full_ns; /* 0: it is full */
};

/* Takes one out. 0, or, if there is none, the microseconds until there will be one. A
 * burst shorter than one takes to come counts as that long. */
int64_t rate_take(struct rate_bucket *bucket, uint64_t per_second, int64_t burst_us,
                  int64_t now_us);

/* Is anything left? 0, or the microseconds until there will be. */
int64_t rate_wait(const struct rate_bucket *bucket, uint64_t per_second, int64_t burst_us,
                  int64_t now_us);

/* Takes `count` out, into debt if it must be: what cannot be cut is let in as long as
 * anything is left, and is then paid for in time. */
void rate_charge(struct rate_bucket *bucket, uint64_t per_second, uint64_t count, int64_t now_us);

/* What every caller of one kind may; 0: no limit. */
struct rate_limits {
    uint64_t requests;   /* a second, at most RATE_MAX */
    uint64_t datapoints; /* the same */
    int64_t burst_us;    /* how much of it at once; more than 0 */
};

/* One caller's. Any thread. */
struct rate_meter {
    const struct rate_limits *limits;
    struct rate_bucket requests;
    struct rate_bucket datapoints;
};

/* The meters of all callers of one kind, at most `meters`: the callers beyond share one. */
struct rate_table;
struct rate_table *rate_open(const struct rate_limits *limits, size_t meters);
void rate_close(struct rate_table *table);

/* The meter of this name, the same one for as long as the table is open, on any thread; NULL
 * if nothing is limited, or table is NULL. It takes a lock: ask once a caller, not once a request.
 */
struct rate_meter *rate_meter(struct rate_table *table, const char *name);

#endif
