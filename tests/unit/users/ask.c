/*
 * Asking a provider that runs in this test: many at a time, again after failures, and until
 * when. A token "user-x" is of user x, "poison-400" is answered with 400, "page" with no JSON,
 * "huge" at a length that nobody reads; others are not active.
 */
#include "users/users_priv.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST = 64 };

/* -- the provider */

static struct {
    int listening;
    char url[64];
    pthread_t acceptor, talkers[MOST];
    int connections[MOST], count;
    pthread_mutex_t lock;
    atomic_bool broken; /* 503 to everybody */
    atomic_bool hangs;
    atomic_int requests, together; /* requests so far; wait for so many at a time */
    atomic_int present;
} provider = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void pause_a_little(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* One request into `text`; false at the end of the connection. */
static bool read_request(int connection, char *text, size_t size)
{
    size_t len = 0;

    for (;;) {
        ssize_t more = recv(connection, text + len, size - 1 - len, 0);
        const char *body, *length;

        if (more <= 0)
            return false;
        len += (size_t)more;
        text[len] = '\0';
        body = strstr(text, "\r\n\r\n");
        length = strstr(text, "Content-Length: ");
        if (body != NULL && length != NULL && strlen(body + 4) >= (size_t)atoi(length + 16))
            return true;
    }
}

static void answer(int connection, const char *request)
{
    const char *token = strstr(request, "&token=") + 7;
    char body[256] = "{\"active\":false}";
    char text[1 << 17];
    int status = 200, spaces = 0;

    if (atomic_load(&provider.broken))
        status = 503;
    else if (strncmp(token, "poison", 6) == 0)
        status = atoi(token + strlen("poison-"));
    else if (strncmp(token, "page", 4) == 0)
        snprintf(body, sizeof body, "<html>");
    else if (strncmp(token, "huge", 4) == 0)
        spaces = 1 << 16;
    else if (strncmp(token, "user-", 5) == 0)
        snprintf(body, sizeof body, "{\"active\":true,\"username\":\"%s\"}", token + 5);
    snprintf(text, sizeof text, "HTTP/1.1 %d Is\r\nContent-Length: %zu\r\n\r\n%s%*s", status,
             strlen(body) + (size_t)spaces, body, spaces, "");
    (void)!send(connection, text, strlen(text), MSG_NOSIGNAL);
}

static void *talk(void *arg)
{
    int connection = *(int *)arg;
    char request[4096];

    while (read_request(connection, request, sizeof request)) {
        atomic_fetch_add(&provider.requests, 1);
        atomic_fetch_add(&provider.present, 1);
        while (atomic_load(&provider.present) < atomic_load(&provider.together))
            pause_a_little();
        if (!atomic_load(&provider.hangs))
            answer(connection, request);
        /* else the next read ends when the client, or the test, closes the connection */
    }
    return NULL;
}

static void *accept_all(void *arg)
{
    int connection;

    (void)arg;
    while ((connection = accept(provider.listening, NULL, NULL)) >= 0) {
        pthread_mutex_lock(&provider.lock);
        assert_true(provider.count < MOST);
        provider.connections[provider.count] = connection;
        pthread_create(&provider.talkers[provider.count], NULL, talk,
                       &provider.connections[provider.count]);
        provider.count++;
        pthread_mutex_unlock(&provider.lock);
    }
    return NULL;
}

static int start_provider(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;

    (void)state;
    provider.listening = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(provider.listening, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(provider.listening, 16) != 0 ||
        getsockname(provider.listening, (struct sockaddr *)&address, &len) != 0)
        return -1;
    snprintf(provider.url, sizeof provider.url, "http://127.0.0.1:%d/", ntohs(address.sin_port));
    atomic_store(&provider.broken, false);
    atomic_store(&provider.hangs, false);
    atomic_store(&provider.requests, 0);
    atomic_store(&provider.present, 0);
    atomic_store(&provider.together, 0);
    return pthread_create(&provider.acceptor, NULL, accept_all, NULL);
}

static int stop_provider(void **state)
{
    (void)state;
    atomic_store(&provider.together, 0);
    shutdown(provider.listening, SHUT_RDWR);
    pthread_join(provider.acceptor, NULL);
    close(provider.listening);
    for (int i = 0; i < provider.count; i++) {
        shutdown(provider.connections[i], SHUT_RDWR);
        pthread_join(provider.talkers[i], NULL);
        close(provider.connections[i]);
    }
    provider.count = 0;
    return 0;
}

/* -- the room */

static struct users *open_users(int64_t patience_ms, int64_t timeout_ms)
{
    struct users_options options = {
        .url = provider.url,
        .client_id = "",
        .client_secret = "",
        .user_members = "username",
        .timeout_ms = timeout_ms,
        .patience_ms = patience_ms,
        .retry_min_ms = 1,
        .retry_max_ms = 5,
        .cache = 4 * USERS_AT_ONCE,
        .connections = 4,
    };
    struct users *users;

    assert_int_equal(users_open(&options, &users, NULL), 0);
    return users;
}

static void ask(struct users *users, const char *session)
{
    while (users_pause_ms(users) > 0)
        pause_a_little();
    users_ask(users, &(struct slice){session, strlen(session)}, 1);
}

/* For one that arrived just now. */
static enum users_answer find(struct users *users, const char *session)
{
    char name[USERS_NAME_SIZE];

    return users_find(users, slice_of(session), clock_wall_us(), name);
}

static enum users_answer find_of(struct users *users, const char *session, int64_t seconds_ago)
{
    char name[USERS_NAME_SIZE];

    return users_find(users, slice_of(session), clock_wall_us() - seconds_ago * 1000000, name);
}

/* For one that arrived an hour ago. */
static enum users_answer find_old(struct users *users, const char *session)
{
    return find_of(users, session, 3600);
}

static void an_answer_is_known_once_it_was_asked_for(void **state)
{
    struct users *users = open_users(60000, 5000);
    char name[USERS_NAME_SIZE] = "untouched";
    (void)state;

    assert_int_equal(users_find(users, SLICE("user-jdoe"), clock_wall_us(), name), USERS_OPEN);
    assert_string_equal(name, "untouched");
    ask(users, "user-jdoe");
    assert_int_equal(users_find(users, SLICE("user-jdoe"), clock_wall_us(), name), USERS_RESOLVED);
    assert_string_equal(name, "jdoe");
    ask(users, "nobodys");
    assert_int_equal(find(users, "nobodys"), USERS_REFUSED);
    assert_int_equal(find_old(users, "user-jdoe"), USERS_RESOLVED);
    assert_int_equal(users_status(users).requests, 2);
    assert_int_equal(users_status(users).failures, 0);
    assert_int_equal(users_pause_ms(users), 0);
    users_close(users);
}

static void many_are_asked_for_at_the_same_time(void **state)
{
    static char texts[USERS_AT_ONCE][16];
    struct users *users = open_users(60000, 30000);
    struct slice sessions[USERS_AT_ONCE];
    (void)state;

    atomic_store(&provider.together, 4); /* the first four answers wait for each other */
    for (int i = 0; i < USERS_AT_ONCE; i++) {
        snprintf(texts[i], sizeof texts[i], "user-%d", i);
        sessions[i] = slice_of(texts[i]);
    }
    users_ask(users, sessions, USERS_AT_ONCE);
    for (int i = 0; i < USERS_AT_ONCE; i++) {
        char name[USERS_NAME_SIZE];

        assert_int_equal(users_find(users, sessions[i], 0, name), USERS_RESOLVED);
        assert_string_equal(name, texts[i] + 5);
    }
    assert_int_equal(atomic_load(&provider.requests), USERS_AT_ONCE);
    users_close(users);
}

static void who_is_down_is_told_from_who_failed_once(void **state)
{
    struct users *users = open_users(60000, 5000);
    (void)state;

    atomic_store(&provider.broken, true);
    ask(users, "user-jdoe");
    assert_false(users_status(users).down);
    assert_int_equal(find_old(users, "user-jdoe"), USERS_OPEN);
    assert_int_equal(find_old(users, "user-never-asked"), USERS_OPEN);
    for (int i = 0; i < 3; i++)
        ask(users, "user-jdoe");
    assert_true(users_status(users).down);
    assert_non_null(strstr(users_status(users).last_error, "answered with 503"));
    assert_int_equal(find(users, "user-jdoe"), USERS_OPEN);
    assert_int_equal(find_of(users, "user-jdoe", 30), USERS_OPEN);
    assert_int_equal(find_old(users, "user-jdoe"), USERS_GIVEN_UP);
    assert_int_equal(find_old(users, "user-never-asked"), USERS_GIVEN_UP);
    atomic_store(&provider.broken, false);
    ask(users, "user-jdoe");
    assert_false(users_status(users).down);
    assert_int_equal(find_old(users, "user-jdoe"), USERS_RESOLVED);
    assert_int_equal(find_old(users, "user-never-asked"), USERS_OPEN);
    atomic_store(&provider.broken, true);
    ask(users, "user-other"); /* failures before the answer count no more */
    assert_false(users_status(users).down);
    users_close(users);
}

static void while_down_one_question_finds_out(void **state)
{
    static const struct slice sessions[] = {SLICE("user-a"), SLICE("user-b"), SLICE("user-c"),
                                            SLICE("user-d"), SLICE("user-e"), SLICE("user-f")};
    struct users *users = open_users(60000, 5000);
    int before;
    (void)state;

    atomic_store(&provider.broken, true);
    while (!users_status(users).down)
        ask(users, "user-a");
    before = atomic_load(&provider.requests);
    users_ask(users, sessions, 6);
    assert_int_equal(atomic_load(&provider.requests), before + 1);
    atomic_store(&provider.broken, false);
    users_ask(users, sessions, 6);
    for (int i = 0; i < 6; i++)
        assert_int_equal(find(users, sessions[i].at), USERS_RESOLVED);
    users_close(users);
}

static void a_session_that_fails_alone_is_given_up_before_its_time(void **state)
{
    static const char *const poisons[] = {"poison-400", "poison-403", "poison-413", "poison-422",
                                          "poison-431", "poison-500", "page",       "huge"};
    const size_t count = sizeof poisons / sizeof *poisons;
    struct users *users = open_users(50, 5000);
    int64_t later_us = clock_wall_us() + INT64_C(3600000000); /* never past patience */
    char name[USERS_NAME_SIZE];
    (void)state;

    for (size_t i = 0; i < 3 * count; i++)
        ask(users, poisons[i % count]);
    for (int i = 0; i < 100; i++)
        pause_a_little();
    for (size_t i = 0; i < count; i++)
        assert_int_equal(users_find(users, slice_of(poisons[i]), later_us, name), USERS_OPEN);
    ask(users, "user-jdoe"); /* only now it shows that the others fare better */
    for (size_t i = 0; i < count; i++)
        assert_int_equal(users_find(users, slice_of(poisons[i]), later_us, name), USERS_GIVEN_UP);
    assert_int_equal(users_find(users, SLICE("poison-2"), later_us, name), USERS_OPEN);
    users_close(users);
}

static void a_session_that_fails_alone_has_some_time(void **state)
{
    struct users *users = open_users(60000, 5000);
    (void)state;

    for (int i = 0; i < 3; i++)
        ask(users, "poison-400");
    ask(users, "user-jdoe");
    assert_int_equal(find(users, "poison-400"), USERS_OPEN);
    users_close(users);
}

static void after_its_time_three_failures_are_enough(void **state)
{
    struct users *users = open_users(60000, 5000);
    (void)state;

    for (int i = 0; i < 3; i++) {
        assert_int_equal(find_old(users, "poison-502"), USERS_OPEN);
        ask(users, "poison-502");
    }
    assert_false(users_status(users).down);
    assert_int_equal(find_of(users, "poison-502", 30), USERS_OPEN);
    assert_int_equal(find_old(users, "poison-502"), USERS_GIVEN_UP);
    users_close(users);
}

static void a_provider_in_trouble_is_no_sessions_fault(void **state)
{
    struct users *users = open_users(50, 5000);
    int64_t later_us = clock_wall_us() + INT64_C(3600000000);
    char name[USERS_NAME_SIZE];
    (void)state;

    atomic_store(&provider.broken, true);
    for (int i = 0; i < 5; i++)
        ask(users, "user-jdoe");
    atomic_store(&provider.broken, false);
    ask(users, "user-other");
    for (int i = 0; i < 100; i++)
        pause_a_little();
    assert_int_equal(users_find(users, SLICE("user-jdoe"), later_us, name), USERS_OPEN);
    assert_int_equal(find_old(users, "user-jdoe"), USERS_GIVEN_UP);
    ask(users, "user-jdoe");
    assert_int_equal(find_old(users, "user-jdoe"), USERS_RESOLVED);
    users_close(users);
}

static void one_that_upsets_the_provider_holds_up_no_others(void **state)
{
    static char texts[USERS_AT_ONCE][16] = {"poison-400"};
    struct users *users = open_users(60000, 5000);
    struct slice sessions[USERS_AT_ONCE];
    (void)state;

    for (int i = 0; i < USERS_AT_ONCE; i++) {
        if (i > 0)
            snprintf(texts[i], sizeof texts[i], "user-%d", i);
        sessions[i] = slice_of(texts[i]);
    }
    users_ask(users, sessions, USERS_AT_ONCE);
    assert_int_equal(find(users, "poison-400"), USERS_OPEN);
    for (int i = 1; i < USERS_AT_ONCE; i++)
        assert_int_equal(find(users, texts[i]), USERS_RESOLVED);
    users_close(users);
}

static void one_that_upsets_the_provider_is_asked_for_last(void **state)
{
    static const struct slice rounds[][2] = {{SLICE("poison-400"), SLICE("user-a")},
                                             {SLICE("user-b"), SLICE("poison-400")}};
    struct users *users = open_users(60000, 5000);
    (void)state;

    for (int i = 0; i < 2; i++) {
        while (!users_status(users).down) /* then one at a time, and none after a failure */
            ask(users, "poison-400");
        users_ask(users, rounds[i], 2);
        assert_int_equal(find(users, rounds[i][1 - i].at), USERS_RESOLVED);
    }
    users_close(users);
}

static void *ask_for_a_hang(void *arg)
{
    static const struct slice sessions[] = {SLICE("a"), SLICE("b"), SLICE("c"),
                                            SLICE("d"), SLICE("e"), SLICE("f")};

    users_ask(arg, sessions, 6);
    return NULL;
}

static void an_interruption_ends_questions_that_hang(void **state)
{
    struct users *users = open_users(60000, 600000);
    pthread_t asker;
    (void)state;

    atomic_store(&provider.hangs, true);
    assert_int_equal(pthread_create(&asker, NULL, ask_for_a_hang, users), 0);
    while (atomic_load(&provider.requests) < 4)
        pause_a_little();
    users_interrupt(users);
    pthread_join(asker, NULL);
    assert_int_equal(users->out, 0);
    assert_int_equal(find(users, "a"), USERS_OPEN);
    assert_true(users_pause_ms(users) > 0);
    ask_for_a_hang(users); /* at once */
    assert_int_equal(users_status(users).failures, 0);
    users_close(users);
}

static void *ask_often(void *arg)
{
    char text[16];

    for (int i = 0; i < 200; i++) {
        snprintf(text, sizeof text, "user-%d", i % 40);
        if (find(arg, text) == USERS_OPEN)
            users_ask(arg, &(struct slice){text, strlen(text)}, 1);
        assert_int_equal(find(arg, text), USERS_RESOLVED);
    }
    return NULL;
}

static void several_threads_may_ask(void **state)
{
    struct users *users = open_users(60000, 30000);
    pthread_t askers[3];
    (void)state;

    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&askers[i], NULL, ask_often, users), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(askers[i], NULL);
    users_close(users);
}

