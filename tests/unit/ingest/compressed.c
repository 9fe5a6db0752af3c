/*
 * ingest_many() on compressed bodies: whole, in parts, cut off, broken, and far larger than
 * they look.
 */
#include "ingest/ingest.h"

#include "base/buf.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

enum { MAX_BODY = 1 << 20 };

static struct txn_products *products;
static struct ingest *ingest;

static int count_txn(void *arg, const struct txn *txn, struct err *err)
{
    (void)txn;
    (void)err;
    *(uint32_t *)arg += 1;
    return 0;
}

static int refuse_txn(void *arg, const struct ingest_fault *fault, struct err *err)
{
    (void)arg;
    return err_set(err, ERR_CONFLICT, "%s %s", fault->field, fault->message);
}

static int open_ingest(void **state)
{
    (void)state;
    assert_int_equal(txn_products_open(NULL, &products, NULL), 0);
    ingest = ingest_open(products, MAX_BODY);
    return 0;
}

static int close_ingest(void **state)
{
    (void)state;
    ingest_close(ingest);
    txn_products_close(products);
    return 0;
}

static void add_gzip(struct buf *out, struct slice text)
{
    z_stream stream = {0};

    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY),
                     Z_OK);
    stream.next_in = (Bytef *)text.at;
    stream.avail_in = (uInt)text.len;
    stream.avail_out = (uInt)deflateBound(&stream, text.len);
    stream.next_out = (Bytef *)buf_reserve(out, stream.avail_out);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out->len += stream.total_out;
    deflateEnd(&stream);
}

static void add_zstd(struct buf *out, struct slice text)
{
    size_t bound = ZSTD_compressBound(text.len);
    size_t len = ZSTD_compress(buf_reserve(out, bound), bound, text.at, text.len, 3);

    assert_false(ZSTD_isError(len));
    out->len += len;
}

static const struct {
    enum ingest_encoding encoding;
    void (*add)(struct buf *out, struct slice text);
} kinds[] = {{INGEST_GZIP, add_gzip}, {INGEST_ZSTD, add_zstd}};

#define KINDS (sizeof kinds / sizeof *kinds)

/* Takes NDJSON and returns the code; *ret_count counts the transactions. */
static int take(struct slice body, enum ingest_encoding encoding, uint32_t *ret_count,
                struct err *err)
{
    struct ingest_sink sink = {ret_count, count_txn, refuse_txn};
    char *exact = mem_alloc(body.len);
    bool single;
    int rc;

    *ret_count = 0;
    if (body.len > 0)
        memcpy(exact, body.at, body.len);
    rc = ingest_many(ingest, (struct slice){exact, body.len}, encoding, INGEST_NDJSON, 5, &sink,
                     &single, err);
    free(exact);
    return rc;
}

static void assert_code(const struct buf *body, enum ingest_encoding encoding, int rc,
                        uint32_t count)
{
    struct err err = {0};
    uint32_t counted;
    int result = take(buf_slice(body), encoding, &counted, &err);

    if (result != rc)
        fail_msg("encoding %d: %d instead of %d: %s", encoding, result, rc, err.text);
    if (rc == 0)
        assert_int_equal(counted, count);
}

static struct buf lines(uint32_t count)
{
    struct buf text = {0};

    for (uint32_t i = 0; i < count; i++)
        buf_printf(&text,
                   "{\"product\":1,\"timestamp\":%u,\"data\":[{\"key\":\"k%u\",\"value\":%u}]}\n",
                   i, i * 7919, i * 104729);
    return text;
}

static void compressed_lines_are_taken(void **state)
{
    static const uint32_t counts[] = {1, 100, 10000};
    (void)state;

    for (size_t kind = 0; kind < KINDS; kind++) {
        for (size_t i = 0; i < 3; i++) {
            struct buf text = lines(counts[i]);
            struct buf body = {0};

            kinds[kind].add(&body, buf_slice(&text));
            assert_code(&body, kinds[kind].encoding, 0, counts[i]);
            buf_free(&body);
            buf_free(&text);
        }
    }
}

static void members_in_a_row_are_one_body(void **state)
{
    struct buf text = lines(500);
    (void)state;

    for (size_t kind = 0; kind < KINDS; kind++) {
        struct buf body = {0};

        for (size_t at = 0; at < text.len; at += 1000) {
            size_t len = text.len - at < 1000 ? text.len - at : 1000;

            kinds[kind].add(&body, (struct slice){text.data + at, len});
            kinds[kind].add(&body, SLICE(""));
        }
        assert_code(&body, kinds[kind].encoding, 0, 500);
        buf_free(&body);
    }
    buf_free(&text);
}

static void a_stream_cut_off_anywhere_is_corrupt(void **state)
{
    struct buf text = lines(20);
    (void)state;

    for (size_t kind = 0; kind < KINDS; kind++) {
        struct buf body = {0};
        size_t whole;

        kinds[kind].add(&body, buf_slice(&text));
        whole = body.len;
        for (body.len = 0; body.len < whole; body.len++)
            assert_code(&body, kinds[kind].encoding, ERR_CORRUPT, 0);
        kinds[kind].add(&body, buf_slice(&text));
        for (body.len = whole + 1; body.len < 2 * whole; body.len++)
            assert_code(&body, kinds[kind].encoding, ERR_CORRUPT, 0);
        buf_free(&body);
    }
    buf_free(&text);
}

