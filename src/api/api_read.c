/*
 * The readers: a few threads that work out answers which may wait for a disk or a database,
 * each with its own connection to the store. A job goes in under a lock; the answer comes
 * home as mail. The number of jobs that wait is bounded; one more is answered 503. What needs no
 * store has readers of its own, so that the status can be asked for while the store stalls, and so
 * have API keys: one that floods the others can still be revoked at once.
 */
#include "api/api_priv.h"

#include "base/mem.h"

#include <stddef.h>
#include <stdlib.h>

enum { MAX_WAITING = 1024 };

struct reader {
    struct readers *readers;
    struct api_view view;
    pthread_t thread;
};

struct readers {
    pthread_mutex_t lock;
    pthread_cond_t wakes;
    struct job *first, **end;
    unsigned waiting;
    bool stopping;
    unsigned count;
    struct reader *each;
};

static void *reader_run(void *arg)
{
    struct reader *reader = arg;
    struct readers *readers = reader->readers;

    for (;;) {
        struct job *job;

        pthread_mutex_lock(&readers->lock);
        while (readers->first == NULL && !readers->stopping)
            pthread_cond_wait(&readers->wakes, &readers->lock);
        job = readers->first;
        if (job != NULL) {
            readers->first = job->next;
            readers->waiting--;
            if (readers->first == NULL)
                readers->end = &readers->first;
        }
        pthread_mutex_unlock(&readers->lock);
        if (job == NULL)
            return NULL;
        job->status = job->run(job, &reader->view);
        mailbox_put(http_loop_mailbox(job->loop->http), &job->mail);
    }
}

static void job_free(struct job *job)
{
    buf_free(&job->body);
    buf_free(&job->out);
    free(job);
}

/* On the loop: the answer. What is no 2xx is the words of an error. */
static void job_home(struct mail *mail)
{
    struct job *job = (struct job *)((char *)mail - offsetof(struct job, mail));
    struct err err = {0};

    job->loop->jobs--;
    if (job->status < 400 && job->content_type != NULL) {
        http_respond_as(job->request, job->status, job->content_type, NULL, buf_slice(&job->out));
    } else if (job->status < 400) {
        http_respond(job->request, job->status, NULL, buf_slice(&job->out));
    } else if (job->status == 503) {
        err_set(&err, ERR_UNAVAILABLE, "%.*s", SLICE_ARG(buf_slice(&job->out)));
        respond_refused(job->loop, job->request, &err);
    } else {
        http_respond_error(job->request, job->status, NULL, "%.*s",
                           SLICE_ARG(buf_slice(&job->out)));
    }
    job_free(job);
}

int job_status(struct job *job, int code, const struct err *err)
{
    if (code == 0)
        return 200;
    job->out.len = 0;
    buf_append_text(&job->out, err->text);
    switch (code) {
    case ERR_NOT_FOUND:
        return 404;
    case ERR_CONFLICT:
        return 409;
    case ERR_INVALID:
        return 400;
    case ERR_UNAVAILABLE:
    case ERR_FULL:
    case ERR_TIMEOUT:
        return 503;
    default:
        return 500;
    }
}

struct job *job_new(struct loop *loop, struct http_request *request,
                    int (*run)(struct job *job, const struct api_view *view))
{
    struct job *job = mem_zalloc(sizeof *job);

    job->loop = loop;
    job->request = request;
    job->run = run;
    job->mail.deliver = job_home;
    return job;
}

void readers_ask(struct readers *readers, struct job *job)
{
    bool taken;

    pthread_mutex_lock(&readers->lock);
    taken = readers->waiting < MAX_WAITING;
    if (taken) {
        readers->waiting++;
        job->next = NULL;
        *readers->end = job;
        readers->end = &job->next;
    }
    pthread_mutex_unlock(&readers->lock);
    if (taken) {
        job->loop->jobs++;
        pthread_cond_signal(&readers->wakes);
    } else {
        struct err err;

        err_set(&err, ERR_FULL, "too many questions are waiting for an answer");
        respond_refused(job->loop, job->request, &err);
        job_free(job);
    }
}

int readers_open(const struct api_options *options, unsigned count, const char *name,
                 struct readers **ret, struct err *err)
{
    struct readers *readers = mem_zalloc(sizeof *readers);
    int code = 0;

    pthread_mutex_init(&readers->lock, NULL);
    pthread_cond_init(&readers->wakes, NULL);
    readers->end = &readers->first;
    readers->each = mem_zalloc(count * sizeof *readers->each);
    for (unsigned i = 0; i < count && code == 0; i++) {
        struct reader *reader = &readers->each[i];

        reader->readers = readers;
        reader->view = options->view;
        code = store_open(options->store_url, options->store_timeout_ms, &reader->view.store, err);
        if (code != 0)
            break;
        code = pthread_create(&reader->thread, NULL, reader_run, reader);
        if (code != 0) {
            store_close(reader->view.store);
            code = err_system(err, code, "start a reader");
            break;
        }
        pthread_setname_np(reader->thread, name);
        readers->count++;
    }
    if (code != 0) {
        readers_close(readers);
        return code;
    }
    *ret = readers;
    return 0;
}

void readers_interrupt(struct readers *readers)
{
    for (unsigned i = 0; i < readers->count; i++)
        store_interrupt(readers->each[i].view.store);
}

void readers_close(struct readers *readers)
{
    if (readers == NULL)
        return;
    pthread_mutex_lock(&readers->lock);
    readers->stopping = true;
    pthread_mutex_unlock(&readers->lock);
    pthread_cond_broadcast(&readers->wakes);
    for (unsigned i = 0; i < readers->count; i++) {
        pthread_join(readers->each[i].thread, NULL);
        store_close(readers->each[i].view.store);
    }
    pthread_cond_destroy(&readers->wakes);
    pthread_mutex_destroy(&readers->lock);
    free(readers->each);
    free(readers);
}
