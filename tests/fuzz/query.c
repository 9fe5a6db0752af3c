/*
 * Any bytes as a query: a parameter that is found is whole text of its size at most, and one that
 * is absent or malformed leaves nothing behind.
 */
#include "http/http.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"a", "limit", "after", ""};
    struct slice query = {(const char *)data, size};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (size_t room = 1; room <= 64; room *= 4) {
            char *out = malloc(room);
            bool bad = false;

            if (http_query(query, names[i], out, room, &bad) && (bad || strnlen(out, room) >= room))
                abort();
            free(out);
        }
    }
    return 0;
}
