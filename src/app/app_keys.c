/*
 * The API keys of a data directory while no engine runs on it. A shared lock on the directory's
 * lock file keeps engines out; an exclusive one on the directory itself lets one command change
 * keys at a time. Both end with the process, however it ends.
 */
#include "app/app.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

static int open_rooms(const struct config *config, struct app_keys *keys, struct err *err)
{
    struct auth_keyring_options options = {
        .data_dir = config->data_dir,
        .most = config->max_api_keys,
    };
    int code = txn_products_open(config->products, &keys->products, err);

    if (code != 0)
        return err_wrap(err, "PRODUCTS");
    keys->folder = open(config->data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (keys->folder < 0 || flock(keys->folder, LOCK_EX) < 0)
        return err_system(err, errno, "lock %s", config->data_dir);
    options.products = keys->products;
    return auth_keyring_open(&options, &keys->ring, err);
}

int app_keys_open(const struct config *config, bool make, struct app_keys *ret, struct err *err)
{
    struct app_keys keys = {.folder = -1};
    int code =
        app_dir_open(config->data_dir, make ? APP_DIR_PREPARE : APP_DIR_LOOK, &keys.dir, err);

    if (code == ERR_NOT_FOUND)
        return app_dir_none(config->data_dir, err);
    if (code == 0 && (code = open_rooms(config, &keys, err)) != 0)
        app_keys_close(&keys);
    if (code == 0 || code == ERR_BUSY)
        *ret = keys;
    return code;
}

void app_keys_close(struct app_keys *keys)
{
    auth_keyring_close(keys->ring);
    if (keys->folder >= 0)
        close(keys->folder);
    txn_products_close(keys->products);
    app_dir_close(&keys->dir);
}

int app_keys_check(const struct config *config, struct slice request, struct err *err)
{
    struct txn_products *products;
    int code = txn_products_open(config->products, &products, err);

    if (code != 0)
        return err_wrap(err, "PRODUCTS");
    code = auth_keyring_check(request, products, clock_wall_us(), err);
    txn_products_close(products);
    return code;
}
