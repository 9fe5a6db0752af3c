/*
 * One bucket. It is full at `full_ns`; before, it lacks what comes in until then. Taking
 * moves that time on by what it takes to come back, from now on if the bucket is full, and
 * is allowed while the time lies less than the burst ahead. Threads that take at the same
 * time try again with what the other one left.
 */
#include "rate/rate.h"

enum { NS_A_US = 1000 };
#define NS_A_SECOND UINT64_C(1000000000)

/* Debts end somewhere: a year. */
#define FARTHEST_NS (INT64_C(366) * 86400 * 1000000000)

static int64_t later(int64_t one, int64_t other)
{
    return one > other ? one : other;
}

static int64_t microseconds(int64_t ns)
{
    return (ns + NS_A_US - 1) / NS_A_US;
}

int64_t rate_take(struct rate_bucket *bucket, uint64_t per_second, int64_t burst_us, int64_t now_us)
{
    const int64_t one_ns = (int64_t)(NS_A_SECOND / per_second);
    const int64_t burst_ns = later(burst_us * NS_A_US, one_ns);
    const int64_t now_ns = now_us * NS_A_US;
    int64_t before = atomic_load_explicit(&bucket->full_ns, memory_order_relaxed);
    int64_t after;

    do {
        after = later(before, now_ns) + one_ns;
        if (after - now_ns > burst_ns)
            return microseconds(after - now_ns - burst_ns);
    } while (!atomic_compare_exchange_weak_explicit(&bucket->full_ns, &before, after,
                                                    memory_order_relaxed, memory_order_relaxed));
    return 0;
}

int64_t rate_wait(const struct rate_bucket *bucket, uint64_t per_second, int64_t burst_us,
                  int64_t now_us)
{
    const int64_t one_ns = (int64_t)(NS_A_SECOND / per_second);
    const int64_t burst_ns = later(burst_us * NS_A_US, one_ns);
    const int64_t full_ns = atomic_load_explicit(&bucket->full_ns, memory_order_relaxed);
    const int64_t over_ns = full_ns + one_ns - now_us * NS_A_US - burst_ns;

    return over_ns > 0 ? microseconds(over_ns) : 0;
}

void rate_charge(struct rate_bucket *bucket, uint64_t per_second, uint64_t count, int64_t now_us)
{
    const int64_t now_ns = now_us * NS_A_US;
    const uint64_t most = NS_A_SECOND; /* more would overflow, and nobody sends as much */
    const uint64_t cost = (count < most ? count : most) * NS_A_SECOND / per_second;
    const int64_t cost_ns = cost < FARTHEST_NS ? (int64_t)cost : FARTHEST_NS;
    int64_t before = atomic_load_explicit(&bucket->full_ns, memory_order_relaxed);
    int64_t after;

    do {
        after = later(before, now_ns);
        after = after - now_ns < FARTHEST_NS - cost_ns ? after + cost_ns : now_ns + FARTHEST_NS;
    } while (!atomic_compare_exchange_weak_explicit(&bucket->full_ns, &before, after,
                                                    memory_order_relaxed, memory_order_relaxed));
}
