/*
 * Starting and stopping the housekeeping thread, and what it says of itself.
 */
#include "upkeep/upkeep.h"

#include "upkeep/upkeep_priv.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>

enum { FIRST_RUN_MS = 3000 }; /* after the start: the forwarder makes the tables */

static void init(struct upkeep *upkeep)
{
    const struct upkeep_options *options = &upkeep->options;
    int64_t first_ms = options->interval_ms < FIRST_RUN_MS ? options->interval_ms : FIRST_RUN_MS;
    pthread_condattr_t monotonic;

    upkeep->state = (struct upkeep_state){
        .interval_ms = options->retention_ms > 0 ? options->interval_ms : 0,
        .retry_min_ms = options->retry_min_ms,
        .retry_max_ms = options->retry_max_ms,
        .next_run_ms = clock_mono_us() / 1000 + first_ms,
    };
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&upkeep->lock, NULL);
    pthread_cond_init(&upkeep->wakes, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

static void dispose(struct upkeep *upkeep)
{
    store_close(upkeep->store);
    pthread_cond_destroy(&upkeep->wakes);
    pthread_mutex_destroy(&upkeep->lock);
    free(upkeep);
}

int upkeep_start(const struct upkeep_options *options, struct upkeep **ret, struct err *err)
{
    struct upkeep *upkeep = mem_zalloc(sizeof *upkeep);
    int code;

    upkeep->options = *options;
    code = store_open(options->store_url, options->store_timeout_ms, &upkeep->store, err);
    if (code != 0) {
        free(upkeep);
        return code;
    }
    init(upkeep);
    if ((code = pthread_create(&upkeep->thread, NULL, upkeep_run, upkeep)) != 0) {
        dispose(upkeep);
        return err_system(err, code, "start the thread that keeps house");
    }
    *ret = upkeep;
    return 0;
}

void upkeep_stop(struct upkeep *upkeep)
{
    if (upkeep == NULL)
        return;
    pthread_mutex_lock(&upkeep->lock);
    upkeep->stopping = true;
    pthread_mutex_unlock(&upkeep->lock);
    pthread_cond_signal(&upkeep->wakes);
    store_interrupt(upkeep->store);
    pthread_join(upkeep->thread, NULL);
    dispose(upkeep);
}

struct upkeep_status upkeep_status(struct upkeep *upkeep)
{
    struct upkeep_status status;

    pthread_mutex_lock(&upkeep->lock);
    status = upkeep->status;
    pthread_mutex_unlock(&upkeep->lock);
    status.open_orders = ledger_open_orders(upkeep->options.ledger);
    return status;
}
