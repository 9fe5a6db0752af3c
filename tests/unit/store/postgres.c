/*
 * What only PostgreSQL can do to us: servers that restart, refuse, hang or were never there.
 */
#include "store/store.h"

#include "support/postgres.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define NODE "0node001"
#define LONG_MS 60000
#define SHORT_MS 100

static char database[32];
static struct err err;

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        if ((call) != 0)                                                                           \
            fail_msg("%s: %s", #call, err.text);                                                   \
    } while (0)

static struct store *open_url(const char *url, int64_t timeout_ms)
{
    struct store *store;

    assert_ok(store_open(url, timeout_ms, &store, &err));
    return store;
}

/* `options` goes behind the URL: "&options=-cwork_mem%3D1MB" or "". */
static struct store *open_ready(const char *options, int64_t timeout_ms)
{
    char url[256];
    char full[512];
    struct store *store;
    unsigned applied;

    test_postgres_url(url, sizeof url, "postgres", database);
    snprintf(full, sizeof full, "%s%s", url, options);
    store = open_url(full, timeout_ms);
    assert_ok(store_connect(store, &err));
    assert_ok(store_migrate(store, &applied, &err));
    assert_ok(store_cursor_create(store, NODE, 0, &err));
    return store;
}

static int make(void **state)
{
    (void)state;
    memset(&err, 0, sizeof err);
    test_postgres_create(database, sizeof database);
    return 0;
}

static void assert_answer(const char *sql, const char *expected)
{
    char *value = test_postgres_ask(database, sql);

    assert_string_equal(value != NULL ? value : "(null)", expected);
    free(value);
}

static struct store_batch *batch_of(const struct store *store, uint64_t transactions,
                                    struct slice value)
{
    struct store_batch *batch = store_batch_open(store);
    struct txn_datapoint datapoint = {SLICE("key"), value};
    struct txn txn = {.count = 1, .datapoints = &datapoint};
    char id[TXN_ID_SIZE];

    for (uint64_t i = 0; i < transactions; i++) {
        txn_id_format(id, NODE, i);
        store_batch_add(batch, id, "CLUBS", &txn);
    }
    return batch;
}

static void connect_notices_that_the_server_restarted(void **state)
{
    struct store *store = open_ready("", LONG_MS);
    struct store_batch *batch = batch_of(store, 3, SLICE("v"));

    (void)state;
    assert_ok(store_write(store, batch, 0, 1, NODE, 0, 1, &err));
    test_postgres_stop();
    test_postgres_start();
    assert_ok(store_connect(store, &err));
    assert_ok(store_write(store, batch, 1, 2, NODE, 1, 2, &err));
    test_postgres_stop();
    assert_int_equal(store_write(store, batch, 2, 3, NODE, 2, 3, &err), ERR_UNAVAILABLE);
    assert_int_equal(store_connect(store, &err), ERR_UNAVAILABLE);
    assert_int_equal(store_write(store, batch, 2, 3, NODE, 2, 3, &err), ERR_UNAVAILABLE);
    test_postgres_start();
    assert_ok(store_connect(store, &err));
    assert_ok(store_write(store, batch, 2, 3, NODE, 2, 3, &err));
    assert_answer("SELECT count(*) FROM event", "3");
    store_batch_close(batch);
    store_close(store);
}

static void a_session_that_was_ended_is_opened_anew(void **state)
{
    struct store *store = open_ready("", LONG_MS);
    uint64_t position;

    (void)state;
    test_postgres_run(database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                                " WHERE application_name = 'labs-analytics'");
    assert_int_equal(store_cursor(store, NODE, &position, &err), ERR_UNAVAILABLE);
    assert_ok(store_connect(store, &err));
    assert_ok(store_cursor(store, NODE, &position, &err));
    store_close(store);
}

