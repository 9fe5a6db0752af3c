/*
 * ingest_one(): the rules of every field, good and bad.
 */
#include "ingest/ingest.h"

#include "base/buf.h"
#include "base/clock.h"
#include "support/padded.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const int64_t RECEIVED = INT64_C(1790000000500000);

static struct txn_products *products;
static struct ingest *ingest;
static struct txn txn;
static struct ingest_fault fault;
static struct slice taken; /* the body that `txn` borrows from */

static int open_ingest(void **state)
{
    (void)state;
    assert_int_equal(txn_products_open("11=EXTRA", &products, NULL), 0);
    ingest = ingest_open(products, 20u << 20);
    return 0;
}

static int close_ingest(void **state)
{
    (void)state;
    free((char *)taken.at);
    ingest_close(ingest);
    txn_products_close(products);
    return 0;
}

static int take(struct slice body)
{
    int rc;

    free((char *)taken.at);
    taken = padded(body, '"');
    memset(&txn, 0, sizeof txn);
    memset(&fault, 0, sizeof fault);
    rc = ingest_one(ingest, taken, RECEIVED, &txn, &fault);
    if (body.len > 0)
        assert_memory_equal(taken.at, body.at, body.len); /* nothing writes into it */
    return rc;
}

static void assert_taken(const char *body)
{
    if (take(slice_of(body)) != 0)
        fail_msg("%s: %s %s", body, fault.field, fault.message);
    assert_true(txn.received_us == RECEIVED);
}

static void assert_fault(struct slice body, const char *field, const char *loc, const char *type,
                         const char *words)
{
    if (take(body) != ERR_INVALID)
        fail_msg("%.300s was taken", body.at);
    assert_int_equal(txn.count, 0);
    if (strcmp(fault.field, field) != 0 || strcmp(fault.loc, loc) != 0 ||
        strcmp(fault.type, type) != 0 || strstr(fault.message, words) == NULL)
        fail_msg("%.300s: field \"%s\", loc [%s], type %s, message \"%s\"", body.at, fault.field,
                 fault.loc, fault.type, fault.message);
}

static void assert_text(struct slice text, const char *expected)
{
    if (expected == NULL) {
        assert_null(text.at);
        return;
    }
    assert_non_null(text.at);
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.at, expected, text.len);
}

#define REST "\"timestamp\":1,\"data\":[{\"key\":\"k\",\"value\":\"v\"}]"

static void the_example_of_the_contract_is_taken(void **state)
{
    (void)state;

    assert_taken("{\"product\": 10, \"pennkey\": \"jdoe\", \"timestamp\": 1790000000.25,\n"
                 " \"data\": [{\"key\": \"club.visit\", \"value\": \"penn-labs\"},\n"
                 "          {\"key\": \"club.search\", \"value\": \"robotics\"}]}\n");
    assert_int_equal(txn.product, 10);
    assert_text(txn.pennkey, "jdoe");
    assert_text(txn.client_id, NULL);
    assert_true(txn.timestamp_us == INT64_C(1790000000250000));
    assert_int_equal(txn.count, 2);
    assert_text(txn.datapoints[0].key, "club.visit");
    assert_text(txn.datapoints[0].value, "penn-labs");
    assert_text(txn.datapoints[1].key, "club.search");
    assert_text(txn.datapoints[1].value, "robotics");
}

static void products_are_numbers_or_names(void **state)
{
    static const struct {
        const char *written;
        uint32_t product;
    } good[] = {{"0", 0},          {"10", 10}, {"\"OTHER\"", 0},    {"\"CLUBS\"", 10},
                {"\"EXTRA\"", 11}, {"11", 11}, {"\"\\u0050CR\"", 5}};
    static const struct {
        const char *written, *type;
    } bad[] = {
        {"12", "product_unknown"},
        {"-1", "product_unknown"},
        {"-0", "product_unknown"},
        {"4294967295", "product_unknown"},
        {"4294967306", "product_unknown"}, /* 10 after 32 bits */
        {"18446744073709551626", "product_unknown"},
        {"10.0", "int_type"},
        {"1e1", "int_type"},
        {"0.5", "int_type"},
        {"true", "int_type"},
        {"false", "int_type"},
        {"null", "int_type"},
        {"[10]", "int_type"},
        {"{}", "int_type"},
        {"\"10\"", "product_unknown"},
        {"\"clubs\"", "product_unknown"},
        {"\"\"", "product_unknown"},
        {"\"CLUBS\\u0000\"", "product_unknown"},
    };
    char body[200];
    (void)state;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(body, sizeof body, "{\"product\":%s," REST "}", good[i].written);
        assert_taken(body);
        assert_int_equal(txn.product, good[i].product);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(body, sizeof body, "{\"product\":%s," REST "}", bad[i].written);
        assert_fault(slice_of(body), "product", "\"product\"", bad[i].type, "product table");
    }
    assert_fault(SLICE("{" REST "}"), "product", "\"product\"", "missing", "is missing");
}

