/*
 * What the commands share: their table's row, flags of their own, where answers come from,
 * and how they are shown.
 */
#ifndef CLI_PRIV_H
#define CLI_PRIV_H

#include "app/app.h"
#include "base/buf.h"
#include "config/config.h"

#include <stdbool.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* What a command is given: the options, and what is left of the words behind its name. */
struct cli {
    struct config config;
    int argc;
    char **argv;
    /* Flags that are a command's own. */
    const char *urn, *ttl, *status, *limit, *after;
    const char *scope, *expires, *key_name;
    struct buf products, origins; /* comma-separated */
    const char *lacking;          /* the flag whose value is missing */
    bool json, markdown, all, now, erase;
};

struct command {
    const char *name;
    const char *words; /* what follows the name in the usage line */
    const char *help;
    int max_words;
    int (*run)(struct cli *cli);
};

/* One line on stderr; return the exit code of the name. */
int cli_failed(const struct err *err);
int cli_usage(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* cli_audit.c: the audit's line on what a command has done by itself, on stderr as the engine
 * would log it: by the user who runs it, to `target`. */
void cli_audit(const char *action, const char *target);

int command_serve(struct cli *cli);
int command_token(struct cli *cli);
int command_status(struct cli *cli);
int command_transactions(struct cli *cli);
int command_key(struct cli *cli);
int command_forward(struct cli *cli);
int command_users(struct cli *cli);
int command_migrate(struct cli *cli);
int command_verify(struct cli *cli);
int command_config(struct cli *cli);

/* cli_source.c: a running engine over HTTP if there is one, else the data directory. */
struct source {
    struct cli *cli;
    bool online;
    bool has_keys; /* `keys` is what is open, not `offline` */
    struct app_offline offline;
    struct app_keys keys;
    char address[128];
    char key[AUTH_KEY_SIZE]; /* the operator's */
};
MUST_CHECK int source_open(struct cli *cli, struct source *ret, struct err *err);
/* For what follows `source_key_` alone. `make`: the directory too, if it is not there. */
MUST_CHECK int source_open_keys(struct cli *cli, bool make, struct source *ret, struct err *err);
void source_close(struct source *source);
MUST_CHECK int source_status(struct source *source, struct buf *out, struct err *err);
MUST_CHECK int source_list(struct source *source, struct buf *out, struct err *err);
MUST_CHECK int source_show(struct source *source, const char *id, struct buf *out, struct err *err);
MUST_CHECK int source_retry(struct source *source, const char *id, struct buf *out,
                            struct err *err);
MUST_CHECK int source_discard(struct source *source, const char *id, struct buf *out,
                              struct err *err);
/* A page of failed ones as lines; `after`: an id, NULL: from the first on. */
MUST_CHECK int source_export(struct source *source, const char *after, unsigned limit,
                             struct buf *out, struct err *err);
/* Sends lines as they are; `out` has the engine's answer. ERR_UNAVAILABLE if no engine runs. */
MUST_CHECK int source_import(struct source *source, struct slice lines, struct buf *out,
                             struct err *err);
MUST_CHECK int source_key_create(struct source *source, struct slice request, struct buf *out,
                                 struct err *err);
MUST_CHECK int source_key_list(struct source *source, struct buf *out, struct err *err);
MUST_CHECK int source_key_revoke(struct source *source, const char *id, struct err *err);
/* ERR_UNAVAILABLE if no engine runs. */
MUST_CHECK int source_forward(struct source *source, struct buf *out, struct err *err);

/* Without an engine the store is opened for it. */
MUST_CHECK int source_forget(struct source *source, const char *pennkey, bool erase,
                             struct buf *out, struct err *err);

/* cli_fetch.c: one request to the engine at `address`. Anything but a 2xx is an error with the
 * answer's `detail` as words. */
struct cli_request {
    const char *method, *path;
    const char *address;     /* "https://" before it: over TLS */
    const char *certificate; /* a PEM file: over TLS it alone is trusted; "": none */
    const char *key;
    struct slice body; /* JSON; at == NULL: none */
    bool lines;        /* the body is a line of JSON each */
};
MUST_CHECK int cli_fetch(const struct cli_request *asked, struct buf *out, struct err *err);

/* cli_transactions.c: calls `each` for every failed transaction behind cli->after, a page at a
 * time: its id and its row, the object at tape[row]. Non-zero from it ends the walk, which returns
 * it. */
struct json_node;
typedef int cli_row(void *arg, const char *id, const struct json_node *tape, uint32_t row,
                    struct err *err);
MUST_CHECK int cli_each_failed(struct cli *cli, struct source *source, cli_row *each, void *arg,
                               struct err *err);

/* cli_export.c: failed transactions to stdout, and ERR_CORRUPT behind them all if some could not be
 * read, of which it has told on stderr; those of the file argv[2] ("-": stdin) to the
 * engine, with how many it took and refused on stdout. */
MUST_CHECK int cli_export(struct cli *cli, struct source *source, struct err *err);
MUST_CHECK int cli_import(struct cli *cli, struct source *source, bool *ret_refused,
                          struct err *err);

/* cli_show.c: JSON for people, to stdout. */
void show_json(const struct buf *json);   /* as it is, and a newline */
void show_fields(const struct buf *json); /* name: value, a line each */
/* The member of the object at tape[object]; NULL if there is none, or it is no object. */
const struct json_node *cli_member(const struct json_node *tape, uint32_t object, const char *name);
/* Appends the text of a member of the object; nothing if there is none. */
void show_member(const struct buf *json, const char *name, struct buf *out);
void show_table(const struct buf *json, const char *list, const char *const *columns);

#endif
