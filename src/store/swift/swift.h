#ifndef STORE_SWIFT_H
#define STORE_SWIFT_H

/* OpenStack Swift: driver.c, requests.c, login.c, and upload.c, which also removes segments. */

#include "../cloud/cloud.h"
#include "recluster/secret.h"

struct swift_store {
    struct cloud cloud; /* the bucket is the container */
    json_t *login;      /* the location, for swift_login(); NULL: only a token */

    /* The result of a login. */
    char *storage_url; /* without a slash at its end; NULL: not logged in */
    bool insecure;     /* a token may use a connection without TLS */
    struct secret *token;
};

/* The login: sets storage_url and token. TempAuth's (v1) or Keystone's (v3). */
int swift_login(struct swift_store *s, struct err *err) MUST_CHECK;

/* For the struct cloud_protocol. Logs in if needed. */
int swift_send(struct cloud *c, const struct cloud_request *request, struct http_reply *reply,
    struct err *err) MUST_CHECK;
int swift_error(struct cloud *c, const struct cloud_request *request,
    const struct http_reply *reply, struct err *err);

/* The functions of the driver's table that are in upload.c. */
void *swift_write_begin(void *handle, const char *name, struct err *err) MUST_CHECK;
int swift_write_part(void *upload, const struct store_part *part, struct err *err) MUST_CHECK;
int swift_write_commit(void *upload, const struct store_part *last, struct err *err) MUST_CHECK;
void swift_write_end(void *upload);
int swift_remove(void *handle, const char *name, struct err *err) MUST_CHECK;

#endif
