/*
 * A key set, read by jansson, and by OpenSSL's numbers and curves.
 */
#ifndef FUZZ_MODELS_TOKEN_H
#define FUZZ_MODELS_TOKEN_H

#include "base/slice.h"

/* How many keys of it tokens may be checked by. */
size_t model_keys(struct slice set);

#endif
