/*
 * Where the server is: host names become addresses before libpq sees them, for libpq would look
 * them up without a time limit.
 *
 * getaddrinfo() cannot be interrupted, so it runs in a thread of its own, which is left to itself
 * when our time is over. The handle keeps the look-up and waits for the same one the next time:
 * there is never more than one such thread to a handle, however long a resolver hangs. Who is
 * last to let go of a look-up, thread or handle, frees it.
 *
 * The names stay beside the addresses, for certificates and password files. A name with several
 * addresses is listed with each, and libpq tries them in turn, as it does with several hosts. What
 * needs no look-up goes to libpq as it is: an address, a socket, URLs with `hostaddr` or without a
 * host.
 */
#include "store/postgres/postgres_priv.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct store_pg_lookup {
    atomic_int holders;  /* thread and handle */
    int done_fd;         /* readable when the rest is there */
    char *hosts, *ports; /* as in the URL, with commas; ports may be NULL */
    struct store_pg_place place;
    struct err fault; /* why the place has no host */
};

static void let_go(struct store_pg_lookup *lookup)
{
    if (atomic_fetch_sub(&lookup->holders, 1) > 1)
        return;
    store_pg_place_free(&lookup->place);
    close(lookup->done_fd);
    free(lookup->hosts);
    free(lookup->ports);
    free(lookup);
}

void store_pg_place_free(struct store_pg_place *place)
{
    buf_free(&place->hosts);
    buf_free(&place->addresses);
    buf_free(&place->ports);
}

static void rotate(struct buf *list, unsigned skip)
{
    struct buf turned = {0};
    size_t head = 0;

    buf_append_char(list, '\0');
    for (; skip > 0; skip--)
        head += strcspn(list->data + head, ",") + 1;
    buf_append_text(&turned, list->data + head);
    if (head > 0)
        buf_printf(&turned, ",%.*s", (int)head - 1, list->data);
    buf_append_char(&turned, '\0');
    buf_free(list);
    *list = turned;
}

void store_pg_place_finish(struct store_pg_place *place, unsigned skip)
{
    rotate(&place->hosts, skip % place->count);
    rotate(&place->addresses, skip % place->count);
    rotate(&place->ports, skip % place->count);
}

void store_pg_resolve_end(struct store_pg *pg)
{
    if (pg->lookup != NULL)
        let_go(pg->lookup);
    pg->lookup = NULL;
}

/* The next item of a list with commas; false behind the last. */
static bool next_item(const char **list, struct slice *ret)
{
    const char *at = *list;

    if (at == NULL)
        return false;
    *ret = (struct slice){at, strcspn(at, ",")};
    *list = at[ret->len] == ',' ? at + ret->len + 1 : NULL;
    return true;
}

/* A host that is no name: a socket, an address, or nothing. */
static bool is_found(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];

    return host[0] == '\0' || host[0] == '/' || host[0] == '@' ||
           inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

static void add(struct store_pg_place *place, const char *host, const char *address,
                struct slice port)
{
    const char *comma = place->count++ > 0 ? "," : "";

    buf_printf(&place->hosts, "%s%s", comma, host);
    buf_printf(&place->addresses, "%s%s", comma, address);
    buf_printf(&place->ports, "%s%.*s", comma, SLICE_ARG(port));
}

static void look_up(struct store_pg_lookup *lookup, const char *host, struct slice port)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int code = getaddrinfo(host, NULL, &hints, &found);

    if (code != 0) {
        err_set(&lookup->fault, ERR_UNAVAILABLE, "look up \"%s\": %s", host, gai_strerror(code));
        return;
    }
    for (const struct addrinfo *one = found; one != NULL; one = one->ai_next) {
        char address[NI_MAXHOST];

        if (getnameinfo(one->ai_addr, one->ai_addrlen, address, sizeof address, NULL, 0,
                        NI_NUMERICHOST) == 0)
            add(&lookup->place, host, address, port);
    }
    freeaddrinfo(found);
}

static void *run(void *arg)
{
    struct store_pg_lookup *lookup = arg;
    const char *hosts = lookup->hosts;
    const char *ports = lookup->ports;
    struct slice host, port = {0};

    err_set(&lookup->fault, ERR_UNAVAILABLE, "look up \"%s\": no address", lookup->hosts);
    while (next_item(&hosts, &host)) {
        char *name = mem_alloc(host.len + 1);

        memcpy(name, host.at, host.len);
        name[host.len] = '\0';
        (void)next_item(&ports, &port); /* a single one is for all */
        if (is_found(name))
            add(&lookup->place, name, "", port);
        else
            look_up(lookup, name, port);
        free(name);
    }
    if (eventfd_write(lookup->done_fd, 1) != 0)
        abort(); /* a counter at 0 takes it */
    let_go(lookup);
    return NULL;
}

static int begin(struct store_pg *pg, const char *hosts, const char *ports, struct err *err)
{
    struct store_pg_lookup *lookup = mem_zalloc(sizeof *lookup);
    pthread_attr_t detached;
    pthread_t thread;
    int code;

    atomic_init(&lookup->holders, 2);
    lookup->hosts = mem_strdup(hosts);
    lookup->ports = ports != NULL ? mem_strdup(ports) : NULL;
    lookup->done_fd = eventfd(0, EFD_CLOEXEC);
    if (lookup->done_fd < 0) {
        code = errno;
        goto drop;
    }
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    code = pthread_create(&thread, &detached, run, lookup);
    pthread_attr_destroy(&detached);
    if (code != 0)
        goto drop;
    pg->lookup = lookup;
    return 0;

drop:
    atomic_store(&lookup->holders, 1);
    let_go(lookup);
    return err_set(err, ERR_UNAVAILABLE, "look up \"%s\": %s", hosts, strerror(code));
}

/* Is it a name, or are there several? */
static bool needs_look_up(const char *hosts)
{
    return strchr(hosts, ',') != NULL || !is_found(hosts);
}

static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword != NULL; options++) {
        if (strcmp(options->keyword, keyword) == 0)
            return options->val;
    }
    return NULL;
}

static int begin_if_needed(struct store_pg *pg, struct err *err)
{
    PQconninfoOption *options = PQconninfoParse(pg->url, NULL);
    const char *hosts;
    int error = 0;

    if (options == NULL)
        return err_set(err, ERR_UNAVAILABLE, "connect: out of memory");
    hosts = value_of(options, "host");
    if (hosts != NULL && value_of(options, "hostaddr") == NULL && needs_look_up(hosts))
        error = begin(pg, hosts, value_of(options, "port"), err);
    PQconninfoFree(options);
    return error;
}

int store_pg_resolve(struct store_pg *pg, struct store_pg_place *ret, struct err *err)
{
    struct store_pg_lookup *lookup;
    eventfd_t one;
    int error = 0;

    if (pg->lookup == NULL)
        error = begin_if_needed(pg, err);
    lookup = pg->lookup;
    if (error != 0 || lookup == NULL)
        return error;
    error = store_pg_wait_for(pg, lookup->done_fd, POLLIN, err);
    if (error != 0)
        return err_wrap(err, "look up \"%s\"", lookup->hosts);
    if (eventfd_read(lookup->done_fd, &one) != 0)
        return err_set(err, ERR_UNAVAILABLE, "look up \"%s\": %m", lookup->hosts);
    if (lookup->place.count > 0) {
        *ret = lookup->place;
        lookup->place = (struct store_pg_place){0};
    } else {
        error = err_set(err, ERR_UNAVAILABLE, "%s", lookup->fault.text);
    }
    store_pg_resolve_end(pg);
    return error;
}
