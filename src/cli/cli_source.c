/*
 * Where a command's answer comes from: the engine that holds the data directory's lock, asked
 * over HTTP with the operator key that it left there; or the directory itself.
 */
#include "cli/cli_priv.h"

#include "auth/auth.h"
#include "base/clock.h"
#include "store/store.h"
#include "json/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    STARTING_MS = 10000, /* how long to wait for an engine that has not said its address yet */
    TURN_MS = 20,
};

static int open_here(struct source *source, bool make, struct err *err)
{
    const struct config *config = &source->cli->config;

    return source->has_keys ? app_keys_open(config, make, &source->keys, err)
                            : app_offline_open(config, &source->offline, err);
}

static const char *addresses_of(const struct source *source)
{
    return source->has_keys ? source->keys.dir.addresses : source->offline.dir.addresses;
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

static int open_either(struct source *source, bool make, struct err *err)
{
    static const struct timespec turn = {.tv_nsec = TURN_MS * 1000000L};
    const char *data_dir = source->cli->config.data_dir;
    int code = open_here(source, make, err);

    for (int waited = 0;
         code == ERR_BUSY && addresses_of(source)[0] == '\0' && waited < STARTING_MS;
         waited += TURN_MS) {
        nanosleep(&turn, NULL);
        code = open_here(source, make, err);
    }
    if (code != ERR_BUSY)
        return code;
    source->online = true;
    choose_address(addresses_of(source), source->address, sizeof source->address);
    if (source->address[0] == '\0')
        return err_set(err, ERR_BUSY, "the engine on %s is still starting: try again", data_dir);
    return auth_operator_key(data_dir, source->key, err);
}

int source_open(struct cli *cli, struct source *ret, struct err *err)
{
    struct source source = {.cli = cli};
    int code = open_either(&source, false, err);

    if (code == 0)
        *ret = source;
    return code;
}

int source_open_keys(struct cli *cli, bool make, struct source *ret, struct err *err)
{
    struct source source = {.cli = cli, .has_keys = true};
    int code = open_either(&source, make, err);

    if (code == 0)
        *ret = source;
    return code;
}

void source_close(struct source *source)
{
    if (!source->online && source->has_keys)
        app_keys_close(&source->keys);
    else if (!source->online)
        app_offline_close(&source->offline);
}

static int request(struct source *source, struct cli_request asked, struct buf *out,
                   struct err *err)
{
    asked.address = source->address;
    asked.certificate = source->cli->config.tls_cert;
    asked.key = source->key;
    return cli_fetch(&asked, out, err);
}

static int ask(struct source *source, const char *method, const char *path, struct slice body,
               struct buf *out, struct err *err)
{
    return request(source, (struct cli_request){.method = method, .path = path, .body = body}, out,
                   err);
}

static int get(struct source *source, const char *method, const char *path, struct buf *out,
               struct err *err)
{
    return ask(source, method, path, (struct slice){NULL, 0}, out, err);
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
    unsigned limit = cli->limit != NULL ? (unsigned)atoi(cli->limit) : 100;
    enum api_list which = API_ALL;
    char path[256];

    if (!source->online)
        return cli->status == NULL || api_list_by_name(cli->status, &which)
                   ? api_write_transactions(&source->offline.view, which, slice_of(cli->after),
                                            limit, out, err)
                   : err_set(err, ERR_INVALID, "no list of that status");
    snprintf(path, sizeof path, "/v1/transactions?limit=%u%s%s%s%s", limit,
             cli->status != NULL ? "&status=" : "", cli->status != NULL ? cli->status : "",
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

int source_export(struct source *source, const char *after, unsigned limit, struct buf *out,
                  struct err *err)
{
    char path[128];

    if (!source->online)
        return api_export_failed(&source->offline.view, slice_of(after), limit, out, err);
    snprintf(path, sizeof path, "/v1/transactions?status=failed&format=ndjson&limit=%u%s%s", limit,
             after != NULL ? "&after=" : "", after != NULL ? after : "");
    return get(source, "GET", path, out, err);
}

int source_import(struct source *source, struct slice lines, struct buf *out, struct err *err)
{
    if (!source->online)
        return err_set(err, ERR_UNAVAILABLE, "no engine runs on %s, so nothing is taken",
                       source->cli->config.data_dir);
    return request(source,
                   (struct cli_request){
                       .method = "POST", .path = "/v1/transactions", .body = lines, .lines = true},
                   out, err);
}

int source_forward(struct source *source, struct buf *out, struct err *err)
{
    if (!source->online)
        return err_set(err, ERR_UNAVAILABLE, "no engine runs on %s, so nothing is forwarded",
                       source->cli->config.data_dir);
    return get(source, "POST", "/v1/forward", out, err);
}

int source_key_create(struct source *source, struct slice request, struct buf *out, struct err *err)
{
    char id[AUTH_KEY_ID_SIZE];
    int code;

    if (source->online)
        return ask(source, "POST", "/v1/keys", request, out, err);
    code = auth_keyring_create(source->keys.ring, request, clock_wall_us(), id, out, err);
    if (code == 0)
        cli_audit("key-create", id);
    return code;
}

int source_key_list(struct source *source, struct buf *out, struct err *err)
{
    if (source->online)
        return get(source, "GET", "/v1/keys", out, err);
    auth_keyring_list(source->keys.ring, out);
    return 0;
}

int source_key_revoke(struct source *source, const char *id, struct err *err)
{
    struct buf nothing = {0};
    char path[64];
    int code;

    if (strlen(id) != AUTH_KEY_ID_SIZE - 1 ||
        strspn(id, "0123456789abcdefghijklmnopqrstuvwxyz") != strlen(id))
        return err_set(err, ERR_NOT_FOUND, "\"%s\" is no id of a key", id);
    if (source->online) {
        snprintf(path, sizeof path, "/v1/keys/%s", id);
        code = get(source, "DELETE", path, &nothing, err);
        buf_free(&nothing);
        return code;
    }
    code = auth_keyring_revoke(source->keys.ring, slice_of(id), err);
    if (code == 0)
        cli_audit("key-revoke", id);
    return code;
}

static int forget_online(struct source *source, const char *pennkey, bool erase, struct buf *out,
                         struct err *err)
{
    struct buf body = {0};
    int code;

    buf_append_text(&body, "{\"pennkey\":");
    json_write_string(&body, slice_of(pennkey));
    buf_printf(&body, ",\"delete\":%s}", erase ? "true" : "false");
    code = ask(source, "POST", "/v1/users/forget", buf_slice(&body), out, err);
    buf_free(&body);
    return code;
}

int source_forget(struct source *source, const char *pennkey, bool erase, struct buf *out,
                  struct err *err)
{
    const struct config *config = &source->cli->config;
    struct api_view view = source->offline.view;
    int code;

    if (source->online)
        return forget_online(source, pennkey, erase, out, err);
    code = store_open(config->database_url, (int64_t)config->store_timeout, &view.store, err);
    if (code != 0)
        return code;
    code = api_forget(&view, slice_of(pennkey), erase, out, err);
    store_close(view.store);
    if (code == 0)
        cli_audit(erase ? "user-delete" : "user-forget", NULL);
    return code;
}
