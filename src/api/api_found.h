/*
 * One transaction as the API shows it, for single answers and for lists.
 */
#ifndef API_FOUND_H
#define API_FOUND_H

#include "api/api.h"

struct found {
    const char *status;
    uint64_t position;
    const char *product;
    struct slice pennkey; /* as the store has it */
    char pseudonym[USERS_PSEUDONYM_SIZE];
    int64_t timestamp_us, received_us;
    uint32_t datapoints, attempts;
    struct slice error;
    const struct txn *whole; /* NULL: contents are not at hand */
};

/* ,"name":"2026-..." */
void write_time(struct buf *out, const char *name, int64_t instant_us);
/* "name":"<id>" */
void write_id(const struct api_view *view, struct buf *out, const char *name, uint64_t position);
/* ,"data":[{"key": ...}] */
void write_data(struct buf *out, const struct txn *txn);
void write_found(const struct api_view *view, struct buf *out, const struct found *found);
/* Fills in what the transaction itself says, but for a user who is to be forgotten. False if it is
 * to be erased with its user. */
bool from_txn(const struct api_view *view, struct found *found, const struct txn *txn);
/* A transaction of the ledger; `whole`: with its datapoints. Until the cursor, taken before the
 * ledger was asked, has passed it, it is not failed for good. One whose record cannot be read has
 * the reason as its error, and null for what nobody knows. */
void write_failed(const struct api_view *view, const struct ledger_failed *failed, uint64_t cursor,
                  bool whole, struct buf *out);
/* The position that an id of this node names; ERR_NOT_FOUND for any other text. */
MUST_CHECK int read_id(const struct api_view *view, struct slice id, uint64_t *ret,
                       struct err *err);

#endif
