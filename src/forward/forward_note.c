/*
 * What the writer says of the store, the ledger and the log: once when a fault begins and once when
 * it ends, in the engine's log, and in the status all the while.
 */
#include "forward/forward_priv.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>

/* That the end has interrupted what the store was asked says nothing of it. */
void note_store(struct writer *writer, bool up)
{
    struct forward *forward = writer->forward;
    struct forward_status *status = &forward->status;

    pthread_mutex_lock(&forward->lock);
    if (!up && forward->stop_now) {
        pthread_mutex_unlock(&forward->lock);
        return;
    }
    status->store = up ? FORWARD_UP : FORWARD_DOWN;
    if (!up) {
        status->errors++;
        snprintf(status->last_error, sizeof status->last_error, "%s", writer->err.text);
    }
    pthread_mutex_unlock(&forward->lock);
    if (!up && !writer->down) {
        writer->down = true;
        writer->down_since_us = clock_mono_us();
        log_warning("forward", "the store is down: %s", writer->err.text);
    } else if (up && writer->down) {
        writer->down = false;
        log_info("forward", "the store is up again after %.1f s",
                 (double)(clock_mono_us() - writer->down_since_us) / 1e6);
    }
}

void note_unproven(struct writer *writer)
{
    writer->unproven = true;
    note_store(writer, false);
}

void note_proven(struct writer *writer)
{
    if (writer->unproven)
        note_store(writer, true);
    writer->unproven = false;
}

/* The ledger may take everything else while it has no room for a refused transaction: that it is
 * well again is only shown by this one. */
void note_ledger(struct writer *writer, int code, const struct err *err)
{
    if (code == 0 && writer->owed != 0)
        return;
    if (code != 0 && !writer->ledger_down)
        log_error("forward", "the ledger cannot be written: %s", err->text);
    else if (code == 0 && writer->ledger_down)
        log_info("forward", "the ledger can be written again");
    writer->ledger_down = code != 0;
}

void note_log(struct writer *writer, int code, const struct err *err)
{
    if (code != 0 && !writer->log_down)
        log_error("forward", "cannot read a refused transaction: %s", err->text);
    else if (code == 0 && writer->log_down)
        log_info("forward", "refused transactions can be read again");
    writer->log_down = code != 0;
}

void note_ahead(struct writer *writer, uint64_t cursor)
{
    struct forward *forward = writer->forward;
    struct err err;
    uint64_t ahead;

    if (ledger_ahead(forward->options.ledger, cursor, &ahead, &err) != 0)
        return; /* a ledger that does not read is noticed when it is written */
    pthread_mutex_lock(&forward->lock);
    forward->status.ahead = ahead;
    pthread_mutex_unlock(&forward->lock);
}
