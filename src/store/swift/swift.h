#ifndef STORE_SWIFT_H
#define STORE_SWIFT_H

/*
 * OpenStack Swift: requests (swift.c), logins (swift_login.c), the driver (swift_driver.c), uploads
 * and what removing one takes (swift_upload.c).
 */

#include "../http/request.h"
#include "recluster/secret.h"

struct swift_store {
    struct http_client *client;
    char *container, *prefix, *label;
    int page_size;
    json_t *login; /* the location: what swift_login() needs; NULL if the token is all there is */

    /* What a login gives. */
    char *storage_url; /* without a slash at its end; NULL: not logged in */
    bool insecure;     /* a token may go over a connection without TLS */
    struct secret *token;
};

struct swift_request {
    const char *method;
    const char *container; /* NULL: the location's */
    const char *path;      /* of the object, whole; NULL: the container itself */
    const char *query;     /* encoded, NULL: none */
    const char *accept;    /* type of the answer; NULL: any */
    const void *body;
    size_t body_len;
    const struct store_receiver *to;
    int64_t offset, length;
};

/* The login: sets storage_url and token. TempAuth's (v1) or Keystone's (v3). */
int swift_login(struct swift_store *s, struct err *err) MUST_CHECK;

/* Logs in if needed. Any status that the caller doesn't want goes to swift_error(). */
int swift_send(struct swift_store *s, const struct swift_request *request, struct http_reply *reply,
    struct err *err) MUST_CHECK;
int swift_error(struct swift_store *s, const struct swift_request *request,
    const struct http_reply *reply, struct err *err);

/* Both: a request that must be answered with 2xx and whose answer's body nobody needs. */
int swift_do(
    struct swift_store *s, const struct swift_request *request, struct err *err) MUST_CHECK;

/* The functions of the driver's table that are in swift_upload.c. */
void *swift_write_begin(void *handle, const char *name, struct err *err) MUST_CHECK;
int swift_write_part(void *upload, const struct store_part *part, struct err *err) MUST_CHECK;
int swift_write_commit(void *upload, const struct store_part *last, struct err *err) MUST_CHECK;
void swift_write_end(void *upload);
int swift_remove(void *handle, const char *name, struct err *err) MUST_CHECK;

#endif
