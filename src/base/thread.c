/*
 * Linux schedules each thread by itself: one of the class SCHED_IDLE gives way at once to any
 * other that wakes, and runs on what they leave (never less than about 0.3 % of a processor
 * that they would fill). A nice value alone lets it finish its slice first.
 */
#include "base/thread.h"

#include <pthread.h>
#include <sched.h>

void thread_name(const char *name)
{
    pthread_setname_np(pthread_self(), name);
}

void thread_background(void)
{
    const struct sched_param unused = {0};

    sched_setscheduler(0, SCHED_IDLE, &unused); /* 0: the calling thread */
}
