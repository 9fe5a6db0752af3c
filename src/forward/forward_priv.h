/*
 * What loader and writer share: two slots for batches, and who waits for whom.
 *
 * `lock` guards whose the slots are, the loader's orders and the status; it is never held over
 * I/O. A slot that is loaded belongs to the writer, any other to the loader.
 */
#ifndef FORWARD_PRIV_H
#define FORWARD_PRIV_H

#include "forward/forward.h"
#include "forward/forward_schedule.h"
#include "forward/forward_step.h"

#include "store/store.h"
#include "users/users.h"

#include <pthread.h>

struct slot {
    bool loaded;
    struct store_batch *batch;
    uint64_t *positions;     /* of each transaction of the batch */
    unsigned char *sessions; /* enum users_answer, of each transaction of the batch */
    size_t *ordinals;        /* how many of the log's this slot took before it, ... */
    size_t taken;            /* ... and took in all: some are left out of the batch */
    size_t room;
    uint64_t end; /* position behind all of it */
};

enum { SLOTS = 2 };

struct forward {
    struct forward_options options;
    struct store *store;        /* the writer's */
    struct store_batch *single; /* the writer's, for retries */

    pthread_mutex_t lock;
    pthread_cond_t loader_wakes;
    pthread_cond_t writer_wakes;
    pthread_cond_t stopped_wakes;
    pthread_cond_t turn_wakes;
    struct slot slots[SLOTS];
    unsigned load_slot, write_slot; /* whose turn it is */
    bool loader_runs;               /* a position to load from is known */
    bool seek;                      /* the loader has to start over at seek_to */
    uint64_t seek_to;
    bool stopping, stop_now, writer_stopped, poked;
    bool sessions_wait;  /* while stopping: the loader has got to a session without an answer */
    bool retries_wait;   /* so has the last pass over those that are marked for another try */
    uint64_t ordered_to; /* all before it is to go, whatever the window says; 0: no order */
    uint64_t turns;      /* what the writer has done since the start, counted when it is over */
    struct forward_status status;

    struct schedule schedule;
    struct schedule_memory memory; /* the loader's */

    pthread_t loader, writer;
};

/* forward_load.c */
void *loader_run(void *forward);
/* Empties the slots and sends the loader to `position`. Writer only. */
void loader_seek(struct forward *forward, uint64_t position);

/* forward_gate.c: waits until it is time to forward. False if other orders came first. Loader
 * only. */
bool loader_gate(struct forward *forward);

/* The writer's alone. */
struct writer {
    struct forward *forward;
    struct forward_state state;
    struct slot *slot;
    size_t passed;   /* of the log's transactions in the slot, by the cursor */
    uint64_t cursor; /* the store's */
    bool unproven;   /* it failed to write: connecting alone does not show that it is up */
    bool down;       /* said in the log */
    int64_t down_since_us;
    bool ledger_down; /* said in the log */
    bool log_down;    /* the same */
    uint64_t owed;    /* the end of a refused one that the ledger has yet to take; 0: none */
    struct err err;   /* of the last attempt */
};

/* forward_write.c */
void *writer_run(void *forward);

/* forward_note.c: each keeps the status, and says once in the log when a fault begins and when it
 * ends. */
void note_store(struct writer *writer, bool up);
/* The store failed at more than at connecting: only a write will show that it is up again. */
void note_unproven(struct writer *writer);
void note_proven(struct writer *writer);
void note_ledger(struct writer *writer, int code, const struct err *err);
void note_log(struct writer *writer, int code, const struct err *err);
/* Counts the failed ones that the cursor has yet to pass: they are among the pending. */
void note_ahead(struct writer *writer, uint64_t cursor);

/* forward_fail.c: hands a refused transaction to the ledger, with the store's words; *ret_new: it
 * had not failed before. ERR_CONFLICT if it is damaged in the log by now, ERR_UNAVAILABLE if the
 * log cannot be read now, else the ledger's errors. Writer only. */
MUST_CHECK int record_refusal(struct forward *forward, uint64_t position, struct slice reason,
                              bool *ret_new, struct err *err);

/* forward_fail.c: counts a session that the record of its failed transaction does not have any
 * more, for whose it was is known: another try does not see it. */
void note_resolved(struct forward *forward, const struct txn *txn, struct slice record);

/* forward_retry.c: gives failed ones that are marked for it another try. 0, or the store's
 * ERR_UNAVAILABLE, or its ERR_CONFLICT: its cursor is before one of them, which is met again in the
 * ordinary way; or the ledger's, which cannot be read. *ret_noted is 0 or why the ledger could not
 * take what came of one, which is tried again. Writer only. */
MUST_CHECK int retry_marked(struct forward *forward, int *ret_noted, struct err *err);

/* forward_look.c: the queue's question, with the forwarder as its argument. Writer only. */
queue_look forward_look;

/* forward_user.c: who the user of a transaction's rows is. */
struct forward_user {
    struct slice name; /* at == NULL: nobody. Borrows from the transaction, or from here: */
    char storage[USERS_NAME_SIZE], pseudonym[USERS_PSEUDONYM_SIZE];
    enum users_answer session;   /* what became of the transaction's session */
    enum ledger_verdict verdict; /* of the orders to forget users; it is in `name` already, but for
                                  * LEDGER_ERASE there are to be no rows at all */
};

/* False if the session has to be asked for first. */
bool forward_user(const struct forward *forward, uint64_t position, const struct txn *txn,
                  struct forward_user *ret);

/* Counts a session, by what became of it. */
void note_session(struct forward *forward, enum users_answer session);

/* The record of a transaction as the ledger may keep it: a user who is forgotten is not in it, nor
 * a session whose user is known, but that user: by it the transaction is found to be forgotten.
 * False if the transaction is to be erased. */
bool forward_record(const struct forward *forward, uint64_t position, const struct txn *txn,
                    struct buf *ret);

/* forward_ask.c: has the sessions from `position` on asked for, or waits until there is a reason
 * to look again. False if other orders came first. Loader only. */
bool loader_ask(struct forward *forward, struct queue_reader *reader, uint64_t position);

/* Adds one transaction of this log to a batch, with the user that it is stored with. */
void batch_add(const struct forward *forward, struct store_batch *batch, uint64_t position,
               const struct txn *txn, const struct forward_user *user);

/* Waits on a condition for at most so long; the lock is held. False when the time was over. */
bool forward_wait(struct forward *forward, pthread_cond_t *condition, int64_t timeout_ms);

#endif
