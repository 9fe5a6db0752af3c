/*
 * One value: from text into its field, and back into text. A number is digits and, for
 * sizes and durations, a unit; the value must fit 64 bits and the option's bounds. What
 * is refused is refused in the words of config_value_bounds(), whatever was wrong; where a
 * duration has no unit, they say that it needs one.
 */
#include "base/mem.h"
#include "config/config_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <strings.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* In both tables the names used for printing come first, the largest ahead. */
static const struct unit size_units[] = {
    {"PiB", UINT64_C(1) << 50},
    {"TiB", UINT64_C(1) << 40},
    {"GiB", UINT64_C(1) << 30},
    {"MiB", UINT64_C(1) << 20},
    {"KiB", UINT64_C(1) << 10},
    {"B", 1},
    {"p", UINT64_C(1) << 50},
    {"t", UINT64_C(1) << 40},
    {"g", UINT64_C(1) << 30},
    {"m", UINT64_C(1) << 20},
    {"k", UINT64_C(1) << 10},
    {"", 1},
    {NULL, 0},
};
static const struct unit duration_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0},
};
static const struct unit no_units[] = {{"", 1}, {NULL, 0}};

static const struct unit *units_of(enum config_type type)
{
    switch (type) {
    case CONFIG_TYPE_SIZE:
        return size_units;
    case CONFIG_TYPE_DURATION:
        return duration_units;
    default:
        return no_units;
    }
}

static bool parse_number(const char *text, const struct unit *units, uint64_t *ret)
{
    uint64_t value = 0;
    const char *at = text;

    for (; *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
            return false;
    }
    if (at == text)
        return false;
    if (value == 0 && *at == '\0') {
        *ret = 0; /* nothing of any unit */
        return true;
    }
    for (; units->name != NULL; units++) {
        if (strcasecmp(at, units->name) == 0)
            return !__builtin_mul_overflow(value, units->factor, ret);
    }
    return false;
}

bool config_duration(const char *text, uint64_t *ret_ms)
{
    return parse_number(text, duration_units, ret_ms);
}

char **config_string(const struct config_option *option, struct config *config)
{
    assert(option->type == CONFIG_TYPE_STRING);
    return (char **)((char *)config + option->offset);
}

uint64_t *config_number(const struct config_option *option, struct config *config)
{
    assert(option->type != CONFIG_TYPE_STRING);
    return (uint64_t *)((char *)config + option->offset);
}

static bool parse_choice(const struct config_option *option, const char *text, uint64_t *ret)
{
    for (size_t i = 0; option->choices[i] != NULL; i++) {
        if (strcasecmp(option->choices[i], text) == 0) {
            *ret = i;
            return true;
        }
    }
    return false;
}

static bool is_plain_text(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return false;
    }
    return true;
}

int config_value_set(const struct config_option *option, const char *text, struct config *config,
                     struct err *err)
{
    struct buf must = {0};
    uint64_t value = 0;
    bool good;

    if (option->type == CONFIG_TYPE_STRING) {
        size_t len = strlen(text);

        good = len >= option->min && len <= option->max && is_plain_text(text);
    } else if (option->type == CONFIG_TYPE_CHOICE) {
        good = parse_choice(option, text, &value);
    } else {
        good = parse_number(text, units_of(option->type), &value) && value >= option->min &&
               value <= option->max;
    }
    if (!good) {
        config_value_bounds(option, &must);
        if (option->type == CONFIG_TYPE_DURATION && text[strspn(text, "0123456789")] == '\0')
            buf_append_text(&must, ", with its unit: ms, s, m, h or d");
        err_set(err, ERR_INVALID, "must be %.*s", SLICE_ARG(buf_slice(&must)));
        buf_free(&must);
        return ERR_INVALID;
    }
    if (option->type == CONFIG_TYPE_STRING) {
        char **field = config_string(option, config);

        free(*field);
        *field = mem_strdup(text);
    } else {
        *config_number(option, config) = value;
    }
    return 0;
}

void config_value_format(const struct config_option *option, uint64_t value, struct buf *out)
{
    const struct unit *unit = units_of(option->type);

    if (option->type == CONFIG_TYPE_CHOICE) {
        buf_append_text(out, option->choices[value]);
        return;
    }
    if (value == 0) {
        buf_append_char(out, '0');
        return;
    }
    while (value % unit->factor != 0)
        unit++;
    buf_printf(out, "%" PRIu64 "%s", value / unit->factor, unit->name);
}

static void bounds_of_choice(const struct config_option *option, struct buf *out)
{
    for (size_t i = 0; option->choices[i] != NULL; i++) {
        if (i > 0)
            buf_append_text(out, option->choices[i + 1] != NULL ? ", " : " or ");
        buf_append_text(out, option->choices[i]);
    }
}

void config_value_bounds(const struct config_option *option, struct buf *out)
{
    switch (option->type) {
    case CONFIG_TYPE_STRING:
        buf_printf(out, "a line of text of %" PRIu64 " to %" PRIu64 " bytes", option->min,
                   option->max);
        return;
    case CONFIG_TYPE_CHOICE:
        bounds_of_choice(option, out);
        return;
    case CONFIG_TYPE_SIZE:
        buf_append_text(out, "a size");
        break;
    case CONFIG_TYPE_DURATION:
        buf_append_text(out, "a duration");
        break;
    case CONFIG_TYPE_INTEGER:
        buf_append_text(out, "an integer");
        break;
    }
    buf_append_text(out, " from ");
    config_value_format(option, option->min, out);
    buf_append_text(out, " to ");
    config_value_format(option, option->max, out);
}

static bool is_secret(const struct config_option *option)
{
    return option->offset == offsetof(struct config, introspection_client_secret);
}

void config_value_redacted(const struct config_option *option, const char *text, struct buf *out)
{
    if (is_secret(option) && *text != '\0')
        buf_append_text(out, "***");
    else if (option->offset == offsetof(struct config, database_url))
        config_redacted_url(text, out);
    else if (option->offset == offsetof(struct config, jwks_url) ||
             option->offset == offsetof(struct config, introspection_url))
        config_redacted_address(text, out);
    else
        buf_append_text(out, text);
}

void config_value_show(const struct config_option *option, const struct config *config,
                       struct buf *out)
{
    struct config *field_of = (struct config *)config; /* only read */

    if (option->type != CONFIG_TYPE_STRING)
        config_value_format(option, *config_number(option, field_of), out);
    else
        config_value_redacted(option, *config_string(option, field_of), out);
}
