#ifndef STORE_S3_SIGN_H
#define STORE_S3_SIGN_H

/*
 * Amazon's signature, version 4, for S3 (docs.aws.amazon.com/AmazonS3/latest/API/
 * sig-v4-header-based-auth.html). libcurl's own signature differs from the bytes that it sends if a
 * query contains "%2B", as tokens of listings do (curl 8.14).
 */

#include "../http/request.h"
#include "recluster/secret.h"

struct s3_signed {
    const char *method;
    const char *url; /* as sent; its query encoded, sorted, each name with a '=' */
    const void *body;
    size_t body_len;
    const char *region;
    const struct secret *key_id, *secret, *token; /* token: NULL: none */
    /* More headers that are signed: lines "x-amz-…:value\n", sorted, after x-amz-date; NULL: none.
     * The caller sends them. */
    const char *headers;
    int64_t now_ms;
};

/* Adds the headers of the signature: Authorization and those that it covers, except Host. */
void s3_sign(const struct s3_signed *what, struct curl_slist **headers);

#endif
