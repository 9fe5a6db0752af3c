/*
 * Opening and closing the log, and what it says of itself.
 */
#include "wal/wal_priv.h"

#include "base/mem.h"
#include "base/thread.h"

#include <assert.h>
#include <stdlib.h>

static void init_locks(struct wal *wal)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&wal->lock, NULL);
    pthread_mutex_init(&wal->damage_lock, NULL);
    pthread_cond_init(&wal->committer_wakes, &monotonic);
    pthread_cond_init(&wal->reader_wakes, &monotonic);
    pthread_cond_init(&wal->preparer_wakes, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

static void dispose(struct wal *wal)
{
    pthread_cond_destroy(&wal->preparer_wakes);
    pthread_cond_destroy(&wal->reader_wakes);
    pthread_cond_destroy(&wal->committer_wakes);
    pthread_mutex_destroy(&wal->damage_lock);
    pthread_mutex_destroy(&wal->lock);
    free(wal->stretches);
    free(wal->quarantine);
    free(wal->segments);
    free(wal->released);
    free(wal->vector);
    free(wal->dir);
    free(wal);
}

int folder_make(struct wal *wal, const char *dir, struct err *err)
{
    struct disk *disk = wal->options.disk;
    char *above = mem_strdup(dir);
    char *slash = strrchr(above, '/');
    int code;

    if (slash != NULL)
        slash[slash == above] = '\0';
    if ((code = disk->make_dir(disk, dir)) < 0)
        code = err_system(err, -code, "make %s", dir);
    else if ((code = disk->sync_dir(disk, slash != NULL ? above : ".")) < 0)
        code = err_system(err, -code, "sync %s", slash != NULL ? above : ".");
    free(above);
    return code;
}

/* All that is acknowledged waits for it, and it sleeps in the disk's syncs. */
static void *run_committer(void *wal)
{
    thread_prompt();
    return committer_run(wal);
}

static int start_threads(struct wal *wal, struct err *err)
{
    int code = pthread_create(&wal->committer, NULL, run_committer, wal);

    if (code != 0)
        return err_system(err, code, "start the committer");
    code = pthread_create(&wal->preparer, NULL, preparer_run, wal);
    if (code != 0) {
        pthread_mutex_lock(&wal->lock);
        wal->stopping = true;
        pthread_mutex_unlock(&wal->lock);
        pthread_cond_signal(&wal->committer_wakes);
        pthread_join(wal->committer, NULL);
        return err_system(err, code, "start the preparer");
    }
    pthread_setname_np(wal->committer, "committer");
    pthread_setname_np(wal->preparer, "preparer");
    wal->threads_run = true;
    return 0;
}

int wal_open(const struct wal_options *options, struct wal **ret, struct wal_recovery *ret_recovery,
             struct err *err)
{
    struct wal *wal = mem_zalloc(sizeof *wal);
    struct wal_recovery recovery = {0};
    int code;

    assert(options->spares <= MAX_SPARES);
    assert(options->segment_bytes > SEGMENT_HEADER + RECORD_HEADER);
    wal->options = *options;
    wal->dir = mem_strdup(options->dir);
    wal->options.dir = wal->dir;
    if (options->quarantine != NULL)
        wal->options.quarantine = wal->quarantine = mem_strdup(options->quarantine);
    atomic_store(&wal->delivered_to, options->start);
    wal->fd = -1;
    wal->next_sequence = 1;
    wal->handed_in_end = &wal->handed_in;
    init_locks(wal);
    if (!options->read_only && (code = folder_make(wal, wal->dir, err)) != 0)
        goto dispose;
    if ((code = quarantine_open(wal, err)) != 0 || (code = wal_recover(wal, &recovery, err)) != 0)
        goto dispose;
    if (!options->read_only && (code = start_threads(wal, err)) != 0)
        goto dispose;
    *ret = wal;
    if (ret_recovery != NULL)
        *ret_recovery = recovery;
    return 0;

dispose:
    dispose(wal);
    return code;
}

void wal_close(struct wal *wal)
{
    if (wal == NULL)
        return;
    if (wal->threads_run) {
        pthread_mutex_lock(&wal->lock);
        wal->stopping = true;
        wal->preparer_stopping = true;
        pthread_mutex_unlock(&wal->lock);
        pthread_cond_signal(&wal->committer_wakes);
        pthread_cond_signal(&wal->preparer_wakes);
        pthread_join(wal->committer, NULL);
        pthread_join(wal->preparer, NULL);
    }
    segment_leave(wal);
    dispose(wal);
}

bool wal_refusing(struct wal *wal, struct err *ret_reason)
{
    if (!atomic_load_explicit(&wal->refusing, memory_order_acquire))
        return false;
    if (ret_reason != NULL) {
        pthread_mutex_lock(&wal->lock);
        *ret_reason = wal->fault;
        pthread_mutex_unlock(&wal->lock);
    }
    return true;
}

struct wal_stats wal_stats(struct wal *wal)
{
    struct wal_stats stats = {0};

    pthread_mutex_lock(&wal->lock);
    stats.durable = wal->end;
    stats.next = atomic_load(&wal->durable);
    stats.records = atomic_load(&wal->records);
    stats.first = wal->segment_count > 0 ? wal->segments[0].previous : wal->end;
    stats.bytes_on_disk = wal->bytes_on_disk;
    stats.segments = wal->segment_count;
    stats.spares = wal->spare_count;
    pthread_mutex_unlock(&wal->lock);
    stats.rounds = atomic_load(&wal->rounds);
    stats.syncs = atomic_load(&wal->syncs);
    stats.sync_us = atomic_load(&wal->sync_us);
    stats.committed = atomic_load(&wal->committed);
    stats.duplicates = atomic_load(&wal->duplicates);
    stats.failures = atomic_load(&wal->failures);
    stats.damaged_bytes = atomic_load(&wal->damaged_bytes);
    return stats;
}
