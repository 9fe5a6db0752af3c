/*
 * What the files of client ids are made of; see docs/disk-format.md, "Client ids".
 */
#ifndef QUEUE_IDS_PRIV_H
#define QUEUE_IDS_PRIV_H

#include "queue/queue_priv.h"

#include <stdatomic.h>

enum { ID_HEADER = 96, ID_ENTRY = 28, ID_VERSION = 2, ID_PATH = 4160 };

struct id_file {
    uint64_t name;     /* position behind its last segment, as in its name */
    uint64_t from, to; /* the stretch of positions that it is used for */
    uint64_t stored;   /* entries on disk */
    uint64_t count;    /* whole ones, as far as known */
    uint64_t seed;
    bool whole; /* its header is */
    struct id_clock at_from, at_to;
};

/* queue_id_format.c: the codec. */
void id_header_write(char out[ID_HEADER], const struct id_file *file,
                     const char node[WAL_NODE_LEN]);
/* Fills in all but `name`. ERR_CORRUPT, ERR_UNSUPPORTED. */
MUST_CHECK int id_header_read(const char in[ID_HEADER], const char node[WAL_NODE_LEN],
                              struct id_file *ret, struct err *err);
void id_entry_write(char out[ID_ENTRY], const struct id_entry *entry, uint64_t seed);
bool id_entry_read(const char in[ID_ENTRY], uint64_t seed, struct id_entry *ret);

struct id_files {
    struct id_files_options options;
    char *dir;
    uint64_t seed;
    struct id_file *list; /* oldest first */
    size_t count, room;
    bool reserved;
    struct id_clock clock; /* at the segment that is the next to go, or in it */
    uint64_t next_from;    /* where that one begins */

    /* The file that is being written. */
    bool writing;
    int fd;
    struct buf out; /* entries that are not written yet */
    struct id_file file;
    bool takes_up; /* the last one of the list */
    int fault;     /* the first one; an err_code */
    struct err fault_words;
    struct id_clock began; /* the clock where the segment begins */

    atomic_uint_fast64_t stat_files, stat_ids, stat_bytes, stat_damaged;
};

/* queue_id_files.c, for queue_id_write.c */
void id_files_path(const struct id_files *files, uint64_t name, char out[ID_PATH]);
void id_files_beside(const struct id_files *files, const char *name, char out[ID_PATH]);
void id_files_add(struct id_files *files, const struct id_file *file);
void id_files_prune(struct id_files *files);
void id_files_reserve(struct id_files *files);
void id_files_tell(struct id_files *files);

typedef void id_visitor(struct id_files *files, void *arg, const struct id_entry *entry);
/* The whole entries of a file that stand before its `to`, in order. *ret_lost: those that are not
 * whole; all of them if the file is gone. An error when the disk does not give them: some may have
 * been visited, and it may pass. */
MUST_CHECK int id_files_each(struct id_files *files, const struct id_file *file, id_visitor *each,
                             void *arg, uint64_t *ret_lost, struct err *err);
/* Says and counts those that were not known to be lost. */
void id_files_lost(struct id_files *files, struct id_file *file, uint64_t lost);

#endif
