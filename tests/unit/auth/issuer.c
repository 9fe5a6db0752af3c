/*
 * The development issuer: its key file, and tokens that its own keys accept.
 */
#include "forge.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];
static char key_path[128];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/auth-issuer-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(key_path, sizeof key_path, "%s/development-key.pem", folder);
    return 0;
}

/* Fails if anything but the key was left behind. */
static int remove_folder(void **state)
{
    (void)state;
    if (unlink(key_path) != 0 && errno != ENOENT)
        return -1;
    return rmdir(folder);
}

static struct auth_issuer *open_issuer(void)
{
    struct auth_issuer *issuer;
    struct err err = {0};

    if (auth_issuer_open(folder, &issuer, &err) != 0)
        fail_msg("%s", err.text);
    return issuer;
}

/* Checks a token of one issuer by the keys of another. */
static int check_by(struct auth_issuer *signer, struct auth_issuer *checker, int64_t ttl_s,
                    int64_t later_s, struct auth_claims *ret)
{
    struct auth *auth;
    struct auth_keys *keys;
    struct auth_cache *cache;
    const struct auth_claims *claims;
    struct buf value = {0};
    struct err err = {0};
    int rc;

    assert_int_equal(auth_open("urn:pennlabs:*", &auth, &err), 0);
    assert_int_equal(auth_issuer_keys(checker, &keys, &err), 0);
    auth_use_keys(auth, keys);
    cache = auth_cache_open(auth, 1);
    buf_append_text(&value, "Bearer ");
    assert_int_equal(auth_issuer_sign(signer, "urn:pennlabs:clubs", NOW_US, ttl_s, &value, &err),
                     0);
    rc = auth_check(cache, buf_slice(&value), NOW_US + later_s * 1000000, &claims, &err);
    if (rc == 0)
        *ret = *claims;
    buf_free(&value);
    auth_cache_close(cache);
    auth_close(auth);
    return rc;
}

static void its_tokens_pass_by_its_keys(void **state)
{
    struct auth_issuer *issuer = open_issuer();
    struct auth_claims claims;

    (void)state;
    assert_int_equal(check_by(issuer, issuer, 3600, 0, &claims), 0);
    assert_string_equal(claims.subject, "urn:pennlabs:clubs");
    assert_true(claims.development);
    assert_int_equal(claims.expires_us, NOW_US + INT64_C(3600000000));
    assert_int_equal(check_by(issuer, issuer, 60, 89, &claims), 0);
    assert_int_equal(check_by(issuer, issuer, 60, 90, &claims), ERR_INVALID);
    auth_issuer_close(issuer);
}

static void the_key_stays_the_same(void **state)
{
    struct auth_issuer *once = open_issuer(), *again;
    struct auth_claims claims;
    struct stat about;

    (void)state;
    again = open_issuer();
    assert_int_equal(check_by(once, again, 60, 0, &claims), 0);
    assert_int_equal(stat(key_path, &about), 0);
    assert_int_equal(about.st_mode & 07777, 0600);
    auth_issuer_close(once);
    auth_issuer_close(again);
}

static void another_key_does_not_pass(void **state)
{
    struct auth_issuer *once = open_issuer(), *other;
    struct auth_claims claims;

    (void)state;
    assert_int_equal(unlink(key_path), 0);
    other = open_issuer();
    assert_int_equal(check_by(once, other, 60, 0, &claims), ERR_INVALID);
    auth_issuer_close(once);
    auth_issuer_close(other);
}

