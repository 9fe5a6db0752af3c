/*
 * Any bytes as a .env file: no crash, and every value it gives fits in the file.
 */
#include "config/config_priv.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct slice name, struct slice value, unsigned line, void *arg)
{
    size_t size = *(const size_t *)arg;

    if (name.len == 0 || line == 0 || name.len + value.len > size ||
        memchr(value.at, '\0', value.len) != NULL)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = {(const char *)data, size};
    struct err err = {0};
    struct buf out = {0};
    char *url;

    if (config_dotenv_parse(text, check, &size, &err) != 0 && err.text[0] == '\0')
        abort();
    url = strndup(text.len > 0 ? text.at : "", text.len);
    config_redacted_url(url, &out);
    free(url);
    buf_free(&out);
    return 0;
}
