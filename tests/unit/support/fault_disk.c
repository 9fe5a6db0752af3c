/*
 * Files are inodes with two contents, seen and durable, and a mark a sector that differs; names
 * are two lists, seen and durable, and the changes that lie between them. One lock over all.
 */
#include "support/fault_disk.h"

#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SECTOR = 512, FDS = 1024, FIRST_FD = 100 };

struct inode {
    struct inode *next; /* all that ever were */
    bool folder;
    char *seen, *durable;
    bool *dirty; /* per sector of `seen` */
    size_t size, durable_size, room;
};

struct name {
    char *path;
    struct inode *inode;
};

struct names {
    struct name *list;
    size_t count;
};

/* One change of names: `from` gone if it is set, `to` there if it is set. */
struct change {
    struct change *next;
    char *from, *to;
    struct inode *inode;
};

struct fault {
    char *where;
    unsigned skip, times, failed;
    int number;
    bool held;
    const char *held_where;
    unsigned waiting;
    uint64_t calls;
};

struct fault_disk {
    struct disk disk;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct inode *inodes;
    struct names seen, durable;
    struct change *changes;
    struct inode *fds[FDS];
    struct fault faults[FAULT_OPS];
    uint64_t random, limit, change_count, crash_at;
    bool crashed;
};

static struct fault_disk *self(struct disk *disk)
{
    return (struct fault_disk *)disk;
}

static uint64_t pick(struct fault_disk *faults, uint64_t below)
{
    faults->random ^= faults->random << 13;
    faults->random ^= faults->random >> 7;
    faults->random ^= faults->random << 17;
    return faults->random % below;
}

/* Names. */

static struct name *find(struct names *names, const char *path)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->list[i].path, path) == 0)
            return &names->list[i];
    }
    return NULL;
}

static void forget(struct names *names, const char *path)
{
    struct name *name = find(names, path);

    if (name == NULL)
        return;
    free(name->path);
    *name = names->list[--names->count];
}

static void apply(struct names *names, const struct change *change)
{
    if (change->from != NULL)
        forget(names, change->from);
    if (change->to == NULL)
        return;
    forget(names, change->to);
    names->list = mem_realloc(names->list, (names->count + 1) * sizeof *names->list);
    names->list[names->count++] = (struct name){mem_strdup(change->to), change->inode};
}

static void names_free(struct names *names)
{
    while (names->count > 0)
        free(names->list[--names->count].path);
    free(names->list);
    *names = (struct names){0};
}

/* Whether `path` is an entry of `folder`. */
static bool is_in(const char *path, const char *folder)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? strcmp(folder, ".") == 0
                         : strlen(folder) == (size_t)(slash - path) &&
                               strncmp(path, folder, (size_t)(slash - path)) == 0;
}

static void change_names(struct fault_disk *faults, const char *from, const char *to,
                         struct inode *inode)
{
    struct change **end = &faults->changes;
    struct change *change = mem_zalloc(sizeof *change);

    change->from = from != NULL ? mem_strdup(from) : NULL;
    change->to = to != NULL ? mem_strdup(to) : NULL;
    change->inode = inode;
    apply(&faults->seen, change);
    while (*end != NULL)
        end = &(*end)->next;
    *end = change;
}

static void change_free(struct change *change)
{
    free(change->from);
    free(change->to);
    free(change);
}

/* Inodes. */

static struct inode *inode_new(struct fault_disk *faults, bool folder)
{
    struct inode *inode = mem_zalloc(sizeof *inode);

    inode->folder = folder;
    inode->next = faults->inodes;
    faults->inodes = inode;
    return inode;
}

static void mark(struct inode *inode, uint64_t from, uint64_t to)
{
    for (uint64_t at = from / SECTOR; at * SECTOR < to; at++)
        inode->dirty[at] = true;
}

