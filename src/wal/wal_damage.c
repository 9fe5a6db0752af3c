/*
 * What is damaged in the log: which stretches, how many records each held, and their bytes set
 * aside before the segment is recycled, for a person to look at.
 *
 * Happy path: nothing is. A stretch is noted once, by recovery or by the first reader that meets
 * it: its bytes go into a file of the quarantine, it gets an entry in the quarantine's index, and a
 * line in the log. The index is read at every start, so that what was lost stays counted when the
 * segment is long gone.
 *
 * What can go wrong: the quarantine is full, or the disk: then the stretch is only counted. Another
 * fault keeps the segment until the bytes are set aside (damage_keep_owed()). The preparer tries
 * that again and again, for by the next start the store may have passed what is damaged, which is
 * then taken for delivered if it has no entry. Beyond MOST_STRETCHES, when little of the disk can
 * be left, stretches are passed over without a note.
 *
 * Threads: the list changes under `damage_lock`, which is held over I/O and never taken by the
 * committer, and under `lock` besides, so that whoever only counts takes that one.
 */
#include "wal/wal_priv.h"

#include "base/log.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>

enum { MOST_STRETCHES = 4096 };

static struct wal_stretch *find(struct wal *wal, uint64_t from)
{
    for (size_t i = 0; i < wal->stretch_count; i++) {
        if (wal->stretches[i].from == from)
            return &wal->stretches[i];
    }
    return NULL;
}

void damage_push(struct wal *wal, const struct wal_stretch *stretch)
{
    if (find(wal, stretch->from) != NULL || wal->stretch_count >= MOST_STRETCHES)
        return;
    pthread_mutex_lock(&wal->lock);
    if (wal->stretch_count == wal->stretch_room) {
        wal->stretch_room = wal->stretch_room == 0 ? 16 : wal->stretch_room * 2;
        wal->stretches = mem_realloc(wal->stretches, wal->stretch_room * sizeof *wal->stretches);
    }
    wal->stretches[wal->stretch_count++] = *stretch;
    wal->kept_bytes += stretch->kept_bytes;
    pthread_mutex_unlock(&wal->lock);
}

static void note(struct wal *wal, const struct wal_segment *segment,
                 const struct wal_stretch *found)
{
    struct wal_stretch stretch = *found;
    const char *what = "only counted: the quarantine is full";
    struct err err = {0};
    int code = 0;

    if (find(wal, stretch.from) != NULL || wal->stretch_count >= MOST_STRETCHES)
        return;
    if (wal->options.quarantine == NULL || wal->options.read_only)
        what = "left as they are";
    else if ((code = quarantine_keep(wal, segment, &stretch, &err)) != 0)
        what = err.text;
    else if (stretch.kept_bytes > 0)
        what = "set aside";
    stretch.owed = code != 0;
    damage_push(wal, &stretch);
    if (stretch.owed) {
        pthread_mutex_lock(&wal->lock);
        wal->damage_owed = true;
        pthread_mutex_unlock(&wal->lock);
        pthread_cond_signal(&wal->preparer_wakes);
    }
    log_error("wal",
              "segment %" PRIu64 ": %" PRIu64 " bytes at position %" PRIu64
              " are damaged, about %" PRIu64 " transactions%s: %s",
              segment->sequence, stretch.to - stretch.from, stretch.from, stretch.records,
              stretch.delivered ? ", which the store has" : "", what);
}

/* How many records stood in a stretch, as far as their headers tell: one at least. */
static uint64_t guess_records(struct wal_scan *scan, uint64_t from, uint64_t to)
{
    uint64_t records = 1;
    uint64_t at = from;
    uint64_t next = from;

    while (scan_torn(scan, at, to, &next, NULL) == 0 && next > at && next < to) {
        records++;
        at = next;
    }
    return records;
}

