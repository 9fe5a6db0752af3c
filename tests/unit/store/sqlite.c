/*
 * What only a file can do to us: being absent, removed, no database, too large.
 */
#include "base/clock.h"
#include "store/store.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NODE "0node001"
#define LONG_MS 60000

static char folder[32];
static char path[128];
static char url[144];
static struct err err;

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        if ((call) != 0)                                                                           \
            fail_msg("%s: %s", #call, err.text);                                                   \
    } while (0)

static int make(void **state)
{
    (void)state;
    memset(&err, 0, sizeof err);
    strcpy(folder, "/tmp/labs-sqlite-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/e.db", folder);
    snprintf(url, sizeof url, "sqlite:%s", path);
    return 0;
}

static void remove_files(void)
{
    static const char *const endings[] = {"", "-wal", "-shm"};
    char name[144];

    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        unlink(name);
    }
}

static int drop(void **state)
{
    (void)state;
    remove_files();
    return rmdir(folder);
}

static struct store *open_url(const char *which)
{
    struct store *store;

    assert_ok(store_open(which, LONG_MS, &store, &err));
    return store;
}

static void make_ready(struct store *store)
{
    unsigned applied;

    assert_ok(store_connect(store, &err));
    assert_ok(store_migrate(store, &applied, &err));
    assert_ok(store_cursor_create(store, NODE, 0, &err));
}

static struct store_batch *batch_of(const struct store *store, uint64_t transactions)
{
    static char value[1024];
    struct store_batch *batch = store_batch_open(store);
    struct txn_datapoint datapoint = {SLICE("key"), {value, sizeof value}};
    struct txn txn = {.count = 1, .datapoints = &datapoint};
    char id[TXN_ID_SIZE];

    memset(value, 'v', sizeof value);
    for (uint64_t i = 0; i < transactions; i++) {
        txn_id_format(id, NODE, i);
        store_batch_add(batch, id, "CLUBS", &txn);
    }
    return batch;
}

