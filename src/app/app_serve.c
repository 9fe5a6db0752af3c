/*
 * The engine's life. Up: data directory, keys, ledger, queue (recovery), forwarder, HTTP.
 * Down, on SIGTERM or SIGINT, in reverse: no new work, what is in flight is finished, the
 * queue is forwarded for a while, everything closes. A failing step undoes those before it.
 */
#include "app/app.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FINISH_MS = 10000, /* for requests in flight at the end */
    LARGE_BYTES = 4 << 20,
    KEPT_BYTES = 4 << 20,
    ARENAS = 2,
    LEAST_RETENTION_MS = 3600 * 1000,
    LEAST_COMMIT_ROOM = 8 << 20, /* what the session of a request adds to its transactions */
};

struct engine {
    const struct config *config;
    int64_t started_us;
    struct app_dir dir;
    struct txn_products *products;
    struct auth *auth;
    struct auth_origins *origins;
    struct auth_keyring *keyring;
    struct auth_jwks *jwks; /* NULL: the development issuer signs */
    struct users *users;
    struct ledger *ledger;
    struct queue *queue;
    struct forward *forward;
    struct upkeep *upkeep;
    struct api *api;
    struct http_server *server;
};

static void use_limits(struct engine *engine)
{
    const struct config *config = engine->config;
    const int64_t burst_us = (int64_t)config->rate_burst * 1000;
    const struct rate_limits urns = {config->urn_requests_per_second,
                                     config->urn_datapoints_per_second, burst_us};
    const struct rate_limits keys = {config->key_requests_per_second,
                                     config->key_datapoints_per_second, burst_us};

    auth_use_limits(engine->auth, &urns, &keys, config->rate_meters);
}

/* What the option table cannot check, before anything is touched. */
static int check_options(struct engine *engine, struct err *err)
{
    const struct config *config = engine->config;
    struct store *store;

    if (app_identity_check(config, err) != 0)
        return err->code;
    if (txn_products_open(config->products, &engine->products, err) != 0)
        return err_wrap(err, "PRODUCTS");
    if (config->body_memory < config->max_body_bytes)
        return err_set(err, ERR_INVALID,
                       "BODY_MEMORY=%" PRIu64 ": must be at least MAX_BODY_BYTES, %" PRIu64,
                       config->body_memory, config->max_body_bytes);
    if (config->commit_max_bytes < config->max_body_bytes + LEAST_COMMIT_ROOM)
        return err_set(err, ERR_INVALID,
                       "COMMIT_MAX_BYTES=%" PRIu64 ": must be at least %d more than "
                       "MAX_BODY_BYTES, %" PRIu64,
                       config->commit_max_bytes, LEAST_COMMIT_ROOM, config->max_body_bytes);
    if (auth_open(config->allowed_urns, &engine->auth, err) != 0)
        return err_wrap(err, "ALLOWED_URNS");
    if (auth_origins_parse(config->cors_origins, &engine->origins, err) != 0)
        return err_wrap(err, "CORS_ORIGINS=%s", config->cors_origins);
    if (auth_use_products(engine->auth, config->urn_products, engine->products, err) != 0)
        return err_wrap(err, "URN_PRODUCTS");
    if (forward_check_window(config->forward_window, err) != 0)
        return err_wrap(err, "FORWARD_WINDOW=%s", config->forward_window);
    if (config->quiet_above < config->quiet_below)
        return err_set(err, ERR_INVALID, "QUIET_ABOVE=%d: must not be less than QUIET_BELOW=%d",
                       (int)config->quiet_above, (int)config->quiet_below);
    if (config->retention > 0 && config->retention < LEAST_RETENTION_MS) {
        err_set(err, ERR_INVALID, "must be 0s or at least 1h");
        return config_blame(config, "RETENTION", err);
    }
    if (users_check_members(config->introspection_user, err) != 0)
        return config_blame(config, "INTROSPECTION_USER", err);
    use_limits(engine);
    if (store_open(config->database_url, (int64_t)config->store_timeout, &store, err) != 0)
        return config_blame(config, "DATABASE_URL", err);
    store_close(store);
    if (app_listen_check_tls(config, err) != 0)
        return err->code;
    return config->jwks_url[0] != '\0' ? 0 : app_listen_check_local(config, err);
}

/* All that commands need to ask this engine is there before its address is. */
static int open_keyring(struct engine *engine, struct err *err)
{
    const struct auth_keyring_options options = {
        .data_dir = engine->config->data_dir,
        .products = engine->products,
        .most = engine->config->max_api_keys,
        .auth = engine->auth,
    };
    int code = auth_keyring_open(&options, &engine->keyring, err);

    return code != 0 ? code : auth_keyring_admit_operator(engine->keyring, err);
}

