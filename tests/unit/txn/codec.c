/*
 * txn_encode() and txn_decode(): round trips, the drawn bytes, and bytes that are no
 * transaction.
 */
#include "txn/txn.h"

#include "base/clock.h"
#include "base/mem.h"

#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static const int64_t NOON = INT64_C(1790000000250000);

static struct txn_datapoint decoded[TXN_MAX_DATAPOINTS];

static void assert_slices_equal(struct slice a, struct slice b)
{
    assert_int_equal(a.at == NULL, b.at == NULL);
    assert_int_equal(a.len, b.len);
    if (a.len > 0)
        assert_memory_equal(a.at, b.at, a.len);
}

static void assert_same(const struct txn *a, const struct txn *b)
{
    assert_int_equal(a->product, b->product);
    assert_slices_equal(a->pennkey, b->pennkey);
    assert_slices_equal(a->client_id, b->client_id);
    assert_slices_equal(a->session, b->session);
    assert_true(a->timestamp_us == b->timestamp_us);
    assert_true(a->received_us == b->received_us);
    assert_int_equal(a->count, b->count);
    for (uint32_t i = 0; i < a->count; i++) {
        assert_slices_equal(a->datapoints[i].key, b->datapoints[i].key);
        assert_slices_equal(a->datapoints[i].value, b->datapoints[i].value);
    }
}

static void assert_round_trip(const struct txn *txn)
{
    size_t max = txn_encoded_max(txn);
    char *bytes = mem_alloc(max);
    size_t len = txn_encode(txn, bytes);
    char *exact = mem_alloc(len); /* so that a sanitizer sees a byte too many */
    struct txn back;
    struct err err = {0};

    assert_true(len <= max);
    assert_true(max <= TXN_MAX_ENCODED);
    memcpy(exact, bytes, len);
    free(bytes);
    assert_int_equal(txn_decode((struct slice){exact, len}, &back, decoded, &err), 0);
    assert_same(txn, &back);
    free(exact);
}

static void every_field_survives_the_round_trip(void **state)
{
    struct txn_datapoint datapoints[] = {
        {SLICE("club.visit"), SLICE("penn-labs")},
        {SLICE("null"), {0}},
        {SLICE("empty"), SLICE("")},
        {SLICE("emoji \xf0\x9f\x90\x98"), SLICE("it's")},
    };
    struct txn txn = {.product = 10,
                      .pennkey = SLICE("jdoe"),
                      .client_id = SLICE("7d2c"),
                      .timestamp_us = NOON,
                      .received_us = NOON + 12345,
                      .count = 4,
                      .datapoints = datapoints};
    (void)state;

    assert_round_trip(&txn);
    txn.pennkey = (struct slice){0};
    assert_round_trip(&txn);
    txn.client_id = (struct slice){0};
    assert_round_trip(&txn);
    txn.pennkey = SLICE("");
    assert_round_trip(&txn);
    txn.product = UINT32_MAX;
    assert_round_trip(&txn);
    txn.pennkey = (struct slice){0};
    txn.session = SLICE("f3a1");
    assert_round_trip(&txn);
    txn.client_id = SLICE("7d2c");
    assert_round_trip(&txn);
    datapoints[1].value = SLICE("a value where there was none");
    assert_round_trip(&txn);
    datapoints[1].value = (struct slice){0};
    assert_round_trip(&txn);
}

static void the_head_alone_has_the_session(void **state)
{
    struct txn_datapoint datapoint = {SLICE("k"), SLICE("v")};
    struct txn txn = {.session = SLICE("f3a1"), .count = 1, .datapoints = &datapoint};
    char bytes[256];
    struct txn head;
    (void)state;

    assert_int_equal(txn_decode_head((struct slice){bytes, txn_encode(&txn, bytes)}, &head, NULL),
                     0);
    assert_slices_equal(head.session, txn.session);
}

static void instants_survive_at_their_bounds(void **state)
{
    static const struct {
        int64_t timestamp, received;
    } cases[] = {
        {0, 0},
        {0, CLOCK_MAX_US},
        {CLOCK_MAX_US - 1, 0},
        {CLOCK_MAX_US - 1, CLOCK_MAX_US - 1},
        {NOON, NOON - 1},
        {NOON, NOON + 1},
        {NOON, NOON - 64},
        {NOON, NOON + 63},
        {0, INT64_C(253402300799999999)},
    };
    struct txn_datapoint datapoint = {SLICE("k"), SLICE("v")};
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_round_trip(&(struct txn){.timestamp_us = cases[i].timestamp,
                                        .received_us = cases[i].received,
                                        .count = 1,
                                        .datapoints = &datapoint});
}