/* A socket that takes connections and never says a word. */
static int open_mute_server(char *folder, char *url, size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(folder, "/tmp/labs-mute-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(address.sun_path, sizeof address.sun_path, "%s/.s.PGSQL.5432", folder);
    assert_int_equal(bind(server, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server, 8), 0);
    snprintf(url, size, "postgres://user@/db?host=%s", folder);
    return server;
}

static void close_mute_server(int server, const char *folder)
{
    char path[64];

    close(server);
    snprintf(path, sizeof path, "%s/.s.PGSQL.5432", folder);
    unlink(path);
    rmdir(folder);
}

static void a_server_that_never_answers_runs_into_the_time_limit(void **state)
{
    char folder[32];
    char url[128];
    int server = open_mute_server(folder, url, sizeof url);
    struct store *store = open_url(url, SHORT_MS);

    (void)state;
    assert_int_equal(store_connect(store, &err), ERR_UNAVAILABLE);
    assert_string_equal(err.text, "connect: not done within the time limit of 100 ms");
    assert_int_equal(store_connect(store, &err), ERR_UNAVAILABLE);
    store_close(store);
    close_mute_server(server, folder);
}

/* The first is mute, the second works: connecting comes to it, and stays with it. */
static void a_host_that_never_answers_does_not_hide_the_next(void **state)
{
    char folder[32];
    char url[128];
    char both[256];
    int server = open_mute_server(folder, url, sizeof url);
    struct store *store;

    (void)state;
    snprintf(both, sizeof both, "postgres://postgres@/%s?host=%s,%s", database, folder,
             test_postgres_folder());
    store = open_url(both, 1000);
    assert_int_equal(store_connect(store, &err), ERR_UNAVAILABLE);
    assert_ok(store_connect(store, &err));
    test_postgres_run(database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                                " WHERE application_name = 'labs-analytics'");
    assert_int_equal(store_connect(store, &err), 0);
    store_close(store);
    close_mute_server(server, folder);
}

/* It answers, but as a standby does: the one before it may be there again. */
static void a_host_that_cannot_write_is_left_for_the_first(void **state)
{
    char folder[32];
    char url[128];
    char both[256];
    int server = open_mute_server(folder, url, sizeof url);
    struct store *store = open_ready("", LONG_MS);

    (void)state;
    store_close(store);
    snprintf(both, sizeof both,
             "postgres://postgres@/%s?host=%s,%s&options=-cdefault_transaction_read_only%%3Don",
             database, folder, test_postgres_folder());
    store = open_url(both, 1000);
    assert_int_equal(store_connect(store, &err), ERR_UNAVAILABLE);
    assert_ok(store_connect(store, &err));
    assert_int_equal(store_cursor_create(store, "1node001", 0, &err), ERR_UNAVAILABLE);
    assert_non_null(strstr(err.text, "read-only transaction"));
    assert_int_equal(store_connect(store, &err), ERR_UNAVAILABLE);
    assert_non_null(strstr(err.text, "time limit"));
    assert_ok(store_connect(store, &err));
    store_close(store);
    close_mute_server(server, folder);
}

static void *connect_in_vain(void *arg)
{
    struct err words = {0};

    if (store_connect(arg, &words) == ERR_UNAVAILABLE && strstr(words.text, "interrupted") != NULL)
        return arg;
    return NULL;
}

static void an_interruption_ends_connecting(void **state)
{
    char folder[32];
    char url[128];
    int server = open_mute_server(folder, url, sizeof url);
    struct store *store = open_url(url, LONG_MS);
    pthread_t thread;
    void *result;
    int connection;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, connect_in_vain, store), 0);
    connection = accept(server, NULL, NULL); /* now it waits for an answer */
    assert_true(connection >= 0);
    store_interrupt(store);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, store);
    close(connection);
    store_close(store);
    close_mute_server(server, folder);
}

