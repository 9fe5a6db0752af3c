/*
 * <data_dir>/jwks.json: the last good key set, for a start while the provider is away.
 *
 *   {"url": "https://...", "fetched": "2026-09-21T14:13:20.000000Z", "keys": [...]}
 *
 * It is written aside, brought to disk, and renamed. The URL is in it because keys are trusted
 * for where they came from: those of another provider must not be in force after the option
 * has changed. What the file says is checked like an answer of the provider.
 */
#include "auth/auth_jwks_priv.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#define NAME "jwks.json"

/* Another spelling of the same JSON may be longer; a number can be, at most, so much. */
#define MOST_BYTES (16 * AUTH_MAX_JWKS)

static char *path_of(const char *data_dir, const char *name)
{
    struct buf path = {0};

    buf_printf(&path, "%s/%s", data_dir, name);
    buf_append_char(&path, '\0');
    return path.data;
}

static int write_file(struct disk *disk, const char *path, const char *text, struct err *err)
{
    struct iovec bytes = {(char *)text, strlen(text)};
    int fd = disk->open(disk, path, O_WRONLY | O_CREAT | O_TRUNC);
    int code;

    if (fd < 0)
        return err_system(err, -fd, "open %s", path);
    code = disk->write(disk, fd, &bytes, 1, 0);
    if (code == 0)
        code = disk->sync(disk, fd);
    if (disk->close(disk, fd) < 0 && code == 0)
        code = -EIO;
    return code < 0 ? err_system(err, -code, "write %s", path) : 0;
}

static int replace(struct disk *disk, const char *data_dir, const char *text, struct err *err)
{
    char *path = path_of(data_dir, NAME);
    char *draft = path_of(data_dir, NAME ".new");
    int code = write_file(disk, draft, text, err);

    if (code == 0) {
        int number = disk->rename(disk, draft, path);

        if (number == 0)
            number = disk->sync_dir(disk, data_dir);
        if (number < 0)
            code = err_system(err, -number, "replace %s", path);
    }
    free(draft);
    free(path);
    return code;
}

int jwks_save(struct disk *disk, const char *data_dir, const char *url, struct slice jwks,
              int64_t fetched_us, struct err *err)
{
    json_t *set = json_loadb(jwks.at, jwks.len, JSON_REJECT_DUPLICATES, NULL);
    char when[CLOCK_TEXT_SIZE];
    json_t *kept;
    char *text;
    int code;

    clock_format(when, fetched_us);
    kept = json_pack("{s:s, s:s, s:O}", "url", url, "fetched", when, "keys",
                     json_object_get(set, "keys"));
    text = json_dumps(kept, JSON_COMPACT);
    code = text != NULL ? replace(disk, data_dir, text, err)
                        : err_set(err, ERR_INVALID, "the key set cannot be written down");
    free(text);
    json_decref(kept);
    json_decref(set);
    return code;
}

static int read_file(struct disk *disk, const char *path, struct buf *out, struct err *err)
{
    int fd = disk->open(disk, path, O_RDONLY);
    int64_t size, got;

    if (fd < 0)
        return err_system(err, -fd, "open %s", path);
    size = disk->size(disk, fd);
    if (size > MOST_BYTES) {
        disk->close(disk, fd);
        return err_set(err, ERR_CORRUPT, "%s is too large", path);
    }
    got = size < 0 ? size : disk->read(disk, fd, buf_reserve(out, (size_t)size), (size_t)size, 0);
    disk->close(disk, fd);
    if (got < 0)
        return err_system(err, (int)-got, "read %s", path);
    out->len = (size_t)got;
    return 0;
}

static int read_set(const json_t *kept, const char *path, const char *url, struct auth_keys **ret,
                    int64_t *ret_fetched_us, struct err *err)
{
    const char *when = json_string_value(json_object_get(kept, "fetched"));
    const char *from = json_string_value(json_object_get(kept, "url"));
    int64_t fetched_us;

    if (from == NULL || when == NULL || !clock_parse(slice_of(when), &fetched_us))
        return err_set(err, ERR_CORRUPT, "%s is not a key set that was kept", path);
    if (strcmp(from, url) != 0)
        return err_set(err, ERR_CONFLICT, "%s came from another URL", path);
    if (auth_keys_read(kept, false, ret, err) != 0) {
        err_wrap(err, "%s", path);
        return ERR_CORRUPT;
    }
    *ret_fetched_us = fetched_us;
    return 0;
}

int jwks_load(struct disk *disk, const char *data_dir, const char *url, struct auth_keys **ret,
              int64_t *ret_fetched_us, struct err *err)
{
    char *path = path_of(data_dir, NAME);
    struct buf text = {0};
    json_t *kept;
    int code = read_file(disk, path, &text, err);

    if (code == 0) {
        kept = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
        code = read_set(kept, path, url, ret, ret_fetched_us, err);
        json_decref(kept);
    }
    buf_free(&text);
    free(path);
    return code;
}
