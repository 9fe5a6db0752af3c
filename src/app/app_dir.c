/*
 * The data directory and its lock: flock(2) on one file, released by the system however the
 * process ends.
 */
#include "app/app.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int make_folders(const char *path, struct err *err)
{
    char folder[4096];

    if (strlen(path) >= sizeof folder - 64)
        return err_set(err, ERR_INVALID, "DATA_DIR: the path is too long");
    for (size_t i = 1; i <= strlen(path); i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(folder, path, i);
        folder[i] = '\0';
        if (mkdir(folder, 0700) < 0 && errno != EEXIST)
            return err_system(err, errno, "make the data directory %s", folder);
    }
    return 0;
}

static void read_addresses(struct app_dir *dir)
{
    ssize_t got = pread(dir->lock, dir->addresses, sizeof dir->addresses - 1, 0);

    dir->addresses[got > 0 ? got : 0] = '\0';
    dir->addresses[strcspn(dir->addresses, "\n")] = '\0';
}

int app_dir_open(const char *data_dir, bool make, struct app_dir *ret, struct err *err)
{
    struct app_dir dir = {.lock = -1};
    char path[4160];
    int code;

    if (make && (code = make_folders(data_dir, err)) != 0)
        return code;
    snprintf(path, sizeof path, "%s/lock", data_dir);
    dir.lock = open(path, O_RDWR | O_CLOEXEC | (make ? O_CREAT : 0), 0600);
    if (dir.lock < 0)
        return err_system(err, errno, "open %s", path);
    if (flock(dir.lock, LOCK_EX | LOCK_NB) < 0) {
        code = errno;
        read_addresses(&dir);
        close(dir.lock);
        dir.lock = -1;
        if (code != EWOULDBLOCK)
            return err_system(err, code, "lock %s", path);
        *ret = dir;
        return err_set(err, ERR_BUSY, "another engine works on %s (%s)", data_dir,
                       dir.addresses[0] != '\0' ? dir.addresses : "starting");
    }
    if (make && ftruncate(dir.lock, 0) < 0) {
        code = err_system(err, errno, "write %s", path);
        close(dir.lock);
        return code;
    }
    *ret = dir;
    return 0;
}

int app_dir_announce(struct app_dir *dir, const char *addresses, struct err *err)
{
    char line[sizeof dir->addresses + 1];
    int len;

    snprintf(dir->addresses, sizeof dir->addresses, "%s", addresses);
    len = snprintf(line, sizeof line, "%s\n", dir->addresses);
    if (pwrite(dir->lock, line, (size_t)len, 0) != len)
        return err_system(err, errno, "write the lock file");
    return 0;
}

void app_dir_close(struct app_dir *dir)
{
    if (dir->lock >= 0)
        close(dir->lock);
    dir->lock = -1;
}
