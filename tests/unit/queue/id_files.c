/*
 * Files of client ids: which of them are believed, and which are kept.
 */
#include "queue/queue_ids_priv.h"
#include "support/fault_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { DAY_S = 86400 };

static const char node[WAL_NODE_LEN] = {'t', 'e', 's', 't', 'n', 'o', 'd', 'e'};

static int read_written(const struct id_file *file)
{
    char bytes[ID_HEADER];
    struct id_file ret;

    id_header_write(bytes, file, node);
    return id_header_read(bytes, node, &ret, NULL);
}

static void a_header_is_believed_as_a_whole_or_not_at_all(void **state)
{
    static const char other[WAL_NODE_LEN] = {'o', 't', 'h', 'e', 'r'};
    const struct id_file file = {.from = 5, .to = 9, .stored = 3, .seed = 7, .at_to = {2, 3}};
    struct id_file ret = {0};
    char bytes[ID_HEADER];

    (void)state;
    id_header_write(bytes, &file, node);
    assert_int_equal(id_header_read(bytes, node, &ret, NULL), 0);
    assert_true(ret.from == 5 && ret.to == 9 && ret.stored == 3 && ret.count == 3);
    assert_true(ret.seed == 7 && ret.at_to.last_us == file.at_to.last_us);
    assert_int_equal(id_header_read(bytes, other, &ret, NULL), ERR_CORRUPT);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
        assert_int_not_equal(id_header_read(bytes, node, &ret, NULL), 0);
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
    }
}

static void a_header_that_makes_no_sense_is_not_believed(void **state)
{
    (void)state;
    assert_int_equal(read_written(&(struct id_file){.from = 9, .to = 9}), 0);
    assert_int_equal(read_written(&(struct id_file){.from = 10, .to = 9}), ERR_CORRUPT);
    assert_int_equal(read_written(&(struct id_file){.stored = UINT32_MAX}), 0);
    assert_int_equal(read_written(&(struct id_file){.stored = UINT32_MAX + UINT64_C(1)}),
                     ERR_CORRUPT);
    assert_int_equal(read_written(&(struct id_file){.at_from.elapsed_us = -1}), ERR_CORRUPT);
    assert_int_equal(read_written(&(struct id_file){.at_to.last_us = -1}), ERR_CORRUPT);
}

static bool is_there(struct fault_disk *faults, const char *path)
{
    struct disk *disk = fault_disk_of(faults);
    int fd = disk->open(disk, path, O_RDONLY);

    if (fd >= 0)
        disk->close(disk, fd);
    return fd >= 0;
}

static struct id_files *open_files(struct fault_disk *faults, bool read_only)
{
    struct id_files_options options = {.disk = fault_disk_of(faults),
                                       .dir = "ids",
                                       .capacity = 100,
                                       .window_s = DAY_S,
                                       .reserve_bytes = 512,
                                       .read_only = read_only};
    struct id_files *files;

    memcpy(options.node, node, sizeof node);
    assert_int_equal(id_files_open(&options, &files, NULL), 0);
    return files;
}

/* One that ends at position `name`, and how long before now its last id came. */
static void add(struct id_files *files, uint64_t name, uint64_t count, int64_t age_s)
{
    struct id_file file = {.name = name, .to = name, .count = count, .stored = count};
    struct disk *disk = files->options.disk;
    char path[ID_PATH];
    int fd;

    file.at_to.elapsed_us = files->clock.elapsed_us - age_s * 1000000;
    id_files_path(files, name, path);
    assert_true((fd = disk->open(disk, path, O_RDWR | O_CREAT)) >= 0);
    assert_int_equal(disk->close(disk, fd), 0);
    id_files_add(files, &file);
}

static void check_pruned(const uint64_t counts[4], const int64_t ages_s[4], bool read_only,
                         size_t gone)
{
    struct fault_disk *faults = fault_disk_new(1);
    struct id_files *files;

    id_files_close(open_files(faults, false)); /* makes the folder */
    files = open_files(faults, read_only);
    files->clock.elapsed_us = INT64_C(1000000) * 10 * DAY_S;
    for (uint64_t name = 1; name <= 4; name++)
        add(files, name, counts[name - 1], ages_s[name - 1]);
    id_files_prune(files);
    assert_int_equal(files->count, 4 - gone);
    assert_int_equal(files->list[0].name, gone + 1);
    for (uint64_t name = 1; name <= 4; name++) {
        char path[ID_PATH];

        id_files_path(files, name, path);
        assert_int_equal(is_there(faults, path), read_only || name > gone);
    }
    id_files_close(files);
    fault_disk_free(faults);
}

static void files_whose_ids_are_of_no_use_go(void **state)
{
    const uint64_t few[4] = {1, 1, 1, 1};
    const uint64_t many[4] = {60, 60, 50, 50};
    const int64_t young[4] = {0};
    const int64_t aged[4] = {3 * DAY_S, DAY_S + 1, DAY_S, 0};
    const int64_t all_aged[4] = {3 * DAY_S, 3 * DAY_S, 3 * DAY_S, 3 * DAY_S};

    (void)state;
    check_pruned(few, young, false, 0);
    check_pruned(many, young, false, 2); /* the newer ones hold as many as are remembered */
    check_pruned(few, aged, false, 2);
    check_pruned(few, all_aged, false, 3); /* the newest has the key and the clock */
    check_pruned(many, young, true, 2);
}

static void what_was_begun_and_not_finished_leaves_no_file(void **state)
{
    struct fault_disk *faults = fault_disk_new(1);
    struct disk *disk = fault_disk_of(faults);
    struct id_files *files;
    int fd;

    (void)state;
    fault_disk_fail(faults, FAULT_ALLOCATE, "reserve", 0, 1, ENOSPC);
    files = open_files(faults, false);
    assert_false(is_there(faults, "ids/reserve"));
    id_files_close(files);
    assert_true((fd = disk->open(disk, "ids/new", O_RDWR | O_CREAT)) >= 0);
    assert_int_equal(disk->close(disk, fd), 0);
    id_files_close(open_files(faults, true));
    assert_true(is_there(faults, "ids/new"));
    id_files_close(open_files(faults, false));
    assert_false(is_there(faults, "ids/new"));
    assert_true(is_there(faults, "ids/reserve"));
    fault_disk_free(faults);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_is_believed_as_a_whole_or_not_at_all),
        cmocka_unit_test(a_header_that_makes_no_sense_is_not_believed),
        cmocka_unit_test(files_whose_ids_are_of_no_use_go),
        cmocka_unit_test(what_was_begun_and_not_finished_leaves_no_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
