/*
 * The table of commands, the flags that are theirs, and the way in.
 */
#include "cli/cli.h"

#include "cli/cli_priv.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct command commands[] = {
    {"serve", "", "run the engine in the foreground", 0, command_serve},
    {"token", "[--urn U] [--ttl D]", "mint a token of the development issuer", 0, command_token},
    {"status", "[--json]", "queue, store and transaction counts", 0, command_status},
    {"transactions", "list|show|retry|discard|export|import [ID|FILE]",
     "the transaction log: list [--status uncompleted|successful|failed] [--limit N] [--after ID], "
     "show ID, retry ID|--all, discard ID; failed ones as lines of JSON: export [--after ID], "
     "import FILE|-",
     2, command_transactions},
    {"forward", "--now", "forward what is queued, whatever FORWARD_WINDOW says", 0,
     command_forward},
    {"key", "create|list|revoke [ID]",
     "API keys: create --scope write|read|admin [--product P]... [--origin O]... [--expires 90d] "
     "[--name TEXT], list [--json], revoke ID",
     2, command_key},
    {"users", "forget PENNKEY [--delete]",
     "make a user's events in store, queue and failed transactions nobody's, or delete them", 2,
     command_users},
    {"migrate", "[--status]", "schema migrations of the store", 0, command_migrate},
    {"verify", "[DIR]", "offline check of the queue on disk", 1, command_verify},
    {"config", "[--markdown]", "every option: value, source, help", 0, command_config},
};

int cli_failed(const struct err *err)
{
    fprintf(stderr, "labs-analytics: %s\n", err->text);
    return EXIT_FAILED;
}

