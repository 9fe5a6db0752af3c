/*
 * The committer: takes every batch that is handed in, gives each record its position and
 * checksum, writes them with one call, syncs once, publishes the new durable position, and mails
 * the batches home. That is a round; where the segment ends there are two.
 *
 * Ways to fail. A write or a sync fails, or no segment is to be had: the round fails, its
 * records are as if they had never been (the next segment starts at the last durable position,
 * which cuts them off for recovery too), and the log refuses until a new segment has been
 * begun. The same bytes are never synced again: after a failed sync the kernel may have
 * dropped them and report success.
 */
#include "wal/wal_priv.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <time.h>

enum { HEAL_EVERY_MS = 100, GATHER_AT_MOST_US = 10000, TRY_EVERY = 16 };

/* What a round has done so far. */
struct round {
    uint64_t most;     /* bytes of all its records, if none is a repeat */
    uint64_t position; /* of the next record */
    uint64_t offset;   /* in the current segment, of the bytes not yet written */
    uint64_t records;
    uint64_t duplicates;
    size_t vectors;
    uint64_t vector_bytes;
    bool first; /* the next record is the first after a sync */
};

static int sync_segment(struct wal *wal, struct err *err)
{
    int64_t started;
    int code;

    if (!wal->options.sync)
        return 0;
    started = clock_mono_us();
    code = wal->options.disk->sync(wal->options.disk, wal->fd);
    atomic_fetch_add_explicit(&wal->sync_us, (uint64_t)(clock_mono_us() - started),
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&wal->syncs, 1, memory_order_relaxed);
    return code < 0 ? err_system(err, -code, "sync the queue") : 0;
}

static int write_out(struct wal *wal, struct round *round, struct err *err)
{
    int code = wal->options.disk->write(wal->options.disk, wal->fd, wal->vector, round->vectors,
                                        round->offset);

    if (code < 0)
        return err_system(err, -code, "write the queue");
    round->vectors = 0;
    round->vector_bytes = 0;
    return 0;
}

/* The rest goes into a new segment; what the old one holds of the round is made durable first. */
static int roll(struct wal *wal, struct round *round, struct err *err)
{
    int code;

    if (round->records > 0 &&
        ((code = write_out(wal, round, err)) != 0 || (code = sync_segment(wal, err)) != 0))
        return code;
    code = segment_roll(wal, round->position,
                        atomic_load_explicit(&wal->records, memory_order_relaxed) + round->records,
                        err);
    if (code != 0)
        return code;
    round->offset = SEGMENT_HEADER;
    round->first = true;
    return 0;
}

static void add_vector(struct wal *wal, struct round *round, char *bytes, size_t len)
{
    struct iovec *last = round->vectors > 0 ? &wal->vector[round->vectors - 1] : NULL;

    round->vector_bytes += len;
    if (last != NULL && (char *)last->iov_base + last->iov_len == bytes) {
        last->iov_len += len;
        return;
    }
    if (round->vectors == wal->vector_room) {
        wal->vector_room = wal->vector_room == 0 ? 64 : wal->vector_room * 2;
        wal->vector = mem_realloc(wal->vector, wal->vector_room * sizeof *wal->vector);
    }
    assert(wal->vector != NULL);
    wal->vector[round->vectors++] = (struct iovec){bytes, len};
}

static uint64_t room_left(const struct wal *wal)
{
    uint64_t durable = atomic_load_explicit(&wal->durable, memory_order_relaxed);

    return wal->fd < 0 ? 0 : wal->current.size - SEGMENT_HEADER - (durable - wal->current.base);
}

/* A round that fits into one segment goes into one. If it needs a new one and does not get it, it
 * has written nothing that a start could find. */
static bool needs_segment(const struct wal *wal, const struct round *round, size_t whole)
{
    if (round->records == 0 && round->most <= segment_room(wal))
        return round->most > room_left(wal);
    return wal->fd < 0 || round->offset + round->vector_bytes + whole > wal->current.size;
}

static int add_record(struct wal *wal, struct round *round, char *record, size_t whole,
                      uint64_t *ret_position, struct err *err)
{
    const struct wal_hooks *hooks = &wal->options.hooks;
    struct slice payload = {record + RECORD_HEADER, whole - RECORD_HEADER};
    int code;

    if (hooks->admit != NULL && !hooks->admit(hooks->arg, payload, round->position, ret_position)) {
        round->duplicates++;
        return 0;
    }
    if (needs_segment(wal, round, whole) && (code = roll(wal, round, err)) != 0)
        return code;
    record_seal(record, wal->current.salt, round->position, round->first);
    round->first = false;
    add_vector(wal, round, record, whole);
    *ret_position = round->position;
    round->position += whole;
    round->records++;
    return 0;
}

