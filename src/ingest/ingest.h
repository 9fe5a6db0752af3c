/*
 * From a request's body to validated transactions.
 *
 * Pure of network and disk: bytes in, transactions out, through callbacks and in the
 * order of the request. An ingest belongs to one thread (an HTTP loop has one); what a
 * callback is given lives until it returns.
 *
 * A body is read where it lies: JSON_PADDING bytes behind it (json/json.h) are readable, whatever
 * they hold. Nothing writes into it.
 */
#ifndef INGEST_INGEST_H
#define INGEST_INGEST_H

#include "base/err.h"
#include "base/slice.h"
#include "txn/txn.h"

#include <stdint.h>

/* The most transactions of one body of INGEST_MANY. */
#define INGEST_MAX_TRANSACTIONS 10000

enum ingest_encoding { INGEST_IDENTITY, INGEST_GZIP, INGEST_ZSTD };
enum ingest_shape { INGEST_OBJECT_OR_ARRAY, INGEST_NDJSON };

/*
 * What is wrong with one field, in the words of pydantic's error list: `loc` is the
 * path below the body as JSON array elements, e.g. `"data",0,"key"`; `field` the same
 * for people, `data[0].key`; "" for the value as a whole.
 */
struct ingest_fault {
    char loc[160];
    char field[96];
    char message[160]; /* "must be a string of at most 64 bytes" */
    const char *type;  /* static: missing, string_type, string_too_long, string_too_short,
                          int_type, value_error, list_type, too_short, too_long, dict_type,
                          datetime_parsing, greater_than_equal, less_than, json_invalid,
                          string_unicode, product_unknown */
};

struct ingest_sink {
    void *arg;
    /* A valid transaction. Non-zero ends the walk, which then returns that code. */
    int (*accept)(void *arg, const struct txn *txn, struct err *err);
    /* One that is not; the walk goes on after 0. */
    int (*refuse)(void *arg, const struct ingest_fault *fault, struct err *err);
};

struct ingest;

/* `max_body` bounds a body also after decompression. `products` is borrowed. */
struct ingest *ingest_open(const struct txn_products *products, size_t max_body);
void ingest_close(struct ingest *ingest);

/*
 * One transaction, as `POST /analytics` takes it. 0 and *ret_txn (borrowing from `body`
 * and the ingest until its next call); else ERR_INVALID and *fault: for text that is no
 * JSON object loc is empty and the type json_invalid or dict_type (too_long: over max_body).
 */
MUST_CHECK int ingest_one(struct ingest *ingest, struct slice body, int64_t received_us,
                          struct txn *ret_txn, struct ingest_fault *fault);

/*
 * One object, an array of them, or one a line (blank lines are skipped), possibly
 * compressed. *ret_single tells that the body was one object outside an array (never for
 * NDJSON). A line of NDJSON that is no JSON is refused like any bad transaction.
 *
 *   0                every transaction went to the sink
 *   ERR_INVALID      the body as a whole is wrong (no JSON, neither object nor array,
 *                    empty; an empty array is not wrong)
 *   ERR_TOO_LARGE    over max_body after decompression, or over INGEST_MAX_TRANSACTIONS
 *   ERR_CORRUPT      the compressed stream is broken, or something follows it
 *   ERR_FULL         no memory to decompress it
 *   other            what the sink returned
 *
 * After any error the caller must forget what the sink accepted.
 */
MUST_CHECK int ingest_many(struct ingest *ingest, struct slice body, enum ingest_encoding encoding,
                           enum ingest_shape shape, int64_t received_us,
                           const struct ingest_sink *sink, bool *ret_single, struct err *err);

#endif
