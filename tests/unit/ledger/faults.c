/*
 * A full disk, a disk that fails to sync or to read, and another process that holds the file.
 *
 * This program's own fdatasync(), fsync(), unlink(), rename(), open64() and pread64() go before the
 * C library's: they count, and fail on demand. So do its clock_gettime(), by which no time passes
 * unless a test says so, and its pthread_mutex_lock(), which plays another thread that comes first.
 * A full disk is played by the limit on the size of files.
 */
#include "scratch.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

static unsigned syncs;
static bool sync_fails;
static int own_until_fault = -1; /* after so many of the ledger's own, one fails; -1: none does */
static bool folder_was_synced;   /* last of all */
static bool mended_was_synced;   /* the new file */
static bool renamed;             /* and the folder not synced since */
static unsigned unsafe;          /* steps of mending while the one before may not last */

static bool ends_with(const char *path, const char *tail)
{
    size_t len = strlen(path);

    return len >= strlen(tail) && strcmp(path + len - strlen(tail), tail) == 0;
}

/* What a sync that has succeeded makes last. */
static void note_sync(int file)
{
    char link[64], path[512] = "";
    struct stat about;

    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    if (readlink(link, path, sizeof path - 1) > 0 && ends_with(path, ".mended"))
        mended_was_synced = true;
    folder_was_synced = fstat(file, &about) == 0 && S_ISDIR(about.st_mode);
    renamed = renamed && !folder_was_synced;
}

static int do_sync(long number, int file)
{
    bool own = number == SYS_fsync; /* SQLite calls the other */

    syncs += 1;
    if (sync_fails || (own && own_until_fault >= 0 && own_until_fault-- == 0)) {
        errno = EIO;
        return -1;
    }
    note_sync(file);
    return (int)syscall(number, file);
}

int fdatasync(int file)
{
    return do_sync(SYS_fdatasync, file);
}

int fsync(int file)
{
    return do_sync(SYS_fsync, file);
}

int unlink(const char *path)
{
    if (ends_with(path, ".mended") || ends_with(path, ".db-wal"))
        unsafe += !folder_was_synced;
    if (ends_with(path, ".db-wal"))
        unsafe += !mended_was_synced;
    return (int)syscall(SYS_unlink, path);
}

int rename(const char *from, const char *to)
{
    unsafe += !folder_was_synced;
    mended_was_synced = false;
    renamed = true;
    return (int)syscall(SYS_rename, from, to);
}

/* A new write-ahead file says that the pair is whole: the main one has to have its name by then. */
int open64(const char *path, int flags, ...)
{
    va_list args;
    int mode;

    va_start(args, flags);
    mode = (flags & O_CREAT) != 0 ? va_arg(args, int) : 0;
    va_end(args);
    if ((flags & O_CREAT) != 0 && ends_with(path, ".db-wal"))
        unsafe += renamed;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

static int64_t clock_us = 1;

int clock_gettime(clockid_t which, struct timespec *now)
{
    if (which != CLOCK_MONOTONIC)
        return (int)syscall(SYS_clock_gettime, which, now);
    *now = (struct timespec){clock_us / 1000000, clock_us % 1000000 * 1000};
    return 0;
}

static int reads_until_fault = -1; /* after so many, one read fails; -1: none does */

ssize_t pread64(int file, void *bytes, size_t len, off64_t at)
{
    if (reads_until_fault >= 0 && reads_until_fault-- == 0) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pread64, file, bytes, len, at);
}

/* What another thread does between a call and the lock that the call takes. */
static void (*before_lock)(void *arg);
static void *before_lock_arg;

int pthread_mutex_lock(pthread_mutex_t *lock)
{
    static int (*real)(pthread_mutex_t *);
    void (*act)(void *arg) = before_lock;

    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "pthread_mutex_lock");
    before_lock = NULL;
    if (act != NULL)
        act(before_lock_arg);
    return real(lock);
}

