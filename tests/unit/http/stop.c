/* Stopping: gracefully, at the deadline, and under load. */
#include "later.h"

static void answer(struct http_request *request, void *arg)
{
    (void)arg;
    http_respond(request, 200, NULL, SLICE("{}"));
}

static atomic_bool stalled, may_go_on;

/* Holds its loop up. */
static void stall(struct http_request *request, void *arg)
{
    (void)arg;
    atomic_store(&stalled, true);
    WAIT_UNTIL(atomic_load(&may_go_on));
    http_respond(request, 200, NULL, SLICE("{}"));
}

static const struct http_route routes[] = {{"GET", "/much", answer_much, NULL},
                                           {"GET", "/stall", stall, NULL},
                                           {"POST", "/later", later_handle, NULL},
                                           {"POST", "/released", later_release, NULL},
                                           {"GET", "/", answer, NULL},
                                           {0}};

#define LATER "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
#define RELEASED "POST /released HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
#define GET "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
#define STALL "GET /stall HTTP/1.1\r\nHost: x\r\n\r\n"
#define LONG_MS (PATIENCE_S * 1000)

static struct http_server *start_later(void)
{
    struct http_options options = usual_options(routes);

    use_later(&options);
    later_begin();
    return start_server(&options);
}

struct stopping {
    struct http_server *server;
    int64_t timeout_ms;
    pthread_t thread;
};

static void *stop_main(void *arg)
{
    struct stopping *stopping = arg;

    http_stop(stopping->server, stopping->timeout_ms);
    return NULL;
}

static void begin_stop(struct stopping *stopping, struct http_server *server, int64_t timeout_ms)
{
    *stopping = (struct stopping){.server = server, .timeout_ms = timeout_ms};
    assert_int_equal(pthread_create(&stopping->thread, NULL, stop_main, stopping), 0);
}

/* Whether a new connection is refused; it may still be taken and closed at once. */
static bool is_refused(const struct http_server *server)
{
    const char *port = strrchr(http_addresses(server), ':') + 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(port)),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = make_socket();
    bool refused = connect(fd, (struct sockaddr *)&address, sizeof address) != 0;

    close(fd);
    return refused;
}

static void open_requests_are_finished_and_idle_connections_closed(void **state)
{
    struct http_server *server = start_later();
    struct stopping stopping;
    struct answer answer_;
    int idle = connect_to(server);
    int fresh = connect_to(server);
    int waiting = connect_to(server);
    int arriving = connect_to(server);

    (void)state;
    send_text(idle, GET);
    receive(idle, &answer_);
    assert_int_equal(answer_.status, 200);
    later_gate(false);
    send_text(waiting, LATER);
    send_text(arriving, "GET / HTTP/1.1\r\nHo");
    WAIT_UNTIL(atomic_load(&later.held) == 1);
    WAIT_UNTIL(http_stats(server).accepted == 4);
    begin_stop(&stopping, server, LONG_MS);
    assert_true(is_closed(idle));
    assert_true(is_closed(fresh));
    WAIT_UNTIL(is_refused(server));
    assert_true(is_silent(waiting));
    send_text(arriving, "st: x\r\n\r\n");
    receive(arriving, &answer_);
    assert_int_equal(answer_.status, 200);
    assert_string_equal(header_of(&answer_, "connection"), "close");
    later_gate(true);
    receive(waiting, &answer_);
    assert_int_equal(answer_.status, 202);
    assert_string_equal(header_of(&answer_, "connection"), "close");
    assert_true(is_closed(waiting));
    pthread_join(stopping.thread, NULL);
    assert_int_equal(atomic_load(&later.stopped), 2);
    assert_int_equal(http_stats(server).connections, 0);
    http_close(server);
    later_end();
    close(idle);
    close(fresh);
    close(waiting);
    close(arriving);
}

/* What ends a connection is the stop, and no limit. */
static struct http_server *start_patient(void)
{
    struct http_options options = usual_options(routes);

    options.header_timeout_ms = options.idle_timeout_ms = 10 * LONG_MS;
    return start_server(&options);
}

/* An idle connection on one of the two loops: the server closes it when it begins to stop. */
static int connect_idle(const struct http_server *server)
{
    struct answer answer_;
    int fd = connect_to(server);

    send_text(fd, GET);
    receive(fd, &answer_);
    assert_int_equal(answer_.status, 200);
    return fd;
}

