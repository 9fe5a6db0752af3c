/*
 * CRC-32C (Castagnoli polynomial 0x1EDC6F41, RFC 3720 appendix B.4), by the CPU's
 * instruction where there is one. crc32c(0, "123456789", 9) is 0xE3069283. Calls
 * chain: crc32c(crc32c(0, a), b) is the checksum of a followed by b.
 */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len);

/* The same by table, on any machine; public for the test that compares both. */
uint32_t crc32c_portable(uint32_t crc, const void *bytes, size_t len);

#endif
