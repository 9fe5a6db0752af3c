/*
 * Written aside, synced, then given its name; a file that is to be made only once is linked
 * to it, which fails where rename would replace.
 */
#include "base/file.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *with_tail(const char *path, const char *tail)
{
    struct buf text = {0};

    buf_printf(&text, "%s%s", path, tail);
    buf_append_char(&text, '\0');
    return text.data;
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL)
        return mem_strdup(".");
    return mem_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

int file_read(struct disk *disk, const char *path, size_t most_bytes, struct buf *out,
              struct err *err)
{
    int fd = disk->open(disk, path, O_RDONLY | O_CLOEXEC);
    int64_t size, got = 0;

    if (fd < 0)
        return err_system(err, -fd, "open %s", path);
    size = disk->size(disk, fd);
    if (size > 0 && (uint64_t)size <= most_bytes)
        got = disk->read(disk, fd, buf_reserve(out, (size_t)size), (size_t)size, 0);
    disk->close(disk, fd);
    if (size < 0 || got < 0)
        return err_system(err, (int)-(size < 0 ? size : got), "read %s", path);
    if ((uint64_t)size > most_bytes)
        return err_set(err, ERR_CORRUPT, "%s has more than %zu bytes", path, most_bytes);
    out->len += (size_t)got;
    return 0;
}

static int write_draft(struct disk *disk, const char *draft, struct slice bytes, struct err *err)
{
    struct iovec vector = {(void *)bytes.at, bytes.len};
    int fd, code;

    disk->unlink(disk, draft); /* with whatever rights it has */
    fd = disk->open(disk, draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC);
    if (fd < 0)
        return err_system(err, -fd, "write %s", draft);
    code = disk->write(disk, fd, &vector, 1, 0);
    if (code >= 0)
        code = disk->sync(disk, fd);
    disk->close(disk, fd);
    if (code >= 0)
        return 0;
    disk->unlink(disk, draft);
    return err_system(err, -code, "write %s", draft);
}

int file_replace(struct disk *disk, const char *path, struct slice bytes, bool *ret_replaced,
                 struct err *err)
{
    char *draft = with_tail(path, ".new");
    char *folder = folder_of(path);
    bool replaced = false;
    int code = write_draft(disk, draft, bytes, err);
    int number;

    if (code == 0) {
        number = disk->rename(disk, draft, path);
        replaced = number >= 0;
        if (!replaced)
            code = err_system(err, -number, "write %s", path);
        else if ((number = disk->sync_dir(disk, folder)) < 0)
            code = err_system(err, -number, "sync %s", folder);
    }
    if (ret_replaced != NULL)
        *ret_replaced = replaced;
    free(folder);
    free(draft);
    return code;
}

static int write_all(int fd, struct slice bytes, const char *path, struct err *err)
{
    ssize_t put = write(fd, bytes.at, bytes.len);

    if (put >= 0 && (size_t)put != bytes.len)
        return err_system(err, ENOSPC, "write %s", path);
    return put < 0 || fsync(fd) != 0 ? err_system(err, errno, "write %s", path) : 0;
}

int file_make(const char *path, struct slice bytes, struct err *err)
{
    char *draft = with_tail(path, ".XXXXXX");
    char *folder = folder_of(path);
    int fd = mkostemp(draft, O_CLOEXEC); /* mode 0600 */
    int code, number;

    if (fd < 0) {
        code = err_system(err, errno, "make %s", path);
        goto free_names;
    }
    disk_hand_over(fd, path);
    code = write_all(fd, bytes, draft, err);
    close(fd);
    if (code == 0 && link(draft, path) != 0 && errno != EEXIST)
        code = err_system(err, errno, "make %s", path);
    unlink(draft);
    if (code == 0 && (number = disk_real.sync_dir(&disk_real, folder)) < 0)
        code = err_system(err, -number, "sync %s", folder);
free_names:
    free(folder);
    free(draft);
    return code;
}
