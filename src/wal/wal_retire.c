/*
 * A last look at a segment whose records have all been delivered, before it is recycled: each
 * whole record goes to the hooks, which keep of it what outlives the segment.
 *
 * What can go wrong: damaged bytes are passed over; what was in them has been delivered. A disk
 * that does not give the bytes ends the look with a line in the log, and the hooks make do with
 * what they have seen: waiting for a broken disk would fill the rest of it.
 */
#include "wal/wal_priv.h"

#include "base/log.h"

static int look_through(struct wal *wal, const struct wal_segment *segment, struct wal_scan *scan,
                        struct err *err)
{
    uint64_t at = segment->base;
    int code = 0;

    while (code == 0 && at < segment->end) {
        struct slice record;
        bool first;

        code = scan_record(scan, at, segment->end, &record, &first, err);
        if (code == 0) {
            wal->options.hooks.retiring(wal->options.hooks.arg, at, record);
            at += RECORD_HEADER + record.len;
        } else if (code == ERR_CORRUPT) {
            code = scan_resync(scan, at + 1, segment->end, &at, err);
        }
    }
    return code;
}

int segment_retire(struct wal *wal, const struct wal_segment *segment, struct err *err)
{
    const struct wal_hooks *hooks = &wal->options.hooks;
    struct wal_scan scan = {.fd = -1};
    struct err words = {.text = "its file is gone"};
    int code;

    if (segment->base >= segment->end)
        return 0;
    if ((code = damage_keep_owed(wal, segment, err)) != 0)
        return code;
    if (hooks->retired == NULL)
        return 0;
    if ((code = scan_open(&scan, wal, segment, err)) != 0 && code != ERR_NOT_FOUND)
        return code; /* no descriptor is left, for one */
    if (code != 0 || look_through(wal, segment, &scan, &words) != 0)
        log_error("wal", "segment %llu cannot be read before it goes: %s",
                  (unsigned long long)segment->sequence, words.text);
    scan_free(&scan);
    return hooks->retired(hooks->arg, segment->previous, segment->end, err);
}
