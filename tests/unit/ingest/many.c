/*
 * ingest_many(): arrays, lines, single objects; what is refused alone and what as a whole.
 */
#include "ingest/ingest.h"

#include "base/buf.h"
#include "base/mem.h"
#include "support/padded.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define GOOD(key) "{\"product\":1,\"timestamp\":1,\"data\":[{\"key\":\"" key "\",\"value\":1}]}"

static struct txn_products *products;
static struct ingest *ingest;

/* What the sink was given, in order: the first key of a transaction, or "!type" of a fault. */
struct seen {
    struct buf words;
    uint32_t accepted, refused;
    int code; /* what the sink answers */
    char message[160];
};

static int accept_txn(void *arg, const struct txn *txn, struct err *err)
{
    struct seen *seen = arg;

    buf_append_slice(&seen->words, txn->datapoints[0].key);
    buf_append_char(&seen->words, ' ');
    seen->accepted += 1;
    return seen->code != 0 ? err_set(err, seen->code, "the sink says so") : 0;
}

static int refuse_txn(void *arg, const struct ingest_fault *fault, struct err *err)
{
    struct seen *seen = arg;

    buf_printf(&seen->words, "!%s ", fault->type);
    memcpy(seen->message, fault->message, sizeof seen->message);
    seen->refused += 1;
    return seen->code != 0 ? err_set(err, seen->code, "the sink says so") : 0;
}

static int open_ingest(void **state)
{
    (void)state;
    assert_int_equal(txn_products_open(NULL, &products, NULL), 0);
    ingest = ingest_open(products, 20u << 20);
    return 0;
}

static int close_ingest(void **state)
{
    (void)state;
    ingest_close(ingest);
    txn_products_close(products);
    return 0;
}

static int take(struct slice body, enum ingest_shape shape, struct seen *seen, bool *ret_single,
                struct err *err)
{
    const struct ingest_sink sink = {seen, accept_txn, refuse_txn};
    struct slice copy = padded(body, '{');
    int rc = ingest_many(ingest, copy, INGEST_IDENTITY, shape, 5, &sink, ret_single, err);

    if (body.len > 0)
        assert_memory_equal(copy.at, body.at, body.len); /* nothing writes into it */
    free((char *)copy.at);
    buf_append_char(&seen->words, '\0');
    return rc;
}

struct case_of_many {
    const char *body;
    int rc;
    const char *seen; /* when rc is 0 */
    bool single;
    const char *words; /* of the error */
};

static void assert_cases(const struct case_of_many *cases, size_t count, enum ingest_shape shape)
{
    for (size_t i = 0; i < count; i++) {
        struct seen seen = {0};
        struct err err = {0};
        bool single = !cases[i].single;
        int rc = take(slice_of(cases[i].body), shape, &seen, &single, &err);

        if (rc != cases[i].rc)
            fail_msg("%s: %d %s", cases[i].body, rc, err.text);
        if (rc == 0) {
            assert_string_equal(seen.words.data, cases[i].seen);
            assert_int_equal(single, cases[i].single);
        } else if (strstr(err.text, cases[i].words) == NULL) {
            fail_msg("%s: \"%s\" lacks \"%s\"", cases[i].body, err.text, cases[i].words);
        }
        buf_free(&seen.words);
    }
}

#define ASSERT_CASES(cases, shape) assert_cases(cases, sizeof cases / sizeof *cases, shape)

static void objects_and_arrays_are_taken(void **state)
{
    static const struct case_of_many cases[] = {
        {GOOD("a"), 0, "a ", true, NULL},
        {" " GOOD("a") "\n", 0, "a ", true, NULL},
        {"{}", 0, "!missing ", true, NULL},
        {"[]", 0, "", false, NULL},
        {"[" GOOD("a") "]", 0, "a ", false, NULL},
        {" [ " GOOD("a") " , " GOOD("b") " ] ", 0, "a b ", false, NULL},
        {"[" GOOD("a") ",{}," GOOD("c") "]", 0, "a !missing c ", false, NULL},
        {"[" GOOD("a") ",null,1,\"s\",[" GOOD("b") "]," GOOD("c") "]", 0,
         "a !dict_type !dict_type !dict_type !dict_type c ", false, NULL},
        {"[" GOOD("a") ",{\"data\": 1 2}," GOOD("c") "]", ERR_INVALID, NULL, false,
         "invalid JSON at byte 71"},
        {"[" GOOD("a") ",]", ERR_INVALID, NULL, false, "expected a value"},
        {"[" GOOD("a"), ERR_INVALID, NULL, false, "ends too early"},
        {"[" GOOD("a") "]]", ERR_INVALID, NULL, false, "something follows"},
        {"[" GOOD("\\ud800") "]", ERR_INVALID, NULL, false, "lone surrogate"},
        {"[" GOOD("a") "," GOOD("\xff") "]", ERR_INVALID, NULL, false, "bad UTF-8"},
        {"", ERR_INVALID, NULL, false, "empty"},
        {" \n", ERR_INVALID, NULL, false, "empty"},
        {"nonsense", ERR_INVALID, NULL, false, "at byte 0"},
        {"1", ERR_INVALID, NULL, false, "must be a JSON object or an array"},
        {"null", ERR_INVALID, NULL, false, "must be a JSON object or an array"},
        {GOOD("a") "\n" GOOD("b"), ERR_INVALID, NULL, false, "something follows"},
    };
    (void)state;

    ASSERT_CASES(cases, INGEST_OBJECT_OR_ARRAY);
}

