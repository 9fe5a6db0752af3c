/*
 * <data_dir>/jwks.json: the last good key set, for a start while the provider is away.
 *
 *   {"url": "https://...", "fetched": "2026-09-21T14:13:20.000000Z", "keys": [...]}
 *
 * It is written aside, brought to disk, and renamed. The URL is in it because keys are trusted
 * for where they came from: those of another provider must not be in force after the option
 * has changed. What the file says is checked like an answer of the provider.
 */
#include "auth/auth_jwks_priv.h"

#include "base/clock.h"
#include "base/file.h"

#include <stdlib.h>

#define NAME "jwks.json"

/* Another spelling of the same JSON may be longer; a number can be, at most, so much. */
#define MOST_BYTES (16 * AUTH_MAX_JWKS)

static char *path_in(const char *data_dir)
{
    struct buf path = {0};

    buf_printf(&path, "%s/" NAME, data_dir);
    buf_append_char(&path, '\0');
    return path.data;
}

int jwks_save(struct disk *disk, const char *data_dir, const char *url, struct slice jwks,
              int64_t fetched_us, struct err *err)
{
    json_t *set = json_loadb(jwks.at, jwks.len, JSON_REJECT_DUPLICATES, NULL);
    char when[CLOCK_TEXT_SIZE];
    char *path = path_in(data_dir);
    json_t *kept;
    char *text;
    int code;

    clock_format(when, fetched_us);
    kept = json_pack("{s:s, s:s, s:O}", "url", url, "fetched", when, "keys",
                     json_object_get(set, "keys"));
    text = json_dumps(kept, JSON_COMPACT);
    code = text != NULL ? file_replace(disk, path, slice_of(text), NULL, err)
                        : err_set(err, ERR_INVALID, "the key set cannot be written down");
    free(text);
    free(path);
    json_decref(kept);
    json_decref(set);
    return code;
}

static int read_set(const json_t *kept, const char *path, const char *url, struct auth_keys **ret,
                    int64_t *ret_fetched_us, struct err *err)
{
    const char *when = json_string_value(json_object_get(kept, "fetched"));
    const char *from = json_string_value(json_object_get(kept, "url"));
    int64_t fetched_us;

    if (from == NULL || when == NULL || !clock_parse(slice_of(when), &fetched_us))
        return err_set(err, ERR_CORRUPT, "%s is not a key set that was kept", path);
    if (strcmp(from, url) != 0)
        return err_set(err, ERR_CONFLICT, "%s came from another URL", path);
    if (auth_keys_read(kept, false, ret, err) != 0) {
        err_wrap(err, "%s", path);
        return ERR_CORRUPT;
    }
    *ret_fetched_us = fetched_us;
    return 0;
}

int jwks_load(struct disk *disk, const char *data_dir, const char *url, struct auth_keys **ret,
              int64_t *ret_fetched_us, struct err *err)
{
    char *path = path_in(data_dir);
    struct buf text = {0};
    json_t *kept;
    int code = file_read(disk, path, MOST_BYTES, &text, err);

    if (code == 0) {
        kept = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
        code = read_set(kept, path, url, ret, ret_fetched_us, err);
        json_decref(kept);
    }
    buf_free(&text);
    free(path);
    return code;
}
