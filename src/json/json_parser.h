/*
 * The parser's state, which json_parse.c keeps and json_read.c walks over a text with.
 */
#ifndef JSON_JSON_PARSER_H
#define JSON_JSON_PARSER_H

#include "json/json.h"

#include "json/json_priv.h"

struct json_parser {
    struct json_index *index;
    const char *text;
    size_t len;
    bool has_escapes;        /* there is a backslash in the text */
    const uint32_t *offsets; /* of the tokens, and of the end */
    uint32_t tokens;
    uint32_t at; /* the token that is next */

    struct json_node *tape;
    uint32_t used;
    uint32_t room;

    char *scratch;
    size_t scratch_used;
    size_t scratch_size;

    bool walking;  /* between json_array_begin() and the end of its array */
    bool at_first; /* no element has been taken yet */
    struct err *err;
};

/* The first character of the next token; NUL, which begins no valid one, at the end. */
static inline char json_peek(const struct json_parser *parser)
{
    return parser->at < parser->tokens ? parser->text[parser->offsets[parser->at]] : '\0';
}

/* ERR_INVALID with what is wrong, at a byte of the text; and at the next token. */
int json_fail_at(struct json_parser *parser, size_t offset, const char *why);
int json_fail(struct json_parser *parser, const char *why);

/* json_read.c: reads a value onto the tape; `depth` is that of a container which begins here, 1 for
 * the root. */
MUST_CHECK int json_read_value(struct json_parser *parser, unsigned depth);

#endif
