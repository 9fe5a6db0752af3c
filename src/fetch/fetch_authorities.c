/*
 * A file of authorities is looked at before the start, so that a wrong one is told then and not
 * by a failed request.
 */
#include "fetch/fetch.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <stdlib.h>

int fetch_check_authorities(const char *ca_file, struct err *err)
{
    X509_STORE *store = X509_STORE_new();
    int loaded;

    if (store == NULL)
        abort(); /* as mem_alloc() */
    loaded = X509_STORE_load_file(store, ca_file);
    X509_STORE_free(store);
    ERR_clear_error(); /* what failed is said below; nobody else shall find it */
    if (loaded != 1)
        return err_set(err, ERR_INVALID, "must be a file of certificates in PEM that can be read");
    return 0;
}
