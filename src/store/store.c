/*
 * The store: picks the kind by the URL and passes every call on to that kind's table.
 *
 * What is the same for all kinds is done here, once: the deadline of an operation, the
 * interruption, and the book-keeping of a batch (which bytes and rows belong to which
 * transaction). A kind encodes transactions and talks to its database.
 */
#include "store/store_priv.h"

#include "base/clock.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static const struct {
    const char *scheme;
    const struct store_ops *ops;
} kinds[] = {
    {"sqlite:", &store_sqlite},
    {"postgres://", &store_postgres},
    {"postgresql://", &store_postgres},
};

static const struct store_ops *kind_of(const char *url)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strncmp(url, kinds[i].scheme, strlen(kinds[i].scheme)) == 0)
            return kinds[i].ops;
    }
    return NULL;
}

int store_open(const char *url, int64_t timeout_ms, struct store **ret, struct err *err)
{
    const struct store_ops *ops = kind_of(url);
    struct store *store;
    int error;
    int wake_fd;

    assert(timeout_ms > 0);
    if (ops == NULL)
        return err_set(err, ERR_INVALID,
                       "the store's URL starts with none of sqlite:, postgres://, postgresql://");
    wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd < 0)
        return err_system(err, errno, "make a wake descriptor for the store");
    error = ops->open(url, &store, err);
    if (error != 0) {
        close(wake_fd);
        return error;
    }
    store->ops = ops;
    store->timeout_us = timeout_ms * 1000;
    store->wake_fd = wake_fd;
    atomic_init(&store->interrupted, false);
    *ret = store;
    return 0;
}

void store_close(struct store *store)
{
    int wake_fd;

    if (store == NULL)
        return;
    wake_fd = store->wake_fd;
    store->ops->close(store);
    close(wake_fd);
}

const char *store_kind(const struct store *store)
{
    return store->ops->kind;
}

bool store_embedded(const struct store *store)
{
    return store->ops->embedded;
}

void store_interrupt(struct store *store)
{
    atomic_store(&store->interrupted, true);
    eventfd_write(store->wake_fd, 1);
}

bool store_interrupted(const struct store *store)
{
    return atomic_load(&store->interrupted);
}

int store_begin(struct store *store, struct err *err)
{
    if (store_interrupted(store))
        return err_set(err, ERR_UNAVAILABLE, "interrupted");
    store->deadline_us = clock_mono_us() + store->timeout_us;
    store->worked_us = clock_worked_us();
    return 0;
}

int64_t store_left_us(const struct store *store)
{
    int64_t left = store->deadline_us - clock_mono_us();

    return left > 0 ? left : 0;
}

bool store_worked_long(const struct store *store)
{
    return clock_worked_us() - store->worked_us >= store->timeout_us;
}

int store_too_late(const struct store *store, struct err *err)
{
    return err_set(err, ERR_UNAVAILABLE, "not done within the time limit of %" PRId64 " ms",
                   store->timeout_us / 1000);
}

int store_not_content(int error, struct err *err)
{
    if (error != ERR_REFUSED)
        return error;
    if (err != NULL)
        err->code = ERR_UNAVAILABLE;
    return ERR_UNAVAILABLE;
}

int store_connect(struct store *store, struct err *err)
{
    int error = store_begin(store, err);

    return error != 0 ? error : store->ops->connect(store, err);
}

int store_cursor(struct store *store, const char *node, uint64_t *ret_position, struct err *err)
{
    int error = store_begin(store, err);

    return error != 0 ? error : store->ops->cursor(store, node, ret_position, err);
}

int store_cursor_create(struct store *store, const char *node, uint64_t position, struct err *err)
{
    int error = store_begin(store, err);

    return error != 0 ? error : store->ops->cursor_create(store, node, position, err);
}

struct store_batch *store_batch_open(const struct store *store)
{
    struct store_batch *batch = mem_zalloc(sizeof *batch);

    batch->ops = store->ops;
    return batch;
}

void store_batch_close(struct store_batch *batch)
{
    if (batch == NULL)
        return;
    buf_free(&batch->bytes);
    free(batch->marks);
    free(batch);
}

void store_batch_reset(struct store_batch *batch)
{
    buf_reset(&batch->bytes, SIZE_MAX);
    batch->count = 0;
    batch->spread_us = 0;
}

void store_batch_spread(struct store_batch *batch, int64_t us)
{
    batch->spread_us = us;
}

