/*
 * GET /metrics: one table of what there is, in the text format of Prometheus
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). Base units; nothing here
 * reads a disk or waits for a lock that is held over I/O.
 */
#include "api/api_counts.h"
#include "api/api_priv.h"

#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>

/* All that the table reads, taken once. */
struct readings {
    struct api_counts counts;
    struct ledger_counts ledger;
    struct queue_status queue;
    struct forward_status forward;
    struct http_stats http;
    struct auth_stats tokens;
    struct users_status users;
    struct upkeep_status upkeep;
    struct auth_status keys;
    uint64_t accepted, rejected, datapoints, refused, limited_requests, limited_datapoints;
    uint64_t log_lost;
    double uptime, keys_age;
    bool refusing;
};

#define FIELD(f, type) offsetof(struct readings, f), type

enum reading_type { READ_UINT, READ_SIZE, READ_BOOL, READ_SECONDS_US, READ_DOUBLE, READ_STORE_UP };

static const struct metric {
    const char *name;   /* behind "labs_analytics_" */
    const char *labels; /* "" or "{...}" */
    const char *type;   /* NULL: another line of the metric above */
    const char *help;
    size_t offset;
    enum reading_type read;
} metrics[] = {
    {"uptime_seconds", "", "gauge", "Since the start.", FIELD(uptime, READ_DOUBLE)},
    {"transactions", "{status=\"uncompleted\"}", "gauge", "Transactions by status.",
     FIELD(counts.uncompleted, READ_UINT)},
    {"transactions", "{status=\"successful\"}", NULL, NULL, FIELD(counts.successful, READ_UINT)},
    {"transactions", "{status=\"failed\"}", NULL, NULL, FIELD(counts.failed, READ_UINT)},
    {"failed_bytes", "", "gauge", "Bytes of failed transactions that are kept.",
     FIELD(ledger.failed_bytes, READ_UINT)},
    {"failed_full", "", "gauge", "1 while no more failed transactions can be kept.",
     FIELD(ledger.full, READ_BOOL)},
    {"transactions_received_total", "{result=\"accepted\"}", "counter",
     "Transactions that requests carried, since the start.", FIELD(accepted, READ_UINT)},
    {"transactions_received_total", "{result=\"rejected\"}", NULL, NULL,
     FIELD(rejected, READ_UINT)},
    {"transactions_duplicate_total", "", "counter",
     "Repeats of an id that was accepted before, since the start.",
     FIELD(queue.log.duplicates, READ_UINT)},
    {"client_ids", "", "gauge", "Client ids remembered, to recognise repeats.",
     FIELD(queue.ids, READ_UINT)},
    {"client_ids_memory_bytes", "", "gauge", "Memory set aside for them; it is used as they come.",
     FIELD(queue.id_bytes, READ_UINT)},
    {"client_ids_disk_bytes", "", "gauge", "Files of client ids, beside queue_disk_bytes.",
     FIELD(queue.id_file_bytes, READ_UINT)},
    {"client_ids_lost", "", "gauge", "Client ids found damaged in their files since the start.",
     FIELD(queue.ids_lost, READ_UINT)},
    {"datapoints_received_total", "", "counter", "Datapoints accepted, since the start.",
     FIELD(datapoints, READ_UINT)},
    {"requests_refused_total", "", "counter",
     "Requests answered with 503 for the queue, the store or the keys.", FIELD(refused, READ_UINT)},
    {"requests_limited_total", "{limit=\"requests\"}", "counter",
     "Requests answered with 429, by the limit that was reached, since the start.",
     FIELD(limited_requests, READ_UINT)},
    {"requests_limited_total", "{limit=\"datapoints\"}", NULL, NULL,
     FIELD(limited_datapoints, READ_UINT)},
    {"queue_pending_transactions", "", "gauge", "Durable and not yet in the store.",
     FIELD(queue.pending_transactions, READ_UINT)},
    {"queue_pending_bytes", "", "gauge", "Bytes of log behind the cursor.",
     FIELD(queue.pending_bytes, READ_UINT)},
    {"queue_disk_bytes", "", "gauge", "Bytes of the queue's files.",
     FIELD(queue.log.bytes_on_disk, READ_UINT)},
    {"queue_max_bytes", "", "gauge", "Bound of queue_disk_bytes.",
     FIELD(queue.max_bytes, READ_UINT)},
    {"queue_refusing", "", "gauge", "1 while transactions are refused.",
     FIELD(refusing, READ_BOOL)},
    {"queue_commits_total", "", "counter", "Group commits, since the start.",
     FIELD(queue.log.rounds, READ_UINT)},
    {"queue_committed_transactions_total", "", "counter", "Transactions made durable.",
     FIELD(queue.log.committed, READ_UINT)},
    {"queue_commit_failures_total", "", "counter", "Group commits that failed.",
     FIELD(queue.log.failures, READ_UINT)},
    {"queue_sync_seconds_total", "", "counter", "Time spent in fdatasync.",
     FIELD(queue.log.sync_us, READ_SECONDS_US)},
    {"queue_syncs_total", "", "counter", "Calls of fdatasync.", FIELD(queue.log.syncs, READ_UINT)},
    {"queue_damaged_bytes", "", "gauge", "Bytes of log found damaged, ever.",
     FIELD(queue.lost.bytes, READ_UINT)},
    {"queue_damaged_stretches", "", "gauge", "Stretches of log found damaged, ever.",
     FIELD(queue.lost.stretches, READ_UINT)},
    {"queue_damaged_transactions", "", "gauge", "Transactions lost to damage, ever.",
     FIELD(queue.damaged, READ_UINT)},
    {"quarantine_bytes", "", "gauge", "Copies of damaged bytes of log.",
     FIELD(queue.lost.kept_bytes, READ_UINT)},
    {"store_up", "", "gauge", "1 while the store takes what is forwarded.",
     FIELD(forward.store, READ_STORE_UP)},
    {"store_batches_total", "", "counter", "Batches stored.", FIELD(forward.batches, READ_UINT)},
    {"store_rows_total", "", "counter", "Rows stored.", FIELD(forward.rows, READ_UINT)},
    {"store_transactions_total", "", "counter", "Transactions stored.",
     FIELD(forward.transactions, READ_UINT)},
    {"store_refusals_total", "", "counter", "Transactions that the store refused.",
     FIELD(forward.refusals, READ_UINT)},
    {"store_errors_total", "", "counter", "Attempts that found the store not there.",
     FIELD(forward.errors, READ_UINT)},
    {"store_conflicts_total", "", "counter", "Attempts that found the cursor elsewhere.",
     FIELD(forward.conflicts, READ_UINT)},
    {"sessions_total", "{result=\"resolved\"}", "counter",
     "Transactions stored, or refused with the user known, by what became of their session.",
     FIELD(forward.sessions[USERS_RESOLVED], READ_UINT)},
    {"sessions_total", "{result=\"refused\"}", NULL, NULL,
     FIELD(forward.sessions[USERS_REFUSED], READ_UINT)},
    {"sessions_total", "{result=\"given_up\"}", NULL, NULL,
     FIELD(forward.sessions[USERS_GIVEN_UP], READ_UINT)},
    {"introspection_down", "", "gauge", "1 while the users of sessions cannot be asked for.",
     FIELD(users.down, READ_BOOL)},
    {"introspection_requests_total", "", "counter", "Questions for the user of a session.",
     FIELD(users.requests, READ_UINT)},
    {"introspection_failures_total", "", "counter", "Questions without an answer.",
     FIELD(users.failures, READ_UINT)},
    {"introspection_cache_hits_total", "", "counter", "Sessions whose answer was at hand.",
     FIELD(users.cache_hits, READ_UINT)},
    {"forget_orders_open", "", "gauge",
     "Orders to forget a user that are not carried out everywhere yet.",
     FIELD(upkeep.open_orders, READ_UINT)},
    {"forgotten_rows_total", "", "counter",
     "Rows of the store that lost their user, or were deleted with them, since the start.",
     FIELD(upkeep.forgotten_rows, READ_UINT)},
    {"expired_rows_total", "", "counter",
     "Rows of the store deleted for their age (RETENTION), since the start.",
     FIELD(upkeep.expired_rows, READ_UINT)},
    {"retention_last_run_timestamp_seconds", "", "gauge",
     "When events past RETENTION were last looked for; 0: not since the start.",
     FIELD(upkeep.last_run_us, READ_SECONDS_US)},
    {"http_connections", "", "gauge", "Open connections.", FIELD(http.connections, READ_UINT)},
    {"http_connections_total", "", "counter", "Connections taken.",
     FIELD(http.accepted, READ_UINT)},
    {"http_requests_total", "", "counter", "Requests read.", FIELD(http.requests, READ_UINT)},
    {"http_responses_total", "{class=\"2xx\"}", "counter", "Answers by class.",
     FIELD(http.status[2], READ_UINT)},
    {"http_responses_total", "{class=\"4xx\"}", NULL, NULL, FIELD(http.status[4], READ_UINT)},
    {"http_responses_total", "{class=\"5xx\"}", NULL, NULL, FIELD(http.status[5], READ_UINT)},
    {"http_connections_refused_total", "", "counter",
     "Connections over MAX_CONNECTIONS_PER_ADDRESS.", FIELD(http.turned_away, READ_UINT)},
    {"http_body_bytes", "", "gauge",
     "Bodies in memory, and answers not read, but for those up to 16 KiB.",
     FIELD(http.body_bytes, READ_UINT)},
    {"http_bodies_refused_total", "", "counter",
     "Requests refused, and answers cut, for BODY_MEMORY.", FIELD(http.over_memory, READ_UINT)},
    {"http_timeouts_total", "", "counter", "Connections cut for being slow.",
     FIELD(http.timeouts, READ_UINT)},
    {"tls_handshakes_total", "", "counter", "TLS handshakes done.",
     FIELD(http.handshakes, READ_UINT)},
    {"tls_handshake_failures_total", "", "counter", "TLS handshakes that failed.",
     FIELD(http.handshake_failures, READ_UINT)},
    {"tls_certificate_expiry_timestamp_seconds", "", "gauge",
     "When the certificate in force expires; 0 without TLS.",
     FIELD(http.certificate_expires_s, READ_UINT)},
    {"token_checks_total", "{cache=\"hit\"}", "counter", "Tokens checked.",
     FIELD(tokens.hits, READ_UINT)},
    {"token_checks_total", "{cache=\"miss\"}", NULL, NULL, FIELD(tokens.misses, READ_UINT)},
    {"jwks_keys", "", "gauge", "Keys in force, that tokens are checked by.",
     FIELD(keys.keys, READ_SIZE)},
    {"jwks_age_seconds", "", "gauge",
     "Since the identity provider last gave its keys, or since the start if it never did.",
     FIELD(keys_age, READ_DOUBLE)},
    {"jwks_fetches_total", "", "counter", "Fetches of the key set.",
     FIELD(keys.fetches, READ_UINT)},
    {"jwks_failures_total", "", "counter", "Those of them that failed.",
     FIELD(keys.failures, READ_UINT)},
    {"token_refusals_total", "", "counter", "Requests without a good token.",
     FIELD(tokens.refused, READ_UINT)},
    {"log_lines_lost_total", "", "counter", "Lines of the log that nobody read in time.",
     FIELD(log_lost, READ_UINT)},
};

