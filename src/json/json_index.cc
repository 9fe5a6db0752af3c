/*
 * The index of a text by simdjson's first stage (https://arxiv.org/abs/1902.08318, section
 * 3.1), which takes 64 bytes at a time with the widest instructions that the CPU has.
 *
 * Only the first stage: the On Demand interface above it checks what a program happens to
 * look at, reads bytes behind the end of an unbalanced text, and is compiled for the oldest
 * CPU of the distribution. The walk over the tokens is json_read.c.
 */
#include "json/json_priv.h"

#include <cstdlib>
#include <memory>
#include <new>
#include <simdjson.h>

struct json_index {
    std::unique_ptr<simdjson::internal::dom_parser_implementation> stage;
};

/* Grows to `len`, and somewhat more so that growing is rare. Out of memory ends the process,
 * as in base/mem.h. */
static void make_room(json_index *index, size_t len)
{
    size_t capacity = (len + len / 8 + 4096) & ~size_t{4095};

    if (index->stage && index->stage->capacity() >= len)
        return;
    index->stage.reset();
    if (simdjson::get_active_implementation()->create_dom_parser_implementation(
            capacity, 1, index->stage) != simdjson::SUCCESS)
        abort();
}

json_index *json_index_open(void)
{
    auto index = new (std::nothrow) json_index;

    if (index == nullptr)
        abort();
    make_room(index, 4096);
    return index;
}

void json_index_close(json_index *index)
{
    delete index;
}

void json_index_shrink(json_index *index, size_t keep)
{
    if (index->stage && index->stage->capacity() > keep + keep / 8 + 8192)
        index->stage.reset();
}

json_index_result json_index_build(json_index *index, const char *text, size_t len,
                                   const uint32_t **ret_offsets, uint32_t *ret_count)
{
    if (len == 0)
        return JSON_INDEX_EMPTY;
    make_room(index, len);
    switch (index->stage->stage1(reinterpret_cast<const uint8_t *>(text), len,
                                 simdjson::stage1_mode::regular)) {
    case simdjson::SUCCESS:
        *ret_count = index->stage->n_structural_indexes;
        index->stage->structural_indexes[*ret_count] = static_cast<uint32_t>(len);
        *ret_offsets = index->stage->structural_indexes.get();
        return JSON_INDEX_OK;
    case simdjson::EMPTY:
        return JSON_INDEX_EMPTY;
    case simdjson::UTF8_ERROR:
        return JSON_INDEX_UTF8;
    case simdjson::UNESCAPED_CHARS:
        return JSON_INDEX_CONTROL;
    case simdjson::UNCLOSED_STRING:
        return JSON_INDEX_UNCLOSED;
    default:
        return JSON_INDEX_OTHER;
    }
}
