/*
 * The key of the pseudonyms: 32 random bytes in <data_dir>/pseudonym.key.
 *
 * It is made once (file_make()): if a second process was faster, that one's key is used. So nobody
 * ever reads half a key, and a key that was once used is never replaced. A file that others
 * may read is refused: with it, everybody's pseudonym can be worked out.
 */
#include "users/users_priv.h"

#include "base/buf.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
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

static int make_key(const char *path, struct err *err)
{
    unsigned char key[USERS_KEY_SIZE];
    int code;

    if (getrandom(key, sizeof key, 0) != sizeof key)
        return err_set(err, ERR_IO, "no random numbers to be had");
    code = file_make(path, (struct slice){(const char *)key, sizeof key}, err);
    OPENSSL_cleanse(key, sizeof key);
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
        code = make_key(path.data, err);
        if (code == 0)
            code = read_key(path.data, ret, err);
    }
    buf_free(&path);
    return code;
}
