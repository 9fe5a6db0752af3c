/*
 * The disk as an argument: the few calls that the log makes, in a table, so that tests
 * can hand it faults (a full device, a failed sync, a torn write, a crash).
 *
 * All calls return a value >= 0 or a negative errno. Paths are NUL-terminated. The real
 * disk may be used by any thread; an implementation gets itself as first argument.
 */
#ifndef BASE_DISK_H
#define BASE_DISK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct disk {
    int (*open)(struct disk *disk, const char *path, int flags); /* mode 0600 when it creates */
    int (*close)(struct disk *disk, int fd);
    int64_t (*size)(struct disk *disk, int fd);
    /* Reads up to len bytes; fewer only at the end of the file. */
    int64_t (*read)(struct disk *disk, int fd, void *bytes, size_t len, uint64_t offset);
    /* Writes all of it or fails; may change the vector. */
    int (*write)(struct disk *disk, int fd, struct iovec *vector, size_t count, uint64_t offset);
    int (*sync)(struct disk *disk, int fd);                   /* data and size; tries once */
    int (*allocate)(struct disk *disk, int fd, uint64_t len); /* blocks for [0, len) */
    int (*truncate)(struct disk *disk, int fd, uint64_t len);
    int (*uncache)(struct disk *disk, int fd); /* a hint: what is durable of it need not be kept in
                                                * memory */
    int (*rename)(struct disk *disk, const char *from, const char *to);
    int (*unlink)(struct disk *disk, const char *path);
    int (*make_dir)(struct disk *disk, const char *path); /* mode 0700; there already: 0 */
    int (*sync_dir)(struct disk *disk, const char *path);
    /* Calls each() with every name in the folder but "." and "..". */
    int (*list)(struct disk *disk, const char *path, void (*each)(void *arg, const char *name),
                void *arg);
};

/* The operating system's. */
extern struct disk disk_real;

/* A file that root has just made goes to the owner of its folder, as far as the system lets it: a
 * command that root runs would leave what the engine's own user cannot open. disk_real does so for
 * O_EXCL; an older file may be a link to anywhere, which is not to be given away. */
void disk_hand_over(int fd, const char *path);

#endif
