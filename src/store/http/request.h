#ifndef STORE_HTTP_REQUEST_H
#define STORE_HTTP_REQUEST_H

/*
 * HTTP requests, for the drivers that use HTTP.
 *
 *     struct http_client *c = http_client_new(location, err);
 *     struct http_reply reply = HTTP_REPLY_INIT;
 *     if (http_send(c, &(struct http_request){.url = url, .what = label}, &reply, err) == 0)
 *         … reply.status, reply.text, http_header(c, "ETag") …
 *     http_reply_release(&reply);
 *     http_client_free(c);
 *
 * http_send() succeeds with any answer, whatever its status; http_status_error() makes an error of
 * an unwanted one. The requests of a client use one connection, one after the other, with the
 * timeouts of the location (driver.h).
 */

#include <curl/curl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "../driver.h"
#include "recluster/buf.h"
#include "recluster/err.h"

struct http_client;

/*
 * Reads from the location whom to trust and how to log in by certificate: "ca_file" or "ca_cert" (a
 * path or the PEM text itself), "client_cert" and "client_key" (paths or PEM texts),
 * "client_key_password".
 */
struct http_client *http_client_new(const json_t *location, struct err *err) MUST_CHECK;
void http_client_free(struct http_client *c); /* may be NULL */

/* The same settings for another handle. */
int http_set_trust(CURL *curl, const json_t *location, struct err *err) MUST_CHECK;

/*
 * Redirects are followed up to 5 times, within the host and never from TLS to plain text; also to
 * other hosts if the location has "redirects": "any". After http_client_stay_on_host() never to
 * other hosts: a signature or a token is only for one host.
 */
void http_client_stay_on_host(struct http_client *c);

/* For permanent options such as the login. Do not change options that http_send() sets. */
CURL *http_client_curl(struct http_client *c);

/* The pause that the last answer requested (Retry-After); 0: none. */
int64_t http_retry_after_ms(const struct http_client *c);

struct http_request {
    const char *method; /* NULL: GET */
    const char *url;
    const char *what;                 /* printable address */
    const struct curl_slist *headers; /* NULL: none */
    const void *body;                 /* NULL: none; "": an empty body */
    size_t body_len;

    /* For an object: the receiver of the answers 200 and 206, and the requested bytes. */
    const struct store_receiver *to;
    int64_t offset, length; /* length -1: to the end */
};

struct http_reply {
    long status;
    struct buf text; /* the body, if no receiver took it; of an error at most 64 KiB */
};
#define HTTP_REPLY_INIT                                                                            \
    {                                                                                              \
        .text = BUF_INIT                                                                           \
    }
void http_reply_release(struct http_reply *reply);

/* Clears the reply first. */
int http_send(struct http_client *c, const struct http_request *request, struct http_reply *reply,
    struct err *err) MUST_CHECK;

/* 200, 206, and 416: a range after the end, as the receiver was told. */
bool http_status_is_object(long status);
bool http_status_is_fine(long status); /* 2xx */

/* Sets the error for this status. Returns -1. */
int http_status_error(long status, const char *what, struct err *err);
enum err_code http_status_code(long status); /* its code */

/* A header of the last answer, until the next request; NULL: missing. */
const char *http_header(struct http_client *c, const char *name);

/*
 * A range of bytes in a request: "0-99", "5-"; "" for the whole object. A length of 0 becomes 1,
 * because an empty range cannot be requested.
 */
#define HTTP_RANGE_MAX 48
void http_range(char out[HTTP_RANGE_MAX], int64_t offset, int64_t length);

/* Appends text percent-encoded by RFC 3986 (space: %20); `slashes` stay if requested. */
void http_encode(struct buf *out, const char *text, bool keep_slashes);

/* Adds "NAME: VALUE" to a list of headers. */
PRINTF_LIKE(2, 3)
void http_add_header(struct curl_slist **headers, const char *fmt, ...);
void http_free_headers(struct curl_slist **headers); /* for CLEANUP; wipes them */

#endif