static void timestamps_are_exact_to_the_microsecond(void **state)
{
    static const struct {
        const char *written;
        int64_t us;
    } good[] = {
        {"0", 0},
        {"-0", 0},
        {"-0.0e5", 0},
        {"0e999999999999999999999", 0},
        {"1", 1000000},
        {"0.5", 500000},
        {"0.05", 50000},
        {"0.000001", 1},
        {"0.0000009", 0},
        {"0.0000019", 1},
        {"1790000000", INT64_C(1790000000000000)},
        {"1790000000.25", INT64_C(1790000000250000)},
        {"1790000000.123456", INT64_C(1790000000123456)},
        {"1790000000.1234569999999999", INT64_C(1790000000123456)},
        {"1790000000.000000", INT64_C(1790000000000000)},
        {"179e7", INT64_C(1790000000000000)},
        {"1.79E+9", INT64_C(1790000000000000)},
        {"1.790000000123456e9", INT64_C(1790000000123456)},
        {"17900000001234567e-7", INT64_C(1790000000123456)},
        {"0.00179e12", INT64_C(1790000000000000)},
        {"100e-8", 1},
        {"1e-7", 0},
        {"1e-999999999999999999999", 0},
        {"4102444799.999999", CLOCK_MAX_US - 1},
        {"4102444799.9999999", CLOCK_MAX_US - 1},
        {"\"1970-01-01T00:00:00Z\"", 0},
        {"\"2026-09-21T14:13:20.25Z\"", INT64_C(1790000000250000)},
        {"\"2026-09-21T10:13:20.25-04:00\"", INT64_C(1790000000250000)},
        {"\"2026-09-21 14:13:20.2500009z\"", INT64_C(1790000000250000)},
        {"\"2099-12-31T23:59:59.999999Z\"", CLOCK_MAX_US - 1},
    };
    char body[200];
    (void)state;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(body, sizeof body,
                 "{\"product\":1,\"timestamp\":%s,\"data\":[{\"key\":\"k\",\"value\":1}]}",
                 good[i].written);
        assert_taken(body);
        if (txn.timestamp_us != good[i].us)
            fail_msg("%s is read as %lld", good[i].written, (long long)txn.timestamp_us);
    }
}

static void other_timestamps_are_refused(void **state)
{
    static const struct {
        const char *written, *type;
    } bad[] = {
        {"-1", "greater_than_equal"},
        {"-0.0000000001", "greater_than_equal"},
        {"-1e-400", "greater_than_equal"},
        {"4102444800", "less_than"},
        {"4102444800.0", "less_than"},
        {"41024448e2", "less_than"},
        {"9999999999", "less_than"},
        {"1790000000000", "less_than"}, /* milliseconds */
        {"1e300", "less_than"},
        {"1e9999", "less_than"},
        {"1e99999999999999999999999", "less_than"},
        {"1e18446744073709551616", "less_than"}, /* 0 modulo 2^64, and */
        {"18446744073709.551616", "less_than"},  /* so are its microseconds */
        {"123456789012345678901234567890", "less_than"},
        {"true", "datetime_parsing"},
        {"null", "datetime_parsing"},
        {"[1]", "datetime_parsing"},
        {"{}", "datetime_parsing"},
        {"\"\"", "datetime_parsing"},
        {"\"1790000000\"", "datetime_parsing"},
        {"\"NaN\"", "datetime_parsing"},
        {"\"2026-09-21\"", "datetime_parsing"},
        {"\"2026-09-21T14:13:20\"", "datetime_parsing"},
        {"\"2026-02-30T14:13:20Z\"", "datetime_parsing"},
        {"\"2026-09-21T14:13:20Z\\u0000\"", "datetime_parsing"},
        {"\"1969-12-31T23:59:59Z\"", "greater_than_equal"},
        {"\"1970-01-01T00:00:00+00:01\"", "greater_than_equal"},
        {"\"2100-01-01T00:00:00Z\"", "less_than"},
        {"\"9999-01-01T00:00:00Z\"", "less_than"},
    };
    char body[200];
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(body, sizeof body,
                 "{\"product\":1,\"timestamp\":%s,\"data\":[{\"key\":\"k\",\"value\":1}]}",
                 bad[i].written);
        assert_fault(slice_of(body), "timestamp", "\"timestamp\"", bad[i].type, "must");
    }
    assert_fault(SLICE("{\"product\":1,\"data\":[{\"key\":\"k\",\"value\":1}]}"), "timestamp",
                 "\"timestamp\"", "missing", "is missing");
    assert_fault(SLICE("{\"product\":1,\"timestamp\":NaN}"), "", "", "json_invalid",
                 "invalid JSON at byte 25");
}

