#ifndef STORE_GCS_H
#define STORE_GCS_H

/*
 * Google Cloud Storage by its JSON API: driver.c, requests.c, token.c, upload.c. Locations with
 * HMAC keys use Google's XML API, which is S3's protocol: ../s3/gcs_xml_driver.c.
 */

#include "../cloud/cloud.h"
#include "../cloud/location.h"
#include "recluster/secret.h"

/* Shared by the drivers of both APIs. */
extern const struct cloud_form gcs_form;
json_t *gcs_members(const json_t *location, struct err *err) MUST_CHECK;
int gcs_resolve(json_t *location, bool own, struct err *err) MUST_CHECK;

struct gcs_store {
    struct cloud cloud;
    char *endpoint; /* "https://storage.googleapis.com" */

    /* How to get a token: one of these logins, or none for public data. */
    char *token_uri;
    char *email, *key_id; /* of a service account */
    struct secret *private_key;
    char *client_id; /* of a person's application */
    struct secret *client_secret, *refresh_token;

    char *storage_class; /* of what is written; NULL: that of the bucket */

    struct secret *token;
    int64_t token_until_ms; /* on the monotonic clock */
};

/* For struct cloud_protocol. With a token, if there is a login. */
int gcs_send(struct cloud *c, const struct cloud_request *request, struct http_reply *reply,
    struct err *err) MUST_CHECK;
int gcs_error(struct cloud *c, const struct cloud_request *request, const struct http_reply *reply,
    struct err *err);

/* Makes sure that g->token is valid for some minutes. */
int gcs_token(struct gcs_store *g, struct err *err) MUST_CHECK;

/* The functions of the driver's table that are in upload.c. */
void *gcs_write_begin(void *handle, const char *name, struct err *err) MUST_CHECK;
int gcs_write_part(void *upload, const struct store_part *part, struct err *err) MUST_CHECK;
int gcs_write_commit(void *upload, const struct store_part *last, struct err *err) MUST_CHECK;
void gcs_write_end(void *upload);

#endif
