/*
 * Who may write what: "urn:pennlabs:clubs=CLUBS,urn:pennlabs:courses=PCA+PCP".
 *
 * The list is short and looked through once for each token that is not in a cache. Two entries
 * for the same pattern would leave open which one counts, so they are refused.
 */
#include "auth/auth_priv.h"

#include "base/mem.h"

#include <stdlib.h>

enum { MOST_GRANTS = 1024, SHOWN = 100 };

static int shown(struct slice text)
{
    return text.len < SHOWN ? (int)text.len : SHOWN;
}

/* "PCA+PCP", each there and at least one. */
static int read_products(struct slice text, const struct txn_products *products,
                         struct auth_grant *grant, struct err *err)
{
    const char *end = text.at + text.len;

    for (const char *at = text.at;;) {
        const char *plus = memchr(at, '+', (size_t)(end - at));
        struct slice name =
            auth_trim((struct slice){at, (size_t)((plus != NULL ? plus : end) - at)});
        uint32_t product;

        if (!txn_product_by_name(products, name, &product))
            return err_set(err, ERR_INVALID, "there is no product \"%.*s\"", shown(name), name.at);
        grant->products =
            mem_realloc(grant->products, (grant->count + 1) * sizeof *grant->products);
        grant->products[grant->count++] = product;
        if (plus == NULL)
            return 0;
        at = plus + 1;
    }
}

static bool is_there(const struct auth_grants *grants, const struct auth_urn *urn)
{
    for (size_t i = 0; i < grants->count; i++) {
        const struct auth_urn *other = &grants->list[i].urn;

        if (other->prefix == urn->prefix && strcmp(other->text, urn->text) == 0)
            return true;
    }
    return false;
}

static int read_entry(struct auth_grants *grants, struct slice entry,
                      const struct txn_products *products, struct err *err)
{
    /* The last one: a URN may have others in it, a product's name has none. */
    const char *equals = entry.len > 0 ? memrchr(entry.at, '=', entry.len) : NULL;
    struct auth_grant grant = {0};
    size_t len;
    int rc;

    if (equals == NULL)
        return err_set(err, ERR_INVALID, "\"%.*s\" is not written URN=PRODUCT+PRODUCT",
                       shown(entry), entry.len > 0 ? entry.at : "");
    if (grants->count == MOST_GRANTS)
        return err_set(err, ERR_INVALID, "more than %d entries", MOST_GRANTS);
    len = (size_t)(equals - entry.at);
    rc = auth_urn_parse(auth_trim((struct slice){entry.at, len}), &grant.urn, err);
    if (rc == 0 && is_there(grants, &grant.urn))
        rc = err_set(err, ERR_INVALID, "\"%.*s\": its URN has an entry already", shown(entry),
                     entry.at);
    if (rc == 0)
        rc = read_products((struct slice){equals + 1, entry.len - len - 1}, products, &grant, err);
    if (rc != 0) {
        free(grant.urn.text);
        free(grant.products);
        return rc;
    }
    grants->list = mem_realloc(grants->list, (grants->count + 1) * sizeof *grants->list);
    grants->list[grants->count++] = grant;
    return 0;
}

int auth_grants_parse(const char *text, const struct txn_products *products,
                      struct auth_grants *ret, struct err *err)
{
    struct auth_grants grants = {0};

    while (*text != '\0') {
        size_t len = strcspn(text, ",");
        int rc = read_entry(&grants, auth_trim((struct slice){text, len}), products, err);

        if (rc == 0 && text[len] == ',' && text[len + 1] == '\0')
            rc = err_set(err, ERR_INVALID, "there is nothing behind the last comma");
        if (rc != 0) {
            auth_grants_free(&grants);
            return rc;
        }
        text += len + (text[len] == ',');
    }
    *ret = grants;
    return 0;
}

void auth_grants_free(struct auth_grants *grants)
{
    for (size_t i = 0; i < grants->count; i++) {
        free(grants->list[i].urn.text);
        free(grants->list[i].products);
    }
    free(grants->list);
    *grants = (struct auth_grants){0};
}

static bool is_more_exact(const struct auth_urn *one, const struct auth_urn *other)
{
    return one->prefix != other->prefix ? !one->prefix : one->len > other->len;
}

const struct auth_grant *auth_grants_find(const struct auth_grants *grants, const char *urn)
{
    const struct auth_grant *found = NULL;

    for (size_t i = 0; i < grants->count; i++) {
        const struct auth_grant *grant = &grants->list[i];

        if (auth_urn_covers(&grant->urn, urn) &&
            (found == NULL || is_more_exact(&grant->urn, &found->urn)))
            found = grant;
    }
    return found;
}
