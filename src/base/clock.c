/*
 * Time as microseconds and as text. The calendar is the proleptic Gregorian one,
 * by the era arithmetic of 400 years of 146,097 days with March as first month
 * (H. Hinnant, "chrono-compatible low-level date algorithms").
 */
#include "base/clock.h"

#include <time.h>

#define US_PER_SECOND INT64_C(1000000)

static int64_t read_clock(clockid_t which)
{
    struct timespec now;

    clock_gettime(which, &now);
    return (int64_t)now.tv_sec * US_PER_SECOND + now.tv_nsec / 1000;
}

int64_t clock_wall_us(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t clock_mono_us(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_worked_us(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

static int64_t days_from_civil(int64_t year, unsigned month, unsigned day)
{
    int64_t era;
    unsigned year_of_era, day_of_year;

    year -= month <= 2;
    era = (year >= 0 ? year : year - 399) / 400;
    year_of_era = (unsigned)(year - era * 400);
    day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

static void civil_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
    int64_t era;
    unsigned day_of_era, year_of_era, day_of_year, shifted;

    days += 719468;
    era = (days >= 0 ? days : days - 146096) / 146097;
    day_of_era = (unsigned)(days - era * 146097);
    year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    shifted = (5 * day_of_year + 2) / 153;
    *day = day_of_year - (153 * shifted + 2) / 5 + 1;
    *month = shifted < 10 ? shifted + 3 : shifted - 9;
    *year = (int64_t)year_of_era + era * 400 + (*month <= 2);
}

static char *put_digits(char *out, unsigned value, int digits)
{
    for (int i = digits - 1; i >= 0; i--) {
        out[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return out + digits;
}

void clock_format(char out[CLOCK_TEXT_SIZE], int64_t instant_us)
{
    int64_t seconds = instant_us / US_PER_SECOND;
    int64_t fraction = instant_us % US_PER_SECOND;
    int64_t days, year;
    unsigned month, day, rest;

    if (fraction < 0) {
        fraction += US_PER_SECOND;
        seconds -= 1;
    }
    days = seconds / 86400;
    if (seconds % 86400 < 0)
        days -= 1;
    rest = (unsigned)(seconds - days * 86400);
    civil_from_days(days, &year, &month, &day);
    out = put_digits(out, (unsigned)year, 4);
    *out++ = '-';
    out = put_digits(out, month, 2);
    *out++ = '-';
    out = put_digits(out, day, 2);
    *out++ = 'T';
    out = put_digits(out, rest / 3600, 2);
    *out++ = ':';
    out = put_digits(out, rest / 60 % 60, 2);
    *out++ = ':';
    out = put_digits(out, rest % 60, 2);
    *out++ = '.';
    out = put_digits(out, (unsigned)fraction, 6);
    *out++ = 'Z';
    *out = '\0';
}

/* Takes exactly `digits` digits from the front of *text. */
static bool take_digits(struct slice *text, int digits, unsigned *ret)
{
    unsigned value = 0;

    if (text->len < (size_t)digits)
        return false;
    for (int i = 0; i < digits; i++) {
        if (text->at[i] < '0' || text->at[i] > '9')
            return false;
        value = value * 10 + (unsigned)(text->at[i] - '0');
    }
    text->at += digits;
    text->len -= (size_t)digits;
    *ret = value;
    return true;
}

static bool take_one_of(struct slice *text, const char *choices, char *ret)
{
    if (text->len == 0 || text->at[0] == '\0' || strchr(choices, text->at[0]) == NULL)
        return false;
    *ret = text->at[0];
    text->at += 1;
    text->len -= 1;
    return true;
}

static bool take_fraction(struct slice *text, int64_t *ret_us)
{
    int64_t us = 0;
    int64_t unit = 100000;
    char dot;
    unsigned digit;

    if (!take_one_of(text, ".", &dot)) {
        *ret_us = 0;
        return true;
    }
    if (!take_digits(text, 1, &digit))
        return false;
    do {
        us += digit * unit;
        unit /= 10;
    } while (take_digits(text, 1, &digit));
    *ret_us = us;
    return true;
}

static bool take_offset(struct slice *text, int64_t *ret_seconds)
{
    unsigned hours, minutes;
    char sign, colon;

    if (take_one_of(text, "Zz", &sign)) {
        *ret_seconds = 0;
        return true;
    }
    if (!take_one_of(text, "+-", &sign) || !take_digits(text, 2, &hours) ||
        !take_one_of(text, ":", &colon) || !take_digits(text, 2, &minutes) || hours > 23 ||
        minutes > 59)
        return false;
    *ret_seconds = (int64_t)(hours * 3600 + minutes * 60) * (sign == '-' ? -1 : 1);
    return true;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap);
}

bool clock_parse(struct slice text, int64_t *ret_us)
{
    unsigned year, month, day, hour, minute, second;
    int64_t fraction, offset;
    char mark;

    if (!take_digits(&text, 4, &year) || !take_one_of(&text, "-", &mark) ||
        !take_digits(&text, 2, &month) || !take_one_of(&text, "-", &mark) ||
        !take_digits(&text, 2, &day) || !take_one_of(&text, "Tt ", &mark) ||
        !take_digits(&text, 2, &hour) || !take_one_of(&text, ":", &mark) ||
        !take_digits(&text, 2, &minute) || !take_one_of(&text, ":", &mark) ||
        !take_digits(&text, 2, &second) || !take_fraction(&text, &fraction) ||
        !take_offset(&text, &offset) || text.len != 0)
        return false;
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 ||
        minute > 59 || second > 60)
        return false;
    *ret_us =
        (days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset) *
            US_PER_SECOND +
        fraction;
    return true;
}
