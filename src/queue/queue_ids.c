/*
 * The memory of client ids: a ring in order of acceptance and a hash index into it. An entry
 * is 96 bits of a keyed hash of product and id, so that two different ids are taken for one with
 * a chance of one in 10^17 a million ids, the position of the transaction, and when it came.
 *
 * The oldest entry makes room for the newest, and one that is older than the window goes by
 * itself. Time is the ids' own (see struct id_clock): it is made of the times at which
 * transactions were received, so that a restart that reads them again comes to the same.
 *
 * At open entries are only lined up in the ring, and indexed when the last one is there: those that
 * newer ones push out by then need no place.
 *
 * The index is open addressing with linear probing at a load of at most one half; deleting
 * moves the entries behind a hole up, so that it never silts up.
 */
#include "queue/queue_priv.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "base/mem.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

/* A clock that is set back by less than this is not noticed: transactions of different loops
 * are not in strict order, and clocks are corrected by a little all the time. */
#define STEP_US INT64_C(60000000)
#define US_PER_SECOND 1000000

struct ids {
    struct id_entry *ring;
    uint64_t capacity;
    uint64_t head;    /* entries ever pushed; the newest is at head - 1 */
    uint64_t tail;    /* entries ever dropped; the oldest is at tail */
    uint64_t settled; /* head at the last settle */
    uint32_t *index;  /* ring slot + 1; 0: empty */
    uint64_t mask;
    bool loading; /* what is in the ring is not in the index yet */
    uint32_t window_s;
    struct id_clock clock;
    atomic_uint_fast64_t count;
};

uint32_t id_clock_read(struct id_clock *clock, int64_t received_us)
{
    if (clock->last_us == 0) {
        clock->elapsed_us = received_us;
        clock->last_us = received_us;
    } else if (received_us > clock->last_us) {
        clock->elapsed_us = (clock->elapsed_us + (received_us - clock->last_us)) & ID_CLOCK_MAX;
        clock->last_us = received_us;
    } else if (received_us < clock->last_us - STEP_US) {
        clock->last_us = received_us; /* set back: no time has passed, and it goes on from here */
    }
    return (uint32_t)(clock->elapsed_us / US_PER_SECOND);
}

struct id_entry id_entry_of(uint64_t seed, uint32_t product, struct slice id, uint64_t position,
                            uint32_t stamp_s)
{
    char named[sizeof product + TXN_MAX_CLIENT_ID];
    struct hash128 hash;

    /* The product is hashed like the id: in the seed it would do what some bytes of an id do. */
    assert(id.len <= TXN_MAX_CLIENT_ID);
    put_u32(named, product);
    memcpy(named + sizeof product, id.at, id.len);
    hash = hash128_seeded(seed, (struct slice){named, sizeof product + id.len});
    return (struct id_entry){hash.low, position, (uint32_t)hash.high, stamp_s};
}

struct ids *ids_open(uint64_t capacity, uint32_t window_s)
{
    struct ids *ids = mem_zalloc(sizeof *ids);
    uint64_t slots = 16;

    /* A failed round may cost the oldest entries; a little more room keeps the promise. */
    ids->capacity = capacity + capacity / 16 + 16;
    while (slots < ids->capacity * 2)
        slots *= 2;
    ids->ring = mem_zalloc(ids->capacity * sizeof *ids->ring);
    ids->index = mem_zalloc(slots * sizeof *ids->index);
    ids->mask = slots - 1;
    ids->window_s = window_s;
    return ids;
}

void ids_close(struct ids *ids)
{
    if (ids == NULL)
        return;
    free(ids->ring);
    free(ids->index);
    free(ids);
}

static struct id_entry *entry_at(const struct ids *ids, uint64_t number)
{
    return &ids->ring[number % ids->capacity];
}

/* The index slot of this hash, or the empty one where it belongs. */
static uint64_t find_slot(const struct ids *ids, const struct id_entry *wanted)
{
    uint64_t slot = wanted->hash & ids->mask;

    while (ids->index[slot] != 0) {
        const struct id_entry *entry = &ids->ring[ids->index[slot] - 1];

        if (entry->hash == wanted->hash && entry->hash_more == wanted->hash_more)
            break;
        slot = (slot + 1) & ids->mask;
    }
    return slot;
}

