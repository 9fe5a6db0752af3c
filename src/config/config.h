/*
 * The option table: the one source of names, flags, types, bounds, defaults and help.
 *
 * A value comes from, in this order: a flag (--queue-max-bytes 1GiB or =1GiB), the
 * environment (QUEUE_MAX_BYTES), `.env` in the working directory, the default. An empty
 * value is a value. Sizes are bytes or take B, KiB, MiB, GiB, TiB, PiB (and k, m, g, t, p:
 * the same powers of 1024), durations ms, s, m, h, d; units and choices in any case. Every
 * option has both an environment name and the flag of the same words.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum config_environment { CONFIG_DEVELOPMENT, CONFIG_TESTING, CONFIG_PRODUCTION };
enum config_durability { CONFIG_FSYNC, CONFIG_OS };
enum config_switch { CONFIG_OFF, CONFIG_ON };
enum config_log_format { CONFIG_TEXT, CONFIG_JSON };

/* Where a value came from. */
enum config_source { CONFIG_DEFAULT, CONFIG_DOTENV, CONFIG_ENVIRON, CONFIG_FLAG };

#define CONFIG_MAX_OPTIONS 128

/* Every field is filled by one row of the table in config_table.c. Strings are owned by
 * the struct; sizes are bytes; durations milliseconds. */
struct config {
    char *listen;
    char *tls_cert; /* "": none */
    char *tls_key;
    char *data_dir;
    char *database_url;   /* default filled in: sqlite:<data_dir>/events.db */
    uint64_t workers;     /* default: number of cores, at most 64 */
    uint64_t environment; /* enum config_environment */
    char *allowed_urns;
    char *urn_products; /* "URN=PRODUCT+PRODUCT,..." */
    char *products;     /* "11=NAME,..." added to the built-in table */

    char *jwks_url; /* "": the development issuer signs */
    uint64_t jwks_refresh;
    uint64_t jwks_min_interval;
    uint64_t jwks_timeout;
    char *ca_file; /* "": the system's authorities */

    uint64_t max_body_bytes;
    uint64_t max_connections;
    uint64_t max_connections_per_address; /* 0: as many as there may be at all */
    uint64_t body_memory;
    uint64_t header_timeout;
    uint64_t body_timeout;
    uint64_t idle_timeout;
    uint64_t token_cache; /* verified tokens kept per worker */
    uint64_t max_api_keys;
    char *cors_origins; /* as auth_origins_parse() takes them */
    uint64_t readers;   /* threads that answer reading requests */

    uint64_t pseudonymize; /* enum config_switch */
    uint64_t forget_max;   /* orders to forget a user, recorded at a time */
    uint64_t retention;    /* events older than this are deleted; 0: never */
    uint64_t retention_interval;
    uint64_t retention_step_rows;
    char *introspection_url;
    char *introspection_client_id;
    char *introspection_client_secret;
    char *introspection_user;
    uint64_t introspection_timeout;
    uint64_t introspection_patience;
    uint64_t introspection_cache; /* sessions remembered */
    uint64_t introspection_connections;

    uint64_t key_requests_per_second; /* of each API key; 0: no limit */
    uint64_t key_datapoints_per_second;
    uint64_t urn_requests_per_second; /* of each subject of tokens */
    uint64_t urn_datapoints_per_second;
    uint64_t rate_burst;
    uint64_t rate_meters; /* callers counted on their own */

    uint64_t durability; /* enum config_durability */
    uint64_t queue_max_bytes;
    uint64_t segment_bytes;
    uint64_t commit_max_bytes; /* waiting for one group commit, per worker */
    uint64_t dedup_ids;        /* client ids remembered */
    uint64_t quarantine_max_bytes;
    uint64_t dedup_window; /* and for how long */

    char *forward_window;     /* "always", "quiet", "HH:MM-HH:MM" */
    uint64_t forward_max_lag; /* forward regardless of the window */
    uint64_t quiet_below;     /* per cent of the recent peak */
    uint64_t quiet_above;
    uint64_t forward_batch_rows;
    uint64_t forward_batch_bytes;
    uint64_t forward_batch_age;
    uint64_t forward_retry_min;
    uint64_t forward_retry_max;
    uint64_t store_timeout;
    uint64_t deliveries_kept;
    uint64_t failed_max; /* failed transactions kept */
    uint64_t failed_max_bytes;
    uint64_t shutdown_timeout;

    uint64_t log_level;  /* enum log_level of base/log.h */
    uint64_t log_format; /* enum config_log_format */
    uint64_t audit_lines_per_second;

    unsigned char sources[CONFIG_MAX_OPTIONS]; /* enum config_source, by row of the table */
};

/*
 * Reads flags out of argv[1..] (words that are no flags are left in place, in order, and
 * *argc shrinks to them; `--` ends the flags and is taken out), then environment, .env,
 * defaults. `environment` is a NULL-terminated array of NAME=value; `dotenv` the path of the
 * file (NULL, or absent: none). Of a flag or a .env name given twice the last counts.
 * ERR_INVALID in one line that names option, value, source and bounds:
 *   QUEUE_MAX_BYTES=12 (environment): must be a size from 64MiB to 1PiB
 * An unknown flag is ERR_INVALID too, unknown names in the environment and in .env never
 * (other programs share them). ERR_IO if .env is there and cannot be read. On failure
 * *config, *argc and argv are as they were.
 */
MUST_CHECK int config_load(struct config *config, int *argc, char **argv, char *const *environment,
                           const char *dotenv, struct err *err);
void config_free(struct config *config);

/* Reads a duration such as "200ms", "90s" or "24h", as options have them. */
bool config_duration(const char *text, uint64_t *ret_ms);

/* The table as help text for --help, as a list of values with sources (lines that a .env
 * could hold), as Markdown for docs. Secrets and passwords inside DATABASE_URL are shown as "***".
 */
void config_help(struct buf *out);
void config_show(const struct config *config, struct buf *out);
void config_markdown(struct buf *out);

/* Puts "NAME=value: " before the words of an error about an option of that name, the value as
 * config_show() has it. Gives the error's code. */
int config_blame(const struct config *config, const char *name, struct err *err);

/* DATABASE_URL with its password replaced by "***", for logs: the one before "@", and the
 * values of all parameters that end in "password", in URLs and in `host=... password=...`
 * strings. Where a string is ambiguous it shows less. */
void config_redacted_url(const char *url, struct buf *out);

#endif
