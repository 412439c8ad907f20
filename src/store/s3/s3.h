#ifndef STORE_S3_H
#define STORE_S3_H

/*
 * The S3 protocol, which many stores speak: requests with a signature of version 4, errors in XML.
 * s3_driver.c has Amazon's and compatible stores, gcs_xml_driver.c Google's; s3_upload.c writes.
 */

#include <stdbool.h>

#include "../http/request.h"
#include "recluster/secret.h"

struct s3_settings {
    const char *bucket;
    const char *prefix;                     /* "" or "a/b/" */
    const char *endpoint;                   /* NULL: Amazon's of the region */
    const char *region;                     /* NULL: us-east-1, until the store names another */
    bool host_style;                        /* the bucket is part of the host's name */
    struct secret *key_id, *secret, *token; /* become the handle's; without key_id: anonymous */
    int page_size;
};

struct s3_store;

/* NULL on failure; takes the secrets in any case. `location` says whom to trust. */
struct s3_store *s3_open(const struct s3_settings *settings, const json_t *location,
    char **ret_label, struct err *err) MUST_CHECK;

/* The functions of the drivers' tables. */
void s3_close(void *handle);
int s3_list(void *handle, struct store_list *list, struct err *err) MUST_CHECK;
int s3_read(void *handle, const char *name, int64_t offset, int64_t length,
    const struct store_receiver *receiver, struct err *err) MUST_CHECK;
int64_t s3_retry_after_ms(const void *handle);
void *s3_write_begin(void *handle, const char *name, struct err *err) MUST_CHECK;
int s3_write_part(void *upload, const struct store_part *part, struct err *err) MUST_CHECK;
int s3_write_commit(void *upload, const struct store_part *last, struct err *err) MUST_CHECK;
void s3_write_end(void *upload);
int s3_remove(void *handle, const char *name, struct err *err) MUST_CHECK;

/* As Amazon has it; parts grow, to 300 GB in all. */
enum { S3_PART_BYTES = 8 << 20, S3_PARTS_MAX = 10000 };

/* --- for s3_upload.c --- */

struct s3_request {
    const char *method;
    const char *name;  /* of the object; NULL: the bucket itself */
    const char *query; /* encoded, sorted, "a=1&b="; NULL: none */
    const void *body;
    size_t body_len;
    const struct store_receiver *to;
    int64_t offset, length;
};

/* Any status that the caller doesn't want goes to s3_error(). */
int s3_send(struct s3_store *s, const struct s3_request *request, struct http_reply *reply,
    struct err *err) MUST_CHECK;
int s3_error(struct s3_store *s, const struct s3_request *request, const struct http_reply *reply,
    struct err *err);

/* Whether the reply is the store's error of that code ("NoSuchUpload"). */
bool s3_reply_says(const struct http_reply *reply, const char *code);

const char *s3_header(struct s3_store *s, const char *name);
const char *s3_prefix(const struct s3_store *s);

#endif
