/*
 * The header Idempotency-Key: a client's own id beside the body, for a single transaction. It
 * counts exactly as the body's `id` does; where both are there they must say the same.
 */
#include "api/api_priv.h"

#define NAME "idempotency-key"

bool idempotency_read(struct http_request *request, struct slice *ret)
{
    struct slice key = http_request_header(request, NAME);
    bool good;

    *ret = key;
    if (key.at == NULL)
        return true;
    good = key.len > 0 && key.len <= TXN_MAX_CLIENT_ID;
    for (size_t i = 0; good && i < key.len; i++)
        good = key.at[i] >= 0x20 && key.at[i] < 0x7f;
    if (!good) {
        http_respond_error(request, 400, NULL, NAME ": must be 1 to %d printable ASCII characters",
                           TXN_MAX_CLIENT_ID);
        return false;
    }
    return true;
}

int idempotency_apply(struct slice key, struct txn *txn, struct err *err)
{
    if (key.at == NULL)
        return 0;
    if (txn->client_id.at != NULL && !slice_equal(txn->client_id, key))
        return err_set(err, ERR_INVALID, NAME ": differs from the id in the body");
    txn->client_id = key;
    return 0;
}
