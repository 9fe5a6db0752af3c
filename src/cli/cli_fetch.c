/*
 * One HTTP request to the engine on this machine, by libcurl.
 */
#include "cli/cli_priv.h"

#include "json/json.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

enum { TIMEOUT_S = 60 };

static size_t take(char *bytes, size_t size, size_t count, void *arg)
{
    buf_append(arg, bytes, size * count);
    return size * count;
}

/* An address that listens everywhere is asked here. */
static void url_of(const char *address, const char *path, char *out, size_t size)
{
    if (strncmp(address, "0.0.0.0:", 8) == 0)
        snprintf(out, size, "http://127.0.0.1:%s%s", address + 8, path);
    else if (strncmp(address, "[::]:", 5) == 0)
        snprintf(out, size, "http://[::1]:%s%s", address + 5, path);
    else
        snprintf(out, size, "http://%s%s", address, path);
}

/* The words of an error's body, {"detail": "..."}. */
static int explain(long status, struct buf *body, struct err *err)
{
    struct json_parser *parser = json_parser_open();
    const struct json_node *tape;
    int code = status == 404   ? ERR_NOT_FOUND
               : status == 409 ? ERR_CONFLICT
               : status == 503 ? ERR_UNAVAILABLE
                               : ERR_INVALID;

    buf_reserve(body, JSON_PADDING);
    if (json_parse(parser, buf_slice(body), &tape, NULL) == 0 && tape[0].type == JSON_OBJECT &&
        tape[0].count > 0 && tape[2].type == JSON_STRING)
        err_set(err, code, "%.*s", SLICE_ARG(json_text(&tape[2])));
    else
        err_set(err, code, "the engine answered %ld", status);
    json_parser_close(parser);
    return code;
}

static int perform(CURL *curl, const char *method, const char *url, struct curl_slist *headers,
                   struct buf *out, struct err *err)
{
    CURLcode result;
    long status = 0;

    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    result = curl_easy_perform(curl);
    if (result != CURLE_OK)
        return err_set(err, ERR_UNAVAILABLE, "ask the engine at %s: %s", url,
                       curl_easy_strerror(result));
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return status >= 200 && status < 300 ? 0 : explain(status, out, err);
}

int fetch(const char *method, const char *address, const char *path, const char *token,
          struct buf *out, struct err *err)
{
    struct curl_slist *headers;
    struct buf line = {0};
    char url[512];
    CURL *curl;
    int code;

    curl_global_init(CURL_GLOBAL_DEFAULT);
    curl = curl_easy_init();
    url_of(address, path, url, sizeof url);
    buf_printf(&line, "Authorization: Bearer %s", token);
    headers = curl_slist_append(NULL, line.data);
    code = perform(curl, method, url, headers, out, err);
    buf_free(&line);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    curl_global_cleanup();
    return code;
}
