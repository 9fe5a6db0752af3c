/*
 * JSON for people: objects as lines of "name: value", lists of objects as a table.
 */
#include "cli/cli_priv.h"

#include "json/json.h"

#include <stdio.h>
#include <string.h>

void show_json(const struct buf *json)
{
    printf("%.*s\n", SLICE_ARG(buf_slice(json)));
}

/* Text from outside may hold anything: control characters would reach the terminal. */
static void put_text(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.at[i];

        if (byte < 0x20 || byte == 0x7f)
            printf("\\x%02x", byte);
        else
            putchar(byte);
    }
}

/* Of an array, what is in it. */
static void put_value(const struct json_node *tape, const struct json_node *node)
{
    if (node->type != JSON_ARRAY) {
        put_text(node->type == JSON_NULL ? SLICE("-") : json_text(node));
        return;
    }
    for (const struct json_node *child = node + 1; child < tape + node->next;
         child = tape + child->next) {
        if (child > node + 1)
            putchar(',');
        put_value(tape, child);
    }
}

/* Prints what `tape[at]` holds under a prefix; returns the index behind it. */
static uint32_t put_fields(const struct json_node *tape, uint32_t at, const char *prefix)
{
    const struct json_node *node = &tape[at];
    uint32_t child = at + 1;

    if (node->type != JSON_OBJECT && node->type != JSON_ARRAY) {
        printf("%s: ", prefix);
        put_value(tape, node);
        putchar('\n');
        return node->next;
    }
    for (uint32_t i = 0; i < node->count; i++) {
        char name[256];

        if (node->type == JSON_ARRAY)
            snprintf(name, sizeof name, "%s[%u]", prefix, i);
        else
            snprintf(name, sizeof name, "%s%s%.*s", prefix, prefix[0] != '\0' ? "." : "",
                     SLICE_ARG(json_text(&tape[child])));
        child = put_fields(tape, node->type == JSON_ARRAY ? child : child + 1, name);
    }
    return node->next;
}

const struct json_node *cli_member(const struct json_node *tape, uint32_t object, const char *name)
{
    uint32_t at = object + 1;

    for (uint32_t i = 0; tape[object].type == JSON_OBJECT && i < tape[object].count; i++) {
        if (slice_is(json_text(&tape[at]), name))
            return &tape[at + 1];
        at = tape[at + 1].next;
    }
    return NULL;
}

static void put_table(const struct json_node *tape, const char *list, const char *const *columns)
{
    const struct json_node *rows = cli_member(tape, 0, list);
    uint32_t row;

    if (rows == NULL || rows->type != JSON_ARRAY)
        return;
    for (int i = 0; columns[i] != NULL; i++)
        printf("%s%s", i > 0 ? "\t" : "", columns[i]);
    putchar('\n');
    row = (uint32_t)(rows - tape) + 1;
    for (uint32_t n = 0; n < rows->count; n++) {
        for (int i = 0; columns[i] != NULL; i++) {
            const struct json_node *value = cli_member(tape, row, columns[i]);

            if (i > 0)
                putchar('\t');
            if (value != NULL)
                put_value(tape, value);
        }
        putchar('\n');
        row = tape[row].next;
    }
}

static void show(const struct buf *json, const char *list, const char *const *columns)
{
    struct json_parser *parser = json_parser_open();
    const struct json_node *tape;
    struct buf padded = {0};

    buf_append_slice(&padded, buf_slice(json));
    buf_reserve(&padded, JSON_PADDING);
    if (json_parse(parser, buf_slice(&padded), &tape, NULL) != 0)
        show_json(json);
    else if (columns == NULL)
        put_fields(tape, 0, "");
    else
        put_table(tape, list, columns);
    buf_free(&padded);
    json_parser_close(parser);
}

void show_fields(const struct buf *json)
{
    show(json, NULL, NULL);
}

void show_table(const struct buf *json, const char *list, const char *const *columns)
{
    show(json, list, columns);
}

void show_member(const struct buf *json, const char *name, struct buf *out)
{
    struct json_parser *parser = json_parser_open();
    const struct json_node *tape, *value = NULL;
    struct buf padded = {0};

    buf_append_slice(&padded, buf_slice(json));
    buf_reserve(&padded, JSON_PADDING);
    if (json_parse(parser, buf_slice(&padded), &tape, NULL) == 0 && tape[0].type == JSON_OBJECT)
        value = cli_member(tape, 0, name);
    if (value != NULL)
        buf_append_slice(out, json_text(value));
    buf_free(&padded);
    json_parser_close(parser);
}
