/*
 * CRC-32C. The instruction takes 8 bytes in 3 cycles of latency; one stream of it is
 * enough here, because a record is a few hundred bytes.
 */
#include "base/crc32c.h"

#include <stdbool.h>
#include <string.h>

static uint32_t table[256];
static bool have_instruction;

__attribute__((constructor)) static void prepare(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;

        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0x82F63B78 : crc >> 1;
        table[i] = crc;
    }
#ifdef __x86_64__
    have_instruction = __builtin_cpu_supports("sse4.2");
#endif
}

uint32_t crc32c_portable(uint32_t crc, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;

    crc = ~crc;
    while (len-- > 0)
        crc = crc >> 8 ^ table[(crc ^ *at++) & 0xff];
    return ~crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const void *bytes,
                                                                 size_t len)
{
    const unsigned char *at = bytes;
    uint64_t wide = ~crc;

    for (; len >= 8; at += 8, len -= 8) {
        uint64_t word;

        memcpy(&word, at, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    for (; len > 0; at++, len--)
        wide = __builtin_ia32_crc32qi((uint32_t)wide, *at);
    return ~(uint32_t)wide;
}
#endif

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len)
{
#ifdef __x86_64__
    if (have_instruction)
        return by_instruction(crc, bytes, len);
#endif
    return crc32c_portable(crc, bytes, len);
}
