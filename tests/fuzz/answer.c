/*
 * Any bytes as what an identity provider answers to a question after a session: jansson comes to
 * the same user and the same time. The first byte chooses the members that may name the user.
 */
#include "models/answer.h"
#include "base/mem.h"
#include "users/users_priv.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LISTS = 4, LONGEST_NUMBER = 32 };

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Longer ones are no times. */
static bool has_long_number(struct slice body)
{
    size_t run = 0;

    for (size_t i = 0; i < body.len && run <= LONGEST_NUMBER; i++)
        run = body.at[i] != '\0' && strchr("0123456789+-.eE", body.at[i]) != NULL ? run + 1 : 0;
    return run > LONGEST_NUMBER;
}

static void check(struct slice body, const char *members)
{
    static struct json_parser *parser;
    struct users_reply reply = {.expires_us = -1};
    struct model_reply model;
    struct err err = {0};
    int code;

    if (parser == NULL)
        parser = json_parser_open();
    model_introspect(body, members, &model);
    code = users_read_answer(parser, body, members, &reply, &err);
    if (code != 0) {
        require(code == ERR_INVALID && err.text[0] != '\0' && reply.expires_us == -1);
        require(!model.read || !model.says || model.depth > JSON_MAX_DEPTH);
    } else if (model.read) {
        require(model.says && reply.active == model.active);
        require(!reply.active || strcmp(reply.name, model.name) == 0);
        require(reply.expires_us == model.expires_us ||
                (reply.expires_us == INT64_MAX && has_long_number(body)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const lists[LISTS] = {"username", "user.username,username", "a.b.c,a.b,sub",
                                             "email,user.name"};
    char *copy;

    if (size == 0)
        return 0;
    copy = mem_alloc(size - 1 + JSON_PADDING);
    memcpy(copy, data + 1, size - 1);
    memset(copy + size - 1, data[size - 1], JSON_PADDING);
    check((struct slice){copy, size - 1}, lists[data[0] % LISTS]);
    free(copy);
    return 0;
}