static void log_recovery(const struct wal_recovery *recovery, const struct queue *queue)
{
    log_info("app", "node %s: %" PRIu64 " transactions in %" PRIu64 " segments read in %.3f s",
             queue_node(queue), recovery->records, recovery->segments,
             (double)recovery->duration_us / 1e6);
    if (recovery->cut_bytes > 0)
        log_warning("app", "%" PRIu64 " bytes of an unfinished write were cut off the queue's end",
                    recovery->cut_bytes);
}

/* Whether SIGTERM or SIGINT waits to be taken. */
static bool end_is_wanted(void)
{
    sigset_t waiting;

    return sigpending(&waiting) == 0 &&
           (sigismember(&waiting, SIGTERM) == 1 || sigismember(&waiting, SIGINT) == 1);
}

static int open_queue(struct engine *engine, struct err *err)
{
    const struct config *config = engine->config;
    struct queue_options options = {
        .data_dir = config->data_dir,
        .segment_bytes = config->segment_bytes,
        .max_bytes = config->queue_max_bytes,
        .sync = config->durability == CONFIG_FSYNC,
        .dedup_ids = config->dedup_ids,
        .quarantine_max_bytes = config->quarantine_max_bytes,
        .dedup_window_s = (uint32_t)(config->dedup_window / 1000),
        .clock_us = clock_wall_us(),
        .give_up = end_is_wanted,
    };
    struct wal_recovery recovery;
    char path[4160];
    int code;

    snprintf(path, sizeof path, "%s/ledger.db", config->data_dir);
    if ((code = ledger_open(path, config->deliveries_kept, &engine->ledger, err)) != 0 ||
        (code = ledger_cursor(engine->ledger, &options.cursor, err)) != 0 ||
        (code = queue_open(&options, &engine->queue, &recovery, err)) != 0)
        return code;
    ledger_bound(engine->ledger, config->failed_max, config->failed_max_bytes);
    log_recovery(&recovery, engine->queue);
    return 0;
}

static int open_users(struct engine *engine, struct err *err)
{
    const struct config *config = engine->config;
    struct users_options options = {
        .data_dir = config->data_dir,
        .pseudonymize = config->pseudonymize == CONFIG_ON,
        .url = config->introspection_url,
        .client_id = config->introspection_client_id,
        .client_secret = config->introspection_client_secret,
        .ca_file = config->ca_file,
        .user_members = config->introspection_user,
        .timeout_ms = (int64_t)config->introspection_timeout,
        .patience_ms = (int64_t)config->introspection_patience,
        .retry_min_ms = (int64_t)config->forward_retry_min,
        .retry_max_ms = (int64_t)config->forward_retry_max,
        .cache = config->introspection_cache,
        .connections = (unsigned)config->introspection_connections,
    };

    return users_open(&options, &engine->users, err);
}

static int start_forward(struct engine *engine, struct err *err)
{
    const struct config *config = engine->config;
    struct forward_options options = {
        .queue = engine->queue,
        .ledger = engine->ledger,
        .products = engine->products,
        .users = engine->users,
        .store_url = config->database_url,
        .store_timeout_ms = (int64_t)config->store_timeout,
        .window = config->forward_window,
        .max_lag_ms = (int64_t)config->forward_max_lag,
        .quiet_below = (unsigned)config->quiet_below,
        .quiet_above = (unsigned)config->quiet_above,
        .batch_rows = config->forward_batch_rows,
        .batch_bytes = config->forward_batch_bytes,
        .batch_age_ms = (int64_t)config->forward_batch_age,
        .retry_min_ms = (int64_t)config->forward_retry_min,
        .retry_max_ms = (int64_t)config->forward_retry_max,
    };

    return forward_start(&options, &engine->forward, err);
}

static int start_upkeep(struct engine *engine, struct err *err)
{
    const struct config *config = engine->config;
    struct upkeep_options options = {
        .queue = engine->queue,
        .ledger = engine->ledger,
        .users = engine->users,
        .forward = engine->forward,
        .store_url = config->database_url,
        .store_timeout_ms = (int64_t)config->store_timeout,
        .retry_min_ms = (int64_t)config->forward_retry_min,
        .retry_max_ms = (int64_t)config->forward_retry_max,
        .retention_ms = (int64_t)config->retention,
        .interval_ms = (int64_t)config->retention_interval,
        .step_rows = (unsigned)config->retention_step_rows,
    };

    return upkeep_start(&options, &engine->upkeep, err);
}

