/*
 * A stack that senders push on and the reader takes whole and turns around.
 */
#include "base/mailbox.h"

#include <stddef.h>

void mailbox_init(struct mailbox *box, void (*wake)(void *arg), void *arg)
{
    atomic_init(&box->head, NULL);
    box->wake = wake;
    box->arg = arg;
}

void mailbox_put(struct mailbox *box, struct mail *mail)
{
    struct mail *head = atomic_load_explicit(&box->head, memory_order_relaxed);

    do {
        mail->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&box->head, &head, mail, memory_order_release,
                                                    memory_order_relaxed));
    if (head == NULL)
        box->wake(box->arg);
}

void mailbox_deliver(struct mailbox *box)
{
    struct mail *mail = atomic_exchange_explicit(&box->head, NULL, memory_order_acquire);
    struct mail *oldest = NULL;

    while (mail != NULL) {
        struct mail *next = mail->next;

        mail->next = oldest;
        oldest = mail;
        mail = next;
    }
    while (oldest != NULL) {
        struct mail *next = oldest->next;

        oldest->deliver(oldest);
        oldest = next;
    }
}
