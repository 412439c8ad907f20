#ifndef STORE_GCS_H
#define STORE_GCS_H

/*
 * Google Cloud Storage by its JSON API: requests (gcs.c), tokens (gcs_token.c), the driver
 * (gcs_driver.c), uploads (gcs_upload.c). Locations with HMAC keys go through Google's XML API,
 * which is S3's protocol: gcs_xml_driver.c.
 */

#include "../cloud/location.h"
#include "../http/request.h"
#include "recluster/secret.h"

/* What the drivers of both APIs have in common. */
extern const struct cloud_form gcs_form;
json_t *gcs_members(const json_t *location, struct err *err) MUST_CHECK;
int gcs_resolve(json_t *location, bool own, struct err *err) MUST_CHECK;

struct gcs_store {
    struct http_client *client;
    char *bucket, *prefix, *label;
    char *endpoint; /* "https://storage.googleapis.com" */
    int page_size;

    /* How to get a token: one of these logins, or none for what anybody may read. */
    char *token_uri;
    char *email, *key_id; /* of a service account */
    struct secret *private_key;
    char *client_id; /* of a person's application */
    struct secret *client_secret, *refresh_token;

    struct secret *token;
    int64_t token_until_ms; /* on the monotonic clock */
};

struct gcs_request {
    const char *method;
    const char *url;  /* gcs_url() or one that the store gave */
    const char *name; /* of the object, for messages; NULL: the bucket */
    const struct curl_slist *headers;
    const void *body;
    size_t body_len;
    const struct store_receiver *to;
    int64_t offset, length;
};

/*
 * endpoint + path + bucket + "/o" ("/" + the object's name, if there is one) + query, for path one
 * of the two below. The caller frees it.
 */
char *gcs_url(const struct gcs_store *g, const char *path, const char *name, const char *query);
extern const char gcs_path[], gcs_upload_path[];

/* With a token, if there is a login. Any status that the caller doesn't want goes to gcs_error(). */
int gcs_send(struct gcs_store *g, const struct gcs_request *request, struct http_reply *reply,
    struct err *err) MUST_CHECK;
int gcs_error(
    struct gcs_store *g, const char *name, const struct http_reply *reply, struct err *err);

/* Makes sure that g->token is good for some minutes. */
int gcs_token(struct gcs_store *g, struct err *err) MUST_CHECK;

/* The functions of the driver's table that are in gcs_upload.c. */
void *gcs_write_begin(void *handle, const char *name, struct err *err) MUST_CHECK;
int gcs_write_part(void *upload, const struct store_part *part, struct err *err) MUST_CHECK;
int gcs_write_commit(void *upload, const struct store_part *last, struct err *err) MUST_CHECK;
void gcs_write_end(void *upload);

#endif