static void a_timestamp_of_a_million_digits_is_read(void **state)
{
    struct buf body = {0};
    (void)state;

    buf_append_text(&body,
                    "{\"product\":1,\"data\":[{\"key\":\"k\",\"value\":1}],\"timestamp\":0.");
    for (int i = 0; i < 1000000; i++)
        buf_append_char(&body, '0');
    buf_append_text(&body, "179e1000010}");
    assert_int_equal(take(buf_slice(&body)), 0);
    assert_true(txn.timestamp_us == INT64_C(1790000000000000));
    buf_free(&body);
}

/* A body with one text of `len` bytes 'x' between `before` and `after`. */
static struct buf with_text(const char *before, size_t len, const char *after)
{
    struct buf body = {0};

    buf_append_text(&body, before);
    memset(buf_reserve(&body, len), 'x', len);
    body.len += len;
    buf_append_text(&body, after);
    return body;
}

static void texts_have_bounds_in_bytes(void **state)
{
    static const struct {
        const char *before, *after;
        size_t min, max;
        const char *field, *loc, *words;
    } cases[] = {
        {"{\"pennkey\":\"", "\",\"product\":1," REST "}", 0, 64, "pennkey", "\"pennkey\"",
         "at most 64 bytes"},
        {"{\"id\":\"", "\",\"product\":1," REST "}", 1, 64, "id", "\"id\"", "at most 64 bytes"},
        {"{\"product\":1,\"timestamp\":1,\"data\":[{\"value\":1,\"key\":\"", "\"}]}", 1, 256,
         "data[0].key", "\"data\",0,\"key\"", "at most 256 bytes"},
        {"{\"product\":1,\"timestamp\":1,\"data\":[{\"key\":\"k\",\"value\":\"", "\"}]}", 0, 8192,
         "data[0].value", "\"data\",0,\"value\"", "at most 8192 bytes"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf body;

        for (size_t len = cases[i].min; len <= cases[i].max; len += cases[i].max - cases[i].min) {
            body = with_text(cases[i].before, len, cases[i].after);
            assert_int_equal(take(buf_slice(&body)), 0);
            buf_free(&body);
        }
        body = with_text(cases[i].before, cases[i].max + 1, cases[i].after);
        buf_append_char(&body, '\0');
        assert_fault((struct slice){body.data, body.len - 1}, cases[i].field, cases[i].loc,
                     "string_too_long", cases[i].words);
        buf_free(&body);
        if (cases[i].min == 0)
            continue;
        body = with_text(cases[i].before, 0, cases[i].after);
        buf_append_char(&body, '\0');
        assert_fault((struct slice){body.data, body.len - 1}, cases[i].field, cases[i].loc,
                     "string_too_short", "must not be empty");
        buf_free(&body);
    }
}

static void a_number_longer_than_8_kib_is_no_value(void **state)
{
    char body[9000];
    int before = snprintf(body, sizeof body,
                          "{\"product\":1,\"timestamp\":1,\"data\":[{\"key\":\"k\",\"value\":");
    (void)state;

    memset(body + before, '7', 8193);
    memcpy(body + before + 8192, "}]}", 4);
    assert_taken(body);
    assert_int_equal(txn.datapoints[0].value.len, 8192);
    memcpy(body + before + 8192, "7}]}", 5);
    assert_fault(slice_of(body), "data[0].value", "\"data\",0,\"value\"", "string_too_long",
                 "at most 8192 bytes");
}

static void escapes_count_as_the_bytes_they_stand_for(void **state)
{
    struct buf body = {0};
    (void)state;

    buf_append_text(&body, "{\"product\":1,\"pennkey\":\"");
    for (int i = 0; i < 32; i++)
        buf_append_text(&body, "\\u00e4");
    buf_append_text(&body, "\"," REST "}");
    assert_int_equal(take(buf_slice(&body)), 0);
    assert_int_equal(txn.pennkey.len, 64);
    buf_free(&body);
}

static void pennkey_and_id_are_text(void **state)
{
    static const struct {
        const char *members, *pennkey, *id;
    } good[] = {
        {"", NULL, NULL},
        {"\"pennkey\":null,", NULL, NULL},
        {"\"pennkey\":\"\",", "", NULL},
        {"\"pennkey\":\"o'neil\",\"id\":\"7\",", "o'neil", "7"},
        {"\"pennkey\":\"\xf0\x9f\x90\x98\",\"id\":\"\\ud83d\\udc18\",", "\xf0\x9f\x90\x98",
         "\xf0\x9f\x90\x98"},
    };
    static const struct {
        const char *member, *written;
    } bad[] = {
        {"pennkey", "1"}, {"pennkey", "true"}, {"pennkey", "{}"}, {"pennkey", "[\"jdoe\"]"},
        {"id", "1"},      {"id", "null"},      {"id", "{}"},      {"id", "[\"i\"]"},
    };
    char body[300];
    char loc[32];
    (void)state;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(body, sizeof body, "{%s\"product\":1," REST "}", good[i].members);
        assert_taken(body);
        assert_text(txn.pennkey, good[i].pennkey);
        assert_text(txn.client_id, good[i].id);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(body, sizeof body, "{\"%s\":%s,\"product\":1," REST "}", bad[i].member,
                 bad[i].written);
        snprintf(loc, sizeof loc, "\"%s\"", bad[i].member);
        assert_fault(slice_of(body), bad[i].member, loc, "string_type", "must be a string");
    }
}

