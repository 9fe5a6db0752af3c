/*
 * When it happened: Unix seconds as a JSON number, or an RFC 3339 date-time.
 *
 * A number is read digit by digit, not as a double: what was written as a decimal stays
 * exact to the microsecond, beyond that it is rounded down. The digits without the point are
 * one long integer; the point and the exponent only say how many of its digits make
 * microseconds.
 */
#include "ingest/ingest_priv.h"

#include "base/clock.h"

enum {
    MICROSECOND_DIGITS = 6,
    MAX_DIGITS = 16, /* of CLOCK_MAX_US */
};

/* Larger than any count of digits, small enough to add to one. */
#define MAX_EXPONENT INT64_C(1000000000000)

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The number behind "e" or "E" at `at`, kept within MAX_EXPONENT. */
static int64_t read_exponent(const char *at, const char *end)
{
    int64_t exponent = 0;
    bool negative;

    at += 1;
    negative = *at == '-';
    at += *at == '-' || *at == '+';
    for (; at < end; at++) {
        if (exponent < MAX_EXPONENT)
            exponent = exponent * 10 + (*at - '0');
    }
    return negative ? -exponent : exponent;
}

/* Microseconds of a positive number of the JSON grammar, rounded down; CLOCK_MAX_US for all
 * that is not below it. *ret_zero: every digit is a zero. */
static int64_t read_decimal(const char *at, const char *end, bool *ret_zero)
{
    const char *first = NULL; /* the first digit that is no zero */
    const char *last = at;    /* behind the last digit */
    int64_t before_point = 0; /* digits from `first` to the point, negative: zeros behind it */
    bool point = false;
    int64_t us = 0;

    for (; last < end && *last != 'e' && *last != 'E'; last++) {
        if (*last == '.')
            point = true;
        else if (first == NULL && *last == '0')
            before_point -= point;
        else {
            first = first != NULL ? first : last;
            before_point += !point;
        }
    }
    *ret_zero = first == NULL;
    if (first == NULL)
        return 0;
    if (last < end)
        before_point += read_exponent(last, end);
    if (before_point + MICROSECOND_DIGITS > MAX_DIGITS)
        return CLOCK_MAX_US;
    for (int64_t digits = before_point + MICROSECOND_DIGITS; digits > 0; digits--) {
        while (first < last && !is_digit(*first))
            first++;
        us = us * 10 + (first < last ? *first++ - '0' : 0);
    }
    return us < CLOCK_MAX_US ? us : CLOCK_MAX_US;
}

static int64_t read_number(struct slice token)
{
    bool negative = token.at[0] == '-';
    bool zero;
    int64_t us = read_decimal(token.at + negative, token.at + token.len, &zero);

    return negative && !zero ? -1 : us;
}

int ingest_timestamp(const struct json_node *node, int64_t *ret_us, const char **ret_type,
                     const char **ret_message)
{
    int64_t us;

    if (node->type == JSON_NUMBER) {
        us = read_number(json_text(node));
    } else if (node->type != JSON_STRING || !clock_parse(json_text(node), &us)) {
        *ret_type = "datetime_parsing";
        *ret_message = "must be Unix seconds or an RFC 3339 date-time";
        return ERR_INVALID;
    }
    if (us < 0) {
        *ret_type = "greater_than_equal";
        *ret_message = "must not be before 1970-01-01T00:00:00Z";
        return ERR_INVALID;
    }
    if (us >= CLOCK_MAX_US) {
        *ret_type = "less_than";
        *ret_message = "must be before 2100-01-01T00:00:00Z";
        return ERR_INVALID;
    }
    *ret_us = us;
    return 0;
}
