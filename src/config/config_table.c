/*
 * The table: one row an option. Parsing, help, `config` and the docs are made from it, so
 * a new option is a field in config.h and a row here. Bounds keep values meaningful, not
 * tasteful: they are what the rooms can do without special cases.
 */
#include "base/log.h"
#include "config/config_priv.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)
#define TIB (GIB * 1024)
#define PIB (TIB * 1024)

#define SECOND UINT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

#define LONGEST 4096 /* bytes of a string: a path's bound, and more than any list needs */

static const char *const environments[] = {
    [CONFIG_DEVELOPMENT] = "DEVELOPMENT",
    [CONFIG_TESTING] = "TESTING",
    [CONFIG_PRODUCTION] = "PRODUCTION",
    NULL,
};
static const char *const durabilities[] = {[CONFIG_FSYNC] = "fsync", [CONFIG_OS] = "os", NULL};
static const char *const log_levels[] = {
    [LOG_DEBUG] = "debug",
    [LOG_INFO] = "info",
    [LOG_WARNING] = "warning",
    [LOG_ERROR] = "error",
    NULL,
};
static const char *const log_formats[] = {[CONFIG_TEXT] = "text", [CONFIG_JSON] = "json", NULL};

static const char *const switches[] = {[CONFIG_OFF] = "off", [CONFIG_ON] = "on", NULL};

#define FIELD(field) offsetof(struct config, field)
#define STRING(field, least) CONFIG_TYPE_STRING, FIELD(field), least, LONGEST
#define SIZE(field, min, max) CONFIG_TYPE_SIZE, FIELD(field), min, max
#define DURATION(field, min, max) CONFIG_TYPE_DURATION, FIELD(field), min, max
#define INTEGER(field, min, max) CONFIG_TYPE_INTEGER, FIELD(field), min, max
#define CHOICE(field) CONFIG_TYPE_CHOICE, FIELD(field), 0, 0

