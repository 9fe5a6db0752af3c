/* Requests over TLS: the handshake and who fails it, what is refused, how connections end. */
#include "tls_client.h"

#include "base/crc32c.h"

enum { LARGE = 5 * 1024 * 1024 };

static struct files files;
static char large[150000]; /* all x */

/* "<path> <length of the body> <its sum>". */
static void describe(struct http_request *request, void *arg)
{
    struct slice body = http_request_body(request);
    struct buf out = {0};

    (void)arg;
    buf_append_slice(&out, http_request_path(request));
    buf_printf(&out, " %zu %u", body.len, crc32c(0, body.at, body.len));
    http_respond_as(request, 200, "text/plain", NULL, buf_slice(&out));
    buf_free(&out);
}

static void answer_large(struct http_request *request, void *arg)
{
    (void)arg;
    http_respond_as(request, 200, "text/plain", NULL, (struct slice){large, sizeof large});
}

static const struct http_route routes[] = {
    {"GET", "/{}", describe, NULL},
    {"POST", "/{}", describe, NULL},
    {"GET", "/large", answer_large, NULL},
    {0},
};

static struct http_options tls_options(void)
{
    struct http_options options = usual_options(routes);

    options.max_body = LARGE;
    options.idle_timeout_ms = 10 * PATIENCE_S * 1000; /* it must not do what close_notify does */
    options.tls_cert = files.cert;
    options.tls_key = files.key;
    return options;
}

static int set_up(void **state)
{
    struct http_options options;

    memset(large, 'x', sizeof large);
    make_folder(&files);
    make_certificate(&files, 1, 90);
    options = tls_options();
    *state = start_server(&options);
    return 0;
}

static int tear_down(void **state)
{
    end_server(*state);
    remove_folder(&files);
    return 0;
}

static void assert_served(struct client *client, const char *path)
{
    struct answer answer;
    char text[256];

    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    tls_send_text(client, text);
    tls_receive(client, &answer);
    assert_int_equal(answer.status, 200);
    assert_memory_equal(answer.body, path, strlen(path));
}

static void the_address_says_that_it_speaks_tls(void **state)
{
    assert_memory_equal(http_addresses(*state), "https://127.0.0.1:", 18);
}

static void both_versions_serve_many_requests_on_one_connection(void **state)
{
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct client client = open_client(*state);

        SSL_set_max_proto_version(client.ssl, version);
        assert_true(shake(&client));
        assert_int_equal(SSL_version(client.ssl), version);
        for (int i = 0; i < 50; i++)
            assert_served(&client, "/again");
        close_client(&client);
    }
}

static void an_old_version_is_told_so_and_closed(void **state)
{
    for (int version = TLS1_VERSION; version <= TLS1_1_VERSION; version++) {
        struct client client = open_client(*state);

        SSL_set_min_proto_version(client.ssl, version);
        SSL_set_max_proto_version(client.ssl, version);
        assert_false(shake(&client));
        assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_TLSV1_ALERT_PROTOCOL_VERSION);
        close_client(&client);
    }
}

static void weak_ciphers_are_refused(void **state)
{
    static const char *const weak[] = {"AES128-SHA",
                                       "AES256-GCM-SHA384",
                                       "ECDHE-ECDSA-AES128-SHA",
                                       "ECDHE-ECDSA-AES256-SHA384",
                                       "ECDHE-ECDSA-NULL-SHA",
                                       "ADH-AES128-GCM-SHA256"};

    for (size_t i = 0; i < sizeof weak / sizeof *weak; i++) {
        struct client client = open_client(*state);

        SSL_set_max_proto_version(client.ssl, TLS1_2_VERSION);
        assert_int_equal(SSL_set_cipher_list(client.ssl, weak[i]), 1);
        assert_false(shake(&client));
        assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE);
        close_client(&client);
    }
}

static void http_1_1_is_chosen_and_h2_alone_is_refused(void **state)
{
    static const unsigned char both[] = "\x02h2\x08http/1.1";
    struct client client = open_client(*state);
    const unsigned char *chosen;
    unsigned len;

    SSL_set_alpn_protos(client.ssl, both, sizeof both - 1);
    assert_true(shake(&client));
    SSL_get0_alpn_selected(client.ssl, &chosen, &len);
    assert_int_equal(len, 8);
    assert_memory_equal(chosen, "http/1.1", 8);
    close_client(&client);

    client = open_client(*state);
    SSL_set_alpn_protos(client.ssl, both, 3);
    assert_false(shake(&client));
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
    close_client(&client);
}

