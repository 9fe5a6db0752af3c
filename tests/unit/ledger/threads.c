/*
 * One handle, several threads: writers of failures and deliveries, readers of all of it.
 */
#include "scratch.h"

#include <pthread.h>
#include <stdatomic.h>

enum { ROUNDS = 150, WRITERS = 2, READERS = 3 };

struct shared {
    struct ledger *ledger;
    atomic_uint writers_left;
    atomic_uint faults;
};

struct writer {
    struct shared *shared;
    uint64_t base;
};

static void expect(struct shared *shared, bool holds)
{
    if (!holds)
        atomic_fetch_add(&shared->faults, 1);
}

/* Of every three: one stays failed, one recovers, one is discarded. */
static void *write_failures(void *arg)
{
    struct writer *writer = arg;
    struct shared *shared = writer->shared;
    struct ledger *ledger = shared->ledger;

    for (uint64_t i = 0; i < ROUNDS; i++) {
        uint64_t at = writer->base + i;

        expect(shared, ledger_fail(ledger, at, SLICE("0123456789"), SLICE("no"), 1, NULL) == 0);
        if (i % 3 == 1) {
            expect(shared, ledger_retry(ledger, at, NULL) == 0);
            expect(shared, ledger_recovered(ledger, at, NULL) == 0);
        } else if (i % 3 == 2) {
            expect(shared, ledger_discard(ledger, at, NULL) == 0);
        }
    }
    atomic_fetch_sub(&shared->writers_left, 1);
    return NULL;
}

static void *write_deliveries(void *arg)
{
    struct shared *shared = arg;

    for (uint64_t i = 1; i <= ROUNDS; i++) {
        const struct ledger_delivery delivery = {.first = ROUNDS * 1000 + i,
                                                 .last = ROUNDS * 1000 + i,
                                                 .outcome = SLICE("stored"),
                                                 .error = SLICE("none")};

        expect(shared, ledger_delivered_to(shared->ledger, &delivery, i, NULL) == 0);
    }
    atomic_fetch_sub(&shared->writers_left, 1);
    return NULL;
}

static int check_failed(void *arg, const struct ledger_failed *failed)
{
    expect(arg, slice_is(failed->record, "0123456789") && slice_is(failed->reason, "no"));
    return 0;
}

static int check_delivery(void *arg, const struct ledger_delivery *delivery)
{
    expect(arg, slice_is(delivery->outcome, "stored") && slice_is(delivery->error, "none"));
    return 0;
}

static void *read_all(void *arg)
{
    struct shared *shared = arg;
    struct buf storage = {0};
    uint64_t last = 0;

    while (atomic_load(&shared->writers_left) > 0) {
        struct ledger_counts counts = ledger_counts(shared->ledger);
        struct ledger_failed found;
        uint64_t cursor = 0;
        int code = ledger_find(shared->ledger, 0, &found, &storage, NULL);

        expect(shared, counts.failed_bytes == 10 * (counts.failed + counts.retrying));
        expect(shared, code == 0 || code == ERR_NOT_FOUND);
        expect(shared, ledger_each_failed(shared->ledger, false, 0, true, 10, check_failed, shared,
                                          NULL) == 0);
        expect(shared, ledger_each_delivery(shared->ledger, 10, check_delivery, shared, NULL) == 0);
        expect(shared, ledger_cursor(shared->ledger, &cursor, NULL) == 0 && cursor >= last);
        last = cursor;
    }
    buf_free(&storage);
    return NULL;
}

static void writers_and_readers_share_a_handle(void **state)
{
    struct shared shared = {.ledger = open_scratch(*state)};
    struct writer writers[WRITERS];
    pthread_t threads[WRITERS + 1 + READERS];
    uint64_t cursor = 0;

    atomic_store(&shared.writers_left, WRITERS + 1);
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){&shared, i * UINT64_C(1000000)};
        assert_int_equal(pthread_create(&threads[i], NULL, write_failures, &writers[i]), 0);
    }
    assert_int_equal(pthread_create(&threads[WRITERS], NULL, write_deliveries, &shared), 0);
    for (unsigned i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[WRITERS + 1 + i], NULL, read_all, &shared), 0);
    for (unsigned i = 0; i < WRITERS + 1 + READERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);

    assert_int_equal(atomic_load(&shared.faults), 0);
    assert_counts(shared.ledger, 100, 0, 1000, 100);
    assert_int_equal(ledger_cursor(shared.ledger, &cursor, NULL), 0);
    assert_int_equal(cursor, ROUNDS);
    ledger_close(shared.ledger);
    shared.ledger = open_scratch(*state);
    assert_counts(shared.ledger, 100, 0, 1000, 100);
    ledger_close(shared.ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_scratch(writers_and_readers_share_a_handle),
    };

    return cmocka_run_group_tests_name("ledger/threads", tests, NULL, NULL);
}