/* Those that one round may write: as many as fit into the current segment or, if the first of them
 * does not, into a new one. One that no segment holds has several, in a round of its own. */
static struct wal_batch *take_round(const struct wal *wal, struct wal_batch **batches,
                                    uint64_t *ret_bytes)
{
    struct wal_batch *first = *batches, *last = first;
    uint64_t room = first->data.len <= room_left(wal) ? room_left(wal) : segment_room(wal);
    uint64_t bytes = first->data.len;

    while (last->next != NULL && bytes + last->next->data.len <= room) {
        last = last->next;
        bytes += last->data.len;
    }
    *batches = last->next;
    last->next = NULL;
    *ret_bytes = bytes;
    return first;
}

static int write_round(struct wal *wal, struct wal_batch *batches, struct round *round,
                       struct err *err)
{
    int code;

    for (struct wal_batch *batch = batches; batch != NULL; batch = batch->next) {
        size_t bytes = batch->records * sizeof(uint64_t);
        uint64_t *position = (void *)buf_reserve(&batch->positions, bytes);

        for (size_t at = 0; at < batch->data.len;) {
            char *record = batch->data.data + at;
            size_t whole = RECORD_HEADER + get_u32(record + 4);

            if ((code = add_record(wal, round, record, whole, position++, err)) != 0)
                return code;
            at += whole;
        }
    }
    if (round->records == 0)
        return 0; /* nothing but repeats */
    if ((code = write_out(wal, round, err)) != 0)
        return code;
    return sync_segment(wal, err);
}

/* Only here do the segments' ends move: readers never see a round that may yet fail. */
static void publish(struct wal *wal, const struct round *round)
{
    uint64_t end = round->position;
    bool wake;

    pthread_mutex_lock(&wal->lock);
    for (size_t i = wal->segment_count; round->records > 0 && i-- > 0;) {
        struct wal_segment *segment = &wal->segments[i];

        segment->end = end;
        end = segment->previous;
        if (segment->base <= atomic_load_explicit(&wal->durable, memory_order_relaxed))
            break;
    }
    if (round->records > 0)
        wal->end = round->position;
    atomic_store_explicit(&wal->durable, round->position, memory_order_release);
    atomic_fetch_add_explicit(&wal->records, round->records, memory_order_release);
    wake = wal->waiting_readers > 0;
    pthread_mutex_unlock(&wal->lock);
    if (wake)
        pthread_cond_broadcast(&wal->reader_wakes);
    atomic_fetch_add_explicit(&wal->rounds, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&wal->committed, round->records, memory_order_relaxed);
    atomic_fetch_add_explicit(&wal->duplicates, round->duplicates, memory_order_relaxed);
}

/* Gives up the current segment, and those begun in the round that failed. */
static void give_up(struct wal *wal, uint64_t durable, const struct err *err)
{
    bool news;

    segment_leave(wal);
    pthread_mutex_lock(&wal->lock);
    while (wal->segment_count > 1 && wal->segments[wal->segment_count - 1].base >= durable)
        segments_push(&wal->released, &wal->released_count, &wal->released_room,
                      &wal->segments[--wal->segment_count]);
    news = !atomic_load_explicit(&wal->refusing, memory_order_relaxed);
    wal->fault = *err;
    atomic_store_explicit(&wal->refusing, true, memory_order_release);
    pthread_mutex_unlock(&wal->lock);
    pthread_cond_signal(&wal->preparer_wakes);
    atomic_fetch_add_explicit(&wal->failures, 1, memory_order_relaxed);
    if (news) {
        wal->fault_since_us = (uint64_t)clock_mono_us();
        log_error("wal", "new transactions are refused: %s", err->text);
    }
}

/* To those who wait there are two kinds: no room, or a disk that fails. */
static int fault_code(struct err *err)
{
    if (err->code != ERR_FULL)
        err->code = ERR_IO;
    return err->code;
}

static void heal(struct wal *wal)
{
    struct err err;

    if (segment_roll(wal, atomic_load(&wal->durable), atomic_load(&wal->records), &err) != 0) {
        fault_code(&err);
        pthread_mutex_lock(&wal->lock);
        wal->fault = err;
        pthread_mutex_unlock(&wal->lock);
        return;
    }
    atomic_store_explicit(&wal->refusing, false, memory_order_release);
    log_info("wal", "new transactions are taken again after %.1f s",
             (double)((uint64_t)clock_mono_us() - wal->fault_since_us) / 1e6);
}

