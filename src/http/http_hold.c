/*
 * Counts the bodies that are in memory.
 *
 * A connection holds what its socket's input has behind the head of its request: from the first
 * byte until the request's end, or until its handler releases it: a body of transactions that wait
 * for the disk is not held any more, for the log has what it needs of it. The difference to what it
 * held before goes into one count over all loops. Small bodies do not take part: connections are
 * bounded, and so are they, and large ones, sent slowly by however many clients, can never shut
 * them out; nor do ordinary requests touch what loops share.
 */
#include "http/http_priv.h"

static size_t held_by(const struct http_conn *conn)
{
    size_t bytes = conn->sock != NULL ? conn->sock->input->size : 0;

    bytes -= bytes < conn->head_len ? bytes : conn->head_len;
    return bytes > HTTP_SMALL_BODY ? bytes : 0;
}

void hold_update(struct http_conn *conn)
{
    size_t held = held_by(conn);

    if (held == conn->held)
        return;
    /* Modulo its size, adding a negative difference subtracts. */
    atomic_fetch_add(&conn->loop->server->body_bytes, held - conn->held);
    conn->held = held;
}

bool hold_is_over(const struct http_conn *conn)
{
    const struct http_server *server = conn->loop->server;

    return conn->held > 0 && server->options.body_memory > 0 &&
           atomic_load(&server->body_bytes) > server->options.body_memory;
}