void store_batch_add(struct store_batch *batch, const char *id, const char *product,
                     const struct txn *txn)
{
    size_t rows = batch->count > 0 ? batch->marks[batch->count - 1].end_rows : 0;
    struct store_mark *mark;

    assert(strlen(id) == TXN_ID_SIZE - 1);
    assert(strlen(product) <= TXN_MAX_PRODUCT_NAME);
    if (batch->count == batch->room) {
        batch->room = batch->room > 0 ? batch->room * 2 : 64;
        batch->marks = mem_realloc(batch->marks, batch->room * sizeof *batch->marks);
    }
    batch->ops->encode(&batch->bytes, id, product, txn);
    mark = &batch->marks[batch->count++];
    mark->end = batch->bytes.len;
    mark->end_rows = rows + txn->count;
    memcpy(mark->id, id, TXN_ID_SIZE);
}

size_t store_batch_count(const struct store_batch *batch)
{
    return batch->count;
}

size_t store_batch_bytes(const struct store_batch *batch)
{
    return batch->bytes.len;
}

size_t store_batch_rows(const struct store_batch *batch, size_t first, size_t last)
{
    assert(first <= last && last <= batch->count);
    if (first == last)
        return 0;
    return batch->marks[last - 1].end_rows - (first > 0 ? batch->marks[first - 1].end_rows : 0);
}

struct slice store_batch_slice(const struct store_batch *batch, size_t first, size_t last)
{
    size_t start = first > 0 ? batch->marks[first - 1].end : 0;
    size_t end = last > 0 ? batch->marks[last - 1].end : 0;

    assert(first <= last && last <= batch->count);
    return (struct slice){batch->bytes.data + start, end - start};
}

int store_write(struct store *store, const struct store_batch *batch, size_t first, size_t last,
                const char *node, uint64_t from, uint64_t to, struct err *err)
{
    int error = store_begin(store, err);

    assert(batch->ops == store->ops);
    assert(first <= last && last <= batch->count);
    assert(from <= INT64_MAX && to <= INT64_MAX);
    return error != 0 ? error : store->ops->write(store, batch, first, last, node, from, to, err);
}

int store_put(struct store *store, const struct store_batch *batch, size_t index, const char *node,
              uint64_t position, struct err *err)
{
    int error = store_begin(store, err);

    assert(batch->ops == store->ops);
    assert(index < batch->count);
    assert(position <= INT64_MAX);
    return error != 0 ? error : store->ops->put(store, batch, index, node, position, err);
}

int store_find(struct store *store, const char *id, struct store_found *ret, struct err *err)
{
    int error = store_begin(store, err);

    return error != 0 ? error : store->ops->find(store, id, ret, err);
}

static int change(struct store *store, const struct store_change *what, unsigned rows,
                  struct store_walk *walk, uint64_t *ret_rows, struct err *err)
{
    int error = store_begin(store, err);

    assert(rows > 0 && !walk->ended);
    return error != 0 ? error : store->ops->change(store, what, rows, walk, ret_rows, err);
}

int store_forget(struct store *store, const struct store_forgetting *what, unsigned rows,
                 struct store_walk *walk, uint64_t *ret_rows, struct err *err)
{
    char before[TXN_ID_SIZE];
    char received[CLOCK_TEXT_SIZE];
    struct store_change erase_or_not = {
        .kind = what->erase ? STORE_ERASE : STORE_ANONYMISE,
        .values = {what->user, what->alias.at != NULL ? what->alias : what->user},
        .count = 4,
    };

    txn_id_format(before, what->node, what->position);
    clock_format(received, what->received_us);
    erase_or_not.values[2] = slice_of(before);
    erase_or_not.values[3] = slice_of(received);
    return change(store, &erase_or_not, rows, walk, ret_rows, err);
}

int store_expire(struct store *store, int64_t before_us, unsigned rows, struct store_walk *walk,
                 uint64_t *ret_rows, struct err *err)
{
    char before[CLOCK_TEXT_SIZE];

    clock_format(before, before_us);
    return change(
        store,
        &(struct store_change){.kind = STORE_EXPIRE, .values = {slice_of(before)}, .count = 1},
        rows, walk, ret_rows, err);
}

void store_copy_text(char *out, size_t size, struct slice text)
{
    size_t len = text.len < size ? text.len : size - 1;

    if (len > 0)
        memcpy(out, text.at, len);
    out[len] = '\0';
}

const char *store_one_line(char out[STORE_LINE_SIZE], const char *text)
{
    size_t len = 0;

    for (; *text != '\0' && len < STORE_LINE_SIZE - 1; text++) {
        unsigned char byte = (unsigned char)*text;

        out[len++] = byte < 0x20 || byte == 0x7f ? ' ' : *text;
    }
    out[len] = '\0';
    if (((unsigned char)*text & 0xC0) == 0x80) {
        while (len > 0 && ((unsigned char)out[len - 1] & 0xC0) == 0x80)
            len--;
        len -= len > 0;
    }
    while (len > 0 && out[len - 1] == ' ')
        len--;
    out[len] = '\0';
    return out;
}
