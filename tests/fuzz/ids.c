/*
 * Any bytes as a file of client ids: opening and reading it never crashes, and remembers no more
 * than it holds. With flag 1 in the first byte the header is made from the input's, with flag 2 the
 * entries get their checksums: else almost no input would pass one.
 */
#include "base/log.h"
#include "base/mem.h"
#include "queue/queue_ids_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEADER_MENDED = 1, ENTRIES_MENDED = 2, ROOM = 64 };

static const char node[WAL_NODE_LEN] = {'f', 'u', 'z', 'z', 'n', 'o', 'd', 'e'};

/* A disk of one file that can only be read. */
struct memory {
    struct disk disk;
    char *bytes;
    size_t len;
    uint64_t name;
};

static int memory_open(struct disk *disk, const char *path, int flags)
{
    (void)disk;
    (void)path;
    return flags == 0 ? 3 : -EROFS;
}

static int memory_close(struct disk *disk, int fd)
{
    (void)disk;
    (void)fd;
    return 0;
}

static int64_t memory_read(struct disk *disk, int fd, void *bytes, size_t len, uint64_t offset)
{
    const struct memory *memory = (struct memory *)disk;
    size_t some = offset < memory->len ? memory->len - (size_t)offset : 0;

    (void)fd;
    if (some > len)
        some = len;
    if (some > 0)
        memcpy(bytes, memory->bytes + offset, some);
    return (int64_t)some;
}

static int memory_list(struct disk *disk, const char *path,
                       void (*each)(void *arg, const char *name), void *arg)
{
    char name[32];

    (void)path;
    snprintf(name, sizeof name, "%020llu.ids", (unsigned long long)((struct memory *)disk)->name);
    each(arg, name);
    return 0;
}

static void mend(char *bytes, size_t len, uint8_t flags)
{
    struct id_file file = {0};

    if (len < ID_HEADER)
        return;
    memcpy(&file.from, bytes + 16, 8);
    memcpy(&file.to, bytes + 24, 8);
    memcpy(&file.stored, bytes + 32, 8);
    memcpy(&file.seed, bytes + 40, 8);
    memcpy(&file.at_from, bytes + 48, 16);
    memcpy(&file.at_to, bytes + 64, 16);
    if ((flags & HEADER_MENDED) != 0)
        id_header_write(bytes, &file, node);
    for (size_t at = ID_HEADER; (flags & ENTRIES_MENDED) != 0 && len - at >= ID_ENTRY;
         at += ID_ENTRY) {
        struct id_entry entry;

        memcpy(&entry, bytes + at, sizeof entry);
        if ((bytes[at] & 7) != 0) /* else it stays broken */
            id_entry_write(bytes + at, &entry, file.seed);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct memory memory = {
        .disk = {
            .open = memory_open, .close = memory_close, .read = memory_read, .list = memory_list}};
    struct id_files_options options = {
        .disk = &memory.disk, .dir = "ids", .capacity = ROOM, .window_s = 3600, .read_only = true};
    struct ids *ids = ids_open(ROOM, 3600);
    struct id_files *files;
    struct err err = {0};

    log_open((enum log_level)(LOG_ERROR + 1), false);
    if (size > 3) {
        memcpy(options.node, node, sizeof node);
        memory.len = size - 3;
        memory.bytes = mem_alloc(memory.len);
        memory.name = data[1];
        memcpy(memory.bytes, data + 3, memory.len);
        mend(memory.bytes, memory.len, data[0]);
        if (id_files_open(&options, &files, &err) == 0) {
            if (id_files_load(files, data[2], ids, &err) != 0)
                abort(); /* this disk gives what it has */
            if (ids_count(ids) > memory.len / ID_ENTRY)
                abort();
            ids_loaded(ids);
            ids_pass(ids, ID_CLOCK_MAX);
            id_files_close(files);
        } else if (err.text[0] == '\0') {
            abort();
        }
        free(memory.bytes);
    }
    ids_close(ids);
    return 0;
}
