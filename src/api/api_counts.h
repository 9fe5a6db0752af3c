/*
 * Transactions by status, for /v1/status and /metrics alike.
 */
#ifndef API_COUNTS_H
#define API_COUNTS_H

#include "api/api.h"

struct api_counts {
    uint64_t accepted, uncompleted, successful, failed, discarded, damaged;
};

struct api_counts api_counts(const struct api_view *view);

#endif
