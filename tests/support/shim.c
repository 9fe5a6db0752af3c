/*
 * Faults of the system, put before a program with LD_PRELOAD: as long as the file $LABS_SHIM/sync
 * is there, fsync() and fdatasync() of a path that has the file's text in it fail with EIO; as long
 * as $LABS_SHIM/hang is there, such do not return; as long as $LABS_SHIM/read is there, pread() of
 * such does not; as long as $LABS_SHIM/names is there, getaddrinfo() does not say where "localhost"
 * is. With LABS_SHIM_CLOCK="FROM AS FACTOR" the clock
 * of the day says AS (in seconds) at FROM, and goes FACTOR times as fast.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* False if there is no such file; its text without the end of line. */
static bool read_order(const char *name, char *text, size_t size)
{
    const char *folder = getenv("LABS_SHIM");
    char path[4096];
    ssize_t len;
    int file;

    if (folder == NULL)
        return false;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    len = read(file, text, size - 1);
    close(file);
    text[len > 0 ? len : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return true;
}

static bool is_told(const char *order, int file)
{
    char wanted[256], link[64], path[4096];
    ssize_t len;

    if (!read_order(order, wanted, sizeof wanted))
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    len = readlink(link, path, sizeof path - 1);
    if (len < 0)
        return false;
    path[len] = '\0';
    return strstr(path, wanted) != NULL;
}

static int sync_with(const char *call, int file)
{
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, call);
    const struct timespec turn = {.tv_nsec = 10000000};

    while (is_told("hang", file))
        nanosleep(&turn, NULL);
    if (!is_told("sync", file))
        return next(file);
    errno = EIO;
    return -1;
}

int fsync(int file)
{
    return sync_with("fsync", file);
}

int fdatasync(int file)
{
    return sync_with("fdatasync", file);
}

ssize_t pread(int file, void *bytes, size_t len, off_t offset)
{
    ssize_t (*next)(int, void *, size_t, off_t) =
        (ssize_t(*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, "pread");
    const struct timespec turn = {.tv_nsec = 10000000};

    while (is_told("read", file))
        nanosleep(&turn, NULL);
    return next(file, bytes, len, offset);
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
    const char *order = getenv("LABS_SHIM_CLOCK");
    long long from, as, factor, passed;
    int code = (int)syscall(SYS_clock_gettime, clock, ret);

    if (code != 0 || clock != CLOCK_REALTIME || order == NULL ||
        sscanf(order, "%lld %lld %lld", &from, &as, &factor) != 3)
        return code;
    passed = ((ret->tv_sec - from) * 1000000000LL + ret->tv_nsec) * factor;
    ret->tv_sec = as + passed / 1000000000LL;
    ret->tv_nsec = passed % 1000000000LL;
    return 0;
}

int getaddrinfo(const char *restrict node, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict ret)
{
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        (int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))dlsym(
            RTLD_NEXT, "getaddrinfo");
    const struct timespec turn = {.tv_nsec = 10000000};
    char text[8];

    while (node != NULL && strcmp(node, "localhost") == 0 && read_order("names", text, sizeof text))
        nanosleep(&turn, NULL);
    return next(node, service, hints, ret);
}