static void resize(struct inode *inode, size_t size)
{
    size_t room = (size + SECTOR - 1) / SECTOR * SECTOR;
    size_t old = inode->size;

    if (room > inode->room) {
        inode->seen = mem_realloc(inode->seen, room);
        inode->durable = mem_realloc(inode->durable, room);
        inode->dirty = mem_realloc(inode->dirty, room / SECTOR);
        memset(inode->seen + inode->room, 0, room - inode->room);
        memset(inode->durable + inode->room, 0, room - inode->room);
        memset(inode->dirty + inode->room / SECTOR, 0, (room - inode->room) / SECTOR);
        inode->room = room;
    }
    if (size < old) {
        memset(inode->seen + size, 0, old - size);
        mark(inode, size, old);
    }
    inode->size = size;
}

static uint64_t used(const struct fault_disk *faults)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < faults->seen.count; i++)
        bytes += faults->seen.list[i].inode->size;
    return bytes;
}

/* Faults. */

/* Whether this call fails: 0 or a negative errno. Under the lock. */
static int admit(struct fault_disk *faults, enum fault_op op, const char *name)
{
    struct fault *fault = &faults->faults[op];
    char path[256]; /* while the call is held, its file may get another name */

    if (faults->crashed)
        return -EIO;
    snprintf(path, sizeof path, "%s", name);
    fault->calls++;
    while (fault->held && !faults->crashed &&
           (fault->held_where == NULL || strstr(path, fault->held_where) != NULL)) {
        fault->waiting++;
        pthread_cond_broadcast(&faults->changed);
        pthread_cond_wait(&faults->changed, &faults->lock);
        fault->waiting--;
    }
    if (faults->crashed)
        return -EIO;
    if (fault->times == 0 || (fault->where != NULL && strstr(path, fault->where) == NULL))
        return 0;
    if (fault->skip > 0) {
        fault->skip--;
        return 0;
    }
    fault->times--;
    fault->failed++;
    return -fault->number;
}

/* The same for a call that changes something. Sets *ret_dies if the power goes off in it. */
static int admit_change(struct fault_disk *faults, enum fault_op op, const char *path,
                        bool *ret_dies)
{
    int code = admit(faults, op, path);

    *ret_dies = false;
    if (faults->crashed)
        return code;
    faults->change_count++;
    if (faults->crash_at != 0 && faults->change_count == faults->crash_at) {
        faults->crashed = true;
        pthread_cond_broadcast(&faults->changed);
        *ret_dies = true;
        return pick(faults, 2) == 0 ? -EIO : 0; /* before it was done, or just after */
    }
    return code;
}

static struct inode *inode_of(struct fault_disk *faults, int fd)
{
    assert(fd >= FIRST_FD && fd < FIRST_FD + FDS && faults->fds[fd - FIRST_FD] != NULL);
    return faults->fds[fd - FIRST_FD];
}

/* A name that the inode has now. */
static const char *path_of(const struct fault_disk *faults, const struct inode *inode)
{
    for (size_t i = 0; i < faults->seen.count; i++) {
        if (faults->seen.list[i].inode == inode)
            return faults->seen.list[i].path;
    }
    return "";
}

/* The calls. */

static int new_fd(struct fault_disk *faults, struct inode *inode)
{
    for (int i = 0; i < FDS; i++) {
        if (faults->fds[i] == NULL) {
            faults->fds[i] = inode;
            return i + FIRST_FD;
        }
    }
    return -EMFILE;
}

static int fault_open(struct disk *disk, const char *path, int flags)
{
    struct fault_disk *faults = self(disk);
    bool dies = false;
    struct name *name;
    int code;

    pthread_mutex_lock(&faults->lock);
    code = (flags & (O_CREAT | O_TRUNC)) != 0 ? admit_change(faults, FAULT_OPEN, path, &dies)
                                              : admit(faults, FAULT_OPEN, path);
    name = find(&faults->seen, path);
    if (code == 0 && name == NULL && (flags & O_CREAT) == 0)
        code = -ENOENT;
    if (code == 0 && name == NULL) {
        change_names(faults, NULL, path, inode_new(faults, false));
        name = find(&faults->seen, path);
    }
    if (code == 0 && (flags & O_TRUNC) != 0)
        resize(name->inode, 0);
    if (code == 0)
        code = dies ? -EIO : new_fd(faults, name->inode);
    pthread_mutex_unlock(&faults->lock);
    return code;
}

