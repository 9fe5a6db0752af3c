/*
 * One transaction, and the life of an ingest.
 *
 * A transaction borrows from what the parser made of its body until the next call, so the memory
 * that a large one took is given back when the next one comes.
 */
#include "ingest/ingest_priv.h"

#include "base/mem.h"

#include <stdlib.h>

struct ingest *ingest_open(const struct txn_products *products, size_t max_body)
{
    struct ingest *ingest = mem_zalloc(sizeof *ingest);

    ingest->products = products;
    ingest->max_body = max_body;
    ingest->parser = json_parser_open();
    return ingest;
}

void ingest_close(struct ingest *ingest)
{
    if (ingest == NULL)
        return;
    json_parser_close(ingest->parser);
    buf_free(&ingest->body);
    free(ingest);
}

void ingest_shrink(struct ingest *ingest)
{
    if (ingest->body.cap > INGEST_KEEP)
        buf_free(&ingest->body);
    json_parser_shrink(ingest->parser, INGEST_KEEP);
}

int ingest_one(struct ingest *ingest, struct slice body, int64_t received_us, struct txn *ret_txn,
               struct ingest_fault *fault)
{
    const struct json_node *tape;
    struct slice text;
    struct err err;

    ingest_shrink(ingest);
    if (ingest_load(ingest, body, INGEST_IDENTITY, &text, &err) < 0)
        return ingest_fault_whole(fault, "too_long", err.text);
    if (json_parse(ingest->parser, text, &tape, &err) < 0)
        return ingest_fault_whole(fault, "json_invalid", err.text);
    return ingest_check(ingest, tape, received_us, ret_txn, fault);
}
