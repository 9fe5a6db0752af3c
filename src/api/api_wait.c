/*
 * Requests that wait for the disk, kept for use again: no allocation a request.
 */
#include "api/api_priv.h"

#include "base/mem.h"

enum { KEEP_REJECTED = 64 * 1024 };

struct waiter *waiter_take(struct loop *loop, struct http_request *request)
{
    struct waiter *waiter = loop->free;

    if (waiter != NULL)
        loop->free = waiter->next;
    else
        waiter = mem_zalloc(sizeof *waiter);
    waiter->loop = loop;
    waiter->request = request;
    waiter->transactions = 0;
    waiter->rejections = 0;
    return waiter;
}

void waiter_give_back(struct waiter *waiter)
{
    buf_reset(&waiter->rejected, KEEP_REJECTED);
    waiter->next = waiter->loop->free;
    waiter->loop->free = waiter;
}
