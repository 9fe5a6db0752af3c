/*
 * Changing what is stored: one step of a walk over the rows.
 *
 * The end of the step is looked up first; the change is one statement, a range of the primary
 * key, in a transaction of its own. It has to be durable, for that a user is forgotten is told as
 * soon as it is committed. Rows of a writer that took its ids earlier and commits later can lie
 * behind the walk: whoever needs those gone begins it after their commit.
 */
#include "store/postgres/postgres_priv.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* The rows of a step ($1 exclusive to $2) that belong to a user. Ids are compared by their
 * bytes, whatever the order of the database is. */
#define OF_USER                                                                                    \
    " WHERE id > $1 AND id <= $2 AND pennkey IN ($3, $4)"                                          \
    " AND CASE WHEN left(transaction_id, 8) = left($5, 8)"                                         \
    " THEN transaction_id COLLATE \"C\" < $5 ELSE received_at < $6 END"

static const char *const texts[STORE_CHANGES] = {
    [STORE_ANONYMISE] = "UPDATE event SET pennkey = NULL" OF_USER,
    [STORE_ERASE] = "DELETE FROM event" OF_USER,
    [STORE_EXPIRE] = "DELETE FROM event WHERE id > $1 AND id <= $2 AND timestamp < $3",
};

/* The highest id of the next `rows` rows; *ret_count are fewer at the end of the table. */
static int find_end(struct store_pg *pg, int64_t after, unsigned rows, int64_t *ret_end,
                    int64_t *ret_count, struct err *err)
{
    char numbers[2][24];
    const char *values[] = {numbers[0], numbers[1]};
    PGresult *result = NULL;
    int error;

    snprintf(numbers[0], sizeof numbers[0], "%" PRId64, after);
    snprintf(numbers[1], sizeof numbers[1], "%u", rows);
    error = store_pg_run_with(pg,
                              "SELECT max(id)::bigint, count(*) FROM"
                              " (SELECT id FROM event WHERE id > $1 ORDER BY id LIMIT $2) AS step",
                              2, values, &result, err);
    if (error != 0)
        return error;
    *ret_count = store_pg_int8(PQgetvalue(result, 0, 1));
    if (*ret_count > 0)
        *ret_end = store_pg_int8(PQgetvalue(result, 0, 0));
    PQclear(result);
    return 0;
}

static int change_rows(struct store_pg *pg, const struct store_change *what, int64_t after,
                       int64_t end, uint64_t *ret_rows, struct err *err)
{
    const char *values[2 + STORE_CHANGE_VALUES];
    char *copies[STORE_CHANGE_VALUES];
    char numbers[2][24];
    PGresult *result = NULL;
    int error;

    snprintf(numbers[0], sizeof numbers[0], "%" PRId64, after);
    snprintf(numbers[1], sizeof numbers[1], "%" PRId64, end);
    values[0] = numbers[0];
    values[1] = numbers[1];
    for (int i = 0; i < what->count; i++)
        values[i + 2] = copies[i] = mem_strndup(what->values[i].at, what->values[i].len);
    error = store_pg_run_with(pg, texts[what->kind], what->count + 2, values, &result, err);
    if (error == 0)
        *ret_rows = strtoull(PQcmdTuples(result), NULL, 10);
    PQclear(result);
    for (int i = 0; i < what->count; i++)
        free(copies[i]);
    return error;
}

static int commit_change(struct store_pg *pg, const struct store_change *what, int64_t after,
                         int64_t end, uint64_t *ret_rows, struct err *err)
{
    int error = store_pg_run(pg, STORE_PG_BEGIN, NULL, err);

    if (error == 0)
        error = change_rows(pg, what, after, end, ret_rows, err);
    if (error == 0)
        error = store_pg_run(pg, "COMMIT", NULL, err);
    if (error != 0)
        store_pg_recover(pg);
    return error;
}

int store_pg_change(struct store *store, const struct store_change *what, unsigned rows,
                    struct store_walk *walk, uint64_t *ret_rows, struct err *err)
{
    struct store_pg *pg = store_pg_of(store);
    uint64_t changed = 0;
    int64_t count = 0;
    int64_t end = 0;
    int error = find_end(pg, walk->after, rows, &end, &count, err);

    if (error == 0 && count > 0)
        error = commit_change(pg, what, walk->after, end, &changed, err);
    if (error != 0)
        return error;
    *walk = (struct store_walk){.after = count > 0 ? end : walk->after, .ended = count < rows};
    *ret_rows = changed;
    return 0;
}
