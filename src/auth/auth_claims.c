/*
 * Claims (RFC 7519 section 4): what they must be, and whether they hold now.
 *
 * `use` is "access", `sub` a printable text, `exp` a number; `nbf` and `iat` are numbers
 * if they are there. Numeric dates are seconds, whole or with a fraction, and far ones are
 * taken for the year 9999, so that adding the leeway cannot overflow. Whole numbers are read as
 * doubles, exact beyond that year in seconds: else one that does not fit 64 bits, in whatever
 * claim, would be no JSON to jansson.
 */
#include "auth/auth_priv.h"

#define US_PER_SECOND INT64_C(1000000)
#define FARTHEST_S INT64_C(253402300799) /* 9999-12-31T23:59:59Z */
#define LEEWAY_US (AUTH_LEEWAY * US_PER_SECOND)

static int64_t date_of(const json_t *number)
{
    double seconds = json_number_value(number);

    if (seconds >= (double)FARTHEST_S)
        return FARTHEST_S * US_PER_SECOND;
    if (seconds <= -(double)FARTHEST_S)
        return -FARTHEST_S * US_PER_SECOND;
    return (int64_t)(seconds * (double)US_PER_SECOND);
}

/* Leaves *ret alone if there is no such claim. */
static int read_date(const json_t *claims, const char *name, int64_t *ret, struct err *err)
{
    const json_t *date = json_object_get(claims, name);

    if (date == NULL)
        return 0;
    if (!json_is_number(date))
        return err_set(err, ERR_INVALID, "%s must be a number", name);
    *ret = date_of(date);
    return 0;
}

static int read_dates(const json_t *claims, struct auth_token *token, struct err *err)
{
    int64_t not_before = INT64_MIN, issued_at = INT64_MIN;
    int rc;

    if (json_object_get(claims, "exp") == NULL)
        return err_set(err, ERR_INVALID, "exp is missing");
    rc = read_date(claims, "exp", &token->claims.expires_us, err);
    if (rc == 0)
        rc = read_date(claims, "nbf", &not_before, err);
    if (rc == 0)
        rc = read_date(claims, "iat", &issued_at, err);
    token->starts_us = not_before > issued_at ? not_before : issued_at;
    return rc;
}

static int read_claims(const json_t *claims, struct auth_token *token, struct err *err)
{
    const json_t *use = json_object_get(claims, "use");
    const json_t *sub = json_object_get(claims, "sub");
    int rc;

    if (!json_is_object(claims))
        return err_set(err, ERR_INVALID, "the token's claims are not a JSON object");
    if (!json_is_string(use) || strcmp(json_string_value(use), "access") != 0)
        return err_set(err, ERR_INVALID, "use must be access");
    rc = read_dates(claims, token, err);
    if (rc != 0)
        return rc;
    if (!json_is_string(sub) || !auth_is_subject(json_string_value(sub), json_string_length(sub)))
        return err_set(err, ERR_INVALID, "sub must be a text of 1 to %d printable characters",
                       AUTH_MAX_SUBJECT - 1);
    memcpy(token->claims.subject, json_string_value(sub), json_string_length(sub) + 1);
    return 0;
}

int auth_claims_read(struct slice json, bool development, const struct auth_urns *urns,
                     struct auth_token *ret, struct err *err)
{
    struct auth_token token = {.claims.development = development};
    json_t *claims =
        json_loadb(json.at, json.len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, NULL);
    int rc = read_claims(claims, &token, err);

    json_decref(claims);
    if (rc != 0)
        return rc;
    token.allowed = auth_urns_allow(urns, token.claims.subject);
    token.claims.scopes = AUTH_WRITE | AUTH_READ | (development ? AUTH_ADMIN : 0);
    *ret = token;
    return 0;
}

int auth_token_judge(const struct auth_token *token, int64_t now_us, struct err *err)
{
    if (now_us >= token->claims.expires_us + LEEWAY_US)
        return err_set(err, ERR_INVALID, "token has expired");
    if (token->starts_us != INT64_MIN && now_us < token->starts_us - LEEWAY_US)
        return err_set(err, ERR_INVALID, "token is not valid yet");
    if (!token->allowed)
        return err_set(err, ERR_DENIED, "%s is not an allowed URN", token->claims.subject);
    return 0;
}

bool auth_may_write(const struct auth_claims *claims, uint32_t product)
{
    for (size_t i = 0; i < claims->product_count; i++) {
        if (claims->products[i] == product)
            return true;
    }
    return claims->product_count == 0;
}
