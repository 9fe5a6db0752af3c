/*
 * What an introspection endpoint answers (RFC 7662, section 2.2): an object whose `active` says
 * whether the token is good. A good one names its user in one of the members that the operator
 * lists, which may lie in objects: "user.username".
 *
 * Refused, like a token that is not active, is one without a user (a machine's) and one whose
 * user's name cannot be a pennkey: not a string of 1 to 64 bytes, or with U+0000. What is no
 * object, or has no `active` of true or false, is no answer at all.
 */
#include "users/users_priv.h"

#include "base/clock.h"

#include <stdlib.h>

enum { LONGEST_NUMBER = 32 };

int users_check_members(const char *members, struct err *err)
{
    const char *at = members;

    do {
        size_t len = strcspn(at, ".,");

        /* No answer has a member " username": its users would be lost in silence. */
        if (len == 0 || at[0] == ' ' || at[len - 1] == ' ')
            return err_set(err, ERR_INVALID,
                           "must name members such as username,user.username, without blanks");
        at += len;
    } while (*at++ != '\0');
    return 0;
}

/* A member of an object; of several with the same name the last. NULL if there is none. */
static const struct json_node *member(const struct json_node *tape, const struct json_node *object,
                                      struct slice name)
{
    const struct json_node *found = NULL;
    const struct json_node *at = object + 1;

    if (object->type != JSON_OBJECT)
        return NULL;
    for (uint32_t i = 0; i < object->count; i++) {
        if (slice_equal(json_text(at), name))
            found = at + 1;
        at = &tape[at[1].next];
    }
    return found;
}

/* The value at the end of a path such as user.username; `path` goes on behind it. */
static const struct json_node *follow(const struct json_node *tape, const char **path)
{
    const struct json_node *at = tape;

    for (;;) {
        size_t len = strcspn(*path, ".,");

        if (at != NULL)
            at = member(tape, at, (struct slice){*path, len});
        *path += len;
        if (**path != '.')
            return at;
        *path += 1;
    }
}

static bool find_name(const struct json_node *tape, const char *members, char out[USERS_NAME_SIZE])
{
    for (const char *at = members;; at++) {
        const struct json_node *node = follow(tape, &at);

        if (node != NULL && node->type != JSON_NULL) {
            if (node->type != JSON_STRING || node->len == 0 || node->len > TXN_MAX_PENNKEY ||
                node->has_nul)
                return false;
            memcpy(out, node->text, node->len);
            out[node->len] = '\0';
            return true;
        }
        if (*at == '\0')
            return false;
    }
}

/* Seconds since 1970, possibly with a fraction; INT64_MAX if it is no such thing. */
static int64_t read_instant(const struct json_node *node)
{
    char text[LONGEST_NUMBER + 1];
    double seconds;

    if (node == NULL || node->type != JSON_NUMBER || node->len > LONGEST_NUMBER)
        return INT64_MAX;
    memcpy(text, node->text, node->len);
    text[node->len] = '\0';
    seconds = strtod(text, NULL);
    return seconds >= 0 && seconds < (double)(CLOCK_MAX_US / 1000000) ? (int64_t)(seconds * 1e6)
                                                                      : INT64_MAX;
}

int users_read_answer(struct json_parser *parser, struct slice body, const char *members,
                      struct users_reply *ret, struct err *err)
{
    struct users_reply reply = {0};
    const struct json_node *tape;
    const struct json_node *active;
    int code = json_parse(parser, body, &tape, err);

    if (code != 0)
        return code;
    active = member(tape, tape, SLICE("active"));
    if (active == NULL || (active->type != JSON_TRUE && active->type != JSON_FALSE))
        return err_set(err, ERR_INVALID, "the answer does not say whether the token is active");
    reply.active = active->type == JSON_TRUE && find_name(tape, members, reply.name);
    reply.expires_us = read_instant(member(tape, tape, SLICE("exp")));
    *ret = reply;
    return 0;
}
