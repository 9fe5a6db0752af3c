/*
 * config_load(): which source wins, what is refused and in which words.
 */
#include "config/config.h"

#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

static char folder[] = "/tmp/config-load-XXXXXX";
static char dotenv_path[64];

static char *no_environ[] = {NULL};

static void write_dotenv(const char *text)
{
    FILE *file = fopen(dotenv_path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

static void loads(struct config *config, char *const *environ_)
{
    char *argv[] = {(char *)"labs-analytics", NULL};
    int argc = 1;
    struct err err = {0};

    if (config_load(config, &argc, argv, environ_, NULL, &err) != 0)
        fail_msg("%s", err.text);
}

static void refuses(char *const *environ_, const char *words)
{
    char *argv[] = {(char *)"labs-analytics", NULL};
    int argc = 1;
    struct err err = {0};
    struct config config = {0};

    assert_int_equal(config_load(&config, &argc, argv, environ_, NULL, &err), ERR_INVALID);
    assert_string_equal(err.text, words);
    assert_null(config.listen);
}

static void refuses_one(const char *entry, const char *words)
{
    char *environ_[] = {(char *)entry, NULL};

    refuses(environ_, words);
}

static void without_anything_the_defaults_hold(void **state)
{
    struct config config;

    (void)state;
    loads(&config, no_environ);
    assert_string_equal(config.listen, "127.0.0.1:8000");
    assert_string_equal(config.data_dir, "./data");
    assert_string_equal(config.database_url, "sqlite:./data/events.db");
    assert_in_range(config.workers, 1, 64);
    assert_int_equal(config.environment, CONFIG_DEVELOPMENT);
    assert_string_equal(config.allowed_urns, "urn:pennlabs:*");
    assert_string_equal(config.products, "");
    assert_int_equal(config.max_body_bytes, 20 * MIB);
    assert_int_equal(config.max_connections, 10000);
    assert_int_equal(config.header_timeout, 10000);
    assert_int_equal(config.body_timeout, 30000);
    assert_int_equal(config.idle_timeout, 75000);
    assert_int_equal(config.token_cache, 10000);
    assert_int_equal(config.readers, 2);
    assert_int_equal(config.durability, CONFIG_FSYNC);
    assert_int_equal(config.queue_max_bytes, 8192 * MIB);
    assert_int_equal(config.segment_bytes, 64 * MIB);
    assert_int_equal(config.commit_max_bytes, 64 * MIB);
    assert_int_equal(config.dedup_ids, 1000000);
    assert_int_equal(config.forward_batch_rows, 100000);
    assert_int_equal(config.forward_batch_bytes, 16 * MIB);
    assert_int_equal(config.forward_batch_age, 200);
    assert_int_equal(config.forward_retry_min, 100);
    assert_int_equal(config.forward_retry_max, 30000);
    assert_int_equal(config.store_timeout, 30000);
    assert_int_equal(config.deliveries_kept, 10000);
    assert_int_equal(config.shutdown_timeout, 10000);
    assert_int_equal(config.log_level, LOG_INFO);
    assert_int_equal(config.log_format, CONFIG_TEXT);
    config_free(&config);
}

static void a_flag_beats_the_environment_which_beats_the_dotenv(void **state)
{
    char *argv[] = {(char *)"x", (char *)"--readers", (char *)"5", NULL};
    char *environ_[] = {(char *)"READERS=4", (char *)"WORKERS=7", NULL};
    int argc = 3;
    struct config config;

    (void)state;
    write_dotenv("READERS=3\nWORKERS=6\nDEDUP_IDS=9\n");
    assert_int_equal(config_load(&config, &argc, argv, environ_, dotenv_path, NULL), 0);
    assert_int_equal(config.readers, 5);
    assert_int_equal(config.workers, 7);
    assert_int_equal(config.dedup_ids, 9);
    config_free(&config);
}

static void flags_leave_and_words_stay_in_order(void **state)
{
    char *argv[] = {(char *)"x",         (char *)"status",      (char *)"--listen=[::1]:0",
                    (char *)"-",         (char *)"--log-level", (char *)"DEBUG",
                    (char *)"--workers", (char *)"1",           (char *)"--workers=2",
                    (char *)"--",        (char *)"--odd",       NULL};
    int argc = 11;
    struct config config;

    (void)state;
    assert_int_equal(config_load(&config, &argc, argv, no_environ, NULL, NULL), 0);
    assert_int_equal(argc, 4);
    assert_string_equal(argv[1], "status");
    assert_string_equal(argv[2], "-");
    assert_string_equal(argv[3], "--odd");
    assert_null(argv[4]);
    assert_string_equal(config.listen, "[::1]:0");
    assert_int_equal(config.log_level, LOG_DEBUG);
    assert_int_equal(config.workers, 2);
    config_free(&config);
}

static void refuses_flag(const char *first, const char *second, const char *words)
{
    char *argv[] = {(char *)"x", (char *)first, (char *)second, NULL};
    int count = second != NULL ? 3 : 2;
    int argc = count;
    struct err err = {0};
    struct config config = {0};

    assert_int_equal(config_load(&config, &argc, argv, no_environ, NULL, &err), ERR_INVALID);
    assert_string_equal(err.text, words);
    assert_int_equal(argc, count);
    assert_ptr_equal(argv[1], first);
}

static void unknown_and_unfinished_flags_are_refused(void **state)
{
    (void)state;
    refuses_flag("--qeue", "1", "--qeue: there is no such option, --help lists them");
    refuses_flag("--qeue=1", NULL, "--qeue: there is no such option, --help lists them");
    refuses_flag("-w", "1", "-w: there is no such option, --help lists them");
    refuses_flag("-w=1", NULL, "-w: there is no such option, --help lists them");
    refuses_flag("--=1", NULL, "--: there is no such option, --help lists them");
    refuses_flag("--WORKERS", "1", "--WORKERS: there is no such option, --help lists them");
    refuses_flag("--workers", NULL, "--workers: its value is missing");
    refuses_flag("--workers=0", NULL,
                 "WORKERS=0 (flag --workers): must be an integer from 1 to 64");
}

static void a_refusal_names_option_value_source_and_bounds(void **state)
{
    (void)state;
    refuses_one("QUEUE_MAX_BYTES=12",
                "QUEUE_MAX_BYTES=12 (environment): must be a size from 64MiB to 1PiB");
    refuses_one("STORE_TIMEOUT=1ms",
                "STORE_TIMEOUT=1ms (environment): must be a duration from 1s to 1h");
    refuses_one("STORE_TIMEOUT=30", "STORE_TIMEOUT=30 (environment): must be a duration from 1s to "
                                    "1h, with its unit: ms, s, m, h or d");
    refuses_one("WORKERS=65", "WORKERS=65 (environment): must be an integer from 1 to 64");
    refuses_one("WORKERS=", "WORKERS= (environment): must be an integer from 1 to 64");
    refuses_one("ENVIRONMENT=staging", "ENVIRONMENT=staging (environment): must be DEVELOPMENT, "
                                       "TESTING or PRODUCTION");
    refuses_one("DURABILITY=no", "DURABILITY=no (environment): must be fsync or os");
    refuses_one("LISTEN=", "LISTEN= (environment): must be a line of text of 1 to 4096 bytes");
    refuses_one("LISTEN=a\nb",
                "LISTEN=a?b (environment): must be a line of text of 1 to 4096 bytes");
}

static void a_refused_dotenv_value_names_its_line(void **state)
{
    char *argv[] = {(char *)"x", NULL};
    int argc = 1;
    char expected[128];
    struct err err = {0};
    struct config config = {0};

    (void)state;
    write_dotenv("# head\n\nREADERS=many\n");
    assert_int_equal(config_load(&config, &argc, argv, no_environ, dotenv_path, &err), ERR_INVALID);
    snprintf(expected, sizeof expected, "READERS=many (%s line 3): must be an integer from 1 to 64",
             dotenv_path);
    assert_string_equal(err.text, expected);
    write_dotenv("READERS=2\nwhat is this\n");
    assert_int_equal(config_load(&config, &argc, argv, no_environ, dotenv_path, &err), ERR_INVALID);
    snprintf(expected, sizeof expected, "%s: line 2: must be NAME=value", dotenv_path);
    assert_string_equal(err.text, expected);
}

static void an_absent_dotenv_is_none_but_a_folder_is_an_error(void **state)
{
    char *argv[] = {(char *)"x", NULL};
    int argc = 1;
    struct config config = {0};

    (void)state;
    assert_int_equal(config_load(&config, &argc, argv, no_environ, "/nowhere/.env", NULL), 0);
    config_free(&config);
    assert_int_equal(config_load(&config, &argc, argv, no_environ, folder, NULL), ERR_IO);
}

static void a_dotenv_over_64_kib_is_refused(void **state)
{
    char *argv[] = {(char *)"x", NULL};
    int argc = 1;
    struct config config = {0};
    char *text = malloc(65538);

    (void)state;
    memset(text, '\n', 65537);
    text[65537] = '\0';
    write_dotenv(text);
    assert_int_equal(config_load(&config, &argc, argv, no_environ, dotenv_path, NULL), ERR_INVALID);
    text[65536] = '\0';
    write_dotenv(text);
    assert_int_equal(config_load(&config, &argc, argv, no_environ, dotenv_path, NULL), 0);
    config_free(&config);
    free(text);
}

static void sizes_and_durations_take_their_units(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } sizes[] = {
        {"67108864", 64 * MIB}, {"67108864B", 64 * MIB}, {"65536KiB", 64 * MIB},
        {"64MiB", 64 * MIB},    {"64m", 64 * MIB},       {"64M", 64 * MIB},
        {"1g", 1024 * MIB},     {"1gib", 1024 * MIB},    {"2TiB", 2 * 1024 * 1024 * MIB},
    };
    static const struct {
        const char *text;
        uint64_t ms;
    } durations[] = {{"1500ms", 1500}, {"90s", 90000}, {"1m", 60000}, {"1h", 3600000}};
    char entry[64];
    char *environ_[] = {entry, (char *)"SEGMENT_BYTES=16MiB", NULL};
    struct config config;

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        snprintf(entry, sizeof entry, "QUEUE_MAX_BYTES=%s", sizes[i].text);
        loads(&config, environ_);
        assert_int_equal(config.queue_max_bytes, sizes[i].bytes);
        config_free(&config);
    }
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++) {
        snprintf(entry, sizeof entry, "STORE_TIMEOUT=%s", durations[i].text);
        loads(&config, environ_);
        assert_int_equal(config.store_timeout, durations[i].ms);
        config_free(&config);
    }
    snprintf(entry, sizeof entry, "SHUTDOWN_TIMEOUT=0");
    loads(&config, environ_);
    assert_int_equal(config.shutdown_timeout, 0);
    config_free(&config);
}

