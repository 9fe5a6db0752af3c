/*
 * The whole in figures. They always add up: accepted = uncompleted + successful + failed,
 * where a discarded transaction, or one that was damaged on disk before its turn came, is no longer
 * counted as accepted (they stand on their own).
 */
#include "api/api.h"

#include "api/api_counts.h"

#include "base/clock.h"
#include "json/json.h"

#include <inttypes.h>

/* Offline nobody has counted them yet. */
static uint64_t ahead_of(const struct api_view *view, uint64_t cursor)
{
    uint64_t ahead = 0;
    struct err err;

    if (view->forward != NULL)
        return forward_status(view->forward).ahead;
    return ledger_ahead(view->ledger, cursor, &ahead, &err) == 0 ? ahead : 0;
}

struct api_counts api_counts(const struct api_view *view)
{
    /* In this order: what the queue no longer has as pending, the ledger knows if it failed. */
    struct queue_status queue = queue_status(view->queue);
    uint64_t ahead = ahead_of(view, queue.cursor);
    struct ledger_counts ledger = ledger_counts(view->ledger);
    struct api_counts counts = {.discarded = ledger.discarded, .damaged = queue.damaged};
    uint64_t apart = counts.discarded + counts.damaged;

    /* A refused transaction that the cursor has yet to pass is still one of the pending. */
    counts.failed = ledger.failed > ahead ? ledger.failed - ahead : 0;
    counts.uncompleted = queue.pending_transactions + ledger.retrying;
    counts.accepted = queue.accepted > apart ? queue.accepted - apart : 0;
    if (counts.uncompleted + counts.failed > counts.accepted)
        counts.failed = counts.accepted > counts.uncompleted
                            ? counts.accepted - counts.uncompleted
                            : 0; /* caught between two steps of one refusal */
    if (counts.uncompleted > counts.accepted)
        counts.accepted = counts.uncompleted;
    counts.successful = counts.accepted - counts.uncompleted - counts.failed;
    return counts;
}

static void write_queue(const struct api_view *view, struct buf *out)
{
    struct queue_status queue = queue_status(view->queue);
    int64_t oldest = 0;
    int64_t age = 0;

    if (queue_oldest(view->queue, &oldest, NULL) == 0)
        age = clock_wall_us() - oldest;
    buf_printf(out,
               "\"queue\":{\"pending_transactions\":%" PRIu64 ",\"pending_bytes\":%" PRIu64
               ",\"oldest_pending_age_s\":",
               queue.pending_transactions, queue.pending_bytes);
    json_write_seconds(out, age > 0 ? age : 0);
    buf_printf(out, ",\"max_bytes\":%" PRIu64 ",\"bytes_on_disk\":%" PRIu64 "}", queue.max_bytes,
               queue.log.bytes_on_disk);
}

/* 0: null. */
static void write_instant(struct buf *out, int64_t us)
{
    char when[CLOCK_TEXT_SIZE];

    if (us == 0) {
        buf_append_text(out, "null");
        return;
    }
    clock_format(when, us);
    json_write_string(out, slice_of(when));
}

static void write_store(const struct api_view *view, struct buf *out)
{
    struct forward_status forward = {.store = FORWARD_DOWN};

    if (view->forward != NULL)
        forward = forward_status(view->forward);
    buf_append_text(out, ",\"store\":{\"kind\":");
    json_write_string(out, slice_of(view->store_kind));
    buf_printf(out, ",\"state\":\"%s\",\"last_error\":",
               forward.store != FORWARD_UP ? "down"
               : forward.waiting           ? "waiting"
                                           : "up");
    json_write_string(out, forward.last_error[0] != '\0' ? slice_of(forward.last_error)
                                                         : (struct slice){0});
    buf_append_text(out, ",\"last_commit_at\":");
    write_instant(out, forward.last_commit_us);
    buf_append_text(out, ",\"forwarding\":");
    json_write_string(out, forward.why != NULL ? slice_of(forward.why) : (struct slice){0});
    buf_append_text(out, ",\"waiting_until\":");
    write_instant(out, forward.waiting && forward.until_us != INT64_MAX ? forward.until_us : 0);
    buf_append_char(out, '}');
}

static void write_failed(const struct api_view *view, struct buf *out)
{
    struct ledger_counts ledger = ledger_counts(view->ledger);

    buf_printf(out,
               ",\"failed\":{\"bytes\":%" PRIu64 ",\"max_transactions\":%" PRIu64
               ",\"max_bytes\":%" PRIu64 ",\"full\":%s}",
               ledger.failed_bytes, ledger.max_failed, ledger.max_bytes,
               ledger.full ? "true" : "false");
}

/* What tokens are checked by. */
static void write_keys(const struct api_view *view, struct buf *out)
{
    struct auth_status keys;

    if (view->auth == NULL)
        return;
    auth_status(view->auth, &keys);
    buf_printf(out, ",\"keys\":{\"source\":\"%s\",\"count\":%zu,\"age_s\":",
               keys.fetched ? "jwks" : "development", keys.keys);
    if (keys.age_us >= 0)
        json_write_seconds(out, keys.age_us);
    else
        buf_append_text(out, "null");
    buf_append_text(out, ",\"last_error\":");
    json_write_string(out,
                      keys.last_error[0] != '\0' ? slice_of(keys.last_error) : (struct slice){0});
    buf_append_char(out, '}');
}

/* If there is somebody to ask for the users of sessions. */
static void write_users(const struct api_view *view, struct buf *out)
{
    struct users_status users = users_status(view->users);
    struct forward_status forward;

    if (!users.asks || view->forward == NULL)
        return;
    forward = forward_status(view->forward);
    buf_printf(out,
               ",\"users\":{\"introspection\":\"%s\",\"resolved\":%" PRIu64 ",\"refused\":%" PRIu64
               ",\"given_up\":%" PRIu64 ",\"last_error\":",
               users.down ? "down" : "up", forward.sessions[USERS_RESOLVED],
               forward.sessions[USERS_REFUSED], forward.sessions[USERS_GIVEN_UP]);
    json_write_string(out,
                      users.last_error[0] != '\0' ? slice_of(users.last_error) : (struct slice){0});
    buf_append_char(out, '}');
}

int api_write_status(const struct api_view *view, struct buf *out, struct err *err)
{
    struct api_counts counts = api_counts(view);
    struct err reason;

    (void)err;
    buf_printf(out, "{\"node\":\"%s\",\"version\":\"%s\",\"running\":%s,\"uptime_s\":",
               queue_node(view->queue), LABS_VERSION, view->started_us != 0 ? "true" : "false");
    json_write_seconds(out, view->started_us != 0 ? clock_mono_us() - view->started_us : 0);
    buf_append_text(out, ",\"refusing\":");
    if (queue_refusing(view->queue, &reason))
        json_write_string(out, slice_of(reason.text));
    else
        buf_append_text(out, "null");
    buf_append_char(out, ',');
    write_queue(view, out);
    write_store(view, out);
    write_users(view, out);
    write_keys(view, out);
    buf_printf(out,
               ",\"transactions\":{\"accepted\":%" PRIu64 ",\"uncompleted\":%" PRIu64
               ",\"successful\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"discarded\":%" PRIu64
               ",\"damaged\":%" PRIu64 "}",
               counts.accepted, counts.uncompleted, counts.successful, counts.failed,
               counts.discarded, counts.damaged);
    write_failed(view, out);
    buf_append_char(out, '}');
    return 0;
}
