/*
 * Hexadecimal digits. Pure.
 */
#ifndef BASE_HEX_H
#define BASE_HEX_H

/* The value of a digit in upper or lower case, or -1. */
static inline int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

#endif
