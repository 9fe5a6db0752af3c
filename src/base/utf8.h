/*
 * Which bytes are a character of UTF-8.
 */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stddef.h>

/* Bytes of the UTF-8 character at `at` (RFC 3629, section 4), 0 if it is none. `left`: at least 1.
 */
size_t utf8_len(const char *at, size_t left);

#endif
