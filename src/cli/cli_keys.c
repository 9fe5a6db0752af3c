/*
 * API keys from the shell: create, list, revoke.
 *
 * The request is the one that POST /v1/keys takes, so a running engine and the data directory judge
 * it alike. Standard output gets the key and nothing else: `KEY=$(labs-analytics key create ...)`.
 */
#include "cli/cli_priv.h"

#include "base/clock.h"
#include "json/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LONGEST_MS (UINT64_C(36500) * 24 * 3600 * 1000) /* a hundred years */

static void write_member(struct buf *out, const char *name, const char *value)
{
    if (value != NULL) {
        buf_printf(out, ",\"%s\":", name);
        json_write_string(out, slice_of(value));
    }
}

/* As JSON writes a whole number that is not too large. */
static bool is_number(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
    }
    return text.len == 1 || (text.len > 1 && text.len < 10 && text.at[0] != '0');
}

/* "A,B" becomes ["A","B"]; what is a number stays one if `numbers`. */
static void write_list(struct buf *out, const char *name, const struct buf *list, bool numbers)
{
    const char *at = list->data;
    const char *end = at + list->len;

    buf_printf(out, ",\"%s\":[", name);
    while (list->len > 0 && at <= end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        struct slice part = {at, (size_t)((comma != NULL ? comma : end) - at)};

        if (at > list->data)
            buf_append_char(out, ',');
        if (numbers && is_number(part))
            buf_append_slice(out, part);
        else
            json_write_string(out, part);
        at += part.len + 1;
    }
    buf_append_char(out, ']');
}

/* 0, or the exit code of wrong usage. */
static int make_request(const struct cli *cli, struct buf *out)
{
    char expires[CLOCK_TEXT_SIZE];
    uint64_t ms;

    if (cli->scope == NULL)
        return cli_usage("key create: --scope must be write, read or admin");
    buf_append_text(out, "{\"scope\":");
    json_write_string(out, slice_of(cli->scope));
    write_list(out, "products", &cli->products, true);
    write_list(out, "origins", &cli->origins, false);
    write_member(out, "name", cli->key_name);
    if (cli->expires != NULL) {
        if (!config_duration(cli->expires, &ms) || ms < 1000 || ms > LONGEST_MS)
            return cli_usage("key create: --expires %s: must be a duration such as 90d",
                             cli->expires);
        clock_format(expires, clock_wall_us() + (int64_t)ms * 1000);
        write_member(out, "expires", expires);
    }
    buf_append_char(out, '}');
    return 0;
}

static void tell(const struct cli *cli, const struct buf *made)
{
    struct buf key = {0}, id = {0};

    show_member(made, "key", &key);
    show_member(made, "id", &id);
    fprintf(stderr, "labs-analytics: key %.*s: %s", SLICE_ARG(buf_slice(&id)), cli->scope);
    if (cli->products.len > 0)
        fprintf(stderr, " %.*s", SLICE_ARG(buf_slice(&cli->products)));
    if (cli->origins.len > 0)
        fprintf(stderr, " from %.*s", SLICE_ARG(buf_slice(&cli->origins)));
    if (cli->expires != NULL)
        fprintf(stderr, " for %s", cli->expires);
    fputs("; it is not shown again\n", stderr);
    printf("%.*s\n", SLICE_ARG(buf_slice(&key)));
    buf_free(&key);
    buf_free(&id);
}

static int refuse(int code, const struct err *err)
{
    return code == ERR_INVALID ? cli_usage("key create: %s", err->text) : cli_failed(err);
}

/* 0, or an exit code. Where nothing is yet, nothing is made for a request that is wrong. */
static int open_for(struct cli *cli, struct slice request, struct source *source, struct err *err)
{
    int code = source_open_keys(cli, false, source, err);

    if (code == ERR_NOT_FOUND) {
        code = app_keys_check(&cli->config, request, err);
        if (code != 0)
            return refuse(code, err);
        code = source_open_keys(cli, true, source, err);
    }
    return code == 0 ? 0 : cli_failed(err);
}

static int create(struct cli *cli, struct source *source, struct err *err)
{
    struct buf request = {0}, made = {0};
    int code = make_request(cli, &request);

    if (code == 0)
        code = open_for(cli, buf_slice(&request), source, err);
    if (code == 0) {
        code = source_key_create(source, buf_slice(&request), &made, err);
        source_close(source);
        if (code == 0)
            tell(cli, &made);
        else
            code = refuse(code, err);
    }
    buf_free(&made);
    buf_free(&request);
    return code;
}

static int list(struct cli *cli, struct source *source, struct err *err)
{
    static const char *const columns[] = {"id",   "scope",   "products", "origins",
                                          "name", "created", "expires",  NULL};
    struct buf out = {0};
    int code = source_open_keys(cli, false, source, err);

    if (code != 0)
        return cli_failed(err);
    code = source_key_list(source, &out, err);
    source_close(source);
    if (code == 0 && cli->json)
        show_json(&out);
    else if (code == 0)
        show_table(&out, "keys", columns);
    buf_free(&out);
    return code == 0 ? EXIT_DONE : cli_failed(err);
}

static int revoke(struct cli *cli, struct source *source, struct err *err)
{
    const char *id = cli->argv[2];
    int code;

    if (strncmp(id, "la_", 3) == 0) /* a whole key is not repeated here */
        return cli_usage("key revoke: say its id, the %d characters behind la_",
                         AUTH_KEY_ID_SIZE - 1);
    code = source_open_keys(cli, false, source, err);
    if (code != 0)
        return cli_failed(err);
    code = source_key_revoke(source, id, err);
    source_close(source);
    if (code != 0)
        return cli_failed(err);
    printf("%s revoked\n", id);
    return EXIT_DONE;
}

int command_key(struct cli *cli)
{
    const char *verb = cli->argc > 1 ? cli->argv[1] : "";
    bool revokes = strcmp(verb, "revoke") == 0;
    struct source source;
    struct err err;

    if (!revokes && strcmp(verb, "create") != 0 && strcmp(verb, "list") != 0)
        return cli_usage("key: say create, list or revoke");
    if (revokes && cli->argc != 3)
        return cli_usage("key revoke: say which, by its id");
    if (!revokes && cli->argc != 2)
        return cli_usage("key %s: takes no id", verb);
    if (revokes)
        return revoke(cli, &source, &err);
    return verb[0] == 'c' ? create(cli, &source, &err) : list(cli, &source, &err);
}