static void processes_that_race_get_one_key(void **state)
{
    enum { PROCESSES = 4 };
    pid_t children[PROCESSES];
    int gate[2], tokens[2];
    char token[2048], go[PROCESSES] = {0};
    struct auth_issuer *issuer;
    struct auth_keys *keys;
    struct auth *auth;
    struct auth_cache *cache;
    FILE *lines;

    (void)state;
    assert_int_equal(pipe(gate), 0);
    assert_int_equal(pipe(tokens), 0);
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            struct buf line = {0};
            int rc = 1;

            if (read(gate[0], go, 1) == 1 && auth_issuer_open(folder, &issuer, NULL) == 0 &&
                auth_issuer_sign(issuer, "urn:pennlabs:a", NOW_US, 60, &line, NULL) == 0) {
                buf_append_char(&line, '\n');
                rc = write(tokens[1], line.data, line.len) != (ssize_t)line.len;
                auth_issuer_close(issuer);
            }
            buf_free(&line);
            _exit(rc);
        }
        assert_true(children[i] > 0);
    }
    assert_int_equal(write(gate[1], go, PROCESSES), PROCESSES);
    close(tokens[1]);
    for (int i = 0; i < PROCESSES; i++) {
        int status;

        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    issuer = open_issuer();
    assert_int_equal(auth_issuer_keys(issuer, &keys, NULL), 0);
    assert_int_equal(auth_open("urn:pennlabs:*", &auth, NULL), 0);
    auth_use_keys(auth, keys);
    cache = auth_cache_open(auth, 0);
    lines = fdopen(tokens[0], "r");
    for (int i = 0; i < PROCESSES; i++) {
        const struct auth_claims *claims;
        struct buf value = {0};

        assert_non_null(fgets(token, sizeof token, lines));
        buf_printf(&value, "Bearer %.*s", (int)strcspn(token, "\n"), token);
        assert_int_equal(auth_check(cache, buf_slice(&value), NOW_US, &claims, NULL), 0);
        buf_free(&value);
    }
    fclose(lines);
    close(gate[0]);
    close(gate[1]);
    auth_cache_close(cache);
    auth_close(auth);
    auth_issuer_close(issuer);
}

/* The words follow the path of the key. */
static void is_refused(int code, const char *words)
{
    struct auth_issuer *issuer = NULL;
    struct err err = {0};
    char expected[256];

    snprintf(expected, sizeof expected, "%s %s", key_path, words);
    assert_int_equal(auth_issuer_open(folder, &issuer, &err), code);
    assert_string_equal(err.text, expected);
    assert_null(issuer);
}

static void a_file_that_others_may_read_is_refused(void **state)
{
    static const mode_t modes[] = {0640, 0604, 0620, 0601};

    (void)state;
    auth_issuer_close(open_issuer());
    for (int i = 0; i < 4; i++) {
        assert_int_equal(chmod(key_path, modes[i]), 0);
        is_refused(ERR_INVALID, "may be used by others; chmod 600 it");
    }
    assert_int_equal(chmod(key_path, 0400), 0);
    auth_issuer_close(open_issuer());
}

