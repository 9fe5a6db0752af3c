/*
 * Any bytes as a transaction: what decodes, encodes to the same bytes; what parses as an id,
 * formats to the same text.
 */
#include "txn/txn.h"

#include "base/mem.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct txn_datapoint datapoints[TXN_MAX_DATAPOINTS];

static void try_id(struct slice text)
{
    char node[TXN_NODE_SIZE];
    char id[TXN_ID_SIZE];
    uint64_t position;

    if (!txn_id_parse(text, node, &position))
        return;
    txn_id_format(id, node, position);
    if (!slice_is(text, id))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = {(const char *)data, size};
    struct txn txn;
    struct err err = {0};
    char *again;
    int rc = txn_decode(bytes, &txn, datapoints, &err);

    try_id(bytes);
    if (rc < 0) {
        if ((rc != ERR_CORRUPT && rc != ERR_UNSUPPORTED) || err.code != rc)
            abort();
        return 0;
    }
    if (txn_encoded_max(&txn) < size || txn_encoded_max(&txn) > TXN_MAX_ENCODED)
        abort();
    again = mem_alloc(txn_encoded_max(&txn));
    if (txn_encode(&txn, again) != size || memcmp(again, data, size) != 0)
        abort();
    free(again);
    return 0;
}
