/*
 * Small files: whole or not at all, also when the power goes off in between, and their owner's
 * alone.
 */
#include "base/file.h"

#include "support/fault_disk.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct disk *begin(struct fault_disk *faults)
{
    struct disk *disk = fault_disk_of(faults);

    assert_int_equal(disk->make_dir(disk, "data"), 0);
    assert_int_equal(disk->sync_dir(disk, "."), 0);
    return disk;
}

static bool reads(struct disk *disk, const char *text)
{
    struct buf out = {0};
    bool same = file_read(disk, "data/f", 100, &out, NULL) == 0 && slice_is(buf_slice(&out), text);

    buf_free(&out);
    return same;
}

static void after_a_cut_it_is_the_old_one_or_the_new_one(void **state)
{
    unsigned olds = 0, news = 0;

    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        for (uint64_t change = 1; change < 8; change++) {
            struct fault_disk *faults = fault_disk_new(seed);
            struct disk *disk = begin(faults);
            bool replaced = false;
            int code;

            assert_int_equal(file_replace(disk, "data/f", SLICE("old"), NULL, NULL), 0);
            fault_disk_crash_at(faults, change);
            code = file_replace(disk, "data/f", SLICE("newer"), &replaced, NULL);
            assert_true(code != 0 || replaced);
            fault_disk_restart(faults, true);
            assert_true(reads(disk, "newer") || (code != 0 && reads(disk, "old")));
            olds += reads(disk, "old");
            news += reads(disk, "newer");
            fault_disk_free(faults);
        }
    }
    assert_true(olds > 20 && news > 20);
}

static void a_full_disk_leaves_the_old_one(void **state)
{
    struct fault_disk *faults = fault_disk_new(1);
    struct disk *disk = begin(faults);
    bool replaced = true;

    (void)state;
    assert_int_equal(file_replace(disk, "data/f", SLICE("old"), NULL, NULL), 0);
    fault_disk_fail(faults, FAULT_WRITE, ".new", 0, 1, ENOSPC);
    assert_int_equal(file_replace(disk, "data/f", SLICE("new"), &replaced, NULL), ERR_FULL);
    assert_false(replaced);
    assert_true(reads(disk, "old"));
    fault_disk_fail(faults, FAULT_SYNC_DIR, NULL, 0, 1, EIO);
    assert_int_equal(file_replace(disk, "data/f", SLICE("new"), &replaced, NULL), ERR_IO);
    assert_true(replaced); /* in force, but not for sure on disk */
    assert_true(reads(disk, "new"));
    fault_disk_free(faults);
}

static void a_larger_file_than_expected_is_not_read(void **state)
{
    struct fault_disk *faults = fault_disk_new(1);
    struct disk *disk = begin(faults);
    struct buf out = {0};

    (void)state;
    assert_int_equal(file_read(disk, "data/f", 3, &out, NULL), ERR_NOT_FOUND);
    assert_int_equal(file_replace(disk, "data/f", SLICE("four"), NULL, NULL), 0);
    assert_int_equal(file_read(disk, "data/f", 3, &out, NULL), ERR_CORRUPT);
    assert_int_equal(out.len, 0);
    assert_int_equal(file_read(disk, "data/f", 4, &out, NULL), 0);
    assert_int_equal(out.len, 4);
    buf_free(&out);
    fault_disk_free(faults);
}

static void a_file_is_made_once_and_is_its_owners(void **state)
{
    char folder[] = "/tmp/file-test-XXXXXX";
    char path[64];
    struct buf out = {0};
    struct stat about;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/key", folder);
    assert_int_equal(file_make(path, SLICE("first"), NULL), 0);
    assert_int_equal(file_make(path, SLICE("second"), NULL), 0);
    assert_int_equal(file_read(&disk_real, path, 100, &out, NULL), 0);
    assert_true(slice_is(buf_slice(&out), "first"));
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0); /* nothing else was left there */
    assert_int_equal(file_make(path, SLICE("third"), NULL), ERR_NOT_FOUND);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_a_cut_it_is_the_old_one_or_the_new_one),
        cmocka_unit_test(a_full_disk_leaves_the_old_one),
        cmocka_unit_test(a_larger_file_than_expected_is_not_read),
        cmocka_unit_test(a_file_is_made_once_and_is_its_owners),
    };

    return cmocka_run_group_tests_name("base/file", tests, NULL, NULL);
}
