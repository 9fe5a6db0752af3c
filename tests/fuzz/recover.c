/*
 * Any bytes as the segments of a log: opening it to read only and reading it to its end never
 * crashes, and the reader finds exactly the records that recovery told of.
 *
 * The input holds up to three segments: a byte of flags, two bytes of length, and as many bytes
 * each. With flag 1 the header is made from its first bytes (8 of base, 4 of jump, 4 of salt), with
 * flag 2 the records, each where the one before it ends, get their positions and checksums: else
 * almost no input would pass one.
 */
#include "base/log.h"
#include "base/mem.h"
#include "wal/wal_priv.h"

#include <errno.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEGMENTS = 3, HEADER_MENDED = 1, RECORDS_MENDED = 2 };

static const char node[WAL_NODE_LEN] = {'f', 'u', 'z', 'z', 'n', 'o', 'd', 'e'};

/* A disk of up to three files that can only be read; a file's number is its descriptor. */
struct memory {
    struct disk disk;
    char *bytes[SEGMENTS];
    size_t len[SEGMENTS];
    unsigned count;
};

static int memory_open(struct disk *disk, const char *path, int flags)
{
    const char *name = strrchr(path, '/');
    unsigned long number = name != NULL ? strtoul(name + 1, NULL, 10) : 0;

    if (flags != 0)
        abort(); /* nothing but O_RDONLY */
    return number >= 1 && number <= ((struct memory *)disk)->count ? (int)number - 1 : -ENOENT;
}

static int memory_close(struct disk *disk, int fd)
{
    (void)disk;
    (void)fd;
    return 0;
}

static int64_t memory_size(struct disk *disk, int fd)
{
    return (int64_t)((struct memory *)disk)->len[fd];
}

static int64_t memory_read(struct disk *disk, int fd, void *bytes, size_t len, uint64_t offset)
{
    const struct memory *memory = (struct memory *)disk;
    size_t whole = memory->len[fd];
    size_t some = offset < whole ? whole - (size_t)offset : 0;

    if (some > len)
        some = len;
    if (some > 0)
        memcpy(bytes, memory->bytes[fd] + offset, some);
    return (int64_t)some;
}

static int memory_list(struct disk *disk, const char *path,
                       void (*each)(void *arg, const char *name), void *arg)
{
    static const char *const names[SEGMENTS] = {
        "00000000000000000001.seg", "00000000000000000002.seg", "00000000000000000003.seg"};

    (void)path;
    for (unsigned i = 0; i < ((struct memory *)disk)->count; i++)
        each(arg, names[i]);
    return 0;
}

static void mend(char *bytes, size_t len, unsigned number, uint8_t flags)
{
    struct wal_segment segment = {0};
    size_t at = SEGMENT_HEADER;

    if (len < SEGMENT_HEADER)
        return;
    segment.sequence = number;
    segment.base = get_u64(bytes);
    segment.previous = segment.base - get_u32(bytes + 8);
    segment.salt = get_u32(bytes + 12);
    if ((flags & HEADER_MENDED) != 0)
        segment_header_write(bytes, &segment, node);
    while ((flags & RECORDS_MENDED) != 0 && len - at >= RECORD_HEADER) {
        uint32_t length = get_u32(bytes + at + 4) & 0xff;
        bool first = (get_u32(bytes + at + 4) & RECORD_FIRST) != 0;

        if (length > len - at - RECORD_HEADER)
            return;
        memcpy(bytes + at + 4, &length, sizeof length);
        if ((bytes[at] & 7) != 0) /* else it stays broken */
            record_seal(bytes + at, segment.salt, segment.base + (at - SEGMENT_HEADER), first);
        at += RECORD_HEADER + length;
    }
}

struct tally {
    uint64_t records, positions, bytes;
};

static void count(void *arg, uint64_t position, struct slice record)
{
    struct tally *tally = arg;

    tally->records++;
    tally->positions += position;
    for (size_t i = 0; i < record.len; i++)
        tally->bytes += (unsigned char)record.at[i];
}

static void read_all(struct wal *wal, const struct tally *expected)
{
    struct wal_reader *reader = wal_reader_open(wal, 0);
    struct tally found = {0};
    struct slice record;
    struct buf out = {0};
    uint64_t position, next, before = 0;
    int code;

    while ((code = wal_reader_next(reader, &record, &position, &next, NULL)) == 0 ||
           code == ERR_CORRUPT) {
        if (position < before || next <= position)
            abort();
        before = next;
        if (code == ERR_CORRUPT)
            continue;
        count(&found, position, record);
        if (wal_read_at(wal, position, &out, NULL) != 0)
            abort();
        buf_reset(&out, 1 << 16);
    }
    if (code != ERR_NOT_FOUND || memcmp(&found, expected, sizeof found) != 0)
        abort();
    buf_free(&out);
    wal_reader_close(reader);
}

static void take(struct memory *memory, const uint8_t *data, size_t size)
{
    while (memory->count < SEGMENTS && size > 3) {
        size_t len = data[1] | (size_t)data[2] << 8;
        char *bytes;

        if (len > size - 3)
            len = size - 3;
        bytes = mem_alloc(len);
        memcpy(bytes, data + 3, len);
        mend(bytes, len, memory->count + 1, data[0]);
        memory->bytes[memory->count] = bytes;
        memory->len[memory->count++] = len;
        data += 3 + len;
        size -= 3 + len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct memory memory = {.disk = {.open = memory_open,
                                     .close = memory_close,
                                     .size = memory_size,
                                     .read = memory_read,
                                     .list = memory_list}};
    struct tally tally = {0};
    struct wal_options options = {.disk = &memory.disk,
                                  .dir = "queue",
                                  .segment_bytes = 1 << 16,
                                  .max_bytes = 1 << 20,
                                  .read_only = true,
                                  .recovered = count,
                                  .recovered_arg = &tally};
    struct wal_recovery recovery;
    struct err err = {0};
    struct wal *wal;

    log_open((enum log_level)(LOG_ERROR + 1), false);
    memcpy(options.node, node, sizeof node);
    take(&memory, data, size);
    if (wal_open(&options, &wal, &recovery, &err) == 0) {
        if (recovery.records != tally.records)
            abort();
        read_all(wal, &tally);
        wal_close(wal);
    } else if (err.text[0] == '\0') {
        abort();
    }
    for (unsigned i = 0; i < memory.count; i++)
        free(memory.bytes[i]);
    return 0;
}
