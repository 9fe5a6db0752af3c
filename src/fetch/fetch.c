/*
 * By libcurl's easy interface: set everything anew for each call, keep the connection.
 *
 * What can go wrong ends in one of three ways: no answer, too much of one, or no URL.
 */
#include "fetch/fetch.h"

#include "base/mem.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct fetch {
    CURL *curl;
    char words[CURL_ERROR_SIZE]; /* what libcurl says of the last call */
};

struct taking {
    struct buf *out;
    size_t max_bytes;
    bool too_large;
};

static void init_once(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        abort(); /* as mem_alloc(): all that can fail here is memory */
}

struct fetch *fetch_open(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct fetch *fetch = mem_zalloc(sizeof *fetch);

    pthread_once(&once, init_once);
    fetch->curl = curl_easy_init();
    if (fetch->curl == NULL)
        abort();
    return fetch;
}

void fetch_close(struct fetch *fetch)
{
    if (fetch == NULL)
        return;
    curl_easy_cleanup(fetch->curl);
    free(fetch);
}

static size_t take(char *bytes, size_t size, size_t count, void *arg)
{
    struct taking *taking = arg;
    size_t len = size * count;

    if (len > taking->max_bytes - taking->out->len) {
        taking->too_large = true;
        return 0; /* ends the transfer */
    }
    buf_append(taking->out, bytes, len);
    return len;
}

/* libcurl asks this a few times a second, and once a second while nothing comes. */
static int is_stopped(void *arg, curl_off_t to_come, curl_off_t come, curl_off_t to_go,
                      curl_off_t gone)
{
    const atomic_bool *stop = arg;

    (void)to_come, (void)come, (void)to_go, (void)gone;
    return atomic_load(stop);
}

static void set_stop(CURL *curl, const atomic_bool *stop)
{
    if (stop == NULL)
        return;
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, is_stopped);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, (void *)stop);
}

/* libcurl verifies authority and name by itself, unless it is told not to. */
static void set_trust(CURL *curl, const char *pinned, const char *ca_file)
{
    const char *file = pinned != NULL ? pinned : ca_file;

    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (file == NULL || file[0] == '\0')
        return;
    curl_easy_setopt(curl, CURLOPT_CAINFO, file);
    curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(curl, CURLOPT_CA_CACHE_TIMEOUT, 0L); /* else a new file counts in a day */
    if (pinned != NULL)
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
}

static void set_request(CURL *curl, const struct fetch_request *request)
{
    curl_easy_setopt(curl, CURLOPT_URL, request->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L); /* does not wait for a name that hangs */
    if (request->user != NULL) {
        curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
        curl_easy_setopt(curl, CURLOPT_USERNAME, request->user);
        curl_easy_setopt(curl, CURLOPT_PASSWORD, request->password);
    }
    if (request->body.at != NULL) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body.at);
    }
    if (request->method != NULL)
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    set_trust(curl, request->pinned, request->ca_file);
    set_stop(curl, request->stop);
}

static int explain(const struct fetch *fetch, CURLcode result, const struct fetch_request *request,
                   const struct taking *taking, struct err *err)
{
    int shown = (int)strcspn(request->url, "?");

    if (taking->too_large)
        return err_set(err, ERR_TOO_LARGE, "%.*s: the answer has more than %zu bytes", shown,
                       request->url, request->max_bytes);
    return err_set(err,
                   result == CURLE_URL_MALFORMAT || result == CURLE_UNSUPPORTED_PROTOCOL
                       ? ERR_INVALID
                       : ERR_UNAVAILABLE,
                   "%.*s: %s", shown, request->url,
                   fetch->words[0] != '\0' ? fetch->words : curl_easy_strerror(result));
}

int fetch(struct fetch *fetch, const struct fetch_request *request, struct buf *out,
          long *ret_status, struct err *err)
{
    struct taking taking = {out, request->max_bytes, false};
    struct curl_slist *headers = NULL;
    CURL *curl = fetch->curl;
    CURLcode result;

    out->len = 0;
    curl_easy_reset(curl);
    set_request(curl, request);
    fetch->words[0] = '\0';
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, fetch->words);
    for (const char *const *header = request->headers; header != NULL && *header != NULL; header++)
        headers = curl_slist_append(headers, *header);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &taking);
    result = curl_easy_perform(curl);
    curl_slist_free_all(headers);
    if (result != CURLE_OK)
        return explain(fetch, result, request, &taking, err);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, ret_status);
    return 0;
}
