/*
 * From SQLite's result codes (https://www.sqlite.org/rescode.html) to ours, with words.
 *
 * After some errors nothing more can be expected of the open file (it is no database, it is
 * damaged, the device fails): the handle is broken, and the next store_connect() opens it
 * anew, which is how a replaced file or a remounted disk is found again.
 */
#include "store/sqlite/sqlite_priv.h"

static bool is_of_content(int result)
{
    switch (result & 0xff) {
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
        return true;
    default:
        return false;
    }
}

int store_sqlite_refusal(struct store_sqlite *sqlite, int result, const char *doing,
                         struct err *err)
{
    int code = is_of_content(result) ? ERR_REFUSED : ERR_UNAVAILABLE;
    int primary = result & 0xff;
    char line[STORE_LINE_SIZE];
    const char *words;

    if (primary == SQLITE_INTERRUPT || primary == SQLITE_BUSY) {
        if (store_interrupted(&sqlite->store))
            return err_set(err, code, "interrupted");
        if (store_left_us(&sqlite->store) == 0)
            return store_too_late(&sqlite->store, err);
    }
    words = sqlite->database != NULL ? sqlite3_errmsg(sqlite->database) : sqlite3_errstr(result);
    return err_set(err, code, "%s: %s (SQLite %d)", doing, store_one_line(line, words), result);
}
