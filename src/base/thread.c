/*
 * Linux schedules each thread by itself: one of the class SCHED_IDLE gives way at once to any
 * other that wakes, and runs on what they leave (never less than about 0.3 % of a processor
 * that they would fill). A nice value alone lets it finish its slice first.
 *
 * A thread that asks for shorter slices than others, as any may, takes the place of one that runs
 * when it wakes, for as long as it has not had its share: since 6.12 by the field of SCHED_OTHER
 * that older kernels ignore.
 */
#include "base/thread.h"

#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PROMPT_SLICE_NS = 100 * 1000 }; /* the kernel's least */

/* struct sched_attr of sched_setattr(2): the kernel's header clashes with glibc's. */
struct attributes {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime; /* of SCHED_OTHER: the slice, ns */
    uint64_t deadline;
    uint64_t period;
};

void thread_name(const char *name)
{
    pthread_setname_np(pthread_self(), name);
}

void thread_background(void)
{
    const struct sched_param unused = {0};

    sched_setscheduler(0, SCHED_IDLE, &unused); /* 0: the calling thread */
}

void thread_prompt(void)
{
    struct attributes wanted = {
        .size = sizeof wanted,
        .policy = SCHED_OTHER,
        .nice = getpriority(PRIO_PROCESS, 0),
        .runtime = PROMPT_SLICE_NS,
    };

    if (sched_getscheduler(0) == SCHED_OTHER) /* else somebody chose another for the process */
        syscall(SYS_sched_setattr, 0, &wanted, 0);
}