static void values_are_stored_as_written(void **state)
{
    static const struct {
        const char *written, *value;
    } good[] = {
        {"\"text\"", "text"},
        {"\"\"", ""},
        {"\"it's \\\"quoted\\\" \\\\ \\n \xf0\x9f\x90\x98\"",
         "it's \"quoted\" \\ \n \xf0\x9f\x90\x98"},
        {"\"null\"", "null"},
        {"null", NULL},
        {"true", "true"},
        {"false", "false"},
        {"0", "0"},
        {"-0", "-0"},
        {"1.50", "1.50"},
        {"1E+2 ", "1E+2"},
        {"123456789012345678901234567890.10", "123456789012345678901234567890.10"},
    };
    static const char *const bad[] = {"[]", "{}", "[1]", "{\"a\":1}"};
    char body[300];
    (void)state;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(body, sizeof body,
                 "{\"product\":1,\"timestamp\":1,\"data\":[{\"key\":\"k\",\"value\":%s}]}",
                 good[i].written);
        assert_taken(body);
        assert_text(txn.datapoints[0].value, good[i].value);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(body, sizeof body,
                 "{\"product\":1,\"timestamp\":1,\"data\":[{\"key\":\"k\",\"value\":1},"
                 "{\"key\":\"k\",\"value\":%s}]}",
                 bad[i]);
        assert_fault(slice_of(body), "data[1].value", "\"data\",1,\"value\"", "string_type",
                     "must be a string, a number, true, false or null");
    }
}

