#ifndef STORE_AZURE_H
#define STORE_AZURE_H

/* Azure Blob Storage: requests (azure.c), the driver (azure_driver.c), uploads (azure_upload.c). */

#include "../http/request.h"
#include "recluster/secret.h"

struct azure_store {
    struct http_client *client;
    char *account, *container, *prefix, *label;
    char *endpoint; /* "https://account.blob.core.windows.net", without a slash at its end */
    struct secret *key, *sas; /* one of them, or none: what anybody may read */
    int page_size;
};

struct azure_request {
    const char *method;
    const char *name;        /* of the blob; NULL: the container itself */
    const char *query[8][2]; /* sorted, not encoded; NULL behind the last */
    const char *blob_type;   /* "BlockBlob" for an upload in one piece, else NULL */
    const void *body;
    size_t body_len;
    const struct store_receiver *to;
    int64_t offset, length;
};

/* Any status that the caller doesn't want goes to azure_error(). */
int azure_send(struct azure_store *a, const struct azure_request *request, struct http_reply *reply,
    struct err *err) MUST_CHECK;
int azure_error(struct azure_store *a, const struct azure_request *request,
    const struct http_reply *reply, struct err *err);

/* Both: a request that must be answered with 2xx and whose answer's body nobody needs. */
int azure_do(
    struct azure_store *a, const struct azure_request *request, struct err *err) MUST_CHECK;

/* The functions of the driver's table that are in azure_upload.c. */
void *azure_write_begin(void *handle, const char *name, struct err *err) MUST_CHECK;
int azure_write_part(void *upload, const struct store_part *part, struct err *err) MUST_CHECK;
int azure_write_commit(void *upload, const struct store_part *last, struct err *err) MUST_CHECK;
void azure_write_end(void *upload);

#endif
