/*
 * Small files of a folder of ours: read and written whole, their owner's alone (mode 0600).
 *
 * Any thread; two that write the same path must take turns.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/buf.h"
#include "base/disk.h"
#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>

/* Reads the file into `out`. ERR_NOT_FOUND if there is none, ERR_CORRUPT if it has more bytes than
 * that, else what the system said. */
MUST_CHECK int file_read(struct disk *disk, const char *path, size_t most_bytes, struct buf *out,
                         struct err *err);

/* Writes <path>.new, brings it to disk and renames it: whoever opens `path`, also after a power
 * cut, sees all of the old bytes or all of the new ones. *ret_replaced (may be NULL) says which
 * it is after an error: when only the folder's sync failed, the new ones. */
MUST_CHECK int file_replace(struct disk *disk, const char *path, struct slice bytes,
                            bool *ret_replaced, struct err *err);

/* Makes the file with these bytes, durable on return, unless it is there: then, or when another
 * process was faster, that one stays, and the call is good too. */
MUST_CHECK int file_make(const char *path, struct slice bytes, struct err *err);

#endif
