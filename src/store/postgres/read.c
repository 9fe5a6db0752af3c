/*
 * Reading: single statements, each its own transaction, with binary results. An error leaves
 * the connection in step, so there is nothing to roll back. Every column is cast to what its bytes
 * are read as, for somebody may have given it another type.
 */
#include "store/postgres/postgres_priv.h"

#include <inttypes.h>
#include <stdio.h>

int store_pg_cursor(struct store *store, const char *node, uint64_t *ret_position, struct err *err)
{
    struct store_pg *pg = store_pg_of(store);
    const char *values[] = {node};
    PGresult *result = NULL;
    int error;

    error = store_pg_run_with(pg, "SELECT position::bigint FROM forward_cursor WHERE node = $1", 1,
                              values, &result, err);
    if (error != 0)
        return error;
    if (PQntuples(result) == 0)
        error = err_set(err, ERR_NOT_FOUND, "node %s has no cursor", node);
    else
        *ret_position = (uint64_t)store_pg_int8(PQgetvalue(result, 0, 0));
    PQclear(result);
    return error;
}

int store_pg_cursor_create(struct store *store, const char *node, uint64_t position,
                           struct err *err)
{
    struct store_pg *pg = store_pg_of(store);
    char number[24];
    const char *values[] = {node, number};

    snprintf(number, sizeof number, "%" PRIu64, position);
    return store_pg_run_with(pg,
                             "INSERT INTO forward_cursor (node, position, updated_at)"
                             " VALUES ($1, $2, now()) ON CONFLICT (node) DO NOTHING",
                             2, values, NULL, err);
}

static struct slice text_of(const PGresult *result, int column)
{
    return (struct slice){PQgetvalue(result, 0, column), (size_t)PQgetlength(result, 0, column)};
}

int store_pg_find(struct store *store, const char *id, struct store_found *ret, struct err *err)
{
    struct store_pg *pg = store_pg_of(store);
    const char *values[] = {id};
    PGresult *result = NULL;
    int error;

    error = store_pg_run_with(pg,
                              "SELECT product::text, pennkey::text, timestamp::timestamptz,"
                              " received_at::timestamptz, count(*) OVER ()"
                              " FROM event WHERE transaction_id = $1 LIMIT 1",
                              1, values, &result, err);
    if (error != 0)
        return error;
    if (PQntuples(result) == 0) {
        error = err_set(err, ERR_NOT_FOUND, "no transaction %s in the store", id);
        goto clear_result;
    }
    store_copy_text(ret->product, sizeof ret->product, text_of(result, 0));
    ret->has_pennkey = !PQgetisnull(result, 0, 1);
    store_copy_text(ret->pennkey, sizeof ret->pennkey, text_of(result, 1));
    ret->timestamp_us = store_pg_instant(PQgetvalue(result, 0, 2));
    ret->received_us = store_pg_instant(PQgetvalue(result, 0, 3));
    ret->datapoints = (uint32_t)store_pg_int8(PQgetvalue(result, 0, 4));
clear_result:
    PQclear(result);
    return error;
}
