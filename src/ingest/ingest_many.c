/*
 * Many transactions: an array, lines, or a single object.
 *
 * The happy path takes one transaction at a time from the body to the sink, in the memory of
 * one. What is wrong with one transaction goes to the sink as well; what is wrong with the
 * body as a whole ends the walk, possibly after the sink has been given some.
 */
#include "ingest/ingest_priv.h"

struct walk {
    struct ingest *ingest;
    struct slice text;
    int64_t received_us;
    const struct ingest_sink *sink;
    uint32_t count;
    struct err *err;
};

static int count_one(struct walk *walk)
{
    if (walk->count == INGEST_MAX_TRANSACTIONS)
        return err_set(walk->err, ERR_TOO_LARGE, "the body holds more than %d transactions",
                       INGEST_MAX_TRANSACTIONS);
    walk->count += 1;
    return 0;
}

/* Hands a parsed value to the sink, as a transaction or as a fault. */
static int give(struct walk *walk, const struct json_node *tape)
{
    struct ingest_fault fault;
    struct txn txn;

    if (ingest_check(walk->ingest, tape, walk->received_us, &txn, &fault) < 0)
        return walk->sink->refuse(walk->sink->arg, &fault, walk->err);
    return walk->sink->accept(walk->sink->arg, &txn, walk->err);
}

static int walk_array(struct walk *walk)
{
    const struct json_node *tape;

    for (;;) {
        int rc = json_array_next(walk->ingest->parser, &tape, walk->err);

        if (rc < 0 || tape == NULL)
            return rc;
        rc = count_one(walk);
        if (rc == 0)
            rc = give(walk, tape);
        if (rc != 0)
            return rc;
    }
}

static int walk_object_or_array(struct walk *walk, bool *ret_single)
{
    const struct json_node *tape;
    bool is_array;
    int rc = json_array_begin(walk->ingest->parser, walk->text, &is_array, walk->err);

    if (rc < 0)
        return rc;
    if (is_array) {
        *ret_single = false;
        return walk_array(walk);
    }
    rc = json_parse(walk->ingest->parser, walk->text, &tape, walk->err);
    if (rc < 0)
        return rc;
    if (tape[0].type != JSON_OBJECT)
        return err_set(walk->err, ERR_INVALID,
                       "the body must be a JSON object or an array of them");
    *ret_single = true;
    return give(walk, tape);
}

static bool is_blank(struct slice line)
{
    for (size_t i = 0; i < line.len; i++) {
        if (line.at[i] != ' ' && line.at[i] != '\t' && line.at[i] != '\r')
            return false;
    }
    return true;
}

static int give_line(struct walk *walk, struct slice line)
{
    const struct json_node *tape;
    struct ingest_fault fault;
    struct err err;
    int rc = count_one(walk);

    if (rc < 0)
        return rc;
    if (json_parse(walk->ingest->parser, line, &tape, &err) == 0)
        return give(walk, tape);
    ingest_fault_whole(&fault, "json_invalid", err.text);
    return walk->sink->refuse(walk->sink->arg, &fault, walk->err);
}

static int walk_lines(struct walk *walk)
{
    struct slice rest = walk->text;

    while (rest.len > 0) {
        const char *newline = memchr(rest.at, '\n', rest.len);
        struct slice line = {rest.at, newline != NULL ? (size_t)(newline - rest.at) : rest.len};
        size_t step = line.len + (newline != NULL);
        int rc = is_blank(line) ? 0 : give_line(walk, line);

        if (rc != 0)
            return rc;
        rest.at += step;
        rest.len -= step;
    }
    if (walk->count == 0)
        return err_set(walk->err, ERR_INVALID, "the body is empty");
    return 0;
}

int ingest_many(struct ingest *ingest, struct slice body, enum ingest_encoding encoding,
                enum ingest_shape shape, int64_t received_us, const struct ingest_sink *sink,
                bool *ret_single, struct err *err)
{
    struct walk walk = {.ingest = ingest, .received_us = received_us, .sink = sink, .err = err};
    int rc = ingest_load(ingest, body, encoding, &walk.text, err);

    if (rc == 0 && shape == INGEST_NDJSON) {
        *ret_single = false;
        rc = walk_lines(&walk);
    } else if (rc == 0) {
        rc = walk_object_or_array(&walk, ret_single);
    }
    ingest_shrink(ingest);
    return rc;
}
