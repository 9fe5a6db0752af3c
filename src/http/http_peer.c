/*
 * How many connections each address has: a hash table with an entry for every address that
 * has any, so it is bounded by the number of connections.
 *
 * An IPv6 client is given at least a /64 and may take any address of it, so that is what
 * counts as one. The lock is asked for when a connection is accepted and when it is gone.
 * The hash is seeded, so that nobody can choose addresses that fall into one chain.
 */
#include "base/mem.h"
#include "http/http_priv.h"

#include <netinet/in.h>
#include <sys/random.h>

enum { CHAINS = 4096 };

struct peer {
    struct peer *next;
    uint64_t address; /* of IPv4 all of it, of IPv6 the upper half */
    bool v6;
    unsigned connections;
};

struct peers {
    pthread_mutex_t lock;
    unsigned each;
    uint64_t seed;
    struct peer *chains[CHAINS];
};

struct peers *peers_open(unsigned each)
{
    struct peers *peers = mem_zalloc(sizeof *peers);

    pthread_mutex_init(&peers->lock, NULL);
    peers->each = each;
    if (getrandom(&peers->seed, sizeof peers->seed, 0) != sizeof peers->seed)
        peers->seed = (uint64_t)(uintptr_t)peers;
    return peers;
}

void peers_close(struct peers *peers)
{
    if (peers == NULL)
        return;
    for (int i = 0; i < CHAINS; i++) {
        struct peer *peer;

        while ((peer = peers->chains[i]) != NULL) {
            peers->chains[i] = peer->next;
            free(peer);
        }
    }
    pthread_mutex_destroy(&peers->lock);
    free(peers);
}

static uint64_t read_address(const struct sockaddr *address, bool *ret_v6)
{
    uint64_t half = 0;

    *ret_v6 = address->sa_family == AF_INET6;
    if (*ret_v6)
        memcpy(&half, &((const struct sockaddr_in6 *)address)->sin6_addr, sizeof half);
    else
        half = ((const struct sockaddr_in *)address)->sin_addr.s_addr;
    return half;
}

/* The finishing steps of MurmurHash3, https://github.com/aappleby/smhasher. */
static struct peer **chain_of(struct peers *peers, uint64_t address)
{
    uint64_t hash = address ^ peers->seed;

    hash = (hash ^ hash >> 33) * UINT64_C(0xff51afd7ed558ccd);
    hash = ((hash ^ hash >> 33) + peers->seed) * UINT64_C(0xc4ceb9fe1a85ec53);
    return &peers->chains[(hash ^ hash >> 33) % CHAINS];
}

struct peer *peer_claim(struct peers *peers, const struct sockaddr *address)
{
    bool v6;
    uint64_t half = read_address(address, &v6);
    struct peer **chain = chain_of(peers, half);
    struct peer *peer;

    pthread_mutex_lock(&peers->lock);
    for (peer = *chain; peer != NULL && (peer->address != half || peer->v6 != v6);)
        peer = peer->next;
    if (peer == NULL) {
        peer = mem_zalloc(sizeof *peer);
        peer->address = half;
        peer->v6 = v6;
        peer->next = *chain;
        *chain = peer;
    }
    if (peer->connections < peers->each)
        peer->connections++;
    else
        peer = NULL;
    pthread_mutex_unlock(&peers->lock);
    return peer;
}

void peer_release(struct peers *peers, struct peer *peer)
{
    pthread_mutex_lock(&peers->lock);
    if (--peer->connections == 0) {
        struct peer **at = chain_of(peers, peer->address);

        while (*at != peer)
            at = &(*at)->next;
        *at = peer->next;
        free(peer);
    }
    pthread_mutex_unlock(&peers->lock);
}
