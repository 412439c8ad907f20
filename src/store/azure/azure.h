#ifndef STORE_AZURE_H
#define STORE_AZURE_H

/* Azure Blob Storage: driver.c, requests.c, upload.c. */

#include "../cloud/cloud.h"
#include "recluster/secret.h"

struct azure_store {
    struct cloud cloud; /* the bucket is the container */
    char *account;
    char *endpoint; /* "https://account.blob.core.windows.net", without a slash at the end */
    struct secret *key, *sas; /* one of them, or none for public data */
    char *tier; /* header that says where blobs are kept; NULL: where the account says */
};

/* For struct cloud_protocol. `header` of a request: x-ms-… headers before "x-ms-d", sorted lines. */
int azure_send(struct cloud *c, const struct cloud_request *request, struct http_reply *reply,
    struct err *err) MUST_CHECK;
int azure_error(struct cloud *c, const struct cloud_request *request,
    const struct http_reply *reply, struct err *err);

/* The functions of the driver's table that are in upload.c. */
void *azure_write_begin(void *handle, const char *name, struct err *err) MUST_CHECK;
int azure_write_part(void *upload, const struct store_part *part, struct err *err) MUST_CHECK;
int azure_write_commit(void *upload, const struct store_part *last, struct err *err) MUST_CHECK;
void azure_write_end(void *upload);

#endif
