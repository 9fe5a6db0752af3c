/*
 * Messages between threads: many senders, one reader, no lock.
 *
 * A message embeds `struct mail` and says what its delivery does. The reader is
 * woken only when its box was empty, so a burst costs one wake-up. The sender owns
 * a message until mailbox_put(); after that the reader does.
 */
#ifndef BASE_MAILBOX_H
#define BASE_MAILBOX_H

#include <stdatomic.h>

struct mail {
    struct mail *next;
    void (*deliver)(struct mail *mail); /* runs on the reader's thread */
};

struct mailbox {
    _Atomic(struct mail *) head;
    void (*wake)(void *arg); /* called on a sender's thread when the box was empty */
    void *arg;
};

void mailbox_init(struct mailbox *box, void (*wake)(void *arg), void *arg);
void mailbox_put(struct mailbox *box, struct mail *mail);

/* Delivers everything that is in the box, oldest first. Reader's thread only. */
void mailbox_deliver(struct mailbox *box);

#endif
