/*
 * Any text as a list that an operator writes, or as what is compared with one: what is taken and
 * what is refused is said again by regular expressions. The first byte chooses:
 *
 *   0  an origin, and a list of them (CORS_ORIGINS)
 *   1  products (PRODUCTS)
 *   2  addresses (LISTEN)
 *   3  an API key
 */
#include "auth/auth_apikeys_priv.h"
#include "http/http.h"

#include <arpa/inet.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST_PARTS = 64, PART_SIZE = 300, PORT_MAX = 65535, GROUPS = 6 };

struct parts {
    char text[MOST_PARTS][PART_SIZE];
    size_t count;
    bool full; /* there are more, or longer ones */
};

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* `regex` is all zero at first, and then the pattern, which has a group. */
static bool matches(regex_t *regex, const char *pattern, const char *text,
                    regmatch_t groups[GROUPS])
{
    if (regex->re_nsub == 0)
        require(regcomp(regex, pattern, REG_EXTENDED) == 0);
    return regexec(regex, text, GROUPS, groups, 0) == 0;
}

static bool is_blank(char c, const char *blanks)
{
    return c != '\0' && strchr(blanks, c) != NULL;
}

/* What stands between commas, without the blanks around it. */
static void split(const char *list, const char *blanks, struct parts *ret)
{
    const char *at = list;

    ret->count = 0;
    ret->full = false;
    for (;;) {
        const char *end = strchrnul(at, ',');
        const char *last = end;
        const char *next = *end == ',' ? end + 1 : NULL;

        while (at < last && is_blank(*at, blanks))
            at++;
        while (at < last && is_blank(last[-1], blanks))
            last--;
        ret->full |= ret->count == MOST_PARTS || last - at >= PART_SIZE;
        if (ret->full)
            return;
        snprintf(ret->text[ret->count++], PART_SIZE, "%.*s", (int)(last - at), at);
        if (next == NULL)
            return;
        at = next;
    }
}

/* -- origins */