static void limit_files_to(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static const struct ledger_delivery delivery = {
    .first = 1001, .last = 1002, .outcome = SLICE("stored")};

static int count_one(void *arg, const struct ledger_delivery *shown)
{
    (void)shown;
    *(unsigned *)arg += 1;
    return 0;
}

static unsigned deliveries(struct ledger *ledger)
{
    unsigned count = 0;

    assert_int_equal(ledger_each_delivery(ledger, 1000, count_one, &count, NULL), 0);
    return count;
}

/* How many syncs `call` takes; its code must be 0. */
#define SYNCS(call) (syncs = 0, assert_int_equal((call), 0), syncs)

static void what_is_durable_on_return_is_synced(void **state)
{
    struct ledger *ledger = open_scratch(*state);

    must_fail_at(ledger, 1, "one"); /* the first write also syncs the new file's header */
    assert_int_equal(SYNCS(ledger_fail(ledger, 2, SLICE("two"), SLICE("reason"), 1, NULL)), 1);
    assert_int_equal(SYNCS(ledger_retry(ledger, 2, NULL)), 1);
    assert_int_equal(SYNCS(ledger_discard(ledger, 1, NULL)), 1);
    assert_int_equal(SYNCS(ledger_set_cursor(ledger, 5, NULL)), 1);
    assert_int_equal(SYNCS(ledger_set_cursor(ledger, 5, NULL)), 0);
    assert_int_equal(SYNCS(ledger_delivered_to(ledger, &delivery, 6, NULL)), 1);
    assert_int_equal(SYNCS(ledger_delivered(ledger, &delivery, NULL)), 0);
    assert_int_equal(SYNCS(ledger_recovered(ledger, 2, NULL)), 0);
    assert_int_equal(SYNCS(ledger_set_cursor(ledger, 7, NULL)), 1);
    must_fail_at(ledger, 1, "one");
    assert_int_equal(ledger_retry(ledger, 1, NULL), 0);
    assert_int_equal(SYNCS(ledger_reopen_from(ledger, 0, NULL)), 1);
    ledger_close(ledger);
}

static void what_is_forgotten_is_so_durably(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    struct ledger_order order;

    must_fail_at(ledger, 1, "one");
    assert_int_equal(SYNCS(ledger_forget(ledger, SLICE("a"), true, 9, 1, 9, &order, NULL)), 1);
    assert_int_equal(SYNCS(ledger_replace(ledger, 1, SLICE("1"), NULL)), 1);
    assert_int_equal(SYNCS(ledger_mask(ledger, SLICE("refused"), SLICE("-"), NULL)), 1);
    assert_int_equal(SYNCS(ledger_erase(ledger, 1, NULL)), 1);
    assert_int_equal(SYNCS(ledger_forgotten(ledger, &order, NULL)), 1);
    assert_int_equal(SYNCS(ledger_drop_orders(ledger, 9, 2, NULL)), 1);
    ledger_close(ledger);
}

static void an_order_that_was_not_written_is_none(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    struct ledger_order order;

    must_fail_at(ledger, 1, "one");
    sync_fails = true;
    assert_int_equal(ledger_forget(ledger, SLICE("a"), true, 9, 1, 9, &order, NULL), ERR_IO);
    sync_fails = false;
    assert_int_equal(ledger_verdict(ledger, 1, SLICE("a")), LEDGER_KEEP);
    assert_int_equal(ledger_open_orders(ledger), 0);
    ledger_close(ledger);
}

static void a_full_disk_is_said_and_passes(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    char *bytes = calloc(1, 256 * 1024);
    const struct slice large = {bytes, 256 * 1024};
    struct ledger_failed found;
    struct buf storage = {0};
    struct err err = {0};

    must_fail_at(ledger, 1, "one");
    assert_int_equal(ledger_retry(ledger, 1, NULL), 0);
    limit_files_to(128 * 1024);
    assert_int_equal(ledger_fail(ledger, 2, large, SLICE("reason"), 1, &err), ERR_FULL);
    assert_non_null(strstr(err.text, "record the failure of 2"));
    assert_int_equal(ledger_fail(ledger, 1, large, SLICE("reason"), 1, NULL), ERR_FULL);
    assert_counts(ledger, 0, 1, 3, 0);
    assert_int_equal(ledger_find(ledger, 2, &found, &storage, NULL), ERR_NOT_FOUND);
    assert_int_equal(ledger_find(ledger, 1, &found, &storage, NULL), 0);
    assert_true(slice_is(found.record, "one"));
    limit_files_to(RLIM_INFINITY);
    assert_int_equal(ledger_fail(ledger, 2, large, SLICE("reason"), 1, NULL), 0);
    assert_counts(ledger, 1, 1, 3 + large.len, 0);
    ledger_close(ledger);
    ledger = open_scratch(*state);
    assert_counts(ledger, 1, 1, 3 + large.len, 0);
    ledger_close(ledger);
    buf_free(&storage);
    free(bytes);
}

static void a_disk_that_is_full_at_the_start_is_said(void **state)
{
    struct scratch *scratch = *state;
    struct ledger *ledger = NULL;
    struct err err = {0};
    int code;

    limit_files_to(1024);
    code = ledger_open(scratch->path, 10, &ledger, &err);
    limit_files_to(RLIM_INFINITY);
    assert_int_equal(code, ERR_FULL);
    assert_null(ledger);
    ledger_close(open_scratch(scratch));
}

static void deliveries_and_cursor_stay_together_on_a_full_disk(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    uint64_t cursor = 0;
    uint64_t last = 0;
    unsigned written = 0;

    assert_int_equal(ledger_delivered_to(ledger, &delivery, 1, NULL), 0);
    limit_files_to(128 * 1024);
    for (; written < 1000; written++)
        if (ledger_delivered_to(ledger, &delivery, written + 2, NULL) != 0)
            break;
    assert_in_range(written, 1, 100);
    assert_int_equal(ledger_delivered_to(ledger, &delivery, 5000, NULL), ERR_FULL);
    assert_int_equal(ledger_cursor(ledger, &cursor, NULL), 0);
    assert_int_equal(cursor, written + 1);
    /* The cursor alone takes less room: a few more of it may fit. */
    for (last = cursor; last < 5000 && ledger_set_cursor(ledger, last + 1, NULL) == 0; last++)
        continue;
    assert_int_equal(ledger_set_cursor(ledger, 5000, NULL), ERR_FULL);
    assert_int_equal(ledger_cursor(ledger, &cursor, NULL), 0);
    assert_int_equal(cursor, last);
    limit_files_to(RLIM_INFINITY);
    assert_int_equal(deliveries(ledger), written + 1);
    ledger_close(ledger);
    ledger = open_scratch(*state);
    assert_int_equal(ledger_cursor(ledger, &cursor, NULL), 0);
    assert_int_equal(cursor, last);
    assert_int_equal(deliveries(ledger), written + 1);
    ledger_close(ledger);
}

static void after_a_failed_sync_everything_is_written_anew(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    struct stat about;
    struct ledger_failed found;
    struct buf storage = {0};
    struct err err = {0};

    must_fail_at(ledger, 1, "one");
    sync_fails = true;
    assert_int_equal(ledger_fail(ledger, 2, SLICE("two"), SLICE("reason"), 1, &err), ERR_IO);
    assert_non_null(strstr(err.text, strerror(EIO)));
    assert_int_equal(ledger_fail(ledger, 3, SLICE("three"), SLICE("reason"), 1, &err), ERR_IO);
    assert_non_null(strstr(err.text, "writing all of it anew"));
    assert_int_equal(ledger_find(ledger, 1, &found, &storage, NULL), 0);
    assert_counts(ledger, 1, 0, 3, 0);
    sync_fails = false;
    unsafe = 0;
    mended_was_synced = false;
    /* It tries once a second, so that a dying disk is not written full. */
    clock_us += 999999;
    syncs = 0;
    assert_int_equal(ledger_fail(ledger, 3, SLICE("three"), SLICE("reason"), 1, &err), ERR_IO);
    assert_int_equal(syncs, 0);
    clock_us += 1;
    assert_int_equal(ledger_fail(ledger, 3, SLICE("three"), SLICE("reason"), 1, &err), 0);
    assert_int_equal(unsafe, 0);
    assert_int_equal(SYNCS(ledger_set_cursor(ledger, 9, NULL)), 1); /* it is whole again */
    assert_int_equal(stat(((struct scratch *)*state)->path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    assert_counts(ledger, 2, 0, 8, 0);
    assert_int_equal(ledger_find(ledger, 2, &found, &storage, NULL), ERR_NOT_FOUND);
    ledger_close(ledger);

    ledger = open_scratch(*state);
    assert_counts(ledger, 2, 0, 8, 0);
    assert_int_equal(ledger_find(ledger, 1, &found, &storage, NULL), 0);
    assert_true(slice_is(found.record, "one"));
    assert_int_equal(ledger_find(ledger, 2, &found, &storage, NULL), ERR_NOT_FOUND);
    assert_int_equal(ledger_find(ledger, 3, &found, &storage, NULL), 0);
    ledger_close(ledger);
    buf_free(&storage);
}

/* Of the folder, the new file, and the folder three times. */
static void any_sync_that_fails_while_everything_is_written_anew_costs_one_attempt(void **state)
{
    struct scratch *scratch = *state;
    char mended[320];

    snprintf(mended, sizeof mended, "%s.mended", scratch->path);
    for (int n = 0; n < 5; n++) {
        struct ledger *ledger = open_scratch(scratch);
        struct ledger_failed found;
        struct buf storage = {0};
        int code;

        must_fail_at(ledger, 1, "one");
        sync_fails = true;
        assert_int_equal(ledger_set_cursor(ledger, 8, NULL), ERR_IO);
        sync_fails = false;
        own_until_fault = n;
        assert_int_equal(ledger_set_cursor(ledger, 8, NULL), ERR_IO);
        assert_int_equal(own_until_fault, -1);
        if (n < 3) /* the old pair is still there, and a full disk needs the room */
            assert_int_not_equal(access(mended, F_OK), 0);
        code = ledger_find(ledger, 1, &found, &storage, NULL); /* the file may be in between */
        assert_true(code == 0 || code == ERR_IO);
        clock_us += 1000000;
        assert_int_equal(ledger_set_cursor(ledger, 9, NULL), 0);
        assert_int_equal(ledger_find(ledger, 1, &found, &storage, NULL), 0);
        ledger_close(ledger);
        ledger = open_scratch(scratch);
        assert_counts(ledger, 1, 0, 3, 0);
        ledger_close(ledger);
        buf_free(&storage);
        assert_int_equal(unlink(scratch->path), 0);
    }
}

static void write_something(void *ledger)
{
    assert_int_equal(ledger_set_cursor(ledger, 9, NULL), 0);
}

static void who_looks_while_everything_is_written_anew_finds_what_is_there(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    struct ledger_failed found;
    struct buf storage = {0};
    struct err err = {0};
    int code;

    must_fail_at(ledger, 1, "one");
    sync_fails = true;
    assert_int_equal(ledger_set_cursor(ledger, 8, NULL), ERR_IO);
    sync_fails = false;
    before_lock = write_something; /* it mends, and comes just before this thread */
    before_lock_arg = ledger;
    code = ledger_find(ledger, 1, &found, &storage, &err);
    assert_null(before_lock);
    if (code != 0)
        fail_msg("%s", err.text);
    assert_true(slice_is(found.record, "one"));
    ledger_close(ledger);
    buf_free(&storage);
}

/* Soft writes sync nothing until the write-ahead file is long enough to be copied back. */
static void a_sync_that_fails_while_copying_back_is_mended_too(void **state)
{
    struct ledger *ledger = open_scratch(*state);
    uint64_t cursor = 0;
    unsigned writes = 0;
    int code = 0;

    assert_int_equal(ledger_delivered(ledger, &delivery, NULL), 0);
    sync_fails = true;
    for (; writes < 5000 && code == 0; writes++)
        code = ledger_delivered(ledger, &delivery, NULL);
    assert_int_equal(code, ERR_IO);
    assert_true(writes > 100);
    sync_fails = false;
    clock_us += 1000000;
    assert_int_equal(ledger_set_cursor(ledger, 9, NULL), 0);
    ledger_close(ledger);
    ledger = open_keeping(*state, 5000);
    assert_int_equal(ledger_cursor(ledger, &cursor, NULL), 0);
    assert_int_equal(cursor, 9);
    ledger_close(ledger);
}

static void fill_with_orders(struct scratch *scratch, unsigned count)
{
    struct ledger *ledger = open_scratch(scratch);
    struct ledger_order order;
    char user[64];

    for (unsigned i = 0; i < count; i++) {
        snprintf(user, sizeof user, "%060u", i);
        assert_int_equal(ledger_forget(ledger, slice_of(user), true, 9, 1, count, &order, NULL), 0);
    }
    ledger_close(ledger);
}

/* Each read of a start fails in turn, among them those between two pages of orders. */
static void a_read_that_fails_at_the_start_loses_no_order_to_forget(void **state)
{
    enum { ORDERS = 200, PAGES = 4 };
    struct scratch *scratch = *state;
    bool failed = true;
    int refused = 0;

    fill_with_orders(scratch, ORDERS);
    for (int before = 0; failed; before++) {
        struct ledger *ledger = NULL;
        struct err err = {0};
        int code;

        reads_until_fault = before;
        code = ledger_open(scratch->path, 10, &ledger, &err);
        failed = reads_until_fault < 0;
        reads_until_fault = -1;
        refused += code != 0;
        if (code == 0)
            assert_int_equal(ledger_open_orders(ledger), ORDERS);
        ledger_close(ledger);
    }
    assert_true(refused >= PAGES);
}

static void copy_file(const char *from, const char *to)
{
    char bytes[4096];
    FILE *in = fopen(from, "r");
    FILE *out = fopen(to, "w");
    size_t len;

    assert_non_null(in);
    assert_non_null(out);
    while ((len = fread(bytes, 1, sizeof bytes, in)) > 0)
        assert_int_equal(fwrite(bytes, 1, len, out), len);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

/* The new file was whole, and the old write-ahead file deleted; or it was not. */
static void a_crash_while_mending_leaves_the_old_pair_or_the_new_file(void **state)
{
    struct scratch *scratch = *state;
    struct ledger *ledger = open_scratch(scratch);
    char mended[320], wal[320], old[320];

    snprintf(mended, sizeof mended, "%s.mended", scratch->path);
    snprintf(wal, sizeof wal, "%s-wal", scratch->path);
    snprintf(old, sizeof old, "%s.old", scratch->path);
    ledger_close(ledger);
    copy_file(scratch->path, old);
    ledger = open_scratch(scratch);
    must_fail_at(ledger, 1, "one");
    ledger_close(ledger);
    copy_file(scratch->path, mended);
    copy_file(old, scratch->path);
    ledger = open_scratch(scratch); /* takes the file's place: no write-ahead file was there */
    assert_int_not_equal(access(mended, F_OK), 0);
    assert_counts(ledger, 1, 0, 3, 0);
    must_fail_at(ledger, 2, "two");
    copy_file(wal, mended); /* half of something, while the old pair is there */
    {
        char kept[320];

        snprintf(kept, sizeof kept, "%s.kept", scratch->path);
        copy_file(wal, kept);
        ledger_close(ledger);
        copy_file(kept, wal);
    }
    ledger = open_scratch(scratch);
    assert_int_not_equal(access(mended, F_OK), 0);
    assert_counts(ledger, 2, 0, 6, 0);
    ledger_close(ledger);
}

static void the_write_ahead_file_is_copied_back_and_stays_bounded(void **state)
{
    struct scratch *scratch = *state;
    struct ledger *ledger = open_scratch(scratch);
    char wal[320];
    FILE *file;

    snprintf(wal, sizeof wal, "%s-wal", scratch->path);
    for (uint64_t i = 0; i < 5000; i++)
        assert_int_equal(ledger_delivered(ledger, &delivery, NULL), 0);
    file = fopen(wal, "r");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    assert_in_range(ftell(file), 1, 8 * 1024 * 1024);
    fclose(file);
    ledger_close(ledger);
}

static void a_file_that_another_holds_for_writing_is_said(void **state)
{
    struct scratch *scratch = *state;
    struct ledger *ledger = open_scratch(scratch);
    sqlite3 *other = NULL;
    struct err err = {0};

    must_fail_at(ledger, 1, "one");
    assert_int_equal(sqlite3_open(scratch->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(ledger_retry(ledger, 1, &err), ERR_IO);
    assert_non_null(strstr(err.text, "locked"));
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    assert_int_equal(ledger_retry(ledger, 1, NULL), 0);
    ledger_close(ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_scratch(what_is_durable_on_return_is_synced),
        in_scratch(what_is_forgotten_is_so_durably),
        in_scratch(an_order_that_was_not_written_is_none),
        in_scratch(a_full_disk_is_said_and_passes),
        in_scratch(a_disk_that_is_full_at_the_start_is_said),
        in_scratch(deliveries_and_cursor_stay_together_on_a_full_disk),
        in_scratch(after_a_failed_sync_everything_is_written_anew),
        in_scratch(any_sync_that_fails_while_everything_is_written_anew_costs_one_attempt),
        in_scratch(who_looks_while_everything_is_written_anew_finds_what_is_there),
        in_scratch(a_sync_that_fails_while_copying_back_is_mended_too),
        in_scratch(a_read_that_fails_at_the_start_loses_no_order_to_forget),
        in_scratch(a_crash_while_mending_leaves_the_old_pair_or_the_new_file),
        in_scratch(the_write_ahead_file_is_copied_back_and_stays_bounded),
        in_scratch(a_file_that_another_holds_for_writing_is_said),
    };

    signal(SIGXFSZ, SIG_IGN);
    return cmocka_run_group_tests_name("ledger/faults", tests, NULL, NULL);
}
