/*
 * File descriptors: as many as the system allows, and some of them kept for the engine's own
 * files. Connections that took the last one would keep the queue from beginning its next
 * segment, and so stop all writing as long as they last.
 */
#include "app/app.h"

#include "base/log.h"

#include <inttypes.h>
#include <sys/resource.h>

/* Log, ledger, store, readers, introspection; a loop's sockets and pipes. */
enum { OWN = 128, OWN_A_LOOP = 8 };

unsigned app_descriptors(unsigned connections, unsigned loops)
{
    uint64_t own = OWN + (uint64_t)OWN_A_LOOP * loops;
    uint64_t room;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return connections;
    if (limit.rlim_cur < limit.rlim_max) {
        rlim_t before = limit.rlim_cur;

        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
            limit.rlim_cur = before;
    }
    if (limit.rlim_cur == RLIM_INFINITY)
        return connections;
    room = limit.rlim_cur > 2 * own ? limit.rlim_cur - own : (limit.rlim_cur + 1) / 2;
    if (room >= connections)
        return connections;
    log_warning("app",
                "%" PRIu64
                " connections at a time instead of %u: the limit of open files is %" PRIu64,
                room, connections, (uint64_t)limit.rlim_cur);
    return (unsigned)room;
}
