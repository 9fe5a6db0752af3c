/*
 * Opening and closing the file.
 *
 * The file is looked at before anything is written: a newer version, or a file that is no
 * ledger, is refused and left as it is. Then it is switched to write-ahead logging, gets
 * its tables if it is new, and the counts are taken once; afterwards they follow in memory.
 * It fails when the folder is missing or read-only, when the file is damaged, and when
 * another process holds it for longer than BUSY_MS.
 *
 * What is in the file: the schema below. The version is SQLite's user_version.
 */
#include "ledger/ledger_priv.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VERSION 2
#define APPLICATION_ID 0x4c41424c /* "LABL" */
#define BUSY_MS 5000
#define CHECKPOINT_PAGES 1000 /* 4 MiB of write-ahead file */

/* The record stands last: reading what is before it touches no overflow page. */
static const char schema[] =
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "INSERT INTO meta VALUES ('cursor', 0);"
    "CREATE TABLE discarded (position INTEGER PRIMARY KEY) STRICT;"
    "CREATE TABLE failed (position INTEGER PRIMARY KEY, attempts INTEGER NOT NULL,"
    " failed_us INTEGER NOT NULL, retrying INTEGER NOT NULL, reason TEXT NOT NULL,"
    " record BLOB NOT NULL) STRICT;"
    "CREATE INDEX failed_by_kind ON failed (retrying, position);"
    "CREATE TABLE delivery (number INTEGER PRIMARY KEY, first INTEGER NOT NULL,"
    " last INTEGER NOT NULL, transactions INTEGER NOT NULL, \"rows\" INTEGER NOT NULL,"
    " started_us INTEGER NOT NULL, duration_us INTEGER NOT NULL, outcome TEXT NOT NULL,"
    " error TEXT) STRICT;";

/* What version 2 added. */
static const char orders_schema[] =
    "CREATE TABLE forgotten (user TEXT NOT NULL, erase INTEGER NOT NULL,"
    " position INTEGER NOT NULL, ordered_us INTEGER NOT NULL, done INTEGER NOT NULL,"
    " PRIMARY KEY (user, erase)) STRICT, WITHOUT ROWID;";

/* The number that a query of one row and column gives. */
static int ask(struct ledger *ledger, const char *query, int64_t *ret)
{
    sqlite3_stmt *statement = NULL;
    int code;

    errno = 0;
    code = sqlite3_prepare_v2(ledger->db, query, -1, &statement, NULL);
    if (code == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW)
        *ret = sqlite3_column_int64(statement, 0);
    ledger->system = errno;
    return code == SQLITE_OK ? sqlite3_finalize(statement) : code;
}

/* In a transaction, so that all of it is of one instant. *ret_version: 0 if there are no tables
 * yet. */
static int check_version(struct ledger *ledger, int64_t *ret_version, struct err *err)
{
    int64_t version = 0;
    int64_t application = 0;
    int64_t tables = 0;
    int code = ask(ledger, "PRAGMA user_version", &version);

    if (code == SQLITE_OK)
        code = ask(ledger, "PRAGMA application_id", &application);
    if (code == SQLITE_OK)
        code = ask(ledger, "SELECT count(*) FROM sqlite_schema", &tables);
    if (code != SQLITE_OK)
        return ledger_fault(ledger, code, err, "read the version");
    *ret_version = version;
    if (version == 0 && application == 0 && tables == 0)
        return 0;
    if (application != APPLICATION_ID || version < 1)
        return err_set(err, ERR_CORRUPT, "ledger: the file is a database, but not a ledger");
    if (version > VERSION)
        return err_set(err, ERR_UNSUPPORTED,
                       "ledger: the file has version %lld, this program knows up to %d: "
                       "use a newer program",
                       (long long)version, VERSION);
    return 0;
}

/* After a commit left so many pages in the write-ahead file. A checkpoint that fails is tried
 * again after the next commit; after a failed sync the file is mended (ledger_mend.c). */
