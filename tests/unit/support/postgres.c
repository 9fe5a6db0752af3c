/*
 * initdb once, then the server as a child process that gets a signal when its parent dies.
 */
#include "support/postgres.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <grp.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { START_MS = 60000, LOOK_MS = 20 };

static struct {
    char folder[64];
    char programs[256]; /* folder of initdb and postgres */
    char *log;          /* path of what both have printed */
    char *data;
    pid_t server; /* 0: does not run */
    atomic_uint databases;
} here;

static _Noreturn void give_up(const char *what, const char *words)
{
    fprintf(stderr, "PostgreSQL for the tests: %s: %s\n", what, words);
    exit(1);
}

static char *path_in(const char *folder, const char *name)
{
    char *path;

    if (asprintf(&path, "%s/%s", folder, name) < 0)
        give_up("asprintf", "out of memory");
    return path;
}

/* The newest version of Debian's packages, else what the PATH has. */
static void find_programs(void)
{
    glob_t found;
    int newest = 0;

    here.programs[0] = '\0';
    if (glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        int version = atoi(found.gl_pathv[i] + strlen("/usr/lib/postgresql/"));

        if (version > newest) {
            newest = version;
            snprintf(here.programs, sizeof here.programs, "/usr/lib/postgresql/%d/bin/", version);
        }
    }
    globfree(&found);
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about;
    (void)kind;
    (void)where;
    return remove(path);
}

/* The server refuses to run as root. */
static void leave_root(void)
{
    const struct passwd *user;

    if (geteuid() != 0)
        return;
    user = getpwnam("postgres");
    if (user == NULL || initgroups(user->pw_name, user->pw_gid) != 0 || setgid(user->pw_gid) != 0 ||
        setuid(user->pw_uid) != 0)
        _exit(126);
}

/* Runs a program as the server's user, with its output in the log. */
static pid_t start(const char *program, const char *arguments[])
{
    char path[320];
    pid_t parent = getpid();
    pid_t child;
    int log;

    snprintf(path, sizeof path, "%s%s", here.programs, program);
    child = fork();
    if (child < 0)
        give_up("fork", strerror(errno));
    if (child > 0) {
        return child;
    }
    leave_root();
    prctl(PR_SET_PDEATHSIG, SIGQUIT);
    log = open(here.log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (getppid() != parent || chdir(here.folder) != 0 || log < 0 || dup2(log, 1) < 0 ||
        dup2(log, 2) < 0)
        _exit(125);
    close_range(3, ~0U, 0);
    arguments[0] = path; /* initdb looks for postgres beside itself */
    execvp(path, (char *const *)arguments);
    _exit(127);
}

static _Noreturn void show_log(const char *what)
{
    char line[512];
    FILE *log = fopen(here.log, "r");

    while (log != NULL && fgets(line, sizeof line, log) != NULL)
        fputs(line, stderr);
    if (log != NULL)
        fclose(log);
    give_up(what, "see above (is the package postgresql installed?)");
}

static void make_cluster(void)
{
    const char *arguments[] = {"initdb", "-D",          here.data, "-U",    "postgres",  "-E",
                               "UTF8",   "--no-locale", "-A",      "trust", "--no-sync", NULL};
    char *rules = path_in(here.data, "pg_hba.conf");
    FILE *file;
    int status;
    pid_t child = start("initdb", arguments);

    if (waitpid(child, &status, 0) != child || status != 0)
        show_log("initdb");
    file = fopen(rules, "w");
    if (file == NULL || fputs("local all locked scram-sha-256\nlocal all all trust\n", file) < 0 ||
        fclose(file) != 0)
        give_up(rules, strerror(errno));
    free(rules);
}

static void make_folder(void)
{
    const struct passwd *user = geteuid() == 0 ? getpwnam("postgres") : NULL;

    find_programs();
    strcpy(here.folder, "/tmp/labs-postgres-XXXXXX");
    if (mkdtemp(here.folder) == NULL)
        give_up(here.folder, strerror(errno));
    if (user != NULL && chown(here.folder, user->pw_uid, user->pw_gid) != 0)
        give_up(here.folder, strerror(errno));
    here.log = path_in(here.folder, "log");
    here.data = path_in(here.folder, "data");
}

static void at_exit(void)
{
    if (here.folder[0] == '\0')
        return;
    test_postgres_stop();
    nftw(here.folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(here.log);
    free(here.data);
    here.folder[0] = '\0';
}

static void await_answer(void)
{
    char url[256];

    test_postgres_url(url, sizeof url, "postgres", "postgres");
    for (int waited = 0; PQping(url) != PQPING_OK; waited += LOOK_MS) {
        if (waitpid(here.server, NULL, WNOHANG) != 0 || waited > START_MS) {
            here.server = 0;
            show_log("start");
        }
        poll(NULL, 0, LOOK_MS);
    }
}

void test_postgres_start(void)
{
    const char *arguments[] = {"postgres",          "-D", NULL,        "-k", here.folder, "-c",
                               "listen_addresses=", "-c", "fsync=off", NULL};

    if (here.server != 0)
        return;
    if (here.folder[0] == '\0') {
        make_folder();
        atexit(at_exit);
        make_cluster();
    }
    arguments[2] = here.data;
    here.server = start("postgres", arguments);
    await_answer();
}

void test_postgres_stop(void)
{
    if (here.server == 0)
        return;
    kill(here.server, SIGINT);
    while (waitpid(here.server, NULL, 0) < 0 && errno == EINTR)
        continue;
    here.server = 0;
}

void test_postgres_disown(void)
{
    here.server = 0;
    here.folder[0] = '\0';
}

const char *test_postgres_folder(void)
{
    return here.folder;
}

const char *test_postgres_url(char *out, size_t size, const char *role, const char *database)
{
    snprintf(out, size, "postgres://%s@/%s?host=%s", role, database, here.folder);
    return out;
}

void test_postgres_create(char *out, size_t size)
{
    char sql[128];

    test_postgres_start();
    snprintf(out, size, "test%u", atomic_fetch_add(&here.databases, 1));
    snprintf(sql, sizeof sql, "CREATE DATABASE %s", out);
    test_postgres_run("postgres", sql);
}

char *test_postgres_ask(const char *database, const char *sql)
{
    char url[256];
    char *value = NULL;
    PGconn *connection = PQconnectdb(test_postgres_url(url, sizeof url, "postgres", database));
    PGresult *result = PQexec(connection, sql);
    ExecStatusType status = PQresultStatus(result);

    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
        give_up(sql, PQerrorMessage(connection));
    if (PQntuples(result) > 0 && !PQgetisnull(result, 0, 0))
        value = strdup(PQgetvalue(result, 0, 0));
    PQclear(result);
    PQfinish(connection);
    return value;
}

void test_postgres_run(const char *database, const char *sql)
{
    free(test_postgres_ask(database, sql));
}
