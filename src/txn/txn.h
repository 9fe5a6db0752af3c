/*
 * The shared noun: a transaction, its datapoints, its product, and their bytes.
 *
 * A transaction is what one event of a product sent: who, when, and 1 to 1,000
 * datapoints. It is accepted, stored, refused and counted whole. The structs borrow
 * their text (see base/slice.h): from a request's body before it is encoded, from the
 * log's bytes after it is decoded. Everything here is pure; any thread may call it.
 */
#ifndef TXN_TXN_H
#define TXN_TXN_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    TXN_MAX_DATAPOINTS = 1000,
    TXN_MAX_KEY = 256,        /* bytes */
    TXN_MAX_VALUE = 8 * 1024, /* bytes */
    TXN_MAX_PENNKEY = 64,     /* bytes */
    TXN_MAX_CLIENT_ID = 64,   /* bytes */
    TXN_MAX_SESSION = 512,    /* bytes */
    TXN_MAX_PRODUCT_NAME = 64,
    /* The longest encoding that txn_encode() can make. */
    TXN_MAX_ENCODED = 64 + TXN_MAX_PENNKEY + TXN_MAX_CLIENT_ID + TXN_MAX_SESSION +
                      TXN_MAX_DATAPOINTS * (TXN_MAX_KEY + TXN_MAX_VALUE + 6),
};

struct txn_datapoint {
    struct slice key;
    struct slice value; /* text exactly as the client wrote it; at == NULL: null */
};

struct txn {
    uint32_t product;       /* number in the product table */
    struct slice pennkey;   /* at == NULL: no user */
    struct slice session;   /* whose user is yet to be asked for, only without a pennkey;
                             * at == NULL: none. A secret: it is shown to nobody */
    struct slice client_id; /* the client's own `id`; at == NULL: none */
    int64_t timestamp_us;   /* when it happened, by the client */
    int64_t received_us;    /* when it arrived, by this engine's clock */
    uint32_t count;         /* datapoints, 1 to TXN_MAX_DATAPOINTS */
    const struct txn_datapoint *datapoints;
};

/* An upper bound of the bytes that txn_encode() writes for this one. */
size_t txn_encoded_max(const struct txn *txn);

/* Writes the encoding (docs/disk-format.md, "Transaction") to out, which has room for
 * txn_encoded_max(); returns its length. The transaction must be valid. */
size_t txn_encode(const struct txn *txn, char *out);

/* Reads an encoding; the transaction borrows from `bytes` and from `datapoints`, which
 * has room for TXN_MAX_DATAPOINTS. ERR_CORRUPT if the bytes are no whole transaction,
 * ERR_UNSUPPORTED if a newer version wrote them. */
MUST_CHECK int txn_decode(struct slice bytes, struct txn *ret_txn, struct txn_datapoint *datapoints,
                          struct err *err);

/* The same for what stands before the datapoints (count 0): cheap, and enough to look up a
 * client's id or the time of arrival. The rest of the bytes is not checked. */
MUST_CHECK int txn_decode_head(struct slice bytes, struct txn *ret_txn, struct err *err);

/*
 * The id of an accepted transaction: which node took it and where in its log it
 * stands. 20 characters of Crockford's base 32 in lower case: 8 for the node, 12 for
 * the position, so that ids of one node sort by the order of acceptance.
 */
#define TXN_ID_SIZE 21  /* with a NUL */
#define TXN_NODE_SIZE 9 /* with a NUL */
#define TXN_MAX_POSITION ((UINT64_C(1) << 60) - 1)

void txn_id_format(char out[TXN_ID_SIZE], const char node[TXN_NODE_SIZE], uint64_t position);

/* False if the text is no id of any node. */
bool txn_id_parse(struct slice text, char ret_node[TXN_NODE_SIZE], uint64_t *ret_position);

/* Makes a node's name of 40 random bits. */
void txn_node_format(char out[TXN_NODE_SIZE], uint64_t random_bits);

/* The product table: number and name, both unique. */
struct txn_products;

/* The built-in table plus `extra`, "11=NAME,12=OTHER_NAME" (NULL or "": none). Names
 * are 1 to 64 of A-Z, 0-9 and _; ERR_INVALID says which entry is wrong. */
MUST_CHECK int txn_products_open(const char *extra, struct txn_products **ret, struct err *err);
void txn_products_close(struct txn_products *products);

/* False if there is no such product. Names compare exactly. */
bool txn_product_by_name(const struct txn_products *products, struct slice name, uint32_t *ret);

/* NULL if there is no such product. */
const char *txn_product_name(const struct txn_products *products, uint32_t product);

#endif
