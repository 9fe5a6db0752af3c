/*
 * A PostgreSQL server of the test's own: a fresh cluster in a temporary folder, reached by a
 * Unix socket in that folder, so that any number of tests run side by side. It is started
 * once a program, does not sync its disk, and ends with the program, however that ends.
 *
 * Whatever goes wrong here ends the program with words on stderr: there is nothing to test.
 * One thread only, except test_postgres_run() and test_postgres_ask().
 */
#ifndef SUPPORT_POSTGRES_H
#define SUPPORT_POSTGRES_H

#include <stddef.h>
#include <sys/types.h>

/* Starts the server unless it runs. As root it runs as the user "postgres". */
void test_postgres_start(void);

/* Stops it, cutting its connections, and returns when it is gone. The data stays for the
 * next start. */
void test_postgres_stop(void);

/* The folder of its socket, ".s.PGSQL.5432". */
const char *test_postgres_folder(void);

/* A URL for a role and a database; every role but "locked" gets in without a password, and
 * "postgres" is the superuser. Returns out. */
const char *test_postgres_url(char *out, size_t size, const char *role, const char *database);

/* Makes an empty database of a new name, written to out. It goes with the cluster: dropping
 * one costs more than a checkpoint. */
void test_postgres_create(char *out, size_t size);

/* Runs statements as the superuser on a connection of their own. */
void test_postgres_run(const char *database, const char *sql);

/* The same; returns the single value of the last one, NULL for null; the caller frees it. */
char *test_postgres_ask(const char *database, const char *sql);

/* The child of a fork() says that the server is not its own to stop. */
void test_postgres_disown(void);

#endif