static void a_server_that_hangs_while_rows_are_sent_runs_into_the_time_limit(void **state)
{
    static char value[TXN_MAX_VALUE];
    struct store *store = open_ready("", 500);
    struct store *other = open_ready("&application_name=other", LONG_MS);
    struct store_batch *batch;
    uint64_t position;
    char *backend = test_postgres_ask(database, "SELECT pid FROM pg_stat_activity"
                                                " WHERE application_name = 'labs-analytics'");

    (void)state;
    memset(value, 'v', sizeof value);
    batch =
        batch_of(store, 1000, (struct slice){value, sizeof value}); /* more than a socket holds */
    assert_int_equal(kill(atoi(backend), SIGSTOP), 0);
    assert_int_equal(store_write(store, batch, 0, 1000, NODE, 0, 1, &err), ERR_UNAVAILABLE);
    assert_string_equal(err.text, "not done within the time limit of 500 ms");
    assert_int_equal(kill(atoi(backend), SIGCONT), 0);
    assert_ok(store_connect(store, &err));
    assert_ok(store_write(other, batch, 0, 1, NODE, 0, 1, &err));
    assert_ok(store_cursor(store, NODE, &position, &err));
    assert_true(position == 1);
    assert_answer("SELECT count(*) FROM event", "1");
    free(backend);
    store_batch_close(batch);
    store_close(other);
    store_close(store);
}

static void who_may_end_no_backend_connects_all_the_same(void **state)
{
    char url[256];
    struct store *store = open_ready("", LONG_MS);
    struct store_batch *batch = batch_of(store, 1, SLICE("v"));

    (void)state;
    store_close(store);
    test_postgres_run(database, "CREATE ROLE modest LOGIN;"
                                "GRANT ALL ON ALL TABLES IN SCHEMA public TO modest;"
                                "REVOKE EXECUTE ON FUNCTION pg_terminate_backend FROM PUBLIC");
    store = open_url(test_postgres_url(url, sizeof url, "modest", database), 1000);
    assert_ok(store_connect(store, &err));
    test_postgres_run(database, "CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS"
                                " $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$;"
                                "CREATE TRIGGER hang BEFORE INSERT ON event FOR EACH ROW"
                                " EXECUTE FUNCTION hang()");
    assert_int_equal(store_write(store, batch, 0, 1, NODE, 0, 1, &err), ERR_UNAVAILABLE);
    assert_ok(store_connect(store, &err));
    test_postgres_run(database, "DROP TRIGGER hang ON event;"
                                "GRANT EXECUTE ON FUNCTION pg_terminate_backend TO PUBLIC");
    assert_ok(store_write(store, batch, 0, 1, NODE, 0, 1, &err));
    store_batch_close(batch);
    store_close(store);
}

/* More than two thousand pieces, which take more than four seconds if nothing ends it sooner. */
#define SPREAD_ROWS 4096

static struct store_batch *spread_batch(const struct store *store)
{
    static char value[TXN_MAX_VALUE];
    struct store_batch *batch;

    memset(value, 'v', sizeof value);
    batch = batch_of(store, SPREAD_ROWS, (struct slice){value, sizeof value});
    store_batch_spread(batch, INT64_C(3600) * 1000 * 1000);
    return batch;
}

struct spread {
    struct store *store;
    struct store_batch *batch;
    int code;
    struct err err;
};

static void *write_spread(void *arg)
{
    struct spread *spread = arg;

    spread->code =
        store_write(spread->store, spread->batch, 0, SPREAD_ROWS, NODE, 0, 1, &spread->err);
    return NULL;
}

/* Starts the write and returns once the server has taken rows and waits for more. */
static pthread_t begin_spread(struct spread *spread)
{
    const char *sql = "SELECT pid FROM pg_stat_activity JOIN pg_stat_progress_copy USING (pid)"
                      " WHERE application_name = 'labs-analytics' AND wait_event = 'ClientRead'"
                      " AND tuples_processed > 0";
    char *backend = NULL;
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, write_spread, spread), 0);
    for (int i = 0; backend == NULL && i < 1000; i++)
        backend = test_postgres_ask(database, sql);
    assert_non_null(backend);
    free(backend);
    return thread;
}

