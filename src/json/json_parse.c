/*
 * One text after the other: its index, its tape, and what is wrong with it. How a value is read
 * is in json_read.c.
 */
#include "json/json_parser.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct json_parser *json_parser_open(void)
{
    struct json_parser *parser = mem_zalloc(sizeof *parser);

    parser->index = json_index_open();
    return parser;
}

void json_parser_close(struct json_parser *parser)
{
    if (parser == NULL)
        return;
    json_index_close(parser->index);
    free(parser->scratch);
    free(parser->tape);
    free(parser);
}

void json_parser_shrink(struct json_parser *parser, size_t keep)
{
    json_index_shrink(parser->index, keep);
    if (parser->room > keep / 8 + 1024) { /* a value and its share of names: 8 bytes or more */
        free(parser->tape);
        parser->tape = NULL;
        parser->room = 0;
    }
    if (parser->scratch_size > keep) {
        free(parser->scratch);
        parser->scratch = NULL;
        parser->scratch_size = 0;
    }
    parser->walking = false;
}

int json_fail_at(struct json_parser *parser, size_t offset, const char *why)
{
    parser->walking = false;
    err_set(parser->err, ERR_INVALID, "invalid JSON at byte %zu: %s", offset, why);
    return ERR_INVALID;
}

static size_t token_start(const struct json_parser *parser)
{
    return parser->at < parser->tokens ? parser->offsets[parser->at] : parser->len;
}

int json_fail(struct json_parser *parser, const char *why)
{
    if (parser->at >= parser->tokens)
        why = "the text ends too early";
    return json_fail_at(parser, token_start(parser), why);
}

static int begin(struct json_parser *parser, struct slice text, struct err *err)
{
    enum json_index_result result = JSON_INDEX_OTHER;
    const char *why = "not readable";
    size_t offset;

    parser->walking = false;
    parser->err = err;
    if (text.len < UINT32_MAX - JSON_PADDING)
        result =
            json_index_build(parser->index, text.at, text.len, &parser->offsets, &parser->tokens);
    if (result == JSON_INDEX_EMPTY)
        why = "the text is empty";
    if (result != JSON_INDEX_OK) {
        const char *found = json_find_fault(result, text.at, text.len, &offset);

        if (found != NULL)
            return json_fail_at(parser, offset, found);
        return err_set(err, ERR_INVALID, "invalid JSON: %s", why);
    }
    parser->text = text.at;
    parser->len = text.len;
    parser->has_escapes = memchr(text.at, '\\', text.len) != NULL;
    parser->at = 0;
    parser->used = 0;
    parser->scratch_used = 0;
    return 0;
}

static int check_end(struct json_parser *parser)
{
    if (parser->at < parser->tokens)
        return json_fail(parser, "something follows the value");
    return 0;
}

int json_parse(struct json_parser *parser, struct slice text, const struct json_node **ret_tape,
               struct err *err)
{
    int rc = begin(parser, text, err);

    if (rc == 0)
        rc = json_read_value(parser, 1);
    if (rc == 0)
        rc = check_end(parser);
    if (rc == 0)
        *ret_tape = parser->tape;
    return rc;
}

int json_array_begin(struct json_parser *parser, struct slice text, bool *ret_is_array,
                     struct err *err)
{
    size_t blank = 0;
    int rc;

    while (blank < text.len && memchr(" \t\r\n", text.at[blank], 4) != NULL)
        blank++;
    if (blank == text.len || text.at[blank] != '[') {
        parser->walking = false;
        *ret_is_array = false;
        return 0;
    }
    rc = begin(parser, text, err);
    if (rc < 0)
        return rc;
    parser->at = 1;
    parser->walking = true;
    parser->at_first = true;
    *ret_is_array = true;
    return 0;
}

int json_array_next(struct json_parser *parser, const struct json_node **ret_tape, struct err *err)
{
    int rc;

    parser->err = err;
    if (!parser->walking)
        return err_set(err, ERR_INVALID, "no array is being walked");
    parser->used = 0;
    parser->scratch_used = 0;
    if (json_peek(parser) == ']') {
        parser->at += 1;
        rc = check_end(parser);
        parser->walking = false;
        if (rc == 0)
            *ret_tape = NULL;
        return rc;
    }
    if (!parser->at_first) {
        if (json_peek(parser) != ',')
            return json_fail(parser, "expected ',' or ']'");
        parser->at += 1;
    }
    parser->at_first = false;
    rc = json_read_value(parser, 2);
    if (rc == 0)
        *ret_tape = parser->tape;
    return rc;
}
