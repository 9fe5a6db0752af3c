/*
 * Ids as text: Crockford's base 32 (https://www.crockford.com/base32.html), which leaves
 * out i, l, o and u. Only the form that is written is read: lower case, fixed length.
 */
#include "txn/txn.h"

#include <assert.h>

static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

enum { NODE_LEN = TXN_NODE_SIZE - 1, POSITION_LEN = TXN_ID_SIZE - TXN_NODE_SIZE };

static void put_base32(char *out, uint64_t value, int characters)
{
    for (int i = characters - 1; i >= 0; i--) {
        out[i] = alphabet[value & 31];
        value >>= 5;
    }
}

static bool take_base32(const char *text, int characters, uint64_t *ret)
{
    uint64_t value = 0;

    for (int i = 0; i < characters; i++) {
        const char *found = memchr(alphabet, text[i], sizeof alphabet - 1);

        if (found == NULL)
            return false;
        value = value << 5 | (uint64_t)(found - alphabet);
    }
    *ret = value;
    return true;
}

void txn_id_format(char out[TXN_ID_SIZE], const char node[TXN_NODE_SIZE], uint64_t position)
{
    assert(position <= TXN_MAX_POSITION);
    memcpy(out, node, NODE_LEN);
    put_base32(out + NODE_LEN, position, POSITION_LEN);
    out[TXN_ID_SIZE - 1] = '\0';
}

bool txn_id_parse(struct slice text, char ret_node[TXN_NODE_SIZE], uint64_t *ret_position)
{
    uint64_t node, position;

    if (text.len != TXN_ID_SIZE - 1 || !take_base32(text.at, NODE_LEN, &node) ||
        !take_base32(text.at + NODE_LEN, POSITION_LEN, &position))
        return false;
    memcpy(ret_node, text.at, NODE_LEN);
    ret_node[NODE_LEN] = '\0';
    *ret_position = position;
    return true;
}

void txn_node_format(char out[TXN_NODE_SIZE], uint64_t random_bits)
{
    put_base32(out, random_bits, NODE_LEN);
    out[NODE_LEN] = '\0';
}
