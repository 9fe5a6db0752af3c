/*
 * Any bytes as JSON: the parser and a plain reading of RFC 8259 agree on what is JSON, the
 * tape is well formed, and an array gives the same walked as parsed whole.
 */
#include "json/json.h"

#include "base/mem.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The reading by the letter: each function moves *at behind what it takes. */
static bool is_value(const uint8_t **at, const uint8_t *end, int depth);

static void skip_blank(const uint8_t **at, const uint8_t *end)
{
    while (*at < end && (**at == ' ' || **at == '\t' || **at == '\n' || **at == '\r'))
        *at += 1;
}

static bool take(const uint8_t **at, const uint8_t *end, const char *text)
{
    size_t len = strlen(text);

    if ((size_t)(end - *at) < len || memcmp(*at, text, len) != 0)
        return false;
    *at += len;
    return true;
}

static bool take_digits(const uint8_t **at, const uint8_t *end)
{
    const uint8_t *start = *at;

    while (*at < end && **at >= '0' && **at <= '9')
        *at += 1;
    return *at > start;
}

static bool is_number(const uint8_t **at, const uint8_t *end)
{
    take(at, end, "-");
    if (!take(at, end, "0") && !take_digits(at, end))
        return false;
    if (take(at, end, ".") && !take_digits(at, end))
        return false;
    if (take(at, end, "e") || take(at, end, "E")) {
        if (!take(at, end, "+"))
            take(at, end, "-");
        return take_digits(at, end);
    }
    return true;
}

/* \uXXXX: the unit, or -1. */
static int take_unit(const uint8_t **at, const uint8_t *end)
{
    char digits[5] = {0};

    if (!take(at, end, "\\u") || end - *at < 4)
        return -1;
    memcpy(digits, *at, 4);
    if (strspn(digits, "0123456789abcdefABCDEF") != 4)
        return -1;
    *at += 4;
    return (int)strtol(digits, NULL, 16);
}

static bool is_escape(const uint8_t **at, const uint8_t *end)
{
    int unit;

    if (end - *at >= 2 && (*at)[1] != 'u') {
        *at += 2;
        return (*at)[-1] != '\0' && strchr("\"\\/bfnrt", (*at)[-1]) != NULL;
    }
    unit = take_unit(at, end);
    if (unit >= 0xd800 && unit < 0xdc00) {
        unit = take_unit(at, end);
        return unit >= 0xdc00 && unit < 0xe000;
    }
    return unit >= 0 && (unit < 0xd800 || unit > 0xdfff);
}

/* One character beyond ASCII, decoded to its number to see that it had to be so long. */
static bool is_wide(const uint8_t **at, const uint8_t *end)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    int len = (**at & 0xe0) == 0xc0 ? 2 : (**at & 0xf0) == 0xe0 ? 3 : (**at & 0xf8) == 0xf0 ? 4 : 0;
    uint32_t number;

    if (len == 0 || end - *at < len)
        return false;
    number = **at & (0x7fu >> len);
    for (int i = 1; i < len; i++) {
        if (((*at)[i] & 0xc0) != 0x80)
            return false;
        number = number << 6 | ((*at)[i] & 0x3fu);
    }
    *at += len;
    return number >= least[len] && number <= 0x10ffff && (number < 0xd800 || number > 0xdfff);
}

static bool is_string(const uint8_t **at, const uint8_t *end)
{
    if (!take(at, end, "\""))
        return false;
    while (*at < end && **at != '"') {
        if (**at == '\\') {
            if (!is_escape(at, end))
                return false;
        } else if (**at >= 0x80) {
            if (!is_wide(at, end))
                return false;
        } else if (**at < 0x20) {
            return false;
        } else {
            *at += 1;
        }
    }
    return take(at, end, "\"");
}

static bool is_container(const uint8_t **at, const uint8_t *end, int depth, const char *close)
{
    if (depth > JSON_MAX_DEPTH)
        return false;
    skip_blank(at, end);
    if (take(at, end, close))
        return true;
    do {
        if (*close == '}') {
            skip_blank(at, end);
            if (!is_string(at, end))
                return false;
            skip_blank(at, end);
            if (!take(at, end, ":"))
                return false;
        }
        if (!is_value(at, end, depth + 1))
            return false;
    } while (take(at, end, ","));
    return take(at, end, close);
}

static bool is_value(const uint8_t **at, const uint8_t *end, int depth)
{
    bool good;

    skip_blank(at, end);
    if (take(at, end, "["))
        good = is_container(at, end, depth, "]");
    else if (take(at, end, "{"))
        good = is_container(at, end, depth, "}");
    else if (*at < end && **at == '"')
        good = is_string(at, end);
    else
        good = take(at, end, "true") || take(at, end, "false") || take(at, end, "null") ||
               is_number(at, end);
    skip_blank(at, end);
    return good;
}

/* Walks the tape from `at`; touches every text; returns the index behind the value. */
static uint32_t check_tape(const struct json_node *tape, uint32_t at, uint64_t *sum)
{
    const struct json_node *node = &tape[at];
    uint32_t parts = node->type == JSON_OBJECT ? 2 * node->count : node->count;
    uint32_t next = at + 1;

    *sum = *sum * 31 + node->type;
    for (uint32_t i = 0; i < node->len; i++)
        *sum = *sum * 31 + (uint8_t)node->text[i];
    if (node->type == JSON_STRING &&
        node->has_nul != (node->len > 0 && memchr(node->text, 0, node->len) != NULL))
        abort();
    for (uint32_t i = 0; i < parts; i++) {
        if (node->type == JSON_OBJECT && i % 2 == 0 && tape[next].type != JSON_STRING)
            abort();
        next = check_tape(tape, next, sum);
    }
    if (node->next != next)
        abort();
    return next;
}

static void check_array(struct json_parser *parser, struct slice text, bool good, uint32_t elements,
                        uint64_t whole)
{
    const struct json_node *tape;
    uint64_t sum = JSON_ARRAY;
    uint32_t count = 0;
    bool is_array = false;
    int rc = json_array_begin(parser, text, &is_array, NULL);

    if (rc == 0 && !is_array)
        return;
    while (rc == 0 && (rc = json_array_next(parser, &tape, NULL)) == 0 && tape != NULL) {
        check_tape(tape, 0, &sum);
        count += 1;
    }
    if ((rc == 0) != good || (good && (count != elements || sum != whole)))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct json_parser *parser;
    char *text = mem_alloc(size + JSON_PADDING);
    const uint8_t *at = data;
    const uint8_t *end = data + size;
    const struct json_node *tape;
    struct err err = {0};
    uint64_t sum = 0;
    uint32_t elements = 0;
    bool good;
    int rc;

    if (parser == NULL)
        parser = json_parser_open();
    if (size > 0)
        memcpy(text, data, size);
    memset(text + size, size > 0 ? data[size - 1] : ']', JSON_PADDING);
    good = is_value(&at, end, 1) && at == end;
    rc = json_parse(parser, (struct slice){text, size}, &tape, &err);
    if ((rc == 0) != good || (rc != 0 && (rc != ERR_INVALID || err.text[0] == '\0')))
        abort();
    if (rc == 0) {
        check_tape(tape, 0, &sum);
        elements = tape[0].count;
    }
    check_array(parser, (struct slice){text, size}, good, elements, sum);
    if (size > 2000)
        json_parser_shrink(parser, 64);
    free(text);
    return 0;
}