static void write_pem(EVP_PKEY *key, const EVP_CIPHER *cipher)
{
    FILE *file;
    int fd;

    unlink(key_path);
    fd = open(key_path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    file = fdopen(fd, "w");
    assert_non_null(file);
    if (key != NULL)
        assert_int_equal(PEM_write_PKCS8PrivateKey(file, key, cipher, "pass", 4, NULL, NULL), 1);
    fclose(file);
}

static void a_file_without_such_a_key_is_refused(void **state)
{
    static const char words[] = "holds no RSA key of 2048 bits; remove it for a new one";
    EVP_PKEY *small = forge_rsa(1024), *ec = forge_ec("P-256"), *good = forge_rsa(2048);

    (void)state;
    write_pem(NULL, NULL);
    is_refused(ERR_INVALID, words);
    write_pem(small, NULL);
    is_refused(ERR_INVALID, words);
    write_pem(ec, NULL);
    is_refused(ERR_INVALID, words);
    write_pem(good, EVP_aes_128_cbc());
    is_refused(ERR_INVALID, words);
    assert_int_equal(truncate(key_path, 65537), 0);
    is_refused(ERR_INVALID, "is not a key file");
    assert_int_equal(unlink(key_path), 0);
    assert_int_equal(mkdir(key_path, 0700), 0);
    is_refused(ERR_INVALID, "is not a key file");
    assert_int_equal(rmdir(key_path), 0);
    EVP_PKEY_free(small);
    EVP_PKEY_free(ec);
    EVP_PKEY_free(good);
}

static void without_a_folder_the_system_says_so(void **state)
{
    struct auth_issuer *issuer = NULL;
    struct err err = {0};

    (void)state;
    assert_int_equal(auth_issuer_open("/nowhere", &issuer, &err), ERR_NOT_FOUND);
    assert_string_equal(err.text, "make /nowhere/development-key.pem: No such file or directory");
}

static void what_it_cannot_sign_it_says(void **state)
{
    struct auth_issuer *issuer = open_issuer();
    struct buf out = {0};
    struct err err = {0};
    char long_urn[AUTH_MAX_SUBJECT + 1];

    (void)state;
    memset(long_urn, 'u', AUTH_MAX_SUBJECT);
    long_urn[AUTH_MAX_SUBJECT] = '\0';
    assert_int_equal(auth_issuer_sign(issuer, "", NOW_US, 1, &out, &err), ERR_INVALID);
    assert_int_equal(auth_issuer_sign(issuer, "urn:a b", NOW_US, 1, &out, &err), ERR_INVALID);
    assert_int_equal(auth_issuer_sign(issuer, long_urn, NOW_US, 1, &out, &err), ERR_INVALID);
    assert_string_equal(err.text, "the URN must be 1 to 255 printable characters");
    assert_int_equal(auth_issuer_sign(issuer, "urn:a:b", NOW_US, 0, &out, &err), ERR_INVALID);
    assert_int_equal(auth_issuer_sign(issuer, "urn:a:b", NOW_US, INT64_MAX, &out, &err),
                     ERR_INVALID);
    assert_string_equal(err.text, "a token must be valid for 1 second to 10 years");
    assert_int_equal(out.len, 0);
    long_urn[AUTH_MAX_SUBJECT - 1] = '\0';
    assert_int_equal(auth_issuer_sign(issuer, long_urn, NOW_US, 1, &out, &err), 0);
    buf_free(&out);
    auth_issuer_close(issuer);
}

/* Two threads sign by one issuer and check each other's tokens while its keys are put in
 * force again and again. */
struct worker {
    struct auth *auth;
    struct auth_issuer *issuer;
    int failures;
};

static void *sign_check_and_swap(void *arg)
{
    struct worker *worker = arg;
    struct auth_cache *cache = auth_cache_open(worker->auth, 4);

    for (int i = 0; i < 30; i++) {
        struct buf value = {0};
        struct auth_keys *keys;
        const struct auth_claims *claims;

        buf_append_text(&value, "Bearer ");
        worker->failures +=
            auth_issuer_sign(worker->issuer, "urn:pennlabs:a", NOW_US, 60 + i, &value, NULL) != 0;
        for (int turn = 0; turn < 3; turn++)
            worker->failures += auth_check(cache, buf_slice(&value), NOW_US, &claims, NULL) != 0;
        if (auth_issuer_keys(worker->issuer, &keys, NULL) == 0)
            auth_use_keys(worker->auth, keys);
        else
            worker->failures++;
        buf_free(&value);
    }
    auth_cache_close(cache);
    return NULL;
}

static void threads_share_an_issuer(void **state)
{
    struct auth_issuer *issuer = open_issuer();
    struct auth_keys *keys;
    struct auth *auth;
    struct worker workers[2];
    pthread_t threads[2];

    (void)state;
    assert_int_equal(auth_open("urn:pennlabs:*", &auth, NULL), 0);
    assert_int_equal(auth_issuer_keys(issuer, &keys, NULL), 0);
    auth_use_keys(auth, keys);
    for (int i = 0; i < 2; i++) {
        workers[i] = (struct worker){auth, issuer, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, sign_check_and_swap, &workers[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].failures, 0);
    }
    auth_close(auth);
    auth_issuer_close(issuer);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(its_tokens_pass_by_its_keys),
        TEST(the_key_stays_the_same),
        TEST(another_key_does_not_pass),
        TEST(processes_that_race_get_one_key),
        TEST(a_file_that_others_may_read_is_refused),
        TEST(a_file_without_such_a_key_is_refused),
        TEST(without_a_folder_the_system_says_so),
        TEST(what_it_cannot_sign_it_says),
        TEST(threads_share_an_issuer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
