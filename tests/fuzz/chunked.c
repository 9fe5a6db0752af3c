/*
 * Any bytes as a body in chunks: decoded as a whole and in pieces they are the same body, with the
 * same end or the same refusal, and never longer than what came in.
 */
#include "http/http_chunked.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct decoded {
    char *body;
    size_t len;
    size_t taken;
    enum chunked_result result;
};

static struct decoded decode(const uint8_t *data, size_t size, size_t piece)
{
    struct decoded decoded = {.body = malloc(size + 1), .result = CHUNKED_MORE};
    struct chunked chunked = {0};

    while (decoded.result == CHUNKED_MORE && decoded.taken < size) {
        size_t len = size - decoded.taken < piece ? size - decoded.taken : piece;
        char *copy = malloc(len);
        size_t body;
        size_t taken;

        memcpy(copy, data + decoded.taken, len);
        decoded.result = chunked_decode(&chunked, copy, len, &body, &taken);
        if (body > taken || taken > len || (decoded.result == CHUNKED_MORE && taken != len))
            abort();
        memcpy(decoded.body + decoded.len, copy, body);
        decoded.len += body;
        decoded.taken += taken;
        free(copy);
    }
    return decoded;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct decoded whole = decode(data, size, size);

    for (size_t piece = 1; piece < 8; piece += 3) {
        struct decoded pieces = decode(data, size, piece);

        if (pieces.result != whole.result || pieces.len != whole.len ||
            pieces.taken != whole.taken || memcmp(pieces.body, whole.body, whole.len) != 0)
            abort();
        free(pieces.body);
    }
    free(whole.body);
    return 0;
}
