/*
 * Client ids on disk: the log keeps the ids of the transactions that it still has, these files
 * those of segments that were recycled. Together they are what the memory of ids is made of
 * after a restart. The bytes are drawn in docs/disk-format.md, "Client ids".
 *
 * Happy path: before a segment is recycled its ids are written to a new file, which is synced
 * and named; only then may the segment go. A small file is taken up into the next one, so that
 * segments without ids do not leave a file each. Files whose ids the window has passed go.
 *
 * What can go wrong: the disk is full: then what was set aside for that is used, and if that is
 * too little, the segment goes without a file, with a line in the log (or the queue could never
 * free a disk that it has filled itself). Another fault: the segment stays, and is tried again.
 * A file that is damaged or gone: what is whole is used, and a line says which ids are not known.
 * A file that the disk does not give, which may pass: a start ends with that error, for what is
 * not known would be stored again; later it stays as it is, and the next one stands beside it.
 */
#include "queue/queue_ids_priv.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum { NAME_DIGITS = 20, CHUNK = 64 * 1024 };

void id_files_path(const struct id_files *files, uint64_t name, char out[ID_PATH])
{
    snprintf(out, ID_PATH, "%s/%020" PRIu64 ".ids", files->dir, name);
}

void id_files_beside(const struct id_files *files, const char *name, char out[ID_PATH])
{
    snprintf(out, ID_PATH, "%s/%s", files->dir, name);
}

void id_files_add(struct id_files *files, const struct id_file *file)
{
    if (files->count == files->room) {
        files->room = files->room == 0 ? 16 : files->room * 2;
        files->list = mem_realloc(files->list, files->room * sizeof *files->list);
    }
    files->list[files->count++] = *file;
}

void id_files_tell(struct id_files *files)
{
    uint64_t ids = 0;
    uint64_t bytes = files->reserved ? files->options.reserve_bytes : 0;

    for (size_t i = 0; i < files->count; i++) {
        ids += files->list[i].count;
        bytes += ID_HEADER + files->list[i].stored * ID_ENTRY;
    }
    atomic_store_explicit(&files->stat_files, files->count, memory_order_relaxed);
    atomic_store_explicit(&files->stat_ids, ids, memory_order_relaxed);
    atomic_store_explicit(&files->stat_bytes, bytes, memory_order_relaxed);
}

/* Removes the first `gone` files of the list, and from the disk. */
static void remove_first(struct id_files *files, size_t gone)
{
    struct disk *disk = files->options.disk;
    char path[ID_PATH];

    for (size_t i = 0; i < gone && !files->options.read_only; i++) {
        id_files_path(files, files->list[i].name, path);
        disk->unlink(disk, path);
    }
    files->count -= gone;
    memmove(files->list, files->list + gone, files->count * sizeof *files->list);
}

/* The newest file stays: it holds the key and the clock. */
void id_files_prune(struct id_files *files)
{
    uint32_t now_s = (uint32_t)(files->clock.elapsed_us / 1000000);
    uint64_t newer = 0;
    size_t first = files->count;

    while (first > 0) {
        const struct id_file *file = &files->list[first - 1];
        bool aged = id_is_aged(now_s, (uint32_t)(file->at_to.elapsed_us / 1000000),
                               files->options.window_s);

        if (first < files->count && (newer >= files->options.capacity || aged))
            break;
        newer += file->count;
        first--;
    }
    remove_first(files, first);
}

static void note_name(void *arg, const char *name)
{
    struct id_files *files = arg;
    struct id_file file = {0};
    char path[ID_PATH];

    id_files_beside(files, name, path);
    if (strlen(name) == NAME_DIGITS + 4 && strspn(name, "0123456789") == NAME_DIGITS &&
        strcmp(name + NAME_DIGITS, ".ids") == 0) {
        file.name = file.to = file.from = strtoull(name, NULL, 10);
        id_files_add(files, &file);
    } else if (strcmp(name, "new") == 0 && !files->options.read_only) {
        files->options.disk->unlink(files->options.disk, path);
    } else if (strcmp(name, "reserve") == 0) {
        files->reserved = true;
    }
}

static int by_end(const void *a, const void *b)
{
    const struct id_file *left = a;
    const struct id_file *right = b;

    return (left->name > right->name) - (left->name < right->name);
}