/* A connection on the other loop, which it holds up. */
static int connect_stalled(const struct http_server *server, const char *requests)
{
    int fd = connect_to(server);

    atomic_store(&stalled, false);
    atomic_store(&may_go_on, false);
    send_text(fd, requests);
    WAIT_UNTIL(atomic_load(&stalled));
    return fd;
}

static void an_answer_on_its_way_is_finished_and_its_connection_closed(void **state)
{
    struct http_server *server = start_patient();
    struct stopping stopping;
    struct answer answer_;
    static char bytes[65536];
    int idle = connect_idle(server);
    int reading = connect_to(server);

    (void)state;
    send_text(reading, "GET /much HTTP/1.1\r\nHost: x\r\n\r\n");
    WAIT_UNTIL(http_stats(server).requests == 2);
    begin_stop(&stopping, server, 2 * LONG_MS);
    assert_true(is_closed(idle));
    receive_head(reading, &answer_);
    for (size_t left = MUCH; left > 0; left -= sizeof bytes)
        receive_exactly(reading, bytes, sizeof bytes);
    assert_true(is_closed(reading));
    pthread_join(stopping.thread, NULL);
    http_close(server);
    close(idle);
    close(reading);
}

/* The last answer says that it is. */
static void requests_that_wait_to_be_read_are_not_dropped_in_silence(void **state)
{
    struct http_server *server = start_patient();
    struct stopping stopping;
    struct answer answer_;
    int idle = connect_idle(server);
    int fd = connect_stalled(server, STALL GET GET GET);

    (void)state;
    begin_stop(&stopping, server, 2 * LONG_MS);
    assert_true(is_closed(idle));
    atomic_store(&may_go_on, true);
    do
        receive(fd, &answer_);
    while (header_of(&answer_, "connection") == NULL);
    assert_true(is_closed(fd));
    pthread_join(stopping.thread, NULL);
    http_close(server);
    close(idle);
    close(fd);
}

static void a_connection_that_comes_to_a_loop_which_stops_is_closed(void **state)
{
    struct http_server *server = start_patient();
    struct stopping stopping;
    struct answer answer_;
    int idle = connect_idle(server);
    int fd = connect_stalled(server, STALL);
    int beside = connect_to(server); /* to the loop that runs */
    int late;

    (void)state;
    WAIT_UNTIL(http_stats(server).accepted == 3);
    late = connect_to(server); /* to the one with fewer */
    WAIT_UNTIL(http_stats(server).accepted == 4);
    begin_stop(&stopping, server, 2 * LONG_MS);
    assert_true(is_closed(idle));
    atomic_store(&may_go_on, true);
    receive(fd, &answer_);
    assert_int_equal(answer_.status, 200);
    assert_true(is_closed(late));
    pthread_join(stopping.thread, NULL);
    http_close(server);
    close(idle);
    close(fd);
    close(beside);
    close(late);
}

static void what_is_not_done_at_the_deadline_is_cut(void **state)
{
    struct http_server *server = start_later();
    struct answer answer_;
    int waiting = connect_to(server);
    int arriving = connect_to(server);
    int sending = connect_to(server);

    (void)state;
    later_gate(false);
    send_text(waiting, LATER LATER);
    send_text(arriving, "GET / HTTP/1.1\r\nHo");
    send_text(sending, "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc");
    WAIT_UNTIL(atomic_load(&later.held) == 1);
    WAIT_UNTIL(http_stats(server).accepted == 3);
    http_stop(server, 100);
    receive(waiting, &answer_);
    assert_error(&answer_, 503);
    assert_string_equal(header_of(&answer_, "retry-after"), "2");
    assert_true(is_closed(waiting));
    assert_true(is_closed(arriving));
    assert_true(is_closed(sending));
    assert_int_equal(http_stats(server).connections, 0);
    http_close(server); /* with an answer still owed */
    later_end();
    close(waiting);
    close(arriving);
    close(sending);
}

/* It may be done all the same, so "no" would be a lie. */
static void what_is_released_is_cut_without_an_answer(void **state)
{
    struct http_server *server = start_later();
    int waiting = connect_to(server);

    (void)state;
    later_gate(false);
    send_text(waiting, RELEASED);
    WAIT_UNTIL(atomic_load(&later.held) == 1);
    http_stop(server, 0);
    assert_true(is_closed(waiting));
    assert_int_equal(http_stats(server).status[5], 0);
    assert_int_equal(http_stats(server).connections, 0);
    http_close(server);
    later_end();
    close(waiting);
}