static int64_t ask(const char *sql)
{
    sqlite3 *database;
    sqlite3_stmt *statement;
    int64_t answer;

    assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(database, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    answer = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(database);
    return answer;
}

static int64_t count_events(void)
{
    return ask("SELECT count(*) FROM event");
}

static void a_url_without_a_file_is_invalid(void **state)
{
    struct store *store = NULL;

    (void)state;
    assert_int_equal(store_open("sqlite:", LONG_MS, &store, &err), ERR_INVALID);
    assert_int_equal(store_open("sqlite::memory:", LONG_MS, &store, &err), ERR_INVALID);
    assert_null(store);
}

static void a_missing_folder_is_unavailable_until_it_is_there(void **state)
{
    char deep[64];
    char deep_url[128];
    struct store *store;

    (void)state;
    snprintf(deep, sizeof deep, "%s/deep", folder);
    snprintf(deep_url, sizeof deep_url, "sqlite:%s/e.db", deep);
    store = open_url(deep_url);
    assert_int_equal(store_connect(store, &err), ERR_UNAVAILABLE);
    assert_non_null(strstr(err.text, deep));
    assert_non_null(strstr(err.text, "No such file or directory"));
    assert_int_equal(mkdir(deep, 0700), 0);
    snprintf(path, sizeof path, "%s/e.db", deep);
    make_ready(store);
    store_close(store);
    remove_files();
    assert_int_equal(rmdir(deep), 0);
}

static void the_file_is_for_its_owner_only(void **state)
{
    struct store *store = open_url(url);
    struct stat about;
    mode_t before = umask(0);

    (void)state;
    make_ready(store);
    umask(before);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    store_close(store);
}

static void a_removed_file_is_noticed(void **state)
{
    struct store *store = open_url(url);
    struct store_batch *batch = batch_of(store, 2);

    (void)state;
    make_ready(store);
    assert_ok(store_write(store, batch, 0, 1, NODE, 0, 1, &err));
    remove_files();
    assert_int_equal(store_write(store, batch, 1, 2, NODE, 1, 2, &err), ERR_UNAVAILABLE);
    assert_non_null(strstr(err.text, "removed"));
    make_ready(store);
    assert_ok(store_write(store, batch, 1, 2, NODE, 0, 2, &err));
    assert_int_equal(count_events(), 1);
    store_batch_close(batch);
    store_close(store);
}

static void a_file_that_is_no_database_is_unavailable(void **state)
{
    struct store *store = open_url(url);
    FILE *file = fopen(path, "w");

    (void)state;
    for (int i = 0; i < 1000; i++)
        fputs("this is a shopping list, ", file);
    fclose(file);
    assert_int_equal(store_connect(store, &err), ERR_UNAVAILABLE);
    assert_non_null(strstr(err.text, "not a database"));
    assert_int_equal(unlink(path), 0);
    make_ready(store);
    store_close(store);
}

static void a_new_file_has_pages_of_16_kib_and_an_older_one_keeps_its_own(void **state)
{
    static const int64_t sizes[] = {16384, 4096};
    sqlite3 *database;

    (void)state;
    for (int older = 0; older < 2; older++) {
        struct store *store = open_url(url);
        struct store_batch *batch = batch_of(store, 100);

        if (older) {
            assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
            assert_int_equal(sqlite3_exec(database,
                                          "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL;"
                                          "CREATE TABLE other (id integer)",
                                          NULL, NULL, NULL),
                             SQLITE_OK);
            sqlite3_close(database);
        }
        make_ready(store);
        assert_ok(store_write(store, batch, 0, 100, NODE, 0, 1, &err));
        store_batch_close(batch);
        store_close(store);
        assert_true(ask("PRAGMA page_size") == sizes[older]);
        assert_true(count_events() == 100);
        remove_files();
    }
}

static void a_full_disk_is_unavailable_and_leaves_nothing(void **state)
{
    struct store *store = open_url(url);
    struct store_batch *batch = batch_of(store, 1000);
    struct rlimit unlimited, small;
    uint64_t position = 7;

    (void)state;
    make_ready(store);
    assert_ok(store_write(store, batch, 0, 1, NODE, 0, 1, &err));
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
    small = (struct rlimit){.rlim_cur = 256 * 1024, .rlim_max = unlimited.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(store_write(store, batch, 1, 1000, NODE, 1, 1000, &err), ERR_UNAVAILABLE);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
    assert_ok(store_connect(store, &err));
    assert_int_equal(count_events(), 1);
    assert_ok(store_cursor(store, NODE, &position, &err));
    assert_true(position == 1);
    assert_ok(store_write(store, batch, 1, 1000, NODE, 1, 1000, &err));
    assert_int_equal(count_events(), 1000);
    store_batch_close(batch);
    store_close(store);
}

/* A child that stops this process for a while, `after_us` from now. */
static pid_t stopped_for(int64_t after_us, int64_t for_us)
{
    pid_t whom = getpid();
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        usleep((useconds_t)after_us);
        kill(whom, SIGSTOP);
        usleep((useconds_t)for_us);
        kill(whom, SIGCONT);
        _exit(0);
    }
    return child;
}

static void who_is_kept_from_the_processor_is_not_too_late(void **state)
{
    struct store *store = open_url(url);
    struct store_batch *batch = batch_of(store, 20000);
    struct store *hasty;
    int64_t worked_us;
    pid_t child;

    (void)state;
    make_ready(store);
    worked_us = clock_worked_us();
    assert_ok(store_write(store, batch, 0, 20000, NODE, 0, 1, &err));
    worked_us = clock_worked_us() - worked_us;
    assert_ok(store_open(url, 100 + worked_us * 3 / 1000, &hasty, &err));
    assert_ok(store_connect(hasty, &err));
    child = stopped_for(worked_us / 4, 200000 + worked_us * 6);
    assert_ok(store_write(hasty, batch, 0, 20000, NODE, 1, 2, &err));
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(count_events(), 40000);
    store_close(hasty);
    store_batch_close(batch);
    store_close(store);
}

static void a_statement_that_works_too_long_is_stopped(void **state)
{
    struct store *store = open_url(url);
    struct store_batch *batch = batch_of(store, 20000);
    struct store *hasty;

    (void)state;
    make_ready(store);
    assert_ok(store_open(url, 1, &hasty, &err));
    while (store_connect(hasty, &err) != 0)
        ;
    assert_int_equal(store_write(hasty, batch, 0, 20000, NODE, 0, 1, &err), ERR_UNAVAILABLE);
    assert_string_equal(err.text, "not done within the time limit of 1 ms");
    store_close(hasty);
    store_batch_close(batch);
    store_close(store);
}

static void the_wal_does_not_grow_with_what_was_written(void **state)
{
    struct store *store = open_url(url);
    struct store_batch *batch = batch_of(store, 4000); /* some 5 MB */
    char wal[144];
    struct stat about;

    (void)state;
    make_ready(store);
    for (uint64_t i = 0; i < 20; i++)
        assert_ok(store_write(store, batch, 0, 4000, NODE, i, i + 1, &err));
    snprintf(wal, sizeof wal, "%s-wal", path);
    assert_int_equal(stat(wal, &about), 0);
    assert_true(about.st_size > 0);
    assert_true(about.st_size < 40 << 20);
    assert_int_equal(count_events(), 80000);
    store_batch_close(batch);
    store_close(store);
}

static void a_reader_sees_the_last_commit_while_somebody_writes(void **state)
{
    struct store *writer = open_url(url);
    struct store *reader = open_url(url);
    struct store_batch *batch = batch_of(writer, 1);
    struct store_found found;
    sqlite3 *database;

    (void)state;
    make_ready(writer);
    assert_ok(store_connect(reader, &err));
    assert_ok(store_write(writer, batch, 0, 1, NODE, 0, 1, &err));
    assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
    assert_int_equal(sqlite3_exec(database, "BEGIN IMMEDIATE; DELETE FROM event", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_ok(store_find(reader, NODE "000000000000", &found, &err));
    assert_int_equal(found.datapoints, 1);
    sqlite3_close(database);
    store_batch_close(batch);
    store_close(reader);
    store_close(writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_url_without_a_file_is_invalid, make, drop),
        cmocka_unit_test_setup_teardown(a_missing_folder_is_unavailable_until_it_is_there, make,
                                        drop),
        cmocka_unit_test_setup_teardown(the_file_is_for_its_owner_only, make, drop),
        cmocka_unit_test_setup_teardown(a_removed_file_is_noticed, make, drop),
        cmocka_unit_test_setup_teardown(a_file_that_is_no_database_is_unavailable, make, drop),
        cmocka_unit_test_setup_teardown(
            a_new_file_has_pages_of_16_kib_and_an_older_one_keeps_its_own, make, drop),
        cmocka_unit_test_setup_teardown(a_full_disk_is_unavailable_and_leaves_nothing, make, drop),
        cmocka_unit_test_setup_teardown(who_is_kept_from_the_processor_is_not_too_late, make, drop),
        cmocka_unit_test_setup_teardown(a_statement_that_works_too_long_is_stopped, make, drop),
        cmocka_unit_test_setup_teardown(the_wal_does_not_grow_with_what_was_written, make, drop),
        cmocka_unit_test_setup_teardown(a_reader_sees_the_last_commit_while_somebody_writes, make,
                                        drop),
    };

    return cmocka_run_group_tests_name("sqlite", tests, NULL, NULL);
}
