/*
 * The files of the keyring.
 *
 * keys.json is read whole and must make sense to its last byte: a damaged file, or one that
 * others may use, stops the start, for running on without some keys, or with somebody else's,
 * would be worse. It is written beside its place, brought to disk and renamed, so a reader finds
 * the old keys or the new ones. operator.key is as old as the engine that runs.
 */
#include "auth/auth_apikeys_priv.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEYS_FILE "keys.json"
#define OPERATOR_FILE "operator.key"

enum { VERSION = 1 };

static char *path_in(const char *folder, const char *name)
{
    struct buf path = {0};

    buf_printf(&path, "%s/%s", folder, name);
    buf_append_char(&path, '\0');
    return path.data;
}

static int check_file(int fd, const char *path, size_t most_bytes, struct err *err)
{
    struct stat about;

    if (fstat(fd, &about) != 0)
        return err_system(err, errno, "read %s", path);
    if (!S_ISREG(about.st_mode) || (uint64_t)about.st_size > most_bytes)
        return err_set(err, ERR_INVALID, "%s is no file of at most %zu bytes", path, most_bytes);
    if ((about.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return err_set(err, ERR_INVALID, "%s may be used by others; chmod 600 it", path);
    return 0;
}

/* ERR_NOT_FOUND if there is no file. */
static int read_file(const char *path, size_t most_bytes, struct buf *out, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    ssize_t got = 1;
    int rc;

    if (fd < 0)
        return err_system(err, errno, "open %s", path);
    rc = check_file(fd, path, most_bytes, err);
    while (rc == 0 && got > 0 && out->len <= most_bytes) {
        got = read(fd, buf_reserve(out, 65536), 65536);
        if (got < 0)
            rc = err_system(err, errno, "read %s", path);
        else
            out->len += (size_t)got;
    }
    close(fd);
    return rc;
}

static int parse(struct slice text, const char *path, json_t **ret, struct err *err)
{
    json_error_t fault;
    json_t *whole = json_loadb(text.at, text.len, JSON_REJECT_DUPLICATES, &fault);
    json_t *keys = json_object_get(whole, "keys");
    json_int_t version = json_integer_value(json_object_get(whole, "version"));
    int rc = 0;

    if (whole == NULL)
        rc = err_set(err, ERR_CORRUPT, "%s is damaged: line %d is no JSON", path, fault.line);
    else if (version > VERSION)
        rc = err_set(err, ERR_UNSUPPORTED, "%s is of a newer version", path);
    else if (version != VERSION || !json_is_array(keys))
        rc = err_set(err, ERR_CORRUPT, "%s is damaged: it has no version and keys", path);
    else
        *ret = json_incref(keys);
    json_decref(whole);
    return rc;
}

int keyring_read(const char *folder, size_t most_bytes, json_t **ret, struct err *err)
{
    char *path = path_in(folder, KEYS_FILE);
    struct buf text = {0};
    struct err fault = {0};
    int rc = read_file(path, most_bytes, &text, &fault);

    if (rc == ERR_NOT_FOUND) {
        *ret = json_array();
        rc = 0;
    } else if (rc == 0) {
        rc = parse(buf_slice(&text), path, ret, &fault);
    }
    if (rc != 0 && err != NULL)
        *err = fault;
    buf_free(&text);
    free(path);
    return rc;
}

int keyring_write(struct disk *disk, const char *folder, json_t *keys, bool *ret_replaced,
                  struct err *err)
{
    json_t *whole = json_pack("{s:i, s:O}", "version", VERSION, "keys", keys);
    char *text = json_dumps(whole, JSON_INDENT(1));
    char *path = path_in(folder, KEYS_FILE);
    int rc;

    if (text == NULL)
        abort(); /* as mem_alloc(): all that can fail here is memory */
    rc = file_replace(disk, path, slice_of(text), ret_replaced, err);
    free(path);
    free(text);
    json_decref(whole);
    return rc;
}

int keyring_write_operator(const char *folder, const char *text, struct err *err)
{
    char *path = path_in(folder, OPERATOR_FILE);
    size_t len = strlen(text);
    int rc = 0;
    int fd;

    unlink(path); /* of an engine that was killed */
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    errno = fd < 0 ? errno : EIO; /* for a short write, which sets none */
    if (fd < 0 || write(fd, text, len) != (ssize_t)len)
        rc = err_system(err, errno, "write %s", path);
    if (fd >= 0)
        close(fd);
    free(path);
    return rc;
}

void keyring_remove_operator(const char *folder)
{
    char *path = path_in(folder, OPERATOR_FILE);

    unlink(path);
    free(path);
}

int auth_operator_key(const char *data_dir, char ret[AUTH_KEY_SIZE], struct err *err)
{
    char *path = path_in(data_dir, OPERATOR_FILE);
    struct buf text = {0};
    int rc = read_file(path, AUTH_KEY_SIZE, &text, err);

    if (rc == 0 && !apikey_has_form(buf_slice(&text)))
        rc = err_set(err, ERR_CORRUPT, "%s holds no key", path);
    if (rc == 0) {
        memcpy(ret, text.data, AUTH_KEY_SIZE - 1);
        ret[AUTH_KEY_SIZE - 1] = '\0';
    }
    buf_free(&text);
    free(path);
    return rc;
}
