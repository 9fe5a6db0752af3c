/*
 * One question: POST to the introspection endpoint (RFC 7662, section 2.1), and what came of it.
 *
 * An answer is a 200 that says whether the token is active. A 401 that says it is not is one too:
 * the Penn platform answers so for tokens that it does not know. Everything else is a failure.
 * For most the provider is to blame, or the way to it, or our client's secret (no answer, 401,
 * 429, 502 ...); but where it takes exception to this one question (400, 500, an answer that is
 * none) it may be the session's fault, and others may fare better. So it may with 403: a firewall
 * in front of the provider says it to a session that looks like an attack.
 */
#include "users/users_priv.h"

#include "base/buf.h"
#include "base/mem.h"
#include "fetch/fetch.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 64 * 1024 };

struct users_asker {
    const struct users *users;
    struct fetch *fetch;
    struct json_parser *parser;
    struct buf form, answer;
};

struct users_asker *users_asker_open(const struct users *users)
{
    struct users_asker *asker = mem_zalloc(sizeof *asker);

    asker->users = users;
    asker->fetch = fetch_open();
    asker->parser = json_parser_open();
    return asker;
}

void users_asker_close(struct users_asker *asker)
{
    buf_free(&asker->form);
    buf_free(&asker->answer);
    json_parser_close(asker->parser);
    fetch_close(asker->fetch);
    free(asker);
}

static int send_question(struct users_asker *asker, struct slice session, long *ret_status,
                         struct err *err)
{
    static const char *const headers[] = {"Content-Type: application/x-www-form-urlencoded",
                                          "Accept: application/json", NULL};
    const struct users *users = asker->users;
    struct fetch_request request = {
        .method = "POST",
        .url = users->url,
        .headers = headers,
        .user = users->login,
        .password = users->secret,
        .timeout_ms = users->timeout_ms,
        .max_bytes = MOST_BYTES,
        .ca_file = users->ca_file,
        .stop = &users->stop,
    };
    int code;

    asker->form.len = 0;
    buf_append_text(&asker->form, "token_type_hint=access_token&token=");
    users_encode(&asker->form, session);
    request.body = buf_slice(&asker->form);
    code = fetch(asker->fetch, &request, &asker->answer, ret_status, err);
    OPENSSL_cleanse(asker->form.data, asker->form.len);
    return code;
}

/* Others may be answered all the same. */
static bool is_about_the_question(long status)
{
    return status == 200 || status == 400 || status == 403 || status == 413 || status == 422 ||
           status == 431 || status == 500;
}

int users_asker_ask(struct users_asker *asker, struct slice session, struct users_reply *ret,
                    bool *ret_blame, struct err *err)
{
    struct users_reply reply = {0};
    struct err read_err;
    bool understood;
    const char *url = asker->users->url;
    int shown = (int)strcspn(url, "?"); /* a query may hold a secret */
    long status = 0;
    int code = send_question(asker, session, &status, err);

    if (code != 0) {
        *ret_blame = code == ERR_TOO_LARGE;
        return code;
    }
    buf_reserve(&asker->answer, JSON_PADDING);
    understood = users_read_answer(asker->parser, buf_slice(&asker->answer), asker->users->members,
                                   &reply, &read_err) == 0;
    if (understood && (status == 200 || (status == 401 && !reply.active))) {
        *ret = reply;
        return 0;
    }
    *ret_blame = is_about_the_question(status);
    if (status == 200)
        return err_set(err, ERR_UNAVAILABLE, "%.*s: %.200s", shown, url, read_err.text);
    return err_set(err, ERR_UNAVAILABLE, "%.*s: answered with %ld", shown, url, status);
}
