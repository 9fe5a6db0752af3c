/*
 * What taking in one transaction costs on one core, without network and disk: simdjson On
 * Demand alone looking at the same fields, our reading, reading and checking, and all of it
 * with the encoding. The body has 10 datapoints in 447 bytes. The best of several rounds
 * counts: the others are what else the machine did.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "ingest/ingest.h"
#include "json/json.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROUNDS = 500, TRANSACTIONS = 2000 };

/* ingest_cost_simdjson.cc */
size_t simdjson_alone(const char *body, size_t len, size_t capacity);

static const char body[] =
    "{\"product\": 10, \"pennkey\": \"jdoe\", \"timestamp\": 1790000000.25, \"data\": ["
    "{\"key\": \"club.visit\", \"value\": \"penn-labs\"},"
    "{\"key\": \"club.search\", \"value\": \"robotics-inc\"},"
    "{\"key\": \"a.0\", \"value\": \"robot-0\"},"
    "{\"key\": \"a.1\", \"value\": \"robot-1\"},"
    "{\"key\": \"a.2\", \"value\": \"robot-2\"},"
    "{\"key\": \"a.3\", \"value\": \"robot-3\"},"
    "{\"key\": \"a.4\", \"value\": \"robot-4\"},"
    "{\"key\": \"a.5\", \"value\": \"robot-5\"},"
    "{\"key\": \"a.6\", \"value\": \"robot-6\"},"
    "{\"key\": \"a.7\", \"value\": \"robotic-7\"}]}";

struct setting {
    struct ingest *ingest;
    struct json_parser *parser;
    struct slice padded;
    size_t padded_size;
    char *out;
};

static size_t run_simdjson(struct setting *setting)
{
    return simdjson_alone(setting->padded.at, setting->padded.len, setting->padded_size);
}

static size_t run_read(struct setting *setting)
{
    const struct json_node *tape;

    if (json_parse(setting->parser, setting->padded, &tape, NULL) < 0)
        abort();
    return tape[0].next;
}

static size_t run_check(struct setting *setting)
{
    struct ingest_fault fault;
    struct txn txn;

    if (ingest_one(setting->ingest, setting->padded, 1790000000300000, &txn, &fault) < 0)
        abort();
    return txn.count;
}

static size_t run_all(struct setting *setting)
{
    struct ingest_fault fault;
    struct txn txn;

    if (ingest_one(setting->ingest, setting->padded, 1790000000300000, &txn, &fault) < 0)
        abort();
    return txn_encoded_max(&txn) < TXN_MAX_ENCODED ? txn_encode(&txn, setting->out) : 0;
}

static double measure(struct setting *setting, size_t (*run)(struct setting *setting))
{
    int64_t best = INT64_MAX;

    for (int round = 0; round < ROUNDS; round++) {
        int64_t start = clock_mono_us();
        int64_t took;

        for (int i = 0; i < TRANSACTIONS; i++) {
            if (run(setting) == 0)
                abort();
        }
        took = clock_mono_us() - start;
        best = took < best ? took : best;
    }
    return (double)best * 1000 / TRANSACTIONS;
}

int main(void)
{
    struct txn_products *products;
    struct setting setting;
    size_t len = sizeof body - 1;
    char *copy = mem_zalloc(len + JSON_PADDING);
    double alone, read, check, all;

    if (txn_products_open(NULL, &products, NULL) < 0)
        abort();
    memcpy(copy, body, len);
    setting = (struct setting){.ingest = ingest_open(products, 1 << 20),
                               .parser = json_parser_open(),
                               .padded = {copy, len},
                               .padded_size = len + JSON_PADDING,
                               .out = mem_alloc(TXN_MAX_ENCODED)};
    alone = measure(&setting, run_simdjson);
    read = measure(&setting, run_read);
    check = measure(&setting, run_check);
    all = measure(&setting, run_all);
    printf("body of %zu bytes, 10 datapoints; nanoseconds per transaction\n", len);
    printf("%-28s %8s %8s\n", "", "ns", "ratio");
    printf("%-28s %8.0f %8.2f\n", "simdjson alone", alone, 1.0);
    printf("%-28s %8.0f %8.2f\n", "read", read, alone / read);
    printf("%-28s %8.0f %8.2f\n", "read, check", check, alone / check);
    printf("%-28s %8.0f %8.2f\n", "read, check, encode", all, alone / all);
    free(setting.out);
    json_parser_close(setting.parser);
    ingest_close(setting.ingest);
    txn_products_close(products);
    free(copy);
    return 0;
}
