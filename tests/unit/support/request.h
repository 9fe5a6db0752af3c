/*
 * One who waits for a transaction, as an HTTP request does: what became of it and where it is.
 */
#ifndef SUPPORT_REQUEST_H
#define SUPPORT_REQUEST_H

#include "wal/wal.h"

struct request {
    struct wal_ticket ticket; /* whose done is request_done() */
    unsigned number;          /* the test's own */
    bool done;
    int status;
    uint64_t position;
};

static inline void request_done(struct wal_ticket *ticket, int status, const struct err *err)
{
    struct request *request = (struct request *)ticket;
    uint32_t at = 0;

    (void)err;
    request->done = true;
    request->status = status;
    if (status == 0)
        request->position = wal_ticket_position(ticket, &at);
}

#endif
