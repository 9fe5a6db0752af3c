/*
 * The data directory and its lock: flock(2) on one file, released by the system however the
 * process ends. An engine's is exclusive, a looking command's shared. Commands look for a
 * moment, so an engine that finds only those there waits for it to pass.
 */
#include "app/app.h"

#include "base/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_MS = 20000, TURN_MS = 10 };

/* A folder that was made is there for good once the one above it is synced. */
static int sync_above(const char *folder, struct err *err)
{
    char above[4096];
    char *slash;
    int code;

    snprintf(above, sizeof above, "%s", folder);
    slash = strrchr(above, '/');
    if (slash != NULL)
        slash[slash == above] = '\0';
    code = disk_real.sync_dir(&disk_real, slash != NULL ? above : ".");
    return code < 0 ? err_system(err, -code, "sync %s", slash != NULL ? above : ".") : 0;
}

int app_dir_make(const char *data_dir, struct err *err)
{
    char folder[4096];
    int code;

    if (strlen(data_dir) >= sizeof folder - 64)
        return err_set(err, ERR_INVALID, "DATA_DIR: the path is too long");
    for (size_t i = 1; i <= strlen(data_dir); i++) {
        if (data_dir[i] != '/' && data_dir[i] != '\0')
            continue;
        memcpy(folder, data_dir, i);
        folder[i] = '\0';
        if (mkdir(folder, 0700) < 0) {
            if (errno != EEXIST)
                return err_system(err, errno, "make the data directory %s", folder);
        } else if ((code = sync_above(folder, err)) != 0) {
            return code;
        }
    }
    return 0;
}

int app_dir_none(const char *data_dir, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND,
                   "%s is no data directory of an engine: name it with --data-dir or DATA_DIR",
                   data_dir);
}

static void read_addresses(struct app_dir *dir)
{
    ssize_t got = pread(dir->lock, dir->addresses, sizeof dir->addresses - 1, 0);

    dir->addresses[got > 0 ? got : 0] = '\0';
    dir->addresses[strcspn(dir->addresses, "\n")] = '\0';
}

/* Takes the lock, 0 or an errno; *ret_looked: commands have it, no engine. */
static int take_lock(int lock, enum app_dir_use use, bool *ret_looked)
{
    static const struct timespec turn = {.tv_nsec = TURN_MS * 1000000L};

    *ret_looked = false;
    if (use != APP_DIR_ENGINE)
        return flock(lock, LOCK_SH | LOCK_NB) < 0 ? errno : 0;
    for (int waited = 0; flock(lock, LOCK_EX | LOCK_NB) < 0; waited += TURN_MS) {
        if (errno != EWOULDBLOCK)
            return errno;
        *ret_looked = flock(lock, LOCK_SH | LOCK_NB) == 0;
        if (!*ret_looked || waited >= LOOK_MS)
            return EWOULDBLOCK;
        flock(lock, LOCK_UN);
        nanosleep(&turn, NULL);
    }
    return 0;
}

/* A descriptor, or a negative errno. */
static int open_lock(const char *path, bool makes)
{
    int fd = -EEXIST;

    if (makes)
        fd = disk_real.open(&disk_real, path, O_RDWR | O_CREAT | O_EXCL);
    return fd == -EEXIST ? disk_real.open(&disk_real, path, O_RDWR) : fd;
}

int app_dir_open(const char *data_dir, enum app_dir_use use, struct app_dir *ret, struct err *err)
{
    bool engine = use == APP_DIR_ENGINE;
    bool makes = use != APP_DIR_LOOK;
    struct app_dir dir = {.lock = -1};
    char path[4160];
    bool looked;
    int code;

    if (makes && (code = app_dir_make(data_dir, err)) != 0)
        return code;
    snprintf(path, sizeof path, "%s/lock", data_dir);
    dir.lock = open_lock(path, makes);
    if (dir.lock < 0)
        return err_system(err, -dir.lock, "open %s", path);
    if ((code = take_lock(dir.lock, use, &looked)) != 0) {
        read_addresses(&dir);
        close(dir.lock);
        dir.lock = -1;
        if (code != EWOULDBLOCK)
            return err_system(err, code, "lock %s", path);
        if (looked)
            return err_set(err, ERR_BUSY, "a command has looked at %s for too long", data_dir);
        *ret = dir;
        return err_set(err, ERR_BUSY, "%s engine works on %s (%s)", engine ? "another" : "an",
                       data_dir, dir.addresses[0] != '\0' ? dir.addresses : "starting");
    }
    if (engine && ftruncate(dir.lock, 0) < 0) {
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
