/*
 * Time: two clocks, and instants as text.
 *
 * An instant is an int64_t of microseconds since 1970-01-01T00:00:00Z ("_us").
 * Text is RFC 3339 (https://www.rfc-editor.org/rfc/rfc3339). All functions are pure
 * or read a clock; any thread may call them.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define CLOCK_TEXT_SIZE 28 /* "2026-09-21T14:13:20.250000Z" and a NUL */

/* 2100-01-01T00:00:00Z: the end of the instants that the service takes. */
#define CLOCK_MAX_US INT64_C(4102444800000000)

int64_t clock_wall_us(void);
int64_t clock_mono_us(void);   /* never goes back; only differences mean anything */
int64_t clock_worked_us(void); /* the calling thread's processor time; likewise */

/* Writes an instant of the years 0000 to 9999 as "YYYY-MM-DDTHH:MM:SS.ffffffZ". */
void clock_format(char out[CLOCK_TEXT_SIZE], int64_t instant_us);

/* Reads an RFC 3339 date-time ("T", "t" or a space between date and time; any
 * number of fraction digits, rounded down to microseconds; "Z" or an offset; a
 * leap second 60 counts as the next minute's first). False if it is not one. */
bool clock_parse(struct slice text, int64_t *ret_us);

#endif
