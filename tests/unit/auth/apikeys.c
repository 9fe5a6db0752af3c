/*
 * API keys: what a request may ask for, what a key then may, and which texts are keys.
 */
#include "ring.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>

static void a_write_key_says_what_it_may(void **state)
{
    struct bench bench;
    const struct auth_claims *claims;
    char key[AUTH_KEY_SIZE];
    char subject[32];

    (void)state;
    start_bench(&bench, 10);
    create(&bench,
           "{\"scope\":\"write\",\"products\":[\"CLUBS\",9],\"name\":\"the web page\","
           "\"origins\":[\"https://PennClubs.com\"]}",
           key);
    assert_int_equal(check_at(&bench, key, NOW, &claims), 0);
    snprintf(subject, sizeof subject, "key:%.10s", key + 3);
    assert_string_equal(claims->subject, subject);
    assert_int_equal(claims->scopes, AUTH_WRITE);
    assert_false(claims->development);
    assert_true(auth_may_write(claims, 10));
    assert_true(auth_may_write(claims, 9));
    assert_false(auth_may_write(claims, 0));
    assert_true(auth_may_come_from(claims, SLICE("https://pennclubs.com")));
    assert_false(auth_may_come_from(claims, SLICE("https://pennclubs.com:444")));
    assert_false(auth_may_come_from(claims, SLICE("null")));
    assert_false(auth_may_come_from(claims, (struct slice){NULL, 0}));
    assert_int_equal(claims->expires_us, INT64_MAX);
    close_bench(&bench);
}

static void readers_and_admins_do_not_write(void **state)
{
    struct bench bench;
    const struct auth_claims *claims;
    char key[AUTH_KEY_SIZE];

    (void)state;
    start_bench(&bench, 10);
    create(&bench, "{\"scope\":\"read\"}", key);
    assert_int_equal(check_at(&bench, key, NOW, &claims), 0);
    assert_int_equal(claims->scopes, AUTH_READ);
    assert_true(auth_may_come_from(claims, SLICE("https://any.example")));
    assert_true(auth_may_come_from(claims, (struct slice){NULL, 0}));
    create(&bench, "{\"scope\":\"admin\",\"products\":[],\"expires\":null}", key);
    assert_int_equal(check_at(&bench, key, NOW, &claims), 0);
    assert_int_equal(claims->scopes, AUTH_READ | AUTH_ADMIN);
    close_bench(&bench);
}

static void is_refused(struct bench *bench, const char *request, const char *words)
{
    char id[AUTH_KEY_ID_SIZE];
    struct buf out = {0};
    struct err err = {0};

    if (auth_keyring_create(bench->ring, slice_of(request), NOW, id, &out, &err) != ERR_INVALID)
        fail_msg("%s is taken", request);
    if (strncmp(err.text, words, strlen(words)) != 0)
        fail_msg("%s: %s", request, err.text);
    assert_int_equal(out.len, 0);
}