static uint64_t counted(const atomic_uint_fast64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* 0 without an identity provider. */
static double age_of_keys(const struct api_view *view, const struct auth_status *keys)
{
    int64_t age_us = keys->age_us >= 0 ? keys->age_us : clock_mono_us() - view->started_us;

    return keys->fetched ? (double)age_us / 1e6 : 0;
}

static void take_readings(struct api *api, struct readings *readings)
{
    const struct api_view *view = &api->options.view;

    *readings = (struct readings){
        .counts = api_counts(view),
        .ledger = ledger_counts(view->ledger),
        .queue = queue_status(view->queue),
        .forward = forward_status(view->forward),
        .upkeep = upkeep_status(view->upkeep),
        .users = users_status(view->users),
        .http = http_stats(api->server),
        .uptime = (double)(clock_mono_us() - view->started_us) / 1e6,
        .refusing = queue_refusing(view->queue, NULL),
        .log_lost = log_lost(),
    };
    auth_status(view->auth, &readings->keys);
    readings->keys_age = age_of_keys(view, &readings->keys);
    for (unsigned i = 0; i < api->options.loops; i++) {
        struct loop *loop = atomic_load(&api->loops[i]);
        struct auth_stats tokens;

        if (loop == NULL)
            continue;
        tokens = auth_cache_stats(loop->tokens);
        readings->tokens.hits += tokens.hits;
        readings->tokens.misses += tokens.misses;
        readings->tokens.refused += tokens.refused;
        readings->accepted += counted(&loop->counters.accepted);
        readings->rejected += counted(&loop->counters.rejected);
        readings->datapoints += counted(&loop->counters.datapoints);
        readings->refused += counted(&loop->counters.refused);
        readings->limited_requests += counted(&loop->counters.limited_requests);
        readings->limited_datapoints += counted(&loop->counters.limited_datapoints);
    }
}

static void write_metric(struct buf *out, const struct metric *metric,
                         const struct readings *readings)
{
    const char *at = (const char *)readings + metric->offset;

    if (metric->type != NULL)
        buf_printf(out, "# HELP labs_analytics_%s %s\n# TYPE labs_analytics_%s %s\n", metric->name,
                   metric->help, metric->name, metric->type);
    buf_printf(out, "labs_analytics_%s%s ", metric->name, metric->labels);
    switch (metric->read) {
    case READ_UINT:
        buf_printf(out, "%" PRIu64 "\n", *(const uint64_t *)at);
        break;
    case READ_SIZE:
        buf_printf(out, "%zu\n", *(const size_t *)at);
        break;
    case READ_BOOL:
        buf_printf(out, "%d\n", *(const bool *)at);
        break;
    case READ_SECONDS_US:
        buf_printf(out, "%.6f\n", (double)*(const uint64_t *)at / 1e6);
        break;
    case READ_DOUBLE:
        buf_printf(out, "%.3f\n", *(const double *)at);
        break;
    case READ_STORE_UP:
        buf_printf(out, "%d\n", *(const enum forward_store *)at == FORWARD_UP);
        break;
    }
}

void handle_metrics(struct http_request *request, void *arg)
{
    struct api *api = arg;
    struct loop *loop = loop_of(request);
    struct readings readings;

    take_readings(api, &readings);
    loop->out.len = 0;
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++)
        write_metric(&loop->out, &metrics[i], &readings);
    http_respond_as(request, 200, "text/plain; version=0.0.4; charset=utf-8", NULL,
                    buf_slice(&loop->out));
}