static int checkpoint(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct ledger *ledger = arg;
    int code;

    if (pages < CHECKPOINT_PAGES)
        return SQLITE_OK;
    code = sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC)
        ledger->broken = true;
    return SQLITE_OK;
}

static int configure(struct ledger *ledger)
{
    int code = ledger_exec(ledger, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                                   "PRAGMA journal_size_limit = 8388608;"
                                   "PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF;"
                                   "PRAGMA secure_delete = ON");

    ledger->sync = LEDGER_DURABLE;
    sqlite3_wal_hook(ledger->db, checkpoint, ledger);
    return code;
}

/* Makes the tables, or what a file of an older version lacks. Under the lock of the file, since
 * another process may be doing so just now. */
static int create(struct ledger *ledger, struct err *err)
{
    char versions[96];
    int64_t version = 0;
    int result;
    int code = ledger_exec(ledger, "BEGIN IMMEDIATE");

    if (code != SQLITE_OK)
        return ledger_fault(ledger, code, err, "make the tables");
    result = check_version(ledger, &version, err);
    if (result != 0)
        return result;
    snprintf(versions, sizeof versions, "PRAGMA application_id = %d; PRAGMA user_version = %d",
             APPLICATION_ID, VERSION);
    if (version == 0)
        code = ledger_exec(ledger, schema);
    if (version < 2 && code == SQLITE_OK)
        code = ledger_exec(ledger, orders_schema);
    if (code == SQLITE_OK)
        code = ledger_exec(ledger, versions);
    if (code == SQLITE_OK)
        code = ledger_exec(ledger, "COMMIT");
    return code == SQLITE_OK ? 0 : ledger_fault(ledger, code, err, "make the tables");
}

/* Looks at the file without changing it. */
static int inspect(struct ledger *ledger, int64_t *ret_version, struct err *err)
{
    int result;
    int code = ledger_exec(ledger, "BEGIN");

    if (code != SQLITE_OK)
        return ledger_fault(ledger, code, err, "read the version");
    result = check_version(ledger, ret_version, err);
    if (result != 0)
        return result;
    code = ledger_exec(ledger, "COMMIT");
    return code == SQLITE_OK ? 0 : ledger_fault(ledger, code, err, "read the version");
}

static int get_meta(struct ledger *ledger, const char *name, uint64_t *ret)
{
    sqlite3_stmt *statement = ledger_statement(ledger, LEDGER_GET_META);
    int code = ledger_bind_text(statement, 1, slice_of(name));

    if (code == SQLITE_OK)
        code = ledger_row(ledger, LEDGER_GET_META);
    if (code == LEDGER_ABSENT)
        return SQLITE_CORRUPT;
    if (code != SQLITE_OK)
        return code;
    *ret = (uint64_t)sqlite3_column_int64(statement, 0);
    return ledger_done(ledger, LEDGER_GET_META);
}

static int load(struct ledger *ledger, struct err *err)
{
    sqlite3_stmt *last;
    int64_t discarded = 0, discarded_until = 0;
    int code = ledger_prepare(ledger);

    if (code == SQLITE_OK)
        code = ledger_count(ledger, &ledger->counts);
    if (code == SQLITE_OK)
        code = ask(ledger, "SELECT count(*) FROM discarded", &discarded);
    if (code == SQLITE_OK)
        code =
            ask(ledger, "SELECT coalesce(max(position) + 1, 0) FROM discarded", &discarded_until);
    if (code == SQLITE_OK)
        code = ledger_load_orders(ledger);
    if (code == SQLITE_OK)
        code = get_meta(ledger, "cursor", &ledger->cursor);
    if (code == SQLITE_OK)
        code = ledger_row(ledger, LEDGER_LAST_DELIVERY);
    if (code != SQLITE_OK)
        return ledger_fault(ledger, code, err, "read the counts");
    ledger->counts.discarded = (uint64_t)discarded;
    atomic_store(&ledger->discarded_until, (uint64_t)discarded_until);
    last = ledger_statement(ledger, LEDGER_LAST_DELIVERY);
    ledger->next_delivery = sqlite3_column_int64(last, 0) + 1;
    code = ledger_done(ledger, LEDGER_LAST_DELIVERY);
    return code == SQLITE_OK ? 0 : ledger_fault(ledger, code, err, "read the counts");
}

