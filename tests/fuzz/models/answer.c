/*
 * See answer.h.
 */
#include "models/answer.h"

#include "base/clock.h"
#include "base/mem.h"

#include <jansson.h>
#include <stdlib.h>

enum { MOST_NAME = 64 };

/* The value at the end of a path; NULL: there is none. */
static const json_t *walk(const json_t *at, const char *path)
{
    char *copy = mem_strdup(path);
    char *rest = copy;
    char *name;

    while (at != NULL && (name = strsep(&rest, ".")) != NULL)
        at = json_object_get(at, name);
    free(copy);
    return at;
}

/* The first of the members that is there decides. NULL: there is no user with a good name. */
static const char *name_in(const json_t *answer, const char *members)
{
    char *copy = mem_strdup(members);
    char *rest = copy;
    const json_t *found = NULL;
    char *path;
    size_t len;

    while ((found == NULL || json_is_null(found)) && (path = strsep(&rest, ",")) != NULL)
        found = walk(answer, path);
    free(copy);
    len = json_string_length(found);
    return json_is_string(found) && len > 0 && len <= MOST_NAME &&
                   strlen(json_string_value(found)) == len
               ? json_string_value(found)
               : NULL;
}

static int64_t instant_in(const json_t *answer)
{
    const json_t *node = json_object_get(answer, "exp");
    double seconds = json_number_value(node);

    return json_is_number(node) && seconds >= 0 && seconds < (double)(CLOCK_MAX_US / 1000000)
               ? (int64_t)(seconds * 1e6)
               : INT64_MAX;
}

static size_t larger(size_t one, size_t other)
{
    return one > other ? one : other;
}

static size_t depth_of(const json_t *node)
{
    size_t depth = 0;
    const json_t *part;
    const char *name;
    size_t i;

    json_array_foreach(node, i, part) depth = larger(depth, depth_of(part));
    json_object_foreach((json_t *)node, name, part) depth = larger(depth, depth_of(part));
    return depth + 1;
}

void model_introspect(struct slice body, const char *members, struct model_reply *ret)
{
    json_t *answer = json_loadb(body.at, body.len,
                                JSON_ALLOW_NUL | JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    const json_t *active = json_object_get(answer, "active");
    const char *name = name_in(answer, members);

    *ret = (struct model_reply){
        .read = answer != NULL && memchr(body.at, 0, body.len) == NULL,
        .says = json_is_boolean(active),
        .active = json_is_true(active) && name != NULL,
        .expires_us = instant_in(answer),
        .depth = depth_of(answer),
    };
    if (ret->active)
        strcpy(ret->name, name);
    json_decref(answer);
}