static void a_request_that_is_wrong_is_told_where(void **state)
{
    static const char *const table[][2] = {
        {"", "a key is described"},
        {"[]", "a key is described"},
        {"{\"scope\":\"read\"", "a key is described"},
        {"{\"scope\":\"read\",\"scope\":\"admin\"}", "a key is described"},
        {"{}", "scope:"},
        {"{\"scope\":\"owner\"}", "scope:"},
        {"{\"scope\":7}", "scope:"},
        {"{\"scope\":\"write\"}", "products: a write key needs"},
        {"{\"scope\":\"write\",\"products\":[]}", "products: a write key needs"},
        {"{\"scope\":\"read\",\"products\":[\"CLUBS\"]}", "products: only a write key"},
        {"{\"scope\":\"write\",\"products\":\"CLUBS\"}", "products: must be a list"},
        {"{\"scope\":\"write\",\"products\":[\"NONE\"]}", "products: there is no product"},
        {"{\"scope\":\"write\",\"products\":[\"\"]}", "products: there is no product"},
        {"{\"scope\":\"write\",\"products\":[4294967295]}", "products: must be"},
        {"{\"scope\":\"write\",\"products\":[99]}", "products: there is no product"},
        {"{\"scope\":\"write\",\"products\":[-1]}", "products: must be"},
        {"{\"scope\":\"write\",\"products\":[1.5]}", "products: must be"},
        {"{\"scope\":\"read\",\"origins\":[\"*\"]}", "origins:"},
        {"{\"scope\":\"read\",\"origins\":[\"null\"]}", "origins:"},
        {"{\"scope\":\"read\",\"origins\":[3]}", "origins:"},
        {"{\"scope\":\"read\",\"origins\":\"https://a.example\"}", "origins: must be a list"},
        {"{\"scope\":\"read\",\"origin\":[\"https://a.example\"]}", "origin: there is no such"},
        {"{\"scope\":\"read\",\"sha256\":\"\"}", "sha256: there is no such"},
        {"{\"scope\":\"read\",\"name\":\"a\\nb\"}", "name:"},
        {"{\"scope\":\"read\",\"name\":7}", "name:"},
        {"{\"scope\":\"read\",\"expires\":\"tomorrow\"}", "expires: must be an RFC 3339"},
        {"{\"scope\":\"read\",\"expires\":1890000000}", "expires: must be an RFC 3339"},
        {"{\"scope\":\"read\",\"expires\":\"2100-01-01T00:00:00Z\"}", "expires: must be an RFC"},
        {"{\"scope\":\"read\",\"expires\":\"2026-09-21T14:13:20Z\"}", "expires: must be in the"},
    };
    struct bench bench;

    (void)state;
    start_bench(&bench, 10);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        is_refused(&bench, table[i][0], table[i][1]);
    close_bench(&bench);
}

static void a_key_has_no_more_products_than_it_may(void **state)
{
    struct bench bench;
    char key[AUTH_KEY_SIZE];

    (void)state;
    start_bench(&bench, 10);
    for (int count = APIKEY_MOST_LIST; count <= APIKEY_MOST_LIST + 1; count++) {
        struct buf text = {0};

        buf_append_text(&text, "{\"scope\":\"write\",\"products\":[1");
        for (int i = 1; i < count; i++)
            buf_append_text(&text, ",1");
        buf_append_text(&text, "]}");
        buf_append_char(&text, '\0');
        if (count == APIKEY_MOST_LIST)
            create(&bench, text.data, key);
        else
            is_refused(&bench, text.data, "products: must be a list of at most");
        buf_free(&text);
    }
    close_bench(&bench);
}

static void a_key_ends_at_its_time(void **state)
{
    struct bench bench;
    const struct auth_claims *claims;
    char key[AUTH_KEY_SIZE];

    (void)state;
    start_bench(&bench, 10);
    create(&bench,
           "{\"scope\":\"read\",\"expires\":\"2026-09-21T14:13:21Z\","
           "\"origins\":[\"https://a.example\"]}",
           key);
    assert_int_equal(check_at(&bench, key, NOW + SECOND - 1, &claims), 0);
    assert_true(auth_knows_origin(bench.cache, SLICE("https://a.example"), NOW + SECOND - 1));
    assert_int_equal(check_at(&bench, key, NOW + SECOND, &claims), ERR_INVALID);
    assert_false(auth_knows_origin(bench.cache, SLICE("https://a.example"), NOW + SECOND));
    close_bench(&bench);
}

static void an_origin_is_known_as_long_as_any_key_has_it(void **state)
{
    struct bench bench;
    char first[AUTH_KEY_SIZE], second[AUTH_KEY_SIZE];

    (void)state;
    start_bench(&bench, 10);
    assert_false(auth_knows_origin(bench.cache, SLICE("https://b.example"), NOW));
    create(&bench,
           "{\"scope\":\"read\",\"origins\":[\"https://c.example\",\"https://b.example\"],"
           "\"expires\":\"2027-01-01T00:00:00Z\"}",
           first);
    create(&bench,
           "{\"scope\":\"read\",\"origins\":[\"https://b.example\",\"https://a.example\","
           "\"https://b.example\"]}",
           second);
    assert_true(auth_knows_origin(bench.cache, SLICE("https://a.example"), NOW));
    assert_true(auth_knows_origin(bench.cache, SLICE("https://c.example"), NOW));
    assert_true(auth_knows_origin(bench.cache, SLICE("https://b.example"), NOW * 2));
    assert_false(auth_knows_origin(bench.cache, SLICE("https://c.example"), NOW * 2));
    assert_false(auth_knows_origin(bench.cache, SLICE("https://b.exampl"), NOW));
    assert_false(auth_knows_origin(bench.cache, (struct slice){NULL, 0}, NOW));
    assert_int_equal(auth_keyring_revoke(bench.ring, id_of(second), NULL), 0);
    assert_false(auth_knows_origin(bench.cache, SLICE("https://a.example"), NOW));
    assert_true(auth_knows_origin(bench.cache, SLICE("https://b.example"), NOW));
    assert_int_equal(auth_keyring_revoke(bench.ring, id_of(first), NULL), 0);
    assert_false(auth_knows_origin(bench.cache, SLICE("https://b.example"), NOW));
    close_bench(&bench);
}