static int fault_close(struct disk *disk, int fd)
{
    struct fault_disk *faults = self(disk);

    pthread_mutex_lock(&faults->lock);
    inode_of(faults, fd);
    faults->fds[fd - FIRST_FD] = NULL;
    pthread_mutex_unlock(&faults->lock);
    return 0;
}

static int64_t fault_size(struct disk *disk, int fd)
{
    struct fault_disk *faults = self(disk);
    int64_t size;

    pthread_mutex_lock(&faults->lock);
    size = faults->crashed ? -EIO : (int64_t)inode_of(faults, fd)->size;
    pthread_mutex_unlock(&faults->lock);
    return size;
}

static int64_t fault_read(struct disk *disk, int fd, void *bytes, size_t len, uint64_t offset)
{
    struct fault_disk *faults = self(disk);
    struct inode *inode;
    int64_t got;

    pthread_mutex_lock(&faults->lock);
    inode = inode_of(faults, fd);
    got = admit(faults, FAULT_READ, path_of(faults, inode));
    if (got == 0 && offset < inode->size) {
        got = (int64_t)(len < inode->size - offset ? len : inode->size - offset);
        memcpy(bytes, inode->seen + offset, (size_t)got);
    }
    pthread_mutex_unlock(&faults->lock);
    return got;
}

/* As many bytes as there is room for; ENOSPC after that. */
static int put(struct fault_disk *faults, struct inode *inode, const char *bytes, size_t len,
               uint64_t offset)
{
    size_t some = len;

    if (offset + len > inode->size) {
        uint64_t free_bytes = faults->limit > used(faults) ? faults->limit - used(faults) : 0;

        if (offset + len - inode->size > free_bytes)
            some = inode->size + free_bytes > offset ? inode->size + free_bytes - offset : 0;
        if (some > 0 && offset + some > inode->size)
            resize(inode, offset + some);
    }
    if (some > 0) {
        memcpy(inode->seen + offset, bytes, some);
        mark(inode, offset, offset + some);
    }
    return some < len ? -ENOSPC : 0;
}

static int fault_write(struct disk *disk, int fd, struct iovec *vector, size_t count,
                       uint64_t offset)
{
    struct fault_disk *faults = self(disk);
    struct inode *inode;
    bool dies;
    int code;

    pthread_mutex_lock(&faults->lock);
    inode = inode_of(faults, fd);
    code = admit_change(faults, FAULT_WRITE, path_of(faults, inode), &dies);
    for (size_t i = 0; i < count && code == 0; i++) {
        code = put(faults, inode, vector[i].iov_base, vector[i].iov_len, offset);
        offset += vector[i].iov_len;
        memset(&vector[i], 0, sizeof vector[i]); /* it "may change the vector" */
    }
    pthread_mutex_unlock(&faults->lock);
    return dies ? -EIO : code;
}

static int fault_sync(struct disk *disk, int fd)
{
    struct fault_disk *faults = self(disk);
    struct inode *inode;
    bool dies;
    int code;

    pthread_mutex_lock(&faults->lock);
    inode = inode_of(faults, fd);
    code = admit_change(faults, FAULT_SYNC, path_of(faults, inode), &dies);
    for (size_t at = 0; at < inode->room && (code == 0 || !dies); at += SECTOR) {
        if (!inode->dirty[at / SECTOR])
            continue;
        inode->dirty[at / SECTOR] = false;
        if (code == 0)
            memcpy(inode->durable + at, inode->seen + at, SECTOR);
        else if (pick(faults, 4) == 0) /* dropped; sometimes from memory, too */
            memcpy(inode->seen + at, inode->durable + at, SECTOR);
    }
    if (code == 0)
        inode->durable_size = inode->size;
    pthread_mutex_unlock(&faults->lock);
    return dies ? -EIO : code;
}

static int fault_allocate(struct disk *disk, int fd, uint64_t len)
{
    struct fault_disk *faults = self(disk);
    struct inode *inode;
    bool dies;
    int code;

    pthread_mutex_lock(&faults->lock);
    inode = inode_of(faults, fd);
    code = admit_change(faults, FAULT_ALLOCATE, path_of(faults, inode), &dies);
    if (code == 0 && len > inode->size) {
        if (used(faults) + (len - inode->size) > faults->limit)
            code = -ENOSPC;
        else
            resize(inode, len);
    }
    pthread_mutex_unlock(&faults->lock);
    return dies ? -EIO : code;
}

