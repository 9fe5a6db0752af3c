/*
 * DATABASE_URL without its password. Passwords come in three shapes:
 *
 *   postgres://user:SECRET@host/db         between the first ":" and the last "@"
 *   postgres://host/db?password=SECRET     up to the next "&"; letters of the name may be "%70"
 *   host=x password='SEC RET' user=y       up to a space, or the closing quote
 *
 * A password that was put in unescaped may hold any of these marks. The last "@" of the
 * whole text is therefore taken for the end of the first shape: of a strange URL this
 * hides too much rather than too little. A URL whose "://" is mistyped is refused with its text
 * in the words, so its password is looked for as well.
 */
#include "config/config_priv.h"

#include <ctype.h>
#include <stdlib.h>

#define HIDDEN "***"

/* The end of a value of a key=value string, which may be quoted and have escapes. */
static const char *end_of_word(const char *at)
{
    char quote = *at == '\'' ? *at++ : '\0';

    for (; *at != '\0'; at++) {
        if (*at == '\\' && at[1] != '\0')
            at++;
        else if (quote != '\0' && *at == quote)
            return at + 1;
        else if (quote == '\0' && isspace((unsigned char)*at))
            return at;
    }
    return at;
}

/* The place behind this letter, in either case, if `at` stands on it or on "%" and its code; else
 * NULL. */
static const char *behind_letter(const char *at, char letter)
{
    if (at[0] == '%' && isxdigit((unsigned char)at[1]) && isxdigit((unsigned char)at[2])) {
        const char code[] = {at[1], at[2], '\0'};

        return tolower((int)strtol(code, NULL, 16)) == letter ? at + 3 : NULL;
    }
    return tolower((unsigned char)*at) == letter ? at + 1 : NULL;
}

/* Where the value starts, if `at` stands on `password =`; else NULL. */
static const char *value_of_password(const char *at)
{
    for (const char *letter = "password"; *letter != '\0'; letter++) {
        at = behind_letter(at, *letter);
        if (at == NULL)
            return NULL;
    }
    while (isspace((unsigned char)*at))
        at++;
    if (*at != '=')
        return NULL;
    at++;
    while (isspace((unsigned char)*at))
        at++;
    return at;
}

static void redact_parameters(const char *at, bool is_url, struct buf *out)
{
    while (*at != '\0') {
        const char *value = value_of_password(at);

        if (value == NULL) {
            buf_append_char(out, *at++);
            continue;
        }
        buf_append(out, at, (size_t)(value - at));
        buf_append_text(out, HIDDEN);
        at = is_url ? value + strcspn(value, "&") : end_of_word(value);
    }
}

/* A path, or host=... user=...; of what has no "://" all else is taken for a mistyped URL. */
static bool is_no_url(const char *text)
{
    return strncmp(text, "sqlite:", 7) == 0 || text[strcspn(text, "=:@")] == '=';
}

void config_redacted_url(const char *url, struct buf *out)
{
    const char *scheme = strstr(url, "://");
    const char *authority, *colon, *at_sign;

    if (scheme == NULL && is_no_url(url)) {
        redact_parameters(url, false, out);
        return;
    }
    authority = scheme != NULL ? scheme + 3 : url;
    colon = strchr(authority, ':');
    at_sign = strrchr(authority, '@');
    if (colon == NULL || at_sign == NULL || at_sign < colon) {
        redact_parameters(url, true, out);
        return;
    }
    buf_append(out, url, (size_t)(colon + 1 - url));
    buf_append_text(out, HIDDEN);
    redact_parameters(at_sign, true, out);
}

void config_redacted_address(const char *url, struct buf *out)
{
    struct buf shown = {0};
    size_t len;

    config_redacted_url(url, &shown);
    buf_append_char(&shown, '\0');
    len = strcspn(shown.data, "?#");
    buf_append(out, shown.data, len);
    if (shown.data[len] != '\0')
        buf_append_text(out, "?" HIDDEN);
    buf_free(&shown);
}