static void numbers_that_are_none_are_refused(void **state)
{
    static const char *const bad[] = {
        "QUEUE_MAX_BYTES=-1",
        "QUEUE_MAX_BYTES=+64MiB",
        "QUEUE_MAX_BYTES=64 MiB",
        "QUEUE_MAX_BYTES= 64MiB",
        "QUEUE_MAX_BYTES=1.5GiB",
        "QUEUE_MAX_BYTES=64MB",
        "QUEUE_MAX_BYTES=MiB",
        "QUEUE_MAX_BYTES=0x40000000",
        "QUEUE_MAX_BYTES=99999999999999999999",
        "QUEUE_MAX_BYTES=18446744073709551615PiB",
        "QUEUE_MAX_BYTES=2PiB",
        "STORE_TIMEOUT=30",
        "STORE_TIMEOUT=30 s",
        "STORE_TIMEOUT=18446744073709551616ms",
        "STORE_TIMEOUT=213503982335d",
        "STORE_TIMEOUT=9999999999999d",
        "WORKERS=1s",
        "WORKERS=2k",
        "READERS=0",
        "MAX_BODY_BYTES=1",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *environ_[] = {(char *)bad[i], NULL};
        char *argv[] = {(char *)"x", NULL};
        int argc = 1;
        struct config config = {0};

        if (config_load(&config, &argc, argv, environ_, NULL, NULL) != ERR_INVALID)
            fail_msg("%s was taken", bad[i]);
    }
}

