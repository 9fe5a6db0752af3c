/*
 * After a failed sync: all that is known is written anew, into a new file.
 *
 * The kernel may have dropped the pages that it could not write and still show them, so what
 * stands in the old files cannot be trusted to be on the disk, and syncing them again proves
 * nothing. What this connection sees is written to <path>.mended and synced; then it takes the
 * place of the old pair of files. The transaction whose sync failed is not in it: its caller was
 * told so.
 *
 *   1. <path>.mended is written, synced
 *   2. <path>-wal is deleted       the old pair is no more
 *   3. <path>.mended becomes <path>
 *
 * After a crash before 2 the old pair is all there is, and <path>.mended is thrown away; after one
 * between 2 and 3 the new file is whole, and the write-ahead file missing says so. So the folder is
 * synced before each of them, too.
 */
#include "ledger/ledger_priv.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PAUSE_US INT64_C(1000000) /* between attempts: a dying disk is not written full */

static void path_with(const struct ledger *ledger, const char *tail, char out[LEDGER_PATH_SIZE])
{
    snprintf(out, LEDGER_PATH_SIZE, "%s%s", ledger->path, tail);
}

static int sync_path(const char *path, int flags)
{
    int file = open(path, flags | O_CLOEXEC);
    int code;

    if (file < 0)
        return SQLITE_CANTOPEN;
    code = fsync(file) == 0 ? SQLITE_OK : SQLITE_IOERR_FSYNC;
    close(file);
    return code;
}

static int sync_folder(const struct ledger *ledger)
{
    char folder[LEDGER_PATH_SIZE];
    char *slash;

    path_with(ledger, "", folder);
    slash = strrchr(folder, '/');
    if (slash == NULL)
        return sync_path(".", O_RDONLY | O_DIRECTORY);
    slash[slash == folder] = '\0';
    return sync_path(folder, O_RDONLY | O_DIRECTORY);
}

/* The file is there, empty and its owner's alone, before SQLite would make it for all to read. */
static int write_anew(struct ledger *ledger, const char *mended)
{
    int code = sync_folder(ledger);
    char *text;
    int file;

    if (code != SQLITE_OK)
        return code;
    text = sqlite3_mprintf("VACUUM INTO %Q", mended);
    if (text == NULL)
        return SQLITE_NOMEM;
    unlink(mended);
    file = open(mended, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file >= 0)
        close(file);
    code = file >= 0 ? ledger_exec(ledger, text) : SQLITE_CANTOPEN;
    sqlite3_free(text);
    if (code == SQLITE_OK)
        code = sync_path(mended, O_RDWR);
    return code == SQLITE_OK ? sync_folder(ledger) : code;
}

/* Steps 2 and 3; the connection is closed. */
static int take_place(struct ledger *ledger, const char *mended)
{
    char wal[LEDGER_PATH_SIZE], shared[LEDGER_PATH_SIZE];
    int code;

    path_with(ledger, "-wal", wal);
    path_with(ledger, "-shm", shared);
    if ((unlink(wal) != 0 && errno != ENOENT) || (unlink(shared) != 0 && errno != ENOENT))
        return SQLITE_IOERR_DELETE;
    code = sync_folder(ledger);
    if (code == SQLITE_OK && rename(mended, ledger->path) != 0)
        code = SQLITE_IOERR;
    return code == SQLITE_OK ? sync_folder(ledger) : code;
}

int ledger_mend(struct ledger *ledger)
{
    char mended[LEDGER_PATH_SIZE];
    int64_t now_us = clock_mono_us();
    int code;

    if (ledger->mended_us != 0 && now_us - ledger->mended_us < PAUSE_US)
        return SQLITE_IOERR_FSYNC;
    ledger->mended_us = now_us;
    path_with(ledger, ".mended", mended);
    if (ledger->db != NULL) {
        code = write_anew(ledger, mended);
        if (code != SQLITE_OK) {
            unlink(mended);
            return code;
        }
        ledger_disconnect(ledger);
    }
    code = access(mended, F_OK) == 0 ? take_place(ledger, mended) : SQLITE_OK;
    if (code == SQLITE_OK)
        code = ledger_connect(ledger);
    if (code != SQLITE_OK)
        return code;
    ledger->broken = false;
    ledger->mended_us = 0;
    return SQLITE_OK;
}

int ledger_finish_mending(struct ledger *ledger)
{
    char mended[LEDGER_PATH_SIZE], wal[LEDGER_PATH_SIZE];

    path_with(ledger, ".mended", mended);
    path_with(ledger, "-wal", wal);
    if (access(mended, F_OK) != 0)
        return SQLITE_OK;
    if (access(wal, F_OK) != 0)
        return take_place(ledger, mended);
    unlink(mended);
    return SQLITE_OK;
}
