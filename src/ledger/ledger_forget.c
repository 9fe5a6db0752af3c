/*
 * Orders to forget users.
 *
 * The log cannot be changed, so an order is a rule for what is in it: before its position, the
 * user is nobody, or the transaction is none. It is open until the store has been cleaned behind
 * that position, and stays, done, for as long as the log may still be read before it.
 *
 * All of them are kept in memory too, sorted by user, for the forwarder asks for every transaction.
 * Behind the farthest position of all orders, which is where it mostly is, the answer is one
 * comparison.
 */
#include "ledger/ledger_priv.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static int compare(const struct ledger_order *order, struct slice user, bool erase)
{
    size_t len = strlen(order->user);
    int by_bytes = memcmp(order->user, user.at, len < user.len ? len : user.len);

    if (by_bytes != 0)
        return by_bytes;
    if (len != user.len)
        return len < user.len ? -1 : 1;
    return (int)order->erase - (int)erase;
}

/* Where the order is, or would be; orders_lock held. */
static size_t place_of(const struct ledger_orders *orders, struct slice user, bool erase)
{
    size_t low = 0;
    size_t high = orders->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare(&orders->list[middle], user, erase) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct ledger_order *find(struct ledger_orders *orders, struct slice user, bool erase)
{
    size_t at = place_of(orders, user, erase);

    return at < orders->count && compare(&orders->list[at], user, erase) == 0 ? &orders->list[at]
                                                                              : NULL;
}

static void count_anew(struct ledger_orders *orders)
{
    uint64_t until = 0;

    orders->open = 0;
    for (size_t i = 0; i < orders->count; i++) {
        orders->open += !orders->list[i].done;
        if (orders->list[i].position > until)
            until = orders->list[i].position;
    }
    atomic_store(&orders->until, until);
}

static void put(struct ledger_orders *orders, const struct ledger_order *order)
{
    struct slice user = slice_of(order->user);
    size_t at = place_of(orders, user, order->erase);

    if (at == orders->count || compare(&orders->list[at], user, order->erase) != 0) {
        if (orders->count == orders->room) {
            orders->room = orders->room > 0 ? orders->room * 2 : 16;
            orders->list = mem_realloc(orders->list, orders->room * sizeof *orders->list);
        }
        memmove(&orders->list[at + 1], &orders->list[at],
                (orders->count - at) * sizeof *orders->list);
        orders->count++;
    }
    orders->list[at] = *order;
}

static int read_order(sqlite3_stmt *row, struct ledger_order *ret)
{
    int len = sqlite3_column_bytes(row, 0);

    if (len > TXN_MAX_PENNKEY)
        return SQLITE_CORRUPT;
    *ret = (struct ledger_order){
        .erase = sqlite3_column_int(row, 1) != 0,
        .position = (uint64_t)sqlite3_column_int64(row, 2),
        .ordered_us = sqlite3_column_int64(row, 3),
        .done = sqlite3_column_int(row, 4) != 0,
    };
    if (len > 0)
        memcpy(ret->user, sqlite3_column_blob(row, 0), (size_t)len);
    return SQLITE_OK;
}

/* All or an error: a user whose order is not known would be stored. */
int ledger_load_orders(struct ledger *ledger)
{
    sqlite3_stmt *row = ledger_statement(ledger, LEDGER_ORDERS);
    struct ledger_order order;
    int code;

    while ((code = ledger_row(ledger, LEDGER_ORDERS)) == SQLITE_OK &&
           (code = read_order(row, &order)) == SQLITE_OK)
        put(&ledger->orders, &order);
    count_anew(&ledger->orders);
    return code == LEDGER_ABSENT ? SQLITE_OK : code;
}

static int write_order(struct ledger *ledger, const struct ledger_order *order)
{
    sqlite3_stmt *statement = ledger_statement(ledger, LEDGER_ORDER);
    int code = ledger_bind_text(statement, 1, slice_of(order->user));

    if (code == SQLITE_OK)
        code = sqlite3_bind_int(statement, 2, order->erase);
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(statement, 3, ledger_key(order->position));
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(statement, 4, order->ordered_us);
    if (code == SQLITE_OK)
        code = sqlite3_bind_int(statement, 5, order->done);
    return code == SQLITE_OK ? ledger_run(ledger, LEDGER_ORDER) : code;
}

/* Writes it and then has it in memory; lock held. */
static int keep_order(struct ledger *ledger, const struct ledger_order *order, const char *doing,
                      struct err *err)
{
    int code = ledger_begin(ledger, LEDGER_DURABLE);

    if (code == SQLITE_OK)
        code = write_order(ledger, order);
    code = ledger_finish(ledger, code, err, "%s", doing);
    if (code != 0)
        return code;
    pthread_mutex_lock(&ledger->orders_lock);
    put(&ledger->orders, order);
    count_anew(&ledger->orders);
    pthread_mutex_unlock(&ledger->orders_lock);
    return 0;
}

int ledger_forget(struct ledger *ledger, struct slice user, bool erase, uint64_t position,
                  int64_t now_us, uint64_t most, struct ledger_order *ret, struct err *err)
{
    struct ledger_order order = {.erase = erase, .position = position, .ordered_us = now_us};
    const struct ledger_order *before;
    int code = 0;

    if (user.len == 0 || user.len > TXN_MAX_PENNKEY)
        return err_set(err, ERR_INVALID, "a pennkey has 1 to %d bytes", TXN_MAX_PENNKEY);
    memcpy(order.user, user.at, user.len);
    pthread_mutex_lock(&ledger->lock);
    before = find(&ledger->orders, user, erase);
    if (before != NULL && before->position > position)
        order.position = before->position;
    if (before == NULL && ledger->orders.count >= most)
        code = err_set(err, ERR_FULL,
                       "%zu orders to forget a user are recorded and not yet of the past",
                       ledger->orders.count);
    if (code == 0)
        code = keep_order(ledger, &order, "record the order to forget a user", err);
    pthread_mutex_unlock(&ledger->lock);
    if (code == 0)
        *ret = order;
    return code;
}

/* Still as it was handed out? Where nothing was accepted in between, one that was given again has
 * the same position and only a later instant, before which it holds for the rows of others. */
static bool is_same(const struct ledger_order *now, const struct ledger_order *then)
{
    return now->position == then->position && now->ordered_us == then->ordered_us;
}

int ledger_forgotten(struct ledger *ledger, const struct ledger_order *order, struct err *err)
{
    const struct ledger_order *before;
    struct ledger_order done = *order;
    int code;

    done.done = true;
    pthread_mutex_lock(&ledger->lock);
    before = find(&ledger->orders, slice_of(order->user), order->erase);
    if (before == NULL || before->done || !is_same(before, order))
        code = err_set(err, ERR_NOT_FOUND, "the order to forget a user has changed meanwhile");
    else
        code = keep_order(ledger, &done, "end the order to forget a user", err);
    pthread_mutex_unlock(&ledger->lock);
    return code;
}

/* Takes those out of memory that LEDGER_DROP_ORDERS took out of the file. */
static void drop(struct ledger_orders *orders, uint64_t position, int64_t before_us)
{
    size_t kept = 0;

    for (size_t i = 0; i < orders->count; i++) {
        const struct ledger_order *order = &orders->list[i];

        if (!order->done || order->position > position || order->ordered_us >= before_us)
            orders->list[kept++] = *order;
    }
    if (orders->count > kept)
        explicit_bzero(&orders->list[kept], (orders->count - kept) * sizeof *orders->list);
    orders->count = kept;
    count_anew(orders);
}

/* Whether there is one to drop; it saves writing. Lock held. */
static bool any_past(const struct ledger_orders *orders, uint64_t position, int64_t before_us)
{
    for (size_t i = 0; i < orders->count; i++) {
        if (orders->list[i].done && orders->list[i].position <= position &&
            orders->list[i].ordered_us < before_us)
            return true;
    }
    return false;
}

int ledger_drop_orders(struct ledger *ledger, uint64_t position, int64_t before_us, struct err *err)
{
    sqlite3_stmt *statement;
    int code = 0;

    pthread_mutex_lock(&ledger->lock);
    if (!any_past(&ledger->orders, position, before_us))
        goto unlock;
    code = ledger_begin(ledger, LEDGER_DURABLE);
    statement = ledger_statement(ledger, LEDGER_DROP_ORDERS);
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(statement, 1, ledger_key(position));
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(statement, 2, before_us);
    if (code == SQLITE_OK)
        code = ledger_run(ledger, LEDGER_DROP_ORDERS);
    code = ledger_finish(ledger, code, err, "drop orders to forget users");
    if (code == 0) {
        pthread_mutex_lock(&ledger->orders_lock);
        drop(&ledger->orders, position, before_us);
        pthread_mutex_unlock(&ledger->orders_lock);
    }
unlock:
    pthread_mutex_unlock(&ledger->lock);
    return code;
}

bool ledger_next_order(struct ledger *ledger, uint64_t cursor, struct ledger_order *ret)
{
    bool found = false;

    pthread_mutex_lock(&ledger->orders_lock);
    for (size_t i = 0; i < ledger->orders.count && ledger->orders.open > 0; i++) {
        const struct ledger_order *order = &ledger->orders.list[i];

        if (order->done || order->position > cursor ||
            (found && order->ordered_us >= ret->ordered_us))
            continue;
        *ret = *order;
        found = true;
    }
    pthread_mutex_unlock(&ledger->orders_lock);
    return found;
}

uint64_t ledger_open_orders(struct ledger *ledger)
{
    uint64_t open;

    pthread_mutex_lock(&ledger->orders_lock);
    open = ledger->orders.open;
    pthread_mutex_unlock(&ledger->orders_lock);
    return open;
}

enum ledger_verdict ledger_verdict(struct ledger *ledger, uint64_t position, struct slice user)
{
    enum ledger_verdict verdict = LEDGER_KEEP;
    const struct ledger_order *order;

    if (position >= atomic_load_explicit(&ledger->orders.until, memory_order_acquire) ||
        user.at == NULL)
        return LEDGER_KEEP;
    pthread_mutex_lock(&ledger->orders_lock);
    order = find(&ledger->orders, user, false);
    if (order != NULL && position < order->position)
        verdict = LEDGER_ANONYMISE;
    order = find(&ledger->orders, user, true);
    if (order != NULL && position < order->position)
        verdict = LEDGER_ERASE;
    pthread_mutex_unlock(&ledger->orders_lock);
    return verdict;
}
