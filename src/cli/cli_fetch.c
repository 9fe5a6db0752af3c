/*
 * One HTTP request to the engine on this machine.
 */
#include "cli/cli_priv.h"

#include "fetch/fetch.h"
#include "json/json.h"

#include <stdio.h>
#include <string.h>

enum { TIMEOUT_MS = 60000, MOST_BYTES = 1 << 30 };

static bool is_https(const char *address)
{
    return strncmp(address, "https://", 8) == 0;
}

/* An address that listens everywhere is asked here. */
static void url_of(const char *address, const char *path, char *out, size_t size)
{
    const char *scheme = is_https(address) ? "https://" : "http://";

    address += is_https(address) ? strlen(scheme) : 0;
    if (strncmp(address, "0.0.0.0:", 8) == 0)
        snprintf(out, size, "%s127.0.0.1:%s%s", scheme, address + 8, path);
    else if (strncmp(address, "[::]:", 5) == 0)
        snprintf(out, size, "%s[::1]:%s%s", scheme, address + 5, path);
    else
        snprintf(out, size, "%s%s%s", scheme, address, path);
}

/* The words of an error's body, {"detail": "..."}. */
static int explain(long status, struct buf *body, struct err *err)
{
    struct json_parser *parser = json_parser_open();
    const struct json_node *tape;
    int code = status == 400                    ? ERR_INVALID
               : status == 401 || status == 403 ? ERR_DENIED
               : status == 404                  ? ERR_NOT_FOUND
               : status == 409                  ? ERR_CONFLICT
               : status == 413                  ? ERR_TOO_LARGE
               : status == 503                  ? ERR_UNAVAILABLE
                                                : ERR_IO;

    buf_reserve(body, JSON_PADDING);
    if (json_parse(parser, buf_slice(body), &tape, NULL) == 0 && tape[0].type == JSON_OBJECT &&
        tape[0].count > 0 && tape[2].type == JSON_STRING)
        err_set(err, code, "%.*s", SLICE_ARG(json_text(&tape[2])));
    else
        err_set(err, code, "the engine answered %ld", status);
    json_parser_close(parser);
    return code;
}

int cli_fetch(const struct cli_request *asked, struct buf *out, struct err *err)
{
    struct fetch *handle = fetch_open();
    struct fetch_request request = {
        .method = asked->method,
        .body = asked->body,
        .timeout_ms = TIMEOUT_MS,
        .max_bytes = MOST_BYTES,
        .pinned = *asked->certificate != '\0' ? asked->certificate : NULL,
    };
    const char *headers[] = {NULL, NULL, NULL};
    struct buf line = {0};
    long status = 0;
    char url[512];
    int code;

    url_of(asked->address, asked->path, url, sizeof url);
    buf_printf(&line, "Authorization: Bearer %s", asked->key);
    headers[0] = line.data;
    headers[1] =
        asked->lines ? "Content-Type: application/x-ndjson" : "Content-Type: application/json";
    request.url = url;
    request.headers = headers;
    code = fetch(handle, &request, out, &status, err);
    if (code != 0)
        code = err_wrap(err, "ask the engine");
    else if (status < 200 || status > 299)
        code = explain(status, out, err);
    buf_free(&line);
    fetch_close(handle);
    return code;
}
