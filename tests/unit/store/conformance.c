/*
 * What every kind of store does: each test runs on PostgreSQL and on SQLite, against an empty
 * database of its own.
 */
#include "store/store.h"

#include "base/clock.h"
#include "base/mem.h"
#include "support/postgres.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NODE "0node001"
#define LONG_MS 60000 /* longer than any test may take */

static const int64_t NOON = INT64_C(1790000000250000);

/* A database, and a second way into it. */
struct place {
    const struct kind *kind;
    char url[256];
    char name[64]; /* PostgreSQL: the database; SQLite: the file */
    char folder[64];
    struct store *store; /* connected and migrated */
    struct err err;
};

struct kind {
    const char *name;
    void (*make)(struct place *place);
    void (*drop)(struct place *place);
    char *(*ask)(struct place *place, const char *sql);
    /* Takes a lock that keeps writers out, and gives it back. */
    void *(*lock)(struct place *place);
    void *(*lock_events)(struct place *place); /* the same for whoever changes events */
    void (*unlock)(void *lock);
    const char *refuse_sql;     /* makes the table refuse the value 'refuse me' */
    const char *index_sql;      /* an index on an expression that takes only JSON */
    const char *timestamp_sql;  /* the column as clock_format() has it */
    const char *migrations_sql; /* makes a schema_migration */
};

/* PostgreSQL */

static void postgres_make(struct place *place)
{
    test_postgres_create(place->name, sizeof place->name);
    test_postgres_url(place->url, sizeof place->url, "postgres", place->name);
}

static void postgres_drop(struct place *place)
{
    (void)place;
}

static char *postgres_ask(struct place *place, const char *sql)
{
    return test_postgres_ask(place->name, sql);
}

static void *postgres_lock_by(struct place *place, const char *sql)
{
    PGconn *connection = PQconnectdb(place->url);
    PGresult *result = PQexec(connection, sql);

    assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
    PQclear(result);
    return connection;
}

static void *postgres_lock(struct place *place)
{
    return postgres_lock_by(place, "BEGIN; LOCK TABLE forward_cursor");
}

static void *postgres_lock_events(struct place *place)
{
    return postgres_lock_by(place, "BEGIN; LOCK TABLE event");
}

static void postgres_unlock(void *lock)
{
    PQclear(PQexec(lock, "COMMIT"));
    PQfinish(lock);
}

/* SQLite */

