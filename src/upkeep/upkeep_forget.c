/*
 * Forgetting one user: the order first, then all places in turn.
 *
 * Happy path: the order is durable; the forwarder ends what it was about to store; failed ones are
 * rewritten; the store is gone through; and if the cursor had reached the order's position before
 * that, the order is done. Otherwise, or if the store does not answer, it stays open, and
 * the housekeeping thread does the last two again.
 *
 * When the order is done, nothing of before it can bring the user back: the queue is delivered up
 * to there, and retries ask the ledger's verdict.
 */
#include "upkeep/upkeep_priv.h"

#include "base/buf.h"
#include "base/clock.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { PASS_MS = 1000 };

struct cleaning {
    const struct upkeep_rooms *rooms;
    const struct ledger_order *order;
    struct slice
        alias;       /* the user's pseudonym, which what was imported may bear; at == NULL: none */
    uint64_t cursor; /* when it was found out whether the order can be done */
    uint64_t count;
    struct err *err;
};

/* By the pennkey, or by the session as far as it is known whose it was. */
static bool is_of(const struct upkeep_rooms *rooms, const struct txn *txn, const char *user)
{
    char name[USERS_NAME_SIZE];

    if (txn->pennkey.at != NULL)
        return slice_is(txn->pennkey, user);
    return txn->session.at != NULL &&
           users_find(rooms->users, txn->session, txn->received_us, name) == USERS_RESOLVED &&
           strcmp(name, user) == 0;
}

/* Also by the alias. A session is in the ledger if it was not resolved when its transaction failed;
 * it may have been since. */
static bool is_meant(const struct cleaning *cleaning, const struct txn *txn)
{
    return is_of(cleaning->rooms, txn, cleaning->order->user) ||
           (cleaning->alias.at != NULL && slice_equal(txn->pennkey, cleaning->alias));
}

static int anonymise(struct cleaning *cleaning, const struct ledger_failed *failed)
{
    struct txn_datapoint datapoints[TXN_MAX_DATAPOINTS];
    struct buf record = {0};
    struct txn txn;
    int code = txn_decode(failed->record, &txn, datapoints, cleaning->err);

    if (code != 0)
        return code;
    txn.pennkey = txn.session = (struct slice){0};
    buf_reserve(&record, txn_encoded_max(&txn));
    record.len = txn_encode(&txn, record.data);
    code = ledger_replace(cleaning->rooms->ledger, failed->position, buf_slice(&record),
                          cleaning->err);
    buf_free(&record);
    return code;
}

/* What is damaged is passed over: nobody can say whose it is. One that the cursor has not passed is
 * still the forwarder's to record or to leave out: made nobody's at most, and not if it is to be
 * erased, for its pennkey is what it is found by once the cursor has passed it. Until then the
 * order is open, and hides it. */
static int clean_failed(void *arg, const struct ledger_failed *failed)
{
    struct cleaning *cleaning = arg;
    const struct ledger_order *order = cleaning->order;
    struct txn txn;
    int code;

    if (failed->position >= order->position || txn_decode_head(failed->record, &txn, NULL) != 0 ||
        !is_meant(cleaning, &txn))
        return 0;
    if (order->erase && failed->position >= cleaning->cursor)
        return 0;
    if (order->erase)
        code = ledger_erase(cleaning->rooms->ledger, failed->position, cleaning->err);
    else
        code = anonymise(cleaning, failed);
    if (code == 0 && failed->position < cleaning->cursor)
        cleaning->count++;
    return code == ERR_NOT_FOUND || code == ERR_CORRUPT ? 0 : code;
}

/* A store that refuses a row may quote it: ", jdoe,". */
static int mask(struct ledger *ledger, const char *user, struct err *err)
{
    char text[TXN_MAX_PENNKEY + 8];

    snprintf(text, sizeof text, ", %s,", user);
    return ledger_mask(ledger, slice_of(text), SLICE(", null,"), err);
}

static bool pseudonym_of(const struct upkeep_rooms *rooms, const struct ledger_order *order,
                         char out[USERS_PSEUDONYM_SIZE])
{
    return users_pseudonym(rooms->users, slice_of(order->user), out);
}

int clean_ledger(const struct upkeep_rooms *rooms, const struct ledger_order *order,
                 uint64_t cursor, uint64_t *ret_count, struct err *err)
{
    struct cleaning cleaning = {
        .rooms = rooms,
        .order = order,
        .cursor = cursor,
        .err = err,
    };
    char pseudonym[USERS_PSEUDONYM_SIZE];
    bool has_pseudonym = pseudonym_of(rooms, order, pseudonym);
    int code;

    if (has_pseudonym)
        cleaning.alias = slice_of(pseudonym);
    code =
        ledger_each_failed(rooms->ledger, false, 0, true, UINT_MAX, clean_failed, &cleaning, err);
    if (code == 0)
        code = ledger_each_failed(rooms->ledger, true, 0, true, UINT_MAX, clean_failed, &cleaning,
                                  err);
    if (code == 0)
        code = mask(rooms->ledger, order->user, err);
    if (code == 0 && has_pseudonym)
        code = mask(rooms->ledger, pseudonym, err);
    if (code == 0)
        *ret_count = cleaning.count;
    return code;
}

