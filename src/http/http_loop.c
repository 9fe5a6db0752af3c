/*
 * A loop: one thread that waits, serves what is ready, and tells its owner at the end of
 * each turn.
 *
 * Mail comes through an eventfd, written once for each burst. When the server stops, the
 * loop gives its listeners back, closes quiet connections and goes on turning until every
 * other one is done or the deadline has passed; then it cuts them. It leaves only after
 * all loops have stopped accepting, because until then one of them may send it a
 * connection.
 */
#include "base/clock.h"
#include "http/http_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* Between two attempts to cut what did not close at once. */
#define CUT_TURN_MS 10

/* Before accepting again, when descriptors or memory were short. */
#define ACCEPT_PAUSE_MS 100

/* libh2o keeps that many freed input buffers for reuse, 16 as shipped: fewer than a burst
 * of requests takes, and malloc() is slow at their size. */
#define KEPT_BUFFERS 256

void loop_wake(void *arg)
{
    const struct http_loop *loop = arg;
    const uint64_t one = 1;
    ssize_t written;

    /* It fails only when the counter is full: then the loop is awake anyway. */
    do {
        written = write(loop->wake_fd, &one, sizeof one);
    } while (written < 0 && errno == EINTR);
}

static void on_wake(h2o_socket_t *sock, const char *err)
{
    struct http_loop *loop = sock->data;
    uint64_t count;

    (void)err;
    if (read(loop->wake_fd, &count, sizeof count) < 0)
        return;
    if (atomic_load_explicit(&loop->mailbox.head, memory_order_relaxed) != NULL) {
        loop->happened = true;
        mailbox_deliver(&loop->mailbox);
    }
    accept_resume(loop);
}

static void open_mailbox(struct http_loop *loop)
{
    /* A descriptor of its own: libh2o closes this one while others may still send. */
    int fd = fcntl(loop->wake_fd, F_DUPFD_CLOEXEC, 0);

    if (fd < 0)
        h2o_fatal("no descriptor left for a loop");
    loop->wake_sock = h2o_evloop_socket_create(loop->evloop, fd, H2O_SOCKET_FLAG_DONT_READ);
    loop->wake_sock->data = loop;
    h2o_socket_read_start(loop->wake_sock, on_wake);
}

static void open_limits(struct http_loop *loop)
{
    const struct http_options *options = &loop->server->options;
    const int64_t linger_ms = 2000;
    const int64_t milliseconds[LIMITS] = {
        [LIMIT_HEADER] = options->header_timeout_ms,
        [LIMIT_BODY] = options->body_timeout_ms,
        [LIMIT_IDLE] = options->idle_timeout_ms,
        [LIMIT_SEND] = options->body_timeout_ms,
        [LIMIT_LINGER] = linger_ms,
    };

    for (int i = 0; i < LIMITS; i++)
        h2o_timeout_init(loop->evloop, &loop->limits[i], (uint64_t)milliseconds[i]);
    h2o_timeout_init(loop->evloop, &loop->accept_pause, ACCEPT_PAUSE_MS);
}

static void open_loop(struct http_loop *loop)
{
    char name[16];

    snprintf(name, sizeof name, "http-%u", loop->index);
    pthread_setname_np(pthread_self(), name);
    h2o_socket_buffer_prototype.allocator.max = KEPT_BUFFERS;
    loop->evloop = h2o_evloop_create();
    open_limits(loop);
    open_mailbox(loop);
}

/* What libh2o kept for reuse would be lost with the thread. The second list (it encrypts
 * into those) cannot be reached, so as many chunks as it holds are taken from it and freed. */
static void free_kept_memory(void)
{
    const int kept_chunks = 16;
    h2o_mem_recycle_t *buffers = &h2o_socket_buffer_prototype.allocator;

    while (buffers->cnt > 0)
        free(h2o_mem_alloc_recycle(buffers, 1));
    for (int i = 0; i < kept_chunks; i++) {
        h2o_mem_pool_t pool;

        h2o_mem_init_pool(&pool);
        h2o_mem_alloc_pool(&pool, 1);
        free(pool.chunks);
    }
}

