/*
 * A server: its configuration, its listening sockets and its loops' threads.
 *
 * Opening does all that can fail for reasons outside (addresses, descriptors); starting
 * only makes threads. Each loop builds what is libh2o's on its own thread, because
 * libh2o's buffers belong to the thread that made them.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "http/http_priv.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* libh2o moves a buffer of 32 MiB into a file under /tmp: disk I/O on the loop, and a
 * SIGBUS when that disk is full. Bodies are bounded, so they stay in memory. */
static void keep_buffers_in_memory(void)
{
    h2o_socket_buffer_mmap_settings.threshold = SIZE_MAX;
}

static void init_loop(struct http_loop *loop, struct http_server *server, unsigned index)
{
    loop->server = server;
    loop->index = index;
    loop->wake_fd = -1;
    loop->listen_fds = mem_alloc(server->listener_count * sizeof *loop->listen_fds);
    for (size_t i = 0; i < server->listener_count; i++)
        loop->listen_fds[i] = -1;
    mailbox_init(&loop->mailbox, loop_wake, loop);
    h2o_linklist_init_anchor(&loop->conns);
}

static int open_descriptors(struct http_loop *loop, struct err *err)
{
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->wake_fd < 0)
        return err_system(err, errno, "make an eventfd");
    for (size_t i = 0; i < loop->server->listener_count; i++) {
        loop->listen_fds[i] = fcntl(loop->server->listeners[i].fd, F_DUPFD_CLOEXEC, 0);
        if (loop->listen_fds[i] < 0)
            return err_system(err, errno, "share a listening socket");
    }
    return 0;
}

static int open_loops(struct http_server *server, struct err *err)
{
    int code = 0;

    server->loops = mem_zalloc(server->options.loops * sizeof *server->loops);
    for (unsigned i = 0; i < server->options.loops; i++)
        init_loop(&server->loops[i], server, i);
    for (unsigned i = 0; code == 0 && i < server->options.loops; i++)
        code = open_descriptors(&server->loops[i], err);
    return code;
}

static void close_loop(struct http_loop *loop)
{
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    for (size_t i = 0; i < loop->server->listener_count; i++)
        if (loop->listen_fds[i] >= 0)
            close(loop->listen_fds[i]);
    free(loop->listen_fds);
    conn_free_all(loop);
}

int http_open(const struct http_options *options, struct http_server **ret, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct http_server *server = mem_zalloc(sizeof *server);
    int code;

    pthread_once(&once, keep_buffers_in_memory);
    assert(options->loops > 0 && options->max_connections > 0);
    server->options = *options;
    sem_init(&server->ready, 0, 0);
    route_compile(server);
    if (options->max_connections_per_address > 0)
        server->peers = peers_open(options->max_connections_per_address);
    code = certificate_open(server, err);
    if (code == 0)
        code = listen_open(server, err);
    server->options.listen = NULL; /* borrowed only until here */
    server->options.tls_cert = server->options.tls_key = NULL;
    if (code == 0)
        code = open_loops(server, err);
    if (code != 0) {
        http_close(server);
        return code;
    }
    *ret = server;
    return 0;
}

const char *http_addresses(const struct http_server *server)
{
    return server->addresses;
}

int http_start(struct http_server *server, struct err *err)
{
    sigset_t all;
    sigset_t before;
    int number = 0;

    /* Signals are for the thread that waits for them. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    atomic_store(&server->accepting, server->options.loops);
    while (number == 0 && server->started < server->options.loops) {
        struct http_loop *loop = &server->loops[server->started];

        number = pthread_create(&loop->thread, NULL, loop_main, loop);
        if (number == 0)
            server->started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    for (unsigned i = 0; i < server->started; i++)
        while (sem_wait(&server->ready) != 0)
            continue; /* interrupted by a signal */
    if (number != 0) {
        atomic_fetch_sub(&server->accepting, server->options.loops - server->started);
        http_stop(server, 0);
        return err_system(err, number, "start a thread for HTTP");
    }
    return 0;
}

void http_stop(struct http_server *server, int64_t timeout_ms)
{
    atomic_store(&server->deadline_us, clock_mono_us() + timeout_ms * 1000);
    atomic_store(&server->stopping, true);
    listen_close(server);
    for (unsigned i = 0; i < server->started; i++)
        loop_wake(&server->loops[i]);
    for (unsigned i = 0; i < server->started; i++)
        pthread_join(server->loops[i].thread, NULL);
    server->started = 0;
}

void http_close(struct http_server *server)
{
    assert(server->started == 0);
    for (unsigned i = 0; server->loops != NULL && i < server->options.loops; i++)
        close_loop(&server->loops[i]);
    peers_close(server->peers);
    listen_close(server);
    free(server->listeners);
    sem_destroy(&server->ready);
    route_free(server);
    certificate_close(server);
    free(server->loops);
    free(server->addresses);
    free(server);
}

static uint64_t read_counter(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

struct http_stats http_stats(const struct http_server *server)
{
    struct http_stats sum = {
        .body_bytes = atomic_load(&server->body_bytes),
        .certificate_expires_s = atomic_load(&server->tls.expires_s),
    };

    for (unsigned i = 0; i < server->options.loops; i++) {
        const struct http_loop *loop = &server->loops[i];

        sum.connections += read_counter(&loop->connections);
        sum.accepted += read_counter(&loop->accepted);
        sum.requests += read_counter(&loop->requests);
        for (size_t class = 0; class < 6; class ++)
            sum.status[class] += read_counter(&loop->status[class]);
        sum.timeouts += read_counter(&loop->timeouts);
        sum.turned_away += read_counter(&loop->turned_away);
        sum.over_memory += read_counter(&loop->over_memory);
        sum.handshakes += read_counter(&loop->handshakes);
        sum.handshake_failures += read_counter(&loop->handshake_failures);
    }
    return sum;
}
