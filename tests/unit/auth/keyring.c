/*
 * The keyring's files: what a restart finds, what is refused, and what a failing disk leaves.
 */
#include "ring.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* Also for a second life of the same folder: what was in force before is not asked again. */
static void reopen(struct bench *bench)
{
    auth_keyring_close(bench->ring);
    bench->ring = NULL;
    open_ring(bench);
}

static struct buf read_keys(const struct bench *bench)
{
    struct buf text = {0};
    char path[64];
    ssize_t got;
    int fd;

    path_of(bench, "keys.json", path);
    fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    while ((got = read(fd, buf_reserve(&text, 4096), 4096)) > 0)
        text.len += (size_t)got;
    close(fd);
    buf_append_char(&text, '\0');
    return text;
}

static void write_keys(const struct bench *bench, const char *text)
{
    char path[64];
    int fd;

    path_of(bench, "keys.json", path);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static struct buf listed(struct bench *bench)
{
    struct buf out = {0};

    auth_keyring_list(bench->ring, &out);
    buf_append_char(&out, '\0');
    return out;
}

static void keys_outlive_a_restart(void **state)
{
    struct bench bench;
    char kept[AUTH_KEY_SIZE], revoked[AUTH_KEY_SIZE];
    const struct auth_claims *claims;
    struct buf before, after;

    (void)state;
    start_bench(&bench, 10);
    create(&bench,
           "{\"scope\":\"write\",\"products\":[\"CLUBS\"],\"origins\":[\"https://a.example\"],"
           "\"name\":\"n\xc3\xa4me\",\"expires\":\"2027-01-01T00:00:00Z\"}",
           kept);
    create(&bench, WRITER, revoked);
    assert_int_equal(auth_keyring_revoke(bench.ring, id_of(revoked), NULL), 0);
    assert_int_equal(auth_keyring_revoke(bench.ring, id_of(revoked), NULL), ERR_NOT_FOUND);
    before = listed(&bench);
    reopen(&bench);
    after = listed(&bench);
    assert_string_equal(before.data, after.data);
    assert_int_equal(check_at(&bench, kept, NOW, &claims), 0);
    assert_int_equal(claims->scopes, AUTH_WRITE);
    assert_true(auth_may_write(claims, 10));
    assert_false(auth_may_write(claims, 9));
    assert_false(auth_may_come_from(claims, SLICE("https://b.example")));
    assert_int_equal(check(&bench, revoked), ERR_INVALID);
    buf_free(&before);
    buf_free(&after);
    close_bench(&bench);
}

static void neither_file_nor_list_tells_a_secret(void **state)
{
    struct bench bench;
    char key[AUTH_KEY_SIZE];
    struct buf file, list;
    struct stat about;
    char path[64];

    (void)state;
    start_bench(&bench, 10);
    create(&bench, WRITER, key);
    file = read_keys(&bench);
    list = listed(&bench);
    assert_null(strstr(file.data, key + 13));
    assert_null(strstr(list.data, key + 13));
    assert_null(strstr(list.data, "sha256"));
    assert_non_null(strstr(file.data, "sha256"));
    path_of(&bench, "keys.json", path);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    buf_free(&file);
    buf_free(&list);
    close_bench(&bench);
}

static void a_lost_product_is_written_no_more_and_opens_no_other(void **state)
{
    struct bench bench = open_bench(10);
    const struct auth_claims *claims;
    char key[AUTH_KEY_SIZE];

    (void)state;
    bench.options.data_dir = bench.folder;
    txn_products_close(bench.products);
    assert_int_equal(txn_products_open("11=NEWS", &bench.products, NULL), 0);
    bench.options.products = bench.products;
    open_ring(&bench);
    create(&bench, "{\"scope\":\"write\",\"products\":[\"NEWS\"]}", key);
    auth_keyring_close(bench.ring);
    txn_products_close(bench.products);
    assert_int_equal(txn_products_open("11=OTHER_NEWS", &bench.products, NULL), 0);
    bench.options.products = bench.products;
    open_ring(&bench);
    assert_int_equal(check_at(&bench, key, NOW, &claims), 0);
    for (uint32_t product = 0; product < 20; product++)
        assert_false(auth_may_write(claims, product));
    close_bench(&bench);
}

static int open_again(struct bench *bench, struct err *err)
{
    struct auth_keyring *ring = NULL;
    int code;

    *err = (struct err){0};
    code = auth_keyring_open(&bench->options, &ring, err);
    auth_keyring_close(ring);
    return code;
}

static void a_file_that_others_may_use_is_refused(void **state)
{
    struct bench bench;
    char key[AUTH_KEY_SIZE];
    struct err err;
    char path[64];

    (void)state;
    start_bench(&bench, 10);
    create(&bench, WRITER, key);
    path_of(&bench, "keys.json", path);
    for (mode_t bit = 1; bit <= 040; bit <<= 1) {
        assert_int_equal(chmod(path, 0600 | bit), 0);
        assert_int_equal(open_again(&bench, &err), ERR_INVALID);
        assert_non_null(strstr(err.text, "keys.json may be used by others"));
    }
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(open_again(&bench, &err), 0);
    close_bench(&bench);
}

#define ID "\"id\":\"0123456789\""
#define SHA "\"sha256\":\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\""
#define MADE "\"created\":\"2026-01-01T00:00:00Z\""
#define ENTRY "{" ID "," SHA "," MADE ",\"scope\":\"read\"}"
#define FILE_OF(keys) "{\"version\":1,\"keys\":[" keys "]}"

static void a_damaged_file_is_refused(void **state)
{
    static const char *const damaged[] = {
        "",
        "{",
        "[]",
        "{}",
        "{\"version\":1}",
        "{\"version\":1,\"keys\":{}}",
        "{\"keys\":[]}",
        "{\"version\":\"1\",\"keys\":[]}",
        "{\"version\":1,\"keys\":[]} more",
        FILE_OF("7"),
        FILE_OF("{}"),
        FILE_OF(ENTRY "," ENTRY),
        FILE_OF("{" ID "," SHA "," MADE ",\"scope\":\"owner\"}"),
        FILE_OF("{" ID "," SHA "," MADE ",\"scope\":\"write\"}"),
        FILE_OF("{" ID "," SHA "," MADE ",\"scope\":\"read\",\"more\":1}"),
        FILE_OF("{" ID "," SHA "," MADE ",\"scope\":\"read\",\"scope\":\"read\"}"),
        FILE_OF("{" ID "," MADE ",\"scope\":\"read\"}"),
        FILE_OF("{" ID ",\"sha256\":\"00\"," MADE ",\"scope\":\"read\"}"),
        FILE_OF("{" ID "," SHA ",\"scope\":\"read\"}"),
        FILE_OF("{\"id\":\"0123\"," SHA "," MADE ",\"scope\":\"read\"}"),
        FILE_OF("{\"id\":\"012345678u\"," SHA "," MADE ",\"scope\":\"read\"}"),
    };
    struct bench bench;
    struct err err;

    (void)state;
    start_bench(&bench, 10);
    write_keys(&bench, FILE_OF(ENTRY));
    assert_int_equal(open_again(&bench, &err), 0);
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        write_keys(&bench, damaged[i]);
        if (open_again(&bench, &err) != ERR_CORRUPT)
            fail_msg("%s is taken", damaged[i]);
        assert_non_null(strstr(err.text, "keys.json is damaged"));
        assert_null(strchr(err.text, '\n'));
    }
    write_keys(&bench, "{\"version\":2,\"keys\":[]}");
    assert_int_equal(open_again(&bench, &err), ERR_UNSUPPORTED);
    close_bench(&bench);
}

