/*
 * The operating system's disk, in a folder of its own.
 */
#include "base/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cmocka.h>

static struct disk *const disk = &disk_real;

struct folder {
    char dir[64];
    char file[80];
};

static int make(void **state)
{
    struct folder *folder = calloc(1, sizeof *folder);

    if (folder == NULL)
        return -1;
    strcpy(folder->dir, "/tmp/labs-disk-XXXXXX");
    if (mkdtemp(folder->dir) == NULL) {
        free(folder);
        return -1;
    }
    snprintf(folder->file, sizeof folder->file, "%s/file", folder->dir);
    *state = folder;
    return 0;
}

static int discard(void **state)
{
    struct folder *folder = *state;

    unlink(folder->file);
    rmdir(folder->dir);
    free(folder);
    return 0;
}

static void a_write_of_more_vectors_than_the_system_takes_is_whole(void **state)
{
    enum { COUNT = IOV_MAX * 2 + 7 };
    struct folder *folder = *state;
    struct iovec *vector = calloc(COUNT, sizeof *vector);
    unsigned char *bytes = malloc(COUNT * 3);
    unsigned char *back = malloc(COUNT * 3);
    size_t len = 0;
    int fd = disk->open(disk, folder->file, O_RDWR | O_CREAT);

    assert_true(fd >= 0);
    for (size_t i = 0; i < COUNT; i++) { /* of 0 to 2 bytes */
        vector[i] = (struct iovec){bytes + len, i % 3};
        for (size_t j = 0; j < i % 3; j++)
            bytes[len++] = (unsigned char)(i * 7);
    }
    assert_int_equal(disk->write(disk, fd, vector, COUNT, 5), 0);
    assert_int_equal(disk->size(disk, fd), 5 + len);
    assert_int_equal(disk->read(disk, fd, back, len, 5), len);
    assert_memory_equal(back, bytes, len);
    assert_int_equal(disk->sync(disk, fd), 0);
    assert_int_equal(disk->close(disk, fd), 0);
    free(vector);
    free(bytes);
    free(back);
}

static void reads_are_short_only_at_the_end(void **state)
{
    struct folder *folder = *state;
    int fd = disk->open(disk, folder->file, O_RDWR | O_CREAT);
    char bytes[100] = {0};

    assert_int_equal(disk->write(disk, fd, &(struct iovec){bytes, 60}, 1, 0), 0);
    assert_int_equal(disk->read(disk, fd, bytes, 100, 0), 60);
    assert_int_equal(disk->read(disk, fd, bytes, 100, 50), 10);
    assert_int_equal(disk->read(disk, fd, bytes, 100, 60), 0);
    assert_int_equal(disk->read(disk, fd, bytes, 100, 1000), 0);
    assert_int_equal(disk->truncate(disk, fd, 20), 0);
    assert_int_equal(disk->size(disk, fd), 20);
    assert_int_equal(disk->allocate(disk, fd, 5000), 0);
    assert_int_equal(disk->size(disk, fd), 5000);
    assert_int_equal(disk->allocate(disk, fd, 10), 0); /* never shrinks */
    assert_int_equal(disk->size(disk, fd), 5000);
    disk->close(disk, fd);
}

static void failures_are_negative_numbers_of_errno(void **state)
{
    struct folder *folder = *state;
    char below[96] = {0};
    int fd;

    assert_int_equal(disk->open(disk, folder->file, O_RDONLY), -ENOENT);
    assert_int_equal(disk->unlink(disk, folder->file), -ENOENT);
    assert_int_equal(disk->rename(disk, folder->file, folder->dir), -ENOENT);
    assert_int_equal(disk->sync_dir(disk, folder->file), -ENOENT);
    assert_int_equal(disk->list(disk, folder->file, NULL, NULL), -ENOENT);
    assert_int_equal(disk->close(disk, -1), -EBADF);
    assert_int_equal(disk->size(disk, -1), -EBADF);
    assert_int_equal(disk->sync(disk, -1), -EBADF);
    assert_int_equal(disk->truncate(disk, -1, 1), -EBADF);
    assert_int_equal(disk->allocate(disk, -1, 1), -EBADF);
    assert_int_equal(disk->read(disk, -1, below, 1, 0), -EBADF);
    assert_int_equal(disk->write(disk, -1, &(struct iovec){below, 1}, 1, 0), -EBADF);
    fd = disk->open(disk, folder->file, O_RDWR | O_CREAT | O_EXCL);
    assert_true(fd >= 0);
    snprintf(below, sizeof below, "%s/below", folder->file);
    assert_int_equal(disk->make_dir(disk, below), -ENOTDIR);
    disk->close(disk, fd);
}