/* Failed transactions hold personal data: a new file is its owner's alone, and SQLite gives
 * the files beside it the same mode. Any failure is met again, with words, by SQLite. */
static void make_private(const char *path)
{
    int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (file >= 0)
        close(file);
}

static int open_file(struct ledger *ledger)
{
    int code;

    make_private(ledger->path);
    errno = 0;
    code = sqlite3_open_v2(ledger->path, &ledger->db,
                           SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    ledger->system = errno;
    if (ledger->db == NULL)
        return SQLITE_NOMEM;
    sqlite3_extended_result_codes(ledger->db, 1);
    sqlite3_busy_timeout(ledger->db, BUSY_MS);
    return code;
}

static int connect_file(struct ledger *ledger, struct err *err)
{
    int code = open_file(ledger);

    if (code != SQLITE_OK)
        return ledger_fault(ledger, code, err, "open");
    if (sqlite3_db_readonly(ledger->db, "main") == 1)
        return err_set(err, ERR_IO, "ledger: open: the file may not be written");
    return 0;
}

int ledger_connect(struct ledger *ledger)
{
    int code = open_file(ledger);

    if (code == SQLITE_OK)
        code = configure(ledger);
    if (code == SQLITE_OK)
        code = ledger_prepare(ledger);
    if (code != SQLITE_OK)
        ledger_disconnect(ledger);
    return code;
}

void ledger_disconnect(struct ledger *ledger)
{
    for (int i = 0; i < LEDGER_STATEMENTS; i++) {
        sqlite3_finalize(ledger->statements[i]);
        ledger->statements[i] = NULL;
    }
    /* Copying what the disk may have lost into the main file would make it worse. */
    if (ledger->broken && ledger->db != NULL)
        sqlite3_db_config(ledger->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_close(ledger->db);
    ledger->db = NULL;
}

int ledger_open(const char *path, uint64_t deliveries_kept, struct ledger **ret, struct err *err)
{
    struct ledger *ledger = mem_zalloc(sizeof *ledger);
    struct err words = {0};
    int64_t version = 0;
    int code;

    pthread_mutex_init(&ledger->lock, NULL);
    pthread_mutex_init(&ledger->orders_lock, NULL);
    pthread_mutex_init(&ledger->counts_lock, NULL);
    ledger->deliveries_kept = ledger_key(deliveries_kept);
    if (strlen(path) >= sizeof ledger->path) {
        err_set(&words, ERR_INVALID, "ledger: the path is too long");
        goto close;
    }
    memcpy(ledger->path, path, strlen(path) + 1);
    code = ledger_finish_mending(ledger);
    if (code != SQLITE_OK) {
        ledger_fault(ledger, code, &words, "end the mending");
        goto close;
    }
    if (connect_file(ledger, &words) != 0 || inspect(ledger, &version, &words) != 0)
        goto close;
    code = configure(ledger);
    if (code != SQLITE_OK) {
        ledger_fault(ledger, code, &words, "prepare for writing");
        goto close;
    }
    if ((version < VERSION && create(ledger, &words) != 0) || load(ledger, &words) != 0)
        goto close;
    *ret = ledger;
    return 0;

close:
    ledger_close(ledger);
    return err_set(err, words.code, "%s: %.400s", path, words.text);
}

void ledger_close(struct ledger *ledger)
{
    if (ledger == NULL)
        return;
    ledger_disconnect(ledger);
    free(ledger->orders.list);
    pthread_mutex_destroy(&ledger->orders_lock);
    pthread_mutex_destroy(&ledger->counts_lock);
    pthread_mutex_destroy(&ledger->lock);
    free(ledger);
}
