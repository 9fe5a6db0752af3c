/*
 * The file `contested`: a position in decimal digits and a line feed, or no file.
 */
#include "queue/queue_priv.h"

#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_BYTES = 32, MOST_PATH = 4160 };

static void contest_path(const struct queue *queue, char ret[MOST_PATH])
{
    snprintf(ret, MOST_PATH, "%s/contested", queue->data_dir);
}

int contest_load(struct queue *queue, struct err *err)
{
    char path[MOST_PATH];
    struct buf text = {0};
    char *end;
    int code;

    contest_path(queue, path);
    queue->contested = UINT64_MAX;
    code = file_read(queue->disk, path, MOST_BYTES, &text, err);
    if (code == 0) {
        buf_append_char(&text, '\0');
        queue->contested = strtoull(text.data, &end, 10);
        if (end == text.data || *end != '\n')
            code = err_set(err, ERR_CORRUPT, "%s holds no position", path);
    }
    buf_free(&text);
    return code == ERR_NOT_FOUND ? 0 : code;
}

int contest_begin(struct queue *queue, uint64_t position, struct err *err)
{
    char path[MOST_PATH];
    char text[MOST_BYTES];
    int code;

    if (queue->contested != UINT64_MAX)
        return 0;
    contest_path(queue, path);
    snprintf(text, sizeof text, "%" PRIu64 "\n", position);
    code = file_replace(queue->disk, path, slice_of(text), NULL, err);
    if (code == 0)
        queue->contested = position;
    return code;
}

int contest_end(struct queue *queue, struct err *err)
{
    char path[MOST_PATH];
    int code;

    if (queue->contested == UINT64_MAX)
        return 0;
    contest_path(queue, path);
    code = queue->disk->unlink(queue->disk, path);
    if (code < 0 && code != -ENOENT)
        return err_system(err, -code, "remove %s", path);
    /* Back after a power cut, it would hold up what has long been settled. */
    if ((code = queue->disk->sync_dir(queue->disk, queue->data_dir)) < 0)
        return err_system(err, -code, "sync %s", queue->data_dir);
    queue->contested = UINT64_MAX;
    log_info("queue", "the store's position is this engine's again");
    return 0;
}
