/*
 * Which URLs may be asked with secrets. libcurl takes the URL apart, so that the host looked at
 * here is the one that it will talk to.
 */
#include "fetch/fetch.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdlib.h>

static bool is_loopback(const char *host)
{
    struct in_addr number;

    return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
           (inet_pton(AF_INET, host, &number) == 1 && ntohl(number.s_addr) >> 24 == IN_LOOPBACKNET);
}

/* A part of the URL as text of libcurl's; NULL if it has none. */
static char *part(CURLU *url, CURLUPart which)
{
    char *text = NULL;

    return curl_url_get(url, which, &text, 0) == CURLUE_OK ? text : NULL;
}

static int check(CURLU *url, const char *text, struct err *err)
{
    char *scheme = NULL;
    char *host = NULL;
    char *user = NULL;
    int code = 0;

    if (curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK) {
        scheme = part(url, CURLUPART_SCHEME);
        host = part(url, CURLUPART_HOST);
        user = part(url, CURLUPART_USER);
    }
    if (scheme == NULL || host == NULL ||
        (strcmp(scheme, "https") != 0 && (strcmp(scheme, "http") != 0 || !is_loopback(host))))
        code = err_set(err, ERR_INVALID,
                       "must begin with https://, or with http:// and this machine's name");
    else if (user != NULL)
        code = err_set(err, ERR_INVALID, "must not hold a user or a password");
    curl_free(user);
    curl_free(host);
    curl_free(scheme);
    return code;
}

int fetch_check_url(const char *url, struct err *err)
{
    CURLU *parts = curl_url();
    int code;

    if (parts == NULL)
        abort(); /* as mem_alloc() */
    code = check(parts, url, err);
    curl_url_cleanup(parts);
    return code;
}