static void what_is_spread_is_stored_whole_and_within_the_time_limit(void **state)
{
    struct store *store = open_ready("", 4000);
    struct spread spread = {.store = store, .batch = spread_batch(store)};

    (void)state;
    write_spread(&spread);
    assert_string_equal(spread.err.text, "");
    assert_int_equal(spread.code, 0);
    assert_answer("SELECT count(*) FROM event", "4096");
    assert_answer("SELECT position FROM forward_cursor", "1");
    store_batch_close(spread.batch);
    store_close(store);
}

static void an_interruption_ends_what_is_spread(void **state)
{
    struct store *store = open_ready("", LONG_MS);
    struct spread spread = {.store = store, .batch = spread_batch(store)};
    pthread_t thread = begin_spread(&spread);

    (void)state;
    store_interrupt(store);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(spread.code, ERR_UNAVAILABLE);
    assert_string_equal(spread.err.text, "interrupted");
    assert_answer("SELECT count(*) FROM event", "0");
    store_batch_close(spread.batch);
    store_close(store);
}

static void a_server_that_goes_ends_what_is_spread(void **state)
{
    struct store *store = open_ready("", LONG_MS);
    struct spread spread = {.store = store, .batch = spread_batch(store)};
    pthread_t thread = begin_spread(&spread);

    (void)state;
    test_postgres_run(database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                                " WHERE application_name = 'labs-analytics'");
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(spread.code, ERR_UNAVAILABLE);
    assert_answer("SELECT count(*) FROM event", "0");
    assert_ok(store_connect(store, &err));
    assert_ok(store_write(store, spread.batch, 0, 0, NODE, 0, 1, &err));
    store_batch_close(spread.batch);
    store_close(store);
}

