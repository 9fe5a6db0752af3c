/*
 * From the queue into the store: when, how much, again, and what the store refuses.
 *
 * Two threads. The loader reads the log behind the durable position and encodes the next
 * batch while the writer has the store write the last one. Whatever the store cannot do now
 * is tried again with growing pauses, for ever; what it refuses for its content is narrowed
 * down to the transaction and handed to the ledger as failed, and the rest goes in.
 */
#ifndef FORWARD_FORWARD_H
#define FORWARD_FORWARD_H

#include "base/err.h"
#include "ledger/ledger.h"
#include "queue/queue.h"
#include "txn/txn.h"
#include "users/users.h"

#include <stdbool.h>
#include <stdint.h>

struct forward;

struct forward_options {
    struct queue *queue; /* borrowed, as all that follows */
    struct ledger *ledger;
    const struct txn_products *products;
    struct users *users;
    const char *store_url;
    int64_t store_timeout_ms;
    const char *window;                /* "always", "quiet", "HH:MM-HH:MM" */
    int64_t max_lag_ms;                /* all goes once the oldest has waited for so long */
    unsigned quiet_below, quiet_above; /* per cent of the recent peak of incoming transactions */
    uint64_t batch_rows;  /* a batch ends with the transaction that reaches this, ... */
    uint64_t batch_bytes; /* ... or this many encoded bytes, ... */
    int64_t batch_age_ms; /* ... or when its first transaction has waited so long */
    int64_t retry_min_ms; /* pause after the first failure; it doubles ... */
    int64_t retry_max_ms; /* ... up to this, each less up to a half at random */
};

/* What forward_start() would say of the window: 0, or ERR_INVALID. */
MUST_CHECK int forward_check_window(const char *window, struct err *err);

/* ERR_INVALID for a store URL or a window that is none. Starts the threads; does not wait for the
 * store. */
MUST_CHECK int forward_start(const struct forward_options *options, struct forward **ret,
                             struct err *err);

/* Delivers what is in the queue for at most timeout_ms (not at all while the store is down),
 * then stops the threads. */
void forward_stop(struct forward *forward, int64_t timeout_ms);

/* A failed transaction was marked for another try (ledger_retry): do it soon. Any thread. */
void forward_poke(struct forward *forward);

/* Waits until what the forwarder was about to store when this was called has been stored or given
 * up; batches that the cursor has not passed aside. So whatever order the ledger had before is
 * kept to in all that follows. False if the time was over first. Any thread. */
bool forward_pass(struct forward *forward, int64_t timeout_ms);

/* Forwards what is there now, whatever the window says. Any thread. */
void forward_order(struct forward *forward);

enum forward_store { FORWARD_DOWN, FORWARD_UP };

struct forward_status {
    const char *kind;         /* "postgres", "sqlite" */
    enum forward_store store; /* down until the first connection stands */
    char last_error[512];     /* "" if there was none yet */
    int64_t last_commit_us;   /* 0: none since the start */
    bool waiting;             /* for the window, or for a quieter time */
    const char *why;          /* it waits or goes: "outside the window"; static */
    int64_t until_us;         /* while waiting: goes on then at the latest; INT64_MAX: not known */
    uint64_t ahead;           /* failed ones in the ledger that the cursor has not passed yet */
    uint64_t batches;         /* stored since the start */
    uint64_t rows;
    uint64_t transactions;
    uint64_t refusals; /* transactions that became failed, each once */
    uint64_t errors;   /* attempts that met a store that was not there */
    uint64_t conflicts;
    /* Transactions stored, or refused with the user known, by what became of their session. */
    uint64_t sessions[USERS_ANSWERS];
};
struct forward_status forward_status(struct forward *forward); /* any thread */

#endif