static int start_http(struct engine *engine, struct err *err)
{
    const struct config *config = engine->config;
    struct api_options api = {
        .view = {.queue = engine->queue,
                 .ledger = engine->ledger,
                 .products = engine->products,
                 .users = engine->users,
                 .auth = engine->auth,
                 .forward = engine->forward,
                 .upkeep = engine->upkeep,
                 .store_kind = forward_status(engine->forward).kind,
                 .started_us = engine->started_us,
                 .forget_max = config->forget_max,
                 .step_rows = (unsigned)config->retention_step_rows},
        .auth = engine->auth,
        .keyring = engine->keyring,
        .origins = engine->origins,
        .store_url = config->database_url,
        .store_timeout_ms = (int64_t)config->store_timeout,
        .max_body = config->max_body_bytes,
        .commit_max_bytes = config->commit_max_bytes,
        .token_cache = config->token_cache,
        .audit_lines = (unsigned)config->audit_lines_per_second,
        .readers = (unsigned)config->readers,
        .loops = (unsigned)config->workers,
    };
    struct http_options http = {
        .listen = config->listen,
        .tls_cert = config->tls_cert,
        .tls_key = config->tls_key,
        .loops = (unsigned)config->workers,
        .max_body = config->max_body_bytes,
        .max_connections =
            app_descriptors((unsigned)config->max_connections, (unsigned)config->workers),
        .max_connections_per_address = (unsigned)config->max_connections_per_address,
        .body_memory = config->body_memory,
        .header_timeout_ms = (int64_t)config->header_timeout,
        .body_timeout_ms = (int64_t)config->body_timeout,
        .idle_timeout_ms = (int64_t)config->idle_timeout,
    };
    int code;

    if ((code = api_open(&api, &engine->api, err)) != 0)
        return code;
    api_bind(engine->api, &http);
    if ((code = http_open(&http, &engine->server, err)) != 0)
        return code;
    api_set_server(engine->api, engine->server);
    if ((code = app_dir_announce(&engine->dir, http_addresses(engine->server), err)) != 0)
        return code;
    return http_start(engine->server, err);
}

static int start(struct engine *engine, struct err *err)
{
    const struct config *config = engine->config;
    int code;

    if ((code = check_options(engine, err)) != 0 ||
        (code = app_dir_open(config->data_dir, APP_DIR_ENGINE, &engine->dir, err)) != 0 ||
        (code = app_identity_open(config, engine->auth, &engine->jwks, err)) != 0 ||
        (code = open_keyring(engine, err)) != 0 || (code = open_users(engine, err)) != 0 ||
        (code = open_queue(engine, err)) != 0 || (code = start_forward(engine, err)) != 0 ||
        (code = start_upkeep(engine, err)) != 0)
        return code;
    return start_http(engine, err);
}

static void stop(struct engine *engine, bool served)
{
    if (engine->server != NULL && served)
        http_stop(engine->server, FINISH_MS);
    api_close(engine->api); /* whose readers may still be waking a loop */
    if (engine->server != NULL)
        http_close(engine->server);
    upkeep_stop(engine->upkeep);
    forward_stop(engine->forward, served ? (int64_t)engine->config->shutdown_timeout : 0);
    queue_close(engine->queue);
    ledger_close(engine->ledger);
    users_close(engine->users);
    auth_keyring_close(engine->keyring);
    auth_origins_free(engine->origins);
    auth_jwks_stop(engine->jwks);
    auth_close(engine->auth);
    txn_products_close(engine->products);
    app_dir_close(&engine->dir);
}

static void reload(struct engine *engine)
{
    struct err err;

    if (engine->jwks != NULL)
        auth_jwks_refresh(engine->jwks);
    if (http_reload(engine->server, &err) != 0)
        log_error("app", "SIGHUP: %s; the old certificate stays in use", err.text);
}

/* Until somebody wants the end; at once where that ended the start, before there was a server. */
static void wait_for_end(struct engine *engine, const sigset_t *signals)
{
    int number = 0;

    while (number != SIGTERM && number != SIGINT)
        if (sigwait(signals, &number) == 0 && number == SIGHUP && engine->server != NULL)
            reload(engine);
    log_info("app", "%s: stopping", number == SIGINT ? "SIGINT" : "SIGTERM");
}

static void announce(const struct engine *engine)
{
    struct buf url = {0};

    config_redacted_url(engine->config->database_url, &url);
    buf_append_char(&url, '\0');
    log_info("app", "labs-analytics %s listening on %s, store %s", LABS_VERSION,
             http_addresses(engine->server), url.data);
    buf_free(&url);
    app_listen_warn(http_addresses(engine->server));
}

int app_serve(const struct config *config, struct err *err)
{
    struct engine engine = {.config = config, .started_us = clock_mono_us(), .dir = {.lock = -1}};
    sigset_t signals;
    bool served;
    int code;

    /* Memory of large bodies goes back to the system, and few threads share what is kept. What
     * batches of a thousand take and give back all the time is kept: pages that are new cost as
     * much as reading the JSON in them. */
    mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
    mallopt(M_ARENA_MAX, ARENAS);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* every thread inherits it */

    code = start(&engine, err);
    served = code == 0;
    if (served)
        announce(&engine);
    if (code == ERR_CLOSED)
        code = 0; /* the end was wanted before the queue was read */
    if (code == 0)
        wait_for_end(&engine, &signals);
    stop(&engine, served);
    if (code == 0)
        log_info("app", "stopped");
    return code;
}
