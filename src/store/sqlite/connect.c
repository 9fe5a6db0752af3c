/*
 * The file: created if it is missing (readable by its owner only, in a folder that must
 * exist), switched to WAL, and watched.
 *
 * The WAL is bounded: it is checkpointed at CHECKPOINT_PAGES, and when readers have kept it
 * from starting over until it holds CROWDED_PAGES, the writer waits for a moment without
 * readers. What a burst left of it on the disk is cut back to 64 MiB.
 */
#include "store/sqlite/sqlite_priv.h"

#include "base/disk.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    CHECKPOINT_PAGES = 1024,               /* 16 MiB of 16 KiB pages */
    CROWDED_PAGES = 16 * CHECKPOINT_PAGES, /* 256 MiB */
    PROGRESS_STEPS = 4096,                 /* of SQLite's machine: some 100 us */
    BUSY_WAIT_MS = 5,                      /* between two looks at a lock */
};

/* Of a new file; one that is there keeps its own. In WAL mode a page is written twice and read
 * once, each time by a call of its own. */
#define PAGE_SIZE "PRAGMA page_size = 16384"

#define SETTINGS                                                                                   \
    "PRAGMA synchronous = FULL;"                                                                   \
    "PRAGMA secure_delete = ON;"           /* what is deleted is overwritten */                    \
    "PRAGMA cache_size = -16384;"          /* KiB */                                               \
    "PRAGMA journal_size_limit = 67108864" /* bytes */

int store_sqlite_open(const char *url, struct store **ret, struct err *err)
{
    const char *path = url + strlen("sqlite:");
    struct store_sqlite *sqlite;

    if (*path == '\0' || *path == ':')
        return err_set(err, ERR_INVALID, "the store's URL needs a file: sqlite:<path>");
    sqlite = mem_zalloc(sizeof *sqlite);
    sqlite->path = mem_strdup(path);
    *ret = &sqlite->store;
    return 0;
}

void store_sqlite_break(struct store_sqlite *sqlite)
{
    for (int i = 0; i < STATEMENT_COUNT; i++) {
        sqlite3_finalize(sqlite->statements[i]);
        sqlite->statements[i] = NULL;
    }
    sqlite3_close(sqlite->database);
    sqlite->database = NULL;
}

void store_sqlite_close(struct store *store)
{
    struct store_sqlite *sqlite = store_sqlite_of(store);

    sqlite->unwinding = true;
    store_sqlite_break(sqlite);
    free(sqlite->path);
    free(sqlite);
}

static bool is_over(const struct store_sqlite *sqlite, bool too_long)
{
    return !sqlite->unwinding && (store_interrupted(&sqlite->store) || too_long);
}

/* Called while somebody else has the lock: whether to look again. */
static int on_busy(void *arg, int looks)
{
    struct store_sqlite *sqlite = arg;
    struct pollfd wake = {.fd = sqlite->store.wake_fd, .events = POLLIN};

    if (is_over(sqlite, store_left_us(&sqlite->store) == 0))
        return 0;
    poll(&wake, 1, looks == 0 ? 1 : BUSY_WAIT_MS);
    return 1;
}

/* Called now and then while a statement runs: whether to stop it. A busy machine may keep it from
 * the processor for long: stopped for that, it would begin anew, and never end. */
static int on_progress(void *arg)
{
    const struct store_sqlite *sqlite = arg;

    return is_over(sqlite, store_worked_long(&sqlite->store));
}

/* Called after a COMMIT that left `pages` in the WAL. A checkpoint that fails is tried again
 * after the next one; the COMMIT stands. */
static int on_commit(void *arg, sqlite3 *database, const char *name, int pages)
{
    (void)arg;
    if (pages >= CROWDED_PAGES)
        sqlite3_wal_checkpoint_v2(database, name, SQLITE_CHECKPOINT_RESTART, NULL, NULL);
    else if (pages >= CHECKPOINT_PAGES)
        sqlite3_wal_checkpoint_v2(database, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    return SQLITE_OK;
}

/* SQLite would create it readable by all. An existing file is not opened here, because
 * closing it again would drop the locks that other handles of this process have on it. */
static int create_file(const char *path, struct err *err)
{
    int fd = disk_real.open(&disk_real, path, O_RDWR | O_CREAT | O_EXCL);

    if (fd < 0 && fd != -EEXIST)
        return err_set(err, ERR_UNAVAILABLE, "create %s: %s", path, strerror(-fd));
    if (fd >= 0)
        close(fd);
    return 0;
}

/* The switch to WAL needs the file for itself, and SQLite does not ask the busy handler
 * before it gives up on that. */
static int switch_to_wal(struct store_sqlite *sqlite, struct err *err)
{
    int result;
    int looks = 0;

    do {
        result = sqlite3_exec(sqlite->database, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
    } while ((result & 0xff) == SQLITE_BUSY && on_busy(sqlite, looks++));
    return result == SQLITE_OK ? 0 : store_sqlite_refusal(sqlite, result, "switch to WAL", err);
}

static int open_file(struct store_sqlite *sqlite, struct err *err)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int error = create_file(sqlite->path, err);
    int result;

    if (error != 0)
        return error;
    result = sqlite3_open_v2(sqlite->path, &sqlite->database, flags, NULL);
    if (result != SQLITE_OK)
        return store_sqlite_refusal(sqlite, result, sqlite->path, err);
    sqlite3_busy_handler(sqlite->database, on_busy, sqlite);
    sqlite3_progress_handler(sqlite->database, PROGRESS_STEPS, on_progress, sqlite);
    error = store_sqlite_exec(sqlite, PAGE_SIZE, err);
    if (error == 0)
        error = switch_to_wal(sqlite, err);
    if (error == 0)
        error = store_sqlite_exec(sqlite, SETTINGS, err);
    sqlite3_wal_hook(sqlite->database, on_commit, NULL);
    return error;
}

int store_sqlite_check(struct store_sqlite *sqlite, struct err *err)
{
    int moved = 0;

    if (sqlite->database == NULL)
        return err_set(err, ERR_UNAVAILABLE, "not connected");
    sqlite3_file_control(sqlite->database, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    if (!moved)
        return 0;
    store_sqlite_break(sqlite);
    return err_set(err, ERR_UNAVAILABLE, "%s: the file was removed or replaced", sqlite->path);
}

int store_sqlite_connect(struct store *store, struct err *err)
{
    struct store_sqlite *sqlite = store_sqlite_of(store);
    int error;

    if (store_sqlite_check(sqlite, NULL) == 0)
        return 0;
    error = open_file(sqlite, err);
    if (error != 0)
        store_sqlite_break(sqlite);
    return error;
}