static int fault_truncate(struct disk *disk, int fd, uint64_t len)
{
    struct fault_disk *faults = self(disk);
    struct inode *inode;
    bool dies;
    int code;

    pthread_mutex_lock(&faults->lock);
    inode = inode_of(faults, fd);
    code = admit_change(faults, FAULT_TRUNCATE, path_of(faults, inode), &dies);
    if (code == 0)
        resize(inode, len);
    pthread_mutex_unlock(&faults->lock);
    return dies ? -EIO : code;
}

static int fault_rename(struct disk *disk, const char *from, const char *to)
{
    struct fault_disk *faults = self(disk);
    struct name *name;
    bool dies;
    int code;

    pthread_mutex_lock(&faults->lock);
    code = admit_change(faults, FAULT_RENAME, to, &dies);
    name = find(&faults->seen, from);
    if (code == 0 && name == NULL)
        code = -ENOENT;
    if (code == 0)
        change_names(faults, from, to, name->inode);
    pthread_mutex_unlock(&faults->lock);
    return dies ? -EIO : code;
}

static int fault_unlink(struct disk *disk, const char *path)
{
    struct fault_disk *faults = self(disk);
    bool dies;
    int code;

    pthread_mutex_lock(&faults->lock);
    code = admit_change(faults, FAULT_UNLINK, path, &dies);
    if (code == 0 && find(&faults->seen, path) == NULL)
        code = -ENOENT;
    if (code == 0)
        change_names(faults, path, NULL, NULL);
    pthread_mutex_unlock(&faults->lock);
    return dies ? -EIO : code;
}

static int fault_make_dir(struct disk *disk, const char *path)
{
    struct fault_disk *faults = self(disk);
    bool dies;
    int code;

    pthread_mutex_lock(&faults->lock);
    code = admit_change(faults, FAULT_MAKE_DIR, path, &dies);
    if (code == 0 && find(&faults->seen, path) == NULL)
        change_names(faults, NULL, path, inode_new(faults, true));
    pthread_mutex_unlock(&faults->lock);
    return dies ? -EIO : code;
}

static int fault_sync_dir(struct disk *disk, const char *path)
{
    struct fault_disk *faults = self(disk);
    struct change **at = &faults->changes;
    bool dies;
    int code;

    pthread_mutex_lock(&faults->lock);
    code = admit_change(faults, FAULT_SYNC_DIR, path, &dies);
    while (code == 0 && *at != NULL) {
        struct change *change = *at;

        if (!is_in(change->to != NULL ? change->to : change->from, path)) {
            at = &change->next;
            continue;
        }
        apply(&faults->durable, change);
        *at = change->next;
        change_free(change);
    }
    pthread_mutex_unlock(&faults->lock);
    return dies ? -EIO : code;
}

static int fault_list(struct disk *disk, const char *path,
                      void (*each)(void *arg, const char *name), void *arg)
{
    struct fault_disk *faults = self(disk);
    char **names;
    size_t count = 0;

    pthread_mutex_lock(&faults->lock);
    if (faults->crashed || find(&faults->seen, path) == NULL) {
        pthread_mutex_unlock(&faults->lock);
        return faults->crashed ? -EIO : -ENOENT;
    }
    names = mem_alloc(faults->seen.count * sizeof *names);
    for (size_t i = 0; i < faults->seen.count; i++) {
        if (is_in(faults->seen.list[i].path, path))
            names[count++] = mem_strdup(strrchr(faults->seen.list[i].path, '/') + 1);
    }
    pthread_mutex_unlock(&faults->lock);
    for (size_t i = 0; i < count; i++) {
        each(arg, names[i]);
        free(names[i]);
    }
    free(names);
    return 0;
}

/* What the test does. */

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