void damage_add(struct wal_damage *damage, struct wal_scan *scan, uint64_t from, uint64_t to)
{
    if (damage->count == MOST_STRETCHES) {
        damage->stretches[damage->count - 1].to = to;
        return;
    }
    if (damage->count == damage->room) {
        damage->room = damage->room == 0 ? 16 : damage->room * 2;
        damage->stretches =
            mem_realloc(damage->stretches, damage->room * sizeof *damage->stretches);
    }
    damage->stretches[damage->count++] =
        (struct wal_stretch){.from = from, .to = to, .records = guess_records(scan, from, to)};
}

uint64_t damage_note(struct wal *wal, const struct wal_segment *segment, struct wal_damage *damage,
                     uint64_t lost)
{
    uint64_t delivered_to = atomic_load(&wal->delivered_to);
    uint64_t sum = 0;
    uint64_t bytes = 0;

    for (size_t i = 0; i < damage->count; i++)
        bytes += damage->stretches[i].to - damage->stretches[i].from;
    if (lost > bytes / RECORD_HEADER)
        lost = UINT64_MAX; /* two headers that do not agree */
    pthread_mutex_lock(&wal->damage_lock);
    for (size_t i = 0; i < damage->count; i++) {
        struct wal_stretch *stretch = &damage->stretches[i];

        if (lost != UINT64_MAX && (i + 1 == damage->count || stretch->records > lost - sum))
            stretch->records = lost - sum; /* what all of them held is known */
        stretch->delivered = stretch->from < delivered_to;
        sum += stretch->records;
        note(wal, segment, stretch);
    }
    pthread_mutex_unlock(&wal->damage_lock);
    damage->count = 0;
    return sum;
}

void damage_free(struct wal_damage *damage)
{
    free(damage->stretches);
}

/* The segment as it is now, and how many records were ever in it. False if it has gone. */
static bool take_segment(struct wal *wal, uint64_t sequence, struct wal_segment *ret,
                         uint64_t *ret_records)
{
    bool found = false;

    pthread_mutex_lock(&wal->lock);
    for (size_t i = 0; i < wal->segment_count && !found; i++) {
        if (wal->segments[i].sequence != sequence)
            continue;
        found = true;
        *ret = wal->segments[i];
        *ret_records = (i + 1 < wal->segment_count ? wal->segments[i + 1].records
                                                   : atomic_load(&wal->records)) -
                       ret->records;
    }
    pthread_mutex_unlock(&wal->lock);
    return found;
}

int damage_find(struct wal *wal, uint64_t sequence, struct err *err)
{
    struct wal_scan scan = {.fd = -1};
    struct wal_damage damage = {0};
    struct wal_segment segment;
    uint64_t records, at, whole = 0;
    int code;

    if (!take_segment(wal, sequence, &segment, &records))
        return 0;
    code = scan_open(&scan, wal, &segment, err);
    at = segment.base;
    while (code == 0 && at < segment.end) {
        struct slice record;
        uint64_t next = at;
        bool first;

        code = scan_record(&scan, at, segment.end, &record, &first, err);
        if (code == 0) {
            whole++;
            next = at + RECORD_HEADER + record.len;
        } else if (code == ERR_CORRUPT &&
                   (code = scan_resync(&scan, at + 1, segment.end, &next, err)) == 0) {
            damage_add(&damage, &scan, at, next);
        }
        at = next;
    }
    if (code == 0 && segment_listed(wal, sequence))
        damage_note(wal, &segment, &damage, records > whole ? records - whole : 0);
    damage_free(&damage);
    scan_free(&scan);
    return code;
}

bool damage_known(struct wal *wal, uint64_t from, uint64_t *ret_records)
{
    const struct wal_stretch *stretch;

    pthread_mutex_lock(&wal->damage_lock);
    stretch = find(wal, from);
    *ret_records = stretch != NULL ? stretch->records : 0;
    pthread_mutex_unlock(&wal->damage_lock);
    return stretch != NULL;
}

