/*
 * What the parts of the room share: the index of a text (json_index.cc, the only C++), the
 * words for what is wrong with it (json_fault.c) and the unescaping of strings
 * (json_unescape.c).
 */
#ifndef JSON_JSON_PRIV_H
#define JSON_JSON_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The index: where each token of a text begins. Tokens are the six structural characters,
 * strings (at the opening quote), and runs of anything else. Building it checks UTF-8,
 * control characters in strings and that the last string is closed; nothing else.
 */
struct json_index;

enum json_index_result {
    JSON_INDEX_OK,
    JSON_INDEX_EMPTY,    /* no token */
    JSON_INDEX_UTF8,     /* not UTF-8 */
    JSON_INDEX_CONTROL,  /* a control character in a string */
    JSON_INDEX_UNCLOSED, /* the last string has no end */
    JSON_INDEX_OTHER,
};

struct json_index *json_index_open(void);
void json_index_close(struct json_index *index);
void json_index_shrink(struct json_index *index, size_t keep);

/* Indexes a text of less than 4 GiB; the offsets live until the next call. Behind the last
 * one stands the length of the text. */
enum json_index_result json_index_build(struct json_index *index, const char *text, size_t len,
                                        const uint32_t **ret_offsets, uint32_t *ret_count);

#ifdef __cplusplus
}
#endif

/* What is wrong with a text that cannot be indexed, and the byte where it is; NULL and an
 * untouched offset if it cannot be found. */
const char *json_find_fault(enum json_index_result result, const char *text, size_t len,
                            size_t *ret_offset);

/* Unescapes the inside of a string into `out`, which has room for `len` bytes. NULL, or what
 * is wrong with it and where (relative to `text`). */
const char *json_unescape(const char *text, size_t len, char *out, size_t *ret_len,
                          bool *ret_has_nul, size_t *ret_offset);

#endif