int clean_store(const struct upkeep_rooms *rooms, const struct ledger_order *order,
                unsigned step_rows, struct store_walk *walk, uint64_t *ret_rows, struct err *err)
{
    char pseudonym[USERS_PSEUDONYM_SIZE];
    struct store_forgetting what = {
        .user = slice_of(order->user),
        .erase = order->erase,
        .node = queue_node(rooms->queue),
        .position = order->position,
        .received_us = order->ordered_us,
    };
    int code = store_connect(rooms->store, err);

    if (code != 0)
        return code;
    if (pseudonym_of(rooms, order, pseudonym))
        what.alias = slice_of(pseudonym);
    return store_forget(rooms->store, &what, step_rows, walk, ret_rows, err);
}

/* Transactions of the user from the cursor up to the order's position. */
static int count_queued(const struct upkeep_rooms *rooms, const struct ledger_order *order,
                        uint64_t cursor, uint64_t *ret, struct err *err)
{
    struct queue_reader *reader = queue_reader_open(rooms->queue, cursor);
    struct queue_item item = {.next = cursor};
    uint64_t count = 0;
    int code = 0;

    while (item.next < order->position) {
        code = queue_reader_next(reader, &item, err);
        if (code == ERR_CORRUPT)
            continue;
        if (code != 0 || item.position >= order->position)
            break;
        if (is_of(rooms, &item.txn, order->user))
            count++;
    }
    queue_reader_close(reader);
    if (code != 0 && code != ERR_NOT_FOUND && code != ERR_CORRUPT)
        return code;
    *ret = count;
    return 0;
}

/* Goes through the store as far as patience and the store allow. */
static void clean_patiently(const struct upkeep_rooms *rooms, const struct ledger_order *order,
                            const struct upkeep_request *request, struct upkeep_forgotten *ret)
{
    int64_t deadline_us = clock_mono_us() + request->patience_ms * 1000;
    struct store_walk walk = {0};
    struct err err;

    while (!walk.ended && clock_mono_us() < deadline_us) {
        uint64_t rows = 0;

        if (clean_store(rooms, order, request->step_rows, &walk, &rows, &err) != 0)
            return;
        ret->rows += rows;
    }
    ret->cleaned = walk.ended;
}

static void hold(struct upkeep *upkeep, bool held)
{
    if (upkeep == NULL)
        return;
    pthread_mutex_lock(&upkeep->lock);
    if (held)
        upkeep->held++;
    else
        upkeep->held--;
    upkeep->poked = upkeep->poked || !held;
    pthread_mutex_unlock(&upkeep->lock);
    pthread_cond_signal(&upkeep->wakes);
}

static void count_rows(struct upkeep *upkeep, uint64_t rows)
{
    if (upkeep == NULL)
        return;
    pthread_mutex_lock(&upkeep->lock);
    upkeep->status.forgotten_rows += rows;
    pthread_mutex_unlock(&upkeep->lock);
}

/* Behind the order: what it holds for in every place. */
static int carry_out(const struct upkeep_rooms *rooms, const struct upkeep_request *request,
                     const struct ledger_order *order, struct upkeep_forgotten *ret,
                     struct err *err)
{
    bool passed = rooms->forward == NULL || forward_pass(rooms->forward, PASS_MS);
    uint64_t cursor = queue_status(rooms->queue).cursor;
    int code = count_queued(rooms, order, cursor, &ret->queued, err);

    if (code == 0)
        code = clean_ledger(rooms, order, cursor, &ret->failed, err);
    if (code != 0)
        return code;
    clean_patiently(rooms, order, request, ret);
    count_rows(rooms->upkeep, ret->rows);
    ret->pending = !(passed && ret->cleaned && cursor >= order->position &&
                     ledger_forgotten(rooms->ledger, order, err) == 0);
    return 0;
}

int upkeep_forget(const struct upkeep_rooms *rooms, const struct upkeep_request *request,
                  struct upkeep_forgotten *ret, struct err *err)
{
    struct upkeep_forgotten forgotten = {0};
    struct ledger_order order;
    int code;

    hold(rooms->upkeep, true);
    code = ledger_forget(rooms->ledger, request->user, request->erase,
                         queue_status(rooms->queue).durable, clock_wall_us(), request->most, &order,
                         err);
    if (code == 0 && (code = carry_out(rooms, request, &order, &forgotten, err)) != 0)
        err_wrap(err, "the order is recorded and will be carried out");
    hold(rooms->upkeep, false);
    if (code == 0)
        *ret = forgotten;
    return code;
}
