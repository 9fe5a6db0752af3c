/*
 * The loader: reads the log and encodes batches for the store.
 *
 * It waits for a first transaction, then for the batch's age to pass (not for every commit
 * of the log: that would be a thousand wake-ups a second), then takes all that is there, up
 * to the bounds. While the store is down both slots stay full and the loader sleeps.
 *
 * What can go wrong: damaged bytes are passed over; a disk that does not read is
 * asked again, with one line in the log.
 */
#include "forward/forward_priv.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"

#include <stdio.h>

enum { IDLE_MS = 500, DISK_PAUSE_MS = 1000 };

void batch_add(const struct forward *forward, struct store_batch *batch, uint64_t position,
               const struct txn *txn, const struct forward_user *user)
{
    const char *product = txn_product_name(forward->options.products, txn->product);
    char id[TXN_ID_SIZE];
    char unnamed[32];
    struct txn row;

    if (product == NULL) { /* taken when the table still had it */
        snprintf(unnamed, sizeof unnamed, "PRODUCT_%u", txn->product);
        product = unnamed;
    }
    if (user->name.at != txn->pennkey.at) {
        row = *txn;
        row.pennkey = user->name;
        txn = &row;
    }
    txn_id_format(id, queue_node(forward->options.queue), position);
    store_batch_add(batch, id, product, txn);
}

/* What is to be erased; and what was discarded, of before a store that was put back. */
static int is_left_out(const struct forward *forward, uint64_t position,
                       const struct forward_user *user, bool *ret, struct err *err)
{
    if (user->verdict != LEDGER_ERASE)
        return ledger_discarded(forward->options.ledger, position, ret, err);
    *ret = true;
    return 0;
}

static int add(struct forward *forward, struct slot *slot, const struct queue_item *item,
               const struct forward_user *user, struct err *err)
{
    bool left_out;
    int code = is_left_out(forward, item->position, user, &left_out, err);
    size_t count = store_batch_count(slot->batch);

    if (code != 0)
        return code;
    if (count == slot->room) {
        slot->room = slot->room == 0 ? 1024 : slot->room * 2;
        slot->positions = mem_realloc(slot->positions, slot->room * sizeof *slot->positions);
        slot->sessions = mem_realloc(slot->sessions, slot->room * sizeof *slot->sessions);
        slot->ordinals = mem_realloc(slot->ordinals, slot->room * sizeof *slot->ordinals);
    }
    if (!left_out) {
        slot->positions[count] = item->position;
        slot->ordinals[count] = slot->taken;
        slot->sessions[count] = (unsigned char)user->session;
        batch_add(forward, slot->batch, item->position, &item->txn, user);
    }
    slot->taken++;
    return 0;
}

static bool full(const struct forward *forward, const struct slot *slot)
{
    return store_batch_rows(slot->batch, 0, store_batch_count(slot->batch)) >=
               forward->options.batch_rows ||
           store_batch_bytes(slot->batch) >= forward->options.batch_bytes ||
           slot->taken >= forward->options.batch_rows;
}

/* Takes what is there. 0 when the batch is full, ERR_NOT_FOUND when the log has no more now,
 * ERR_BUSY when the next one's session has to be asked for; anything else when the disk fails. */
static int take(struct forward *forward, struct slot *slot, struct queue_reader *reader,
                struct err *err)
{
    while (!full(forward, slot)) {
        struct queue_item item;
        struct forward_user user;
        int code = queue_reader_next(reader, &item, err);

        if (code != 0 && code != ERR_CORRUPT)
            return code;
        if (code == 0) {
            code = forward_user(forward, item.position, &item.txn, &user)
                       ? add(forward, slot, &item, &user, err)
                       : ERR_BUSY;
            if (code != 0) {
                queue_reader_seek(reader, item.position);
                return code;
            }
        }
        slot->end = item.next;
    }
    return 0;
}

/* Sleeps unless there are new orders; true when there are. That what stands behind `from` is to go
 * ends the sleep, too, whether the gate has seen that order or not; a slot that gets empty does
 * not. */
static bool rest(struct forward *forward, int64_t ms, uint64_t from)
{
    int64_t deadline = clock_mono_us() / 1000 + ms;
    bool orders;

    pthread_mutex_lock(&forward->lock);
    while (!forward->stop_now && !forward->seek && !forward->stopping &&
           forward->ordered_to <= from && forward->memory.drain_to <= from) {
        int64_t left = deadline - clock_mono_us() / 1000;

        if (left <= 0 || !forward_wait(forward, &forward->loader_wakes, left))
            break;
    }
    orders = forward->stop_now || forward->seek;
    pthread_mutex_unlock(&forward->lock);
    return orders;
}

