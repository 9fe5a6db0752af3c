/*
 * Schema migrations: finds the first one that is missing, applies it under the lock, and
 * starts over until none is missing.
 *
 * What is missing is read before taking the lock, so that a role that may not change the
 * schema can run against a finished one, and again under the lock, because another process
 * may have been faster. A database that carries a migration newer than all of ours belongs
 * to a newer engine: it is left alone.
 */
#include "store/store_priv.h"

/* Versions are YYYYMMDD or YYYYMMDDhhmm; the short form is that day's first minute. */
static int64_t minute_of(int64_t version)
{
    return version < INT64_C(1000000000) ? version * 10000 : version;
}

static const struct store_applied *find_applied(const struct buf *applied, int64_t version)
{
    const struct store_applied *rows = (const void *)applied->data;

    for (size_t i = 0; i < applied->len / sizeof *rows; i++) {
        if (rows[i].version == version)
            return &rows[i];
    }
    return NULL;
}

static bool is_newer_than_ours(const struct store_scripts *scripts, const struct buf *applied)
{
    const struct store_applied *rows = (const void *)applied->data;
    int64_t newest = minute_of(scripts->list[scripts->count - 1].version);

    for (size_t i = 0; i < applied->len / sizeof *rows; i++) {
        if (minute_of(rows[i].version) > newest)
            return true;
    }
    return false;
}

static const struct store_script *first_missing(const struct store_scripts *scripts,
                                                const struct buf *applied)
{
    if (is_newer_than_ours(scripts, applied))
        return NULL;
    for (size_t i = 0; i < scripts->count; i++) {
        if (find_applied(applied, scripts->list[i].version) == NULL)
            return &scripts->list[i];
    }
    return NULL;
}

static int read_missing(struct store *store, const struct store_script **ret, struct err *err)
{
    struct buf applied = {0};
    int error = store->ops->schema_read(store, &applied, err);

    if (error == 0)
        *ret = first_missing(store->ops->scripts, &applied);
    buf_free(&applied);
    return error;
}

static int apply_first_missing(struct store *store, bool *ret_applied, struct err *err)
{
    const struct store_script *script = NULL;
    int error = store->ops->schema_lock(store, err);

    if (error != 0)
        return error;
    error = read_missing(store, &script, err);
    if (error != 0 || script == NULL) {
        store->ops->schema_unlock(store);
        *ret_applied = false;
        return error;
    }
    error = store->ops->schema_apply(store, script, err);
    if (error != 0)
        err_wrap(err, "migration %lld_%s", (long long)script->version, script->name);
    *ret_applied = error == 0;
    return error;
}

int store_migrate(struct store *store, unsigned *ret_applied, struct err *err)
{
    unsigned count = 0;

    for (;;) {
        const struct store_script *script = NULL;
        bool applied;
        int error = store_begin(store, err);

        if (error == 0)
            error = read_missing(store, &script, err);
        if (error != 0)
            return error;
        if (script == NULL)
            break;
        error = store_begin(store, err);
        if (error == 0)
            error = apply_first_missing(store, &applied, err);
        if (error != 0)
            return error;
        count += applied;
    }
    *ret_applied = count;
    return 0;
}

int store_migrations(struct store *store, struct store_migration *out, size_t room,
                     size_t *ret_count, struct err *err)
{
    const struct store_scripts *scripts = store->ops->scripts;
    size_t count = scripts->count < room ? scripts->count : room;
    struct buf applied = {0};
    int error = store_begin(store, err);

    if (error == 0)
        error = store->ops->schema_read(store, &applied, err);
    if (error != 0)
        goto free_applied;
    for (size_t i = 0; i < count; i++) {
        const struct store_applied *row = find_applied(&applied, scripts->list[i].version);

        out[i] = (struct store_migration){
            .version = scripts->list[i].version,
            .name = scripts->list[i].name,
            .applied_us = row != NULL ? row->applied_us : 0,
        };
    }
    *ret_count = count;
free_applied:
    buf_free(&applied);
    return error;
}