static void there_are_at_most_so_many(void **state)
{
    struct bench bench;
    char first[AUTH_KEY_SIZE], key[AUTH_KEY_SIZE];
    char id[AUTH_KEY_ID_SIZE];
    struct buf out = {0};
    struct err err = {0};

    (void)state;
    start_bench(&bench, 2);
    create(&bench, WRITER, first);
    create(&bench, WRITER, key);
    assert_int_equal(auth_keyring_create(bench.ring, SLICE(WRITER), NOW, id, &out, &err),
                     ERR_CONFLICT);
    assert_int_equal(auth_keyring_revoke(bench.ring, id_of(first), NULL), 0);
    create(&bench, WRITER, first);
    bench.options.most = 1;
    assert_int_equal(open_again(&bench, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, "has 2 keys, more than MAX_API_KEYS=1"));
    close_bench(&bench);
}

/* The disk that fails at one call. */
static const char *failing;

static int fail_write(struct disk *disk, int fd, struct iovec *vector, size_t count,
                      uint64_t offset)
{
    (void)disk;
    return strcmp(failing, "write") == 0 ? -ENOSPC
                                         : disk_real.write(&disk_real, fd, vector, count, offset);
}

static int fail_sync(struct disk *disk, int fd)
{
    (void)disk;
    return strcmp(failing, "sync") == 0 ? -EIO : disk_real.sync(&disk_real, fd);
}

static int fail_rename(struct disk *disk, const char *from, const char *to)
{
    (void)disk;
    return strcmp(failing, "rename") == 0 ? -EIO : disk_real.rename(&disk_real, from, to);
}

static int fail_sync_dir(struct disk *disk, const char *path)
{
    (void)disk;
    return strcmp(failing, "sync_dir") == 0 ? -EIO : disk_real.sync_dir(&disk_real, path);
}

