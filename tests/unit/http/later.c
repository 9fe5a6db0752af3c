/* Requests that are answered later, by mail from another thread. */
#include "later.h"

static void see_absence(struct http_request *request, void *arg)
{
    (void)arg;
    assert_null(http_request_header(request, "x-not-there").at);
    http_respond(request, 200, NULL, SLICE("{}"));
}

static const struct http_route routes[] = {{"POST", "/later", later_handle, NULL},
                                           {"POST", "/released", later_release, NULL},
                                           {"GET", "/now", see_absence, NULL},
                                           {0}};

#define LATER "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
#define RELEASED "POST /released HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"

static int set_up(void **state)
{
    struct http_options options = usual_options(routes);

    use_later(&options);
    later_begin();
    *state = start_server(&options);
    return 0;
}

static int tear_down(void **state)
{
    end_server(*state);
    later_end();
    return 0;
}

static void an_answer_comes_from_another_thread(void **state)
{
    int fd = connect_to(*state);

    for (int i = 0; i < 200; i++) {
        struct answer answer;

        send_text(fd, LATER);
        receive(fd, &answer);
        assert_int_equal(answer.status, 202);
        assert_string_equal(answer.body, "{\"late\": true}");
    }
    close(fd);
}

static void many_connections_are_answered_in_bursts(void **state)
{
    enum { CONNECTIONS = 50, ROUNDS = 20 };
    int fds[CONNECTIONS];

    for (int i = 0; i < CONNECTIONS; i++)
        fds[i] = connect_to(*state);
    for (int round = 0; round < ROUNDS; round++) {
        later_gate(false);
        for (int i = 0; i < CONNECTIONS; i++)
            send_text(fds[i], LATER);
        WAIT_UNTIL(atomic_load(&later.held) == CONNECTIONS);
        for (int i = 0; i < CONNECTIONS; i++)
            assert_true(is_silent(fds[i]));
        later_gate(true);
        for (int i = 0; i < CONNECTIONS; i++) {
            struct answer answer;

            receive(fds[i], &answer);
            assert_int_equal(answer.status, 202);
        }
    }
    for (int i = 0; i < CONNECTIONS; i++)
        close(fds[i]);
}

static void connections_are_spread_evenly_over_the_loops(void **state)
{
    enum { CONNECTIONS = 40 };
    int fds[CONNECTIONS];
    size_t of_first = 0;
    struct batch *batch;

    WAIT_UNTIL(http_stats(*state).connections == 0);
    later_gate(false);
    for (int i = 0; i < CONNECTIONS; i++) {
        fds[i] = connect_to(*state);
        WAIT_UNTIL(http_stats(*state).connections == (uint64_t)i + 1);
        send_text(fds[i], LATER);
    }
    WAIT_UNTIL(atomic_load(&later.held) == CONNECTIONS);
    for (int i = 0; i < CONNECTIONS; i++) { /* all batches have been handed over */
        struct answer answer;

        if (i == 0) {
            pthread_mutex_lock(&later.lock);
            for (batch = later.waiting; batch != NULL; batch = batch->next)
                of_first += http_loop_index(batch->loop) == 0 ? batch->count : 0;
            pthread_mutex_unlock(&later.lock);
            later_gate(true);
        }
        receive(fds[i], &answer);
        close(fds[i]);
    }
    /* The last batch may still have been on its way when they were counted. */
    assert_in_range(of_first, CONNECTIONS / 2 - 1, CONNECTIONS / 2);
}

static void bytes_sent_while_waiting_are_the_next_request(void **state)
{
    int fd = connect_to(*state);
    struct answer answer;

    later_gate(false);
    send_text(fd, LATER);
    WAIT_UNTIL(atomic_load(&later.held) == 1);
    send_text(fd, "GET /now HTTP/1.1\r\nHost: x\r\n\r\nGET /no");
    later_gate(true);
    receive(fd, &answer);
    assert_int_equal(answer.status, 202);
    receive(fd, &answer);
    assert_int_equal(answer.status, 200);
    send_text(fd, "w HTTP/1.1\r\nHost: x\r\n\r\n");
    receive(fd, &answer);
    assert_int_equal(answer.status, 200);
    close(fd);
}

