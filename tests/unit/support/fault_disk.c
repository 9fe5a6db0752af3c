/*
 * What a test says to the failing disk, and asks of it.
 */
#include "support/fault_disk_priv.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void fault_disk_fail(struct fault_disk *faults, enum fault_op op, const char *where, unsigned skip,
                     unsigned times, int number)
{
    struct fault *fault = &faults->faults[op];

    pthread_mutex_lock(&faults->lock);
    free(fault->where);
    fault->where = where != NULL ? mem_strdup(where) : NULL;
    fault->skip = skip;
    fault->times = times;
    fault->number = number;
    pthread_mutex_unlock(&faults->lock);
}

unsigned fault_disk_failed(struct fault_disk *faults, enum fault_op op)
{
    unsigned failed;

    pthread_mutex_lock(&faults->lock);
    failed = faults->faults[op].failed;
    pthread_mutex_unlock(&faults->lock);
    return failed;
}

void fault_disk_limit(struct fault_disk *faults, uint64_t bytes)
{
    pthread_mutex_lock(&faults->lock);
    faults->limit = bytes;
    pthread_mutex_unlock(&faults->lock);
}

void fault_disk_hold(struct fault_disk *faults, enum fault_op op, const char *where, bool hold)
{
    pthread_mutex_lock(&faults->lock);
    faults->faults[op].held = hold;
    faults->faults[op].held_where = where;
    pthread_cond_broadcast(&faults->changed);
    pthread_mutex_unlock(&faults->lock);
}

void fault_disk_await_held(struct fault_disk *faults, enum fault_op op)
{
    pthread_mutex_lock(&faults->lock);
    while (faults->faults[op].waiting == 0)
        pthread_cond_wait(&faults->changed, &faults->lock);
    pthread_mutex_unlock(&faults->lock);
}

uint64_t fault_disk_changes(struct fault_disk *faults)
{
    uint64_t count;

    pthread_mutex_lock(&faults->lock);
    count = faults->change_count;
    pthread_mutex_unlock(&faults->lock);
    return count;
}

uint64_t fault_disk_calls(struct fault_disk *faults, enum fault_op op)
{
    uint64_t calls;

    pthread_mutex_lock(&faults->lock);
    calls = faults->faults[op].calls;
    pthread_mutex_unlock(&faults->lock);
    return calls;
}

void fault_disk_crash_at(struct fault_disk *faults, uint64_t n)
{
    pthread_mutex_lock(&faults->lock);
    faults->crash_at = faults->change_count + n;
    if (n == 0) {
        faults->crash_at = 0;
        faults->crashed = true;
        pthread_cond_broadcast(&faults->changed);
    }
    pthread_mutex_unlock(&faults->lock);
}

bool fault_disk_crashed(struct fault_disk *faults)
{
    bool crashed;

    pthread_mutex_lock(&faults->lock);
    crashed = faults->crashed;
    pthread_mutex_unlock(&faults->lock);
    return crashed;
}

/* Who used it closed everything. */
static void check_closed(const struct fault_disk *faults)
{
    for (int i = 0; i < FDS; i++)
        assert(faults->fds[i] == NULL);
}

void fault_disk_restart(struct fault_disk *faults, bool power)
{
    pthread_mutex_lock(&faults->lock);
    check_closed(faults);
    if (power)
        fault_cut_power(faults);
    faults->crashed = false;
    faults->crash_at = 0;
    pthread_mutex_unlock(&faults->lock);
}

static struct inode *must_find(struct fault_disk *faults, const char *path)
{
    struct name *name = fault_find(&faults->seen, path);

    assert(name != NULL);
    return name->inode;
}

size_t fault_disk_size(struct fault_disk *faults, const char *path)
{
    size_t size;

    pthread_mutex_lock(&faults->lock);
    size =
        fault_find(&faults->seen, path) != NULL ? fault_find(&faults->seen, path)->inode->size : 0;
    pthread_mutex_unlock(&faults->lock);
    return size;
}

void fault_disk_peek(struct fault_disk *faults, const char *path, uint64_t at, void *bytes,
                     size_t len)
{
    struct inode *inode;

    pthread_mutex_lock(&faults->lock);
    inode = must_find(faults, path);
    assert(at + len <= inode->size);
    memcpy(bytes, inode->seen + at, len);
    pthread_mutex_unlock(&faults->lock);
}

void fault_disk_poke(struct fault_disk *faults, const char *path, uint64_t at, const void *bytes,
                     size_t len)
{
    struct inode *inode;

    pthread_mutex_lock(&faults->lock);
    inode = must_find(faults, path);
    assert(at + len <= inode->size);
    memcpy(inode->seen + at, bytes, len);
    memcpy(inode->durable + at, bytes, len);
    pthread_mutex_unlock(&faults->lock);
}

void fault_disk_cut(struct fault_disk *faults, const char *path, size_t size)
{
    struct inode *inode;

    pthread_mutex_lock(&faults->lock);
    inode = must_find(faults, path);
    fault_resize(inode, size);
    memcpy(inode->durable, inode->seen, inode->room);
    inode->durable_size = size;
    pthread_mutex_unlock(&faults->lock);
}

struct fault_disk *fault_disk_new(uint64_t seed)
{
    struct fault_disk *faults = mem_zalloc(sizeof *faults);

    faults->disk = fault_disk_calls_table;
    faults->random = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
    faults->limit = UINT64_MAX;
    pthread_mutex_init(&faults->lock, NULL);
    pthread_cond_init(&faults->changed, NULL);
    return faults;
}

void fault_disk_free(struct fault_disk *faults)
{
    check_closed(faults);
    fault_free_files(faults);
    for (int i = 0; i < FAULT_OPS; i++)
        free(faults->faults[i].where);
    pthread_cond_destroy(&faults->changed);
    pthread_mutex_destroy(&faults->lock);
    free(faults);
}

struct disk *fault_disk_of(struct fault_disk *faults)
{
    return &faults->disk;
}
