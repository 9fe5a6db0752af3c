/*
 * The memory of client ids. An entry is 96 bits of a keyed hash of product and id, so that
 * two different ids are taken for one with a chance of one in 10^17 a million ids, and the
 * position of the transaction. The oldest entry makes room for the newest.
 *
 * The index is open addressing with linear probing at a load of at most one half; deleting
 * moves the entries behind a hole up, so that it never silts up.
 */
#include "queue/queue_priv.h"

#include "base/mem.h"

#include <stdlib.h>
#include <sys/random.h>
#include <xxhash.h>

struct entry {
    uint64_t hash;
    uint64_t position;
    uint32_t hash_more;
} __attribute__((packed));

struct ids {
    struct entry *ring;
    uint64_t capacity;
    uint64_t head;    /* entries ever pushed; the newest is at head - 1 */
    uint64_t tail;    /* entries ever dropped; the oldest is at tail */
    uint64_t settled; /* head at the last settle */
    uint32_t *index;  /* ring slot + 1; 0: empty */
    uint64_t mask;
    uint64_t seed;
};

struct ids *ids_open(uint64_t capacity)
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
    if (getrandom(&ids->seed, sizeof ids->seed, 0) != sizeof ids->seed)
        ids->seed = (uint64_t)(uintptr_t)ids; /* guessable, still correct */
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

static struct entry *entry_at(const struct ids *ids, uint64_t number)
{
    return &ids->ring[number % ids->capacity];
}

/* The index slot of this hash, or the empty one where it belongs. */
static uint64_t find_slot(const struct ids *ids, const struct entry *wanted)
{
    uint64_t slot = wanted->hash & ids->mask;

    while (ids->index[slot] != 0) {
        const struct entry *entry = &ids->ring[ids->index[slot] - 1];

        if (entry->hash == wanted->hash && entry->hash_more == wanted->hash_more)
            break;
        slot = (slot + 1) & ids->mask;
    }
    return slot;
}

static void unindex(struct ids *ids, const struct entry *entry)
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

bool ids_admit(struct ids *ids, uint32_t product, struct slice id, uint64_t position,
               uint64_t *ret_original)
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(id.at, id.len, ids->seed ^ product);
    struct entry entry = {hash.low64, position, (uint32_t)hash.high64};
    uint64_t slot = find_slot(ids, &entry);

    if (ids->index[slot] != 0) {
        *ret_original = ids->ring[ids->index[slot] - 1].position;
        return false;
    }
    if (ids->head - ids->tail == ids->capacity) {
        unindex(ids, entry_at(ids, ids->tail));
        ids->tail++;
        slot = find_slot(ids, &entry);
    }
    *entry_at(ids, ids->head) = entry;
    ids->index[slot] = (uint32_t)(ids->head % ids->capacity) + 1;
    ids->head++;
    return true;
}

void ids_settle(struct ids *ids, bool keep)
{
    while (!keep && ids->head > ids->settled && ids->head > ids->tail) {
        ids->head--;
        unindex(ids, entry_at(ids, ids->head));
    }
    ids->settled = ids->head;
}