static void a_client_that_renegotiates_is_closed(void **state)
{
    struct client client = open_client(*state);
    char byte;

    SSL_set_max_proto_version(client.ssl, TLS1_2_VERSION);
    assert_true(shake(&client));
    assert_served(&client, "/before");
    assert_int_equal(SSL_renegotiate(client.ssl), 1);
    SSL_do_handshake(client.ssl);
    flush_client(&client);
    assert_true(tls_receive_some(&client, &byte, 1) <= 0);
    close_client(&client);
}

/* They are there before anything reads the socket. */
static void requests_that_come_with_the_end_of_the_handshake_are_checked_and_answered(void **state)
{
    static const char first[] = "GET /a%20b HTTP/1.1\r\nHost: x\r\n\r\n";
    static const char bad[] = "GET /x HTTP/1.1\r\nHost: x\r\nBroken header\r\n\r\n";
    struct client client = open_client(*state);
    struct answer answer;

    assert_true(shake_unsent(&client));
    assert_int_equal(SSL_write(client.ssl, first, sizeof first - 1), sizeof first - 1);
    assert_int_equal(SSL_write(client.ssl, bad, sizeof bad - 1), sizeof bad - 1);
    flush_client(&client);
    tls_receive(&client, &answer);
    assert_int_equal(answer.status, 200);
    assert_memory_equal(answer.body, "/a b ", 5);
    tls_receive(&client, &answer);
    assert_error(&answer, 400);
    close_client(&client);
}

static void pipelined_requests_are_answered_in_their_order(void **state)
{
    enum { REQUESTS = 500 };
    struct client client = connect_tls(*state);
    struct buf requests = {0};

    for (int i = 0; i < REQUESTS; i++)
        buf_printf(&requests, "GET /%d HTTP/1.1\r\nHost: x\r\n\r\n", i);
    tls_send(&client, requests.data, requests.len);
    for (int i = 0; i < REQUESTS; i++) {
        struct answer answer;
        char path[32];

        tls_receive(&client, &answer);
        snprintf(path, sizeof path, "/%d ", i);
        assert_memory_equal(answer.body, path, strlen(path));
    }
    buf_free(&requests);
    close_client(&client);
}

static void a_large_body_arrives_whole(void **state)
{
    struct client client = connect_tls(*state);
    char *body = mem_alloc(LARGE);
    struct answer answer;
    char text[128];

    for (size_t i = 0; i < LARGE; i++)
        body[i] = (char)(i * 2654435761u >> 13);
    for (int i = 0; i < 2; i++) {
        snprintf(text, sizeof text, "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
                 LARGE);
        tls_send_text(&client, text);
        for (size_t sent = 0; sent < LARGE; sent += LARGE / 10)
            tls_send(&client, body + sent, LARGE / 10);
        tls_receive(&client, &answer);
        snprintf(text, sizeof text, "/x %d %u", LARGE, crc32c(0, body, LARGE));
        assert_string_equal(answer.body, text);
    }
    free(body);
    close_client(&client);
}

