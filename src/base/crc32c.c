/*
 * CRC-32C. The CPU's instruction takes 8 bytes and has the result 3 cycles later, but begins
 * another one every cycle: so what is longer than a hundred bytes or so is cut into three lanes
 * that go side by side. A checksum is the remainder of a polynomial, the first bit the highest
 * power of x; a lane that has n words behind it counts x^(64 n) times in the whole.
 */
#include "base/crc32c.h"

#include <stdbool.h>
#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

enum {
    LANE = 84,  /* words at most: three lanes are 2 KiB */
    WORTH = 128 /* bytes; to join three lanes takes about as long as five words */
};

static uint32_t table[256];
static uint32_t powers[2 * LANE + 1]; /* [n]: x^(64 n - 33), what the instruction makes x^(64 n) */
static bool have_instruction, have_lanes;

/* The remainder as it is kept while bytes follow: inverted. */
static uint32_t advance(uint32_t remainder, const unsigned char *at, size_t len)
{
    while (len-- > 0)
        remainder = remainder >> 8 ^ table[(remainder ^ *at++) & 0xff];
    return remainder;
}

__attribute__((constructor)) static void prepare(void)
{
    static const unsigned char zeros[8];

    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;

        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0x82F63B78 : crc >> 1;
        table[i] = crc;
    }
    powers[1] = 1; /* x^31: the highest power is the lowest bit */
    for (size_t n = 2; n <= 2 * LANE; n++)
        powers[n] = advance(powers[n - 1], zeros, sizeof zeros);
#ifdef __x86_64__
    have_instruction = __builtin_cpu_supports("sse4.2");
    have_lanes = have_instruction && __builtin_cpu_supports("pclmul");
#endif
}

uint32_t crc32c_portable(uint32_t crc, const void *bytes, size_t len)
{
    return ~advance(~crc, bytes, len);
}

#ifdef __x86_64__
static inline uint64_t word_at(const unsigned char *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof word);
    return word;
}

__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const void *bytes,
                                                                 size_t len)
{
    const unsigned char *at = bytes;
    uint64_t wide = ~crc;

    for (; len >= 8; at += 8, len -= 8)
        wide = _mm_crc32_u64(wide, word_at(at));
    for (; len > 0; at++, len--)
        wide = _mm_crc32_u8((uint32_t)wide, *at);
    return ~(uint32_t)wide;
}

/* Without carries; 64 bits that _mm_crc32_u64() takes the remainder of. */
__attribute__((target("sse4.2,pclmul"))) static inline uint64_t product(uint64_t a, uint32_t b)
{
    __m128i wide =
        _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)a), _mm_cvtsi32_si128((int)b), 0);

    return (uint64_t)_mm_cvtsi128_si64(wide);
}

/* `len` is 8 at least. */
__attribute__((target("sse4.2,pclmul"))) static uint32_t by_lanes(uint32_t crc, const void *bytes,
                                                                  size_t len)
{
    const unsigned char *at = bytes;
    size_t odd = len % 8;
    size_t words = len / 8;
    uint64_t a = ~crc;

    /* The odd bytes go first, as a word with zeros before them: these change nothing if what came
     * before is added to the first bytes instead, of which there may be fewer than four. */
    a = _mm_crc32_u64(0, (word_at(at) ^ a) << (56 - 8 * odd) << 8) ^ a >> 8 * odd;
    at += odd;
    while (words >= 3) {
        size_t lane = words < (size_t)3 * LANE ? words / 3 : LANE;
        uint64_t b = 0;
        uint64_t c = 0;

        for (size_t i = 0; i < lane; i++, at += 8) {
            a = _mm_crc32_u64(a, word_at(at));
            b = _mm_crc32_u64(b, word_at(at + 8 * lane));
            c = _mm_crc32_u64(c, word_at(at + 16 * lane));
        }
        a = c ^ _mm_crc32_u64(0, product(a, powers[2 * lane]) ^ product(b, powers[lane]));
        at += 16 * lane;
        words -= 3 * lane;
    }
    for (; words > 0; at += 8, words--)
        a = _mm_crc32_u64(a, word_at(at));
    return ~(uint32_t)a;
}
#endif

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len)
{
#ifdef __x86_64__
    if (have_lanes && len >= WORTH)
        return by_lanes(crc, bytes, len);
    if (have_instruction)
        return by_instruction(crc, bytes, len);
#endif
    return crc32c_portable(crc, bytes, len);
}
