/*
 * Linux keeps a nice value for each thread; raising one's own needs no privilege.
 */
#include "base/thread.h"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

enum { BACKGROUND_NICE = 10 }; /* about a tenth of the weight of a thread at 0 */

void thread_name(const char *name)
{
    pthread_setname_np(pthread_self(), name);
}

void thread_background(void)
{
    setpriority(PRIO_PROCESS, (id_t)gettid(), BACKGROUND_NICE);
}
