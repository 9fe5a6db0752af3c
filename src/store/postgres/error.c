/*
 * From SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html) to a code
 * and one line of words.
 *
 * A server quotes what it refuses, in the detail even the row; each part is therefore one
 * line of at most 200 bytes. Passwords are in none of them: the server never has one to quote, and
 * libpq's own words name host, user and database only (connect.c sees to it that no part of a
 * password was taken for one of these).
 */
#include "store/postgres/postgres_priv.h"

/* Beside data exceptions and violated constraints: a limit of the server's, as of a row in an
 * index, and what functions in PL/pgSQL raise, as those of triggers do to say no. */
static const char *const of_content[] = {"22", "23", "54", "P0"};

/* A row's id is the server's: its sequence has come to an end, or stands where rows are already,
 * as after rows with ids of their own were put in, or in a copy by logical replication. */
static bool is_of_id(const PGresult *result, const char *sqlstate)
{
    const char *constraint = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);

    return strcmp(sqlstate, "2200H") == 0 ||
           (constraint != NULL && strcmp(constraint, "event_pkey") == 0);
}

static int code_of(const PGresult *result, const char *sqlstate)
{
    if (is_of_id(result, sqlstate))
        return ERR_UNAVAILABLE;
    for (size_t i = 0; i < sizeof of_content / sizeof *of_content; i++) {
        if (strncmp(sqlstate, of_content[i], 2) == 0)
            return ERR_REFUSED;
    }
    return ERR_UNAVAILABLE;
}

int store_pg_refusal(const PGresult *result, struct err *err)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    char message_line[STORE_LINE_SIZE];
    char detail_line[STORE_LINE_SIZE];

    if (sqlstate == NULL || message == NULL) /* libpq's own, about the connection */
        return err_set(err, ERR_UNAVAILABLE, "%s",
                       store_one_line(message_line, PQresultErrorMessage(result)));
    store_one_line(message_line, message);
    if (detail == NULL)
        return err_set(err, code_of(result, sqlstate), "%s (SQLSTATE %s)", message_line, sqlstate);
    return err_set(err, code_of(result, sqlstate), "%s (SQLSTATE %s): %s", message_line, sqlstate,
                   store_one_line(detail_line, detail));
}

int store_pg_lost(const PGconn *connection, const char *doing, struct err *err)
{
    char line[STORE_LINE_SIZE];

    return err_set(err, ERR_UNAVAILABLE, "%s: %s", doing,
                   store_one_line(line, PQerrorMessage(connection)));
}