static void what_it_makes_is_for_its_owner_alone(void **state)
{
    struct folder *folder = *state;
    struct stat info;
    mode_t before = umask(0);
    int fd = disk->open(disk, folder->file, O_RDWR | O_CREAT);

    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(fstat(fd, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    disk->close(disk, fd);
    assert_int_equal(disk->unlink(disk, folder->file), 0);
    assert_int_equal(disk->make_dir(disk, folder->file), 0);
    assert_int_equal(disk->make_dir(disk, folder->file), 0); /* there already */
    assert_int_equal(stat(folder->file, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    assert_int_equal(disk->sync_dir(disk, folder->file), 0);
    rmdir(folder->file);
    umask(before);
}

static void note(void *arg, const char *name)
{
    unsigned *seen = arg;

    assert_string_equal(name, *seen == 0 ? "file" : "nothing else");
    ++*seen;
}

static void a_folder_is_listed_without_itself(void **state)
{
    struct folder *folder = *state;
    char other[96];
    unsigned seen = 0;
    int fd;

    snprintf(other, sizeof other, "%s.other", folder->file);
    fd = disk->open(disk, other, O_RDWR | O_CREAT);
    disk->close(disk, fd);
    assert_int_equal(disk->rename(disk, other, folder->file), 0);
    assert_int_equal(disk->list(disk, folder->dir, note, &seen), 0);
    assert_int_equal(seen, 1);
}

/* Pages of a file of `len` bytes that are in memory. */
static size_t pages_in_memory(int fd, size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *there = calloc(len / page, 1);
    void *mapped = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
    size_t count = 0;

    assert_true(mapped != MAP_FAILED);
    assert_int_equal(mincore(mapped, len, there), 0);
    for (size_t i = 0; i < len / page; i++)
        count += there[i] & 1;
    munmap(mapped, len);
    free(there);
    return count;
}

static void what_is_durable_can_leave_memory(void **state)
{
    enum { LEN = 1 << 20 };
    struct folder *folder = *state;
    char *bytes = calloc(1, LEN);
    struct iovec vector = {bytes, LEN};
    struct statfs system;
    int fd = disk->open(disk, folder->file, O_RDWR | O_CREAT);

    assert_int_equal(disk->write(disk, fd, &vector, 1, 0), 0);
    assert_int_equal(disk->sync(disk, fd), 0);
    assert_true(pages_in_memory(fd, LEN) > 0);
    assert_int_equal(disk->uncache(disk, fd), 0);
    assert_int_equal(fstatfs(fd, &system), 0);
    if (system.f_type != TMPFS_MAGIC) /* which has no other place */
        assert_int_equal(pages_in_memory(fd, LEN), 0);
    disk->close(disk, fd);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_write_of_more_vectors_than_the_system_takes_is_whole,
                                        make, discard),
        cmocka_unit_test_setup_teardown(reads_are_short_only_at_the_end, make, discard),
        cmocka_unit_test_setup_teardown(failures_are_negative_numbers_of_errno, make, discard),
        cmocka_unit_test_setup_teardown(what_it_makes_is_for_its_owner_alone, make, discard),
        cmocka_unit_test_setup_teardown(a_folder_is_listed_without_itself, make, discard),
        cmocka_unit_test_setup_teardown(what_is_durable_can_leave_memory, make, discard),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
