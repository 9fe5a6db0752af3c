/*
 * The operating system's disk: each call is the one of its name, repeated when a signal
 * cut it short, with errno turned into a value. A sync alone is never repeated: after one
 * that failed, the next says nothing about the same bytes.
 */
#include "base/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int result(int value)
{
    return value < 0 ? -errno : value;
}

void disk_hand_over(int fd, const char *path)
{
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX] = ".";
    struct stat info;

    if (geteuid() != 0)
        return;
    if (slash != NULL)
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - path + 1), path);
    if (stat(folder, &info) != 0 || fchown(fd, info.st_uid, info.st_gid) != 0)
        return; /* it stays root's */
}

static int real_open(struct disk *disk, const char *path, int flags)
{
    int fd = TEMP_FAILURE_RETRY(open(path, flags | O_CLOEXEC, 0600));

    (void)disk;
    if (fd >= 0 && (flags & O_EXCL) != 0)
        disk_hand_over(fd, path);
    return result(fd);
}

static int real_close(struct disk *disk, int fd)
{
    (void)disk;
    return result(close(fd));
}

static int64_t real_size(struct disk *disk, int fd)
{
    struct stat info;

    (void)disk;
    return fstat(fd, &info) < 0 ? -errno : info.st_size;
}

static int64_t real_read(struct disk *disk, int fd, void *bytes, size_t len, uint64_t offset)
{
    size_t got = 0;

    (void)disk;
    while (got < len) {
        ssize_t n = pread(fd, (char *)bytes + got, len - got, (off_t)(offset + got));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        got += (size_t)n;
    }
    return (int64_t)got;
}

static int real_write(struct disk *disk, int fd, struct iovec *vector, size_t count,
                      uint64_t offset)
{
    (void)disk;
    while (count > 0) {
        size_t some = count < IOV_MAX ? count : IOV_MAX;
        ssize_t n = pwritev(fd, vector, (int)some, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0 && vector->iov_len > 0)
            return -EIO; /* it neither writes nor says why */
        offset += (uint64_t)n;
        while (count > 0 && (size_t)n >= vector->iov_len) {
            n -= (ssize_t)vector->iov_len;
            vector++;
            count--;
        }
        if (count > 0) {
            vector->iov_base = (char *)vector->iov_base + n;
            vector->iov_len -= (size_t)n;
        }
    }
    return 0;
}

static int real_sync(struct disk *disk, int fd)
{
    (void)disk;
    return result(fdatasync(fd));
}

static int real_allocate(struct disk *disk, int fd, uint64_t len)
{
    int number;

    (void)disk;
    do
        number = posix_fallocate(fd, 0, (off_t)len);
    while (number == EINTR);
    return -number;
}

static int real_truncate(struct disk *disk, int fd, uint64_t len)
{
    (void)disk;
    return result(TEMP_FAILURE_RETRY(ftruncate(fd, (off_t)len)));
}

static int real_uncache(struct disk *disk, int fd)
{
    (void)disk;
    return -posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static int real_rename(struct disk *disk, const char *from, const char *to)
{
    (void)disk;
    return result(rename(from, to));
}

static int real_unlink(struct disk *disk, const char *path)
{
    (void)disk;
    return result(unlink(path));
}

static int real_make_dir(struct disk *disk, const char *path)
{
    (void)disk;
    return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int real_sync_dir(struct disk *disk, const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int code;

    (void)disk;
    if (fd < 0)
        return -errno;
    code = result(fsync(fd));
    close(fd);
    return code;
}

static int real_list(struct disk *disk, const char *path, void (*each)(void *arg, const char *name),
                     void *arg)
{
    DIR *folder = opendir(path);
    struct dirent *entry;
    int number;

    (void)disk;
    if (folder == NULL)
        return -errno;
    /* A listing that breaks off looks like its end, but for errno. */
    while (errno = 0, (entry = readdir(folder)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            each(arg, entry->d_name);
    }
    number = errno;
    closedir(folder);
    return -number;
}

struct disk disk_real = {
    .open = real_open,
    .close = real_close,
    .size = real_size,
    .read = real_read,
    .write = real_write,
    .sync = real_sync,
    .allocate = real_allocate,
    .truncate = real_truncate,
    .uncache = real_uncache,
    .rename = real_rename,
    .unlink = real_unlink,
    .make_dir = real_make_dir,
    .sync_dir = real_sync_dir,
    .list = real_list,
};
