/*
 * The commands, each a few lines over the rooms.
 */
#include "cli/cli_priv.h"

#include "auth/auth.h"
#include "base/clock.h"
#include "store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int command_serve(struct cli *cli)
{
    struct err err;
    int code = app_serve(&cli->config, &err);

    if (code == 0)
        return EXIT_DONE;
    cli_failed(&err);
    return code == ERR_INVALID ? EXIT_USAGE : EXIT_FAILED;
}

int command_token(struct cli *cli)
{
    const char *urn = cli->urn != NULL ? cli->urn : "urn:pennlabs:development";
    struct auth_issuer *issuer = NULL;
    struct buf token = {0};
    uint64_t ttl_ms = 0;
    struct err err;
    int code;

    if (!config_duration(cli->ttl != NULL ? cli->ttl : "24h", &ttl_ms) || ttl_ms < 1000)
        return cli_usage("token: --ttl %s: must be a duration such as 30m or 24h", cli->ttl);
    if (cli->config.jwks_url[0] != '\0') {
        err_set(&err, ERR_DENIED,
                "token: JWKS_URL is in force: a token of the development issuer would be refused");
        return cli_failed(&err);
    }
    if (cli->config.environment == CONFIG_PRODUCTION)
        return cli_usage("token: ENVIRONMENT=PRODUCTION has no development issuer");
    code = app_dir_make(cli->config.data_dir, &err);
    if (code == 0)
        code = auth_issuer_open(cli->config.data_dir, &issuer, &err);
    if (code != 0)
        return cli_failed(&err);
    code = auth_issuer_sign(issuer, urn, clock_wall_us(), (int64_t)(ttl_ms / 1000), &token, &err);
    if (code == 0)
        printf("%.*s\n", SLICE_ARG(buf_slice(&token)));
    buf_free(&token);
    auth_issuer_close(issuer);
    if (code == ERR_INVALID)
        return cli_usage("token: %s", err.text);
    return code == 0 ? EXIT_DONE : cli_failed(&err);
}

int command_status(struct cli *cli)
{
    struct source source;
    struct buf json = {0};
    struct err err;
    int code = source_open(cli, &source, &err);

    if (code != 0)
        return cli_failed(&err);
    code = source_status(&source, &json, &err);
    if (code == 0 && cli->json)
        show_json(&json);
    else if (code == 0)
        show_fields(&json);
    buf_free(&json);
    source_close(&source);
    return code == 0 ? EXIT_DONE : cli_failed(&err);
}

int command_forward(struct cli *cli)
{
    struct source source;
    struct buf json = {0};
    struct err err;
    int code;

    if (!cli->now)
        return cli_usage("forward: it takes --now");
    code = source_open(cli, &source, &err);
    if (code != 0)
        return cli_failed(&err);
    code = source_forward(&source, &json, &err);
    if (code == 0)
        show_fields(&json);
    buf_free(&json);
    source_close(&source);
    return code == 0 ? EXIT_DONE : cli_failed(&err);
}

static int print_migrations(struct store *store, struct err *err)
{
    struct store_migration list[64];
    char when[CLOCK_TEXT_SIZE];
    size_t count = 0;
    int code = store_migrations(store, list, sizeof list / sizeof *list, &count, err);

    for (size_t i = 0; code == 0 && i < count; i++) {
        if (list[i].applied_us != 0)
            clock_format(when, list[i].applied_us);
        printf("%" PRId64 "_%s: %s%s\n", list[i].version, list[i].name,
               list[i].applied_us != 0 ? "applied " : "not applied",
               list[i].applied_us != 0 ? when : "");
    }
    return code;
}

int command_migrate(struct cli *cli)
{
    struct store *store = NULL;
    unsigned applied = 0;
    struct err err;
    int code = 0;

    /* By default the embedded store lies there, and no engine may have been started yet. */
    if (cli->status == NULL && strncmp(cli->config.database_url, "sqlite:", 7) == 0)
        code = app_dir_make(cli->config.data_dir, &err);
    if (code == 0)
        code =
            store_open(cli->config.database_url, (int64_t)cli->config.store_timeout, &store, &err);
    if (code == 0)
        code = store_connect(store, &err);
    if (code == 0 && cli->status != NULL) {
        code = print_migrations(store, &err);
    } else if (code == 0) {
        code = store_migrate(store, &applied, &err);
        if (code == 0)
            printf("%u migration%s applied\n", applied, applied == 1 ? "" : "s");
    }
    store_close(store);
    return code == 0 ? EXIT_DONE : cli_failed(&err);
}

int command_verify(struct cli *cli)
{
    struct config config = cli->config;
    struct app_offline offline;
    struct wal_recovery recovery;
    struct queue_status queue;
    struct err err;

    if (cli->argc > 1)
        config.data_dir = cli->argv[1];
    if (app_offline_open(&config, &offline, &err) != 0)
        return cli_failed(&err);
    recovery = offline.recovery;
    queue = queue_status(offline.queue);
    printf("node %s: %" PRIu64 " segments, %" PRIu64 " transactions, %" PRIu64 " bytes read\n"
           "pending: %" PRIu64 " transactions, %" PRIu64 " bytes\n"
           "unfinished write at the end: %" PRIu64 " bytes\n"
           "damaged: %" PRIu64 " bytes in %" PRIu64 " stretches\n"
           "damaged ever: %" PRIu64 " bytes in %" PRIu64 " stretches, %" PRIu64
           " transactions; %" PRIu64 " bytes in %s/quarantine\n"
           "client ids in files: %" PRIu64 " in %" PRIu64 ", %" PRIu64 " damaged\n",
           queue_node(offline.queue), recovery.segments, recovery.records, recovery.bytes,
           queue.pending_transactions, queue.pending_bytes, recovery.cut_bytes,
           recovery.damaged_bytes, recovery.damaged_stretches, queue.lost.bytes,
           queue.lost.stretches, queue.lost.records, queue.lost.kept_bytes, config.data_dir,
           queue.ids_in_files, queue.id_files, queue.ids_lost);
    app_offline_close(&offline);
    return recovery.damaged_stretches == 0 && queue.ids_lost == 0 ? EXIT_DONE : EXIT_FAILED;
}

int command_config(struct cli *cli)
{
    struct buf out = {0};

    if (cli->markdown)
        config_markdown(&out);
    else
        config_show(&cli->config, &out);
    fwrite(out.data, 1, out.len, stdout);
    buf_free(&out);
    return EXIT_DONE;
}
