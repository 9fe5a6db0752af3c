/*
 * Ids as text.
 */
#include "txn/txn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void an_id_says_node_and_position(void **state)
{
    static const uint64_t positions[] = {0, 1, 31, 32, 4096, UINT64_C(1) << 40, TXN_MAX_POSITION};
    char id[TXN_ID_SIZE];
    char node[TXN_NODE_SIZE];
    uint64_t position;
    (void)state;

    for (size_t i = 0; i < sizeof positions / sizeof *positions; i++) {
        txn_id_format(id, "0a1b2c3z", positions[i]);
        assert_int_equal(strlen(id), TXN_ID_SIZE - 1);
        assert_true(txn_id_parse(slice_of(id), node, &position));
        assert_string_equal(node, "0a1b2c3z");
        assert_true(position == positions[i]);
    }
    txn_id_format(id, "00000000", 33);
    assert_string_equal(id, "00000000000000000011");
    txn_id_format(id, "zzzzzzzz", TXN_MAX_POSITION);
    assert_string_equal(id, "zzzzzzzzzzzzzzzzzzzz");
}

static void ids_sort_as_positions_do(void **state)
{
    char before[TXN_ID_SIZE], after[TXN_ID_SIZE];
    (void)state;

    for (int bit = 0; bit < 60; bit++) {
        txn_id_format(before, "0a1b2c3d", (UINT64_C(1) << bit) - 1);
        txn_id_format(after, "0a1b2c3d", UINT64_C(1) << bit);
        assert_true(strcmp(before, after) < 0);
    }
}

static void other_text_is_no_id(void **state)
{
    static const char *const texts[] = {
        "",
        "0a1b2c3d00000000000",   /* 19 */
        "0a1b2c3d0000000000000", /* 21 */
        "0a1b2c3d00000000000i",
        "0a1b2c3d00000000000l",
        "0a1b2c3d00000000000o",
        "0a1b2c3d00000000000u",
        "0a1b2c3d00000000000A",
        "Aa1b2c3d000000000000",
        "0a1b2c3d-00000000000",
        "0a1b2c3d 00000000000",
        "\xc3\xa4zb2c3d000000000000",
    };
    char node[TXN_NODE_SIZE] = "kept";
    uint64_t position = 5;
    (void)state;

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_false(txn_id_parse(slice_of(texts[i]), node, &position));
    assert_false(txn_id_parse((struct slice){"0a1b2c3d0000\0"
                                             "0000000",
                                             20},
                              node, &position));
    assert_string_equal(node, "kept");
    assert_true(position == 5);
}

static void a_nodes_name_is_its_40_bits(void **state)
{
    char node[TXN_NODE_SIZE];
    (void)state;

    txn_node_format(node, 0);
    assert_string_equal(node, "00000000");
    txn_node_format(node, UINT64_MAX);
    assert_string_equal(node, "zzzzzzzz");
    txn_node_format(node, UINT64_C(1) << 35 | 10);
    assert_string_equal(node, "1000000a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_says_node_and_position),
        cmocka_unit_test(ids_sort_as_positions_do),
        cmocka_unit_test(other_text_is_no_id),
        cmocka_unit_test(a_nodes_name_is_its_40_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
