/*
 * Allocation that does not fail. An allocation of a bounded size that fails means
 * that the machine is out of memory: nothing sensible can go on, and what was
 * acknowledged is on disk already.
 */
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *check(void *memory, size_t bytes)
{
    if (memory == NULL) {
        fprintf(stderr, "out of memory: %zu bytes\n", bytes);
        abort();
    }
    return memory;
}

void *mem_alloc(size_t bytes)
{
    return check(malloc(bytes != 0 ? bytes : 1), bytes);
}

void *mem_zalloc(size_t bytes)
{
    return check(calloc(1, bytes != 0 ? bytes : 1), bytes);
}

void *mem_realloc(void *old, size_t bytes)
{
    return check(realloc(old, bytes != 0 ? bytes : 1), bytes);
}

char *mem_strndup(const char *text, size_t len)
{
    char *copy = mem_alloc(len + 1);

    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *mem_strdup(const char *text)
{
    return mem_strndup(text, strlen(text));
}
