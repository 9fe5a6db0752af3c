/*
 * Users from the shell: forget.
 */
#include "cli/cli_priv.h"

#include "txn/txn.h"
#include "json/json.h"

#include <stdio.h>
#include <string.h>

/* The value of a member, or NULL. */
static const struct json_node *member(const struct json_node *tape, const char *name)
{
    uint32_t at = 1;

    for (uint32_t i = 0; i < tape[0].count; i++) {
        if (slice_is(json_text(&tape[at]), name))
            return &tape[at + 1];
        at = tape[at + 1].next;
    }
    return NULL;
}

static void show_text(const struct json_node *tape)
{
    const struct json_node *store = member(tape, "store");
    const struct json_node *queue = member(tape, "queue");
    const struct json_node *failed = member(tape, "failed");
    const struct json_node *pending = member(tape, "pending");

    if (store == NULL || queue == NULL || failed == NULL || pending == NULL)
        return;
    if (store->type == JSON_NULL)
        printf("store: not yet");
    else
        printf("store: %.*s rows", SLICE_ARG(json_text(store)));
    printf(", queue: %.*s transactions, failed: %.*s\n", SLICE_ARG(json_text(queue)),
           SLICE_ARG(json_text(failed)));
    if (pending->type == JSON_TRUE)
        puts("pending: the order is recorded, and the engine completes it once the store has what "
             "was queued");
}

static void show(const struct buf *json)
{
    struct json_parser *parser = json_parser_open();
    const struct json_node *tape;
    struct buf padded = {0};

    buf_append_slice(&padded, buf_slice(json));
    buf_reserve(&padded, JSON_PADDING);
    if (json_parse(parser, buf_slice(&padded), &tape, NULL) == 0 && tape[0].type == JSON_OBJECT)
        show_text(tape);
    else
        show_json(json);
    buf_free(&padded);
    json_parser_close(parser);
}

int command_users(struct cli *cli)
{
    const char *verb = cli->argc > 1 ? cli->argv[1] : "";
    struct source source;
    struct buf json = {0};
    struct err err;
    int code;

    if (strcmp(verb, "forget") != 0)
        return cli_usage("users: say forget");
    if (cli->argc != 3)
        return cli_usage("users forget: say whom, by the pennkey");
    if (cli->argv[2][0] == '\0' || strlen(cli->argv[2]) > TXN_MAX_PENNKEY)
        return cli_usage("users forget: a pennkey has 1 to %d bytes", TXN_MAX_PENNKEY);
    if (source_open(cli, &source, &err) != 0)
        return cli_failed(&err);
    code = source_forget(&source, cli->argv[2], cli->erase, &json, &err);
    if (code == 0 && cli->json)
        show_json(&json);
    else if (code == 0)
        show(&json);
    buf_free(&json);
    source_close(&source);
    return code == 0 ? EXIT_DONE : cli_failed(&err);
}