static void commit(struct wal *wal, struct wal_batch *batches, uint64_t bytes)
{
    const struct wal_hooks *hooks = &wal->options.hooks;
    struct round round = {.most = bytes,
                          .position = atomic_load_explicit(&wal->durable, memory_order_relaxed),
                          .first = true};
    struct err err = {0};
    int code;

    if (wal->fd >= 0)
        round.offset = SEGMENT_HEADER + (round.position - wal->current.base);
    if (wal_refusing(wal, &err))
        code = err.code;
    else if ((code = write_round(wal, batches, &round, &err)) != 0)
        code = fault_code(&err);
    if (hooks->settle != NULL)
        hooks->settle(hooks->arg, code == 0);
    if (code == 0)
        publish(wal, &round);
    else if (!wal_refusing(wal, NULL))
        give_up(wal, atomic_load_explicit(&wal->durable, memory_order_relaxed), &err);
    while (batches != NULL) {
        struct wal_producer *producer = batches->producer;
        struct wal_batch *next = batches->next;

        batches->status = code;
        batches->err = err;
        atomic_fetch_add_explicit(&producer->ringing, 1, memory_order_relaxed);
        mailbox_put(producer->home, &batches->mail);
        atomic_fetch_sub_explicit(&producer->ringing, 1, memory_order_release);
        batches = next;
    }
}

/* Sleeps until so many tickets are handed in, or the log stops; false once it is `until_us`. */
static bool sleep_for(struct wal *wal, unsigned tickets, int64_t until_us)
{
    struct timespec until = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};
    int code;

    wal->wake_at = tickets;
    if (until_us == INT64_MAX)
        code = pthread_cond_wait(&wal->committer_wakes, &wal->lock);
    else
        code = pthread_cond_timedwait(&wal->committer_wakes, &wal->lock, &until);
    wal->wake_at = WAKE_NEVER;
    return code == 0;
}

/*
 * Whoever the last round answered may be back in a moment. A round that starts for the first of
 * them has the others wait for two syncs, their own and that one, and costs as much as a
 * round for all. So it waits for as many as that were, but no longer than a quarter of what a
 * round takes, and never for long: a disk that stood still must not be felt afterwards.
 *
 * Where requests come by themselves, or their clients take longer, waiting is for nothing: when
 * most of those waited for do not come, only one round in TRY_EVERY tries it.
 */
static void gather(struct wal *wal)
{
    int64_t wait_us = wal->round_us / 4;
    int64_t until_us =
        wal->round_ended_us + (wait_us < GATHER_AT_MOST_US ? wait_us : GATHER_AT_MOST_US);
    unsigned missing = wal->answered_tickets - wal->handed_in_tickets;
    unsigned absent;

    if (wal->handed_in_tickets >= wal->answered_tickets || clock_mono_us() >= until_us)
        return;
    if (wal->waited_in_vain > 512 && ++wal->not_waited < TRY_EVERY)
        return;
    wal->not_waited = 0;
    while (wal->handed_in_tickets < wal->answered_tickets && !wal->stopping &&
           sleep_for(wal, wal->answered_tickets, until_us))
        ;
    absent = wal->handed_in_tickets < wal->answered_tickets
                 ? wal->answered_tickets - wal->handed_in_tickets
                 : 0;
    wal->waited_in_vain = (wal->waited_in_vain * 7 + absent * 1024 / missing) / 8;
}

/* Waits for batches, for the time to try to heal, or for the end. */
static struct wal_batch *next_batches(struct wal *wal, bool *ret_stop)
{
    long heal_every_ms =
        wal->options.heal_every_ms != 0 ? wal->options.heal_every_ms : HEAL_EVERY_MS;
    struct wal_batch *batches;

    pthread_mutex_lock(&wal->lock);
    while (wal->handed_in == NULL && !wal->stopping) {
        bool ill = atomic_load_explicit(&wal->refusing, memory_order_relaxed);

        if (!sleep_for(wal, 1, ill ? clock_mono_us() + heal_every_ms * 1000 : INT64_MAX))
            break;
    }
    if (wal->handed_in != NULL)
        gather(wal);
    batches = wal->handed_in;
    wal->answered_tickets = wal->handed_in_tickets;
    wal->handed_in = NULL;
    wal->handed_in_end = &wal->handed_in;
    wal->handed_in_tickets = 0;
    *ret_stop = wal->stopping && batches == NULL;
    pthread_mutex_unlock(&wal->lock);
    return batches;
}

static void run_rounds(struct wal *wal, struct wal_batch *batches)
{
    int64_t started_us = clock_mono_us();

    while (batches != NULL) {
        uint64_t bytes;
        struct wal_batch *some = take_round(wal, &batches, &bytes);

        commit(wal, some, bytes);
    }
    wal->round_ended_us = clock_mono_us();
    wal->round_us += (wal->round_ended_us - started_us - wal->round_us) / 8;
}

void *committer_run(void *arg)
{
    struct wal *wal = arg;
    bool stop = false;

    while (!stop) {
        struct wal_batch *batches = next_batches(wal, &stop);

        if (batches != NULL)
            run_rounds(wal, batches);
        else if (!stop)
            heal(wal);
    }
    return NULL;
}
