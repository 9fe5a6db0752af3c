/*
 * The calls of the failing disk. Each is admitted first: it may be held, made to fail, or be the
 * one in which the power goes off.
 */
#include "support/fault_disk_priv.h"

#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fault_disk *self(struct disk *disk)
{
    return (struct fault_disk *)disk;
}

static uint64_t used(const struct fault_disk *faults)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < faults->seen.count; i++)
        bytes += faults->seen.list[i].inode->size;
    return bytes;
}

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
        return fault_pick(faults, 2) == 0 ? -EIO : 0; /* before it was done, or just after */
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
    name = fault_find(&faults->seen, path);
    if (code == 0 && name == NULL && (flags & O_CREAT) == 0)
        code = -ENOENT;
    if (code == 0 && name == NULL) {
        fault_change_names(faults, NULL, path, fault_inode_new(faults, false));
        name = fault_find(&faults->seen, path);
    }
    if (code == 0 && (flags & O_TRUNC) != 0)
        fault_resize(name->inode, 0);
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
    if (got < 0)
        memset(bytes, 'x', len); /* a part of it may have been read */
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
            fault_resize(inode, offset + some);
    }
    if (some > 0) {
        memcpy(inode->seen + offset, bytes, some);
        fault_mark(inode, offset, offset + some);
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
        vector[i] = (struct iovec){(char *)"?", 1}; /* it "may change the vector" */
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
        else if (fault_pick(faults, 4) == 0) /* dropped; sometimes from memory, too */
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
            fault_resize(inode, len);
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
        fault_resize(inode, len);
    pthread_mutex_unlock(&faults->lock);
    return dies ? -EIO : code;
}

static int fault_uncache(struct disk *disk, int fd)
{
    struct fault_disk *faults = self(disk);
    int code;

    pthread_mutex_lock(&faults->lock);
    code = admit(faults, FAULT_UNCACHE, path_of(faults, inode_of(faults, fd)));
    pthread_mutex_unlock(&faults->lock);
    return code;
}

static int fault_rename(struct disk *disk, const char *from, const char *to)
{
    struct fault_disk *faults = self(disk);
    struct name *name;
    bool dies;
    int code;

    pthread_mutex_lock(&faults->lock);
    code = admit_change(faults, FAULT_RENAME, to, &dies);
    name = fault_find(&faults->seen, from);
    if (code == 0 && name == NULL)
        code = -ENOENT;
    if (code == 0)
        fault_change_names(faults, from, to, name->inode);
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
    if (code == 0 && fault_find(&faults->seen, path) == NULL)
        code = -ENOENT;
    if (code == 0)
        fault_change_names(faults, path, NULL, NULL);
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
    if (code == 0 && fault_find(&faults->seen, path) == NULL)
        fault_change_names(faults, NULL, path, fault_inode_new(faults, true));
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

        if (!fault_is_in(change->to != NULL ? change->to : change->from, path)) {
            at = &change->next;
            continue;
        }
        fault_apply(&faults->durable, change);
        *at = change->next;
        fault_change_free(change);
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
    if (faults->crashed || fault_find(&faults->seen, path) == NULL) {
        pthread_mutex_unlock(&faults->lock);
        return faults->crashed ? -EIO : -ENOENT;
    }
    names = mem_alloc(faults->seen.count * sizeof *names);
    for (size_t i = 0; i < faults->seen.count; i++) {
        if (fault_is_in(faults->seen.list[i].path, path))
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

const struct disk fault_disk_calls_table = {
    .open = fault_open,
    .close = fault_close,
    .size = fault_size,
    .read = fault_read,
    .write = fault_write,
    .sync = fault_sync,
    .allocate = fault_allocate,
    .truncate = fault_truncate,
    .uncache = fault_uncache,
    .rename = fault_rename,
    .unlink = fault_unlink,
    .make_dir = fault_make_dir,
    .sync_dir = fault_sync_dir,
    .list = fault_list,
};
