/*
 * Messages between threads: in order, none lost, one wake-up a burst.
 */
#include "base/mailbox.h"

#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SENDERS = 4, MESSAGES = 20000 };

struct message {
    struct mail mail;
    int sender;
    int number;
};

static int next_number[SENDERS]; /* the reader's: what it expects of each sender */
static int delivered;
static int out_of_order;

static void deliver(struct mail *mail)
{
    struct message *message = (struct message *)mail;

    out_of_order += message->number != next_number[message->sender];
    next_number[message->sender] = message->number + 1;
    delivered += 1;
}

static void forget(void)
{
    for (int i = 0; i < SENDERS; i++)
        next_number[i] = 0;
    delivered = 0;
    out_of_order = 0;
}

static void count_wakes(void *arg)
{
    *(int *)arg += 1;
}

static void a_burst_wakes_once_and_keeps_its_order(void **state)
{
    struct message messages[10];
    struct mailbox box;
    int wakes = 0;
    (void)state;

    forget();
    mailbox_init(&box, count_wakes, &wakes);
    mailbox_deliver(&box); /* nothing there, nothing done */
    for (int i = 0; i < 10; i++) {
        messages[i] = (struct message){{NULL, deliver}, 0, i};
        mailbox_put(&box, &messages[i].mail);
    }
    assert_int_equal(wakes, 1);
    assert_int_equal(delivered, 0);
    mailbox_deliver(&box);
    assert_int_equal(delivered, 10);
    assert_int_equal(out_of_order, 0);
    mailbox_deliver(&box);
    assert_int_equal(delivered, 10);
    messages[0].number = 10;
    mailbox_put(&box, &messages[0].mail);
    assert_int_equal(wakes, 2);
    mailbox_deliver(&box);
    assert_int_equal(delivered, 11);
    assert_int_equal(out_of_order, 0);
}

struct sender {
    struct mailbox *box;
    struct message *messages;
};

static void *send_all(void *arg)
{
    struct sender *sender = arg;

    for (int i = 0; i < MESSAGES; i++)
        mailbox_put(sender->box, &sender->messages[i].mail);
    return NULL;
}

static void post(void *arg)
{
    sem_post(arg);
}

static void many_senders_lose_nothing(void **state)
{
    struct message *messages = calloc((size_t)SENDERS * MESSAGES, sizeof *messages);
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    struct mailbox box;
    sem_t woken;
    (void)state;

    forget();
    sem_init(&woken, 0, 0);
    mailbox_init(&box, post, &woken);
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){&box, messages + (size_t)i * MESSAGES};
        for (int j = 0; j < MESSAGES; j++)
            senders[i].messages[j] = (struct message){{NULL, deliver}, i, j};
        assert_int_equal(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
    }
    while (delivered < SENDERS * MESSAGES) {
        sem_wait(&woken); /* hangs if a wake-up is lost */
        mailbox_deliver(&box);
    }
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(delivered, SENDERS * MESSAGES);
    assert_int_equal(out_of_order, 0);
    sem_destroy(&woken);
    free(messages);
}

static struct mailbox again_box;
static int again_left;

static void put_again(struct mail *mail)
{
    if (again_left-- > 0)
        mailbox_put(&again_box, mail);
}

static void a_delivery_may_put_its_message_again(void **state)
{
    struct mail mail = {NULL, put_again};
    int wakes = 0;
    (void)state;

    again_left = 3;
    mailbox_init(&again_box, count_wakes, &wakes);
    mailbox_put(&again_box, &mail);
    for (int i = 0; i < 4; i++)
        mailbox_deliver(&again_box);
    assert_int_equal(again_left, -1);
    assert_int_equal(wakes, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_wakes_once_and_keeps_its_order),
        cmocka_unit_test(many_senders_lose_nothing),
        cmocka_unit_test(a_delivery_may_put_its_message_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