/* RFC 6749, section 2.3.1. */
static void credentials_are_encoded_as_a_form_has_them(void **state)
{
    struct users_options options = {
        .url = provider.url,
        .client_id = "labs analytics",
        .client_secret = "a+b/c:d%\xc3\xa9-._~",
        .user_members = "username",
        .cache = 4 * USERS_AT_ONCE,
        .connections = 1,
    };
    struct users *users;
    (void)state;

    assert_int_equal(users_open(&options, &users, NULL), 0);
    assert_string_equal(users->login, "labs+analytics");
    assert_string_equal(users->secret, "a%2Bb%2Fc%3Ad%25%C3%A9-._~");
    users_close(users);
}

static void without_a_url_sessions_are_of_no_use(void **state)
{
    struct users *users;
    (void)state;

    assert_int_equal(users_open(&(struct users_options){.url = ""}, &users, NULL), 0);
    assert_false(users_take_sessions(users));
    ask_for_a_hang(users);
    assert_int_equal(find(users, "user-jdoe"), USERS_GIVEN_UP);
    assert_false(users_status(users).asks);
    users_close(users);
}

#define WITH_PROVIDER(test) cmocka_unit_test_setup_teardown(test, start_provider, stop_provider)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PROVIDER(an_answer_is_known_once_it_was_asked_for),
        WITH_PROVIDER(many_are_asked_for_at_the_same_time),
        WITH_PROVIDER(who_is_down_is_told_from_who_failed_once),
        WITH_PROVIDER(while_down_one_question_finds_out),
        WITH_PROVIDER(a_session_that_fails_alone_is_given_up_before_its_time),
        WITH_PROVIDER(a_session_that_fails_alone_has_some_time),
        WITH_PROVIDER(after_its_time_three_failures_are_enough),
        WITH_PROVIDER(a_provider_in_trouble_is_no_sessions_fault),
        WITH_PROVIDER(one_that_upsets_the_provider_holds_up_no_others),
        WITH_PROVIDER(one_that_upsets_the_provider_is_asked_for_last),
        WITH_PROVIDER(an_interruption_ends_questions_that_hang),
        WITH_PROVIDER(several_threads_may_ask),
        cmocka_unit_test(credentials_are_encoded_as_a_form_has_them),
        cmocka_unit_test(without_a_url_sessions_are_of_no_use),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
