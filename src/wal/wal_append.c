/*
 * The producer's side: records gather in an open batch, tickets name who waits for them,
 * and one hand-in a turn of the loop gives all of it to the committer. A batch that is large
 * already does not wait for the turn's end: the disk works while the loop reads on.
 *
 * The committer takes whatever has been handed in when it begins a round; what comes while
 * it writes and syncs waits for the next: that is the group in group commit.
 * A producer refuses when its batches hold max_bytes, or while the log refuses as a whole. It also
 * refuses a ticket a place in a batch of others that no segment would hold: a batch that fits into
 * one leaves nothing on disk when there is no room for it.
 *
 * A ticket's done() may append and flush again: its own batch is still under way then, and
 * what found no free batch goes in when this one has come home.
 */
#include "wal/wal_priv.h"

#include "base/mem.h"

#include <assert.h>
#include <sched.h>
#include <stdlib.h>

enum {
    LARGE = 128 * 1024, /* bytes that make a round of their own worth while */
    KEEP = 1024 * 1024  /* memory that an empty batch may keep */
};

static void batch_home(struct mail *mail);

struct wal_producer *wal_producer_open(struct wal *wal, struct mailbox *home, size_t max_bytes)
{
    struct wal_producer *producer = mem_zalloc(sizeof *producer);

    assert(!wal->options.read_only && max_bytes <= UINT32_MAX); /* tickets hold offsets */
    producer->wal = wal;
    producer->home = home;
    producer->max_bytes = max_bytes;
    for (int i = 0; i < BATCHES; i++) {
        producer->batches[i].producer = producer;
        producer->batches[i].mail.deliver = batch_home;
        producer->batches[i].next = producer->free;
        producer->free = &producer->batches[i];
    }
    producer->open = producer->free;
    producer->free = producer->open->next;
    return producer;
}

bool wal_producer_idle(const struct wal_producer *producer)
{
    return producer->under_way == 0 && producer->open->data.len == 0;
}

void wal_producer_close(struct wal_producer *producer)
{
    if (producer == NULL)
        return;
    assert(producer->under_way == 0);
    /* The last batch is home, but the committer may still be waking the mailbox's reader. */
    while (atomic_load_explicit(&producer->ringing, memory_order_acquire) != 0)
        sched_yield();
    for (int i = 0; i < BATCHES; i++) {
        buf_free(&producer->batches[i].data);
        buf_free(&producer->batches[i].positions);
    }
    free(producer);
}

int wal_reserve(struct wal_producer *producer, size_t max_len, char **ret, struct err *err)
{
    struct wal *wal = producer->wal;
    struct wal_batch *batch = producer->open;
    struct err reason;
    size_t filled;

    if (atomic_load_explicit(&wal->refusing, memory_order_relaxed) && wal_refusing(wal, &reason)) {
        if (err != NULL)
            *err = reason;
        return reason.code;
    }
    if (max_len > WAL_MAX_RECORD || RECORD_HEADER + max_len > segment_room(wal))
        return err_set(err, ERR_TOO_LARGE, "a record of up to %zu bytes fits no segment", max_len);
    filled = batch->data.len + RECORD_HEADER + max_len;
    if (producer->waiting_bytes + filled > producer->max_bytes ||
        (batch->claimed > 0 && filled > segment_room(wal)))
        return err_set(err, ERR_FULL, "too much is waiting for the disk");
    *ret = buf_reserve(&batch->data, RECORD_HEADER + max_len) + RECORD_HEADER;
    return 0;
}

void wal_append(struct wal_producer *producer, size_t len)
{
    struct buf *data = &producer->open->data;
    uint32_t length = (uint32_t)len;

    assert(data->cap - data->len >= RECORD_HEADER + len);
    memcpy(data->data + data->len + 4, &length, sizeof length);
    data->len += RECORD_HEADER + len;
    producer->open->records++;
}

void wal_await(struct wal_producer *producer, struct wal_ticket *ticket)
{
    struct wal_batch *batch = producer->open;

    assert(batch->claimed < batch->records);
    ticket->next = NULL;
    ticket->batch = batch;
    ticket->first = batch->claimed;
    ticket->records = batch->records - batch->claimed;
    batch->unclaimed = batch->data.len;
    batch->claimed = batch->records;
    batch->ticket_count++;
    if (batch->last_ticket != NULL)
        batch->last_ticket->next = ticket;
    else
        batch->tickets = ticket;
    batch->last_ticket = ticket;
    if (batch->data.len >= LARGE)
        wal_flush(producer);
}

void wal_forget(struct wal_producer *producer)
{
    producer->open->data.len = producer->open->unclaimed;
    producer->open->records = producer->open->claimed;
}

void wal_flush(struct wal_producer *producer)
{
    struct wal *wal = producer->wal;
    struct wal_batch *batch = producer->open;
    bool wake;

    assert(batch->unclaimed == batch->data.len);
    producer->flush_wanted = batch->tickets != NULL && producer->free == NULL;
    if (batch->tickets == NULL || producer->free == NULL)
        return;
    producer->open = producer->free;
    producer->free = producer->open->next;
    producer->under_way++;
    producer->waiting_bytes += batch->data.len;
    batch->next = NULL;
    pthread_mutex_lock(&wal->lock);
    *wal->handed_in_end = batch;
    wal->handed_in_end = &batch->next;
    wal->handed_in_tickets += batch->ticket_count;
    wake = wal->handed_in_tickets >= wal->wake_at;
    if (wake)
        wal->wake_at = WAKE_NEVER; /* once is enough */
    pthread_mutex_unlock(&wal->lock);
    if (wake)
        pthread_cond_signal(&wal->committer_wakes);
}

/* On the producer's thread: the batch is durable, or is not. */
static void batch_home(struct mail *mail)
{
    struct wal_batch *batch = (struct wal_batch *)((char *)mail - offsetof(struct wal_batch, mail));
    struct wal_producer *producer = batch->producer;
    struct wal_ticket *ticket = batch->tickets;

    while (ticket != NULL) {
        struct wal_ticket *next = ticket->next;

        ticket->done(ticket, batch->status, &batch->err);
        ticket = next;
    }
    producer->under_way--;
    producer->waiting_bytes -= batch->data.len;
    batch->tickets = NULL;
    batch->last_ticket = NULL;
    batch->ticket_count = 0;
    batch->unclaimed = 0;
    batch->claimed = 0;
    batch->records = 0;
    buf_reset(&batch->data, KEEP);
    buf_reset(&batch->positions, KEEP);
    batch->next = producer->free;
    producer->free = batch;
    if (producer->flush_wanted && producer->open->unclaimed == producer->open->data.len)
        wal_flush(producer);
}

uint64_t wal_ticket_position(const struct wal_ticket *ticket, uint32_t *iterator)
{
    const uint64_t *positions = (const void *)ticket->batch->positions.data;

    return positions[ticket->first + (*iterator)++];
}
