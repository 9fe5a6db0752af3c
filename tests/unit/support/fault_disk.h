/*
 * A disk in memory that fails as real ones do, for everything that takes a `struct disk`.
 *
 * There are two states of each file and folder: what the running system sees, and what would be
 * there after the power was cut. Writes reach the second by sync(), names by sync_dir(). A power
 * cut keeps, loses or tears each sector that was not synced, and keeps some of the last changes
 * of names, oldest first; the seed decides. A sync that fails drops the bytes: they may still be
 * seen, but later syncs succeed without writing them, as Linux does.
 *
 * Any thread may use it. It counts the calls that change something, so that a test can cut the
 * power at each of them in turn.
 */
#ifndef SUPPORT_FAULT_DISK_H
#define SUPPORT_FAULT_DISK_H

#include "base/disk.h"

#include <stdbool.h>

enum fault_op {
    FAULT_OPEN,
    FAULT_READ,
    FAULT_WRITE,
    FAULT_SYNC,
    FAULT_ALLOCATE,
    FAULT_TRUNCATE,
    FAULT_UNCACHE,
    FAULT_RENAME,
    FAULT_UNLINK,
    FAULT_MAKE_DIR,
    FAULT_SYNC_DIR,
    FAULT_OPS
};

struct fault_disk;

struct fault_disk *fault_disk_new(uint64_t seed);
void fault_disk_free(struct fault_disk *faults);
struct disk *fault_disk_of(struct fault_disk *faults);

/* After `skip` more calls of this kind on paths that contain `where` (NULL: any), the next
 * `times` of them fail with the errno `number`. Replaces what was set for this kind. */
void fault_disk_fail(struct fault_disk *faults, enum fault_op op, const char *where, unsigned skip,
                     unsigned times, int number);
/* Calls of this kind that were made to fail so far. */
unsigned fault_disk_failed(struct fault_disk *faults, enum fault_op op);

/* Bytes of all files together; more is ENOSPC. */
void fault_disk_limit(struct fault_disk *faults, uint64_t bytes);

/* While held, calls of this kind wait, on paths that contain `where` (NULL: any). */
void fault_disk_hold(struct fault_disk *faults, enum fault_op op, const char *where, bool hold);
/* Waits until some call of this kind is held. */
void fault_disk_await_held(struct fault_disk *faults, enum fault_op op);

/* Calls so far that change something, and of one kind. */
uint64_t fault_disk_changes(struct fault_disk *faults);
uint64_t fault_disk_calls(struct fault_disk *faults, enum fault_op op);

/* The power goes off in the n-th change from now (1: the next), which may be half done. From then
 * on every call fails, until fault_disk_restart(). 0: goes off now. */
void fault_disk_crash_at(struct fault_disk *faults, uint64_t n);
bool fault_disk_crashed(struct fault_disk *faults);

/* Everything opens again. After a power cut only what survived is there; `power` cut it if it is
 * still on. Without a cut (the process alone had died) all is as the system last saw it. */
void fault_disk_restart(struct fault_disk *faults, bool power);

/* What the system sees, for tests to look at and to damage. Damage is durable at once. */
size_t fault_disk_size(struct fault_disk *faults, const char *path);
void fault_disk_peek(struct fault_disk *faults, const char *path, uint64_t at, void *bytes,
                     size_t len);
void fault_disk_poke(struct fault_disk *faults, const char *path, uint64_t at, const void *bytes,
                     size_t len);
void fault_disk_cut(struct fault_disk *faults, const char *path, size_t size);

#endif
