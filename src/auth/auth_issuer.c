/*
 * The development issuer's key file.
 *
 * The key is read from <data_dir>/development-key.pem. If there is none, one is made in a
 * file of another name, brought to disk, and linked to its own name, which fails if a
 * second process was faster: then that one's key is used and ours forgotten. So every
 * process that opens the folder has the same key, and nobody ever reads half of it.
 * Anybody who can read the file can write as any backend, so a file that others may read
 * is refused.
 */
#include "auth/auth_issuer_priv.h"

#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_FILE "development-key.pem"
#define KEY_BITS 2048
#define MOST_BYTES 65536

/* A PEM file with a password is refused; OpenSSL would ask the terminal for it. */
static int no_password(char *out, int size, int writing, void *arg)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static int check_file(int fd, const char *path, struct err *err)
{
    struct stat about;

    if (fstat(fd, &about) != 0)
        return err_system(err, errno, "read %s", path);
    if (!S_ISREG(about.st_mode) || about.st_size > MOST_BYTES)
        return err_set(err, ERR_INVALID, "%s is not a key file", path);
    if ((about.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return err_set(err, ERR_INVALID, "%s may be used by others; chmod 600 it", path);
    return 0;
}

/* ERR_NOT_FOUND if there is no file. */
static int read_key(const char *path, EVP_PKEY **ret, struct err *err)
{
    EVP_PKEY *key;
    FILE *file;
    int rc;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return err_system(err, errno, "open %s", path);
    rc = check_file(fd, path, err);
    if (rc != 0) {
        close(fd);
        return rc;
    }
    file = fdopen(fd, "r");
    if (file == NULL) {
        rc = err_system(err, errno, "open %s", path);
        close(fd);
        return rc;
    }
    key = PEM_read_PrivateKey(file, NULL, no_password, NULL);
    fclose(file);
    if (key == NULL || !EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_get_bits(key) < KEY_BITS) {
        EVP_PKEY_free(key);
        return err_set(err, ERR_INVALID, "%s holds no RSA key of %d bits; remove it for a new one",
                       path, KEY_BITS);
    }
    *ret = key;
    return 0;
}

/* Makes the file, unless somebody else just did. */
static int make_key(const char *path, struct err *err)
{
    EVP_PKEY *key = EVP_RSA_gen(KEY_BITS);
    BIO *memory = BIO_new(BIO_s_secmem());
    char *text;
    long len;
    int rc;

    if (key == NULL || memory == NULL ||
        PEM_write_bio_PKCS8PrivateKey(memory, key, NULL, NULL, 0, NULL, NULL) != 1) {
        rc = err_set(err, ERR_IO, "OpenSSL makes no RSA key");
    } else {
        len = BIO_get_mem_data(memory, &text);
        rc = file_make(path, (struct slice){text, (size_t)len}, err);
    }
    BIO_free(memory); /* wipes it */
    EVP_PKEY_free(key);
    return rc;
}

int auth_issuer_open(const char *data_dir, struct auth_issuer **ret, struct err *err)
{
    struct buf path = {0};
    EVP_PKEY *key = NULL;
    int rc;

    buf_printf(&path, "%s/" KEY_FILE, data_dir);
    *buf_reserve(&path, 1) = '\0';
    rc = read_key(path.data, &key, err);
    if (rc == ERR_NOT_FOUND) {
        rc = make_key(path.data, err);
        if (rc == 0)
            rc = read_key(path.data, &key, err);
    }
    buf_free(&path);
    if (rc != 0)
        return rc;
    rc = auth_issuer_of_key(key, ret, err);
    EVP_PKEY_free(key);
    return rc;
}
