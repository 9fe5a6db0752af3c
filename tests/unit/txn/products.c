/*
 * The product table, built in and configured.
 */
#include "txn/txn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static const char *const built_in[] = {
    "OTHER", "MOBILE_IOS", "MOBILE_ANDROID", "MOBILE_BACKEND", "PORTAL", "PCR", "PDP", "PCA",
    "PCP",   "OHQ",        "CLUBS",
};

static void the_built_in_products_are_there(void **state)
{
    static const char *const nothing[] = {NULL, ""};
    (void)state;

    for (int i = 0; i < 2; i++) {
        struct txn_products *products;
        uint32_t number = 99;

        assert_int_equal(txn_products_open(nothing[i], &products, NULL), 0);
        for (uint32_t j = 0; j < 11; j++) {
            assert_string_equal(txn_product_name(products, j), built_in[j]);
            assert_true(txn_product_by_name(products, slice_of(built_in[j]), &number));
            assert_int_equal(number, j);
        }
        assert_null(txn_product_name(products, 11));
        assert_null(txn_product_name(products, UINT32_MAX));
        assert_false(txn_product_by_name(products, SLICE("clubs"), &number));
        assert_false(txn_product_by_name(products, SLICE("CLUB"), &number));
        assert_false(txn_product_by_name(products, SLICE(""), &number));
        assert_int_equal(number, 10);
        txn_products_close(products);
    }
}

static void products_can_be_added(void **state)
{
    struct txn_products *products;
    uint32_t number;
    (void)state;

    assert_int_equal(txn_products_open("2147483647=Z_9,12=TWELVE,11=1", &products, NULL), 0);
    assert_string_equal(txn_product_name(products, 11), "1");
    assert_string_equal(txn_product_name(products, 12), "TWELVE");
    assert_string_equal(txn_product_name(products, 2147483647), "Z_9");
    assert_string_equal(txn_product_name(products, 10), "CLUBS");
    assert_null(txn_product_name(products, 13));
    assert_true(txn_product_by_name(products, SLICE("Z_9"), &number));
    assert_int_equal(number, 2147483647);
    txn_products_close(products);
}

static void a_wrong_entry_is_named(void **state)
{
    static const struct {
        const char *extra, *words;
    } cases[] = {
        {"11", "\"11\" is not written"},
        {"=NAME", "\"=NAME\" is not written"},
        {"-1=NAME", "\"-1=NAME\" is not written"},
        {" 11=NAME", "\" 11=NAME\" is not written"},
        {"2147483648=NAME", "is not written"},
        {"99999999999999999999=NAME", "is not written"},
        {"11=NAME,", "\"\" is not written"},
        {",11=NAME", "\"\" is not written"},
        {"11=", "\"11=\": a name is"},
        {"11=name", "\"11=name\": a name is"},
        {"11=A B", "\"11=A B\": a name is"},
        {"11=A=B", "\"11=A=B\": a name is"},
        {"11=A,12=B-", "\"12=B-\": a name is"},
        {"11=A123456789012345678901234567890123456789012345678901234567890123", NULL},
        {"11=A1234567890123456789012345678901234567890123456789012345678901234", "a name is"},
        {"10=NEW", "is taken by 10=CLUBS"},
        {"11=CLUBS", "is taken by 10=CLUBS"},
        {"11=A,11=B", "\"11=B\" is taken by 11=A"},
        {"11=A,12=A", "\"12=A\" is taken by 11=A"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct txn_products *products = NULL;
        struct err err = {0};
        int rc = txn_products_open(cases[i].extra, &products, &err);

        assert_int_equal(rc, cases[i].words != NULL ? ERR_INVALID : 0);
        if (cases[i].words == NULL) {
            txn_products_close(products);
            continue;
        }
        assert_null(products);
        if (strstr(err.text, cases[i].words) == NULL)
            fail_msg("\"%s\" lacks \"%s\"", err.text, cases[i].words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_built_in_products_are_there),
        cmocka_unit_test(products_can_be_added),
        cmocka_unit_test(a_wrong_entry_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