static bool has_orders(struct forward *forward)
{
    bool orders;

    pthread_mutex_lock(&forward->lock);
    orders = forward->stop_now || forward->seek;
    pthread_mutex_unlock(&forward->lock);
    return orders;
}

/* All that there is has been taken: the store keeps up, and may take its time. */
static void spread(struct forward *forward, struct slot *slot)
{
    bool stopping;

    pthread_mutex_lock(&forward->lock);
    stopping = forward->stopping;
    pthread_mutex_unlock(&forward->lock);
    if (!stopping)
        store_batch_spread(slot->batch, forward->options.batch_age_ms * 1000);
}

/* Fills a slot; false if new orders came first. */
static bool load(struct forward *forward, struct slot *slot, struct queue_reader *reader)
{
    bool disk_failed = false;
    bool aged = false;
    uint64_t start = slot->end;
    struct err err;

    for (;;) {
        int code = take(forward, slot, reader, &err);
        bool something = slot->end > start;

        if (code == ERR_BUSY) {
            if (something) /* what stands before it does not wait */
                return true;
            if (!loader_ask(forward, reader, slot->end))
                return false;
            continue;
        }
        if ((code == 0 || code == ERR_NOT_FOUND) && disk_failed) {
            log_info("forward", "the queue can be read again");
            disk_failed = false;
        }
        if (code == 0)
            return true;
        if (something && aged) {
            spread(forward, slot);
            return true;
        }
        if (code != ERR_NOT_FOUND) {
            if (!disk_failed)
                log_error("forward", "cannot read the queue: %s", err.text);
            disk_failed = true;
            if (rest(forward, DISK_PAUSE_MS, UINT64_MAX))
                return false;
        } else if (something) {
            if (rest(forward, forward->options.batch_age_ms, start))
                return false;
            aged = true;
        } else {
            queue_wait(forward->options.queue, slot->end, IDLE_MS);
            if (has_orders(forward) || !loader_gate(forward))
                return false;
        }
    }
}

/* Waits for orders and for an empty slot; NULL at the end. */
static struct slot *next_slot(struct forward *forward, struct queue_reader *reader,
                              uint64_t *position)
{
    struct slot *slot = NULL;

    pthread_mutex_lock(&forward->lock);
    for (;;) {
        if (forward->stop_now)
            break;
        if (forward->seek) {
            forward->seek = false;
            forward->loader_runs = true;
            *position = forward->seek_to;
            queue_reader_seek(reader, *position);
        }
        if (forward->loader_runs && !forward->slots[forward->load_slot].loaded) {
            slot = &forward->slots[forward->load_slot];
            break;
        }
        pthread_cond_wait(&forward->loader_wakes, &forward->lock);
    }
    pthread_mutex_unlock(&forward->lock);
    return slot;
}

static void hand_over(struct forward *forward, struct slot *slot, bool loaded)
{
    pthread_mutex_lock(&forward->lock);
    if (loaded && !forward->seek) {
        slot->loaded = true;
        forward->load_slot = (forward->load_slot + 1) % SLOTS;
    }
    pthread_mutex_unlock(&forward->lock);
    pthread_cond_signal(&forward->writer_wakes);
}

void *loader_run(void *arg)
{
    struct forward *forward = arg;
    struct queue_reader *reader = queue_reader_open(forward->options.queue, 0);
    uint64_t position = 0;
    struct slot *slot;

    thread_name("loader");
    if (store_embedded(forward->store))
        thread_background();
    while ((slot = next_slot(forward, reader, &position)) != NULL) {
        bool loaded;

        store_batch_reset(slot->batch);
        slot->taken = 0;
        slot->end = position;
        loaded = loader_gate(forward) && load(forward, slot, reader);
        if (loaded)
            position = slot->end;
        hand_over(forward, slot, loaded);
    }
    queue_reader_close(reader);
    return NULL;
}

void loader_seek(struct forward *forward, uint64_t position)
{
    pthread_mutex_lock(&forward->lock);
    forward->seek = true;
    forward->seek_to = position;
    for (int i = 0; i < SLOTS; i++)
        forward->slots[i].loaded = false;
    forward->write_slot = forward->load_slot;
    pthread_mutex_unlock(&forward->lock);
    pthread_cond_signal(&forward->loader_wakes);
    queue_wake(forward->options.queue);
}
