/*
 * Looking at a data directory while no engine runs on it. The log is opened read-only; the
 * ledger may be written, to mark failed transactions.
 */
#include "app/app.h"

#include <stdio.h>
#include <unistd.h>

static int open_rooms(const struct config *config, struct app_offline *offline, struct err *err)
{
    struct queue_options queue = {
        .data_dir = config->data_dir,
        .segment_bytes = config->segment_bytes,
        .max_bytes = config->queue_max_bytes,
        .read_only = true,
        .dedup_ids = config->dedup_ids,
        .quarantine_max_bytes = config->quarantine_max_bytes,
        .dedup_window_s = (uint32_t)(config->dedup_window / 1000),
    };
    struct users_options users = {
        .data_dir = config->data_dir,
        .pseudonymize = config->pseudonymize == CONFIG_ON,
    };
    char path[4160];
    int code;

    snprintf(path, sizeof path, "%s/ledger.db", config->data_dir);
    if (access(path, F_OK) < 0)
        return app_dir_none(config->data_dir, err);
    if ((code = txn_products_open(config->products, &offline->products, err)) != 0 ||
        (code = users_open(&users, &offline->users, err)) != 0 ||
        (code = ledger_open(path, config->deliveries_kept, &offline->ledger, err)) != 0 ||
        (code = ledger_cursor(offline->ledger, &queue.cursor, err)) != 0 ||
        (code = queue_open(&queue, &offline->queue, &offline->recovery, err)) != 0)
        return code;
    ledger_bound(offline->ledger, config->failed_max, config->failed_max_bytes);
    offline->view = (struct api_view){
        .queue = offline->queue,
        .ledger = offline->ledger,
        .products = offline->products,
        .users = offline->users,
        .store_kind = strncmp(config->database_url, "sqlite", 6) == 0 ? "sqlite" : "postgres",
        .forget_max = config->forget_max,
        .step_rows = (unsigned)config->retention_step_rows,
    };
    return 0;
}

int app_offline_open(const struct config *config, struct app_offline *ret, struct err *err)
{
    struct app_offline offline = {0};
    int code = app_dir_open(config->data_dir, APP_DIR_LOOK, &offline.dir, err);

    if (code == ERR_NOT_FOUND)
        return app_dir_none(config->data_dir, err);
    if (code == 0 && (code = open_rooms(config, &offline, err)) != 0)
        app_offline_close(&offline);
    if (code == 0 || code == ERR_BUSY)
        *ret = offline;
    return code;
}

void app_offline_close(struct app_offline *offline)
{
    queue_close(offline->queue);
    ledger_close(offline->ledger);
    users_close(offline->users);
    txn_products_close(offline->products);
    app_dir_close(&offline->dir);
}
