#ifndef STORE_AZURE_SIGN_H
#define STORE_AZURE_SIGN_H

/*
 * Azure's Shared Key signature (learn.microsoft.com/rest/api/storageservices/
 * authorize-with-shared-key, the form since 2015).
 */

#include "recluster/err.h"
#include "recluster/secret.h"

struct azure_signed {
    const char *method;
    size_t body_len;
    const char *content_type; /* "" if there is no body */
    const char *range;        /* "bytes=0-9" or "" */
    const char *headers;      /* all x-ms-… ones, sorted: "x-ms-date:…\nx-ms-version:…\n" */
    const char *account;
    const char *path;        /* of the URL, as it is sent */
    const char *(*query)[2]; /* name and value, not encoded, sorted; NULL name at the end */
};

/* The value of the header Authorization. NULL if the key is not in base 64. The caller frees it. */
char *azure_authorization(
    const struct azure_signed *what, const struct secret *key, struct err *err) MUST_CHECK;

#endif
