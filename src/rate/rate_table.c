/*
 * The meters by name: a hash table that grows only to its bound, under a lock that is asked
 * for once a caller. Meters are never taken out, because those who found one keep it: a
 * caller cannot get a fresh one by going away and coming back. Names come from
 * tokens and keys that were found good, so nobody outside can aim at a chain.
 */
#include "rate/rate.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct named {
    struct named *next;
    struct rate_meter meter;
    char name[];
};

struct rate_table {
    struct rate_limits limits;
    pthread_mutex_t lock;
    size_t count;
    size_t most;
    size_t mask;
    struct named **chains;
    struct rate_meter shared;
};

struct rate_table *rate_open(const struct rate_limits *limits, size_t meters)
{
    struct rate_table *table = mem_zalloc(sizeof *table);
    size_t chains = 1;

    while (chains < meters)
        chains *= 2;
    table->limits = *limits;
    table->most = meters;
    table->mask = chains - 1;
    table->chains = mem_zalloc(chains * sizeof *table->chains);
    table->shared.limits = &table->limits;
    pthread_mutex_init(&table->lock, NULL);
    return table;
}

void rate_close(struct rate_table *table)
{
    if (table == NULL)
        return;
    for (size_t i = 0; i <= table->mask; i++) {
        struct named *named;

        while ((named = table->chains[i]) != NULL) {
            table->chains[i] = named->next;
            free(named);
        }
    }
    pthread_mutex_destroy(&table->lock);
    free(table->chains);
    free(table);
}

/* FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/ */
static uint64_t hash_of(const char *name)
{
    uint64_t hash = UINT64_C(14695981039346656037);

    for (; *name != '\0'; name++)
        hash = (hash ^ (unsigned char)*name) * UINT64_C(1099511628211);
    return hash ^ hash >> 32;
}

static struct named *add(struct rate_table *table, struct named **chain, const char *name)
{
    size_t size = strlen(name) + 1;
    struct named *named = mem_zalloc(sizeof *named + size);

    memcpy(named->name, name, size);
    named->meter.limits = &table->limits;
    named->next = *chain;
    *chain = named;
    table->count++;
    return named;
}

struct rate_meter *rate_meter(struct rate_table *table, const char *name)
{
    struct named **chain;
    struct named *named;

    if (table == NULL || (table->limits.requests == 0 && table->limits.datapoints == 0))
        return NULL;
    chain = &table->chains[hash_of(name) & table->mask];
    pthread_mutex_lock(&table->lock);
    for (named = *chain; named != NULL && strcmp(named->name, name) != 0;)
        named = named->next;
    if (named == NULL && table->count < table->most)
        named = add(table, chain, name);
    pthread_mutex_unlock(&table->lock);
    return named != NULL ? &named->meter : &table->shared;
}
