/*
 * Loading: every row of the table takes its value from the first of flag, environment,
 * .env and default that has one.
 *
 * Flags, environment and .env are read first, as text; then each row's text is parsed
 * into a new struct; then what depends on other options is filled in and the relations
 * between options are checked. Only when all of that went well do the caller's struct
 * and argv change, so a failure leaves nothing half done.
 */
#include "base/mem.h"
#include "config/config_priv.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#define MOST_WORKERS 64

/* The text a row has from somewhere; flags and environment are borrowed. */
struct found {
    const char *flag;
    const char *environ;
    char *dotenv; /* owned */
    unsigned line;
};

struct loading {
    struct config config;
    struct found found[CONFIG_MAX_OPTIONS];
    const char *dotenv; /* path, for the words of errors */
    char **words;       /* argv without the flags */
    int word_count;
};

void config_flag(const struct config_option *option, char out[CONFIG_FLAG_SIZE])
{
    size_t i = 0;

    for (; option->name[i] != '\0' && i < CONFIG_FLAG_SIZE - 1; i++)
        out[i] = option->name[i] == '_' ? '-' : (char)tolower((unsigned char)option->name[i]);
    out[i] = '\0';
}

/* The row of a flag without its dashes; -1: there is none. */
static int row_of_flag(struct slice name)
{
    char flag[CONFIG_FLAG_SIZE];

    for (int row = 0; config_table[row].name != NULL; row++) {
        config_flag(&config_table[row], flag);
        if (slice_is(name, flag))
            return row;
    }
    return -1;
}

/* Takes the flag at argv[*i], and its value, which may be the next word. */
static int read_flag(struct loading *load, int *i, int argc, char **argv, struct err *err)
{
    const char *word = argv[*i];
    size_t len = strcspn(word, "=");
    int shown = len < 64 ? (int)len : 64;
    int row = word[1] == '-' ? row_of_flag((struct slice){word + 2, len - 2}) : -1;

    if (row < 0)
        return err_set(err, ERR_INVALID, "%.*s: there is no such option, --help lists them", shown,
                       word);
    if (word[len] == '\0' && *i + 1 == argc)
        return err_set(err, ERR_INVALID, "%.*s: its value is missing", shown, word);
    load->found[row].flag = word[len] == '=' ? word + len + 1 : argv[++*i];
    return 0;
}

static int read_flags(struct loading *load, int argc, char **argv, struct err *err)
{
    bool flags_end = false;

    load->words = mem_alloc(((size_t)argc + 1) * sizeof *load->words);
    for (int i = 0; i < argc; i++) {
        bool is_flag = i > 0 && !flags_end && argv[i][0] == '-' && argv[i][1] != '\0';

        if (is_flag && strcmp(argv[i], "--") == 0) {
            flags_end = true;
        } else if (is_flag) {
            int rc = read_flag(load, &i, argc, argv, err);

            if (rc != 0)
                return rc;
        } else {
            load->words[load->word_count++] = argv[i];
        }
    }
    return 0;
}

static void read_environ(struct loading *load, char *const *environment)
{
    for (int row = 0; config_table[row].name != NULL; row++) {
        size_t len = strlen(config_table[row].name);

        for (char *const *entry = environment; *entry != NULL; entry++) {
            if (strncmp(*entry, config_table[row].name, len) == 0 && (*entry)[len] == '=') {
                load->found[row].environ = *entry + len + 1;
                break;
            }
        }
    }
}

static void keep_dotenv_value(struct slice name, struct slice value, unsigned line, void *arg)
{
    struct loading *load = arg;

    for (int row = 0; config_table[row].name != NULL; row++) {
        if (slice_is(name, config_table[row].name)) {
            free(load->found[row].dotenv);
            load->found[row].dotenv = mem_strndup(value.at, value.len);
            load->found[row].line = line;
            return;
        }
    }
}

/* Reads at most one byte more than a .env may have, which the parser then refuses. */
static int read_dotenv(struct loading *load, struct err *err)
{
    struct buf text = {0};
    ssize_t got;
    int rc = 0;
    int fd = open(load->dotenv, O_RDONLY | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0) {
        err_system(err, errno, "open %s", load->dotenv);
        return ERR_IO;
    }
    do {
        size_t room = CONFIG_DOTENV_MAX + 1 - text.len;

        got = read(fd, buf_reserve(&text, room), room);
        if (got > 0)
            text.len += (size_t)got;
    } while ((got > 0 && text.len <= CONFIG_DOTENV_MAX) || (got < 0 && errno == EINTR));
    if (got < 0) {
        err_system(err, errno, "read %s", load->dotenv);
        rc = ERR_IO;
        goto close_file;
    }
    rc = config_dotenv_parse(buf_slice(&text), keep_dotenv_value, load, err);
    if (rc != 0)
        err_wrap(err, "%s", load->dotenv);
close_file:
    close(fd);
    buf_free(&text);
    return rc;
}

static enum config_source source_of(const struct found *found)
{
    if (found->flag != NULL)
        return CONFIG_FLAG;
    if (found->environ != NULL)
        return CONFIG_ENVIRON;
    return found->dotenv != NULL ? CONFIG_DOTENV : CONFIG_DEFAULT;
}

static const char *text_of(const struct found *found, const struct config_option *option)
{
    switch (source_of(found)) {
    case CONFIG_FLAG:
        return found->flag;
    case CONFIG_ENVIRON:
        return found->environ;
    case CONFIG_DOTENV:
        return found->dotenv;
    case CONFIG_DEFAULT:
        break;
    }
    return option->fallback[0] == '=' ? NULL : option->fallback;
}