/* Some of the last changes of names survive, and what lies in a folder that did not is gone. */
static void cut_names(struct fault_disk *faults)
{
    bool survives = true;

    while (faults->changes != NULL) {
        struct change *change = faults->changes;

        survives = survives && pick(faults, 3) != 0;
        if (survives)
            apply(&faults->durable, change);
        faults->changes = change->next;
        change_free(change);
    }
    names_free(&faults->seen);
    for (size_t i = 0; i < faults->durable.count; i++) {
        struct name *name = &faults->durable.list[i];
        bool reachable = strchr(name->path, '/') == NULL;

        for (size_t j = 0; j < faults->durable.count && !reachable; j++)
            reachable = is_in(name->path, faults->durable.list[j].path);
        if (reachable)
            apply(&faults->seen, &(struct change){.to = name->path, .inode = name->inode});
    }
}

static void cut_file(struct fault_disk *faults, struct inode *inode)
{
    uint64_t mood = pick(faults, 4); /* all lost, all kept, or each as it comes */

    if (inode->room == 0)
        return;
    for (size_t at = 0; at < inode->room; at += SECTOR) {
        size_t kept = 0;

        if (!inode->dirty[at / SECTOR])
            continue;
        inode->dirty[at / SECTOR] = false;
        if (mood == 1)
            kept = SECTOR;
        else if (mood >= 2)
            kept = (size_t[]){0, SECTOR, pick(faults, SECTOR)}[pick(faults, 3)];
        memcpy(inode->durable + at, inode->seen + at, kept);
    }
    if (mood != 0 && pick(faults, 2) == 0)
        inode->durable_size = inode->size;
    memcpy(inode->seen, inode->durable, inode->room);
    inode->size = inode->durable_size;
    memset(inode->seen + inode->size, 0, inode->room - inode->size); /* nothing behind the end */
}

void fault_disk_restart(struct fault_disk *faults, bool power)
{
    pthread_mutex_lock(&faults->lock);
    for (int i = 0; i < FDS; i++)
        assert(faults->fds[i] == NULL); /* who used it closed everything */
    if (power) {
        cut_names(faults);
        for (struct inode *inode = faults->inodes; inode != NULL; inode = inode->next)
            cut_file(faults, inode);
    }
    faults->crashed = false;
    faults->crash_at = 0;
    pthread_mutex_unlock(&faults->lock);
}

static struct inode *must_find(struct fault_disk *faults, const char *path)
{
    struct name *name = find(&faults->seen, path);

    assert(name != NULL);
    return name->inode;
}

size_t fault_disk_size(struct fault_disk *faults, const char *path)
{
    size_t size;

    pthread_mutex_lock(&faults->lock);
    size = find(&faults->seen, path) != NULL ? find(&faults->seen, path)->inode->size : 0;
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
    resize(inode, size);
    memcpy(inode->durable, inode->seen, inode->room);
    inode->durable_size = size;
    pthread_mutex_unlock(&faults->lock);
}

struct fault_disk *fault_disk_new(uint64_t seed)
{
    struct fault_disk *faults = mem_zalloc(sizeof *faults);

    faults->disk = (struct disk){
        .open = fault_open,
        .close = fault_close,
        .size = fault_size,
        .read = fault_read,
        .write = fault_write,
        .sync = fault_sync,
        .allocate = fault_allocate,
        .truncate = fault_truncate,
        .rename = fault_rename,
        .unlink = fault_unlink,
        .make_dir = fault_make_dir,
        .sync_dir = fault_sync_dir,
        .list = fault_list,
    };
    faults->random = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
    faults->limit = UINT64_MAX;
    pthread_mutex_init(&faults->lock, NULL);
    pthread_cond_init(&faults->changed, NULL);
    return faults;
}

void fault_disk_free(struct fault_disk *faults)
{
    while (faults->inodes != NULL) {
        struct inode *inode = faults->inodes;

        faults->inodes = inode->next;
        free(inode->seen);
        free(inode->durable);
        free(inode->dirty);
        free(inode);
    }
    while (faults->changes != NULL) {
        struct change *change = faults->changes;

        faults->changes = change->next;
        change_free(change);
    }
    names_free(&faults->seen);
    names_free(&faults->durable);
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