/* The segment of a position, if it has not been released. */
static bool segment_of(struct wal *wal, uint64_t position, struct wal_segment *ret)
{
    bool found = false;

    pthread_mutex_lock(&wal->lock);
    for (size_t i = 0; i < wal->segment_count && !found; i++) {
        *ret = wal->segments[i];
        found = position >= ret->base && position < ret->end;
    }
    pthread_mutex_unlock(&wal->lock);
    return found;
}

/* damage_lock is held. */
static int keep(struct wal *wal, const struct wal_segment *segment, size_t index, struct err *err)
{
    struct wal_stretch stretch = wal->stretches[index];
    int code = quarantine_keep(wal, segment, &stretch, err);

    stretch.owed = code != 0;
    pthread_mutex_lock(&wal->lock);
    wal->kept_bytes += stretch.kept_bytes - wal->stretches[index].kept_bytes;
    wal->stretches[index] = stretch;
    pthread_mutex_unlock(&wal->lock);
    return code;
}

/* One that fails may be too large for the disk: those behind it have their turn all the same. */
int damage_settle(struct wal *wal, struct err *err)
{
    struct wal_segment segment;
    int code = 0;

    pthread_mutex_lock(&wal->damage_lock);
    for (size_t i = 0; i < wal->stretch_count; i++) {
        int fault = 0;

        if (wal->stretches[i].owed && segment_of(wal, wal->stretches[i].from, &segment))
            fault = keep(wal, &segment, i, err);
        if (fault != 0)
            code = fault;
    }
    pthread_mutex_lock(&wal->lock);
    wal->damage_owed = code != 0;
    pthread_mutex_unlock(&wal->lock);
    pthread_mutex_unlock(&wal->damage_lock);
    return code;
}

int damage_keep_owed(struct wal *wal, const struct wal_segment *segment, struct err *err)
{
    int code = 0;

    pthread_mutex_lock(&wal->damage_lock);
    for (size_t i = 0; i < wal->stretch_count && code == 0; i++) {
        const struct wal_stretch *stretch = &wal->stretches[i];

        if (!stretch->owed || stretch->from < segment->base || stretch->from >= segment->end)
            continue;
        code = keep(wal, segment, i, err);
        if (code == ERR_FULL)
            code = 0; /* a full disk must be able to get free */
    }
    pthread_mutex_unlock(&wal->damage_lock);
    return code;
}

void wal_set_aside(struct wal *wal, uint64_t position, uint64_t next)
{
    struct wal_stretch stretch = {.from = position, .to = next, .records = 1};
    struct wal_segment segment;

    stretch.delivered = position < atomic_load(&wal->delivered_to);
    if (!segment_of(wal, position, &segment))
        return;
    pthread_mutex_lock(&wal->damage_lock);
    note(wal, &segment, &stretch);
    pthread_mutex_unlock(&wal->damage_lock);
}

struct wal_lost wal_lost(struct wal *wal, uint64_t position)
{
    struct wal_lost lost = {0};

    pthread_mutex_lock(&wal->lock);
    for (size_t i = 0; i < wal->stretch_count; i++) {
        const struct wal_stretch *stretch = &wal->stretches[i];

        if (!stretch->delivered && stretch->from < position)
            lost.records += stretch->records;
        lost.stretches++;
        lost.bytes += stretch->to - stretch->from;
    }
    lost.kept_bytes = wal->kept_bytes;
    pthread_mutex_unlock(&wal->lock);
    return lost;
}

bool wal_lost_at(struct wal *wal, uint64_t position)
{
    bool lost = false;

    pthread_mutex_lock(&wal->lock);
    for (size_t i = 0; i < wal->stretch_count && !lost; i++)
        lost = !wal->stretches[i].delivered && position >= wal->stretches[i].from &&
               position < wal->stretches[i].to;
    pthread_mutex_unlock(&wal->lock);
    return lost;
}
