/*
 * Counts the bodies that are in memory, what handlers keep until they answer, and the answers that
 * the kernel has not taken yet, for their clients do not read them.
 *
 * A connection holds what its socket's input has behind the head of its request: from the first
 * byte until the request's end, or until its handler releases it: a body of transactions that wait
 * for the disk is not held any more, for the log has what it needs of it. The difference to what it
 * held before goes into one count over all loops. Small bodies do not take part: connections are
 * bounded, and so are they, and large ones, sent slowly by however many clients, can never shut
 * them out; nor do ordinary requests touch what loops share.
 *
 * A body that finds no room is refused, and nothing has come of its request. An answer that is cut
 * leaves its client to guess what has become of it, so bodies are no reason for that: only answers
 * that are too much by themselves are.
 */
#include "http/http_priv.h"

/* What an input may have room for, however little is in it. */
#define KEEP_ROOM ((size_t)64 * 1024)

static size_t unless_small(size_t bytes)
{
    return bytes > HTTP_SMALL_BODY ? bytes : 0;
}

static size_t held_by(const struct http_conn *conn)
{
    size_t bytes = conn->sock != NULL ? conn->sock->input->size : 0;

    bytes -= bytes < conn->head_len ? bytes : conn->head_len;
    return unless_small(bytes + conn->unsent + conn->kept);
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

/* What has arrived behind a large body would keep all of its memory, and counts for little. */
static void shrink_input(h2o_buffer_t **input)
{
    size_t size = (*input)->size;
    h2o_buffer_t *rest;

    if (size == 0 || (*input)->capacity <= KEEP_ROOM || (*input)->capacity / 2 <= size)
        return;
    h2o_buffer_init(&rest, &h2o_socket_buffer_prototype);
    memcpy(h2o_buffer_reserve(&rest, size).base, (*input)->bytes, size);
    rest->size = size;
    h2o_buffer_dispose(input);
    *input = rest;
}

void hold_end(struct http_conn *conn)
{
    if (conn->head_len > 0) { /* not released before */
        h2o_buffer_consume(&conn->sock->input, conn->head_len + conn->body_len);
        shrink_input(&conn->sock->input);
    }
    conn->head_len = conn->body_len = 0;
    hold_update(conn);
}

bool hold_is_over(const struct http_conn *conn)
{
    const struct http_server *server = conn->loop->server;

    return conn->held > 0 && server->options.body_memory > 0 &&
           atomic_load(&server->body_bytes) > server->options.body_memory;
}

void hold_unsent(struct http_conn *conn, size_t bytes)
{
    size_t change = unless_small(bytes) - unless_small(conn->unsent);

    if (change != 0)
        atomic_fetch_add(&conn->loop->server->unsent_bytes, change);
    conn->unsent = bytes;
    hold_update(conn);
}

bool hold_answers_are_over(const struct http_conn *conn)
{
    const struct http_server *server = conn->loop->server;

    return unless_small(conn->unsent) > 0 && server->options.body_memory > 0 &&
           atomic_load(&server->unsent_bytes) > server->options.body_memory;
}