/* Puts "QUEUE_MAX_BYTES=12 (environment): " before the words that are in err. The value
 * is cut, has no control characters, and no password. */
static int wrap_with_origin(const struct loading *load, int row, struct err *err)
{
    const struct config_option *option = &config_table[row];
    const struct found *found = &load->found[row];
    const char *text = text_of(found, option);
    char flag[CONFIG_FLAG_SIZE];
    struct buf value = {0};

    config_value_redacted(option, text, &value);
    for (size_t i = 0; i < value.len; i++) {
        if ((unsigned char)value.data[i] < 0x20 || value.data[i] == 0x7f)
            value.data[i] = '?';
    }
    *buf_reserve(&value, 1) = '\0';
    switch (source_of(found)) {
    case CONFIG_FLAG:
        config_flag(option, flag);
        err_wrap(err, "%s=%.100s (flag --%s)", option->name, value.data, flag);
        break;
    case CONFIG_ENVIRON:
        err_wrap(err, "%s=%.100s (environment)", option->name, value.data);
        break;
    case CONFIG_DOTENV:
        err_wrap(err, "%s=%.100s (%s line %u)", option->name, value.data, load->dotenv,
                 found->line);
        break;
    case CONFIG_DEFAULT:
        err_wrap(err, "%s=%.100s (default)", option->name, value.data);
        break;
    }
    buf_free(&value);
    return ERR_INVALID;
}

static int apply_rows(struct loading *load, struct err *err)
{
    for (int row = 0; config_table[row].name != NULL; row++) {
        const struct config_option *option = &config_table[row];
        const char *text = text_of(&load->found[row], option);

        load->config.sources[row] = (unsigned char)source_of(&load->found[row]);
        if (text != NULL && config_value_set(option, text, &load->config, err) != 0)
            return wrap_with_origin(load, row, err);
    }
    return 0;
}

static uint64_t core_count(void)
{
    cpu_set_t cores; /* those this process may run on: a container has fewer */
    int count;

    if (sched_getaffinity(0, sizeof cores, &cores) != 0)
        return 1;
    count = CPU_COUNT(&cores);
    return count < 1 ? 1 : count > MOST_WORKERS ? MOST_WORKERS : (uint64_t)count;
}

/* The defaults that the table only describes. */
static void derive(struct config *config)
{
    struct buf url = {0};

    if (config->workers == 0)
        config->workers = core_count();
    if (config->database_url == NULL) {
        size_t len;

        assert(config->data_dir != NULL); /* a row with a default */
        len = strlen(config->data_dir);

        while (len > 1 && config->data_dir[len - 1] == '/')
            len--;
        buf_printf(&url, "sqlite:%.*s%sevents.db", (int)len, config->data_dir,
                   config->data_dir[len - 1] == '/' ? "" : "/");
        config->database_url = mem_strndup(url.data, url.len);
        buf_free(&url);
    }
}

static int row_of_field(size_t offset)
{
    int row = 0;

    while (config_table[row].offset != offset)
        row++;
    return row;
}

/* Of two options that bound each other the one that was set is to blame, not a default. */
static int blame(const struct loading *load, size_t first, size_t second, const char *must,
                 const char *opposite, struct err *err)
{
    int row = row_of_field(first);
    int other = row_of_field(second);
    const char *words = must;
    struct buf value = {0};

    if (source_of(&load->found[row]) == CONFIG_DEFAULT) {
        int swap = row;

        row = other;
        other = swap;
        words = opposite;
    }
    config_value_show(&config_table[other], &load->config, &value);
    err_set(err, ERR_INVALID, "must be %s %s, which is %.*s", words, config_table[other].name,
            SLICE_ARG(buf_slice(&value)));
    buf_free(&value);
    return wrap_with_origin(load, row, err);
}

static int check_relations(const struct loading *load, struct err *err)
{
    const struct config *config = &load->config;

    if (config->forward_retry_min > config->forward_retry_max)
        return blame(load, offsetof(struct config, forward_retry_min),
                     offsetof(struct config, forward_retry_max), "at most", "at least", err);
    /* One segment is written, one read, one prepared, and one more makes it useful. */
    if (config->queue_max_bytes / 4 < config->segment_bytes)
        return blame(load, offsetof(struct config, queue_max_bytes),
                     offsetof(struct config, segment_bytes), "at least four times",
                     "at most a quarter of", err);
    return 0;
}

int config_load(struct config *config, int *argc, char **argv, char *const *environment,
                const char *dotenv, struct err *err)
{
    struct loading load = {.dotenv = dotenv};
    int rc;

    rc = read_flags(&load, *argc, argv, err);
    if (rc != 0)
        goto free_load;
    read_environ(&load, environment);
    if (dotenv != NULL) {
        rc = read_dotenv(&load, err);
        if (rc != 0)
            goto free_load;
    }
    rc = apply_rows(&load, err);
    if (rc != 0)
        goto free_load;
    derive(&load.config);
    rc = check_relations(&load, err);
    if (rc != 0)
        goto free_load;
    memcpy(argv, load.words, (size_t)load.word_count * sizeof *argv);
    if (load.word_count < *argc)
        argv[load.word_count] = NULL;
    *argc = load.word_count;
    *config = load.config;
    load.config = (struct config){0};
free_load:
    for (int row = 0; config_table[row].name != NULL; row++)
        free(load.found[row].dotenv);
    free(load.words);
    config_free(&load.config);
    return rc;
}

void config_free(struct config *config)
{
    for (int row = 0; config_table[row].name != NULL; row++) {
        if (config_table[row].type == CONFIG_TYPE_STRING)
            free(*config_string(&config_table[row], config));
    }
    *config = (struct config){0};
}
