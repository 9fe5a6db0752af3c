/*
 * A "100 Continue" that the kernel does not take yet. libh2o writes it by the program's own
 * writev(), which tells it that the connection is full for as long as a test wants that.
 */
#include "client.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/uio.h>

enum { LARGE = 100 * 1024 };

static atomic_bool is_full;

ssize_t writev(int fd, const struct iovec *vector, int count)
{
    if (atomic_load(&is_full)) {
        errno = EAGAIN;
        return -1;
    }
    return syscall(SYS_writev, fd, vector, count);
}

static void answer(struct http_request *request, void *arg)
{
    (void)arg;
    http_respond(request, 200, NULL, SLICE("{}"));
}

static bool admit_nobody(struct http_request *request, void *arg)
{
    (void)arg;
    http_respond_error(request, 401, NULL, "who is there?");
    return false;
}

static const struct http_route routes[] = {
    {"GET", "/", answer, NULL},
    {"POST", "/", answer, NULL},
    {"POST", "/closed", answer, admit_nobody},
    {0},
};

static struct http_server *start_full(void)
{
    struct http_options options = usual_options(routes);

    options.loops = 1;
    options.max_body = 10 * LARGE;
    options.body_memory = 100 * LARGE;
    atomic_store(&is_full, true);
    return start_server(&options);
}

/* Sends the head, and once it has been read what comes behind it; returns when the loop has had
 * the time to read that, too. */
static int send_apart(struct http_server *server, const char *framing, const char *body)
{
    static const char more[LARGE];
    int other = connect_to(server);
    int fd = connect_to(server);

    send_text(fd, "POST /closed HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n");
    send_text(fd, framing);
    for (int i = 0; i < 6; i++) {
        struct answer answer_;

        if (i == 3) {
            send_text(fd, body);
            send_bytes(fd, more, sizeof more);
        }
        send_text(other, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        receive(other, &answer_);
        assert_int_equal(answer_.status, 200);
    }
    assert_int_equal(http_stats(server).body_bytes, 0);
    close(other);
    return fd;
}

static void assert_answered(int fd, int status)
{
    struct answer answer_;

    atomic_store(&is_full, false);
    receive_head(fd, &answer_);
    assert_int_equal(answer_.status, 100);
    receive(fd, &answer_);
    assert_int_equal(answer_.status, status);
    close(fd);
}

static void nothing_is_read_behind_a_small_body_before(void **state)
{
    struct http_server *server = start_full();

    (void)state;
    assert_answered(send_apart(server, "Content-Length: 5\r\n\r\n", "hello"), 200);
    end_server(server);
}

static void chunks_that_nobody_may_bring_are_not_read_before(void **state)
{
    struct http_server *server = start_full();

    (void)state;
    assert_answered(send_apart(server, "Transfer-Encoding: chunked\r\n\r\n", "80000\r\n"), 401);
    end_server(server);
}

#define EXPECTING "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"

/* Behind half a "100 Continue" no other answer can be read. */
static void one_whose_time_is_up_before_is_cut_without_another_answer(void **state)
{
    struct http_options options = usual_options(routes);
    struct http_server *server;
    int fd;

    (void)state;
    options.body_timeout_ms = 200;
    atomic_store(&is_full, true);
    server = start_server(&options);
    fd = connect_to(server);
    send_text(fd, EXPECTING);
    assert_true(is_closed(fd));
    assert_int_equal(http_stats(server).timeouts, 1);
    atomic_store(&is_full, false);
    WAIT_UNTIL(http_stats(server).connections == 0);
    close(fd);
    end_server(server);
}

static void *stop_at_once(void *server)
{
    http_stop(server, 0);
    return NULL;
}

static void a_stop_before_cuts_it(void **state)
{
    struct http_server *server = start_full();
    struct answer answer_;
    pthread_t stopping;
    int fd = connect_to(server);
    int other = connect_to(server);

    (void)state;
    send_text(fd, EXPECTING);
    for (int i = 0; i < 3; i++) { /* then it has been read */
        send_text(other, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        receive(other, &answer_);
    }
    assert_int_equal(pthread_create(&stopping, NULL, stop_at_once, server), 0);
    assert_true(is_closed(fd));
    atomic_store(&is_full, false);
    pthread_join(stopping, NULL);
    assert_int_equal(http_stats(server).connections, 0);
    http_close(server);
    close(fd);
    close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_read_behind_a_small_body_before),
        cmocka_unit_test(chunks_that_nobody_may_bring_are_not_read_before),
        cmocka_unit_test(one_whose_time_is_up_before_is_cut_without_another_answer),
        cmocka_unit_test(a_stop_before_cuts_it),
    };

    return cmocka_run_group_tests_name("http/continue", tests, NULL, NULL);
}