int cli_usage(const char *fmt, ...)
{
    va_list args;

    fputs("labs-analytics: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputs(" (see labs-analytics --help)\n", stderr);
    return EXIT_USAGE;
}

static int help(void)
{
    struct buf options = {0};

    printf("labs-analytics %s: takes analytics transactions, keeps them, stores them once\n\n",
           LABS_VERSION);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        printf("  labs-analytics %-13s %s\n      %s\n", commands[i].name, commands[i].words,
               commands[i].help);
    puts("  labs-analytics --help | --version\n");
    config_help(&options);
    fwrite(options.data, 1, options.len, stdout);
    buf_free(&options);
    return EXIT_DONE;
}

static void drop_words(struct cli *cli, int at, int count)
{
    cli->argc -= count;
    memmove(cli->argv + at, cli->argv + at + count,
            (size_t)(cli->argc - at + 1) * sizeof *cli->argv);
}

/* Takes "--name value" or "--name=value" out of the words; false for a missing value. */
static bool take_value(struct cli *cli, const char *flag, const char **ret)
{
    size_t len = strlen(flag);

    for (int i = 1; i < cli->argc; i++) {
        if (strncmp(cli->argv[i], flag, len) != 0)
            continue;
        if (cli->argv[i][len] == '=') {
            *ret = cli->argv[i] + len + 1;
            drop_words(cli, i, 1);
            return true;
        }
        if (cli->argv[i][len] == '\0') {
            if (i + 1 >= cli->argc) {
                cli->lacking = flag;
                return false;
            }
            *ret = cli->argv[i + 1];
            drop_words(cli, i, 2);
            return true;
        }
    }
    return true;
}

/* Takes every "--name value"; a comma between them. An empty one is missing: a shell makes it of a
 * variable that is not set, and a key without origins may be used from everywhere. */
static bool take_values(struct cli *cli, const char *flag, struct buf *ret)
{
    for (;;) {
        const char *value = NULL;

        if (!take_value(cli, flag, &value))
            return false;
        if (value == NULL)
            return true;
        if (*value == '\0') {
            cli->lacking = flag;
            return false;
        }
        if (ret->len > 0)
            buf_append_char(ret, ',');
        buf_append_text(ret, value);
    }
}

static bool take_switch(struct cli *cli, const char *flag)
{
    for (int i = 1; i < cli->argc; i++) {
        if (strcmp(cli->argv[i], flag) == 0) {
            drop_words(cli, i, 1);
            return true;
        }
    }
    return false;
}

/* Which flags a command has besides the options. */
static int take_own_flags(struct cli *cli, const struct command *command)
{
    bool good = true;

    if (command->run == command_token)
        good = take_value(cli, "--urn", &cli->urn) && take_value(cli, "--ttl", &cli->ttl);
    if (command->run == command_transactions) {
        good = take_value(cli, "--status", &cli->status) &&
               take_value(cli, "--limit", &cli->limit) && take_value(cli, "--after", &cli->after);
        cli->all = take_switch(cli, "--all");
    }
    if (command->run == command_key)
        good = take_value(cli, "--scope", &cli->scope) &&
               take_value(cli, "--expires", &cli->expires) &&
               take_value(cli, "--name", &cli->key_name) &&
               take_values(cli, "--product", &cli->products) &&
               take_values(cli, "--origin", &cli->origins);
    if (command->run == command_migrate && take_switch(cli, "--status"))
        cli->status = "";
    if (command->run == command_status || command->run == command_transactions ||
        command->run == command_key)
        cli->json = take_switch(cli, "--json");
    if (command->run == command_users) {
        cli->json = take_switch(cli, "--json");
        cli->erase = take_switch(cli, "--delete");
    }
    if (command->run == command_forward)
        cli->now = take_switch(cli, "--now");
    if (command->run == command_config)
        cli->markdown = take_switch(cli, "--markdown");
    return good ? 0 : cli_usage("%s: %s needs a value", command->name, cli->lacking);
}

static int run(struct cli *cli, const struct command *command, char *const *environment)
{
    struct err err;
    int code = take_own_flags(cli, command);

    if (code != 0)
        return code;
    if (config_load(&cli->config, &cli->argc, cli->argv, environment, ".env", &err) != 0) {
        fprintf(stderr, "labs-analytics: %s\n", err.text);
        return EXIT_USAGE;
    }
    log_open((enum log_level)cli->config.log_level, cli->config.log_format == CONFIG_JSON);
    if (cli->argc - 1 > command->max_words)
        code = cli_usage("%s: do not know what to do with \"%s\"", command->name,
                         cli->argv[command->max_words + 1]);
    else
        code = command->run(cli);
    config_free(&cli->config);
    buf_free(&cli->products);
    buf_free(&cli->origins);
    return code;
}

static bool asks_for_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static int dispatch(int argc, char **argv, char *const *environment)
{
    struct cli cli = {.argc = argc - 1, .argv = argv + 1};

    if (argc < 2)
        return cli_usage("which command?");
    if (asks_for_help(argv[1]) || strcmp(argv[1], "help") == 0)
        return help();
    if (strcmp(argv[1], "--version") == 0) {
        if (argc > 2)
            return cli_usage("--version: do not know what to do with \"%s\"", argv[2]);
        printf("labs-analytics %s\n", LABS_VERSION);
        return EXIT_DONE;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(argv[1], commands[i].name) != 0)
            continue;
        return asks_for_help(argv[argc - 1]) ? help() : run(&cli, &commands[i], environment);
    }
    return cli_usage("there is no command \"%s\"", argv[1]);
}

/* What a command says is most of what it does, and a key is shown only once: it is not done before
 * all of that has been written. */
static int flush(void)
{
    struct err err;

    if (fflush(stdout) != 0)
        err_system(&err, errno, "write to stdout");
    else if (ferror(stdout) != 0) /* earlier; nobody has kept why */
        err_set(&err, ERR_IO, "write to stdout: not all of it was written");
    else
        return EXIT_DONE;
    return cli_failed(&err);
}

/* A stream that is closed keeps its place, or a file that is opened would get it, and what is said
 * would go into that. It stays one that nothing can be written to, or read from. */
static bool hold_streams(void)
{
    for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; stream++) {
        if (fcntl(stream, F_GETFD) < 0 &&
            open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY) != stream)
            return false;
    }
    return true;
}

int cli_main(int argc, char **argv, char *const *environment)
{
    int code = hold_streams() ? dispatch(argc, argv, environment) : EXIT_FAILED;

    return code == EXIT_DONE ? flush() : code;
}
