/*
 * This node's name: 40 random bits in a file, made once. It is part of every transaction id
 * and of every segment, and the key of the cursor in the store.
 */
#include "queue/queue_priv.h"

#include "base/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>

static int read_node(struct disk *disk, const char *path, char ret[TXN_NODE_SIZE], struct err *err)
{
    char text[32];
    char id[TXN_ID_SIZE];
    uint64_t position;
    int64_t got;
    int fd = disk->open(disk, path, O_RDONLY);

    if (fd < 0)
        return err_system(err, -fd, "open %s", path);
    got = disk->read(disk, fd, text, sizeof text, 0);
    disk->close(disk, fd);
    if (got < 0)
        return err_system(err, (int)-got, "read %s", path);
    if (got == TXN_NODE_SIZE && text[TXN_NODE_SIZE - 1] == '\n') {
        /* A name is good if an id can be made of it. */
        snprintf(id, sizeof id, "%.8s000000000000", text);
        if (txn_id_parse(slice_of(id), ret, &position))
            return 0;
    }
    return err_set(err, ERR_CORRUPT, "%s holds no node name", path);
}

static int make_node(struct disk *disk, const char *path, char ret[TXN_NODE_SIZE], struct err *err)
{
    char text[TXN_NODE_SIZE];
    uint64_t random;

    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return err_set(err, ERR_IO, "no random numbers to be had");
    txn_node_format(text, random);
    memcpy(ret, text, TXN_NODE_SIZE);
    text[TXN_NODE_SIZE - 1] = '\n';
    return file_replace(disk, path, (struct slice){text, sizeof text}, NULL, err);
}

int node_load(struct disk *disk, const char *data_dir, bool read_only, char ret[TXN_NODE_SIZE],
              bool *ret_made, struct err *err)
{
    char path[4160];
    int code;

    snprintf(path, sizeof path, "%s/node", data_dir);
    code = read_node(disk, path, ret, err);
    *ret_made = code == ERR_NOT_FOUND && !read_only;
    if (*ret_made)
        code = make_node(disk, path, ret, err);
    return code;
}
