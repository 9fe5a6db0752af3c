/*
 * What taking in one transaction costs on one core, without network and disk: simdjson On
 * Demand alone looking at the same fields, our reading, reading and checking, and all of it
 * with the encoding.
 *
 *   bench-ingest-cost CORPUS SECONDS
 *
 * CORPUS has a body a line. They are worked through in blocks that fit the cache, as a body that
 * the kernel has just copied does; the sides take turns at each block, which is read once before.
 * Prints one JSON object: nanoseconds a transaction of each side, the median of the walks.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "ingest/ingest.h"
#include "json/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 250, MAX_WALKS = 10000, MAX_LINE = 1 << 20 };

/* ingest_cost_simdjson.cc */
size_t simdjson_alone(const char *body, size_t len, size_t capacity);

struct setting {
    struct ingest *ingest;
    struct json_parser *parser;
    struct slice *bodies; /* with padding behind each */
    size_t count;
    char *out;
};

static size_t run_simdjson(struct setting *setting, struct slice body)
{
    (void)setting;
    return simdjson_alone(body.at, body.len, body.len + JSON_PADDING);
}

static size_t run_read(struct setting *setting, struct slice body)
{
    const struct json_node *tape;

    return json_parse(setting->parser, body, &tape, NULL) < 0 ? 0 : tape[0].next;
}

static size_t run_check(struct setting *setting, struct slice body)
{
    struct ingest_fault fault;
    struct txn txn;

    if (ingest_one(setting->ingest, body, 1790000000300000, &txn, &fault) < 0)
        return 0;
    return txn.count;
}

static size_t run_all(struct setting *setting, struct slice body)
{
    struct ingest_fault fault;
    struct txn txn;

    if (ingest_one(setting->ingest, body, 1790000000300000, &txn, &fault) < 0)
        return 0;
    return txn_encoded_max(&txn) < TXN_MAX_ENCODED ? txn_encode(&txn, setting->out) : 0;
}

static struct side {
    const char *name;
    size_t (*run)(struct setting *setting, struct slice body);
    int64_t us; /* in this walk */
    double ns[MAX_WALKS];
} sides[] = {{.name = "simdjson", .run = run_simdjson},
             {.name = "read", .run = run_read},
             {.name = "check", .run = run_check},
             {.name = "all", .run = run_all}};

enum { SIDES = sizeof sides / sizeof *sides };

static void touch(const struct setting *setting, size_t from, size_t to)
{
    volatile char byte;

    for (size_t i = from; i < to; i++) {
        for (size_t at = 0; at < setting->bodies[i].len; at += 64)
            byte = setting->bodies[i].at[at];
    }
    (void)byte;
}

static void run_block(struct setting *setting, struct side *side, size_t from, size_t to)
{
    int64_t start = clock_mono_us();

    for (size_t i = from; i < to; i++) {
        if (side->run(setting, setting->bodies[i]) == 0) {
            fprintf(stderr, "%s: cannot take body %zu\n", side->name, i);
            exit(1);
        }
    }
    side->us += clock_mono_us() - start;
}

static void walk(struct setting *setting, size_t number)
{
    for (size_t from = 0; from < setting->count; from += BLOCK) {
        size_t to = from + BLOCK < setting->count ? from + BLOCK : setting->count;

        touch(setting, from, to);
        for (size_t i = 0; i < SIDES; i++)
            run_block(setting, &sides[(from / BLOCK + number + i) % SIDES], from, to);
    }
    for (size_t i = 0; i < SIDES; i++) {
        sides[i].ns[number] = (double)sides[i].us * 1000 / (double)setting->count;
        sides[i].us = 0;
    }
}

static void read_corpus(struct setting *setting, const char *path)
{
    FILE *file = fopen(path, "r");
    char *line = mem_alloc(MAX_LINE);
    size_t room = 0;

    if (file == NULL) {
        perror(path);
        exit(1);
    }
    while (fgets(line, MAX_LINE, file) != NULL) {
        size_t len = strcspn(line, "\n");
        char *copy = mem_zalloc(len + JSON_PADDING);

        if (setting->count == room) {
            room = room * 2 + 1024;
            setting->bodies = mem_realloc(setting->bodies, room * sizeof *setting->bodies);
        }
        memcpy(copy, line, len);
        setting->bodies[setting->count++] = (struct slice){copy, len};
    }
    free(line);
    fclose(file);
}

static int by_figure(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;

    return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
    struct txn_products *products;
    struct setting setting = {0};
    int64_t end;
    size_t walks = 0;

    if (argc != 3) {
        fprintf(stderr, "usage: bench-ingest-cost CORPUS SECONDS\n");
        return 2;
    }
    if (txn_products_open(NULL, &products, NULL) < 0)
        return 1;
    read_corpus(&setting, argv[1]);
    setting.ingest = ingest_open(products, MAX_LINE);
    setting.parser = json_parser_open();
    setting.out = mem_alloc(TXN_MAX_ENCODED);
    end = clock_mono_us() + atol(argv[2]) * 1000000;
    while (walks < MAX_WALKS && (clock_mono_us() < end || walks < 3))
        walk(&setting, walks++);
    for (size_t i = 0; i < SIDES; i++) {
        qsort(sides[i].ns, walks, sizeof *sides[i].ns, by_figure);
        printf("%s\"%s\": %.0f", i == 0 ? "{" : ", ", sides[i].name, sides[i].ns[walks / 2]);
    }
    puts("}");
    for (size_t i = 0; i < setting.count; i++)
        free((void *)setting.bodies[i].at);
    free(setting.bodies);
    free(setting.out);
    json_parser_close(setting.parser);
    ingest_close(setting.ingest);
    txn_products_close(products);
    return 0;
}
