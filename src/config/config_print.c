/*
 * The table as text: help, the list of values in force, and Markdown. What is printed
 * comes from the rows alone, so the three never disagree with what config_load() takes.
 */
#include "config/config_priv.h"

static const char *word_of_type(enum config_type type)
{
    switch (type) {
    case CONFIG_TYPE_STRING:
        return "TEXT";
    case CONFIG_TYPE_SIZE:
        return "SIZE";
    case CONFIG_TYPE_DURATION:
        return "DURATION";
    case CONFIG_TYPE_INTEGER:
        return "NUMBER";
    case CONFIG_TYPE_CHOICE:
        return "WORD";
    }
    return "";
}

/* The default without its mark; "none" if it is empty. */
static const char *default_of(const struct config_option *option)
{
    if (option->fallback[0] == '\0')
        return "none";
    return option->fallback[0] == '=' ? option->fallback + 1 : option->fallback;
}

static void append_spaces(struct buf *out, size_t from, size_t to)
{
    for (; from < to; from++)
        buf_append_char(out, ' ');
}

void config_help(struct buf *out)
{
    buf_append_text(out, "Options, each also an environment variable (--data-dir is DATA_DIR);\n"
                         "sizes take KiB, MiB, GiB, TiB, durations ms, s, m, h, d:\n");
    for (const struct config_option *option = config_table; option->name != NULL; option++) {
        char flag[CONFIG_FLAG_SIZE];

        if (option->section != NULL)
            buf_printf(out, "\n%s\n", option->section);
        config_flag(option, flag);
        buf_printf(out, "  --%s %s\n      %s\n      (", flag, word_of_type(option->type),
                   option->help);
        if (option->type != CONFIG_TYPE_STRING) {
            config_value_bounds(option, out);
            buf_append_text(out, "; ");
        }
        buf_printf(out, "default: %s)\n", default_of(option));
    }
}

/* Writes a value as a .env file may hold it. */
static void append_dotenv_value(struct slice value, struct buf *out)
{
    bool quote = false;

    for (size_t i = 0; i < value.len; i++)
        quote = quote || strchr(" \t#'\"\\$", value.at[i]) != NULL;
    if (!quote) {
        buf_append_slice(out, value);
        return;
    }
    buf_append_char(out, '"');
    for (size_t i = 0; i < value.len; i++) {
        if (strchr("\"\\$", value.at[i]) != NULL)
            buf_append_char(out, '\\');
        buf_append_char(out, value.at[i]);
    }
    buf_append_char(out, '"');
}

void config_show(const struct config *config, struct buf *out)
{
    static const char *const sources[] = {
        [CONFIG_DEFAULT] = "default",
        [CONFIG_DOTENV] = ".env",
        [CONFIG_ENVIRON] = "environment",
        [CONFIG_FLAG] = "flag",
    };
    struct buf value = {0};

    for (int row = 0; config_table[row].name != NULL; row++) {
        const struct config_option *option = &config_table[row];
        size_t start;

        if (option->section != NULL)
            buf_printf(out, "%s# %s\n", row > 0 ? "\n" : "", option->section);
        start = out->len;
        buf_printf(out, "%s=", option->name);
        buf_reset(&value, SIZE_MAX);
        config_value_show(option, config, &value);
        append_dotenv_value(buf_slice(&value), out);
        append_spaces(out, out->len - start, 40);
        buf_printf(out, " # %s; %s\n", sources[config->sources[row]], option->help);
    }
    buf_free(&value);
}

int config_blame(const struct config *config, const char *name, struct err *err)
{
    const struct config_option *option = config_table;
    struct buf value = {0};

    while (strcmp(option->name, name) != 0)
        option++;
    config_value_show(option, config, &value);
    buf_append_char(&value, '\0');
    err_wrap(err, "%s=%.100s", name, value.data);
    buf_free(&value);
    return err->code;
}

void config_markdown(struct buf *out)
{
    for (const struct config_option *option = config_table; option->name != NULL; option++) {
        char flag[CONFIG_FLAG_SIZE];

        if (option->section != NULL)
            buf_printf(out,
                       "%s### %s\n\n| environment | flag | default | values | meaning |\n"
                       "|---|---|---|---|---|\n",
                       option == config_table ? "" : "\n", option->section);
        config_flag(option, flag);
        buf_printf(out, "| `%s` | `--%s` | ", option->name, flag);
        if (option->fallback[0] == '\0' || strchr(default_of(option), ' ') != NULL)
            buf_append_text(out, default_of(option)); /* words, no value */
        else
            buf_printf(out, "`%s`", default_of(option));
        buf_append_text(out, " | ");
        if (option->type == CONFIG_TYPE_STRING)
            buf_append_text(out, "text");
        else
            config_value_bounds(option, out);
        buf_printf(out, " | %s |\n", option->help);
    }
}
