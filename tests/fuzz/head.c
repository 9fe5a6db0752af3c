/*
 * Any bytes as the head of a request, arriving in pieces: where it ends does not depend on the
 * pieces, what is refused is refused with a status and a reason, and what passes names a path that
 * stays below the root.
 */
#include "http/http_head.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_inside(struct slice part, struct slice whole)
{
    return part.len == 0 || (part.at >= whole.at && part.at + part.len <= whole.at + whole.len);
}

static void check_path(struct slice path)
{
    struct buf once = {0};
    struct buf twice = {0};

    if (target_normalize(path, &once)) {
        struct slice normal = buf_slice(&once);

        buf_append_char(&once, '\0');
        if (normal.len == 0 || once.data[0] != '/' || strlen(once.data) != normal.len ||
            strstr(once.data, "/../") != NULL || strstr(once.data, "/./") != NULL)
            abort();
        normal.at = once.data;
        if (memchr(normal.at, '%', normal.len) == NULL &&
            (!target_normalize(normal, &twice) || !slice_equal(buf_slice(&twice), normal)))
            abort();
    }
    buf_free(&once);
    buf_free(&twice);
}

static void check_target(struct slice target)
{
    struct slice path, query;
    bool plain;

    target_split(target, &path, &query, &plain);
    if (path.len == 0 || path.at[0] != '/' || !is_inside(query, target) ||
        (path.len > 1 && !is_inside(path, target)))
        abort();
    if (plain) {
        struct buf normal = {0};

        if (!target_normalize(path, &normal) || !slice_equal(buf_slice(&normal), path))
            abort();
        buf_free(&normal);
    }
    check_path(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = {(const char *)data, size};
    const char *why = NULL;
    size_t scanned = 0;
    struct head head;
    size_t end = head_end(bytes, &scanned);
    size_t met = 0;
    int status;

    scanned = 0;
    for (size_t len = 0; len <= size && met == 0; len += 1 + len % 7)
        met = head_end((struct slice){bytes.at, len}, &scanned);
    if (end > size || (met != 0 && met != end))
        abort();
    if (end == 0 || end > HEAD_MAX_BYTES)
        return 0;
    bytes.len = end;
    status = head_read(bytes, &head, &why);
    if (status != 0) {
        if (status < 400 || status > 599 || why == NULL)
            abort();
        return 0;
    }
    if (head.method.len == 0 || head.target.len == 0 || !is_inside(head.method, bytes) ||
        !is_inside(head.target, bytes) || (head.chunked && head.has_length) ||
        head.count > HEAD_MAX_FIELDS || (head.closes && head_persists(&head)))
        abort();
    for (unsigned i = 0; i < head.count; i++)
        if (head.fields[i].name.len == 0 || !is_inside(head.fields[i].name, bytes) ||
            !is_inside(head.fields[i].value, bytes))
            abort();
    if (!slice_is(head.target, "*"))
        check_target(head.target);
    return 0;
}
