/*
 * What the ledger's tests share: a folder of their own and short forms of the calls.
 */
#ifndef UNIT_LEDGER_SCRATCH_H
#define UNIT_LEDGER_SCRATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ledger/ledger.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct scratch {
    char folder[256];
    char path[300];
};

static inline int scratch_make(void **state)
{
    struct scratch *scratch = calloc(1, sizeof *scratch);
    const char *base = getenv("TMPDIR");

    snprintf(scratch->folder, sizeof scratch->folder, "%s/ledger-XXXXXX",
             base != NULL ? base : "/tmp");
    if (mkdtemp(scratch->folder) == NULL)
        return -1;
    snprintf(scratch->path, sizeof scratch->path, "%s/ledger.db", scratch->folder);
    *state = scratch;
    return 0;
}

static inline int scratch_remove(void **state)
{
    struct scratch *scratch = *state;
    DIR *folder = opendir(scratch->folder);
    struct dirent *entry;
    int rc;

    while (folder != NULL && (entry = readdir(folder)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(folder), entry->d_name, 0);
    if (folder != NULL)
        closedir(folder);
    rc = rmdir(scratch->folder);
    free(scratch);
    return rc;
}

#define in_scratch(test) cmocka_unit_test_setup_teardown(test, scratch_make, scratch_remove)

static inline struct ledger *open_keeping(struct scratch *scratch, uint64_t deliveries)
{
    struct ledger *ledger = NULL;
    struct err err = {0};

    if (ledger_open(scratch->path, deliveries, &ledger, &err) != 0)
        fail_msg("%s", err.text);
    return ledger;
}

static inline struct ledger *open_scratch(struct scratch *scratch)
{
    return open_keeping(scratch, 100);
}

static inline void must_fail_at(struct ledger *ledger, uint64_t position, const char *record)
{
    struct err err = {0};

    if (ledger_fail(ledger, position, slice_of(record), SLICE("refused"), 1000, &err) != 0)
        fail_msg("%s", err.text);
}

static inline void assert_counts(struct ledger *ledger, uint64_t failed, uint64_t retrying,
                                 uint64_t bytes, uint64_t discarded)
{
    struct ledger_counts counts = ledger_counts(ledger);

    assert_int_equal(counts.failed, failed);
    assert_int_equal(counts.retrying, retrying);
    assert_int_equal(counts.failed_bytes, bytes);
    assert_int_equal(counts.discarded, discarded);
}

#endif