static void lines_are_taken_one_by_one(void **state)
{
    static const struct case_of_many cases[] = {
        {GOOD("a"), 0, "a ", false, NULL},
        {GOOD("a") "\n", 0, "a ", false, NULL},
        {GOOD("a") "\n" GOOD("b"), 0, "a b ", false, NULL},
        {GOOD("a") "\r\n" GOOD("b") "\r\n", 0, "a b ", false, NULL},
        {"\n\r\n \t\n" GOOD("a") "\n\n\n" GOOD("b") "\n \n", 0, "a b ", false, NULL},
        {GOOD("a") "\nnonsense\n" GOOD("c"), 0, "a !json_invalid c ", false, NULL},
        {GOOD("a") "\n{\n" GOOD("c"), 0, "a !json_invalid c ", false, NULL},
        {GOOD("a") "\n\"\n\"\n" GOOD("c"), 0, "a !json_invalid !json_invalid c ", false, NULL},
        {GOOD("a") "\n" GOOD("\xff") "\n" GOOD("c"), 0, "a !json_invalid c ", false, NULL},
        {GOOD("a") GOOD("b") "\n" GOOD("c"), 0, "!json_invalid c ", false, NULL},
        {"[" GOOD("a") "]\n{}\n", 0, "!dict_type !missing ", false, NULL},
        {"1\n2", 0, "!dict_type !dict_type ", false, NULL},
        {"", ERR_INVALID, NULL, false, "empty"},
        {"\n\r\n", ERR_INVALID, NULL, false, "empty"},
    };
    (void)state;

    ASSERT_CASES(cases, INGEST_NDJSON);
}

static void the_words_for_a_bad_line_count_from_its_start(void **state)
{
    struct seen seen = {0};
    bool single;
    (void)state;

    assert_int_equal(take(SLICE(GOOD("a") "\n[1 2]\n"), INGEST_NDJSON, &seen, &single, NULL), 0);
    assert_string_equal(seen.message, "invalid JSON at byte 3: expected ',' or ']'");
    buf_free(&seen.words);
}

static void ten_thousand_transactions_are_the_most(void **state)
{
    static const struct {
        enum ingest_shape shape;
        const char *before, *between, *after, *element;
    } shapes[] = {
        {INGEST_OBJECT_OR_ARRAY, "[", ",", "]", GOOD("k")},
        {INGEST_OBJECT_OR_ARRAY, "[", ",", "]", "{}"},
        {INGEST_NDJSON, "", "\n", "\n", GOOD("k")},
        {INGEST_NDJSON, "", "\n", "", "nonsense"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (int count = 10000; count <= 10001; count++) {
            struct buf body = {0};
            struct seen seen = {0};
            struct err err = {0};
            bool single;

            buf_append_text(&body, shapes[i].before);
            for (int j = 0; j < count; j++) {
                buf_append_text(&body, j > 0 ? shapes[i].between : "");
                buf_append_text(&body, shapes[i].element);
            }
            buf_append_text(&body, shapes[i].after);
            assert_int_equal(take(buf_slice(&body), shapes[i].shape, &seen, &single, &err),
                             count == 10000 ? 0 : ERR_TOO_LARGE);
            assert_int_equal(seen.accepted + seen.refused, 10000);
            buf_free(&seen.words);
            buf_free(&body);
        }
    }
}

static void the_sink_ends_the_walk(void **state)
{
    static const struct {
        const char *body;
        enum ingest_shape shape;
    } cases[] = {
        {"[" GOOD("a") "," GOOD("b") "]", INGEST_OBJECT_OR_ARRAY},
        {GOOD("a"), INGEST_OBJECT_OR_ARRAY},
        {"[{},{}]", INGEST_OBJECT_OR_ARRAY},
        {GOOD("a") "\n" GOOD("b"), INGEST_NDJSON},
        {"x\ny", INGEST_NDJSON},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct seen seen = {.code = ERR_FULL};
        struct err err = {0};
        bool single;

        assert_int_equal(take(slice_of(cases[i].body), cases[i].shape, &seen, &single, &err),
                         ERR_FULL);
        assert_string_equal(err.text, "the sink says so");
        assert_int_equal(seen.accepted + seen.refused, 1);
        buf_free(&seen.words);
    }
}

static void a_body_of_20_mib_is_taken_and_one_byte_more_is_not(void **state)
{
    size_t len = 20u << 20;
    char *body = mem_alloc(len + 1);
    struct seen seen = {0};
    struct err err = {0};
    bool single;
    (void)state;

    memset(body, ' ', len + 1);
    memcpy(body, "[" GOOD("a") ",", strlen("[" GOOD("a") ","));
    memcpy(body + len - strlen(GOOD("b") "]"), GOOD("b") "]", strlen(GOOD("b") "]"));
    assert_int_equal(take((struct slice){body, len}, INGEST_OBJECT_OR_ARRAY, &seen, &single, &err),
                     0);
    assert_string_equal(seen.words.data, "a b ");
    buf_free(&seen.words);
    seen = (struct seen){0};
    assert_int_equal(
        take((struct slice){body, len + 1}, INGEST_OBJECT_OR_ARRAY, &seen, &single, &err),
        ERR_TOO_LARGE);
    assert_non_null(strstr(err.text, "20971520 bytes"));
    assert_int_equal(seen.accepted, 0);
    buf_free(&seen.words);
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_and_arrays_are_taken),
        cmocka_unit_test(lines_are_taken_one_by_one),
        cmocka_unit_test(the_words_for_a_bad_line_count_from_its_start),
        cmocka_unit_test(ten_thousand_transactions_are_the_most),
        cmocka_unit_test(the_sink_ends_the_walk),
        cmocka_unit_test(a_body_of_20_mib_is_taken_and_one_byte_more_is_not),
    };

    return cmocka_run_group_tests(tests, open_ingest, close_ingest);
}
