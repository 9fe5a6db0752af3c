/*
 * The log's bytes: the header of a segment and the header of a record, little-endian. The
 * drawing is in docs/disk-format.md; this file is the only one that knows the offsets.
 */
#include "wal/wal_priv.h"

#include "base/crc32c.h"

static const char magic[8] = {'L', 'A', 'B', 'S', 'W', 'A', 'L', '\n'};

enum {
    AT_VERSION = 8,
    AT_CRC = 12,
    AT_SEQUENCE = 16,
    AT_BASE = 24,
    AT_RECORDS = 32,
    AT_PREVIOUS = 40,
    AT_NODE = 48,
    AT_SALT = 56
};

/* Over the header with its checksum as zero. */
static uint32_t header_crc(const char header[SEGMENT_HEADER])
{
    char copy[SEGMENT_HEADER];

    memcpy(copy, header, sizeof copy);
    put_u32(copy + AT_CRC, 0);
    return crc32c(0, copy, sizeof copy);
}

void segment_header_write(char out[SEGMENT_HEADER], const struct wal_segment *segment,
                          const char node[WAL_NODE_LEN])
{
    memset(out, 0, SEGMENT_HEADER);
    memcpy(out, magic, sizeof magic);
    put_u32(out + AT_VERSION, SEGMENT_VERSION);
    put_u64(out + AT_SEQUENCE, segment->sequence);
    put_u64(out + AT_BASE, segment->base);
    put_u64(out + AT_RECORDS, segment->records);
    put_u64(out + AT_PREVIOUS, segment->previous);
    memcpy(out + AT_NODE, node, WAL_NODE_LEN);
    put_u32(out + AT_SALT, segment->salt);
    put_u32(out + AT_CRC, header_crc(out));
}

int segment_header_read(const char in[SEGMENT_HEADER], struct wal_segment *ret,
                        char ret_node[WAL_NODE_LEN], struct err *err)
{
    if (memcmp(in, magic, sizeof magic) != 0)
        return err_set(err, ERR_CORRUPT, "not a segment of a log");
    if (get_u32(in + AT_VERSION) > SEGMENT_VERSION)
        return err_set(err, ERR_UNSUPPORTED, "format version %u is newer than this program's %d",
                       get_u32(in + AT_VERSION), SEGMENT_VERSION);
    if (get_u32(in + AT_CRC) != header_crc(in))
        return err_set(err, ERR_CORRUPT, "the header's checksum is wrong");
    if (get_u32(in + AT_VERSION) != SEGMENT_VERSION || get_u64(in + AT_BASE) > INT64_MAX ||
        get_u64(in + AT_PREVIOUS) > get_u64(in + AT_BASE))
        return err_set(err, ERR_CORRUPT, "the header makes no sense");
    ret->sequence = get_u64(in + AT_SEQUENCE);
    ret->base = get_u64(in + AT_BASE);
    ret->previous = get_u64(in + AT_PREVIOUS);
    ret->records = get_u64(in + AT_RECORDS);
    ret->salt = get_u32(in + AT_SALT);
    memcpy(ret_node, in + AT_NODE, WAL_NODE_LEN);
    return 0;
}

static uint32_t record_crc(const char *record, uint32_t salt, size_t payload)
{
    return crc32c(salt, record + 4, RECORD_HEADER - 4 + payload);
}

void record_seal(char *record, uint32_t salt, uint64_t position, bool first)
{
    uint32_t length = get_u32(record + 4);

    put_u32(record + 4, first ? length | RECORD_FIRST : length);
    put_u64(record + 8, position);
    put_u32(record, record_crc(record, salt, length));
}

size_t record_check(const char *at, size_t available, uint32_t salt, uint64_t position)
{
    uint32_t length;

    if (available < RECORD_HEADER || get_u64(at + 8) != position)
        return 0;
    length = get_u32(at + 4) & ~RECORD_FIRST;
    if (length > WAL_MAX_RECORD || length > available - RECORD_HEADER ||
        get_u32(at) != record_crc(at, salt, length))
        return 0;
    return RECORD_HEADER + (size_t)length;
}
