/*
 * CRC-32C: the published values, by instruction and by table.
 */
#include "base/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void the_published_values_come_out(void **state)
{
    char zeros[32] = {0};
    char ones[32];
    char up[32];
    (void)state;

    memset(ones, 0xff, sizeof ones);
    for (int i = 0; i < 32; i++)
        up[i] = (char)i;
    assert_int_equal(crc32c(0, "123456789", 9), 0xE3069283);
    assert_int_equal(crc32c(0, "", 0), 0);
    /* RFC 3720, appendix B.4 */
    assert_int_equal(crc32c(0, zeros, 32), 0x8A9136AA);
    assert_int_equal(crc32c(0, ones, 32), 0x62A8AB43);
    assert_int_equal(crc32c(0, up, 32), 0x46DD794E);
}

/* The definition, bit by bit. */
static uint32_t next(uint32_t crc, unsigned char byte)
{
    crc = ~crc ^ byte;
    for (int bit = 0; bit < 8; bit++)
        crc = crc & 1 ? crc >> 1 ^ 0x82F63B78 : crc >> 1;
    return ~crc;
}

/* The longest take two rounds of three lanes and what is left behind them. */
static void every_length_at_every_alignment_is_as_defined(void **state)
{
    enum { LONGEST = 2 * 2016 + 300, STARTS = 9 };
    static unsigned char bytes[LONGEST + STARTS];
    uint32_t random = 1;
    (void)state;

    for (size_t i = 0; i < sizeof bytes; i++) {
        random = random * 1664525 + 1013904223;
        bytes[i] = (unsigned char)(random >> 24);
    }
    for (size_t start = 0; start < STARTS; start++) {
        uint32_t defined = random;

        for (size_t len = 0; len <= LONGEST; len++) {
            assert_int_equal(crc32c(random, bytes + start, len), defined);
            if (len % 61 == 0) /* byte by byte, it is slow, and the same for all of them */
                assert_int_equal(crc32c_portable(random, bytes + start, len), defined);
            defined = next(defined, bytes[start + len]);
        }
    }
}

static void calls_chain(void **state)
{
    static char text[1000] = "the quick brown fox jumps over the lazy dog";
    uint32_t whole = crc32c(0, text, sizeof text);
    (void)state;

    for (size_t cut = 0; cut <= sizeof text; cut++) {
        assert_int_equal(crc32c(crc32c(0, text, cut), text + cut, sizeof text - cut), whole);
        assert_int_equal(
            crc32c_portable(crc32c_portable(0, text, cut), text + cut, sizeof text - cut), whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_values_come_out),
        cmocka_unit_test(every_length_at_every_alignment_is_as_defined),
        cmocka_unit_test(calls_chain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