static void close_loop(struct http_loop *loop)
{
    h2o_socket_close(loop->wake_sock);
    for (int i = 0; i < LIMITS; i++)
        h2o_timeout_dispose(loop->evloop, &loop->limits[i]);
    h2o_timeout_dispose(loop->evloop, &loop->accept_pause);
    h2o_evloop_destroy(loop->evloop);
    free_kept_memory();
    buf_free(&loop->answer);
}

static void begin_stop(struct http_loop *loop)
{
    h2o_linklist_t *link = loop->conns.next;

    loop->stopping = true;
    accept_stop(loop);
    while (link != &loop->conns) {
        struct http_conn *conn = H2O_STRUCT_FROM_MEMBER(struct http_conn, link, link);

        link = link->next;
        conn_close_if_quiet(conn);
    }
}

static void cut_all(struct http_loop *loop)
{
    h2o_linklist_t *link = loop->conns.next;

    while (link != &loop->conns) {
        struct http_conn *conn = H2O_STRUCT_FROM_MEMBER(struct http_conn, link, link);

        link = link->next;
        conn_cut(conn);
    }
}

/* Moves a stopping loop on; how long its next turn may wait, or -1 when it is done. */
static int32_t go_on_stopping(struct http_loop *loop)
{
    int64_t left_us = atomic_load(&loop->server->deadline_us) - clock_mono_us();

    if (loop->open == 0 && atomic_load(&loop->server->accepting) == 0)
        return -1;
    if (left_us <= 0) {
        cut_all(loop);
        return CUT_TURN_MS;
    }
    return left_us / 1000 < INT32_MAX ? (int32_t)(left_us / 1000) + 1 : INT32_MAX;
}

static void tell_owner(struct http_loop *loop)
{
    const struct http_options *options = &loop->server->options;

    if (loop->happened && options->loop_turn != NULL)
        options->loop_turn(loop, loop->arg);
    loop->happened = false;
}

/* One turn; how long the next may wait, or -1 for no next. What libh2o was given to write
 * outside of its run has callbacks waiting there, so then it must not wait; nor must it when
 * requests are at hand. */
static int32_t turn(struct http_loop *loop, int32_t wait_ms)
{
    int32_t next_ms = INT32_MAX;
    uint64_t writes;

    if (h2o_evloop_run(loop->evloop, wait_ms) != 0)
        return wait_ms; /* interrupted by a signal */
    writes = loop->writes;
    conn_settle(loop);
    tell_owner(loop);
    /* The deadline was set before it, and must not be read from before it. */
    if (atomic_load_explicit(&loop->server->stopping, memory_order_acquire)) {
        if (!loop->stopping)
            begin_stop(loop);
        next_ms = go_on_stopping(loop);
    }
    return next_ms > 0 && (loop->writes != writes || loop->unsettled != NULL) ? 0 : next_ms;
}

void *loop_main(void *arg)
{
    struct http_loop *loop = arg;
    const struct http_options *options = &loop->server->options;
    int32_t wait_ms = 0;

    open_loop(loop);
    if (options->loop_start != NULL)
        loop->arg = options->loop_start(loop, options->arg);
    accept_start(loop);
    sem_post(&loop->server->ready);
    do {
        while (wait_ms >= 0)
            wait_ms = turn(loop, wait_ms);
        mailbox_deliver(&loop->mailbox); /* with a connection, if one was on its way here */
        wait_ms = 0;
    } while (loop->open > 0);
    tell_owner(loop);
    if (options->loop_stop != NULL)
        options->loop_stop(loop, loop->arg);
    mailbox_deliver(&loop->mailbox);
    conn_settle(loop);
    close_loop(loop);
    return NULL;
}

void *http_loop_arg(const struct http_loop *loop)
{
    return loop->arg;
}

unsigned http_loop_index(const struct http_loop *loop)
{
    return loop->index;
}

struct mailbox *http_loop_mailbox(struct http_loop *loop)
{
    return &loop->mailbox;
}