static void something_behind_the_stream_is_corrupt(void **state)
{
    static const struct slice garbage[] = {
        {"\0", 1}, {"x", 1}, {"\n", 1}, {"\0\0\0\0\0\0\0\0\0\0\0\0", 12}, {"garbage garbage", 15}};
    struct buf text = lines(20);
    (void)state;

    for (size_t kind = 0; kind < KINDS; kind++) {
        for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
            struct buf body = {0};

            kinds[kind].add(&body, buf_slice(&text));
            buf_append_slice(&body, garbage[i]);
            assert_code(&body, kinds[kind].encoding, ERR_CORRUPT, 0);
            buf_free(&body);
        }
    }
    buf_free(&text);
}

static void another_format_is_corrupt(void **state)
{
    struct buf text = lines(20);
    struct buf body = {0};
    uLongf len = compressBound(text.len);
    (void)state;

    assert_code(&text, INGEST_GZIP, ERR_CORRUPT, 0);
    assert_code(&text, INGEST_ZSTD, ERR_CORRUPT, 0);
    add_gzip(&body, buf_slice(&text));
    assert_code(&body, INGEST_ZSTD, ERR_CORRUPT, 0);
    body.len = 0;
    add_zstd(&body, buf_slice(&text));
    assert_code(&body, INGEST_GZIP, ERR_CORRUPT, 0);
    body.len = 0; /* the zlib wrapper is not gzip's */
    assert_int_equal(compress((Bytef *)buf_reserve(&body, len), &len, (Bytef *)text.data, text.len),
                     Z_OK);
    body.len = len;
    assert_code(&body, INGEST_GZIP, ERR_CORRUPT, 0);
    buf_free(&body);
    buf_free(&text);
}

static void a_flipped_byte_in_gzip_is_corrupt_or_changes_nothing(void **state)
{
    struct buf text = lines(20);
    struct buf body = {0};
    (void)state;

    add_gzip(&body, buf_slice(&text));
    for (size_t i = 0; i < body.len; i++) {
        struct err err = {0};
        uint32_t count;
        int rc;

        body.data[i] ^= 0x10;
        rc = take(buf_slice(&body), INGEST_GZIP, &count, &err);
        if (rc != 0 || i + 8 >= body.len) /* the last 8 bytes are checksum and length */
            assert_int_equal(rc, ERR_CORRUPT);
        else
            assert_int_equal(count, 20);
        body.data[i] ^= 0x10;
    }
    buf_free(&body);
    buf_free(&text);
}

static void the_limit_holds_after_decompression(void **state)
{
    struct buf text = lines(1);
    (void)state;

    memset(buf_reserve(&text, MAX_BODY), '\n', MAX_BODY + 1 - text.len);
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct buf body = {0};

        kinds[kind].add(&body, (struct slice){text.data, MAX_BODY});
        assert_code(&body, kinds[kind].encoding, 0, 1);
        kinds[kind].add(&body, SLICE(""));
        assert_code(&body, kinds[kind].encoding, 0, 1);
        kinds[kind].add(&body, SLICE("\n"));
        assert_code(&body, kinds[kind].encoding, ERR_TOO_LARGE, 0);
        body.len = 0;
        kinds[kind].add(&body, (struct slice){text.data, MAX_BODY + 1});
        assert_code(&body, kinds[kind].encoding, ERR_TOO_LARGE, 0);
        buf_free(&body);
    }
    buf_free(&text);
}

static void a_bomb_is_refused(void **state)
{
    size_t len = 200u << 20;
    char *zeros = mem_zalloc(len);
    (void)state;

    for (size_t kind = 0; kind < KINDS; kind++) {
        struct buf body = {0};

        kinds[kind].add(&body, (struct slice){zeros, len});
        assert_true(body.len < MAX_BODY);
        assert_code(&body, kinds[kind].encoding, ERR_TOO_LARGE, 0);
        buf_free(&body);
    }
    free(zeros);
}

static void a_frame_that_wants_much_memory_is_corrupt(void **state)
{
    struct buf text = lines(1), body = {0};
    /* magic, no single segment, a window of 2^23 bytes; the text as a last raw block */
    char head[] = {'\x28', '\xb5', '\x2f', '\xfd', 0, 13 << 3, (char)(text.len << 3 | 1), 0, 0};
    struct err err = {0};
    uint32_t count;
    (void)state;

    head[7] = (char)(text.len >> 5);
    buf_append(&body, head, sizeof head);
    buf_append_slice(&body, buf_slice(&text));
    assert_code(&body, INGEST_ZSTD, 0, 1);
    body.data[5]++; /* an eighth more */
    assert_int_equal(take(buf_slice(&body), INGEST_ZSTD, &count, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.text, "memory"));
    buf_free(&text);
    buf_free(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compressed_lines_are_taken),
        cmocka_unit_test(members_in_a_row_are_one_body),
        cmocka_unit_test(a_stream_cut_off_anywhere_is_corrupt),
        cmocka_unit_test(something_behind_the_stream_is_corrupt),
        cmocka_unit_test(another_format_is_corrupt),
        cmocka_unit_test(a_flipped_byte_in_gzip_is_corrupt_or_changes_nothing),
        cmocka_unit_test(the_limit_holds_after_decompression),
        cmocka_unit_test(a_bomb_is_refused),
        cmocka_unit_test(a_frame_that_wants_much_memory_is_corrupt),
    };

    return cmocka_run_group_tests(tests, open_ingest, close_ingest);
}
