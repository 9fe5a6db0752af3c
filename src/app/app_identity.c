/*
 * Where the keys come from that tokens are checked by: from the identity provider's key set, or,
 * without one, from the development issuer, whose tokens anybody on this machine can make. The
 * two are never in force together.
 */
#include "app/app.h"

#include "fetch/fetch.h"

static bool is_given(const char *text)
{
    return text[0] != '\0';
}

int app_identity_check(const struct config *config, struct err *err)
{
    if (!is_given(config->jwks_url) && config->environment == CONFIG_PRODUCTION)
        return err_set(err, ERR_INVALID,
                       "ENVIRONMENT=PRODUCTION: needs the key set of an identity provider, "
                       "JWKS_URL");
    if (is_given(config->jwks_url) && fetch_check_url(config->jwks_url, err) != 0)
        return config_blame(config, "JWKS_URL", err);
    if (is_given(config->introspection_url) && fetch_check_url(config->introspection_url, err) != 0)
        return config_blame(config, "INTROSPECTION_URL", err);
    if (is_given(config->ca_file) && fetch_check_authorities(config->ca_file, err) != 0)
        return err_wrap(err, "CA_FILE=%.200s", config->ca_file);
    return 0;
}

static int use_issuer(const struct config *config, struct auth *auth, struct err *err)
{
    struct auth_issuer *issuer;
    struct auth_keys *keys = NULL;
    int code = auth_issuer_open(config->data_dir, &issuer, err);

    if (code != 0)
        return code;
    if ((code = auth_issuer_keys(issuer, &keys, err)) == 0)
        auth_use_keys(auth, keys);
    auth_issuer_close(issuer);
    return code;
}

int app_identity_open(const struct config *config, struct auth *auth, struct auth_jwks **ret,
                      struct err *err)
{
    const struct auth_jwks_options options = {
        .url = config->jwks_url,
        .data_dir = config->data_dir,
        .ca_file = config->ca_file,
        .refresh_ms = (int64_t)config->jwks_refresh,
        .min_interval_ms = (int64_t)config->jwks_min_interval,
        .timeout_ms = (int64_t)config->jwks_timeout,
    };

    return is_given(config->jwks_url) ? auth_jwks_start(auth, &options, ret, err)
                                      : use_issuer(config, auth, err);
}