static void only_the_whole_key_is_the_key(void **state)
{
    struct bench bench;
    char key[AUTH_KEY_SIZE], other[AUTH_KEY_SIZE], text[AUTH_KEY_SIZE + 1];

    (void)state;
    start_bench(&bench, 10);
    create(&bench, WRITER, key);
    create(&bench, WRITER, other);
    assert_int_equal(check(&bench, key), 0);
    for (size_t i = 0; i < AUTH_KEY_SIZE - 1; i++) { /* any character changed */
        memcpy(text, key, AUTH_KEY_SIZE);
        text[i] = text[i] == '7' ? '8' : '7';
        assert_int_not_equal(check(&bench, text), 0);
        text[i] = 'u'; /* not of the alphabet */
        assert_int_not_equal(check(&bench, text), 0);
    }
    memcpy(text, key, AUTH_KEY_SIZE); /* the id of one, the secret of the other */
    memcpy(text + 13, other + 13, AUTH_KEY_SIZE - 13);
    assert_int_equal(check(&bench, text), ERR_INVALID);
    for (size_t len = 0; len < AUTH_KEY_SIZE - 1; len++) { /* the beginning of it */
        memcpy(text, key, len);
        text[len] = '\0';
        assert_int_not_equal(check(&bench, text), 0);
    }
    snprintf(text, sizeof text, "%s0", key);
    assert_int_equal(check(&bench, text), ERR_INVALID);
    assert_int_equal(check(&bench, key), 0);
    close_bench(&bench);
}

static void every_byte_of_the_digest_counts(void **state)
{
    EVP_MD_CTX *sha256 = EVP_MD_CTX_new();

    (void)state;
    assert_int_equal(EVP_DigestInit_ex2(sha256, EVP_sha256(), NULL), 1);
    for (int i = 0; i <= APIKEY_DIGEST; i++) {
        struct auth_apikey *key = mem_zalloc(sizeof *key);
        struct auth_apikeys *set;
        char text[AUTH_KEY_SIZE];

        assert_int_equal(apikey_make(key, text, NULL), 0);
        if (i < APIKEY_DIGEST)
            key->digest[i] ^= 1;
        set = auth_apikeys_new(&key, 1);
        assert_int_equal(auth_apikeys_find(set, sha256, slice_of(text)) != NULL,
                         i == APIKEY_DIGEST);
        auth_apikeys_free(set);
    }
    EVP_MD_CTX_free(sha256);
}

static void no_keys_at_all_refuse_as_well(void **state)
{
    struct bench bench = open_bench(1);
    const struct auth_claims *claims;

    (void)state;
    assert_int_equal(check(&bench, "la_0000000000000000000000000000000000000000000"), ERR_INVALID);
    assert_int_equal(auth_check_key(bench.cache, SLICE(""), NOW, &claims, NULL), ERR_INVALID);
    assert_int_equal(auth_cache_stats(bench.cache).refused, 2);
    close_bench(&bench);
}

