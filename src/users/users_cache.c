/*
 * A hash table with chains over a fixed set of entries, which stand in a ring by when they were
 * last looked at. Digests are keyed (users_digest()), so their first bytes are as good a hash as
 * any, and nobody outside can choose sessions that share a chain.
 */
#include "users/users_priv.h"

#include "base/mem.h"

#include <stdlib.h>

struct node {
    struct users_entry entry;
    unsigned char digest[USERS_DIGEST_SIZE];
    struct node *next;          /* in its chain */
    struct node *newer, *older; /* in the ring */
};

struct users_cache {
    struct node *nodes;
    size_t capacity, used;
    struct node **chains;
    size_t mask;
    struct node ring; /* .older: the newest, .newer: the oldest */
};

struct users_cache *users_cache_open(size_t capacity)
{
    struct users_cache *cache = mem_zalloc(sizeof *cache);
    size_t chains = 16;

    while (chains < capacity)
        chains *= 2;
    cache->capacity = capacity;
    cache->nodes = mem_zalloc(capacity * sizeof *cache->nodes); /* touched only as they are used */
    cache->chains = mem_zalloc(chains * sizeof(struct node *));
    cache->mask = chains - 1;
    cache->ring.newer = cache->ring.older = &cache->ring;
    return cache;
}

void users_cache_close(struct users_cache *cache)
{
    if (cache == NULL)
        return;
    free(cache->chains);
    free(cache->nodes);
    free(cache);
}

static struct node **chain_of(struct users_cache *cache, const unsigned char *digest)
{
    size_t hash;

    memcpy(&hash, digest, sizeof hash);
    return &cache->chains[hash & cache->mask];
}

/* Where the pointer to the node stands, or the NULL at the end of its chain. */
static struct node **place_of(struct users_cache *cache, const unsigned char *digest)
{
    struct node **place = chain_of(cache, digest);

    while (*place != NULL && memcmp((*place)->digest, digest, USERS_DIGEST_SIZE) != 0)
        place = &(*place)->next;
    return place;
}

static void leave_ring(struct node *node)
{
    node->newer->older = node->older;
    node->older->newer = node->newer;
}

static void make_newest(struct users_cache *cache, struct node *node)
{
    node->newer = &cache->ring;
    node->older = cache->ring.older;
    node->older->newer = node;
    cache->ring.older = node;
}

/* The node itself, looked at just now. */
static struct node *look_at(struct users_cache *cache, struct node *node)
{
    leave_ring(node);
    make_newest(cache, node);
    return node;
}

struct users_entry *users_cache_find(struct users_cache *cache,
                                     const unsigned char digest[USERS_DIGEST_SIZE], int64_t now_us)
{
    struct node *node = *place_of(cache, digest);

    if (node == NULL || node->entry.expires_us <= now_us)
        return NULL;
    return &look_at(cache, node)->entry;
}

/* One that is not in use, or the oldest. */
static struct node *take_node(struct users_cache *cache)
{
    struct node *node;
    struct node **place;

    if (cache->used < cache->capacity)
        return &cache->nodes[cache->used++];
    node = cache->ring.newer;
    place = place_of(cache, node->digest);
    *place = node->next;
    leave_ring(node);
    return node;
}

struct users_entry *users_cache_make(struct users_cache *cache,
                                     const unsigned char digest[USERS_DIGEST_SIZE], int64_t now_us)
{
    struct node *node = *place_of(cache, digest);

    if (node != NULL) {
        if (node->entry.expires_us <= now_us)
            node->entry = (struct users_entry){0};
        return &look_at(cache, node)->entry;
    }
    node = take_node(cache);
    *node = (struct node){.next = *chain_of(cache, digest)};
    memcpy(node->digest, digest, USERS_DIGEST_SIZE);
    *chain_of(cache, digest) = node;
    make_newest(cache, node);
    return &node->entry;
}