/* Lets the answer come only now, when the request has been cut. */
static void answer_at_last(struct http_loop *loop, void *loop_arg)
{
    later_gate(true);
    WAIT_UNTIL(atomic_load(&later.posted) == 1);
    later_stop(loop, loop_arg);
}

static void an_answer_after_the_cut_goes_nowhere(void **state)
{
    struct http_options options = usual_options(routes);
    struct http_server *server;
    struct answer answer_;
    int fd;

    (void)state;
    use_later(&options);
    options.loops = 1;
    options.loop_stop = answer_at_last;
    later_begin();
    later_gate(false);
    server = start_server(&options);
    fd = connect_to(server);
    send_text(fd, LATER);
    WAIT_UNTIL(atomic_load(&later.held) == 1);
    http_stop(server, 0);
    receive(fd, &answer_);
    assert_error(&answer_, 503);
    assert_true(is_closed(fd));
    assert_int_equal(atomic_load(&later.held), 0);
    http_close(server);
    later_end();
    close(fd);
}

static void stopping_twice_or_before_any_start_is_harmless(void **state)
{
    struct http_options options = usual_options(routes);
    struct http_server *server = start_later();

    (void)state;
    http_stop(server, LONG_MS);
    http_stop(server, LONG_MS);
    http_close(server);
    later_end();
    assert_int_equal(http_open(&options, &server, NULL), 0);
    http_stop(server, 0);
    http_close(server);
}

struct client {
    struct http_server *server;
    pthread_t thread;
    _Atomic size_t answered;
    size_t unfinished; /* requests that were begun and not answered in full */
};

/* Asks on one connection until the server ends it. */
static void *ask_until_stopped(void *arg)
{
    struct client *client = arg;
    char text[1024];
    int fd = connect_to(client->server);

    for (;;) {
        ssize_t got = 0;

        if (send(fd, LATER, strlen(LATER), MSG_NOSIGNAL) <= 0)
            break;
        got = recv(fd, text, sizeof text - 1, 0);
        if (got <= 0)
            break; /* closed between two requests */
        text[got] = '\0';
        if (strstr(text, "{\"late\": true}") == NULL) {
            client->unfinished++;
            break;
        }
        atomic_fetch_add(&client->answered, 1);
        if (strstr(text, "Connection: close") != NULL)
            break;
    }
    close(fd);
    return NULL;
}

static void stopping_under_load_loses_no_answer(void **state)
{
    enum { CLIENTS = 8, ENOUGH = 50 };
    struct http_server *server = start_later();
    struct client clients[CLIENTS] = {0};
    uint64_t answered = 0;

    (void)state;
    for (int i = 0; i < CLIENTS; i++) {
        clients[i].server = server;
        pthread_create(&clients[i].thread, NULL, ask_until_stopped, &clients[i]);
    }
    for (int i = 0; i < CLIENTS; i++)
        WAIT_UNTIL(atomic_load(&clients[i].answered) >= ENOUGH);
    http_stop(server, LONG_MS);
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(clients[i].thread, NULL);
        assert_int_equal(clients[i].unfinished, 0);
        answered += clients[i].answered;
    }
    assert_int_equal(http_stats(server).requests, answered);
    assert_int_equal(http_stats(server).status[2], answered);
    http_close(server);
    later_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_requests_are_finished_and_idle_connections_closed),
        cmocka_unit_test(an_answer_on_its_way_is_finished_and_its_connection_closed),
        cmocka_unit_test(requests_that_wait_to_be_read_are_not_dropped_in_silence),
        cmocka_unit_test(a_connection_that_comes_to_a_loop_which_stops_is_closed),
        cmocka_unit_test(what_is_not_done_at_the_deadline_is_cut),
        cmocka_unit_test(what_is_released_is_cut_without_an_answer),
        cmocka_unit_test(an_answer_after_the_cut_goes_nowhere),
        cmocka_unit_test(stopping_twice_or_before_any_start_is_harmless),
        cmocka_unit_test(stopping_under_load_loses_no_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