static void bounds_belong_to_their_ranges(void **state)
{
    char *least[] = {(char *)"FORWARD_BATCH_AGE=0",       (char *)"DEDUP_IDS=0",
                     (char *)"FORWARD_BATCH_BYTES=16MiB", (char *)"COMMIT_MAX_BYTES=32MiB",
                     (char *)"MAX_BODY_BYTES=64KiB",      NULL};
    char *most[] = {(char *)"QUEUE_MAX_BYTES=1PiB", (char *)"DEDUP_IDS=100000000",
                    (char *)"MAX_BODY_BYTES=1GiB",  (char *)"WORKERS=64",
                    (char *)"SEGMENT_BYTES=1GiB",   NULL};
    struct config config;

    (void)state;
    loads(&config, least);
    assert_int_equal(config.max_body_bytes, 65536);
    config_free(&config);
    loads(&config, most);
    assert_int_equal(config.segment_bytes, 1024 * MIB);
    config_free(&config);
    refuses_one("FORWARD_BATCH_BYTES=16777215",
                "FORWARD_BATCH_BYTES=16777215 (environment): must be a size from 16MiB to 1GiB");
    refuses_one("DEDUP_IDS=100000001",
                "DEDUP_IDS=100000001 (environment): must be an integer from 0 to 100000000");
}