/* Between arrival and timestamp; with more than 8 bytes behind it and with fewer. */
static void distances_of_every_length_survive(void **state)
{
    struct txn_datapoint datapoint = {SLICE("k"), SLICE("v")};
    struct txn txn = {.count = 1, .datapoints = &datapoint};
    (void)state;

    for (int bits = 1; bits < 58; bits++) {
        for (int64_t by = -1; by <= 1; by++) {
            int64_t distance = (INT64_C(1) << bits) + by;
            bool later = distance < CLOCK_MAX_US;

            for (int sign = later ? -1 : 1; sign <= 1; sign += 2) {
                txn.received_us = sign > 0 ? distance : 0;
                txn.timestamp_us = sign > 0 ? 0 : distance;
                txn.pennkey = (struct slice){0};
                assert_round_trip(&txn);
                txn.pennkey = SLICE("somebody");
                assert_round_trip(&txn);
            }
        }
    }
}

static void texts_of_every_length_survive(void **state)
{
    enum { LONGEST = 300 };
    (void)state;

    for (size_t len = 0; len <= LONGEST; len++) {
        char *text = mem_alloc(len + 1); /* just so long: a sanitizer sees what is read behind it */
        struct txn_datapoint datapoint = {.key = {text, len < 1     ? 1
                                                        : len > 256 ? 256
                                                                    : len},
                                          .value = {text, len}};
        struct txn txn = {.product = 1,
                          .received_us = NOON,
                          .timestamp_us = NOON,
                          .datapoints = &datapoint,
                          .count = 1};

        for (size_t i = 0; i <= len; i++)
            text[i] = (char)(i * 7 + 1);
        assert_round_trip(&txn);
        free(text);
    }
}

static void the_largest_transaction_fits_its_bound(void **state)
{
    char *key = mem_alloc(TXN_MAX_KEY);
    char *value = mem_alloc(TXN_MAX_VALUE);
    char id[TXN_MAX_CLIENT_ID];
    char session[TXN_MAX_SESSION];
    struct txn_datapoint *datapoints = mem_zalloc(TXN_MAX_DATAPOINTS * sizeof *datapoints);
    (void)state;

    memset(key, 'k', TXN_MAX_KEY);
    memset(value, 'v', TXN_MAX_VALUE);
    memset(id, 'i', sizeof id);
    memset(session, 's', sizeof session);
    for (int i = 0; i < TXN_MAX_DATAPOINTS; i++)
        datapoints[i] = (struct txn_datapoint){{key, TXN_MAX_KEY}, {value, TXN_MAX_VALUE}};
    assert_round_trip(&(struct txn){.product = UINT32_MAX,
                                    .pennkey = {id, sizeof id},
                                    .client_id = {id, sizeof id},
                                    .received_us = INT64_C(253402300799999999),
                                    .count = TXN_MAX_DATAPOINTS,
                                    .datapoints = datapoints});
    assert_round_trip(&(struct txn){.product = UINT32_MAX,
                                    .session = {session, sizeof session},
                                    .client_id = {id, sizeof id},
                                    .received_us = INT64_C(253402300799999999),
                                    .count = TXN_MAX_DATAPOINTS,
                                    .datapoints = datapoints});
    free(datapoints);
    free(value);
    free(key);
}

/* The example of docs/disk-format.md. */
static const unsigned char drawn[] = {
    0x01, 0x01, 0x0a, 0x20, 0x81, 0x2d, 0xda, 0xfe, 0x5b, 0x06, 0x00, 0xa0, 0xc2, 0x1e,
    0x04, 'j',  'd',  'o',  'e',  0x01, 0x0a, 'c',  'l',  'u',  'b',  '.',  'v',  'i',
    's',  'i',  't',  0x0a, 'p',  'e',  'n',  'n',  '-',  'l',  'a',  'b',  's',
};

