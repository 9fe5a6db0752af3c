/*
 * The key of the pseudonyms: 32 random bytes in <data_dir>/pseudonym.key.
 *
 * If there is no file, one of another name is written, brought to disk, and linked to its own
 * name, which fails if a second process was faster: then that one's key is used. So nobody
 * ever reads half a key, and a key that was once used is never replaced. A file that others
 * may read is refused: with it, everybody's pseudonym can be worked out.
 */
#include "users/users_priv.h"

#include "base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_FILE "pseudonym.key"

static int check_file(int fd, const char *path, struct err *err)
{
    struct stat about;

    if (fstat(fd, &about) != 0)
        return err_system(err, errno, "read %s", path);
    if (!S_ISREG(about.st_mode) || about.st_size != USERS_KEY_SIZE)
        return err_set(err, ERR_INVALID, "%s is not a key of %d bytes", path, USERS_KEY_SIZE);
    if ((about.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return err_set(err, ERR_INVALID, "%s may be used by others; chmod 600 it", path);
    return 0;
}

/* ERR_NOT_FOUND if there is no file. */
static int read_key(const char *path, unsigned char ret[USERS_KEY_SIZE], struct err *err)
{
    unsigned char key[USERS_KEY_SIZE];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int code;

    if (fd < 0)
        return err_system(err, errno, "open %s", path);
    code = check_file(fd, path, err);
    if (code == 0 && read(fd, key, sizeof key) != sizeof key)
        code = err_set(err, ERR_IO, "read %s", path);
    close(fd);
    if (code == 0)
        memcpy(ret, key, sizeof key);
    OPENSSL_cleanse(key, sizeof key);
    return code;
}

static int write_key(int fd, const char *path, struct err *err)
{
    unsigned char key[USERS_KEY_SIZE];
    int code = 0;

    errno = EIO; /* for a short write, which sets none */
    if (getrandom(key, sizeof key, 0) != sizeof key || write(fd, key, sizeof key) != sizeof key ||
        fsync(fd) != 0)
        code = err_system(err, errno, "write %s", path);
    OPENSSL_cleanse(key, sizeof key);
    return code;
}

static int sync_folder(const char *folder, struct err *err)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int code = 0;

    if (fd < 0)
        return err_system(err, errno, "open %s", folder);
    if (fsync(fd) != 0)
        code = err_system(err, errno, "sync %s", folder);
    close(fd);
    return code;
}

/* Makes the file, unless somebody else just did. */
static int make_key(const char *folder, const char *path, struct err *err)
{
    struct buf draft = {0};
    int code;
    int fd;

    buf_printf(&draft, "%s/." KEY_FILE ".XXXXXX", folder);
    *buf_reserve(&draft, 1) = '\0';
    fd = mkostemp(draft.data, O_CLOEXEC); /* mode 0600 */
    if (fd < 0) {
        code = err_system(err, errno, "make %s", path);
        goto free_draft;
    }
    code = write_key(fd, draft.data, err);
    close(fd);
    if (code == 0 && link(draft.data, path) != 0 && errno != EEXIST)
        code = err_system(err, errno, "make %s", path);
    unlink(draft.data);
    if (code == 0)
        code = sync_folder(folder, err);
free_draft:
    buf_free(&draft);
    return code;
}

int users_key(const char *data_dir, unsigned char ret[USERS_KEY_SIZE], struct err *err)
{
    struct buf path = {0};
    int code;

    buf_printf(&path, "%s/" KEY_FILE, data_dir);
    *buf_reserve(&path, 1) = '\0';
    code = read_key(path.data, ret, err);
    if (code == ERR_NOT_FOUND) {
        code = make_key(data_dir, path.data, err);
        if (code == 0)
            code = read_key(path.data, ret, err);
    }
    buf_free(&path);
    return code;
}