static void assert_cannot_connect(const char *url, const char *words)
{
    struct store *store = open_url(url, LONG_MS);

    assert_int_equal(store_connect(store, &err), ERR_UNAVAILABLE);
    if (strstr(err.text, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    assert_null(strchr(err.text, '\n'));
    assert_null(strstr(err.text, "sesame"));
    store_close(store);
}

static void who_may_not_in_or_has_nowhere_to_go_is_told_so(void **state)
{
    char url[256];
    struct store *store;

    (void)state;
    test_postgres_run(database, "CREATE ROLE locked LOGIN PASSWORD 'right'");
    snprintf(url, sizeof url, "postgres://locked:sesame@/%s?host=%s", database,
             test_postgres_folder());
    assert_cannot_connect(url, "password authentication failed");
    snprintf(url, sizeof url, "postgres://locked:right@/%s?host=%s", database,
             test_postgres_folder());
    store = open_url(url, LONG_MS);
    assert_ok(store_connect(store, &err));
    store_close(store);
    test_postgres_url(url, sizeof url, "postgres", "no_such_database");
    assert_cannot_connect(url, "database \"no_such_database\" does not exist");
    assert_cannot_connect("postgres://u:sesame@/db?host=/no/such/folder", "No such file");
    assert_cannot_connect("postgresql://u:sesame@127.0.0.1:1/db", "Connection refused");
}

static void no_part_of_a_badly_written_password_is_told(void **state)
{
    static const char *const urls[] = {
        "postgres://user:open@sesame@host/db", "postgres://user:open/sesame@host/db",
        "postgres://user:sesame@host:port/db", "postgres://user:sesame@[::1/db",
        "postgres://user:sesame%zz@host/db",   "postgres://user:sesame@host/db?no=such&option",
    };
    struct store *store = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        assert_int_equal(store_open(urls[i], LONG_MS, &store, &err), ERR_INVALID);
        assert_null(strstr(err.text, "sesame"));
        assert_null(strstr(err.text, "open"));
    }
    assert_null(store);
}

/* What the store's own session has, read by a trigger that runs in it. */
static char *setting_of(struct store *store, const char *name)
{
    char sql[512];
    struct store_batch *batch = batch_of(store, 1, SLICE("v"));

    snprintf(sql, sizeof sql,
             "CREATE OR REPLACE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS"
             " $$ BEGIN NEW.value := current_setting('%s'); RETURN NEW; END $$;"
             "CREATE OR REPLACE TRIGGER tell BEFORE INSERT ON event FOR EACH ROW"
             " EXECUTE FUNCTION tell(); DELETE FROM event; UPDATE forward_cursor SET position = 0",
             name);
    test_postgres_run(database, sql);
    assert_ok(store_write(store, batch, 0, 1, NODE, 0, 1, &err));
    store_batch_close(batch);
    return test_postgres_ask(database, "SELECT value FROM event");
}

static void assert_setting(const char *options, const char *name, const char *expected)
{
    struct store *store = open_ready(options, 1234);
    char *value = setting_of(store, name);

    assert_string_equal(value, expected);
    free(value);
    store_close(store);
}

static void the_session_is_durable_bounded_and_named(void **state)
{
    (void)state;
    assert_setting("", "synchronous_commit", "on");
    assert_setting("&options=-csynchronous_commit%3Doff", "synchronous_commit", "on");
    assert_setting("&options=-csynchronous_commit%3Dlocal", "synchronous_commit", "local");
    assert_setting("", "statement_timeout", "1234ms");
    assert_setting("", "lock_timeout", "1234ms");
    assert_setting("", "idle_in_transaction_session_timeout", "1234ms");
    assert_setting("&options=-ctimezone%3DAsia/Tokyo", "TimeZone", "UTC");
    assert_setting("", "client_encoding", "UTF8");
    assert_setting("", "application_name", "labs-analytics");
    assert_setting("&application_name=mine", "application_name", "mine");
}

/* As behind a pooler, where each transaction may meet another session: here the trigger makes one
 * of it for whoever comes next. */
static void each_write_is_durable_whatever_session_it_meets(void **state)
{
    struct store *store = open_ready("", LONG_MS);
    struct store_batch *batch = batch_of(store, 3, SLICE("v"));

    (void)state;
    test_postgres_run(database,
                      "CREATE FUNCTION swap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                      " NEW.value := current_setting('synchronous_commit');"
                      " PERFORM set_config('synchronous_commit', 'off', false);"
                      " PERFORM set_config('synchronous_commit', NEW.value, true);"
                      " RETURN NEW; END $$;"
                      "CREATE TRIGGER swap BEFORE INSERT ON event FOR EACH ROW"
                      " EXECUTE FUNCTION swap()");
    assert_ok(store_write(store, batch, 0, 1, NODE, 0, 1, &err));
    assert_ok(store_write(store, batch, 1, 2, NODE, 1, 3, &err));
    assert_ok(store_put(store, batch, 2, NODE, 2, &err));
    assert_answer("SELECT string_agg(value, ' ') FROM event", "on on on");
    store_batch_close(batch);
    store_close(store);
}

static void each_change_is_durable_whatever_session_it_meets(void **state)
{
    struct store *store = open_ready("", LONG_MS);
    struct store_batch *batch = batch_of(store, 3, SLICE("v"));
    struct store_walk walk = {0};
    uint64_t rows;

    (void)state;
    assert_ok(store_write(store, batch, 0, 3, NODE, 0, 3, &err));
    test_postgres_run(database,
                      "CREATE FUNCTION swap() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE"
                      " found text := current_setting('synchronous_commit'); BEGIN"
                      " IF found = 'off' THEN RAISE EXCEPTION 'not durable'; END IF;"
                      " PERFORM set_config('synchronous_commit', 'off', false);"
                      " PERFORM set_config('synchronous_commit', found, true);"
                      " RETURN NULL; END $$;"
                      "CREATE TRIGGER swap AFTER UPDATE OR DELETE ON event FOR EACH ROW"
                      " EXECUTE FUNCTION swap()");
    for (unsigned i = 0; i < 2; i++)
        assert_ok(store_expire(store, 1, 1, &walk, &rows, &err));
    assert_answer("SELECT count(*) FROM event", "1");
    store_batch_close(batch);
    store_close(store);
}

static void text_that_the_server_cannot_hold_is_refused(void **state)
{
    struct store *store = open_ready("", LONG_MS);
    struct store_batch *nul = batch_of(store, 1, SLICE("a\0b"));
    struct store_batch *latin = batch_of(store, 1, SLICE("caf\xe9"));

    (void)state;
    assert_int_equal(store_write(store, nul, 0, 1, NODE, 0, 1, &err), ERR_REFUSED);
    assert_non_null(strstr(err.text, "22021"));
    assert_ok(store_write(store, latin, 0, 0, NODE, 0, 1, &err));
    assert_int_equal(store_put(store, latin, 0, NODE, 0, &err), ERR_REFUSED);
    assert_answer("SELECT count(*) FROM event", "0");
    store_batch_close(nul);
    store_batch_close(latin);
    store_close(store);
}

/* Noise, which does not compress. */
static void fill(char *out, size_t size)
{
    uint32_t random = 1;

    for (size_t i = 0; i < size; i++) {
        random = random * 1664525 + 1013904223;
        out[i] = (char)('a' + (random >> 24) % 26);
    }
}

static void a_value_that_no_index_holds_is_refused(void **state)
{
    static char value[TXN_MAX_VALUE];
    struct store *store = open_ready("", LONG_MS);
    struct store_batch *batch;

    (void)state;
    fill(value, sizeof value);
    batch = batch_of(store, 1, (struct slice){value, sizeof value});
    test_postgres_run(database, "CREATE INDEX ON event (value)");
    assert_int_equal(store_write(store, batch, 0, 1, NODE, 0, 1, &err), ERR_REFUSED);
    assert_non_null(strstr(err.text, "54000"));
    assert_ok(store_write(store, batch, 0, 0, NODE, 0, 1, &err));
    store_batch_close(batch);
    store_close(store);
}

static void what_a_trigger_says_no_to_is_refused(void **state)
{
    struct store *store = open_ready("", LONG_MS);
    struct store_batch *batch = batch_of(store, 1, SLICE("v"));

    (void)state;
    test_postgres_run(database, "CREATE FUNCTION say_no() RETURNS trigger LANGUAGE plpgsql AS"
                                " $$ BEGIN RAISE EXCEPTION 'not this one'; END $$;"
                                "CREATE TRIGGER say_no BEFORE INSERT ON event FOR EACH ROW"
                                " EXECUTE FUNCTION say_no()");
    assert_int_equal(store_write(store, batch, 0, 1, NODE, 0, 1, &err), ERR_REFUSED);
    assert_string_equal(err.text, "not this one (SQLSTATE P0001)");
    store_batch_close(batch);
    store_close(store);
}

static void columns_of_another_type_are_read_all_the_same(void **state)
{
    struct store *store = open_ready("", LONG_MS);
    struct store_batch *batch = batch_of(store, 3, SLICE("v"));
    struct store_walk walk = {0};
    struct store_migration migration;
    struct store_found found;
    uint64_t position, rows;
    size_t count;

    (void)state;
    test_postgres_run(database, "ALTER TABLE forward_cursor ALTER position TYPE integer;"
                                "ALTER TABLE event ALTER id TYPE integer;"
                                "ALTER TABLE event ALTER timestamp TYPE timestamp;"
                                "ALTER TABLE schema_migration ALTER version TYPE integer,"
                                " ALTER applied_at TYPE date");
    assert_ok(store_write(store, batch, 0, 3, NODE, 0, 3, &err));
    assert_ok(store_cursor(store, NODE, &position, &err));
    assert_int_equal(position, 3);
    assert_ok(store_find(store, NODE "000000000001", &found, &err));
    assert_string_equal(found.product, "CLUBS");
    assert_int_equal(found.timestamp_us, 0);
    assert_ok(store_expire(store, -1, 2, &walk, &rows, &err));
    assert_int_equal(walk.after, 2);
    assert_ok(store_migrations(store, &migration, 1, &count, &err));
    assert_int_equal(migration.applied_us % (INT64_C(86400) * 1000000), 0);
    assert_true(migration.applied_us > 0);
    store_batch_close(batch);
    store_close(store);
}

static void what_is_met_before_the_rows_is_no_fault_of_theirs(void **state)
{
    struct store *store = open_ready("", LONG_MS);
    struct store_batch *batch = batch_of(store, 1, SLICE("v"));

    (void)state;
    test_postgres_run(database, "ALTER TABLE forward_cursor RENAME TO cursors;"
                                "CREATE VIEW forward_cursor AS"
                                " SELECT node, position / 0 AS position, updated_at FROM cursors");
    assert_int_equal(store_put(store, batch, 0, NODE, 0, &err), ERR_UNAVAILABLE);
    assert_non_null(strstr(err.text, "22012"));
    assert_int_equal(store_write(store, batch, 0, 1, NODE, 0, 1, &err), ERR_UNAVAILABLE);
    store_batch_close(batch);
    store_close(store);
}

static void an_id_that_is_taken_is_no_fault_of_the_rows(void **state)
{
    struct store *store = open_ready("", LONG_MS);
    struct store_batch *batch = batch_of(store, 2, SLICE("v"));

    (void)state;
    assert_ok(store_write(store, batch, 0, 1, NODE, 0, 1, &err));
    test_postgres_run(database, "ALTER TABLE event ALTER id RESTART");
    assert_int_equal(store_write(store, batch, 1, 2, NODE, 1, 2, &err), ERR_UNAVAILABLE);
    assert_non_null(strstr(err.text, "event_pkey"));
    test_postgres_run(database, "ALTER TABLE event ALTER id SET MAXVALUE 2 RESTART 2;"
                                "SELECT nextval('event_id_seq')");
    assert_int_equal(store_write(store, batch, 1, 2, NODE, 1, 2, &err), ERR_UNAVAILABLE);
    assert_non_null(strstr(err.text, "2200H"));
    test_postgres_run(database, "ALTER TABLE event ALTER id SET NO MAXVALUE");
    assert_ok(store_write(store, batch, 1, 2, NODE, 1, 2, &err));
    store_batch_close(batch);
    store_close(store);
}

static void a_refusal_at_commit_is_a_refusal(void **state)
{
    struct store *store = open_ready("", LONG_MS);
    struct store_batch *batch = batch_of(store, 2, SLICE("same"));
    uint64_t position = 7;

    (void)state;
    test_postgres_run(database, "ALTER TABLE event ADD UNIQUE (value) DEFERRABLE"
                                " INITIALLY DEFERRED");
    assert_int_equal(store_write(store, batch, 0, 2, NODE, 0, 2, &err), ERR_REFUSED);
    assert_answer("SELECT count(*) FROM event", "0");
    assert_ok(store_cursor(store, NODE, &position, &err));
    assert_true(position == 0);
    assert_ok(store_write(store, batch, 0, 1, NODE, 0, 1, &err));
    store_batch_close(batch);
    store_close(store);
}

static void a_refusal_quotes_little_of_the_row(void **state)
{
    static char value[TXN_MAX_VALUE];
    struct store *store = open_ready("", LONG_MS);
    struct store_batch *batch;

    (void)state;
    for (size_t i = 0; i + 2 <= sizeof value; i += 2)
        memcpy(value + i, "\xc3\xa9", 2);
    memcpy(value, "\n\r", 2);
    batch = batch_of(store, 1, (struct slice){value, sizeof value});
    test_postgres_run(database, "ALTER TABLE event ADD CHECK (length(value) < 10)");
    assert_int_equal(store_write(store, batch, 0, 1, NODE, 0, 1, &err), ERR_REFUSED);
    assert_null(strchr(err.text, '\n'));
    assert_null(strchr(err.text, '\r'));
    assert_true(strlen(err.text) < 450);
    assert_non_null(strstr(err.text, "violates check constraint"));
    assert_non_null(strstr(err.text, "Failing row contains"));
    store_batch_close(batch);
    store_close(store);
}

static void a_role_without_rights_on_the_schema_runs_on_a_finished_one(void **state)
{
    struct store *store = open_ready("", LONG_MS);
    struct store_batch *batch = batch_of(store, 1, SLICE("v"));
    char url[256];
    unsigned applied = 99;

    (void)state;
    store_close(store);
    test_postgres_run(database, "CREATE ROLE writer LOGIN;"
                                "REVOKE CREATE ON SCHEMA public FROM PUBLIC;"
                                "GRANT SELECT ON schema_migration TO writer;"
                                "GRANT SELECT, INSERT ON event TO writer;"
                                "GRANT SELECT, UPDATE ON forward_cursor TO writer");
    store = open_url(test_postgres_url(url, sizeof url, "writer", database), LONG_MS);
    assert_ok(store_connect(store, &err));
    assert_ok(store_migrate(store, &applied, &err));
    assert_int_equal(applied, 0);
    assert_ok(store_write(store, batch, 0, 1, NODE, 0, 1, &err));
    assert_ok(store_put(store, batch, 0, NODE, 0, &err));
    test_postgres_run(database, "REVOKE INSERT ON event FROM writer");
    assert_int_equal(store_write(store, batch, 0, 1, NODE, 1, 2, &err), ERR_UNAVAILABLE);
    assert_answer("SELECT count(*) FROM event", "1");
    store_batch_close(batch);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(connect_notices_that_the_server_restarted, make),
        cmocka_unit_test_setup(a_session_that_was_ended_is_opened_anew, make),
        cmocka_unit_test_setup(a_server_that_never_answers_runs_into_the_time_limit, make),
        cmocka_unit_test_setup(a_host_that_never_answers_does_not_hide_the_next, make),
        cmocka_unit_test_setup(a_host_that_cannot_write_is_left_for_the_first, make),
        cmocka_unit_test_setup(an_interruption_ends_connecting, make),
        cmocka_unit_test_setup(a_server_that_hangs_while_rows_are_sent_runs_into_the_time_limit,
                               make),
        cmocka_unit_test_setup(who_may_end_no_backend_connects_all_the_same, make),
        cmocka_unit_test_setup(what_is_spread_is_stored_whole_and_within_the_time_limit, make),
        cmocka_unit_test_setup(an_interruption_ends_what_is_spread, make),
        cmocka_unit_test_setup(a_server_that_goes_ends_what_is_spread, make),
        cmocka_unit_test_setup(who_may_not_in_or_has_nowhere_to_go_is_told_so, make),
        cmocka_unit_test_setup(no_part_of_a_badly_written_password_is_told, make),
        cmocka_unit_test_setup(the_session_is_durable_bounded_and_named, make),
        cmocka_unit_test_setup(each_write_is_durable_whatever_session_it_meets, make),
        cmocka_unit_test_setup(each_change_is_durable_whatever_session_it_meets, make),
        cmocka_unit_test_setup(text_that_the_server_cannot_hold_is_refused, make),
        cmocka_unit_test_setup(a_value_that_no_index_holds_is_refused, make),
        cmocka_unit_test_setup(what_a_trigger_says_no_to_is_refused, make),
        cmocka_unit_test_setup(columns_of_another_type_are_read_all_the_same, make),
        cmocka_unit_test_setup(what_is_met_before_the_rows_is_no_fault_of_theirs, make),
        cmocka_unit_test_setup(an_id_that_is_taken_is_no_fault_of_the_rows, make),
        cmocka_unit_test_setup(a_refusal_at_commit_is_a_refusal, make),
        cmocka_unit_test_setup(a_refusal_quotes_little_of_the_row, make),
        cmocka_unit_test_setup(a_role_without_rights_on_the_schema_runs_on_a_finished_one, make),
    };

    return cmocka_run_group_tests_name("postgres", tests, NULL, NULL);
}