/* What stops the start: a disk that does not give the bytes, and ERR_UNSUPPORTED: a newer program
 * knows these ids. */
static int read_file_header(struct id_files *files, struct id_file *file, struct err *err)
{
    struct disk *disk = files->options.disk;
    char bytes[ID_HEADER];
    char path[ID_PATH];
    struct err words;
    int64_t got;
    int fd, code;

    id_files_path(files, file->name, path);
    fd = disk->open(disk, path, O_RDONLY);
    got = fd < 0 ? fd : disk->read(disk, fd, bytes, sizeof bytes, 0);
    if (fd >= 0)
        disk->close(disk, fd);
    if (got < 0 && got != -ENOENT)
        return err_system(err, (int)-got, "read %s", path);
    if (got < 0)
        code = err_set(&words, ERR_NOT_FOUND, "%s is gone", path);
    else if (got < ID_HEADER)
        code = err_set(&words, ERR_CORRUPT, "%s has no whole header", path);
    else if ((code = id_header_read(bytes, files->options.node, file, &words)) != 0)
        err_wrap(&words, "%s", path);
    if (code == ERR_UNSUPPORTED)
        return err_set(err, code, "%s", words.text);
    if (code != 0) {
        atomic_fetch_add(&files->stat_damaged, 1);
        log_error("queue", "client ids are lost, repeats of them would be stored again: %s",
                  words.text);
    }
    file->whole = code == 0;
    return 0;
}

static int read_list(struct id_files *files, struct err *err)
{
    struct disk *disk = files->options.disk;
    int code = disk->list(disk, files->dir, note_name, files);

    if (code < 0)
        return files->options.read_only && code == -ENOENT
                   ? 0
                   : err_system(err, -code, "list %s", files->dir);
    if (files->count > 0)
        qsort(files->list, files->count, sizeof *files->list, by_end);
    for (size_t i = 0; i < files->count; i++) {
        struct id_file *file = &files->list[i];

        if ((code = read_file_header(files, file, err)) != 0)
            return code;
        if (!file->whole && i > 0) /* it goes with those around it */
            file->at_to = files->list[i - 1].at_to;
        if (file->whole)
            files->seed = file->seed;
    }
    return 0;
}

/* Room that another file can have when the disk is full. */
void id_files_reserve(struct id_files *files)
{
    struct disk *disk = files->options.disk;
    char path[ID_PATH];
    int fd;

    if (files->reserved || files->options.read_only)
        return;
    id_files_beside(files, "reserve", path);
    fd = disk->open(disk, path, O_RDWR | O_CREAT | O_TRUNC);
    if (fd < 0)
        return;
    files->reserved = disk->allocate(disk, fd, files->options.reserve_bytes) >= 0;
    disk->close(disk, fd);
    if (!files->reserved)
        disk->unlink(disk, path);
}

int id_files_open(const struct id_files_options *options, struct id_files **ret, struct err *err)
{
    struct id_files *files = mem_zalloc(sizeof *files);
    struct disk *disk = options->disk;
    int code = 0;

    files->options = *options;
    files->dir = mem_strdup(options->dir);
    files->fd = -1;
    /* Durable in the data directory when the log's folder is, which is made next. */
    if (!options->read_only && (code = disk->make_dir(disk, files->dir)) < 0)
        code = err_system(err, -code, "make %s", files->dir);
    if (code != 0 || (code = read_list(files, err)) != 0) {
        id_files_close(files);
        return code;
    }
    if (files->seed == 0 && getrandom(&files->seed, sizeof files->seed, 0) != sizeof files->seed)
        files->seed = (uint64_t)(uintptr_t)files; /* guessable, still correct */
    files->seed |= 1;
    id_files_reserve(files);
    id_files_tell(files);
    *ret = files;
    return 0;
}

void id_files_close(struct id_files *files)
{
    if (files == NULL)
        return;
    if (files->fd >= 0)
        files->options.disk->close(files->options.disk, files->fd);
    buf_free(&files->out);
    free(files->list);
    free(files->dir);
    free(files);
}

uint64_t id_files_seed(const struct id_files *files)
{
    return files->seed;
}