static void the_bytes_are_those_of_the_drawing(void **state)
{
    struct txn_datapoint datapoint = {SLICE("club.visit"), SLICE("penn-labs")};
    struct txn txn = {
        .product = 10, .pennkey = SLICE("jdoe"), .count = 1, .datapoints = &datapoint};
    char bytes[256];
    (void)state;

    assert_true(clock_parse(SLICE("2026-09-21T14:13:20.5Z"), &txn.received_us));
    txn.timestamp_us = txn.received_us - 250000;
    assert_int_equal(txn_encode(&txn, bytes), sizeof drawn);
    assert_memory_equal(bytes, drawn, sizeof drawn);
}

/* Those of an encoder that knows no sessions, and as many again with one. */
static void a_session_costs_the_others_nothing(void **state)
{
    struct txn_datapoint datapoint = {SLICE("k"), SLICE("v")};
    struct txn txn = {.count = 1, .datapoints = &datapoint};
    char bytes[256];
    size_t without = txn_encode(&txn, bytes);
    (void)state;

    assert_memory_equal(bytes, "\1\0\0\0\0\0\0\0\0\0\0\0\1\1k\2v", without);
    txn.session = SLICE("f3a1");
    assert_int_equal(txn_encode(&txn, bytes), without + 5);
    assert_memory_equal(bytes, "\1\4\0\0\0\0\0\0\0\0\0\0\4f3a1\1\1k\2v", without + 5);
}

static int decode(const void *bytes, size_t len)
{
    char *exact = mem_alloc(len);
    struct txn txn = {.product = 77};
    struct err err = {0};
    int rc;

    memcpy(exact, bytes, len);
    rc = txn_decode((struct slice){exact, len}, &txn, decoded, &err);
    if (rc < 0) {
        assert_int_equal(err.code, rc);
        assert_non_null(strstr(err.text, "transaction: "));
        assert_int_equal(txn.product, 77);
    }
    free(exact);
    return rc;
}

static void a_shortened_transaction_is_corrupt(void **state)
{
    (void)state;

    assert_int_equal(decode(drawn, sizeof drawn), 0);
    for (size_t len = 0; len < sizeof drawn; len++)
        assert_int_equal(decode(drawn, len), ERR_CORRUPT);
    assert_int_equal(txn_decode((struct slice){0}, &(struct txn){0}, decoded, NULL), ERR_CORRUPT);
}

static void a_shortened_transaction_with_a_session_is_corrupt(void **state)
{
    struct txn_datapoint datapoint = {SLICE("k"), SLICE("v")};
    struct txn txn = {
        .session = SLICE("f3a1"), .client_id = SLICE("7d2c"), .count = 1, .datapoints = &datapoint};
    char bytes[256];
    size_t whole = txn_encode(&txn, bytes);
    (void)state;

    assert_int_equal(decode(bytes, whole), 0);
    for (size_t len = 0; len < whole; len++)
        assert_int_equal(decode(bytes, len), ERR_CORRUPT);
}

/* Where it lies, with what would make it whole behind it. */
static void a_head_ends_within_its_bytes(void **state)
{
    struct txn_datapoint datapoint = {SLICE("k"), SLICE("v")};
    struct txn txn = {.timestamp_us = NOON, .count = 1, .datapoints = &datapoint};
    char bytes[256];
    size_t head = txn_encode(&txn, bytes) - strlen("\1\1k\2v");
    (void)state;

    assert_int_equal(txn_decode_head((struct slice){bytes, head}, &txn, NULL), 0);
    for (size_t len = 0; len < head; len++)
        assert_int_equal(txn_decode_head((struct slice){bytes, len}, &txn, NULL), ERR_CORRUPT);
}

static void a_byte_too_many_is_corrupt(void **state)
{
    unsigned char bytes[sizeof drawn + 1] = {0};
    (void)state;

    memcpy(bytes, drawn, sizeof drawn);
    assert_int_equal(decode(bytes, sizeof bytes), ERR_CORRUPT);
}