static void unindex(struct ids *ids, const struct id_entry *entry)
{
    uint64_t hole = find_slot(ids, entry);
    uint64_t slot = hole;

    if (ids->index[hole] == 0)
        return;
    for (;;) {
        uint64_t home;

        slot = (slot + 1) & ids->mask;
        if (ids->index[slot] == 0)
            break;
        home = ids->ring[ids->index[slot] - 1].hash & ids->mask;
        if (((slot - home) & ids->mask) >= ((slot - hole) & ids->mask)) {
            ids->index[hole] = ids->index[slot];
            hole = slot;
        }
    }
    ids->index[hole] = 0;
}

/* In place of an earlier entry of the same id, if there is one (ids_load()). */
static void enter(struct ids *ids, uint64_t number)
{
    ids->index[find_slot(ids, entry_at(ids, number))] = (uint32_t)(number % ids->capacity) + 1;
}

/* Unless a later entry of the same id has taken its place (ids_load()). */
static void forget(struct ids *ids, uint64_t number)
{
    const struct id_entry *entry = entry_at(ids, number);

    if (ids->index[find_slot(ids, entry)] == (uint32_t)(number % ids->capacity) + 1)
        unindex(ids, entry);
}

static void drop_oldest(struct ids *ids)
{
    if (!ids->loading)
        forget(ids, ids->tail);
    ids->tail++;
}

static void drop_aged(struct ids *ids, uint32_t now_s)
{
    while (ids->tail < ids->head &&
           id_is_aged(now_s, entry_at(ids, ids->tail)->stamp_s, ids->window_s))
        drop_oldest(ids);
}

static void push(struct ids *ids, const struct id_entry *entry)
{
    if (ids->head - ids->tail == ids->capacity)
        drop_oldest(ids);
    *entry_at(ids, ids->head) = *entry;
    if (!ids->loading)
        enter(ids, ids->head);
    ids->head++;
}

uint32_t ids_pass(struct ids *ids, int64_t received_us)
{
    uint32_t now_s = id_clock_read(&ids->clock, received_us);

    drop_aged(ids, now_s);
    return now_s;
}

bool ids_admit(struct ids *ids, const struct id_entry *entry, uint64_t *ret_original)
{
    uint64_t slot = find_slot(ids, entry);

    assert(!ids->loading);
    if (ids->index[slot] != 0) {
        *ret_original = ids->ring[ids->index[slot] - 1].position;
        return false;
    }
    push(ids, entry);
    return true;
}

void ids_load(struct ids *ids, const struct id_entry *entry)
{
    ids->loading = true;
    drop_aged(ids, entry->stamp_s);
    push(ids, entry); /* one that is known was stored again, after it had been forgotten once */
}

void ids_loaded(struct ids *ids)
{
    enum { AHEAD = 16 }; /* entries: their places in the index lie all over it */

    for (uint64_t number = ids->tail; number < ids->head; number++) {
        if (number + AHEAD < ids->head)
            __builtin_prefetch(&ids->index[entry_at(ids, number + AHEAD)->hash & ids->mask], 1);
        enter(ids, number);
    }
    ids->loading = false;
}

void ids_set_clock(struct ids *ids, const struct id_clock *clock)
{
    ids->clock = *clock;
}

void ids_settle(struct ids *ids, bool keep)
{
    while (!keep && ids->head > ids->settled && ids->head > ids->tail) {
        ids->head--;
        forget(ids, ids->head);
    }
    ids->settled = ids->head;
    atomic_store_explicit(&ids->count, ids->head - ids->tail, memory_order_relaxed);
}

uint64_t ids_count(struct ids *ids)
{
    return atomic_load_explicit(&ids->count, memory_order_relaxed);
}

uint64_t ids_bytes(const struct ids *ids)
{
    return ids->capacity * sizeof *ids->ring + (ids->mask + 1) * sizeof *ids->index;
}
