/*
 * Growable bytes.
 */
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void what_is_appended_is_there(void **state)
{
    struct buf buf = {0};
    (void)state;

    buf_append(&buf, "ab", 2);
    buf_append(&buf, NULL, 0);
    buf_append_slice(&buf, SLICE("cd"));
    buf_append_slice(&buf, (struct slice){0});
    buf_append_text(&buf, "ef");
    buf_append_char(&buf, 'g');
    buf_printf(&buf, "%d%s", 12, "h");
    buf_printf(&buf, "%s", "");
    assert_int_equal(buf.len, 10);
    assert_true(slice_is(buf_slice(&buf), "abcdefg12h"));
    buf_free(&buf);
    assert_null(buf.data);
    assert_int_equal(buf.len, 0);
    assert_int_equal(buf.cap, 0);
}

static void bytes_survive_growing(void **state)
{
    struct buf buf = {0};
    (void)state;

    for (uint32_t i = 0; i < 100000; i++)
        buf_append(&buf, &i, sizeof i);
    assert_int_equal(buf.len, 400000);
    assert_true(buf.cap < 4 * buf.len);
    for (uint32_t i = 0; i < 100000; i++)
        assert_memory_equal(buf.data + i * sizeof i, &i, sizeof i);
    buf_free(&buf);
}

static void a_long_format_is_written_whole(void **state)
{
    struct buf buf = {0};
    (void)state;

    buf_append_char(&buf, '<');
    buf_printf(&buf, "%*d>", 5000, 7);
    assert_int_equal(buf.len, 5002);
    assert_int_equal(buf.data[5000], '7');
    assert_int_equal(buf.data[5001], '>');
    buf_free(&buf);
}

static void reserved_room_is_behind_the_end(void **state)
{
    struct buf buf = {0};
    char *room;
    (void)state;

    buf_append_text(&buf, "abc");
    room = buf_reserve(&buf, 1000000);
    assert_ptr_equal(room, buf.data + 3);
    assert_true(buf.cap - buf.len >= 1000000);
    assert_int_equal(buf.len, 3);
    memset(room, 'x', 1000000); /* a sanitizer sees it if there is less */
    assert_memory_equal(buf.data, "abc", 3);
    buf_free(&buf);
}

static void a_reset_keeps_only_little_memory(void **state)
{
    struct buf buf = {0};
    (void)state;

    buf_append_text(&buf, "abc");
    buf_reset(&buf, 1024);
    assert_int_equal(buf.len, 0);
    assert_non_null(buf.data);
    buf_reserve(&buf, 4096);
    buf_reset(&buf, 1024);
    assert_null(buf.data);
    buf_append_text(&buf, "again");
    assert_true(slice_is(buf_slice(&buf), "again"));
    buf_free(&buf);
}

static void slices_compare_by_bytes(void **state)
{
    (void)state;

    assert_true(slice_equal((struct slice){0}, SLICE("")));
    assert_true(slice_is(SLICE("a"), "a"));
    assert_false(slice_is(SLICE("a"), "b"));
    assert_false(slice_is(SLICE("a"), "ab"));
    assert_false(slice_equal((struct slice){"a\0b", 3}, (struct slice){"a\0c", 3}));
    assert_null(slice_of(NULL).at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_appended_is_there),
        cmocka_unit_test(bytes_survive_growing),
        cmocka_unit_test(a_long_format_is_written_whole),
        cmocka_unit_test(reserved_room_is_behind_the_end),
        cmocka_unit_test(a_reset_keeps_only_little_memory),
        cmocka_unit_test(slices_compare_by_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
