/*
 * Writing a file of client ids, while the preparer reads a segment that is about to go. The header
 * comes last; the name, when all of it is synced.
 */
#include "queue/queue_ids_priv.h"

#include "base/log.h"

#include <fcntl.h>
#include <inttypes.h>

enum { CHUNK = 64 * 1024, SMALL = 16 * 1024 };

static void fail(struct id_files *files, int number, const char *what)
{
    if (files->fault == 0 && number < 0)
        files->fault = err_system(&files->fault_words, -number, "%s a file of client ids", what);
}

static void flush(struct id_files *files)
{
    struct disk *disk = files->options.disk;
    struct iovec vector = {files->out.data, files->out.len};
    uint64_t offset = ID_HEADER + files->file.stored * ID_ENTRY - files->out.len;

    if (files->fault == 0 && files->out.len > 0)
        fail(files, disk->write(disk, files->fd, &vector, 1, offset), "write");
    files->out.len = 0;
}

static void put(struct id_files *files, void *arg, const struct id_entry *entry)
{
    (void)arg;
    id_entry_write(buf_reserve(&files->out, ID_ENTRY), entry, files->seed);
    files->out.len += ID_ENTRY;
    files->file.stored++;
    if (files->out.len >= CHUNK)
        flush(files);
}

/* A small file is taken up, and one of which the log had a part again: the next one may get its
 * name. Not over a gap, which would then be seen no more. */
static bool wants_taking_up(const struct id_files *files)
{
    const struct id_file *last = files->count > 0 ? &files->list[files->count - 1] : NULL;

    return last != NULL && last->whole && last->to == files->next_from &&
           (last->stored < SMALL || last->to != last->name);
}

/* One that the disk does not give now stays as it is, and the new file stands beside it: waiting
 * for a broken disk would fill the rest of it. But where the new file may get its name, the segment
 * waits all the same. */
static void take_up(struct id_files *files, struct id_file *last)
{
    struct err words;
    uint64_t lost;
    int code = id_files_each(files, last, put, NULL, &lost, &words);

    if (code == 0) {
        files->file.at_from = last->at_from;
        id_files_lost(files, last, lost);
    } else if (last->to != last->name) {
        files->fault = code;
        files->fault_words = words;
    } else {
        log_warning("queue", "a file of client ids stays as it is: %s", words.text);
        files->takes_up = false;
        files->file.stored = 0;
        files->out.len = 0;
    }
}

static void begin(struct id_files *files)
{
    struct disk *disk = files->options.disk;
    char path[ID_PATH];

    if (files->writing)
        return;
    files->writing = true;
    files->fault = 0;
    files->began = files->clock;
    files->takes_up = wants_taking_up(files);
    files->file = (struct id_file){.seed = files->seed, .whole = true, .at_from = files->clock};
    files->out.len = 0;
    id_files_beside(files, "new", path);
    files->fd = disk->open(disk, path, O_RDWR | O_CREAT | O_TRUNC);
    fail(files, files->fd, "make");
    if (files->takes_up && files->fault == 0)
        take_up(files, &files->list[files->count - 1]);
}

void id_files_note(struct id_files *files, uint64_t position, const struct txn *txn)
{
    struct id_entry entry;
    uint32_t now_s;

    begin(files);
    now_s = id_clock_read(&files->clock, txn->received_us);
    if (txn->client_id.at == NULL)
        return;
    entry = id_entry_of(files->seed, txn->product, txn->client_id, position, now_s);
    put(files, NULL, &entry);
}

/* Makes what was written a file of its name; the fault is in files->fault. */
static void finish(struct id_files *files)
{
    struct disk *disk = files->options.disk;
    struct id_file *file = &files->file;
    char header[ID_HEADER];
    struct iovec vector = {header, sizeof header};
    char path[ID_PATH];
    char name[ID_PATH];

    flush(files);
    id_header_write(header, file, files->options.node);
    if (files->fault == 0)
        fail(files, disk->write(disk, files->fd, &vector, 1, 0), "write");
    if (files->fault == 0)
        fail(files, disk->sync(disk, files->fd), "sync");
    if (files->fd >= 0)
        disk->close(disk, files->fd);
    files->fd = -1;
    id_files_beside(files, "new", path);
    id_files_path(files, file->name, name);
    if (files->fault == 0)
        fail(files, disk->rename(disk, path, name), "name");
    if (files->fault == 0)
        fail(files, disk->sync_dir(disk, files->dir), "name");
    if (files->fault != 0)
        disk->unlink(disk, path);
}

static void enter(struct id_files *files)
{
    struct disk *disk = files->options.disk;
    char path[ID_PATH];

    if (files->takes_up) {
        const struct id_file *old = &files->list[--files->count];

        id_files_path(files, old->name, path);
        if (old->name != files->file.name)
            disk->unlink(disk, path);
    }
    /* One of this name that could not be read is gone: the new file has it. */
    if (files->count > 0 && files->list[files->count - 1].name == files->file.name)
        files->count--;
    files->file.count = files->file.stored;
    id_files_add(files, &files->file);
    id_files_prune(files);
    id_files_reserve(files);
    id_files_tell(files);
}

/* A full disk: first what was set aside is given up, then the file. */
static int make_do(struct id_files *files, uint64_t from, uint64_t to, struct err *err)
{
    char path[ID_PATH];

    if (files->reserved) {
        files->reserved = false;
        id_files_beside(files, "reserve", path);
        files->options.disk->unlink(files->options.disk, path);
        return err_set(err, ERR_UNAVAILABLE, "%s", files->fault_words.text);
    }
    log_warning("queue",
                "client ids of positions %" PRIu64 " to %" PRIu64 " will not be known after a "
                "restart: %s",
                from, to, files->fault_words.text);
    return 0;
}

int id_files_end(struct id_files *files, uint64_t from, uint64_t to, struct err *err)
{
    int code = 0;

    begin(files);
    files->file.from = files->takes_up ? files->list[files->count - 1].from : from;
    files->file.name = files->file.to = to;
    files->file.at_to = files->clock;
    finish(files);
    files->writing = false;
    if (files->fault == 0)
        enter(files);
    else if (files->fault == ERR_FULL)
        code = make_do(files, from, to, err);
    else
        code = err_set(err, files->fault, "%s", files->fault_words.text);
    if (code != 0)
        files->clock = files->began; /* the segment will be read again */
    else
        files->next_from = to;
    return code;
}