static void a_change_that_is_not_on_disk_is_not_in_force(void **state)
{
    static const char *const calls[] = {"write", "sync", "rename"};
    struct disk disk = disk_real;
    struct buf out = {0};
    struct buf before, after;
    char key[AUTH_KEY_SIZE];
    char draft[64];
    char id[AUTH_KEY_ID_SIZE];
    struct bench bench;
    struct err err;

    (void)state;
    disk.write = fail_write;
    disk.sync = fail_sync;
    disk.rename = fail_rename;
    failing = "";
    bench = open_bench(10);
    bench.options.data_dir = bench.folder;
    bench.options.disk = &disk;
    open_ring(&bench);
    create(&bench, WRITER, key);
    before = read_keys(&bench);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        failing = calls[i];
        assert_int_not_equal(auth_keyring_revoke(bench.ring, id_of(key), &err), 0);
        assert_int_not_equal(auth_keyring_create(bench.ring, SLICE(WRITER), NOW, id, &out, &err),
                             0);
        assert_int_equal(out.len, 0);
        assert_int_equal(check(&bench, key), 0);
        after = read_keys(&bench);
        assert_string_equal(before.data, after.data);
        buf_free(&after);
    }
    failing = "";
    assert_int_equal(auth_keyring_revoke(bench.ring, id_of(key), &err), 0);
    assert_int_equal(check(&bench, key), ERR_INVALID);
    path_of(&bench, "keys.json.new", draft);
    assert_int_equal(access(draft, F_OK), -1);
    buf_free(&before);
    close_bench(&bench);
}

static void a_change_whose_name_may_be_lost_is_in_force_and_told(void **state)
{
    struct disk disk = disk_real;
    char key[AUTH_KEY_SIZE];
    struct bench bench;
    struct err err;

    (void)state;
    disk.sync_dir = fail_sync_dir;
    failing = "";
    bench = open_bench(10);
    bench.options.data_dir = bench.folder;
    bench.options.disk = &disk;
    open_ring(&bench);
    create(&bench, WRITER, key);
    failing = "sync_dir";
    assert_int_equal(auth_keyring_revoke(bench.ring, id_of(key), &err), ERR_IO);
    assert_int_equal(check(&bench, key), ERR_INVALID);
    close_bench(&bench);
}

static void the_operator_may_all_and_leaves_at_the_end(void **state)
{
    struct bench bench;
    const struct auth_claims *claims;
    char old[AUTH_KEY_SIZE], admitted[AUTH_KEY_SIZE], key[AUTH_KEY_SIZE];
    char id[AUTH_KEY_ID_SIZE];
    struct buf list;
    struct stat about;
    char path[64];

    (void)state;
    start_bench(&bench, 1);
    assert_int_equal(auth_operator_key(bench.folder, admitted, NULL), ERR_NOT_FOUND);
    assert_int_equal(auth_keyring_admit_operator(bench.ring, NULL), 0);
    assert_int_equal(auth_operator_key(bench.folder, admitted, NULL), 0);
    path_of(&bench, "operator.key", path);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    create(&bench, WRITER, key); /* another set; and the operator does not count */
    assert_int_equal(check_at(&bench, admitted, NOW, &claims), 0);
    assert_string_equal(claims->subject, "operator");
    assert_int_equal(claims->scopes, AUTH_WRITE | AUTH_READ | AUTH_ADMIN);
    assert_int_equal(auth_check_key(bench.cache, slice_of(admitted), NOW, &claims, NULL),
                     ERR_DENIED); /* not in a URL */
    list = listed(&bench);
    snprintf(id, sizeof id, "%.10s", admitted + 3);
    assert_null(strstr(list.data, id));
    assert_int_equal(auth_keyring_revoke(bench.ring, id_of(admitted), NULL), ERR_NOT_FOUND);
    memcpy(old, admitted, sizeof old);
    reopen(&bench);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(auth_keyring_admit_operator(bench.ring, NULL), 0);
    assert_int_equal(check(&bench, old), ERR_INVALID);
    buf_free(&list);
    close_bench(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_outlive_a_restart),
        cmocka_unit_test(neither_file_nor_list_tells_a_secret),
        cmocka_unit_test(a_lost_product_is_written_no_more_and_opens_no_other),
        cmocka_unit_test(a_file_that_others_may_use_is_refused),
        cmocka_unit_test(a_damaged_file_is_refused),
        cmocka_unit_test(there_are_at_most_so_many),
        cmocka_unit_test(a_change_that_is_not_on_disk_is_not_in_force),
        cmocka_unit_test(a_change_whose_name_may_be_lost_is_in_force_and_told),
        cmocka_unit_test(the_operator_may_all_and_leaves_at_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
