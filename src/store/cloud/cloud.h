#ifndef STORE_CLOUD_H
#define STORE_CLOUD_H

/*
 * Shared by object stores: objects in a bucket (a container), whose names begin with the location's
 * prefix; lists in pages; one error for each unwanted answer. A kind of store is a struct
 * cloud_protocol and a struct whose first member is a struct cloud:
 *
 *     struct s3_store { struct cloud cloud; … };
 *     cloud_set_up(&s->cloud, &s3_protocol, object, …, err)
 *     … cloud_list, cloud_read, cloud_remove, cloud_close: functions of the driver's table …
 */

#include <jansson.h>

#include "../http/request.h"

struct cloud_request {
    const char *method;       /* NULL: GET */
    const char *name;         /* of the object, after the prefix; NULL: the bucket itself */
    const char *bucket;       /* instead of the location's; `name` then is the whole name */
    const char *url;          /* a URL from the store, instead of all the above; or NULL */
    const char *query[10][2]; /* not encoded, sorted; NULL after the last: cloud_add_query() */
    const char *header;       /* "NAME: VALUE", besides those of all requests; or NULL */
    const void *body;
    const char *body_type; /* NULL: application/octet-stream */
    size_t body_len;
    const struct store_receiver *to;
    int64_t offset, length;
};

struct cloud;

struct cloud_protocol {
    /* Sends the request with the store's login. Any answer is a success. */
    int (*send)(
        struct cloud *c, const struct cloud_request *r, struct http_reply *reply, struct err *err);
    /* Sets the error for this answer. Returns -1. */
    int (*error)(struct cloud *c, const struct cloud_request *r, const struct http_reply *reply,
        struct err *err);
    /* The query of a page of the list; token NULL: the first page. */
    void (*page_query)(const struct cloud *c, const char *token, struct cloud_request *r);
    /* Adds the page's files; *ret_next, the caller's: token of the next page, NULL: last page. */
    int (*read_page)(struct cloud *c, const struct http_reply *reply, struct store_list *list,
        char **ret_next, struct err *err);
    /* Frees the members of the kind, before the struct. */
    void (*release)(struct cloud *c);
    const char *read_query[2]; /* for an object's bytes; {NULL}: none */
};

struct cloud {
    const struct cloud_protocol *protocol;
    struct http_client *client;
    char *bucket, *prefix; /* prefix: "" or "a/b/" */
    char *label;           /* printable, ends with the prefix */
    char page_size[12];    /* entries in a requested page */
};

/* Copies `bucket` and `prefix`; takes the label. After a failure, cloud_close() is still needed. */
struct cloud_names {
    const char *bucket, *prefix;
    char *label;
    int page_size;
};
int cloud_set_up(struct cloud *c, const struct cloud_protocol *protocol,
    const struct cloud_names *names, const json_t *location, struct err *err) MUST_CHECK;

/* The functions of a driver's table; `handle` is a struct whose first member is a struct cloud. */
int cloud_list(void *handle, struct store_list *list, struct err *err) MUST_CHECK;
int cloud_read(void *handle, const char *name, int64_t offset, int64_t length,
    const struct store_receiver *receiver, struct err *err) MUST_CHECK;
int cloud_remove(void *handle, const char *name, struct err *err) MUST_CHECK;
int64_t cloud_retry_after_ms(const void *handle);
void cloud_close(void *handle); /* frees the struct too */

/* Sends it; any answer but 2xx is an error. */
int cloud_ask(struct cloud *c, const struct cloud_request *r, struct http_reply *reply,
    struct err *err) MUST_CHECK;
/* The same without the answer's body. */
int cloud_do(struct cloud *c, const struct cloud_request *r, struct err *err) MUST_CHECK;

/* --- for send() --- */

/* The request's printable address. The caller frees it. */
char *cloud_label(const struct cloud *c, const struct cloud_request *r);
/* Appends "?a=1&b=2", or nothing. */
void cloud_add_query(struct buf *url, const struct cloud_request *r);
/* Appends one more parameter and its value; a NULL value adds nothing. */
void cloud_query(struct cloud_request *r, const char *name, const char *value);
/* Sends it to this URL with these headers, and the type of the body if there is one. */
int cloud_send_to(struct cloud *c, const struct cloud_request *r, const char *url,
    struct curl_slist **headers, struct http_reply *reply, struct err *err) MUST_CHECK;

#endif
