/*
 * What the parts of the failing disk share: files are inodes with two contents, seen and
 * durable, and a mark a sector that differs; names are two lists, seen and durable, and the
 * changes that lie between them. One lock over all.
 */
#ifndef SUPPORT_FAULT_DISK_PRIV_H
#define SUPPORT_FAULT_DISK_PRIV_H

#include "support/fault_disk.h"

#include <pthread.h>

enum { SECTOR = 512, FDS = 1024, FIRST_FD = 100 };

struct inode {
    struct inode *next; /* all that ever were */
    bool folder;
    char *seen, *durable;
    bool *dirty; /* per sector of `seen` */
    size_t size, durable_size, room;
};

struct name {
    char *path;
    struct inode *inode;
};

struct names {
    struct name *list;
    size_t count;
};

/* One change of names: `from` gone if it is set, `to` there if it is set. */
struct change {
    struct change *next;
    char *from, *to;
    struct inode *inode;
};

struct fault {
    char *where;
    unsigned skip, times, failed;
    int number;
    bool held;
    const char *held_where;
    unsigned waiting;
    uint64_t calls;
};

struct fault_disk {
    struct disk disk;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct inode *inodes;
    struct names seen, durable;
    struct change *changes;
    struct inode *fds[FDS];
    struct fault faults[FAULT_OPS];
    uint64_t random, limit, change_count, crash_at;
    bool crashed;
};

extern const struct disk fault_disk_calls_table; /* fault_disk_calls.c */

/* fault_disk_files.c; the lock is held. */
uint64_t fault_pick(struct fault_disk *faults, uint64_t below);
struct name *fault_find(struct names *names, const char *path);
bool fault_is_in(const char *path, const char *folder);
void fault_apply(struct names *names, const struct change *change);
void fault_change_names(struct fault_disk *faults, const char *from, const char *to,
                        struct inode *inode);
void fault_change_free(struct change *change);
struct inode *fault_inode_new(struct fault_disk *faults, bool folder);
void fault_mark(struct inode *inode, uint64_t from, uint64_t to);
void fault_resize(struct inode *inode, size_t size);
void fault_cut_power(struct fault_disk *faults);
void fault_free_files(struct fault_disk *faults);

#endif
