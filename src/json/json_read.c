/*
 * A text becomes a tape: the walk over the tokens that json_index.cc has found.
 *
 * Every token is looked at, and between tokens there is only white space, so nothing of the
 * text goes unchecked. A token reaches to where the next one begins; what follows a string's
 * last quote or a number's last digit there is white space, or else it is wrong. Text
 * without escapes stays where it is; other text is unescaped into `scratch`, which is as
 * long as the whole text because unescaping never makes it longer.
 */
#include "json/json_parser.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* The next token without the white space behind it. Takes it. */
static inline struct slice take_token(struct json_parser *parser)
{
    const char *start = parser->text + parser->offsets[parser->at++];
    const char *end = parser->text + parser->offsets[parser->at];

    while (end[-1] == ' ' || end[-1] == '\n' || end[-1] == '\r' || end[-1] == '\t')
        end--;
    return (struct slice){start, (size_t)(end - start)};
}

static int grow_tape(struct json_parser *parser)
{
    if (parser->room == JSON_MAX_NODES)
        return json_fail(parser, "more values than a text may hold");
    parser->room = parser->room == 0 ? 256 : parser->room * 2;
    parser->tape = mem_realloc(parser->tape, parser->room * sizeof *parser->tape);
    return 0;
}

static int add_node(struct json_parser *parser, uint8_t type, struct slice text, bool has_nul)
{
    uint32_t self = parser->used;
    int rc = self == parser->room ? grow_tape(parser) : 0;

    if (rc < 0)
        return rc;
    parser->tape[self] = (struct json_node){.type = type,
                                            .has_nul = has_nul,
                                            .next = self + 1,
                                            .len = (uint32_t)text.len,
                                            .text = text.at};
    parser->used = self + 1;
    return 0;
}

static int read_escaped(struct json_parser *parser, struct slice inside)
{
    const char *wrong;
    size_t len, offset;
    bool has_nul;
    char *out;

    if (parser->scratch_size < parser->len) {
        free(parser->scratch);
        parser->scratch = mem_alloc(parser->len);
        parser->scratch_size = parser->len;
    }
    out = parser->scratch + parser->scratch_used;
    wrong = json_unescape(inside.at, inside.len, out, &len, &has_nul, &offset);
    if (wrong != NULL)
        return json_fail_at(parser, (size_t)(inside.at - parser->text) + offset, wrong);
    parser->scratch_used += len;
    return add_node(parser, JSON_STRING, (struct slice){out, len}, has_nul);
}

static int read_string(struct json_parser *parser)
{
    struct slice token = take_token(parser);
    struct slice inside = {token.at + 1, token.len - 2};

    if (token.len < 2 || token.at[token.len - 1] != '"')
        return json_fail_at(parser, (size_t)(token.at - parser->text), "this string has no end");
    if (parser->has_escapes && memchr(inside.at, '\\', inside.len) != NULL)
        return read_escaped(parser, inside);
    return add_node(parser, JSON_STRING, inside, false);
}

static size_t count_digits(const char *at, const char *end)
{
    const char *start = at;

    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return (size_t)(at - start);
}

/* RFC 8259, section 6: -? (0 | [1-9][0-9]*) (.[0-9]+)? ([eE][+-]?[0-9]+)? */
static bool is_number(struct slice token)
{
    const char *at = token.at;
    const char *end = at + token.len;
    size_t digits;

    at += *at == '-';
    digits = count_digits(at, end);
    if (digits == 0 || (digits > 1 && *at == '0'))
        return false;
    at += digits;
    if (at < end && *at == '.') {
        digits = count_digits(++at, end);
        if (digits == 0)
            return false;
        at += digits;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        at += at < end && (*at == '+' || *at == '-');
        digits = count_digits(at, end);
        if (digits == 0)
            return false;
        at += digits;
    }
    return at == end;
}

static int read_number(struct json_parser *parser)
{
    struct slice token = take_token(parser);

    if (!is_number(token))
        return json_fail_at(parser, (size_t)(token.at - parser->text), "this is no number");
    return add_node(parser, JSON_NUMBER, token, false);
}

static int read_word(struct json_parser *parser, const char *word, uint8_t type)
{
    struct slice token = take_token(parser);

    if (!slice_is(token, word))
        return json_fail_at(parser, (size_t)(token.at - parser->text), "expected a value");
    return add_node(parser, type, token, false);
}

static int read_bare(struct json_parser *parser)
{
    switch (json_peek(parser)) {
    case 't':
        return read_word(parser, "true", JSON_TRUE);
    case 'f':
        return read_word(parser, "false", JSON_FALSE);
    case 'n':
        return read_word(parser, "null", JSON_NULL);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        return read_number(parser);
    default:
        return json_fail(parser, "expected a value");
    }
}

/* What takes the address of a walk: called, it would keep all of it in memory. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

/*
 * Where the walk is, in variables of its own: as far as a compiler knows, each node that is written
 * could be the parser. What is rare has the parser do it, between walk_leave() and walk_resume().
 */
struct walk {
    const char *text;
    const uint32_t *offsets;
    uint32_t tokens;
    uint32_t at;
    struct json_node *tape;
    uint32_t used;
    uint32_t room;
    bool has_escapes;
};

