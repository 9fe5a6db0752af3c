/*
 * The parts of fetching a key set: when, and the file that keeps it.
 */
#ifndef AUTH_AUTH_JWKS_PRIV_H
#define AUTH_AUTH_JWKS_PRIV_H

#include "auth/auth_priv.h"

#include "base/disk.h"

/* What came so far; instants are those of clock_mono_us(). */
struct jwks_past {
    bool tried;
    int64_t ended_us;  /* the last fetch */
    unsigned failures; /* in a row, up to it */
};

/* When to fetch next, which may be long ago; `wanted`: a token asked for newer keys. Pure. */
int64_t jwks_due(const struct jwks_past *past, int64_t refresh_us, int64_t min_interval_us,
                 bool wanted);

/* Keeps a set, as the provider wrote it, in place of the one before: after a crash there is the
 * one or the other, whole. */
MUST_CHECK int jwks_save(struct disk *disk, const char *data_dir, const char *url,
                         struct slice jwks, int64_t fetched_us, struct err *err);

/* ERR_NOT_FOUND if none was kept, ERR_CONFLICT if it came from another URL, ERR_CORRUPT if it is
 * none; else what the system said. */
MUST_CHECK int jwks_load(struct disk *disk, const char *data_dir, const char *url,
                         struct auth_keys **ret, int64_t *ret_fetched_us, struct err *err);

#endif