static void one_wrong_byte_is_told_apart(void **state)
{
    static const struct {
        size_t at;
        unsigned char byte;
        int rc;
    } cases[] = {
        {0, 0, ERR_CORRUPT},     /* kind 0 */
        {0, 2, ERR_UNSUPPORTED}, /* a later kind */
        {1, 8, ERR_UNSUPPORTED}, /* a later flag */
        {1, 9, ERR_UNSUPPORTED}, /* beside a known one */
        {1, 5, ERR_CORRUPT},     /* both a pennkey and a session */
        {1, 0, ERR_CORRUPT},     /* the pennkey read as a count and keys */
        {2, 0x8a, ERR_CORRUPT},  /* the product runs into the time */
        {10, 0x7f, ERR_CORRUPT}, /* received beyond the calendar */
        {10, 0xff, ERR_CORRUPT}, /* received before 1970 */
        {14, 65, ERR_CORRUPT},   /* pennkey longer than what is there */
        {19, 0, ERR_CORRUPT},    /* no datapoints */
        {19, 2, ERR_CORRUPT},    /* a datapoint that is not there */
        {20, 0, ERR_CORRUPT},    /* empty key */
        {20, 0x7f, ERR_CORRUPT}, /* key longer than what is there */
        {31, 0x0b, ERR_CORRUPT}, /* value longer than what is there */
        {31, 0x00, ERR_CORRUPT}, /* null, but bytes follow */
    };
    unsigned char bytes[sizeof drawn];
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memcpy(bytes, drawn, sizeof drawn);
        bytes[cases[i].at] = cases[i].byte;
        assert_int_equal(decode(bytes, sizeof bytes), cases[i].rc);
    }
}

/* kind, flags, product and received 0, then what the case says. */
static int decode_tail(const char *head, const char *tail, size_t tail_len)
{
    unsigned char bytes[9000] = {0};

    memcpy(bytes, head, 3);
    memcpy(bytes + 11, tail, tail_len);
    return decode(bytes, 11 + tail_len);
}

static void numbers_have_one_form_and_a_bound(void **state)
{
#define TAIL(text) text, sizeof text - 1
    (void)state;

    assert_int_equal(decode_tail("\1\0\0", TAIL("\0\1\1k\0")), 0);
    assert_int_equal(decode_tail("\1\0\0", TAIL("\0\x81\0\1k\0")), ERR_CORRUPT); /* 1 in 2 bytes */
    assert_int_equal(decode_tail("\1\0\0", TAIL("\x80\0\1\1k\0")), ERR_CORRUPT); /* 0 in 2 bytes */
    /* The same with more than 8 bytes behind it. */
    assert_int_equal(decode_tail("\1\0\0", TAIL("\x80\0\1\5abcde\0")), ERR_CORRUPT);
    assert_int_equal(decode_tail("\1\0\0", TAIL("\0\0")), ERR_CORRUPT);      /* nothing */
    assert_int_equal(decode_tail("\1\0\0", TAIL("\1\1\1k\0")), 0);           /* 1 us later */
    assert_int_equal(decode_tail("\1\0\0", TAIL("\2\1\1k\0")), ERR_CORRUPT); /* before 1970 */
    assert_int_equal(decode_tail("\1\0\0", TAIL("\xff\xff\xff\xff\xff\xff\xff\xff\xff\1\1\1k\0")),
                     ERR_CORRUPT);
    assert_int_equal(decode_tail("\1\0\0", TAIL("\xff\xff\xff\xff\xff\xff\xff\xff\xff\2\1\1k\0")),
                     ERR_CORRUPT);
    assert_int_equal(decode_tail("\1\0\0", TAIL("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\1\1k\0")),
                     ERR_CORRUPT);
    /* 1, and a bit that is beyond 64. */
    assert_int_equal(decode_tail("\1\0\0", TAIL("\x81\x80\x80\x80\x80\x80\x80\x80\x80\2\1\1k\0")),
                     ERR_CORRUPT);
    assert_int_equal(decode_tail("\1\0\0", TAIL("\0\1\0\0")), ERR_CORRUPT);    /* empty key */
    assert_int_equal(decode_tail("\1\2\0", TAIL("\0\0\1\1k\0")), ERR_CORRUPT); /* empty id */
    assert_int_equal(decode_tail("\1\2\0", TAIL("\0\1i\1\1k\0")), 0);
    assert_int_equal(decode_tail("\1\4\0", TAIL("\0\0\1\1k\0")), ERR_CORRUPT); /* empty session */
    assert_int_equal(decode_tail("\1\4\0", TAIL("\0\1s\1\1k\0")), 0);
    assert_int_equal(decode_tail("\1\5\0", TAIL("\0\1p\1s\1\1k\0")), ERR_CORRUPT); /* both */
#undef TAIL
}

