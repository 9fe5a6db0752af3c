/*
 * Failed transactions out to a file and in again, a line of JSON each.
 *
 * Export goes page by page, from a running engine or from its data directory, so that neither
 * side holds more than a page. Import sends the lines to the running engine as any client would,
 * a chunk at a time. Each line bears an id, so an import that broke off is done again from its
 * beginning: what the engine had taken is not stored twice.
 */
#include "cli/cli_priv.h"

#include "base/mem.h"
#include "json/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAGE_LINES = 1000,
    CHUNK_LINES = 1000,
    CHUNK_BYTES = 4 << 20, /* with more than one line in it */
    MOST_TOLD = 10,        /* what is left out or refused and told one by one */
};

/* The id in the last line of a page. */
static int last_id(const struct buf *page, char ret[TXN_ID_SIZE], struct err *err)
{
    const char *newline = memrchr(page->data, '\n', page->len - 1);
    size_t start = newline != NULL ? (size_t)(newline + 1 - page->data) : 0;
    struct buf line = {0};
    struct buf id = {0};
    int code = 0;

    buf_append(&line, page->data + start, page->len - start);
    show_member(&line, "transaction_id", &id);
    if (id.len == TXN_ID_SIZE - 1)
        snprintf(ret, TXN_ID_SIZE, "%.*s", SLICE_ARG(buf_slice(&id)));
    else
        code = err_set(err, ERR_CORRUPT, "the engine's answer has no transaction_id");
    buf_free(&line);
    buf_free(&id);
    return code;
}

static int export_pages(const struct cli *cli, struct source *source, struct err *err)
{
    char last[TXN_ID_SIZE];
    const char *after = cli->after;

    for (;;) {
        struct buf page = {0};
        int code = source_export(source, after, PAGE_LINES, &page, err);
        bool ended = code == 0 && page.len == 0;

        if (code == 0 && !ended &&
            (fwrite(page.data, 1, page.len, stdout) != page.len || fflush(stdout) != 0))
            code = err_system(err, errno, "write to stdout");
        if (code == 0 && !ended)
            code = last_id(&page, last, err);
        buf_free(&page);
        if (code != 0 || ended)
            return code;
        after = last;
    }
}

/* A row that nobody could read the record of has no time of arrival. */
static int tell_unreadable(void *arg, const char *id, const struct json_node *tape, uint32_t row,
                           struct err *err)
{
    const struct json_node *received = cli_member(tape, row, "received_at");
    const struct json_node *why = cli_member(tape, row, "error");
    unsigned *count = arg;

    (void)err;
    if (received != NULL && received->type == JSON_NULL && (*count)++ < MOST_TOLD)
        fprintf(stderr, "labs-analytics: %s: %.*s\n", id,
                SLICE_ARG(why != NULL ? json_text(why) : SLICE("cannot be read")));
    return 0;
}

/* The lines do not say what is not among them, so the list is asked. */
int cli_export(struct cli *cli, struct source *source, struct err *err)
{
    unsigned unreadable = 0;
    int code = export_pages(cli, source, err);

    if (code == 0)
        code = cli_each_failed(cli, source, tell_unreadable, &unreadable, err);
    if (code == 0 && unreadable > 0)
        code = err_set(err, ERR_CORRUPT,
                       "failed transactions that cannot be read and were left out: %u", unreadable);
    return code;
}

struct import {
    struct source *source;
    size_t chunk_bytes;
    struct buf chunk;
    uint64_t numbers[CHUNK_LINES]; /* of the chunk's lines in the file */
    unsigned lines;
    uint64_t accepted, rejected;
};

static void tell_line(uint64_t number, struct slice words)
{
    fprintf(stderr, "labs-analytics: line %" PRIu64 ": %.*s\n", number, SLICE_ARG(words));
}

/* The field of the line that an error's `loc` leads to, as in data[0].key, and ": " behind it;
 * nothing if it is all of the line. */
static void append_field(const struct json_node *tape, const struct json_node *loc, struct buf *out)
{
    uint32_t at = (uint32_t)(loc - tape) + 1;

    for (uint32_t i = 0; i < loc->count; i++, at = tape[at].next) {
        if (i < 2) /* "body" and the number in the chunk */
            continue;
        if (tape[at].type == JSON_STRING)
            buf_printf(out, "%s%.*s", out->len > 0 ? "." : "", SLICE_ARG(json_text(&tape[at])));
        else
            buf_printf(out, "[%.*s]", SLICE_ARG(json_text(&tape[at])));
    }
    if (out->len > 0)
        buf_append_text(out, ": ");
}