/* clang-format off */
const struct config_option config_table[] = {
    {"Basics", "LISTEN", STRING(listen, 1), "127.0.0.1:8000", NULL,
     "addresses to listen on, comma-separated, http:// or https:// before each or, as TLS_CERT "
     "decides, neither; port 0 picks a free one, which is logged"},
    {NULL, "TLS_CERT", STRING(tls_cert, 0), "", NULL,
     "PEM file: the certificate and its chain; read again on SIGHUP"},
    {NULL, "TLS_KEY", STRING(tls_key, 0), "", NULL,
     "PEM file: the certificate's key, without a passphrase; read again on SIGHUP"},
    {NULL, "DATA_DIR", STRING(data_dir, 1), "./data", NULL,
     "folder of the queue, the ledger, the embedded store and the development key"},
    {NULL, "DATABASE_URL", STRING(database_url, 1), "=sqlite:<DATA_DIR>/events.db", NULL,
     "the store: sqlite:<path> or postgres://user:pass@host/db?..."},
    {NULL, "WORKERS", INTEGER(workers, 1, 64), "=number of cores", NULL,
     "HTTP event loops, a thread each"},
    {NULL, "ENVIRONMENT", CHOICE(environment), "DEVELOPMENT", environments,
     "PRODUCTION demands JWKS_URL; the others, without it, sign their own tokens, on loopback only"},
    {NULL, "ALLOWED_URNS", STRING(allowed_urns, 1), "urn:pennlabs:*", NULL,
     "who may write, comma-separated; * as last part stands for any"},
    {NULL, "URN_PRODUCTS", STRING(urn_products, 0), "", NULL,
     "which products a URN may write: URN=NAME+NAME,URN=NAME, * as above; all if it has no entry"},
    {NULL, "PRODUCTS", STRING(products, 0), "", NULL,
     "products beside the built-in ones: 11=NAME,12=OTHER_NAME"},

    {"Identity provider", "JWKS_URL", STRING(jwks_url, 0), "", NULL,
     "its key set, which tokens are checked by: https://, or http:// on this machine"},
    {NULL, "JWKS_REFRESH", DURATION(jwks_refresh, SECOND, DAY), "5m", NULL,
     "the key set is fetched again after this long"},
    {NULL, "JWKS_MIN_INTERVAL", DURATION(jwks_min_interval, 100, HOUR), "10s", NULL,
     "and at once for a token that an unknown key signed, but not more often than this"},
    {NULL, "JWKS_TIMEOUT", DURATION(jwks_timeout, 100, 60 * SECOND), "10s", NULL,
     "one fetch must be done within this time"},
    {NULL, "CA_FILE", STRING(ca_file, 0), "", NULL,
     "authorities in PEM that outgoing requests trust instead of the system's"},

    {"Requests", "MAX_BODY_BYTES", SIZE(max_body_bytes, 64 * KIB, GIB), "20MiB", NULL,
     "larger bodies are answered with 413"},
    {NULL, "MAX_CONNECTIONS", INTEGER(max_connections, 1, 1000000), "10000", NULL,
     "connections served at a time; more wait in the listen queue"},
    {NULL, "MAX_CONNECTIONS_PER_ADDRESS", INTEGER(max_connections_per_address, 0, 1000000), "0",
     NULL, "of them from one address (IPv6: one /64); more are answered 503; 0: no limit"},
    {NULL, "BODY_MEMORY", SIZE(body_memory, MIB, TIB), "512MiB", NULL,
     "bodies over 16 KiB, and answers that are not read, in memory at a time; over it: 503; holds "
     "at least MAX_BODY_BYTES"},
    {NULL, "HEADER_TIMEOUT", DURATION(header_timeout, 100, HOUR), "10s", NULL,
     "a request's headers must be there by then"},
    {NULL, "BODY_TIMEOUT", DURATION(body_timeout, 100, HOUR), "30s", NULL,
     "a request's body must be there by then"},
    {NULL, "IDLE_TIMEOUT", DURATION(idle_timeout, 100, DAY), "75s", NULL,
     "a connection without a request is closed after this long"},
    {NULL, "TOKEN_CACHE", INTEGER(token_cache, 0, 1000000), "10000", NULL,
     "checked tokens kept per worker"},
    {NULL, "MAX_API_KEYS", INTEGER(max_api_keys, 1, 10000), "1000", NULL,
     "API keys there may be, expired ones included"},
    {NULL, "CORS_ORIGINS", STRING(cors_origins, 0), "", NULL,
     "origins whose pages may call the engine, comma-separated, or *; those of API keys may anyway"},
    {NULL, "READERS", INTEGER(readers, 1, 64), "2", NULL,
     "threads that answer reading requests which may ask the store, and as many for the others"},
    {NULL, "SHUTDOWN_TIMEOUT", DURATION(shutdown_timeout, 0, HOUR), "10s", NULL,
     "after the last request, what is queued is forwarded for at most this long"},

    {"Limits", "KEY_REQUESTS_PER_SECOND", INTEGER(key_requests_per_second, 0, 100000000), "1000",
     NULL, "requests of each API key; over it: 429 with Retry-After; 0: no limit"},
    {NULL, "KEY_DATAPOINTS_PER_SECOND", INTEGER(key_datapoints_per_second, 0, 100000000),
     "50000", NULL, "datapoints of each API key; 0: no limit"},
    {NULL, "URN_REQUESTS_PER_SECOND", INTEGER(urn_requests_per_second, 0, 100000000), "0", NULL,
     "requests of each URN; 0: no limit"},
    {NULL, "URN_DATAPOINTS_PER_SECOND", INTEGER(urn_datapoints_per_second, 0, 100000000), "0",
     NULL, "datapoints of each URN; 0: no limit"},
    {NULL, "RATE_BURST", DURATION(rate_burst, 1, HOUR), "2s", NULL,
     "a caller that was quiet may do as much at once as in this time"},
    {NULL, "RATE_METERS", INTEGER(rate_meters, 1, 1000000), "10000", NULL,
     "URNs, and API keys, that are counted on their own, revoked keys until the next start; more "
     "share one count"},

    {"Queue", "DURABILITY", CHOICE(durability), "fsync", durabilities,
     "when to acknowledge: fsync after fdatasync, os after write"},
    {NULL, "QUEUE_MAX_BYTES", SIZE(queue_max_bytes, 64 * MIB, PIB), "8GiB", NULL,
     "disk the queue may take; over it: 503 with Retry-After"},
    {NULL, "SEGMENT_BYTES", SIZE(segment_bytes, 16 * MIB, GIB), "64MiB", NULL,
     "size of one file of the queue's log; QUEUE_MAX_BYTES holds at least four"},
    {NULL, "COMMIT_MAX_BYTES", SIZE(commit_max_bytes, 32 * MIB, GIB), "64MiB", NULL,
     "what may wait for one group commit, per worker; over it: 503; at least 8MiB more than "
     "MAX_BODY_BYTES"},
    {NULL, "DEDUP_IDS", INTEGER(dedup_ids, 0, 100000000), "1000000", NULL,
     "client ids remembered to recognise repeats, the latest ones; 32 to 40 bytes of memory each"},
    {NULL, "QUARANTINE_MAX_BYTES", SIZE(quarantine_max_bytes, 0, PIB), "256MiB", NULL,
     "disk for copies of what is damaged in the log; over it damage is only counted"},
    {NULL, "DEDUP_WINDOW", DURATION(dedup_window, MINUTE, 366 * DAY), "24h", NULL,
     "an id is forgotten this long after it was received, or when DEDUP_IDS newer ones have come"},

    {"Forwarding", "FORWARD_WINDOW", STRING(forward_window, 1), "always", NULL,
     "when to forward: always, HH:MM-HH:MM (daily, in the zone of TZ), or quiet: while few "
     "transactions come in"},
    {NULL, "FORWARD_MAX_LAG", DURATION(forward_max_lag, SECOND, 365 * DAY), "24h", NULL,
     "once the oldest has waited so long, all goes that is there, whatever the window"},
    {NULL, "QUIET_BELOW", INTEGER(quiet_below, 1, 100), "20", NULL,
     "FORWARD_WINDOW=quiet begins to forward below this percentage of the recent peak"},
    {NULL, "QUIET_ABOVE", INTEGER(quiet_above, 1, 100), "40", NULL,
     "FORWARD_WINDOW=quiet stops above this percentage; not less than QUIET_BELOW"},
    {NULL, "FORWARD_BATCH_ROWS", INTEGER(forward_batch_rows, 1000, 10000000), "100000",
     NULL, "datapoints written to the store at a time, at most"},
    /* The least bound holds the largest transaction, a little over 8 MiB, twice. */
    {NULL, "FORWARD_BATCH_BYTES", SIZE(forward_batch_bytes, 16 * MIB, GIB), "16MiB", NULL,
     "bytes read from the queue for one such write, at most"},
    {NULL, "FORWARD_BATCH_AGE", DURATION(forward_batch_age, 0, HOUR), "200ms", NULL,
     "a batch that is not full goes when its oldest has waited this long, to PostgreSQL in pieces "
     "over as long again"},
    {NULL, "FORWARD_RETRY_MIN", DURATION(forward_retry_min, 1, HOUR), "100ms", NULL,
     "first pause after the store failed; doubles up to FORWARD_RETRY_MAX"},
    {NULL, "FORWARD_RETRY_MAX", DURATION(forward_retry_max, 1, DAY), "30s", NULL,
     "longest pause between attempts"},
    {NULL, "STORE_TIMEOUT", DURATION(store_timeout, SECOND, HOUR), "30s", NULL,
     "the store must connect and answer within this time (the embedded one: of a processor)"},
    {NULL, "DELIVERIES_KEPT", INTEGER(deliveries_kept, 1, 10000000), "10000", NULL,
     "attempts to forward that the ledger remembers"},
    {NULL, "FAILED_MAX", INTEGER(failed_max, 1, 100000000), "100000", NULL,
     "failed transactions kept; at the bound forwarding waits until some are retried or discarded"},
    {NULL, "FAILED_MAX_BYTES", SIZE(failed_max_bytes, 16 * MIB, TIB), "1GiB", NULL,
     "the same for their bytes"},

    {"Users", "PSEUDONYMIZE", CHOICE(pseudonymize), "off", switches,
     "on stores a keyed hash of each pennkey instead of it; the key is DATA_DIR/pseudonym.key"},
    {NULL, "INTROSPECTION_URL", STRING(introspection_url, 0), "", NULL,
     "who is asked for the user of an X-Session-Id (RFC 7662); none: the header is ignored"},
    {NULL, "INTROSPECTION_CLIENT_ID", STRING(introspection_client_id, 0), "", NULL,
     "this engine's client id there"},
    {NULL, "INTROSPECTION_CLIENT_SECRET", STRING(introspection_client_secret, 0), "", NULL,
     "and its secret, for Basic authentication"},
    {NULL, "INTROSPECTION_USER", STRING(introspection_user, 1), "username,user.username", NULL,
     "where the answer names the user: members, the first one that is there"},
    {NULL, "INTROSPECTION_TIMEOUT", DURATION(introspection_timeout, 100, 60 * SECOND), "5s", NULL,
     "one question must be answered within this time"},
    {NULL, "INTROSPECTION_PATIENCE", DURATION(introspection_patience, 0, 7 * DAY), "10m", NULL,
     "a transaction waits so long for its user while nobody answers, then goes without"},
    {NULL, "INTROSPECTION_CACHE", INTEGER(introspection_cache, 1024, 1000000), "10000", NULL,
     "sessions whose users are remembered"},
    {NULL, "INTROSPECTION_CONNECTIONS", INTEGER(introspection_connections, 1, 32), "4", NULL,
     "questions asked at the same time"},
    {NULL, "FORGET_MAX", INTEGER(forget_max, 1, 10000000), "100000", NULL,
     "orders to forget a user that are recorded at a time: open ones, and those that the queue's "
     "files still have to be read by; over it: 503"},
    {NULL, "RETENTION", DURATION(retention, 0, 36500 * DAY), "0s", NULL,
     "events whose timestamp is older are deleted from the store; 0s: never; at least 1h"},
    {NULL, "RETENTION_INTERVAL", DURATION(retention_interval, SECOND, 30 * DAY), "1h", NULL,
     "pause between two looks for such events"},
    {NULL, "RETENTION_STEP_ROWS", INTEGER(retention_step_rows, 100, 1000000), "10000", NULL,
     "rows of the store looked at in one database transaction, for this and to forget users"},

    {"Log", "LOG_LEVEL", CHOICE(log_level), "info", log_levels, "the least that is logged"},
    {NULL, "LOG_FORMAT", CHOICE(log_format), "text", log_formats,
     "json writes one object a line"},
    {NULL, "AUDIT_LINES_PER_SECOND", INTEGER(audit_lines_per_second, 1, 100000), "100", NULL,
     "refused logins that are logged one by one; more are summed up in one line"},

    {.name = NULL},
};
/* clang-format on */

_Static_assert(sizeof config_table / sizeof *config_table <= CONFIG_MAX_OPTIONS,
               "struct config remembers a source for every row");
