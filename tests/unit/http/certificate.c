/* The certificate: what is refused at the start, and its exchange while connections are open. */
#include "tls_client.h"

#include <pthread.h>
#include <stdatomic.h>

static struct files files;

static void answer(struct http_request *request, void *arg)
{
    (void)arg;
    http_respond(request, 200, NULL, SLICE("{}"));
}

static const struct http_route routes[] = {{"GET", "/", answer, NULL}, {0}};

static struct http_options tls_options(void)
{
    struct http_options options = usual_options(routes);

    options.tls_cert = files.cert;
    options.tls_key = files.key;
    return options;
}

static int set_up(void **state)
{
    (void)state;
    make_folder(&files);
    make_certificate(&files, 1, 90);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(&files);
    return 0;
}

static void assert_served(struct client *client)
{
    struct answer got;

    tls_send_text(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    tls_receive(client, &got);
    assert_int_equal(got.status, 200);
}

static void assert_refused(const struct http_options *options, const char *words)
{
    struct http_server *server;
    struct err err;

    assert_int_not_equal(http_open(options, &server, &err), 0);
    if (strstr(err.text, words) == NULL)
        fail_msg("\"%s\" says nothing of \"%s\"", err.text, words);
    assert_null(strchr(err.text, '\n'));
}

static void files_that_are_no_pair_are_refused_in_words(void **state)
{
    struct http_options options = tls_options();
    struct files other;

    (void)state;
    options.tls_cert = "/nowhere/cert.pem";
    assert_refused(&options, "TLS certificate /nowhere/cert.pem: No such file");
    options = tls_options();
    options.tls_key = "/nowhere/key.pem";
    assert_refused(&options, "TLS key /nowhere/key.pem: No such file");
    options.tls_key = files.folder;
    assert_refused(&options, "not a regular file");
    options.tls_key = files.cert;
    assert_refused(&options, "TLS key");

    make_folder(&other);
    make_certificate(&other, 2, 90);
    options.tls_key = other.key;
    assert_refused(&options, "key values mismatch");
    write_file(other.cert, "this is no certificate\n");
    options = tls_options();
    options.tls_cert = other.cert;
    assert_refused(&options, "TLS certificate");
    remove_folder(&other);
}

static void a_key_under_a_passphrase_is_refused_without_a_question(void **state)
{
    struct http_options options = tls_options();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    struct files other;
    FILE *file;

    (void)state;
    make_folder(&other);
    file = open_file(other.key);
    assert_int_equal(
        PEM_write_PKCS8PrivateKey(file, key, EVP_aes_128_cbc(), "secret", 6, NULL, NULL), 1);
    fclose(file);
    options.tls_key = other.key;
    assert_refused(&options, "TLS key");
    EVP_PKEY_free(key);
    remove_folder(&other);
}

static void https_without_a_certificate_is_refused(void **state)
{
    struct http_options options = usual_options(routes);

    (void)state;
    options.listen = "127.0.0.1:0,https://127.0.0.1:0";
    assert_refused(&options, "needs a certificate");
    options.tls_cert = options.tls_key = "";
    assert_refused(&options, "needs a certificate");
    options.listen = "ftp://127.0.0.1:0";
    assert_refused(&options, "not an address");
}

static void a_new_certificate_is_for_new_connections(void **state)
{
    struct http_options options = tls_options();
    struct http_server *server = start_server(&options);
    struct client early = open_client(server); /* accepted, nothing sent */
    struct client old = connect_tls(server);
    struct client young;
    int64_t expires_s = http_stats(server).certificate_expires_s;
    struct err err;

    (void)state;
    assert_true(expires_s > time(NULL) + 89 * 24 * 3600);
    WAIT_UNTIL(http_stats(server).connections == 2);
    make_certificate(&files, 2, 180);
    assert_int_equal(http_reload(server, &err), 0);
    assert_true(http_stats(server).certificate_expires_s > expires_s + 80 * 24 * 3600);
    young = connect_tls(server);
    assert_true(shake(&early));
    assert_int_equal(serial_of(&old), 1);
    assert_int_equal(serial_of(&young), 2);
    assert_served(&old);
    assert_served(&early);
    assert_served(&young);
    close_client(&early);
    close_client(&old);
    close_client(&young);
    end_server(server);
}

static void a_bad_new_certificate_leaves_the_old_one(void **state)
{
    struct http_options options = tls_options();
    struct http_server *server;
    struct client client;
    int64_t expires_s;
    struct err err;

    (void)state;
    make_certificate(&files, 3, 90);
    server = start_server(&options);
    expires_s = http_stats(server).certificate_expires_s;
    write_file(files.cert, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert_int_equal(http_reload(server, &err), ERR_INVALID);
    unlink(files.cert);
    assert_int_equal(http_reload(server, &err), ERR_NOT_FOUND);
    assert_int_equal(http_stats(server).certificate_expires_s, expires_s);
    client = connect_tls(server);
    assert_int_equal(serial_of(&client), 3);
    assert_served(&client);
    close_client(&client);
    end_server(server);
    make_certificate(&files, 1, 90);
}

static void without_tls_there_is_nothing_to_reload(void **state)
{
    struct http_options options = usual_options(routes);
    struct http_server *server = start_server(&options);
    struct err err;

    (void)state;
    assert_int_equal(http_reload(server, &err), 0);
    assert_int_equal(http_stats(server).certificate_expires_s, 0);
    end_server(server);
}

struct user {
    pthread_t thread;
    struct http_server *server;
    atomic_bool *enough;
    long newest;
};

static void *use(void *arg)
{
    struct user *user = arg;
    struct client kept = connect_tls(user->server);
    bool last;

    do { /* once more when it is enough */
        struct client client;

        last = atomic_load(user->enough);
        client = connect_tls(user->server);
        user->newest = serial_of(&client);
        assert_served(&client);
        close_client(&client);
        assert_served(&kept);
    } while (!last);
    close_client(&kept);
    return NULL;
}

static void an_exchange_while_all_are_busy_loses_nobody(void **state)
{
    struct http_options options = tls_options();
    struct http_server *server = start_server(&options);
    atomic_bool enough = false;
    struct user users[3];
    struct err err;

    (void)state;
    for (int i = 0; i < 3; i++) {
        users[i] = (struct user){.server = server, .enough = &enough};
        assert_int_equal(pthread_create(&users[i].thread, NULL, use, &users[i]), 0);
    }
    for (int serial = 10; serial < 30; serial++) {
        uint64_t before = http_stats(server).handshakes;

        make_certificate(&files, serial, 90);
        assert_int_equal(http_reload(server, &err), 0);
        WAIT_UNTIL(http_stats(server).handshakes > before + 3);
    }
    atomic_store(&enough, true);
    for (int i = 0; i < 3; i++) {
        pthread_join(users[i].thread, NULL);
        assert_int_equal(users[i].newest, 29);
    }
    assert_int_equal(http_stats(server).handshake_failures, 0);
    end_server(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_that_are_no_pair_are_refused_in_words),
        cmocka_unit_test(a_key_under_a_passphrase_is_refused_without_a_question),
        cmocka_unit_test(https_without_a_certificate_is_refused),
        cmocka_unit_test(a_new_certificate_is_for_new_connections),
        cmocka_unit_test(a_bad_new_certificate_leaves_the_old_one),
        cmocka_unit_test(without_tls_there_is_nothing_to_reload),
        cmocka_unit_test(an_exchange_while_all_are_busy_loses_nobody),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
