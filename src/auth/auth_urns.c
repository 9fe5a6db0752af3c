/*
 * The list of subjects that may write: "urn:pennlabs:*,urn:example:one". URNs compare
 * byte by byte. A star is only taken as the whole last part, after a colon, so that
 * "urn:pennlabs*" does not quietly allow "urn:pennlabs-of-somebody-else:x".
 */
#include "auth/auth_priv.h"

#include "base/mem.h"

#include <stdlib.h>

#define MOST_URNS 1024

bool auth_is_subject(const char *text, size_t len)
{
    if (len == 0 || len >= AUTH_MAX_SUBJECT)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    }
    return true;
}

struct slice auth_trim(struct slice text)
{
    while (text.len > 0 && text.at[0] == ' ') {
        text.at++;
        text.len--;
    }
    while (text.len > 0 && text.at[text.len - 1] == ' ')
        text.len--;
    return text;
}

int auth_urn_parse(struct slice part, struct auth_urn *ret, struct err *err)
{
    const char *star = part.len > 0 ? memchr(part.at, '*', part.len) : NULL;
    bool prefix = star != NULL;

    if (!auth_is_subject(part.at, part.len) || part.len < 5 || memcmp(part.at, "urn:", 4) != 0)
        return err_set(err, ERR_INVALID,
                       "\"%.*s\" is not a URN (urn:pennlabs:clubs, urn:pennlabs:*)",
                       part.len < 100 ? (int)part.len : 100, part.len > 0 ? part.at : "");
    if (prefix && (star != part.at + part.len - 1 || star[-1] != ':'))
        return err_set(err, ERR_INVALID, "\"%.*s\" may have * only as its last part",
                       part.len < 100 ? (int)part.len : 100, part.at);
    part.len -= prefix;
    *ret = (struct auth_urn){mem_strndup(part.at, part.len), part.len, prefix};
    return 0;
}

bool auth_urn_covers(const struct auth_urn *pattern, const char *urn)
{
    size_t len = strlen(urn);

    return (pattern->prefix ? len > pattern->len : len == pattern->len) &&
           memcmp(urn, pattern->text, pattern->len) == 0;
}

static int add(struct auth_urns *urns, struct slice part, struct err *err)
{
    struct auth_urn urn;
    int rc;

    if (urns->count == MOST_URNS)
        return err_set(err, ERR_INVALID, "more than %d URNs", MOST_URNS);
    rc = auth_urn_parse(part, &urn, err);
    if (rc != 0)
        return rc;
    urns->list = mem_realloc(urns->list, (urns->count + 1) * sizeof *urns->list);
    urns->list[urns->count++] = urn;
    return 0;
}

int auth_urns_parse(const char *text, struct auth_urns *ret, struct err *err)
{
    struct auth_urns urns = {0};

    for (;;) {
        size_t len = strcspn(text, ",");
        int rc = add(&urns, auth_trim((struct slice){text, len}), err);

        if (rc != 0) {
            auth_urns_free(&urns);
            return rc;
        }
        if (text[len] == '\0')
            break;
        text += len + 1;
    }
    *ret = urns;
    return 0;
}

void auth_urns_free(struct auth_urns *urns)
{
    for (size_t i = 0; i < urns->count; i++)
        free(urns->list[i].text);
    free(urns->list);
    *urns = (struct auth_urns){0};
}

bool auth_urns_allow(const struct auth_urns *urns, const char *urn)
{
    for (size_t i = 0; i < urns->count; i++) {
        if (auth_urn_covers(&urns->list[i], urn))
            return true;
    }
    return false;
}
