/*
 * Where a command's answer comes from: the engine that holds the data directory's lock, asked
 * over HTTP with a token of the development issuer; or the directory itself.
 */
#include "cli/cli_priv.h"

#include "auth/auth.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    TOKEN_TTL_S = 60,
    STARTING_MS = 10000, /* how long to wait for an engine that has not said its address yet */
    TURN_MS = 20,
};

static int make_token(struct source *source, struct err *err)
{
    struct auth_issuer *issuer;
    int code = auth_issuer_open(source->cli->config.data_dir, &issuer, err);

    if (code != 0)
        return code;
    code = auth_issuer_sign(issuer, "urn:pennlabs:command-line", clock_wall_us(), TOKEN_TTL_S,
                            &source->token, err);
    buf_append_char(&source->token, '\0');
    auth_issuer_close(issuer);
    return code;
}

/* The first one without TLS, which asks nothing of the certificate; else the first. */
static void choose_address(const char *list, char *out, size_t size)
{
    const char *chosen = list;

    for (const char *at = list; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, "https://", 8) != 0) {
            chosen = at;
            break;
        }
    }
    snprintf(out, size, "%.*s", (int)strcspn(chosen, ","), chosen);
}

int source_open(struct cli *cli, struct source *ret, struct err *err)
{
    static const struct timespec turn = {.tv_nsec = TURN_MS * 1000000L};
    struct source source = {.cli = cli};
    int code = app_offline_open(&cli->config, &source.offline, err);

    for (int waited = 0;
         code == ERR_BUSY && source.offline.dir.addresses[0] == '\0' && waited < STARTING_MS;
         waited += TURN_MS) {
        nanosleep(&turn, NULL);
        code = app_offline_open(&cli->config, &source.offline, err);
    }
    if (code == ERR_BUSY) {
        source.online = true;
        choose_address(source.offline.dir.addresses, source.address, sizeof source.address);
        if (source.address[0] == '\0')
            return err_set(err, ERR_BUSY, "the engine on %s is still starting: try again",
                           cli->config.data_dir);
        code = make_token(&source, err);
    }
    if (code == 0)
        *ret = source;
    else
        buf_free(&source.token);
    return code;
}

void source_close(struct source *source)
{
    if (!source->online)
        app_offline_close(&source->offline);
    buf_free(&source->token);
}

static int get(struct source *source, const char *method, const char *path, struct buf *out,
               struct err *err)
{
    return cli_fetch(method, source->address, path, source->token.data,
                     source->cli->config.tls_cert, out, err);
}

int source_status(struct source *source, struct buf *out, struct err *err)
{
    if (source->online)
        return get(source, "GET", "/v1/status", out, err);
    return api_write_status(&source->offline.view, out, err);
}

int source_list(struct source *source, struct buf *out, struct err *err)
{
    const struct cli *cli = source->cli;
    const char *status = cli->status != NULL ? cli->status : "failed";
    unsigned limit = cli->limit != NULL ? (unsigned)atoi(cli->limit) : 100;
    enum api_list which;
    char path[256];

    if (!source->online)
        return api_list_by_name(status, &which)
                   ? api_write_transactions(&source->offline.view, which, slice_of(cli->after),
                                            limit, out, err)
                   : err_set(err, ERR_INVALID, "no list of that status");
    snprintf(path, sizeof path, "/v1/transactions?status=%s&limit=%u%s%s", status, limit,
             cli->after != NULL ? "&after=" : "", cli->after != NULL ? cli->after : "");
    return get(source, "GET", path, out, err);
}

/* Ids go into a path as they are only if they can be ids. */
static int path_of(const char *id, const char *tail, char *out, size_t size, struct err *err)
{
    char node[TXN_NODE_SIZE];
    uint64_t position;

    if (!txn_id_parse(slice_of(id), node, &position))
        return err_set(err, ERR_NOT_FOUND, "\"%s\" is no id of a transaction", id);
    snprintf(out, size, "/v1/transactions/%s%s", id, tail);
    return 0;
}

int source_show(struct source *source, const char *id, struct buf *out, struct err *err)
{
    char path[128];

    if (!source->online)
        return api_write_transaction(&source->offline.view, slice_of(id), out, err);
    if (path_of(id, "", path, sizeof path, err) != 0)
        return err->code;
    return get(source, "GET", path, out, err);
}

int source_retry(struct source *source, const char *id, struct buf *out, struct err *err)
{
    char path[128];

    if (!source->online) {
        int code = api_retry(&source->offline.view, slice_of(id), out, err);

        if (code == 0)
            cli_audit("retry", id);
        return code;
    }
    if (path_of(id, "/retry", path, sizeof path, err) != 0)
        return err->code;
    return get(source, "POST", path, out, err);
}

int source_discard(struct source *source, const char *id, struct buf *out, struct err *err)
{
    char path[128];

    if (!source->online) {
        int code = api_discard(&source->offline.view, slice_of(id), out, err);

        if (code == 0)
            cli_audit("discard", id);
        return code;
    }
    if (path_of(id, "", path, sizeof path, err) != 0)
        return err->code;
    return get(source, "DELETE", path, out, err);
}

int source_forward(struct source *source, struct buf *out, struct err *err)
{
    if (!source->online)
        return err_set(err, ERR_UNAVAILABLE, "no engine runs on %s, so nothing is forwarded",
                       source->cli->config.data_dir);
    return get(source, "POST", "/v1/forward", out, err);
}
