/*
 * Origins: how they are written, and lists of them.
 *
 * A browser sends the serialised origin (RFC 6454 section 6.2): scheme and host in lower
 * case, the port only where it is not the scheme's own. What an operator writes is brought into
 * that form once, so that a request's origin is compared byte by byte.
 */
#include "auth/auth_apikeys_priv.h"

#include "base/mem.h"

#include <ctype.h>
#include <stdlib.h>

struct auth_origins {
    bool any;
    size_t count;
    char **list;
};

static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
static const char scheme_rest[] = "abcdefghijklmnopqrstuvwxyz0123456789+-.";
static const char host_letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-._";
static const char address_letters[] = "abcdef0123456789:.";

/* The length of the host at the start, or 0. */
static size_t host_length(const char *at)
{
    size_t len;

    if (*at != '[')
        return strspn(at, host_letters);
    len = strspn(at + 1, address_letters);
    return len > 0 && at[1 + len] == ']' ? len + 2 : 0;
}

/* Checks ":<port>" or nothing at the end; takes away what goes without saying. */
static bool check_port(char *origin, char *at)
{
    unsigned long port;

    if (*at == '\0')
        return true;
    if (*at != ':' || at[1] < '1' || at[1] > '9' || strlen(at + 1) > 5 ||
        strspn(at + 1, "0123456789") != strlen(at + 1))
        return false;
    port = strtoul(at + 1, NULL, 10);
    if ((port == 80 && strncmp(origin, "http:", 5) == 0) ||
        (port == 443 && strncmp(origin, "https:", 6) == 0))
        *at = '\0';
    return port <= UINT16_MAX;
}

bool auth_origin_normal(struct slice text, char out[AUTH_MAX_ORIGIN])
{
    char origin[AUTH_MAX_ORIGIN];
    size_t scheme, host;

    if (text.len == 0 || text.len >= sizeof origin || memchr(text.at, '\0', text.len) != NULL)
        return false;
    for (size_t i = 0; i < text.len; i++)
        origin[i] = (char)tolower((unsigned char)text.at[i]);
    origin[text.len] = '\0';
    scheme = strspn(origin, letters) > 0 ? strspn(origin, scheme_rest) : 0;
    if (scheme == 0 || strncmp(origin + scheme, "://", 3) != 0)
        return false;
    host = host_length(origin + scheme + 3);
    if (host == 0 || !check_port(origin, origin + scheme + 3 + host))
        return false;
    memcpy(out, origin, sizeof origin);
    return true;
}

static int add(struct auth_origins *origins, struct slice part, struct err *err)
{
    char origin[AUTH_MAX_ORIGIN];

    if (!auth_origin_normal(part, origin))
        return err_set(err, ERR_INVALID,
                       "\"%.*s\" is not an origin such as https://pennclubs.com or "
                       "http://localhost:3000",
                       part.len < 100 ? (int)part.len : 100, part.len > 0 ? part.at : "");
    origins->list = mem_realloc(origins->list, (origins->count + 1) * sizeof *origins->list);
    origins->list[origins->count++] = mem_strdup(origin);
    return 0;
}

int auth_origins_parse(const char *text, struct auth_origins **ret, struct err *err)
{
    struct auth_origins *origins = mem_zalloc(sizeof *origins);

    origins->any = slice_is(auth_trim(slice_of(text)), "*");
    while (!origins->any && auth_trim(slice_of(text)).len > 0) {
        size_t len = strcspn(text, ",");
        int rc = add(origins, auth_trim((struct slice){text, len}), err);

        if (rc == 0 && text[len] == ',' && auth_trim(slice_of(text + len + 1)).len == 0)
            rc = err_set(err, ERR_INVALID, "ends with a comma");
        if (rc != 0) {
            auth_origins_free(origins);
            return rc;
        }
        text += len + (text[len] == ',');
    }
    *ret = origins;
    return 0;
}

void auth_origins_free(struct auth_origins *origins)
{
    if (origins == NULL)
        return;
    for (size_t i = 0; i < origins->count; i++)
        free(origins->list[i]);
    free(origins->list);
    free(origins);
}

bool auth_origins_any(const struct auth_origins *origins)
{
    return origins->any;
}

bool auth_origins_allow(const struct auth_origins *origins, struct slice origin)
{
    for (size_t i = 0; i < origins->count; i++) {
        if (slice_is(origin, origins->list[i]))
            return true;
    }
    return origins->any && origin.at != NULL && !slice_is(origin, "null");
}

bool auth_may_come_from(const struct auth_claims *claims, struct slice origin)
{
    for (size_t i = 0; i < claims->origin_count; i++) {
        if (slice_is(origin, claims->origins[i]))
            return true;
    }
    return claims->origin_count == 0;
}