/* Tells of the lines that were refused, the first few of all. */
static void tell_refused(const struct import *import, const struct json_node *tape,
                         const struct json_node *results)
{
    uint64_t told = import->rejected;
    uint32_t at = (uint32_t)(results - tape) + 1;

    for (uint32_t i = 0; i < results->count && i < import->lines; i++, at = tape[at].next) {
        const struct json_node *error = cli_member(tape, at, "error");
        const struct json_node *loc, *words;
        struct buf line = {0};

        if (error == NULL || told++ >= MOST_TOLD)
            continue;
        loc = cli_member(tape, (uint32_t)(error - tape), "loc");
        words = cli_member(tape, (uint32_t)(error - tape), "msg");
        if (loc != NULL && loc->type == JSON_ARRAY)
            append_field(tape, loc, &line);
        buf_append_slice(&line, words != NULL ? json_text(words) : SLICE("is refused"));
        tell_line(import->numbers[i], buf_slice(&line));
        buf_free(&line);
    }
}

static int count_answer(struct import *import, struct buf *answer, struct err *err)
{
    struct json_parser *parser = json_parser_open();
    const struct json_node *tape, *results = NULL;
    uint32_t refused = 0;
    int code;

    buf_reserve(answer, JSON_PADDING);
    code = json_parse(parser, buf_slice(answer), &tape, err);
    if (code == 0 && tape[0].type == JSON_OBJECT)
        results = cli_member(tape, 0, "results");
    if (results != NULL && results->type == JSON_ARRAY && results->count == import->lines) {
        uint32_t at = (uint32_t)(results - tape) + 1;

        for (uint32_t i = 0; i < results->count; i++, at = tape[at].next)
            refused += cli_member(tape, at, "error") != NULL;
        tell_refused(import, tape, results);
        import->rejected += refused;
        import->accepted += results->count - refused;
    } else if (code == 0) {
        code = err_set(err, ERR_CORRUPT, "the engine's answer is not to this request");
    }
    json_parser_close(parser);
    return code;
}

/* A line that is larger than a body may be would be so again each time. */
static int reject_line(struct import *import, const struct err *err)
{
    if (import->rejected++ < MOST_TOLD)
        tell_line(import->numbers[0], slice_of(err->text));
    return 0;
}

static int send_chunk(struct import *import, struct err *err)
{
    struct buf answer = {0};
    int code;

    if (import->lines == 0)
        return 0;
    code = source_import(import->source, buf_slice(&import->chunk), &answer, err);
    if (code == 0)
        code = count_answer(import, &answer, err);
    else if (code == ERR_TOO_LARGE && import->lines == 1)
        code = reject_line(import, err);
    buf_free(&answer);
    buf_reset(&import->chunk, 2 * CHUNK_BYTES);
    import->lines = 0;
    return code;
}

static int take_line(struct import *import, uint64_t number, struct slice line, struct err *err)
{
    int code = 0;

    if (import->lines == CHUNK_LINES || import->chunk.len + line.len + 1 > import->chunk_bytes)
        code = send_chunk(import, err);
    if (code != 0)
        return code;
    buf_append_slice(&import->chunk, line);
    buf_append_char(&import->chunk, '\n');
    import->numbers[import->lines++] = number;
    return 0;
}

static int send_file(struct import *import, FILE *file, struct err *err)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    int code = 0;

    for (uint64_t number = 1; code == 0 && (len = getline(&line, &room, file)) >= 0; number++) {
        while (len > 0 && strchr(" \t\r\n", line[len - 1]) != NULL && line[len - 1] != '\0')
            len--;
        if (len > 0)
            code = take_line(import, number, (struct slice){line, (size_t)len}, err);
    }
    if (code == 0 && ferror(file) != 0)
        code = err_system(err, errno, "read");
    if (code == 0)
        code = send_chunk(import, err);
    free(line);
    return code;
}

int cli_import(struct cli *cli, struct source *source, bool *ret_refused, struct err *err)
{
    bool is_stdin = strcmp(cli->argv[2], "-") == 0;
    uint64_t max_body = cli->config.max_body_bytes;
    struct import *import;
    FILE *file = is_stdin ? stdin : fopen(cli->argv[2], "re");
    int code;

    if (file == NULL)
        return err_system(err, errno, "open %s", cli->argv[2]);
    import = mem_zalloc(sizeof *import);
    import->source = source;
    import->chunk_bytes = max_body < CHUNK_BYTES ? (size_t)max_body : CHUNK_BYTES;
    code = send_file(import, file, err);
    printf("%" PRIu64 " accepted, %" PRIu64 " rejected\n", import->accepted, import->rejected);
    if (code == 0)
        *ret_refused = import->rejected > 0;
    else
        err_wrap(err, "not all was sent, and all may be sent again");
    buf_free(&import->chunk);
    free(import);
    if (!is_stdin)
        fclose(file);
    return code;
}
