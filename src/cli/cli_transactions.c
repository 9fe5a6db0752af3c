/*
 * The transaction log from the shell: list, show, retry, discard, export, import.
 */
#include "cli/cli_priv.h"

#include "base/mem.h"
#include "json/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int action(struct source *source, const char *id, struct buf *out, struct err *err);

static int list(struct cli *cli, struct source *source, struct buf *out, struct err *err)
{
    static const char *const columns[] = {"id",         "status",   "product", "received_at",
                                          "datapoints", "attempts", "error",   NULL};
    int code = source_list(source, out, err);

    if (code == 0 && cli->json)
        show_json(out);
    else if (code == 0)
        show_table(out, "transactions", columns);
    return code;
}

static int one(struct cli *cli, struct source *source, action *act, struct buf *out,
               struct err *err)
{
    int code = act(source, cli->argv[2], out, err);

    if (code == 0 && cli->json)
        show_json(out);
    else if (code == 0)
        show_fields(out);
    return code;
}

/* The rows of one page; `last` becomes the id of its last one, "" if there is none. */
static int each_of_page(const struct buf *page, cli_row *each, void *arg, char last[TXN_ID_SIZE],
                        struct err *err)
{
    struct json_parser *parser = json_parser_open();
    const struct json_node *tape, *rows = NULL;
    int code = json_parse(parser, buf_slice(page), &tape, err);

    last[0] = '\0';
    if (code == 0)
        rows = cli_member(tape, 0, "transactions");
    if (rows != NULL && rows->type == JSON_ARRAY) {
        uint32_t row = (uint32_t)(rows - tape) + 1;

        for (uint32_t n = 0; code == 0 && n < rows->count; n++, row = tape[row].next) {
            const struct json_node *id = cli_member(tape, row, "id");

            if (id == NULL || id->type != JSON_STRING)
                continue;
            snprintf(last, TXN_ID_SIZE, "%.*s", SLICE_ARG(json_text(id)));
            code = each(arg, last, tape, row, err);
        }
    }
    json_parser_close(parser);
    return code;
}

int cli_each_failed(struct cli *cli, struct source *source, cli_row *each, void *arg,
                    struct err *err)
{
    char last[TXN_ID_SIZE];

    cli->status = "failed";
    cli->limit = "1000";
    for (;;) {
        struct buf page = {0};
        int code = source_list(source, &page, err);

        buf_reserve(&page, JSON_PADDING);
        if (code == 0)
            code = each_of_page(&page, each, arg, last, err);
        buf_free(&page);
        cli->after = code == 0 && last[0] != '\0' ? last : NULL;
        if (cli->after == NULL)
            return code;
    }
}

struct retrying {
    struct source *source;
    unsigned marked;
};

/* That one has been discarded, or stored, since it was listed is no fault: then there is nothing
 * to try again. */
static int retry_row(void *arg, const char *id, const struct json_node *tape, uint32_t row,
                     struct err *err)
{
    struct retrying *retrying = arg;
    struct buf out = {0};
    int code = source_retry(retrying->source, id, &out, err);

    (void)tape, (void)row;
    retrying->marked += code == 0;
    buf_free(&out);
    return code == ERR_NOT_FOUND || code == ERR_CONFLICT ? 0 : code;
}

/* Every failed transaction once: those that fail again meanwhile lie behind. */
static int retry_all(struct cli *cli, struct source *source, struct err *err)
{
    struct retrying retrying = {.source = source};
    int code;

    cli->after = NULL;
    code = cli_each_failed(cli, source, retry_row, &retrying, err);
    if (code == 0)
        printf("%u marked for another try\n", retrying.marked);
    return code;
}

static int act(struct cli *cli, struct source *source, struct buf *out, struct err *err)
{
    const char *verb = cli->argv[1];

    if (strcmp(verb, "list") == 0)
        return list(cli, source, out, err);
    if (strcmp(verb, "retry") == 0)
        return cli->all ? retry_all(cli, source, err) : one(cli, source, source_retry, out, err);
    return one(cli, source, strcmp(verb, "show") == 0 ? source_show : source_discard, out, err);
}

static int check_words(const struct cli *cli)
{
    const char *verb = cli->argc > 1 ? cli->argv[1] : "";
    char node[TXN_NODE_SIZE];
    enum api_list which;
    uint64_t position;
    bool imports = strcmp(verb, "import") == 0;
    bool needs_id = strcmp(verb, "show") == 0 || strcmp(verb, "discard") == 0 ||
                    (strcmp(verb, "retry") == 0 && !cli->all);

    if (strcmp(verb, "list") != 0 && strcmp(verb, "retry") != 0 && strcmp(verb, "export") != 0 &&
        !imports && !needs_id)
        return cli_usage("transactions: say list, show, retry, discard, export or import");
    if (imports && cli->argc != 3)
        return cli_usage("transactions import: say from which file; - is stdin");
    if (needs_id && cli->argc != 3)
        return cli_usage("transactions %s: say which, by its id", verb);
    if (!needs_id && !imports && cli->argc != 2)
        return cli_usage("transactions %s: takes no id", verb);
    if (cli->status != NULL && !api_list_by_name(cli->status, &which))
        return cli_usage("transactions: --status must be uncompleted, successful or failed");
    if (cli->limit != NULL &&
        (strspn(cli->limit, "0123456789") != strlen(cli->limit) || strlen(cli->limit) > 4 ||
         atoi(cli->limit) < 1 || atoi(cli->limit) > 1000))
        return cli_usage("transactions: --limit must be a number from 1 to 1000");
    if (cli->after != NULL && !txn_id_parse(slice_of(cli->after), node, &position))
        return cli_usage("transactions: --after must be the id of a transaction");
    return 0;
}

int command_transactions(struct cli *cli)
{
    struct source source;
    struct buf out = {0};
    bool refused = false;
    struct err err;
    int code = check_words(cli);

    if (code != 0)
        return code;
    if (source_open(cli, &source, &err) != 0)
        return cli_failed(&err);
    if (strcmp(cli->argv[1], "export") == 0)
        code = cli_export(cli, &source, &err);
    else if (strcmp(cli->argv[1], "import") == 0)
        code = cli_import(cli, &source, &refused, &err);
    else
        code = act(cli, &source, &out, &err);
    buf_free(&out);
    source_close(&source);
    if (code != 0)
        return cli_failed(&err);
    return refused ? EXIT_FAILED : EXIT_DONE;
}
