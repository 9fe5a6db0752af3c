/*
 * Who may write what: what the list may say, and which of its entries counts.
 */
#include "auth/auth_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct txn_products *products;

/* The first product that the URN is bound to; -1: it may write all. */
static int first_of(const char *list, const char *urn)
{
    const struct auth_grant *grant;
    struct auth_grants grants;
    struct err err = {0};
    int product = -1;

    if (auth_grants_parse(list, products, &grants, &err) != 0)
        fail_msg("%s: %s", list, err.text);
    grant = auth_grants_find(&grants, urn);
    if (grant != NULL) {
        assert_true(grant->count > 0);
        product = (int)grant->products[0];
    }
    auth_grants_free(&grants);
    return product;
}

static void a_urn_without_an_entry_may_write_all(void **state)
{
    (void)state;
    assert_int_equal(first_of("", "urn:a:b"), -1);
    assert_int_equal(first_of("urn:a:b=PCR", "urn:a:c"), -1);
    assert_int_equal(first_of("urn:a:b:*=PCR", "urn:a:b"), -1);
}

static void an_entry_binds_its_urn(void **state)
{
    (void)state;
    assert_int_equal(first_of("urn:a:b=PCR", "urn:a:b"), 5);
    assert_int_equal(first_of(" urn:a:x=PCA , urn:a:b = PCR", "urn:a:b"), 5);
    assert_int_equal(first_of("urn:a:*=PCR", "urn:a:b:c"), 5);
    assert_int_equal(first_of("urn:a:b=c=PCR", "urn:a:b=c"), 5);
}

static void the_most_exact_entry_counts(void **state)
{
    static const char *const lists[] = {
        "urn:*=OTHER,urn:a:*=PCA,urn:a:b=PCR,urn:a:b:*=PCP",
        "urn:a:b:*=PCP,urn:a:b=PCR,urn:a:*=PCA,urn:*=OTHER",
    };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(first_of(lists[i], "urn:a:b"), 5);
        assert_int_equal(first_of(lists[i], "urn:a:c"), 7);
        assert_int_equal(first_of(lists[i], "urn:a:b:c"), 8);
        assert_int_equal(first_of(lists[i], "urn:b"), 0);
    }
}

static void several_products_are_all_bound(void **state)
{
    struct auth_claims claims = {0};
    const struct auth_grant *grant;
    struct auth_grants grants;

    (void)state;
    assert_int_equal(auth_grants_parse("urn:a:b=PCA+ PCP +MENU", products, &grants, NULL), 0);
    grant = auth_grants_find(&grants, "urn:a:b");
    claims.products = grant->products;
    claims.product_count = grant->count;
    for (uint32_t product = 0; product < 20; product++)
        assert_int_equal(auth_may_write(&claims, product),
                         product == 7 || product == 8 || product == 11);
    auth_grants_free(&grants);
}

static void is_refused(const char *list, const char *words)
{
    struct auth_grants grants;
    struct err err = {0};

    assert_int_equal(auth_grants_parse(list, products, &grants, &err), ERR_INVALID);
    if (strstr(err.text, words) == NULL)
        fail_msg("%s: %s", list, err.text);
}

static void a_bad_list_is_refused_with_words(void **state)
{
    (void)state;
    is_refused("urn:a:b", "\"urn:a:b\" is not written URN=PRODUCT+PRODUCT");
    is_refused(" ", "is not written");
    is_refused("urn:a:b=", "no product \"\"");
    is_refused("urn:a:b=PCA+", "no product \"\"");
    is_refused("urn:a:b=pca", "no product \"pca\"");
    is_refused("urn:a:b=7", "no product \"7\"");
    is_refused("urn:a:b=PCA+PCA PCP", "no product \"PCA PCP\"");
    is_refused("clubs=CLUBS", "\"clubs\" is not a URN");
    is_refused("=CLUBS", "is not a URN");
    is_refused("urn:a*=CLUBS", "may have * only as its last part");
    is_refused("urn:a:b=CLUBS,", "nothing behind the last comma");
    is_refused(",urn:a:b=CLUBS", "is not written");
    is_refused("urn:a:b=CLUBS,urn:a:c=PCA,urn:a:b=PCR", "has an entry already");
}

static void a_pattern_and_its_prefix_are_two_things(void **state)
{
    (void)state;
    assert_int_equal(first_of("urn:a:*=PCA,urn:a:=PCR", "urn:a:"), 5);
}

static int set_up(void **state)
{
    (void)state;
    return txn_products_open("11=MENU", &products, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    txn_products_close(products);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_urn_without_an_entry_may_write_all),
        cmocka_unit_test(an_entry_binds_its_urn),
        cmocka_unit_test(the_most_exact_entry_counts),
        cmocka_unit_test(several_products_are_all_bound),
        cmocka_unit_test(a_bad_list_is_refused_with_words),
        cmocka_unit_test(a_pattern_and_its_prefix_are_two_things),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