/* Arrival is in bytes 3 to 10, and the timestamp goes with it. */
static void instants_behind_their_bounds_are_corrupt(void **state)
{
    struct txn_datapoint datapoint = {SLICE("k"), SLICE("v")};
    struct txn txn = {
        .received_us = INT64_C(253402300799999999), .count = 1, .datapoints = &datapoint};
    char bytes[256];
    size_t len;
    (void)state;

    txn.timestamp_us = CLOCK_MAX_US - 2;
    len = txn_encode(&txn, bytes);
    assert_int_equal(decode(bytes, len), 0);
    memcpy(bytes + 3, &(uint64_t){htole64(UINT64_C(253402300800000000))}, 8);
    assert_int_equal(decode(bytes, len), ERR_CORRUPT);
    txn.received_us = 0;
    txn.timestamp_us = CLOCK_MAX_US - 1;
    len = txn_encode(&txn, bytes);
    assert_int_equal(decode(bytes, len), 0);
    bytes[3]++;
    assert_int_equal(decode(bytes, len), ERR_CORRUPT);
}

static void lengths_over_their_bounds_are_corrupt(void **state)
{
    static const struct {
        const char *head, *before;
        size_t before_len, text;
        const char *after;
        size_t after_len;
        int rc;
    } cases[] = {
        {"\1\1\0", "\0\x40", 2, 64, "\1\1k\0", 4, 0},
        {"\1\1\0", "\0\x41", 2, 65, "\1\1k\0", 4, ERR_CORRUPT},
        {"\1\2\0", "\0\x40", 2, 64, "\1\1k\0", 4, 0},
        {"\1\2\0", "\0\x41", 2, 65, "\1\1k\0", 4, ERR_CORRUPT},
        {"\1\4\0", "\0\x80\4", 3, 512, "\1\1k\0", 4, 0},
        {"\1\4\0", "\0\x81\4", 3, 513, "\1\1k\0", 4, ERR_CORRUPT},
        {"\1\0\0", "\0\1\x80\2", 4, 256, "\0", 1, 0},
        {"\1\0\0", "\0\1\x81\2", 4, 257, "\0", 1, ERR_CORRUPT},
        {"\1\0\0", "\0\1\1k\x81\x40", 6, 8192, "", 0, 0},
        {"\1\0\0", "\0\1\1k\x82\x40", 6, 8193, "", 0, ERR_CORRUPT},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char tail[9000];
        size_t len = cases[i].before_len;

        memcpy(tail, cases[i].before, len);
        memset(tail + len, 'x', cases[i].text);
        len += cases[i].text;
        memcpy(tail + len, cases[i].after, cases[i].after_len);
        len += cases[i].after_len;
        assert_int_equal(decode_tail(cases[i].head, tail, len), cases[i].rc);
    }
}

static void more_than_a_thousand_datapoints_are_corrupt(void **state)
{
    char tail[4 + 1001 * 3];
    (void)state;

    memcpy(tail, "\0\xe8\7", 3); /* 1,000 */
    for (size_t i = 0; i < 1001; i++)
        memcpy(tail + 3 + i * 3, "\1k\0", 3);
    assert_int_equal(decode_tail("\1\0\0", tail, 3 + 1000 * 3), 0);
    tail[1] = '\xe9';
    assert_int_equal(decode_tail("\1\0\0", tail, 3 + 1001 * 3), ERR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_survives_the_round_trip),
        cmocka_unit_test(instants_survive_at_their_bounds),
        cmocka_unit_test(distances_of_every_length_survive),
        cmocka_unit_test(texts_of_every_length_survive),
        cmocka_unit_test(the_largest_transaction_fits_its_bound),
        cmocka_unit_test(the_bytes_are_those_of_the_drawing),
        cmocka_unit_test(a_shortened_transaction_is_corrupt),
        cmocka_unit_test(the_head_alone_has_the_session),
        cmocka_unit_test(a_session_costs_the_others_nothing),
        cmocka_unit_test(a_shortened_transaction_with_a_session_is_corrupt),
        cmocka_unit_test(a_head_ends_within_its_bytes),
        cmocka_unit_test(a_byte_too_many_is_corrupt),
        cmocka_unit_test(one_wrong_byte_is_told_apart),
        cmocka_unit_test(numbers_have_one_form_and_a_bound),
        cmocka_unit_test(instants_behind_their_bounds_are_corrupt),
        cmocka_unit_test(lengths_over_their_bounds_are_corrupt),
        cmocka_unit_test(more_than_a_thousand_datapoints_are_corrupt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
