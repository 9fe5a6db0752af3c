/*
 * The list of allowed URNs: what it may say, and whom it allows.
 */
#include "auth/auth_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static bool allows(const char *list, const char *urn)
{
    struct auth_urns urns;
    struct err err = {0};
    bool allowed;

    if (auth_urns_parse(list, &urns, &err) != 0)
        fail_msg("%s: %s", list, err.text);
    allowed = auth_urns_allow(&urns, urn);
    auth_urns_free(&urns);
    return allowed;
}

static void a_literal_allows_itself_alone(void **state)
{
    (void)state;
    assert_true(allows("urn:pennlabs:clubs", "urn:pennlabs:clubs"));
    assert_false(allows("urn:pennlabs:clubs", "urn:pennlabs:club"));
    assert_false(allows("urn:pennlabs:clubs", "urn:pennlabs:clubs2"));
    assert_false(allows("urn:pennlabs:clubs", "urn:pennlabs:clubs:x"));
    assert_false(allows("urn:pennlabs:clubs", "urn:pennlabs:Clubs"));
    assert_false(allows("urn:pennlabs:clubs", ""));
}

static void a_star_allows_what_is_below(void **state)
{
    (void)state;
    assert_true(allows("urn:pennlabs:*", "urn:pennlabs:clubs"));
    assert_true(allows("urn:pennlabs:*", "urn:pennlabs:a:b"));
    assert_false(allows("urn:pennlabs:*", "urn:pennlabs:"));
    assert_false(allows("urn:pennlabs:*", "urn:pennlabs"));
    assert_false(allows("urn:pennlabs:*", "urn:pennlabsx:a"));
    assert_true(allows("urn:*", "urn:any:thing"));
    assert_false(allows("urn:*", "uri:any:thing"));
}

static void any_entry_of_the_list_allows(void **state)
{
    (void)state;
    assert_true(allows("urn:a:b, urn:c:* ", "urn:c:d"));
    assert_true(allows(" urn:a:b ,urn:c:*", "urn:a:b"));
    assert_false(allows("urn:a:b,urn:c:*", "urn:a:c"));
}

static void is_refused(const char *list, const char *words)
{
    struct auth_urns urns;
    struct err err = {0};

    assert_int_equal(auth_urns_parse(list, &urns, &err), ERR_INVALID);
    assert_string_equal(err.text, words);
}

static void a_bad_entry_is_named(void **state)
{
    (void)state;
    is_refused("", "\"\" is not a URN (urn:pennlabs:clubs, urn:pennlabs:*)");
    is_refused("urn:a:b,", "\"\" is not a URN (urn:pennlabs:clubs, urn:pennlabs:*)");
    is_refused("*", "\"*\" is not a URN (urn:pennlabs:clubs, urn:pennlabs:*)");
    is_refused("urn:a:b,clubs", "\"clubs\" is not a URN (urn:pennlabs:clubs, urn:pennlabs:*)");
    is_refused("urn:a b", "\"urn:a b\" is not a URN (urn:pennlabs:clubs, urn:pennlabs:*)");
    is_refused("urn:pennlabs*", "\"urn:pennlabs*\" may have * only as its last part");
    is_refused("urn:*:clubs", "\"urn:*:clubs\" may have * only as its last part");
    is_refused("urn:a:**", "\"urn:a:**\" may have * only as its last part");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_literal_allows_itself_alone),
        cmocka_unit_test(a_star_allows_what_is_below),
        cmocka_unit_test(any_entry_of_the_list_allows),
        cmocka_unit_test(a_bad_entry_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