static bool is_origin(const char *text, char out[AUTH_MAX_ORIGIN])
{
    static regex_t regex;
    regmatch_t groups[GROUPS];
    char lower[AUTH_MAX_ORIGIN];
    long port;

    if (strlen(text) >= sizeof lower)
        return false;
    for (size_t i = 0; i <= strlen(text); i++)
        lower[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
    if (!matches(&regex,
                 "^([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\\[[a-f0-9:.]+\\])(:([1-9][0-9]{0,4}))?$",
                 lower, groups))
        return false;
    port = groups[4].rm_so >= 0 ? atol(lower + groups[4].rm_so) : 0;
    if (port > PORT_MAX)
        return false;
    if ((port == 80 && strncmp(lower, "http://", 7) == 0) ||
        (port == 443 && strncmp(lower, "https://", 8) == 0))
        lower[groups[3].rm_so] = '\0';
    strcpy(out, lower);
    return true;
}

static void try_origin(const char *text)
{
    char normal[AUTH_MAX_ORIGIN], again[AUTH_MAX_ORIGIN], expected[AUTH_MAX_ORIGIN];
    bool good = is_origin(text, expected);

    require(auth_origin_normal(slice_of(text), normal) == good);
    if (!good)
        return;
    require(strcmp(normal, expected) == 0);
    require(auth_origin_normal(slice_of(normal), again) && strcmp(normal, again) == 0);
}

static void try_origins(const char *list)
{
    static struct parts parts;
    struct auth_origins *origins;
    char origin[AUTH_MAX_ORIGIN];
    struct err err = {0};
    bool good = true;

    try_origin(list);
    split(list, " ", &parts);
    if (parts.full)
        return;
    for (size_t i = 0; i < parts.count; i++)
        good = good && is_origin(parts.text[i], origin);
    if (parts.count == 1)
        good |= strcmp(parts.text[0], "*") == 0 || parts.text[0][0] == '\0';
    if (auth_origins_parse(list, &origins, &err) != 0) {
        require(!good && err.code == ERR_INVALID && err.text[0] != '\0');
        return;
    }
    require(good && !auth_origins_allow(origins, SLICE("null")));
    require(!auth_origins_allow(origins, (struct slice){0}));
    for (size_t i = 0; i < parts.count; i++)
        if (is_origin(parts.text[i], origin))
            require(auth_origins_allow(origins, slice_of(origin)));
    require(auth_origins_any(origins) == (strcmp(parts.text[0], "*") == 0));
    auth_origins_free(origins);
}

/* -- products */

static bool is_product(const char *text, uint32_t *ret_number, const char **ret_name)
{
    static regex_t regex;
    regmatch_t groups[GROUPS];
    char pattern[64];
    long long number;

    snprintf(pattern, sizeof pattern, "^([0-9]{1,10})=([A-Z0-9_]{1,%d})$", TXN_MAX_PRODUCT_NAME);
    if (!matches(&regex, pattern, text, groups))
        return false;
    number = atoll(text);
    *ret_number = (uint32_t)number;
    *ret_name = text + groups[2].rm_so;
    return number <= INT32_MAX;
}

/* Neither the built-in ones have it, nor those before. */
static bool is_new(const struct parts *parts, size_t place, const struct txn_products *built_in)
{
    uint32_t number, other, ignored;
    const char *name, *other_name;

    require(is_product(parts->text[place], &number, &name));
    if (txn_product_name(built_in, number) != NULL ||
        txn_product_by_name(built_in, slice_of(name), &ignored))
        return false;
    for (size_t i = 0; i < place; i++)
        if (is_product(parts->text[i], &other, &other_name) &&
            (other == number || strcmp(other_name, name) == 0))
            return false;
    return true;
}

static void check_products(const struct parts *parts, const struct txn_products *products)
{
    for (size_t i = 0; i < parts->count; i++) {
        uint32_t number, found;
        const char *name;

        if (parts->text[0][0] == '\0')
            continue;
        require(is_product(parts->text[i], &number, &name));
        require(txn_product_by_name(products, slice_of(name), &found) && found == number);
        require(strcmp(txn_product_name(products, number), name) == 0);
    }
    require(strcmp(txn_product_name(products, 10), "CLUBS") == 0);
}

static void try_products(const char *list)
{
    static struct txn_products *built_in;
    static struct parts parts;
    struct txn_products *products;
    struct err err = {0};
    bool good = true;
    uint32_t number;
    const char *name;

    if (built_in == NULL)
        require(txn_products_open(NULL, &built_in, NULL) == 0);
    split(list, "", &parts);
    if (parts.full)
        return;
    for (size_t i = 0; i < parts.count; i++)
        good = good && is_product(parts.text[i], &number, &name) && is_new(&parts, i, built_in);
    good |= list[0] == '\0';
    if (txn_products_open(list, &products, &err) != 0) {
        require(!good && err.code == ERR_INVALID && err.text[0] != '\0');
        return;
    }
    require(good);
    check_products(&parts, products);
    txn_products_close(products);
}

/* -- addresses */

static bool is_address(const char *text, bool has_certificate)
{
    static regex_t regex;
    regmatch_t groups[GROUPS];
    regmatch_t group;
    char host[64], bytes[16];

    if (strncmp(text, "https://", 8) == 0 && !has_certificate)
        return false;
    if (!matches(&regex, "^(https?://)?(\\[(.+)\\]|([^:]+)):([0-9]{1,7})$", text, groups) ||
        atol(text + groups[5].rm_so) > PORT_MAX)
        return false;
    group = groups[groups[3].rm_so >= 0 ? 3 : 4];
    if (group.rm_eo - group.rm_so >= (regoff_t)sizeof host)
        return false;
    snprintf(host, sizeof host, "%.*s", (int)(group.rm_eo - group.rm_so), text + group.rm_so);
    return strcmp(host, "localhost") == 0 || inet_pton(AF_INET, host, bytes) == 1 ||
           inet_pton(AF_INET6, host, bytes) == 1;
}

static void try_listen(const char *list, bool has_certificate)
{
    static struct parts parts;
    struct err err = {0};
    bool good = true;
    int code;

    split(list, " \t", &parts);
    if (parts.full)
        return;
    for (size_t i = 0; i < parts.count; i++)
        good = good && is_address(parts.text[i], has_certificate);
    code = http_check_listen(list, has_certificate, &err);
    require(good ? code == 0 : code == ERR_INVALID && err.text[0] != '\0');
}

static void try_key(struct slice text)
{
    static regex_t regex;
    char copy[2 * AUTH_KEY_SIZE] = {0};
    regmatch_t groups[GROUPS];
    bool good = false;

    if (text.len < sizeof copy) {
        memcpy(copy, text.at, text.len);
        good = strlen(copy) == text.len && text.len == AUTH_KEY_SIZE - 1 &&
               matches(&regex, "^la_([0-9a-hjkmnp-tv-z]+)$", copy, groups);
    }
    require(apikey_has_form(text) == good);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text;

    if (size == 0)
        return 0;
    text = strndup((const char *)data + 1, size - 1);
    switch (data[0] % 4) {
    case 0:
        try_origins(text);
        break;
    case 1:
        try_products(text);
        break;
    case 2:
        try_listen(text, (data[0] & 4) != 0);
        break;
    default:
        try_key((struct slice){(const char *)data + 1, size - 1});
    }
    free(text);
    return 0;
}