static void a_large_answer_arrives_whole(void **state)
{
    struct client client = connect_tls(*state);
    struct answer answer;

    for (int i = 0; i < 3; i++) {
        tls_send_text(&client, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
        tls_receive(&client, &answer);
        assert_int_equal(answer.body_len, 150000);
        assert_int_equal(strspn(answer.body, "x"), 150000);
    }
    close_client(&client);
}

static void a_record_a_byte_at_a_time_is_read(void **state)
{
    struct client client = connect_tls(*state);
    static const char request[] = "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n";
    struct answer answer;
    char *bytes;
    long len;

    assert_int_equal(SSL_write(client.ssl, request, sizeof request - 1), sizeof request - 1);
    len = BIO_get_mem_data(SSL_get_wbio(client.ssl), &bytes);
    for (long i = 0; i < len; i++)
        send_bytes(client.fd, bytes + i, 1);
    (void)BIO_reset(SSL_get_wbio(client.ssl));
    tls_receive(&client, &answer);
    assert_int_equal(answer.status, 200);
    close_client(&client);
}

static void close_notify_is_answered_and_closes(void **state)
{
    struct client client = connect_tls(*state);

    assert_served(&client, "/x");
    assert_int_equal(SSL_shutdown(client.ssl), 0);
    flush_client(&client);
    assert_true(is_ended_in_order(&client));
    assert_true(is_closed(client.fd));
    close_client(&client);
}

static void a_request_before_close_notify_is_answered(void **state)
{
    struct client client = connect_tls(*state);
    static const char request[] = "GET /last HTTP/1.1\r\nHost: x\r\n\r\n";
    struct answer answer;

    SSL_write(client.ssl, request, sizeof request - 1);
    SSL_shutdown(client.ssl);
    flush_client(&client);
    tls_receive(&client, &answer);
    assert_int_equal(answer.status, 200);
    assert_true(is_ended_in_order(&client));
    close_client(&client);
}

static void answers_that_close_and_refusals_end_with_close_notify(void **state)
{
    static const struct {
        const char *request;
        int status;
    } cases[] = {
        {"GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200},
        {"GET /x HTTP/1.1\r\n\r\n", 400},
        {"no http at all\r\n\r\n", 400},
        {"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n", 413},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client client = connect_tls(*state);
        struct answer answer;

        tls_send_text(&client, cases[i].request);
        tls_receive(&client, &answer);
        assert_int_equal(answer.status, cases[i].status);
        assert_true(is_ended_in_order(&client));
        close_client(&client);
    }
}

static void http_in_the_clear_is_told_where_it_is(void **state)
{
    static const char *const texts[] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "nonsense"};
    uint64_t failures = http_stats(*state).handshake_failures;

    for (size_t i = 0; i < 2; i++) {
        struct answer answer;

        ask(*state, texts[i], &answer);
        assert_error(&answer, 400);
        assert_non_null(strstr(answer.body, "this port speaks TLS"));
    }
    assert_int_equal(http_stats(*state).handshake_failures, failures + 2);
}

static void a_client_that_leaves_at_any_moment_harms_nobody(void **state)
{
    struct client other = connect_tls(*state);
    uint64_t failures = http_stats(*state).handshake_failures;
    struct linger reset = {1, 0};

    for (int i = 0; i < 40; i++) {
        struct client client = open_client(*state);
        char *bytes;
        long len;

        if (i % 2 == 0)
            setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        SSL_do_handshake(client.ssl);
        len = BIO_get_mem_data(SSL_get_wbio(client.ssl), &bytes);
        try_send(client.fd, bytes, (size_t)(i % 4 < 2 ? len / 2 : len));
        close_client(&client);

        client = connect_tls(*state);
        tls_send_text(&client, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
        if (i % 2 == 0)
            setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close_client(&client);
    }
    WAIT_UNTIL(http_stats(*state).connections == 1);
    assert_true(http_stats(*state).handshake_failures > failures);
    assert_served(&other, "/still-there");
    close_client(&other);
}

static void damaged_records_close_the_connection(void **state)
{
    struct client client = connect_tls(*state);
    static const char request[] = "GET /x HTTP/1.1\r\nHost: x\r\n\r\n";
    char *bytes;
    long len;

    assert_served(&client, "/x");
    SSL_write(client.ssl, request, sizeof request - 1);
    len = BIO_get_mem_data(SSL_get_wbio(client.ssl), &bytes);
    bytes[len - 1] ^= 1;
    flush_client(&client);
    assert_true(is_closed(client.fd) || is_closed(client.fd));
    close_client(&client);
}

static void a_ticket_resumes_a_session(void **state)
{
    struct client client = connect_tls(*state);
    SSL_SESSION *session;

    assert_served(&client, "/x"); /* tickets come with it */
    session = SSL_get1_session(client.ssl);
    SSL_shutdown(client.ssl); /* without it OpenSSL takes the session for a broken one */
    close_client(&client);
    client = open_client(*state);
    SSL_set_session(client.ssl, session);
    assert_true(shake(&client));
    assert_int_equal(SSL_session_reused(client.ssl), 1);
    assert_served(&client, "/x");
    SSL_SESSION_free(session);
    close_client(&client);
}

static void a_slow_handshake_is_cut(void **state)
{
    struct http_options options = tls_options();
    struct http_server *server;
    struct client clients[3];

    (void)state;
    options.header_timeout_ms = 200;
    server = start_server(&options);
    for (int i = 0; i < 3; i++)
        clients[i] = open_client(server);
    SSL_do_handshake(clients[1].ssl);
    flush_client(&clients[1]); /* a whole hello, and no more */
    SSL_do_handshake(clients[2].ssl);
    send_bytes(clients[2].fd, "\x16\x03", 2);
    assert_true(is_closed(clients[0].fd));
    do
        fill_client(&clients[1]);
    while (!clients[1].ended);
    assert_true(is_closed(clients[2].fd));
    assert_int_equal(http_stats(server).timeouts, 3);
    for (int i = 0; i < 3; i++)
        close_client(&clients[i]);
    end_server(server);
}

/* The time of the handshake is not added to that of the head. */
static void a_client_that_sends_no_request_after_its_handshake_is_cut(void **state)
{
    struct http_options options = tls_options();
    struct http_server *server;
    struct client client;

    (void)state;
    options.header_timeout_ms = 300;
    server = start_server(&options);
    client = connect_tls(server);
    assert_true(is_ended_in_order(&client));
    assert_int_equal(http_stats(server).timeouts, 1);
    close_client(&client);
    end_server(server);
}

/* What is said in the clear it could not read. */
static void one_over_the_bound_of_its_address_is_closed_without_a_word(void **state)
{
    struct http_options options = tls_options();
    struct http_server *server;
    struct client client;
    int fd;

    (void)state;
    options.max_connections_per_address = 1;
    server = start_server(&options);
    client = connect_tls(server);
    fd = connect_to(server);
    assert_true(is_closed(fd));
    WAIT_UNTIL(http_stats(server).turned_away == 1);
    assert_served(&client, "/x");
    close(fd);
    close_client(&client);
    end_server(server);
}

static void stopping_ends_all_connections_in_order(void **state)
{
    struct http_options options = tls_options();
    struct http_server *server;
    struct client idle;
    struct client shaking;

    (void)state;
    server = start_server(&options);
    idle = connect_tls(server);
    assert_served(&idle, "/x");
    shaking = open_client(server);
    SSL_do_handshake(shaking.ssl);
    flush_client(&shaking);
    WAIT_UNTIL(http_stats(server).connections == 2);
    http_stop(server, PATIENCE_S * 1000);
    assert_int_equal(http_stats(server).timeouts, 0);
    assert_true(is_ended_in_order(&idle));
    do
        fill_client(&shaking);
    while (!shaking.ended);
    close_client(&idle);
    close_client(&shaking);
    http_close(server);
}

static void a_plain_and_a_tls_port_stand_side_by_side(void **state)
{
    struct http_options options = tls_options();
    struct http_server *server;
    const char *addresses;
    struct client client;
    struct answer answer;
    int fd;

    (void)state;
    options.listen = "https://127.0.0.1:0, http://127.0.0.1:0";
    server = start_server(&options);
    addresses = http_addresses(server);
    assert_memory_equal(addresses, "https://127.0.0.1:", 18);
    assert_memory_equal(strchr(addresses, ',') + 1, "127.0.0.1:", 10);
    fd = connect_to(server); /* the last address */
    send_text(fd, "GET /plain HTTP/1.1\r\nHost: x\r\n\r\n");
    receive(fd, &answer);
    assert_int_equal(answer.status, 200);
    send_bytes(fd, "\x16\x03\x01\x00\x05hello", 10);
    receive(fd, &answer);
    assert_error(&answer, 400);
    close(fd);
    end_server(server);

    options.listen = "http://127.0.0.1:0,127.0.0.1:0";
    server = start_server(&options);
    client = connect_tls(server);
    assert_served(&client, "/secure");
    close_client(&client);
    end_server(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_address_says_that_it_speaks_tls),
        cmocka_unit_test(both_versions_serve_many_requests_on_one_connection),
        cmocka_unit_test(an_old_version_is_told_so_and_closed),
        cmocka_unit_test(weak_ciphers_are_refused),
        cmocka_unit_test(http_1_1_is_chosen_and_h2_alone_is_refused),
        cmocka_unit_test(a_client_that_renegotiates_is_closed),
        cmocka_unit_test(requests_that_come_with_the_end_of_the_handshake_are_checked_and_answered),
        cmocka_unit_test(pipelined_requests_are_answered_in_their_order),
        cmocka_unit_test(a_large_body_arrives_whole),
        cmocka_unit_test(a_large_answer_arrives_whole),
        cmocka_unit_test(a_record_a_byte_at_a_time_is_read),
        cmocka_unit_test(close_notify_is_answered_and_closes),
        cmocka_unit_test(a_request_before_close_notify_is_answered),
        cmocka_unit_test(answers_that_close_and_refusals_end_with_close_notify),
        cmocka_unit_test(http_in_the_clear_is_told_where_it_is),
        cmocka_unit_test(a_client_that_leaves_at_any_moment_harms_nobody),
        cmocka_unit_test(damaged_records_close_the_connection),
        cmocka_unit_test(a_ticket_resumes_a_session),
        cmocka_unit_test(a_slow_handshake_is_cut),
        cmocka_unit_test(a_client_that_sends_no_request_after_its_handshake_is_cut),
        cmocka_unit_test(one_over_the_bound_of_its_address_is_closed_without_a_word),
        cmocka_unit_test(stopping_ends_all_connections_in_order),
        cmocka_unit_test(a_plain_and_a_tls_port_stand_side_by_side),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
