/*
 * Reading JSON (simdjson behind a C header, https://simdjson.org) and writing it.
 *
 * Reading: a parser turns one value at a time into a flat array of nodes in document
 * order ("tape"), every byte of it checked: UTF-8, grammar, escapes, depth. Text is
 * unescaped, numbers stay as written. A parser belongs to one thread; nodes live until its
 * next call or json_parser_close(), their text too, and no longer than the parsed text:
 * what has no escapes is borrowed from there.
 */
#ifndef JSON_JSON_H
#define JSON_JSON_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* Readable bytes that must follow a text that is parsed; their content is of no matter. */
#define JSON_PADDING 64

/* Values nested deeper than this are refused with ERR_INVALID. */
#define JSON_MAX_DEPTH 64

/* The most nodes of one tape (24 MiB of them); more are refused with ERR_INVALID. */
#define JSON_MAX_NODES (1u << 20)

enum json_type {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

/*
 * One value. An array's elements follow it; an object's members follow it as pairs of
 * a JSON_STRING (the name) and a value. `next` is the index just behind the value and
 * all that it holds, so that a reader skips what it does not want.
 */
struct json_node {
    uint8_t type;     /* enum json_type */
    bool has_nul;     /* JSON_STRING: contains U+0000 */
    uint32_t next;    /* index in the tape */
    uint32_t count;   /* elements or members */
    uint32_t len;     /* bytes of text */
    const char *text; /* JSON_STRING: unescaped; JSON_NUMBER, true, false, null: as written */
};

static inline struct slice json_text(const struct json_node *node)
{
    return (struct slice){node->text, node->len};
}

struct json_parser;

struct json_parser *json_parser_open(void);
void json_parser_close(struct json_parser *parser);

/* Gives back memory beyond what texts of `keep` bytes need. Nodes are gone after it. */
void json_parser_shrink(struct json_parser *parser, size_t keep);

/*
 * Parses one whole text (`text.at[text.len .. + JSON_PADDING]` is readable); ret_tape[0]
 * is the root. ERR_INVALID with "invalid JSON at byte 17: why" otherwise: empty text, bad
 * UTF-8, lone surrogates, something behind the value, too deep.
 */
MUST_CHECK int json_parse(struct json_parser *parser, struct slice text,
                          const struct json_node **ret_tape, struct err *err);

/*
 * Walks the elements of a text whose root is an array, with the memory of one element's
 * tape at a time. json_array_begin() says in *ret_is_array whether the root is one (if
 * not, nothing has begun: use json_parse). json_array_next() gives the next element's
 * tape; *ret_tape is NULL after the last, when all of the text has been checked.
 * After ERR_INVALID the walk is over.
 */
MUST_CHECK int json_array_begin(struct json_parser *parser, struct slice text, bool *ret_is_array,
                                struct err *err);
MUST_CHECK int json_array_next(struct json_parser *parser, const struct json_node **ret_tape,
                               struct err *err);

/* Writing: appends to a buf. A string is quoted and escaped, or null if at == NULL; seconds
 * are written from microseconds, with as many digits as they need: 12.5. */
void json_write_string(struct buf *out, struct slice text);
void json_write_int(struct buf *out, int64_t value);
void json_write_uint(struct buf *out, uint64_t value);
void json_write_seconds(struct buf *out, int64_t us);

#endif
