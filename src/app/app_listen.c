/*
 * Where the engine may listen, and what an operator should know about it.
 *
 * Without an identity provider the engine signs tokens for whoever can read this machine's
 * files, so then it serves this machine only. With one it serves whom it is told to, and warns
 * once where tokens would travel unencrypted.
 */
#include "app/app.h"

#include "base/log.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* By the number, not by the look of it: 127.example.org is somebody else's. */
static bool is_loopback(struct slice address)
{
    char text[64];
    char *port;
    struct in_addr number;

    if (address.len >= sizeof text)
        return false;
    snprintf(text, sizeof text, "%.*s", SLICE_ARG(address));
    port = strrchr(text, ':');
    if (port == NULL)
        return false;
    *port++ = '\0';
    if (*port == '\0' || strlen(port) > 5 || strspn(port, "0123456789") != strlen(port) ||
        atoi(port) > UINT16_MAX)
        return false;
    return strcmp(text, "[::1]") == 0 || strcmp(text, "localhost") == 0 ||
           (inet_pton(AF_INET, text, &number) == 1 && ntohl(number.s_addr) >> 24 == IN_LOOPBACKNET);
}

/* Takes the next address off a list, without its scheme; false when *list is NULL, the end. */
static bool next_address(const char **list, struct slice *ret, bool *ret_https)
{
    static const char *const schemes[] = {"http://", "https://"};
    const char *at;

    if (*list == NULL)
        return false;
    at = *list + strspn(*list, " \t");
    *ret_https = false;
    for (int i = 0; i < 2; i++) {
        if (strncmp(at, schemes[i], strlen(schemes[i])) != 0)
            continue;
        at += strlen(schemes[i]);
        *ret_https = i == 1;
    }
    *ret = (struct slice){at, strcspn(at, ",")};
    while (ret->len > 0 && strchr(" \t", at[ret->len - 1]) != NULL)
        ret->len--;
    at += strcspn(at, ",");
    *list = *at == ',' ? at + 1 : NULL;
    return true;
}

int app_listen_check_local(const struct config *config, struct err *err)
{
    const char *list = config->listen;
    struct slice address;
    bool https;

    while (next_address(&list, &address, &https))
        if (!is_loopback(address))
            return err_set(err, ERR_INVALID,
                           "LISTEN=%s: must be loopback addresses and ports, such as "
                           "127.0.0.1:8000 or [::1]:8000, as long as JWKS_URL is not set",
                           config->listen);
    return 0;
}

int app_listen_check_tls(const struct config *config, struct err *err)
{
    bool cert = *config->tls_cert != '\0';
    bool key = *config->tls_key != '\0';
    const char *list = config->listen;
    struct slice address;
    bool https;

    if (cert != key)
        return err_set(err, ERR_INVALID, "%s is not set: TLS_CERT and TLS_KEY go together",
                       cert ? "TLS_KEY" : "TLS_CERT");
    while (!cert && next_address(&list, &address, &https))
        if (https)
            return err_set(err, ERR_INVALID, "LISTEN=%s: https:// needs TLS_CERT and TLS_KEY",
                           config->listen);
    if (http_check_listen(config->listen, cert, err) != 0)
        return config_blame(config, "LISTEN", err);
    return cert ? http_check_certificate(config->tls_cert, config->tls_key, err) : 0;
}

void app_listen_warn(const char *addresses)
{
    struct slice address;
    bool https;

    while (next_address(&addresses, &address, &https))
        if (!https && !is_loopback(address))
            log_warning("app",
                        "tokens travel unencrypted to %.*s: good only behind a proxy that "
                        "terminates TLS; else set TLS_CERT and listen on https://%.*s",
                        SLICE_ARG(address), SLICE_ARG(address));
}
