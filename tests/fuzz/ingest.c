/*
 * Any bytes as a body; the first says in which form they come. What is accepted obeys the
 * bounds and survives its encoding; what is refused has all its words.
 */
#include "ingest/ingest.h"

#include "base/mem.h"
#include "json/json.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BODY = 1 << 20 };

static const int64_t RECEIVED = INT64_C(1790000000000000);

static struct txn_datapoint decoded[TXN_MAX_DATAPOINTS];

static void require(bool fact)
{
    if (!fact)
        abort();
}

static void check_text(struct slice text, struct slice again, size_t min, size_t max)
{
    require((text.at == NULL) == (again.at == NULL) && slice_equal(text, again));
    if (text.at != NULL) {
        require(text.len >= min && text.len <= max);
        require(text.len == 0 || memchr(text.at, 0, text.len) == NULL);
    }
}

static void check_txn(const struct txn *txn)
{
    char *bytes = mem_alloc(txn_encoded_max(txn));
    size_t len = txn_encode(txn, bytes);
    struct txn again;

    require(txn_decode((struct slice){bytes, len}, &again, decoded, NULL) == 0);
    require(again.product == txn->product && again.count == txn->count);
    require(again.timestamp_us == txn->timestamp_us && again.received_us == RECEIVED);
    require(txn->product <= 10);
    check_text(txn->pennkey, again.pennkey, 0, TXN_MAX_PENNKEY);
    check_text(txn->client_id, again.client_id, 1, TXN_MAX_CLIENT_ID);
    for (uint32_t i = 0; i < txn->count; i++) {
        require(txn->datapoints[i].key.at != NULL);
        check_text(txn->datapoints[i].key, decoded[i].key, 1, TXN_MAX_KEY);
        check_text(txn->datapoints[i].value, decoded[i].value, 0, TXN_MAX_VALUE);
    }
    free(bytes);
}

static void check_fault(const struct ingest_fault *fault)
{
    require(fault->type != NULL && fault->message[0] != '\0');
    require((fault->loc[0] == '\0') == (fault->field[0] == '\0'));
}

static int accept_txn(void *arg, const struct txn *txn, struct err *err)
{
    (void)err;
    *(uint32_t *)arg += 1;
    check_txn(txn);
    return 0;
}

static int refuse_txn(void *arg, const struct ingest_fault *fault, struct err *err)
{
    (void)err;
    *(uint32_t *)arg += 1;
    check_fault(fault);
    return 0;
}

static void try_many(struct ingest *ingest, struct slice body, enum ingest_encoding encoding,
                     enum ingest_shape shape)
{
    uint32_t count = 0;
    struct ingest_sink sink = {&count, accept_txn, refuse_txn};
    struct err err = {0};
    bool single = false;
    int rc = ingest_many(ingest, body, encoding, shape, RECEIVED, &sink, &single, &err);

    require(count <= INGEST_MAX_TRANSACTIONS);
    if (rc == 0)
        require(!single || (count == 1 && shape == INGEST_OBJECT_OR_ARRAY));
    else
        require(err.code == rc && (rc == ERR_INVALID || rc == ERR_TOO_LARGE || rc == ERR_CORRUPT));
}

static void try_one(struct ingest *ingest, struct slice body)
{
    struct ingest_fault fault;
    struct txn txn;

    if (ingest_one(ingest, body, RECEIVED, &txn, &fault) == 0)
        check_txn(&txn);
    else
        check_fault(&fault);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct txn_products *products;
    static struct ingest *ingest;
    struct slice body;
    char *copy;

    if (ingest == NULL) {
        require(txn_products_open(NULL, &products, NULL) == 0);
        ingest = ingest_open(products, MAX_BODY);
    }
    if (size == 0)
        return 0;
    copy = mem_alloc(size - 1 + JSON_PADDING);
    memcpy(copy, data + 1, size - 1);
    memset(copy + size - 1, data[size - 1], JSON_PADDING);
    body = (struct slice){copy, size - 1};
    switch (data[0]) {
    case 'l':
        try_many(ingest, body, INGEST_IDENTITY, INGEST_NDJSON);
        break;
    case 'g':
        try_many(ingest, body, INGEST_GZIP, INGEST_NDJSON);
        break;
    case 'z':
        try_many(ingest, body, INGEST_ZSTD, INGEST_NDJSON);
        break;
    case 'a':
        try_many(ingest, body, INGEST_IDENTITY, INGEST_OBJECT_OR_ARRAY);
        break;
    default:
        try_one(ingest, body);
    }
    free(copy);
    return 0;
}
