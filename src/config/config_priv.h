/*
 * What the files of this room share: the row of the table, values as text, .env lines.
 */
#ifndef CONFIG_CONFIG_PRIV_H
#define CONFIG_CONFIG_PRIV_H

#include "base/slice.h"
#include "config/config.h"

enum config_type {
    CONFIG_TYPE_STRING,
    CONFIG_TYPE_SIZE,
    CONFIG_TYPE_DURATION,
    CONFIG_TYPE_INTEGER,
    CONFIG_TYPE_CHOICE,
};

/*
 * One option. Bounds are inclusive: of the value in bytes, milliseconds or units, and of
 * the length for strings. A choice's value is its place in `choices`. `fallback` is the
 * default as text; where it starts with "=" the rest only describes it, and
 * config_load.c computes it.
 */
struct config_option {
    const char *section; /* the heading it stands under; NULL: that of the row before */
    const char *name;    /* of the environment; the flag is derived */
    enum config_type type;
    size_t offset; /* of the field in struct config: char * or uint64_t */
    uint64_t min;
    uint64_t max;
    const char *fallback;
    const char *const *choices; /* NULL-terminated */
    const char *help;           /* one line, no full stop */
};

/* The table ends with .name == NULL. */
extern const struct config_option config_table[];

#define CONFIG_FLAG_SIZE 40

/* "QUEUE_MAX_BYTES" becomes "queue-max-bytes". */
void config_flag(const struct config_option *option, char out[CONFIG_FLAG_SIZE]);

/* Reads `text` as the option's type into its field of `config`; a string's old value is
 * released. ERR_INVALID says what the option must be ("must be a size from ..."), not its
 * name or value. */
MUST_CHECK int config_value_set(const struct config_option *option, const char *text,
                                struct config *config, struct err *err);

/* What a value must be: "a size from 64MiB to 1PiB". */
void config_value_bounds(const struct config_option *option, struct buf *out);

/* A number as this option writes it, exact, in the largest unit: 64MiB, 200ms, fsync. */
void config_value_format(const struct config_option *option, uint64_t value, struct buf *out);

/* A value of this option as it may be shown: no secret, no password in a URL. */
void config_value_redacted(const struct config_option *option, const char *text, struct buf *out);

/* config_redacted_url() for an address that is asked by HTTP, whose query may be a secret as a
 * whole. */
void config_redacted_address(const char *url, struct buf *out);

/* The field as text; secrets stay out. */
void config_value_show(const struct config_option *option, const struct config *config,
                       struct buf *out);

/* The two kinds of field. */
char **config_string(const struct config_option *option, struct config *config);
uint64_t *config_number(const struct config_option *option, struct config *config);

#define CONFIG_DOTENV_MAX 65536 /* bytes */

/*
 * Gives each NAME=value of a .env file to `visit`, in order; the text of the value is
 * borrowed for the call. ERR_INVALID names the line: "line 3: ...". May have visited
 * lines before a bad one.
 */
typedef void config_dotenv_visit(struct slice name, struct slice value, unsigned line, void *arg);
MUST_CHECK int config_dotenv_parse(struct slice text, config_dotenv_visit *visit, void *arg,
                                   struct err *err);

#endif
