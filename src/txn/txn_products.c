/*
 * The product table: what is built in, and what the operator adds.
 *
 * Kept sorted by number. The built-in numbers have no gaps, so a lookup by number is one
 * comparison for them and a binary search for the others; names are few and compared one
 * by one.
 */
#include "txn/txn.h"

#include "base/mem.h"

#include <stdlib.h>

static const char *const built_in[] = {
    "OTHER", "MOBILE_IOS", "MOBILE_ANDROID", "MOBILE_BACKEND", "PORTAL", "PCR", "PDP", "PCA",
    "PCP",   "OHQ",        "CLUBS",
};

enum { BUILT_IN = sizeof built_in / sizeof *built_in };

struct product {
    uint32_t number;
    struct slice name; /* NUL-terminated in `text` of the table, or static */
};

struct txn_products {
    size_t count;
    struct product *table;
    char *text; /* holds the names of `extra` */
};

static int compare_numbers(const void *a, const void *b)
{
    uint32_t first = ((const struct product *)a)->number;
    uint32_t second = ((const struct product *)b)->number;

    return (first > second) - (first < second);
}

static bool is_name(struct slice name)
{
    if (name.len == 0 || name.len > TXN_MAX_PRODUCT_NAME)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.at[i];

        if (!(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && c != '_')
            return false;
    }
    return true;
}

static bool take_number(const char *text, size_t len, uint32_t *ret)
{
    uint64_t number = 0;

    if (len == 0 || len > 10)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(text[i] - '0');
    }
    if (number > INT32_MAX)
        return false;
    *ret = (uint32_t)number;
    return true;
}

/* Adds one "NUMBER=NAME" that lies in products->text; ends the name with a NUL. */
static int add_entry(struct txn_products *products, char *entry, struct err *err)
{
    char *equals = strchr(entry, '=');
    struct product product;

    if (equals == NULL || !take_number(entry, (size_t)(equals - entry), &product.number))
        return err_set(err, ERR_INVALID, "product \"%.80s\" is not written NUMBER=NAME", entry);
    product.name = slice_of(equals + 1);
    if (!is_name(product.name))
        return err_set(err, ERR_INVALID,
                       "product \"%.80s\": a name is 1 to %d characters of A-Z, 0-9 and _", entry,
                       TXN_MAX_PRODUCT_NAME);
    for (size_t i = 0; i < products->count; i++) {
        if (products->table[i].number == product.number ||
            slice_equal(products->table[i].name, product.name))
            return err_set(err, ERR_INVALID, "product \"%.80s\" is taken by %u=%s", entry,
                           products->table[i].number, products->table[i].name.at);
    }
    products->table[products->count++] = product;
    return 0;
}

static int add_extra(struct txn_products *products, struct err *err)
{
    for (char *entry = products->text; entry != NULL;) {
        char *comma = strchr(entry, ',');
        int rc;

        if (comma != NULL)
            *comma = '\0';
        rc = add_entry(products, entry, err);
        if (rc < 0)
            return rc;
        entry = comma != NULL ? comma + 1 : NULL;
    }
    return 0;
}

int txn_products_open(const char *extra, struct txn_products **ret, struct err *err)
{
    struct txn_products *products = mem_zalloc(sizeof *products);
    size_t room = BUILT_IN + 1;
    int rc = 0;

    for (const char *at = extra; at != NULL && *at != '\0'; at++)
        room += *at == ',';
    products->table = mem_alloc(room * sizeof *products->table);
    for (uint32_t i = 0; i < BUILT_IN; i++)
        products->table[i] = (struct product){i, slice_of(built_in[i])};
    products->count = BUILT_IN;
    if (extra != NULL && *extra != '\0') {
        products->text = mem_strdup(extra);
        rc = add_extra(products, err);
    }
    if (rc < 0) {
        txn_products_close(products);
        return rc;
    }
    qsort(products->table, products->count, sizeof *products->table, compare_numbers);
    *ret = products;
    return 0;
}

void txn_products_close(struct txn_products *products)
{
    if (products == NULL)
        return;
    free(products->text);
    free(products->table);
    free(products);
}

bool txn_product_by_name(const struct txn_products *products, struct slice name, uint32_t *ret)
{
    for (size_t i = 0; i < products->count; i++) {
        if (slice_equal(products->table[i].name, name)) {
            *ret = products->table[i].number;
            return true;
        }
    }
    return false;
}

const char *txn_product_name(const struct txn_products *products, uint32_t product)
{
    const struct product *found;

    if (product < BUILT_IN)
        return built_in[product];
    found = bsearch(&(struct product){.number = product}, products->table, products->count,
                    sizeof *products->table, compare_numbers);
    return found != NULL ? found->name.at : NULL;
}