int id_files_each(struct id_files *files, const struct id_file *file, id_visitor *each, void *arg,
                  uint64_t *ret_lost, struct err *err)
{
    struct disk *disk = files->options.disk;
    char *chunk = mem_alloc(CHUNK / ID_ENTRY * ID_ENTRY);
    uint64_t read = 0;
    uint64_t whole = 0;
    char path[ID_PATH];
    int64_t got;
    int fd;

    id_files_path(files, file->name, path);
    got = fd = disk->open(disk, path, O_RDONLY);
    while (fd >= 0 && read < file->stored) {
        uint64_t left = file->stored - read;
        size_t count = left < CHUNK / ID_ENTRY ? (size_t)left : CHUNK / ID_ENTRY;

        got = disk->read(disk, fd, chunk, count * ID_ENTRY, ID_HEADER + read * ID_ENTRY);
        if (got < ID_ENTRY)
            break;
        for (size_t i = 0; i < (size_t)got / ID_ENTRY; i++) {
            struct id_entry entry;

            if (!id_entry_read(chunk + i * ID_ENTRY, file->seed, &entry))
                continue;
            whole++;
            if (entry.position < file->to) /* else it is in the log again */
                each(files, arg, &entry);
        }
        read += (uint64_t)got / ID_ENTRY;
    }
    if (fd >= 0)
        disk->close(disk, fd);
    free(chunk);
    if (got < 0 && got != -ENOENT)
        return err_system(err, (int)-got, "read %s", path);
    *ret_lost = file->stored - whole;
    return 0;
}

void id_files_lost(struct id_files *files, struct id_file *file, uint64_t lost)
{
    uint64_t known = file->stored - file->count;

    if (lost <= known)
        return;
    file->count = file->stored - lost;
    atomic_fetch_add(&files->stat_damaged, lost - known);
    log_error("queue",
              "%" PRIu64 " client ids of positions %" PRIu64 " to %" PRIu64
              " are damaged: repeats of them would be stored again",
              lost - known, file->from, file->to);
}

static void load_one(struct id_files *files, void *arg, const struct id_entry *entry)
{
    (void)files;
    if (arg != NULL)
        ids_load(arg, entry);
}

static void warn_gap(uint64_t from, uint64_t to)
{
    if (from < to)
        log_warning("queue",
                    "client ids of positions %" PRIu64 " to %" PRIu64 " are not known: repeats of "
                    "them would be stored again",
                    from, to);
}

/* What the log still holds comes from there, and will be written again. */
static void trim(struct id_files *files, uint64_t before)
{
    size_t kept = 0;

    for (size_t i = 0; i < files->count; i++) {
        struct id_file file = files->list[i];
        bool taken_up = i + 1 < files->count && files->list[i + 1].whole &&
                        files->list[i + 1].from <= file.from;

        if (file.whole && file.to > before) {
            file.to = before; /* one that begins behind it is dropped below */
            file.at_to = file.at_from;
        }
        if (taken_up && !files->options.read_only) {
            char path[ID_PATH];

            id_files_path(files, file.name, path);
            files->options.disk->unlink(files->options.disk, path);
        }
        if (!taken_up && (file.from < before || !file.whole))
            files->list[kept++] = file;
    }
    files->count = kept;
}

int id_files_load(struct id_files *files, uint64_t before, struct ids *ids, struct err *err)
{
    uint64_t known_to = 0;
    int code;

    trim(files, before);
    for (size_t i = 0; i < files->count; i++) {
        struct id_file *file = &files->list[i];
        uint64_t lost = 0;

        if (!file->whole)
            continue;
        if (known_to > 0)
            warn_gap(known_to, file->from);
        if ((code = id_files_each(files, file, load_one, ids, &lost, err)) != 0)
            return code;
        id_files_lost(files, file, lost);
        known_to = file->to;
        files->clock = file->at_to;
    }
    warn_gap(known_to, before);
    files->next_from = before;
    if (ids != NULL) {
        ids_set_clock(ids, &files->clock);
        ids_settle(ids, true);
    }
    id_files_tell(files);
    return 0;
}

struct id_files_stats id_files_stats(struct id_files *files)
{
    return (struct id_files_stats){
        .files = atomic_load(&files->stat_files),
        .ids = atomic_load(&files->stat_ids),
        .bytes = atomic_load(&files->stat_bytes),
        .damaged = atomic_load(&files->stat_damaged),
    };
}