static void keys_differ_and_are_found_among_many(void **state)
{
    enum { MANY = 300 };
    static char keys[MANY][AUTH_KEY_SIZE];
    struct auth_apikey *list[MANY];
    struct auth_apikeys *set;
    EVP_MD_CTX *sha256 = EVP_MD_CTX_new();

    (void)state;
    assert_int_equal(EVP_DigestInit_ex2(sha256, EVP_sha256(), NULL), 1);
    for (int i = 0; i < MANY; i++) {
        list[i] = calloc(1, sizeof *list[i]);
        assert_int_equal(apikey_make(list[i], keys[i], NULL), 0);
    }
    set = auth_apikeys_new(list, MANY);
    for (int i = 0; i < MANY; i++) {
        const struct auth_claims *claims = auth_apikeys_find(set, sha256, slice_of(keys[i]));

        assert_ptr_equal(claims, &list[i]->claims);
        keys[i][20] = keys[i][20] == 'a' ? 'b' : 'a';
        assert_null(auth_apikeys_find(set, sha256, slice_of(keys[i])));
    }
    auth_apikeys_free(set);
    EVP_MD_CTX_free(sha256);
}

static void an_origin_lasts_as_long_as_its_last_key(void **state)
{
    static const int64_t ends[] = {5, 10, 7};
    struct auth_apikey *list[3];
    struct auth_apikeys *set;

    (void)state;
    for (int i = 0; i < 3; i++) {
        list[i] = calloc(1, sizeof *list[i]);
        snprintf(list[i]->id, sizeof list[i]->id, "000000000%d", i);
        list[i]->origins[0] = strdup("https://a.example");
        list[i]->claims.origins = (const char *const *)list[i]->origins;
        list[i]->claims.origin_count = 1;
        list[i]->claims.expires_us = ends[i];
    }
    set = auth_apikeys_new(list, 3);
    assert_true(auth_apikeys_know_origin(set, SLICE("https://a.example"), 9));
    assert_false(auth_apikeys_know_origin(set, SLICE("https://a.example"), 10));
    auth_apikeys_free(set);
}

struct asking {
    struct bench *bench;
    const char *kept, *fleeting;
    atomic_bool done;
};

static void *ask_all_along(void *arg)
{
    struct asking *asking = arg;
    struct auth_cache *cache = auth_cache_open(asking->bench->auth, 10);
    const struct auth_claims *claims;
    bool good = true;

    while (!atomic_load(&asking->done)) {
        good &= auth_check_key(cache, slice_of(asking->kept), NOW, &claims, NULL) == 0 &&
                claims->product_count == 1 && claims->products[0] == 10;
        (void)!auth_check_key(cache, slice_of(asking->fleeting), NOW, &claims, NULL);
    }
    auth_cache_close(cache);
    return good ? asking : NULL;
}

static void changes_are_safe_while_others_ask(void **state)
{
    struct bench bench;
    struct asking asking = {.bench = &bench};
    char kept[AUTH_KEY_SIZE], fleeting[AUTH_KEY_SIZE];
    pthread_t threads[2];
    void *good;

    (void)state;
    start_bench(&bench, 10);
    create(&bench, WRITER, kept);
    create(&bench, WRITER, fleeting);
    asking.kept = kept;
    asking.fleeting = fleeting;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_all_along, &asking), 0);
    for (int i = 0; i < 20; i++) {
        char key[AUTH_KEY_SIZE];

        create(&bench, WRITER, key);
        assert_int_equal(check(&bench, key), 0);
        assert_int_equal(auth_keyring_revoke(bench.ring, id_of(key), NULL), 0);
        assert_int_equal(check(&bench, key), ERR_INVALID);
    }
    assert_int_equal(auth_keyring_revoke(bench.ring, id_of(fleeting), NULL), 0);
    atomic_store(&asking.done, true);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], &good), 0);
        assert_non_null(good);
    }
    close_bench(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_key_says_what_it_may),
        cmocka_unit_test(readers_and_admins_do_not_write),
        cmocka_unit_test(a_request_that_is_wrong_is_told_where),
        cmocka_unit_test(a_key_has_no_more_products_than_it_may),
        cmocka_unit_test(a_key_ends_at_its_time),
        cmocka_unit_test(an_origin_is_known_as_long_as_any_key_has_it),
        cmocka_unit_test(only_the_whole_key_is_the_key),
        cmocka_unit_test(every_byte_of_the_digest_counts),
        cmocka_unit_test(no_keys_at_all_refuse_as_well),
        cmocka_unit_test(keys_differ_and_are_found_among_many),
        cmocka_unit_test(an_origin_lasts_as_long_as_its_last_key),
        cmocka_unit_test(changes_are_safe_while_others_ask),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