static void pipelined_requests_wait_for_each_other(void **state)
{
    int fd = connect_to(*state);
    struct answer answer;

    later_gate(false);
    send_text(fd, LATER LATER "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
    WAIT_UNTIL(atomic_load(&later.held) == 1);
    assert_true(is_silent(fd));
    later_gate(true);
    receive(fd, &answer);
    assert_int_equal(answer.status, 202);
    receive(fd, &answer);
    assert_int_equal(answer.status, 202);
    receive(fd, &answer);
    assert_int_equal(answer.status, 200);
    close(fd);
}

static void what_is_released_is_gone_and_answered_all_the_same(void **state)
{
    static const char *const texts[] = {RELEASED,
                                        RELEASED RELEASED "GET /now HTTP/1.1\r\nHost: x\r\n\r\n"};
    struct answer answer;

    for (int pipelined = 0; pipelined < 2; pipelined++) {
        int fd = connect_to(*state);

        later_gate(false);
        send_text(fd, texts[pipelined]);
        WAIT_UNTIL(atomic_load(&later.held) == 1);
        assert_true(is_silent(fd));
        later_gate(true);
        receive(fd, &answer);
        assert_int_equal(answer.status, 202);
        if (pipelined) {
            receive(fd, &answer);
            assert_int_equal(answer.status, 202);
        }
        send_text(fd, pipelined ? RELEASED : "GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
        receive(fd, &answer);
        assert_int_equal(answer.status, 200);
        if (pipelined) {
            receive(fd, &answer);
            assert_int_equal(answer.status, 202);
        }
        close(fd);
    }
    assert_int_equal(atomic_load(&later.remains), 0);
}

static void a_client_that_leaves_after_the_release_costs_nothing(void **state)
{
    int fd = connect_to(*state);

    later_gate(false);
    send_text(fd, RELEASED);
    WAIT_UNTIL(atomic_load(&later.held) == 1);
    close(fd);
    later_gate(true);
    WAIT_UNTIL(atomic_load(&later.held) == 0);
    WAIT_UNTIL(http_stats(*state).connections == 0);
}

static void an_answer_to_a_client_that_left_goes_nowhere(void **state)
{
    enum { CLIENTS = 20 };

    later_gate(false);
    for (int i = 0; i < CLIENTS; i++) {
        struct linger reset = {.l_onoff = 1, .l_linger = 0};
        int fd = connect_to(*state);

        send_text(fd, LATER);
        WAIT_UNTIL(atomic_load(&later.held) == (size_t)i + 1);
        if (i % 2 == 0)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fd);
    }
    later_gate(true);
    WAIT_UNTIL(atomic_load(&later.held) == 0);
    WAIT_UNTIL(http_stats(*state).connections == 0);
}

static void a_loop_tells_of_its_turns(void **state)
{
    size_t before = atomic_load(&later.turns);
    struct answer answer;

    ask(*state, "GET /now HTTP/1.1\r\nHost: x\r\n\r\n", &answer);
    WAIT_UNTIL(atomic_load(&later.turns) > before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_comes_from_another_thread),
        cmocka_unit_test(many_connections_are_answered_in_bursts),
        cmocka_unit_test(connections_are_spread_evenly_over_the_loops),
        cmocka_unit_test(bytes_sent_while_waiting_are_the_next_request),
        cmocka_unit_test(pipelined_requests_wait_for_each_other),
        cmocka_unit_test(what_is_released_is_gone_and_answered_all_the_same),
        cmocka_unit_test(a_client_that_leaves_after_the_release_costs_nothing),
        cmocka_unit_test(an_answer_to_a_client_that_left_goes_nowhere),
        cmocka_unit_test(a_loop_tells_of_its_turns),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
