/*
 * What the parts of the room share.
 */
#ifndef INGEST_INGEST_PRIV_H
#define INGEST_INGEST_PRIV_H

#include "ingest/ingest.h"

#include "base/buf.h"
#include "json/json.h"

/* After a body larger than this its memory is given back. */
#define INGEST_KEEP ((size_t)1 << 20)

struct ingest {
    const struct txn_products *products;
    size_t max_body;
    struct json_parser *parser;
    struct buf body; /* one that was compressed, with JSON_PADDING behind it */
    struct txn_datapoint datapoints[TXN_MAX_DATAPOINTS];
};

/* Gives back what a large body needed; bodies and nodes are gone after it. */
void ingest_shrink(struct ingest *ingest);

/* Holds a parsed value against the rules of a transaction (ingest_check.c). */
MUST_CHECK int ingest_check(struct ingest *ingest, const struct json_node *tape,
                            int64_t received_us, struct txn *ret_txn, struct ingest_fault *fault);

/* The instant of a `timestamp`, bounds checked: 0, or ERR_INVALID with type and message of
 * the fault (ingest_timestamp.c). */
MUST_CHECK int ingest_timestamp(const struct json_node *node, int64_t *ret_us,
                                const char **ret_type, const char **ret_message);

/* Fill in a fault and return ERR_INVALID: of the value as a whole, of a member, of a
 * datapoint (`member` NULL: of the datapoint as a whole). `type` and `member` are static. */
int ingest_fault_whole(struct ingest_fault *fault, const char *type, const char *message);
int ingest_fault_member(struct ingest_fault *fault, const char *member, const char *type,
                        const char *message);
int ingest_fault_datapoint(struct ingest_fault *fault, uint32_t index, const char *member,
                           const char *type, const char *message);

/* The text of a body: as it came, or decompressed into ingest->body (ingest_body.c). ERR_CORRUPT,
 * ERR_TOO_LARGE and ERR_FULL as for ingest_many(). */
MUST_CHECK int ingest_load(struct ingest *ingest, struct slice body, enum ingest_encoding encoding,
                           struct slice *ret_text, struct err *err);

#endif