static void data_is_a_list_of_datapoints(void **state)
{
    static const struct {
        const char *written, *field, *loc, *type;
    } bad[] = {
        {"{}", "data", "\"data\"", "list_type"},
        {"null", "data", "\"data\"", "list_type"},
        {"\"a\"", "data", "\"data\"", "list_type"},
        {"[]", "data", "\"data\"", "too_short"},
        {"[1]", "data[0]", "\"data\",0", "dict_type"},
        {"[null]", "data[0]", "\"data\",0", "dict_type"},
        {"[[]]", "data[0]", "\"data\",0", "dict_type"},
        {"[{}]", "data[0].key", "\"data\",0,\"key\"", "missing"},
        {"[{\"value\":1}]", "data[0].key", "\"data\",0,\"key\"", "missing"},
        {"[{\"key\":\"k\"}]", "data[0].value", "\"data\",0,\"value\"", "missing"},
        {"[{\"key\":1,\"value\":1}]", "data[0].key", "\"data\",0,\"key\"", "string_type"},
        {"[{\"key\":null,\"value\":1}]", "data[0].key", "\"data\",0,\"key\"", "string_type"},
        {"[{\"Key\":\"k\",\"value\":1}]", "data[0].key", "\"data\",0,\"key\"", "missing"},
        {"[{\"key\":\"k\",\"value\":1},{\"key\":\"\",\"value\":1}]", "data[1].key",
         "\"data\",1,\"key\"", "string_too_short"},
    };
    char body[300];
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(body, sizeof body, "{\"product\":1,\"timestamp\":1,\"data\":%s}", bad[i].written);
        assert_fault(slice_of(body), bad[i].field, bad[i].loc, bad[i].type, "");
    }
    assert_fault(SLICE("{\"product\":1,\"timestamp\":1}"), "data", "\"data\"", "missing",
                 "is missing");
}

static void a_thousand_datapoints_are_the_most(void **state)
{
    struct buf body = {0};
    (void)state;

    buf_append_text(&body, "{\"product\":1,\"timestamp\":1,\"data\":[");
    for (int i = 0; i < 1000; i++)
        buf_printf(&body, "%s{\"key\":\"k%d\",\"value\":%d}", i > 0 ? "," : "", i, i);
    buf_append_text(&body, "]}");
    assert_int_equal(take(buf_slice(&body)), 0);
    assert_int_equal(txn.count, 1000);
    assert_text(txn.datapoints[999].key, "k999");
    body.len -= 2;
    buf_append_text(&body, ",{\"key\":\"k\",\"value\":1}]}");
    assert_fault(buf_slice(&body), "data", "\"data\"", "too_long", "at most 1000");
    buf_free(&body);
}

static void nul_is_refused_where_it_would_be_stored(void **state)
{
    static const struct {
        const char *body, *field, *loc;
    } bad[] = {
        {"{\"product\":1,\"pennkey\":\"a\\u0000\"," REST "}", "pennkey", "\"pennkey\""},
        {"{\"product\":1,\"id\":\"\\u0000\"," REST "}", "id", "\"id\""},
        {"{\"product\":1,\"timestamp\":1,\"data\":[{\"key\":\"\\u0000\",\"value\":1}]}",
         "data[0].key", "\"data\",0,\"key\""},
        {"{\"product\":1,\"timestamp\":1,\"data\":[{\"key\":\"k\",\"value\":\"a\\u0000b\"}]}",
         "data[0].value", "\"data\",0,\"value\""},
    };
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_fault(slice_of(bad[i].body), bad[i].field, bad[i].loc, "string_unicode",
                     "must not contain U+0000");
    assert_taken("{\"product\":1,\"other\":\"\\u0000\",\"id\\u0000\":1," REST "}");
}

static void unknown_members_are_ignored(void **state)
{
    (void)state;

    assert_taken("{\"a\":{\"data\":[],\"product\":99},\"product\":1,\"Product\":99,\"\":null,"
                 "\"b\":[[[{}]]],\"timestamp\":1,"
                 "\"data\":[{\"x\":{\"key\":\"no\"},\"key\":\"k\",\"y\":[1,2],\"value\":\"v\","
                 "\"values\":3}],\"z\":[{\"key\":1}]}");
    assert_int_equal(txn.count, 1);
    assert_text(txn.datapoints[0].key, "k");
    assert_text(txn.datapoints[0].value, "v");
}

