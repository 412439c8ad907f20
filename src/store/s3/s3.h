#ifndef STORE_S3_H
#define STORE_S3_H

/*
 * The S3 protocol, which many stores use: requests with a signature of version 4, errors in XML.
 * driver.c is for Amazon's and compatible stores, gcs_xml_driver.c for Google's; upload.c writes.
 */

#include <stdbool.h>

#include "../cloud/cloud.h"
#include "recluster/secret.h"

struct s3_settings {
    const char *bucket;
    const char *prefix;   /* "" or "a/b/" */
    const char *endpoint; /* NULL: Amazon's endpoint of the region */
    const char *region;   /* NULL: us-east-1, until the store names another */
    bool host_style;      /* the bucket is part of the host's name */
    struct secret *key_id, *secret,
        *token; /* taken over by the handle; without key_id: anonymous */
    int page_size;
    /* How objects are kept; NULL, 0: as the store does it by itself. */
    const char *storage_class, *encryption, *encryption_key; /* "aws:kms" and the id of its key */
    const char *lock_mode;                                   /* "GOVERNANCE", "COMPLIANCE" */
    int lock_days;
};

/* NULL on failure; takes over the secrets in any case. `location` has the trust settings. */
void *s3_open(const struct s3_settings *settings, const json_t *location, char **ret_label,
    struct err *err) MUST_CHECK;

/* The functions of the drivers' tables that are in upload.c. */
void *s3_write_begin(void *handle, const char *name, struct err *err) MUST_CHECK;
int s3_write_part(void *upload, const struct store_part *part, struct err *err) MUST_CHECK;
int s3_write_commit(void *upload, const struct store_part *last, struct err *err) MUST_CHECK;
void s3_write_end(void *upload);

/* Amazon's limits; parts grow, up to objects of 300 GB. */
enum { S3_PART_BYTES = 8 << 20, S3_PARTS_MAX = 10000 };

/* Headers of the request that makes an object, as of s3_signed.headers. The caller frees them. */
char *s3_creation_headers(const struct cloud *c);

/* Whether the reply is the store's error of that code ("NoSuchUpload"). */
bool s3_reply_says(const struct http_reply *reply, const char *code);

#endif