static inline struct walk walk_resume(const struct json_parser *parser)
{
    return (struct walk){
        .text = parser->text,
        .offsets = parser->offsets,
        .tokens = parser->tokens,
        .at = parser->at,
        .tape = parser->tape,
        .used = parser->used,
        .room = parser->room,
        .has_escapes = parser->has_escapes,
    };
}

static inline void walk_leave(const struct walk *walk, struct json_parser *parser)
{
    parser->at = walk->at;
    parser->used = walk->used;
}

static inline char walk_peek(const struct walk *walk)
{
    return walk->at < walk->tokens ? walk->text[walk->offsets[walk->at]] : '\0';
}

/* A step that the parser does itself. */
static ALWAYS_INLINE int walk_by(struct walk *walk, struct json_parser *parser,
                                 int (*step)(struct json_parser *parser))
{
    int rc;

    walk_leave(walk, parser);
    rc = step(parser);
    *walk = walk_resume(parser);
    return rc;
}

/* Nearly every string ends where the next token begins, and has no escapes. */
static ALWAYS_INLINE int walk_string(struct walk *walk, struct json_parser *parser)
{
    const char *start = walk->text + walk->offsets[walk->at];
    const char *last = walk->text + walk->offsets[walk->at + 1] - 1;

    if (*last != '"' || last == start || walk->used == walk->room ||
        (walk->has_escapes && memchr(start, '\\', (size_t)(last - start)) != NULL))
        return walk_by(walk, parser, read_string);
    walk->tape[walk->used] = (struct json_node){.type = JSON_STRING,
                                                .next = walk->used + 1,
                                                .len = (uint32_t)(last - start - 1),
                                                .text = start + 1};
    walk->used++;
    walk->at++;
    return 0;
}

static int walk_fail(const struct walk *walk, struct json_parser *parser, const char *why)
{
    walk_leave(walk, parser);
    return json_fail(parser, why);
}

/* A container that has not ended yet. */
struct open {
    uint32_t node;
    uint32_t count; /* elements or members so far */
    bool object;
};

/* A container begins, within `open`, which goes to `outer` meanwhile. */
static ALWAYS_INLINE int walk_open(struct walk *walk, struct json_parser *parser, unsigned depth,
                                   bool object, struct open *outer, struct open *open)
{
    if (depth > JSON_MAX_DEPTH)
        return walk_fail(walk, parser, "nested too deeply");
    *outer = *open;
    *open = (struct open){.node = walk->used, .object = object};
    if (walk->used == walk->room) {
        int rc = walk_by(walk, parser, grow_tape);

        if (rc < 0)
            return rc;
    }
    walk->tape[walk->used] = (struct json_node){.type = object ? JSON_OBJECT : JSON_ARRAY};
    walk->used++;
    walk->at++;
    return 0;
}

static inline void walk_close(struct walk *walk, const struct open *open)
{
    walk->tape[open->node].count = open->count;
    walk->tape[open->node].next = walk->used;
    walk->at++;
}

/*
 * What may come next depends on what it is within, so each place in the grammar is a place in the
 * code: a member whose value is a string, as most are, goes round by `name` and `member_end` alone.
 */
int json_read_value(struct json_parser *parser, unsigned depth)
{
    struct walk walk = walk_resume(parser);
    struct open outer[JSON_MAX_DEPTH];
    struct open open = {0};
    unsigned level = 0; /* containers that are open */
    int rc;

value:
    switch (walk_peek(&walk)) {
    case '"':
        rc = walk_string(&walk, parser);
        break;
    case '{':
        goto object;
    case '[':
        goto array;
    default:
        rc = walk_by(&walk, parser, read_bare);
    }
    if (rc < 0)
        return rc;

value_end:
    if (level == 0) {
        walk_leave(&walk, parser);
        return 0;
    }
    if (open.object)
        goto member_end;

    open.count++;
    switch (walk_peek(&walk)) {
    case ',':
        walk.at++;
        goto value;
    case ']':
        goto close;
    default:
        return walk_fail(&walk, parser, "expected ',' or ']'");
    }

array:
    if ((rc = walk_open(&walk, parser, depth + level, false, &outer[level], &open)) < 0)
        return rc;
    level++;
    if (walk_peek(&walk) == ']')
        goto close;
    goto value;

object:
    if ((rc = walk_open(&walk, parser, depth + level, true, &outer[level], &open)) < 0)
        return rc;
    level++;
    if (walk_peek(&walk) == '}')
        goto close;

name:
    if (walk_peek(&walk) != '"')
        return walk_fail(&walk, parser, "expected the name of a member");
    if ((rc = walk_string(&walk, parser)) < 0)
        return rc;
    if (walk_peek(&walk) != ':')
        return walk_fail(&walk, parser, "expected ':'");
    walk.at++;
    if (walk_peek(&walk) != '"')
        goto value;
    if ((rc = walk_string(&walk, parser)) < 0)
        return rc;

member_end:
    open.count++;
    switch (walk_peek(&walk)) {
    case ',':
        walk.at++;
        goto name;
    case '}':
        break;
    default:
        return walk_fail(&walk, parser, "expected ',' or '}'");
    }

close:
    walk_close(&walk, &open);
    open = outer[--level];
    goto value_end;
}