static void the_last_of_duplicate_members_counts(void **state)
{
    (void)state;

    assert_taken("{\"product\":true,\"product\":1,\"product\":\"PCR\",\"pennkey\":\"a\","
                 "\"pennkey\":null,\"timestamp\":\"x\",\"timestamp\":2,\"id\":\"a\",\"id\":\"b\","
                 "\"data\":[],\"data\":[{\"key\":\"1\",\"value\":1},{\"key\":\"2\",\"value\":2}],"
                 "\"data\":[{\"key\":5,\"key\":\"k\",\"value\":{},\"value\":\"first\","
                 "\"v\\u0061lue\":\"last\"}]}");
    assert_int_equal(txn.product, 5);
    assert_text(txn.pennkey, NULL);
    assert_text(txn.client_id, "b");
    assert_true(txn.timestamp_us == 2000000);
    assert_int_equal(txn.count, 1);
    assert_text(txn.datapoints[0].key, "k");
    assert_text(txn.datapoints[0].value, "last");
    assert_fault(SLICE("{\"product\":1," REST ",\"data\":[]}"), "data", "\"data\"", "too_short",
                 "at least 1");
    assert_fault(SLICE("{\"product\":1," REST ",\"product\":null}"), "product", "\"product\"",
                 "int_type", "");
    assert_fault(SLICE("{\"product\":1,\"timestamp\":1,\"data\":[{\"key\":\"k\",\"value\":1,"
                       "\"value\":[]}]}"),
                 "data[0].value", "\"data\",0,\"value\"", "string_type", "");
}

static void text_that_is_no_object_is_refused_as_a_whole(void **state)
{
    static const struct {
        const char *body, *type, *words;
    } bad[] = {
        {"", "json_invalid", "the text is empty"},
        {"nonsense", "json_invalid", "at byte 0: expected a value"},
        {"{\"product\":1," REST, "json_invalid", "ends too early"},
        {"{\"product\":1," REST "}}", "json_invalid", "something follows"},
        {"{\"product\":1,\"pennkey\":\"\xc0\xaf\"," REST "}", "json_invalid", "bad UTF-8"},
        {"{\"product\":1,\"pennkey\":\"\xed\xa0\x80\"," REST "}", "json_invalid", "bad UTF-8"},
        {"{\"product\":1,\"pennkey\":\"\\ud800\"," REST "}", "json_invalid", "lone surrogate"},
        {"[]", "dict_type", "must be a JSON object"},
        {"[{\"product\":1," REST "}]", "dict_type", "must be a JSON object"},
        {"null", "dict_type", "must be a JSON object"},
        {"\"{}\"", "dict_type", "must be a JSON object"},
    };
    char deep[1000] = "{\"product\":1,\"a\":";
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_fault(slice_of(bad[i].body), "", "", bad[i].type, bad[i].words);
    for (int i = 0; i < 100; i++)
        strcat(deep, "[");
    for (int i = 0; i < 100; i++)
        strcat(deep, "]");
    strcat(deep, "," REST "}");
    assert_fault(slice_of(deep), "", "", "json_invalid", "nested too deeply");
}

static void a_body_over_the_limit_is_refused(void **state)
{
    struct ingest *small = ingest_open(products, 100);
    char body[101 + JSON_PADDING];
    (void)state;

    memset(body, ' ', sizeof body);
    memcpy(body, "{\"product\":1," REST "}", strlen("{\"product\":1," REST "}"));
    assert_int_equal(ingest_one(small, (struct slice){body, 100}, RECEIVED, &txn, &fault), 0);
    assert_int_equal(ingest_one(small, (struct slice){body, 101}, RECEIVED, &txn, &fault),
                     ERR_INVALID);
    assert_string_equal(fault.type, "too_long");
    ingest_close(small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_of_the_contract_is_taken),
        cmocka_unit_test(products_are_numbers_or_names),
        cmocka_unit_test(timestamps_are_exact_to_the_microsecond),
        cmocka_unit_test(other_timestamps_are_refused),
        cmocka_unit_test(a_timestamp_of_a_million_digits_is_read),
        cmocka_unit_test(texts_have_bounds_in_bytes),
        cmocka_unit_test(a_number_longer_than_8_kib_is_no_value),
        cmocka_unit_test(escapes_count_as_the_bytes_they_stand_for),
        cmocka_unit_test(pennkey_and_id_are_text),
        cmocka_unit_test(values_are_stored_as_written),
        cmocka_unit_test(data_is_a_list_of_datapoints),
        cmocka_unit_test(a_thousand_datapoints_are_the_most),
        cmocka_unit_test(nul_is_refused_where_it_would_be_stored),
        cmocka_unit_test(unknown_members_are_ignored),
        cmocka_unit_test(the_last_of_duplicate_members_counts),
        cmocka_unit_test(text_that_is_no_object_is_refused_as_a_whole),
        cmocka_unit_test(a_body_over_the_limit_is_refused),
    };

    return cmocka_run_group_tests(tests, open_ingest, close_ingest);
}