static void sqlite_make(struct place *place)
{
    strcpy(place->folder, "/tmp/labs-sqlite-XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    snprintf(place->name, sizeof place->name, "%.40s/e.db", place->folder);
    snprintf(place->url, sizeof place->url, "sqlite:%s", place->name);
}

static void sqlite_drop(struct place *place)
{
    static const char *const endings[] = {"", "-wal", "-shm"};
    char path[80];

    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", place->name, endings[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(place->folder), 0);
}

static sqlite3 *sqlite_side(struct place *place)
{
    sqlite3 *database;

    assert_int_equal(sqlite3_open(place->name, &database), SQLITE_OK);
    sqlite3_busy_timeout(database, LONG_MS);
    return database;
}

static char *sqlite_ask(struct place *place, const char *sql)
{
    sqlite3 *database = sqlite_side(place);
    char *value = NULL;

    while (*sql != '\0') {
        sqlite3_stmt *statement;

        if (sqlite3_prepare_v2(database, sql, -1, &statement, &sql) != SQLITE_OK)
            fail_msg("%s", sqlite3_errmsg(database));
        while (sqlite3_step(statement) == SQLITE_ROW) {
            if (value == NULL && sqlite3_column_text(statement, 0) != NULL)
                value = mem_strdup((const char *)sqlite3_column_text(statement, 0));
        }
        assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
    }
    assert_int_equal(sqlite3_close(database), SQLITE_OK);
    return value;
}

static void *sqlite_lock(struct place *place)
{
    sqlite3 *database = sqlite_side(place);

    assert_int_equal(sqlite3_exec(database, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    return database;
}

static void sqlite_unlock(void *lock)
{
    assert_int_equal(sqlite3_exec(lock, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(lock);
}

static const struct kind kinds[] = {
    {
        .name = "postgres",
        .make = postgres_make,
        .drop = postgres_drop,
        .ask = postgres_ask,
        .lock = postgres_lock,
        .lock_events = postgres_lock_events,
        .unlock = postgres_unlock,
        .refuse_sql = "ALTER TABLE event ADD CHECK (value <> 'refuse me')",
        .index_sql = "CREATE INDEX clicks ON event (jsonb_typeof(value::jsonb))",
        .timestamp_sql =
            "to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
        .migrations_sql = "CREATE TABLE schema_migration (version bigint, name text,"
                          " applied_at timestamptz)",
    },
    {
        .name = "sqlite",
        .make = sqlite_make,
        .drop = sqlite_drop,
        .ask = sqlite_ask,
        .lock = sqlite_lock,
        .lock_events = sqlite_lock,
        .unlock = sqlite_unlock,
        .refuse_sql = "CREATE TRIGGER refuse BEFORE INSERT ON event WHEN NEW.value = 'refuse me'"
                      " BEGIN SELECT RAISE(ABORT, 'value is refused'); END",
        .index_sql = "CREATE INDEX clicks ON event (json_type(value))",
        .timestamp_sql = "timestamp",
        .migrations_sql = "CREATE TABLE schema_migration (version integer, name text,"
                          " applied_at text)",
    },
};

/* Set-up and words */

#define assert_ok(place, call)                                                                     \
    do {                                                                                           \
        if ((call) != 0)                                                                           \
            fail_msg("%s: %s", #call, (place)->err.text);                                          \
    } while (0)

static struct store *open_store(struct place *place, int64_t timeout_ms)
{
    struct store *store;

    assert_ok(place, store_open(place->url, timeout_ms, &store, &place->err));
    assert_ok(place, store_connect(store, &place->err));
    return store;
}

static int make_empty(void **state)
{
    struct place *place = mem_zalloc(sizeof *place);

    place->kind = *state;
    place->kind->make(place);
    *state = place;
    return 0;
}

static int make_ready(void **state)
{
    struct place *place;
    unsigned applied;

    make_empty(state);
    place = *state;
    place->store = open_store(place, LONG_MS);
    assert_ok(place, store_migrate(place->store, &applied, &place->err));
    assert_ok(place, store_cursor_create(place->store, NODE, 100, &place->err));
    return 0;
}

static int drop(void **state)
{
    struct place *place = *state;

    store_close(place->store);
    place->kind->drop(place);
    free(place);
    return 0;
}

static void assert_answer(struct place *place, const char *sql, const char *expected)
{
    char *value = place->kind->ask(place, sql);

    assert_string_equal(value != NULL ? value : "(null)", expected);
    free(value);
}

static void run(struct place *place, const char *sql)
{
    free(place->kind->ask(place, sql));
}

static void assert_rows(struct place *place, const char *expected)
{
    assert_answer(place, "SELECT count(*) FROM event", expected);
}

static void assert_cursor(struct place *place, uint64_t expected)
{
    uint64_t position = 0;

    assert_ok(place, store_cursor(place->store, NODE, &position, &place->err));
    assert_true(position == expected);
}

/* Adds a transaction of datapoints with these values ("k0", "k1"...). */
static void add(struct store_batch *batch, uint64_t position, const char *const *values,
                uint32_t count)
{
    static struct txn_datapoint datapoints[TXN_MAX_DATAPOINTS];
    char keys[8][4];
    char id[TXN_ID_SIZE];
    struct txn txn = {.pennkey = SLICE("jdoe"),
                      .timestamp_us = NOON,
                      .received_us = NOON + 1,
                      .count = count,
                      .datapoints = datapoints};

    for (uint32_t i = 0; i < count; i++) {
        snprintf(keys[i], sizeof keys[i], "k%u", i & 7);
        datapoints[i] = (struct txn_datapoint){slice_of(keys[i]), slice_of(values[i])};
    }
    txn_id_format(id, NODE, position);
    store_batch_add(batch, id, "CLUBS", &txn);
}

/* Adds a transaction of one datapoint. */
static void add_one(struct store_batch *batch, uint64_t position, const char *value)
{
    add(batch, position, &value, 1);
}

/* Tests */

static void a_write_stores_the_rows_and_moves_the_cursor(void **state)
{
    struct place *place = *state;
    struct store_batch *batch = store_batch_open(place->store);

    add(batch, 100, (const char *[]){"one", "two"}, 2);
    add_one(batch, 101, "three");
    assert_int_equal(store_batch_count(batch), 2);
    assert_int_equal(store_batch_rows(batch, 0, 2), 3);
    assert_ok(place, store_write(place->store, batch, 0, 2, NODE, 100, 102, &place->err));
    assert_rows(place, "3");
    assert_cursor(place, 102);
    assert_answer(place,
                  "SELECT transaction_id || ' ' || product || ' ' || pennkey || ' ' || datapoint"
                  " || ' ' || value FROM event ORDER BY id LIMIT 1 OFFSET 1",
                  NODE "000000000034 CLUBS jdoe k1 two");
    assert_answer(place, "SELECT transaction_id || value FROM event ORDER BY id DESC LIMIT 1",
                  NODE "000000000035three");
    store_batch_close(batch);
}

static void a_conflict_leaves_nothing(void **state)
{
    struct place *place = *state;
    struct store_batch *batch = store_batch_open(place->store);

    add_one(batch, 100, "x");
    assert_int_equal(store_write(place->store, batch, 0, 1, NODE, 99, 101, &place->err),
                     ERR_CONFLICT);
    assert_non_null(strstr(place->err.text, NODE));
    assert_int_equal(store_write(place->store, batch, 0, 1, "0node002", 100, 101, &place->err),
                     ERR_CONFLICT);
    assert_int_equal(store_write(place->store, batch, 0, 0, NODE, 99, 101, &place->err),
                     ERR_CONFLICT);
    assert_rows(place, "0");
    assert_cursor(place, 100);
    assert_ok(place, store_write(place->store, batch, 0, 1, NODE, 100, 101, &place->err));
    assert_int_equal(store_write(place->store, batch, 0, 1, NODE, 100, 101, &place->err),
                     ERR_CONFLICT);
    assert_rows(place, "1");
    store_batch_close(batch);
}

static void a_refused_row_leaves_nothing_and_a_good_connection(void **state)
{
    struct place *place = *state;
    struct store_batch *batch = store_batch_open(place->store);

    run(place, place->kind->refuse_sql);
    for (uint64_t i = 0; i < 50; i++)
        add_one(batch, i, "fine");
    add_one(batch, 50, "refuse me");
    add_one(batch, 51, "fine");
    assert_int_equal(store_write(place->store, batch, 0, 52, NODE, 100, 101, &place->err),
                     ERR_REFUSED);
    assert_null(strchr(place->err.text, '\n'));
    assert_rows(place, "0");
    assert_cursor(place, 100);
    assert_int_equal(store_put(place->store, batch, 50, NODE, 50, &place->err), ERR_REFUSED);
    assert_rows(place, "0");
    assert_ok(place, store_write(place->store, batch, 0, 50, NODE, 100, 150, &place->err));
    assert_ok(place, store_write(place->store, batch, 51, 52, NODE, 150, 152, &place->err));
    assert_rows(place, "51");
    store_batch_close(batch);
}

static void a_row_that_an_index_cannot_take_is_refused(void **state)
{
    struct place *place = *state;
    struct store_batch *batch = store_batch_open(place->store);

    run(place, place->kind->index_sql);
    add_one(batch, 1, "{}");
    add_one(batch, 2, "no JSON");
    assert_int_equal(store_write(place->store, batch, 0, 2, NODE, 100, 101, &place->err),
                     ERR_REFUSED);
    assert_int_equal(place->err.code, ERR_REFUSED);
    assert_rows(place, "0");
    assert_ok(place, store_write(place->store, batch, 0, 1, NODE, 100, 101, &place->err));
    assert_int_equal(store_put(place->store, batch, 1, NODE, 2, &place->err), ERR_REFUSED);
    assert_rows(place, "1");
    store_batch_close(batch);
}

static void a_cursor_that_is_refused_is_no_fault_of_the_rows(void **state)
{
    struct place *place = *state;
    struct store_batch *batch = store_batch_open(place->store);

    run(place, "CREATE UNIQUE INDEX no_two_alike ON forward_cursor (position)");
    assert_ok(place, store_cursor_create(place->store, "1node001", 101, &place->err));
    add_one(batch, 1, "fine");
    assert_int_equal(store_write(place->store, batch, 0, 1, NODE, 100, 101, &place->err),
                     ERR_UNAVAILABLE);
    assert_int_equal(place->err.code, ERR_UNAVAILABLE);
    assert_int_equal(store_write(place->store, batch, 0, 0, NODE, 100, 101, &place->err),
                     ERR_UNAVAILABLE);
    assert_rows(place, "0");
    assert_cursor(place, 100);
    assert_ok(place, store_write(place->store, batch, 0, 1, NODE, 100, 102, &place->err));
    store_batch_close(batch);
}

static void a_slice_is_stored_without_its_neighbours(void **state)
{
    struct place *place = *state;
    struct store_batch *batch = store_batch_open(place->store);
    char value[16];

    for (uint64_t i = 0; i < 200; i++) {
        snprintf(value, sizeof value, "v%03u", (unsigned)i);
        add(batch, i, (const char *[]){value, NULL}, 2);
    }
    assert_int_equal(store_batch_rows(batch, 37, 139), 204);
    assert_ok(place, store_write(place->store, batch, 37, 139, NODE, 100, 200, &place->err));
    assert_rows(place, "204");
    assert_answer(place, "SELECT min(value) || ' ' || max(value) FROM event", "v037 v138");
    assert_ok(place, store_write(place->store, batch, 139, 200, NODE, 200, 300, &place->err));
    assert_ok(place, store_write(place->store, batch, 0, 37, NODE, 300, 400, &place->err));
    assert_answer(place, "SELECT count(DISTINCT transaction_id) FROM event", "200");
    store_batch_close(batch);
}

static void an_empty_slice_moves_the_cursor(void **state)
{
    struct place *place = *state;
    struct store_batch *batch = store_batch_open(place->store);

    assert_ok(place, store_write(place->store, batch, 0, 0, NODE, 100, 120, &place->err));
    add_one(batch, 1, "x");
    assert_ok(place, store_write(place->store, batch, 1, 1, NODE, 120, 130, &place->err));
    assert_rows(place, "0");
    assert_cursor(place, 130);
    store_batch_close(batch);
}

static void a_batch_can_be_used_again(void **state)
{
    struct place *place = *state;
    struct store_batch *batch = store_batch_open(place->store);

    for (uint64_t i = 0; i < 100; i++)
        add_one(batch, i, "old");
    store_batch_reset(batch);
    assert_int_equal(store_batch_count(batch), 0);
    assert_int_equal(store_batch_bytes(batch), 0);
    add_one(batch, 7, "new");
    assert_true(store_batch_bytes(batch) > 0);
    assert_ok(place, store_write(place->store, batch, 0, 1, NODE, 100, 101, &place->err));
    assert_answer(place, "SELECT min(value) || count(*) FROM event", "new1");
    store_batch_close(batch);
}

static void put_stores_a_transaction_once_and_leaves_the_cursor(void **state)
{
    struct place *place = *state;
    struct store_batch *batch = store_batch_open(place->store);

    add_one(batch, 1, "first");
    add(batch, 2, (const char *[]){"a", "b", "c"}, 3);
    assert_ok(place, store_write(place->store, batch, 0, 1, NODE, 100, 101, &place->err));
    for (int i = 0; i < 3; i++) {
        assert_ok(place, store_put(place->store, batch, 1, NODE, 2, &place->err));
        assert_ok(place, store_put(place->store, batch, 0, NODE, 1, &place->err));
    }
    assert_rows(place, "4");
    assert_cursor(place, 101);
    store_batch_close(batch);
}

static void put_needs_a_cursor_to_lock(void **state)
{
    struct place *place = *state;
    struct store_batch *batch = store_batch_open(place->store);

    add_one(batch, 1, "x");
    assert_int_equal(store_put(place->store, batch, 0, "0node002", 1, &place->err), ERR_CONFLICT);
    assert_rows(place, "0");
    assert_ok(place, store_put(place->store, batch, 0, NODE, 1, &place->err));
    assert_rows(place, "1");
    store_batch_close(batch);
}

/* Else it would be stored a second time in its turn. */
static void put_leaves_alone_what_the_cursor_has_not_passed(void **state)
{
    struct place *place = *state;
    struct store_batch *batch = store_batch_open(place->store);

    add_one(batch, 100, "at the cursor");
    add_one(batch, 120, "behind it");
    assert_int_equal(store_put(place->store, batch, 0, NODE, 100, &place->err), ERR_CONFLICT);
    assert_int_equal(store_put(place->store, batch, 1, NODE, 120, &place->err), ERR_CONFLICT);
    assert_rows(place, "0");
    assert_ok(place, store_write(place->store, batch, 0, 2, NODE, 100, 140, &place->err));
    assert_ok(place, store_put(place->store, batch, 0, NODE, 100, &place->err));
    assert_ok(place, store_put(place->store, batch, 1, NODE, 120, &place->err));
    assert_rows(place, "2");
    assert_cursor(place, 140);
    store_batch_close(batch);
}

static void find_tells_what_was_stored(void **state)
{
    struct place *place = *state;
    struct store_batch *batch = store_batch_open(place->store);
    struct store_found found = {.datapoints = 99};
    struct txn_datapoint datapoint = {SLICE("key"), {NULL, 0}};
    struct txn nobody = {.timestamp_us = 1, .count = 1, .datapoints = &datapoint};

    add(batch, 5, (const char *[]){"a", NULL, "c"}, 3);
    store_batch_add(batch, NODE "000000000006", "PCR", &nobody);
    assert_ok(place, store_write(place->store, batch, 0, 2, NODE, 100, 101, &place->err));
    assert_int_equal(store_find(place->store, NODE "000000000004", &found, &place->err),
                     ERR_NOT_FOUND);
    assert_int_equal(found.datapoints, 99);
    assert_ok(place, store_find(place->store, NODE "000000000005", &found, &place->err));
    assert_string_equal(found.product, "CLUBS");
    assert_true(found.has_pennkey);
    assert_string_equal(found.pennkey, "jdoe");
    assert_true(found.timestamp_us == NOON);
    assert_true(found.received_us == NOON + 1);
    assert_int_equal(found.datapoints, 3);
    assert_ok(place, store_find(place->store, NODE "000000000006", &found, &place->err));
    assert_string_equal(found.product, "PCR");
    assert_false(found.has_pennkey);
    assert_string_equal(found.pennkey, "");
    assert_int_equal(found.datapoints, 1);
    store_batch_close(batch);
}

static void text_comes_back_as_it_was(void **state)
{
    static const char *const texts[] = {
        "",
        "it's \"quoted\"; DROP TABLE event; --",
        "back\\slash \\N \\. \\x41 %s $1 ?1",
        "tab\there\nnew line\r\nand\vmore\x01\x7f",
        "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\xa7 \xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d \xef\xbb\xbf",
        "  blanks  ",
        "10",
        "null",
    };
    enum { COUNT = sizeof texts / sizeof *texts };
    struct place *place = *state;
    struct store_batch *batch = store_batch_open(place->store);
    struct txn_datapoint datapoints[COUNT];
    struct txn txn = {.count = COUNT, .datapoints = datapoints};

    for (int i = 0; i < COUNT; i++)
        datapoints[i] = (struct txn_datapoint){slice_of(texts[i]), slice_of(texts[i])};
    txn.pennkey = slice_of(texts[4]);
    store_batch_add(batch, NODE "000000000001", "CLUBS", &txn);
    assert_ok(place, store_write(place->store, batch, 0, 1, NODE, 100, 101, &place->err));
    for (int i = 0; i < COUNT; i++) {
        char sql[128];

        snprintf(sql, sizeof sql, "SELECT value FROM event ORDER BY id LIMIT 1 OFFSET %d", i);
        assert_answer(place, sql, texts[i]);
        snprintf(sql, sizeof sql, "SELECT datapoint FROM event ORDER BY id LIMIT 1 OFFSET %d", i);
        assert_answer(place, sql, texts[i]);
    }
    assert_answer(place, "SELECT min(pennkey) FROM event", texts[4]);
    store_batch_close(batch);
}

static void nothing_and_empty_are_different(void **state)
{
    struct place *place = *state;
    struct store_batch *batch = store_batch_open(place->store);
    struct txn_datapoint datapoints[] = {{SLICE("k"), {NULL, 0}}, {SLICE("k"), SLICE("")}};
    struct txn txn = {.count = 2, .datapoints = datapoints};

    store_batch_add(batch, NODE "000000000001", "CLUBS", &txn);
    txn.pennkey = SLICE("");
    store_batch_add(batch, NODE "000000000002", "CLUBS", &txn);
    assert_ok(place, store_write(place->store, batch, 0, 2, NODE, 100, 101, &place->err));
    assert_answer(place, "SELECT count(*) FROM event WHERE value IS NULL", "2");
    assert_answer(place, "SELECT count(*) FROM event WHERE value = ''", "2");
    assert_answer(place, "SELECT count(*) FROM event WHERE pennkey IS NULL", "2");
    assert_answer(place, "SELECT count(*) FROM event WHERE pennkey = ''", "2");
    store_batch_close(batch);
}

static void the_largest_transaction_is_stored_whole(void **state)
{
    static struct txn_datapoint datapoints[TXN_MAX_DATAPOINTS];
    static char keys[TXN_MAX_DATAPOINTS][TXN_MAX_KEY];
    static char value[TXN_MAX_VALUE];
    struct place *place = *state;
    struct store_batch *batch = store_batch_open(place->store);
    struct txn txn = {.count = TXN_MAX_DATAPOINTS, .datapoints = datapoints};
    struct store_found found;
    char product[TXN_MAX_PRODUCT_NAME + 1];
    char pennkey[TXN_MAX_PENNKEY];

    memset(value, 'v', sizeof value);
    memset(product, 'P', sizeof product - 1);
    product[sizeof product - 1] = '\0';
    memset(pennkey, 'p', sizeof pennkey);
    txn.pennkey = (struct slice){pennkey, sizeof pennkey};
    for (int i = 0; i < TXN_MAX_DATAPOINTS; i++) {
        memset(keys[i], 'k', TXN_MAX_KEY);
        keys[i][0] = (char)('a' + i % 26);
        datapoints[i] = (struct txn_datapoint){{keys[i], TXN_MAX_KEY}, {value, sizeof value}};
    }
    store_batch_add(batch, NODE "000000000001", product, &txn);
    add_one(batch, 2, "small");
    assert_ok(place, store_write(place->store, batch, 0, 2, NODE, 100, 101, &place->err));
    assert_rows(place, "1001");
    assert_answer(place, "SELECT count(*) FROM event WHERE length(value) = 8192", "1000");
    assert_answer(place, "SELECT count(*) FROM event WHERE length(datapoint) = 256", "1000");
    assert_ok(place, store_find(place->store, NODE "000000000001", &found, &place->err));
    assert_int_equal(found.datapoints, TXN_MAX_DATAPOINTS);
    assert_string_equal(found.product, product);
    assert_int_equal(strlen(found.pennkey), TXN_MAX_PENNKEY);
    store_batch_close(batch);
}

static void instants_keep_their_microseconds(void **state)
{
    static const int64_t instants[] = {
        0, 1, 951782399999999 /* 2000-02-28 */, 946684799999999, 946684800000000, CLOCK_MAX_US - 1};
    struct place *place = *state;
    struct store_batch *batch = store_batch_open(place->store);
    struct txn_datapoint datapoint = {SLICE("k"), SLICE("v")};

    for (size_t i = 0; i < sizeof instants / sizeof *instants; i++) {
        struct txn txn = {.timestamp_us = instants[i],
                          .received_us = instants[i] + 7,
                          .count = 1,
                          .datapoints = &datapoint};
        struct store_found found;
        char expected[CLOCK_TEXT_SIZE];
        char id[TXN_ID_SIZE];
        char sql[256];

        txn_id_format(id, NODE, i);
        store_batch_reset(batch);
        store_batch_add(batch, id, "CLUBS", &txn);
        assert_ok(place,
                  store_write(place->store, batch, 0, 1, NODE, 100 + i, 101 + i, &place->err));
        assert_ok(place, store_find(place->store, id, &found, &place->err));
        assert_true(found.timestamp_us == instants[i]);
        assert_true(found.received_us == instants[i] + 7);
        clock_format(expected, instants[i]);
        snprintf(sql, sizeof sql, "SELECT %s FROM event WHERE transaction_id = '%s'",
                 place->kind->timestamp_sql, id);
        assert_answer(place, sql, expected);
    }
    store_batch_close(batch);
}

static void a_cursor_is_made_once(void **state)
{
    struct place *place = *state;
    uint64_t position = 42;

    assert_int_equal(store_cursor(place->store, "o'node\\", &position, &place->err), ERR_NOT_FOUND);
    assert_int_equal(position, 42);
    assert_ok(place, store_cursor_create(place->store, "o'node\\", TXN_MAX_POSITION, &place->err));
    assert_ok(place, store_cursor_create(place->store, "o'node\\", 3, &place->err));
    assert_ok(place, store_cursor(place->store, "o'node\\", &position, &place->err));
    assert_true(position == TXN_MAX_POSITION);
    assert_cursor(place, 100);
}

static void a_node_of_any_name_moves_its_own_cursor(void **state)
{
    struct place *place = *state;
    struct store_batch *batch = store_batch_open(place->store);
    uint64_t position;

    add_one(batch, 1, "x");
    assert_ok(place, store_cursor_create(place->store, "o'node\\", 1, &place->err));
    assert_ok(place, store_write(place->store, batch, 0, 1, "o'node\\", 1, 2, &place->err));
    assert_ok(place, store_cursor(place->store, "o'node\\", &position, &place->err));
    assert_true(position == 2);
    assert_cursor(place, 100);
    store_batch_close(batch);
}

/* Migrations */

static void migrating_twice_applies_nothing_more(void **state)
{
    struct place *place = *state;
    struct store_migration listed[64];
    size_t count = 0;
    unsigned applied = 99;

    place->store = open_store(place, LONG_MS);
    assert_ok(place, store_migrations(place->store, listed, 64, &count, &place->err));
    assert_true(count > 0);
    assert_true(listed[0].version == 20261124);
    assert_string_equal(listed[0].name, "initial");
    for (size_t i = 0; i < count; i++)
        assert_true(listed[i].applied_us == 0);
    assert_ok(place, store_migrate(place->store, &applied, &place->err));
    assert_int_equal(applied, count);
    assert_ok(place, store_migrations(place->store, listed, 64, &count, &place->err));
    for (size_t i = 0; i < count; i++)
        assert_true(listed[i].applied_us > NOON / 2);
    assert_ok(place, store_migrate(place->store, &applied, &place->err));
    assert_int_equal(applied, 0);
    assert_ok(place, store_migrations(place->store, listed, 0, &count, &place->err));
    assert_int_equal(count, 0);
}

static void a_database_of_a_newer_engine_is_left_alone(void **state)
{
    struct place *place = *state;
    unsigned applied = 99;

    place->store = open_store(place, LONG_MS);
    run(place, place->kind->migrations_sql);
    run(place, "INSERT INTO schema_migration VALUES (29991231, 'far_future',"
               " '2999-12-31T00:00:00.000000Z')");
    assert_ok(place, store_migrate(place->store, &applied, &place->err));
    assert_int_equal(applied, 0);
    assert_answer(place, "SELECT count(*) FROM schema_migration", "1");
}

static void a_migration_that_fails_leaves_nothing(void **state)
{
    struct place *place = *state;
    unsigned applied = 99;

    place->store = open_store(place, LONG_MS);
    run(place, "CREATE TABLE forward_cursor (x int)");
    assert_int_equal(store_migrate(place->store, &applied, &place->err), ERR_UNAVAILABLE);
    assert_non_null(strstr(place->err.text, "20261124_initial"));
    assert_int_equal(applied, 99);
    run(place, "CREATE TABLE event (x int); DROP TABLE event; DROP TABLE forward_cursor");
    assert_ok(place, store_migrate(place->store, &applied, &place->err));
    assert_true(applied > 0);
}

static void processes_that_migrate_at_once_apply_each_migration_once(void **state)
{
    enum { PROCESSES = 6 };
    struct place *place = *state;
    struct store_migration listed[64];
    size_t count;
    pid_t children[PROCESSES];
    unsigned total = 0;
    int gate[2];

    assert_int_equal(pipe(gate), 0);
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            struct store *store;
            unsigned applied = 0;
            char byte;

            test_postgres_disown();
            close(gate[1]);
            if (read(gate[0], &byte, 1) != 0 ||
                store_open(place->url, LONG_MS, &store, &place->err) != 0 ||
                store_connect(store, &place->err) != 0 ||
                store_migrate(store, &applied, &place->err) != 0) {
                fprintf(stderr, "%s\n", place->err.text);
                _exit(255);
            }
            store_close(store);
            _exit((int)applied);
        }
    }
    close(gate[0]);
    close(gate[1]);
    for (int i = 0; i < PROCESSES; i++) {
        int status;

        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 255);
        total += (unsigned)WEXITSTATUS(status);
    }
    place->store = open_store(place, LONG_MS);
    assert_ok(place, store_migrations(place->store, listed, 64, &count, &place->err));
    assert_int_equal(total, count);
    assert_true(listed[0].applied_us > 0);
}

/* Trouble */

static void nothing_works_without_a_connection(void **state)
{
    struct place *place = *state;
    struct store_batch *batch;
    struct store_found found;
    uint64_t position;
    unsigned applied;

    assert_ok(place, store_open(place->url, LONG_MS, &place->store, &place->err));
    assert_string_equal(store_kind(place->store), place->kind->name);
    batch = store_batch_open(place->store);
    add_one(batch, 1, "x");
    assert_int_equal(store_write(place->store, batch, 0, 1, NODE, 0, 1, NULL), ERR_UNAVAILABLE);
    assert_int_equal(store_write(place->store, batch, 0, 0, NODE, 0, 1, NULL), ERR_UNAVAILABLE);
    assert_int_equal(store_put(place->store, batch, 0, NODE, 1, NULL), ERR_UNAVAILABLE);
    assert_int_equal(store_cursor(place->store, NODE, &position, NULL), ERR_UNAVAILABLE);
    assert_int_equal(store_cursor_create(place->store, NODE, 1, NULL), ERR_UNAVAILABLE);
    assert_int_equal(store_find(place->store, NODE "000000000001", &found, NULL), ERR_UNAVAILABLE);
    assert_int_equal(store_migrate(place->store, &applied, &place->err), ERR_UNAVAILABLE);
    assert_string_equal(place->err.text, "not connected");
    store_batch_close(batch);
}

static void a_missing_table_is_unavailable(void **state)
{
    struct place *place = *state;
    struct store_batch *batch;
    struct store_found found;
    uint64_t position;

    place->store = open_store(place, LONG_MS);
    batch = store_batch_open(place->store);
    add_one(batch, 1, "x");
    assert_int_equal(store_write(place->store, batch, 0, 1, NODE, 0, 1, &place->err),
                     ERR_UNAVAILABLE);
    assert_non_null(strstr(place->err.text, "forward_cursor"));
    assert_int_equal(store_put(place->store, batch, 0, NODE, 1, NULL), ERR_UNAVAILABLE);
    assert_int_equal(store_cursor(place->store, NODE, &position, NULL), ERR_UNAVAILABLE);
    assert_int_equal(store_cursor_create(place->store, NODE, 1, NULL), ERR_UNAVAILABLE);
    assert_int_equal(store_find(place->store, NODE "000000000001", &found, NULL), ERR_UNAVAILABLE);
    store_batch_close(batch);
}

static void a_table_may_go_and_come_back(void **state)
{
    struct place *place = *state;
    struct store_batch *batch = store_batch_open(place->store);

    for (uint64_t i = 0; i < 40; i++)
        add_one(batch, i, "x");
    assert_ok(place, store_write(place->store, batch, 0, 40, NODE, 100, 101, &place->err));
    run(place, "ALTER TABLE event RENAME TO gone");
    assert_int_equal(store_write(place->store, batch, 0, 40, NODE, 101, 102, &place->err),
                     ERR_UNAVAILABLE);
    assert_non_null(strstr(place->err.text, "event"));
    assert_cursor(place, 101);
    run(place, "ALTER TABLE gone RENAME TO event");
    assert_ok(place, store_connect(place->store, &place->err));
    assert_ok(place, store_write(place->store, batch, 0, 40, NODE, 101, 102, &place->err));
    assert_rows(place, "80");
    store_batch_close(batch);
}

static void a_write_ends_at_its_time_limit(void **state)
{
    struct place *place = *state;
    struct store *hasty = open_store(place, 100);
    struct store_batch *batch = store_batch_open(hasty);
    void *lock = place->kind->lock(place);

    add_one(batch, 1, "x");
    assert_int_equal(store_write(hasty, batch, 0, 1, NODE, 100, 101, &place->err), ERR_UNAVAILABLE);
    place->kind->unlock(lock);
    store_close(hasty);
    assert_rows(place, "0");
    assert_cursor(place, 100);
    assert_ok(place, store_write(place->store, batch, 0, 1, NODE, 100, 101, &place->err));
    store_batch_close(batch);
}

struct waiting {
    struct store *store;
    const struct store_batch *batch;
    struct err err;
    int error;
};

static void *write_in_vain(void *arg)
{
    struct waiting *waiting = arg;

    waiting->error =
        store_write(waiting->store, waiting->batch, 0, 1, NODE, 100, 101, &waiting->err);
    return NULL;
}

static void an_interruption_ends_what_waits_and_all_that_follows(void **state)
{
    struct place *place = *state;
    struct waiting waiting = {.store = open_store(place, LONG_MS)};
    struct store_batch *batch = store_batch_open(place->store);
    void *lock = place->kind->lock(place);
    uint64_t position;
    pthread_t thread;

    add_one(batch, 1, "x");
    waiting.batch = batch;
    assert_int_equal(pthread_create(&thread, NULL, write_in_vain, &waiting), 0);
    store_interrupt(waiting.store);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(waiting.error, ERR_UNAVAILABLE);
    assert_string_equal(waiting.err.text, "interrupted");
    assert_int_equal(store_connect(waiting.store, NULL), ERR_UNAVAILABLE);
    assert_int_equal(store_cursor(waiting.store, NODE, &position, NULL), ERR_UNAVAILABLE);
    store_close(waiting.store);
    place->kind->unlock(lock);
    assert_rows(place, "0");
    assert_cursor(place, 100);
    store_batch_close(batch);
}

struct racer {
    struct place place;
    unsigned written;
    int error;
};

/* Moves the cursor by one with ten rows a step, until it has come to 140. */
static void *race(void *arg)
{
    struct racer *racer = arg;
    struct err *err = &racer->place.err;
    struct store *store;
    struct store_batch *batch;
    uint64_t position = 0;

    racer->error = store_open(racer->place.url, LONG_MS, &store, err);
    if (racer->error != 0)
        return NULL;
    batch = store_batch_open(store);
    racer->error = store_connect(store, err);
    while (racer->error == 0) {
        struct txn_datapoint datapoints[10];
        struct txn txn = {.count = 10, .datapoints = datapoints};
        char id[TXN_ID_SIZE];

        racer->error = store_cursor(store, NODE, &position, err);
        if (racer->error != 0 || position == 140)
            break;
        for (int i = 0; i < 10; i++)
            datapoints[i] = (struct txn_datapoint){SLICE("k"), SLICE("v")};
        txn_id_format(id, NODE, position);
        store_batch_reset(batch);
        store_batch_add(batch, id, "CLUBS", &txn);
        racer->error = store_write(store, batch, 0, 1, NODE, position, position + 1, err);
        racer->written += racer->error == 0;
        if (racer->error == ERR_CONFLICT)
            racer->error = 0;
    }
    store_batch_close(batch);
    store_close(store);
    return NULL;
}

static void writers_at_once_store_everything_once(void **state)
{
    enum { RACERS = 4 };
    struct place *place = *state;
    struct racer racers[RACERS] = {0};
    pthread_t threads[RACERS];
    unsigned written = 0;

    for (int i = 0; i < RACERS; i++) {
        racers[i].place = *place;
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < RACERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        if (racers[i].error != 0)
            fail_msg("%s", racers[i].place.err.text);
        written += racers[i].written;
    }
    assert_int_equal(written, 40);
    assert_rows(place, "400");
    assert_answer(place, "SELECT count(DISTINCT transaction_id) FROM event", "40");
    assert_cursor(place, 140);
}

/* Forgetting and expiring */

/* Stores one transaction of one datapoint; the cursor stands at `position` and moves behind it. */
static void store_one(struct place *place, const char *node, uint64_t position, const char *user,
                      int64_t timestamp_us)
{
    const struct txn_datapoint datapoint = {SLICE("k"), SLICE("v")};
    struct store_batch *batch = store_batch_open(place->store);
    struct txn txn = {.pennkey = slice_of(user),
                      .timestamp_us = timestamp_us,
                      .received_us = timestamp_us,
                      .count = 1,
                      .datapoints = &datapoint};
    char id[TXN_ID_SIZE];

    txn_id_format(id, node, position);
    store_batch_add(batch, id, "CLUBS", &txn);
    assert_ok(place,
              store_write(place->store, batch, 0, 1, node, position, position + 1, &place->err));
    store_batch_close(batch);
}

/* Takes steps of `rows` until the end; gives the rows changed and, if asked, the steps. */
static uint64_t forget(struct place *place, const struct store_forgetting *what, unsigned rows,
                       unsigned *ret_steps)
{
    struct store_walk walk = {0};
    uint64_t sum = 0;
    unsigned steps = 0;

    for (; !walk.ended; steps++) {
        uint64_t changed = 99;

        assert_ok(place, store_forget(place->store, what, rows, &walk, &changed, &place->err));
        assert_true(changed <= rows);
        sum += changed;
    }
    if (ret_steps != NULL)
        *ret_steps = steps;
    return sum;
}

static struct store_forgetting everything_of(const char *user)
{
    return (struct store_forgetting){.user = slice_of(user),
                                     .node = NODE,
                                     .position = TXN_MAX_POSITION,
                                     .received_us = NOON + 1000000};
}

#define USERS                                                                                      \
    "SELECT coalesce(string_agg(coalesce(pennkey, '-'), ' '), '') FROM"                            \
    " (SELECT pennkey FROM event ORDER BY id) AS users"
#define USERS_SQLITE                                                                               \
    "SELECT coalesce(group_concat(coalesce(pennkey, '-'), ' '), '') FROM"                          \
    " (SELECT pennkey FROM event ORDER BY id)"

static void assert_users(struct place *place, const char *expected)
{
    assert_answer(place, place->kind->make == sqlite_make ? USERS_SQLITE : USERS, expected);
}

static void a_user_is_forgotten_and_nobody_else(void **state)
{
    struct place *place = *state;
    struct store_forgetting what = everything_of("b");
    static const char *const users[] = {"a", "b", NULL, "b", "B", "bb"};

    for (unsigned i = 0; i < 6; i++)
        store_one(place, NODE, 100 + i, users[i], NOON);
    assert_int_equal(forget(place, &what, 100, NULL), 2);
    assert_users(place, "a - - - B bb");
    assert_int_equal(forget(place, &what, 100, NULL), 0);
}

static void an_erased_user_leaves_no_rows(void **state)
{
    struct place *place = *state;
    struct store_forgetting what = everything_of("b");

    what.erase = true;
    store_one(place, NODE, 100, "b", NOON);
    store_one(place, NODE, 101, "a", NOON);
    store_one(place, NODE, 102, "b", NOON);
    assert_int_equal(forget(place, &what, 100, NULL), 2);
    assert_users(place, "a");
    assert_cursor(place, 103);
}

static void a_user_is_forgotten_under_both_names(void **state)
{
    struct place *place = *state;
    struct store_forgetting what = everything_of("b");

    what.alias = SLICE("hash of b");
    store_one(place, NODE, 100, "b", NOON);
    store_one(place, NODE, 101, "hash of b", NOON);
    store_one(place, NODE, 102, "hash of c", NOON);
    assert_int_equal(forget(place, &what, 100, NULL), 2);
    assert_users(place, "- - hash of c");
}

static void what_came_after_the_order_keeps_its_user(void **state)
{
    struct place *place = *state;
    struct store_forgetting what = everything_of("b");

    assert_ok(place, store_cursor_create(place->store, "0node002", 50, &place->err));
    what.position = 102;
    what.received_us = NOON + 5;
    store_one(place, NODE, 100, "b", NOON + 9); /* of this node the position counts, ... */
    store_one(place, NODE, 101, "b", NOON);
    store_one(place, NODE, 102, "b", NOON);
    store_one(place, "0node002", 50, "b", NOON + 4); /* ... of others the time */
    store_one(place, "0node002", 51, "b", NOON + 5);
    assert_int_equal(forget(place, &what, 100, NULL), 3);
    assert_users(place, "- - b - b");
}

static void forgetting_goes_in_steps_over_gaps(void **state)
{
    struct place *place = *state;
    struct store_forgetting what = everything_of("b");
    unsigned steps;

    assert_int_equal(forget(place, &what, 2, &steps), 0); /* an empty table */
    assert_int_equal(steps, 1);
    for (unsigned i = 0; i < 9; i++)
        store_one(place, NODE, 100 + i, i % 3 == 0 ? "a" : "b", NOON);
    run(place, "DELETE FROM event WHERE id % 4 = 0");
    assert_int_equal(forget(place, &what, 2, &steps), 5);
    assert_int_equal(steps, 4); /* 7 rows */
    assert_users(place, "a - - - - a -");
}

static void old_events_expire_in_steps(void **state)
{
    struct place *place = *state;
    struct store_walk walk = {0};
    uint64_t changed = 99;

    for (unsigned i = 0; i < 6; i++)
        store_one(place, NODE, 100 + i, i % 2 == 0 ? "old" : "new", i % 2 == 0 ? NOON - 1 : NOON);
    assert_ok(place, store_expire(place->store, NOON, 4, &walk, &changed, &place->err));
    assert_int_equal(changed, 2);
    assert_false(walk.ended);
    assert_users(place, "new new old new");
    assert_ok(place, store_expire(place->store, NOON, 4, &walk, &changed, &place->err));
    assert_int_equal(changed, 1);
    assert_true(walk.ended);
    assert_users(place, "new new new");
    assert_cursor(place, 106);
}

static void a_step_that_failed_can_be_taken_again(void **state)
{
    struct place *place = *state;
    struct store *hasty = open_store(place, 200);
    struct store_forgetting what = everything_of("b");
    struct store_walk walk = {0};
    uint64_t changed = 99;
    void *lock;

    for (unsigned i = 0; i < 3; i++)
        store_one(place, NODE, 100 + i, "b", NOON);
    assert_ok(place, store_forget(hasty, &what, 2, &walk, &changed, &place->err));
    lock = place->kind->lock_events(place);
    assert_int_equal(store_forget(hasty, &what, 2, &walk, &changed, &place->err), ERR_UNAVAILABLE);
    assert_int_equal(changed, 2);
    assert_false(walk.ended);
    place->kind->unlock(lock);
    assert_ok(place, store_connect(hasty, &place->err));
    assert_ok(place, store_forget(hasty, &what, 2, &walk, &changed, &place->err));
    assert_int_equal(changed, 1);
    assert_true(walk.ended);
    assert_users(place, "- - -");
    store_close(hasty);
}

static void a_foreign_url_is_invalid(void **state)
{
    static const char *const urls[] = {"", "mysql://user:secret@host/db", "sqlite", "/tmp/x.db"};
    struct place *place = *state;

    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        assert_int_equal(store_open(urls[i], LONG_MS, &place->store, &place->err), ERR_INVALID);
        assert_null(strstr(place->err.text, "secret"));
    }
    assert_null(place->store);
}

#define EMPTY(test)                                                                                \
    {                                                                                              \
#test, test, make_empty, drop, NULL                                                        \
    }
#define READY(test)                                                                                \
    {                                                                                              \
#test, test, make_ready, drop, NULL                                                        \
    }

int main(void)
{
    struct CMUnitTest tests[] = {
        READY(a_write_stores_the_rows_and_moves_the_cursor),
        READY(a_conflict_leaves_nothing),
        READY(a_refused_row_leaves_nothing_and_a_good_connection),
        READY(a_row_that_an_index_cannot_take_is_refused),
        READY(a_cursor_that_is_refused_is_no_fault_of_the_rows),
        READY(a_slice_is_stored_without_its_neighbours),
        READY(an_empty_slice_moves_the_cursor),
        READY(a_batch_can_be_used_again),
        READY(put_stores_a_transaction_once_and_leaves_the_cursor),
        READY(put_needs_a_cursor_to_lock),
        READY(put_leaves_alone_what_the_cursor_has_not_passed),
        READY(find_tells_what_was_stored),
        READY(text_comes_back_as_it_was),
        READY(nothing_and_empty_are_different),
        READY(the_largest_transaction_is_stored_whole),
        READY(instants_keep_their_microseconds),
        READY(a_cursor_is_made_once),
        READY(a_node_of_any_name_moves_its_own_cursor),
        EMPTY(migrating_twice_applies_nothing_more),
        EMPTY(a_database_of_a_newer_engine_is_left_alone),
        EMPTY(a_migration_that_fails_leaves_nothing),
        EMPTY(processes_that_migrate_at_once_apply_each_migration_once),
        EMPTY(nothing_works_without_a_connection),
        EMPTY(a_missing_table_is_unavailable),
        READY(a_table_may_go_and_come_back),
        READY(a_write_ends_at_its_time_limit),
        READY(an_interruption_ends_what_waits_and_all_that_follows),
        READY(writers_at_once_store_everything_once),
        READY(a_user_is_forgotten_and_nobody_else),
        READY(an_erased_user_leaves_no_rows),
        READY(a_user_is_forgotten_under_both_names),
        READY(what_came_after_the_order_keeps_its_user),
        READY(forgetting_goes_in_steps_over_gaps),
        READY(old_events_expire_in_steps),
        READY(a_step_that_failed_can_be_taken_again),
        EMPTY(a_foreign_url_is_invalid),
    };
    int failed = 0;

    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
        for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
            tests[i].initial_state = (void *)&kinds[kind];
        failed += cmocka_run_group_tests_name(kinds[kind].name, tests, NULL, NULL);
    }
    return failed;
}
