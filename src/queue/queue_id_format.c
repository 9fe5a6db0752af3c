/*
 * The bytes of a file of client ids: its header and its entries, little-endian. The drawing is in
 * docs/disk-format.md; this file is the only one that knows the offsets.
 */
#include "queue/queue_ids_priv.h"

#include "base/bytes.h"
#include "base/crc32c.h"

static const char magic[8] = {'L', 'A', 'B', 'S', 'I', 'D', 'S', '\n'};

enum {
    AT_VERSION = 8,
    AT_CRC = 12,
    AT_FROM = 16,
    AT_TO = 24,
    AT_COUNT = 32,
    AT_SEED = 40,
    AT_CLOCKS = 48,
    AT_NODE = 80
};

/* Over the header with its checksum as zero. */
static uint32_t header_crc(const char header[ID_HEADER])
{
    char copy[ID_HEADER];

    memcpy(copy, header, sizeof copy);
    put_u32(copy + AT_CRC, 0);
    return crc32c(0, copy, sizeof copy);
}

void id_header_write(char out[ID_HEADER], const struct id_file *file, const char node[WAL_NODE_LEN])
{
    memset(out, 0, ID_HEADER);
    memcpy(out, magic, sizeof magic);
    put_u32(out + AT_VERSION, ID_VERSION);
    put_u64(out + AT_FROM, file->from);
    put_u64(out + AT_TO, file->to);
    put_u64(out + AT_COUNT, file->stored);
    put_u64(out + AT_SEED, file->seed);
    memcpy(out + AT_CLOCKS, &file->at_from, sizeof file->at_from);
    memcpy(out + AT_CLOCKS + sizeof file->at_from, &file->at_to, sizeof file->at_to);
    memcpy(out + AT_NODE, node, WAL_NODE_LEN);
    put_u32(out + AT_CRC, header_crc(out));
}

static bool is_clock(const struct id_clock *clock)
{
    return clock->last_us >= 0 && clock->last_us <= ID_CLOCK_MAX && clock->elapsed_us >= 0 &&
           clock->elapsed_us <= ID_CLOCK_MAX;
}

int id_header_read(const char in[ID_HEADER], const char node[WAL_NODE_LEN], struct id_file *ret,
                   struct err *err)
{
    struct id_clock from, to;

    memcpy(&from, in + AT_CLOCKS, sizeof from);
    memcpy(&to, in + AT_CLOCKS + sizeof from, sizeof to);
    if (memcmp(in, magic, sizeof magic) != 0)
        return err_set(err, ERR_CORRUPT, "not a file of client ids");
    if (get_u32(in + AT_VERSION) > ID_VERSION)
        return err_set(err, ERR_UNSUPPORTED, "format version %u is newer than this program's %d",
                       get_u32(in + AT_VERSION), ID_VERSION);
    if (get_u32(in + AT_VERSION) < ID_VERSION)
        return err_set(err, ERR_CORRUPT, "format version %u took different ids for one",
                       get_u32(in + AT_VERSION));
    if (get_u32(in + AT_CRC) != header_crc(in) || get_u64(in + AT_FROM) > get_u64(in + AT_TO) ||
        get_u64(in + AT_COUNT) > UINT32_MAX || !is_clock(&from) || !is_clock(&to))
        return err_set(err, ERR_CORRUPT, "the header is damaged");
    if (memcmp(in + AT_NODE, node, WAL_NODE_LEN) != 0)
        return err_set(err, ERR_CORRUPT, "it belongs to node %.*s, this is %.*s", WAL_NODE_LEN,
                       in + AT_NODE, WAL_NODE_LEN, node);
    ret->from = get_u64(in + AT_FROM);
    ret->to = get_u64(in + AT_TO);
    ret->stored = ret->count = get_u64(in + AT_COUNT);
    ret->seed = get_u64(in + AT_SEED);
    ret->at_from = from;
    ret->at_to = to;
    return 0;
}

/* The checksum starts from the key, so that an entry of another key is none. */
void id_entry_write(char out[ID_ENTRY], const struct id_entry *entry, uint64_t seed)
{
    memcpy(out, entry, sizeof *entry);
    put_u32(out + sizeof *entry, crc32c((uint32_t)seed, out, sizeof *entry));
}

bool id_entry_read(const char in[ID_ENTRY], uint64_t seed, struct id_entry *ret)
{
    if (get_u32(in + sizeof *ret) != crc32c((uint32_t)seed, in, sizeof *ret))
        return false;
    memcpy(ret, in, sizeof *ret);
    return true;
}

_Static_assert(sizeof(struct id_entry) + 4 == ID_ENTRY, "an entry is what memory has, and a crc");
_Static_assert(AT_CLOCKS + 2 * sizeof(struct id_clock) == AT_NODE, "two clocks before the node");