static void options_that_contradict_each_other_are_refused(void **state)
{
    char *both[] = {(char *)"QUEUE_MAX_BYTES=1GiB", (char *)"SEGMENT_BYTES=512MiB", NULL};

    (void)state;
    refuses_one("FORWARD_RETRY_MIN=31s", "FORWARD_RETRY_MIN=31s (environment): must be at most "
                                         "FORWARD_RETRY_MAX, which is 30s");
    refuses_one("FORWARD_RETRY_MAX=50ms", "FORWARD_RETRY_MAX=50ms (environment): must be at "
                                          "least FORWARD_RETRY_MIN, which is 100ms");
    refuses_one("QUEUE_MAX_BYTES=255MiB", "QUEUE_MAX_BYTES=255MiB (environment): must be at "
                                          "least four times SEGMENT_BYTES, which is 64MiB");
    refuses(both, "QUEUE_MAX_BYTES=1GiB (environment): must be at least four times "
                  "SEGMENT_BYTES, which is 512MiB");
}

static void the_embedded_store_follows_the_data_folder(void **state)
{
    char *plain[] = {(char *)"DATA_DIR=/var/lib/labs", NULL};
    char *slashes[] = {(char *)"DATA_DIR=/srv//", NULL};
    char *root[] = {(char *)"DATA_DIR=/", NULL};
    struct config config;

    (void)state;
    loads(&config, plain);
    assert_string_equal(config.database_url, "sqlite:/var/lib/labs/events.db");
    config_free(&config);
    loads(&config, slashes);
    assert_string_equal(config.database_url, "sqlite:/srv/events.db");
    config_free(&config);
    loads(&config, root);
    assert_string_equal(config.database_url, "sqlite:/events.db");
    config_free(&config);
}

static void a_refused_database_url_keeps_its_password(void **state)
{
    (void)state;
    refuses_one("DATABASE_URL=postgres://me:hush@db/x\x01",
                "DATABASE_URL=postgres://me:***@db/x? (environment): must be a line of text of "
                "1 to 4096 bytes");
}

static void a_duration_stands_alone_too(void **state)
{
    uint64_t ms = 5;

    (void)state;
    assert_false(config_duration("10", &ms));
    assert_false(config_duration("", &ms));
    assert_int_equal(ms, 5);
    assert_true(config_duration("24h", &ms));
    assert_int_equal(ms, 86400000);
    assert_true(config_duration("2d", &ms));
    assert_int_equal(ms, 2 * 86400000);
}

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(dotenv_path, sizeof dotenv_path, "%s/.env", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(dotenv_path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_anything_the_defaults_hold),
        cmocka_unit_test(a_flag_beats_the_environment_which_beats_the_dotenv),
        cmocka_unit_test(flags_leave_and_words_stay_in_order),
        cmocka_unit_test(unknown_and_unfinished_flags_are_refused),
        cmocka_unit_test(a_refusal_names_option_value_source_and_bounds),
        cmocka_unit_test(a_refused_dotenv_value_names_its_line),
        cmocka_unit_test(an_absent_dotenv_is_none_but_a_folder_is_an_error),
        cmocka_unit_test(a_dotenv_over_64_kib_is_refused),
        cmocka_unit_test(sizes_and_durations_take_their_units),
        cmocka_unit_test(numbers_that_are_none_are_refused),
        cmocka_unit_test(bounds_belong_to_their_ranges),
        cmocka_unit_test(options_that_contradict_each_other_are_refused),
        cmocka_unit_test(the_embedded_store_follows_the_data_folder),
        cmocka_unit_test(a_refused_database_url_keeps_its_password),
        cmocka_unit_test(a_duration_stands_alone_too),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
