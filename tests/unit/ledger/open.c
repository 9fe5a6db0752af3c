/*
 * Opening: new files, files of before, and files that are refused.
 */
#include "scratch.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void put_file(const char *path, const void *bytes, size_t len)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(file >= 0);
    assert_int_equal(write(file, bytes, len), (ssize_t)len);
    close(file);
}

static int64_t ask(const char *path, const char *query)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    int64_t answer;

    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, query, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    answer = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return answer;
}

static void change(const char *path, const char *text)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* Opening fails with this code, and the words hold these. */
static void assert_refused(struct scratch *scratch, int code, const char *words)
{
    struct ledger *ledger = NULL;
    struct err err = {0};

    assert_int_equal(ledger_open(scratch->path, 10, &ledger, &err), code);
    assert_null(ledger);
    assert_int_equal(err.code, code);
    assert_non_null(strstr(err.text, scratch->path));
    if (strstr(err.text, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, words);
}

static void a_new_ledger_is_empty_and_private(void **state)
{
    struct scratch *scratch = *state;
    struct ledger *ledger = open_scratch(scratch);
    uint64_t cursor = 7;
    struct stat status;

    assert_int_equal(ledger_cursor(ledger, &cursor, NULL), 0);
    assert_int_equal(cursor, 0);
    assert_counts(ledger, 0, 0, 0, 0);
    ledger_close(ledger);
    assert_int_equal(stat(scratch->path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void everything_is_there_after_reopening(void **state)
{
    struct scratch *scratch = *state;
    struct ledger *ledger = open_scratch(scratch);
    struct ledger_failed found;
    struct buf storage = {0};
    uint64_t cursor;

    must_fail_at(ledger, 3, "three");
    must_fail_at(ledger, 4, "four");
    must_fail_at(ledger, 5, "fives");
    assert_int_equal(ledger_retry(ledger, 4, NULL), 0);
    assert_int_equal(ledger_discard(ledger, 5, NULL), 0);
    assert_int_equal(ledger_set_cursor(ledger, (UINT64_C(1) << 60) - 1, NULL), 0);
    ledger_close(ledger);

    ledger = open_scratch(scratch);
    assert_counts(ledger, 1, 1, 9, 1);
    assert_int_equal(ledger_cursor(ledger, &cursor, NULL), 0);
    assert_int_equal(cursor, (UINT64_C(1) << 60) - 1);
    assert_int_equal(ledger_find(ledger, 4, &found, &storage, NULL), 0);
    assert_true(found.retrying);
    assert_true(slice_is(found.record, "four"));
    buf_free(&storage);
    ledger_close(ledger);
}

static void a_newer_version_is_refused_and_left_alone(void **state)
{
    struct scratch *scratch = *state;

    ledger_close(open_scratch(scratch));
    change(scratch->path, "PRAGMA user_version = 3");
    assert_refused(scratch, ERR_UNSUPPORTED, "version 3");
    assert_int_equal(ask(scratch->path, "PRAGMA user_version"), 3);
}

static void an_older_version_is_brought_up(void **state)
{
    struct scratch *scratch = *state;
    struct ledger *ledger = open_scratch(scratch);
    struct ledger_order order;

    must_fail_at(ledger, 7, "seven");
    ledger_close(ledger);
    change(scratch->path, "DROP TABLE forgotten; PRAGMA user_version = 1");
    ledger = open_scratch(scratch);
    assert_counts(ledger, 1, 0, 5, 0);
    assert_int_equal(ledger_forget(ledger, SLICE("jdoe"), true, 9, 1, 9, &order, NULL), 0);
    ledger_close(ledger);
    assert_int_equal(ask(scratch->path, "PRAGMA user_version"), 2);
    ledger_close(open_scratch(scratch));
}

static void another_database_is_refused_and_left_alone(void **state)
{
    struct scratch *scratch = *state;

    change(scratch->path, "CREATE TABLE event (id INTEGER)");
    assert_refused(scratch, ERR_CORRUPT, "not a ledger");
    change(scratch->path, "PRAGMA user_version = 1");
    assert_refused(scratch, ERR_CORRUPT, "not a ledger");
    assert_int_equal(ask(scratch->path, "SELECT count(*) FROM sqlite_schema"), 1);
}

static void a_file_that_is_no_database_is_refused_and_left_alone(void **state)
{
    struct scratch *scratch = *state;
    char text[4096];
    struct stat status;

    memset(text, 'x', sizeof text);
    put_file(scratch->path, text, sizeof text);
    assert_refused(scratch, ERR_CORRUPT, "not a database");
    assert_int_equal(stat(scratch->path, &status), 0);
    assert_int_equal(status.st_size, sizeof text);
}

static void a_file_cut_short_is_refused(void **state)
{
    struct scratch *scratch = *state;

    ledger_close(open_scratch(scratch));
    assert_int_equal(truncate(scratch->path, 4096), 0);
    assert_refused(scratch, ERR_CORRUPT, "malformed");
}

static void a_damaged_page_is_noticed_when_it_is_read(void **state)
{
    struct scratch *scratch = *state;
    struct ledger *ledger = open_scratch(scratch);
    char noise[4096];
    int64_t page;
    int file;

    must_fail_at(ledger, 1, "one");
    ledger_close(ledger);
    page = ask(scratch->path, "SELECT rootpage FROM sqlite_schema WHERE name = 'failed'");
    memset(noise, 0xa5, sizeof noise);
    file = open(scratch->path, O_WRONLY);
    assert_int_equal(pwrite(file, noise, sizeof noise, (page - 1) * 4096), sizeof noise);
    close(file);
    assert_refused(scratch, ERR_CORRUPT, "malformed");
}

static void a_missing_folder_is_said(void **state)
{
    struct scratch *scratch = *state;
    struct scratch elsewhere = *scratch;

    snprintf(elsewhere.path, sizeof elsewhere.path, "%s/none/ledger.db", scratch->folder);
    assert_refused(&elsewhere, ERR_IO, "unable to open");
}

/* Runs as nobody if the tests run as root, whom permissions do not stop. */
static void a_read_only_folder_is_said(void **state)
{
    struct scratch *scratch = *state;
    bool root = geteuid() == 0;

    assert_int_equal(chmod(scratch->folder, 0555), 0);
    if (root)
        assert_int_equal(seteuid(65534), 0);
    assert_refused(scratch, ERR_IO, "open");
    if (root)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(chmod(scratch->folder, 0700), 0);
}

static void a_read_only_file_is_said(void **state)
{
    struct scratch *scratch = *state;
    bool root = geteuid() == 0;

    ledger_close(open_scratch(scratch));
    assert_int_equal(chmod(scratch->folder, 0777), 0);
    assert_int_equal(chmod(scratch->path, 0444), 0);
    if (root)
        assert_int_equal(seteuid(65534), 0);
    assert_refused(scratch, ERR_IO, "may not be written");
    if (root)
        assert_int_equal(seteuid(0), 0);
}

static void what_was_durable_survives_the_end_of_the_process(void **state)
{
    struct scratch *scratch = *state;
    struct ledger *ledger;
    pid_t child = fork();
    int status;

    if (child == 0) {
        int code = ledger_open(scratch->path, 10, &ledger, NULL);

        for (uint64_t i = 1; i <= 20 && code == 0; i++)
            code = ledger_fail(ledger, i, SLICE("record"), SLICE("reason"), 1, NULL);
        _exit(code == 0 ? 0 : 1); /* without closing: the write-ahead file stays */
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    ledger = open_scratch(scratch);
    assert_counts(ledger, 20, 0, 120, 0);
    ledger_close(ledger);
}

static void a_torn_end_of_the_write_ahead_file_loses_only_the_last_write(void **state)
{
    struct scratch *scratch = *state;
    struct ledger *ledger;
    char wal[320];
    struct stat status;
    pid_t child = fork();
    int code;

    snprintf(wal, sizeof wal, "%s-wal", scratch->path);
    if (child == 0) {
        code = ledger_open(scratch->path, 10, &ledger, NULL);
        for (uint64_t i = 1; i <= 5 && code == 0; i++)
            code = ledger_fail(ledger, i, SLICE("record"), SLICE("reason"), 1, NULL);
        _exit(code == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &code, 0), child);
    assert_int_equal(code, 0);
    assert_int_equal(stat(wal, &status), 0);
    assert_int_equal(truncate(wal, status.st_size - 100), 0);
    ledger = open_scratch(scratch);
    assert_counts(ledger, 4, 0, 24, 0);
    must_fail_at(ledger, 5, "record");
    assert_counts(ledger, 5, 0, 30, 0);
    ledger_close(ledger);
}

static void several_processes_may_use_it_at_once(void **state)
{
    struct scratch *scratch = *state;
    struct ledger *ledger;
    pid_t children[4];
    int status;

    ledger_close(open_scratch(scratch));
    for (unsigned i = 0; i < 4; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            struct err err = {0};
            int code = ledger_open(scratch->path, 10, &ledger, &err);

            if (code == 0)
                code = ledger_fail(ledger, i, SLICE("r"), SLICE("w"), 1, &err);
            if (code == 0)
                ledger_close(ledger);
            else
                fprintf(stderr, "%s\n", err.text);
            _exit(code == 0 ? 0 : 1);
        }
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    ledger = open_scratch(scratch);
    assert_counts(ledger, 4, 0, 4, 0);
    ledger_close(ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_scratch(a_new_ledger_is_empty_and_private),
        in_scratch(everything_is_there_after_reopening),
        in_scratch(a_newer_version_is_refused_and_left_alone),
        in_scratch(an_older_version_is_brought_up),
        in_scratch(another_database_is_refused_and_left_alone),
        in_scratch(a_file_that_is_no_database_is_refused_and_left_alone),
        in_scratch(a_file_cut_short_is_refused),
        in_scratch(a_damaged_page_is_noticed_when_it_is_read),
        in_scratch(a_missing_folder_is_said),
        in_scratch(a_read_only_folder_is_said),
        in_scratch(a_read_only_file_is_said),
        in_scratch(what_was_durable_survives_the_end_of_the_process),
        in_scratch(a_torn_end_of_the_write_ahead_file_loses_only_the_last_write),
        in_scratch(several_processes_may_use_it_at_once),
    };

    return cmocka_run_group_tests_name("ledger/open", tests, NULL, NULL);
}
