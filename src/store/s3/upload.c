#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cloud/xml.h"
#include "s3.h"

/* An object of one part takes one request, others a multipart upload, visible when completed. */

enum { ETAG_MAX = 128 };

struct s3_upload {
    struct cloud *c;
    char *name;
    char *headers; /* of the request that makes the object */
    char *id;      /* of the multipart upload; NULL: not started */
    char (*etags)[ETAG_MAX];
    size_t etag_count, etag_alloc;
    int64_t bytes;
    bool completing, done;
};

void *s3_write_begin(void *handle, const char *name, struct err *err)
{
    struct s3_upload *u = xcalloc(1, sizeof(*u));

    (void)err;
    u->c = handle;
    u->name = xstrdup(name);
    u->headers = s3_creation_headers(u->c);
    return u;
}

static void on_initiate_element(void *arg, const char *path, const char *text)
{
    char **id = arg;
    if (strcmp(path, "InitiateMultipartUploadResult/UploadId") == 0) {
        free(*id);
        *id = xstrdup(text);
    }
}

/* A lost answer leaves an upload without parts at the store, which takes no room. */
static int initiate(struct s3_upload *u, struct err *err)
{
    const struct cloud_request request = {.method = "POST",
        .name = u->name,
        .query = {{"uploads", ""}},
        .header = u->headers,
        .body = ""};
    struct http_reply reply = HTTP_REPLY_INIT;
    char *id = NULL;

    int rc = cloud_ask(u->c, &request, &reply, err);
    if (rc == 0)
        rc = xml_walk(reply.text.data, reply.text.len, u->name, on_initiate_element, &id, err);
    if (rc == 0 && (!id || !*id))
        rc = err_set(
            err, ERR_PROTOCOL, "the store began the upload of '%s' without naming it", u->name);
    if (rc == 0) {
        u->id = id;
        id = NULL;
    }
    free(id);
    http_reply_release(&reply);
    return rc;
}

/* Without a multipart upload the object itself. */
static int put(struct s3_upload *u, const struct store_part *part, char *ret_etag, struct err *err)
{
    char number[24];
    struct cloud_request request = {
        .method = "PUT",
        .name = u->name,
        .header = u->id ? NULL : u->headers,
        .body = part->data ? part->data : "",
        .body_len = part->len,
    };
    struct http_reply reply = HTTP_REPLY_INIT;

    snprintf(number, sizeof(number), "%zu", part->number + 1);
    cloud_query(&request, "partNumber", u->id ? number : NULL);
    cloud_query(&request, "uploadId", u->id);
    int rc = cloud_ask(u->c, &request, &reply, err);
    const char *etag = rc == 0 ? http_header(u->c->client, "ETag") : NULL;
    if (rc == 0 && (!etag || strlen(etag) >= ETAG_MAX || strpbrk(etag, "<&")))
        rc = err_set(err, ERR_PROTOCOL, "the store took a part of '%s' without naming it", u->name);
    if (rc == 0)
        snprintf(ret_etag, ETAG_MAX, "%s", etag);
    http_reply_release(&reply);
    return rc;
}

int s3_write_part(void *upload, const struct store_part *part, struct err *err)
{
    struct s3_upload *u = upload;
    char etag[ETAG_MAX];

    if (!u->id && initiate(u, err) < 0)
        return -1;
    if (put(u, part, etag, err) < 0)
        return -1;
    if (part->number == u->etag_count) {
        GROW(u->etags, u->etag_count, u->etag_alloc);
        u->etag_count++;
    }
    memcpy(u->etags[part->number], etag, ETAG_MAX);
    u->bytes = part->offset + (int64_t)part->len;
    return 0;
}

/* A lost answer to a completion: it succeeded if the object exists with the right size. */
static int check_completed(struct s3_upload *u, struct err *err)
{
    const struct cloud_request request = {.method = "HEAD", .name = u->name};
    struct http_reply reply = HTTP_REPLY_INIT;

    int rc = cloud_ask(u->c, &request, &reply, err);
    const char *length = rc == 0 ? http_header(u->c->client, "Content-Length") : NULL;
    if (rc == 0 && (!length || strtoll(length, NULL, 10) != u->bytes))
        rc = err_set(err, ERR_FAILED, "the store dropped the upload of '%s'", u->name);
    http_reply_release(&reply);
    return rc;
}

static int complete(struct s3_upload *u, struct err *err)
{
    struct buf body = BUF_INIT;
    struct http_reply reply = HTTP_REPLY_INIT;

    buf_adds(&body, "<CompleteMultipartUpload>");
    for (size_t i = 0; i < u->etag_count; i++)
        buf_addf(
            &body, "<Part><PartNumber>%zu</PartNumber><ETag>%s</ETag></Part>", i + 1, u->etags[i]);
    buf_adds(&body, "</CompleteMultipartUpload>");
    const struct cloud_request request = {
        .method = "POST",
        .name = u->name,
        .query = {{"uploadId", u->id}},
        .body = body.data,
        .body_len = body.len,
    };
    bool again = u->completing;
    u->completing = true;
    int rc = u->c->protocol->send(u->c, &request, &reply, err);
    if (rc == 0 && again && s3_reply_says(&reply, "NoSuchUpload"))
        rc = check_completed(u, err);
    /* An error may follow the head of a success, because completing takes long. */
    else if (rc == 0 && (!http_status_is_fine(reply.status) || strstr(reply.text.data, "<Error>")))
        rc = u->c->protocol->error(u->c, &request, &reply, err);
    http_reply_release(&reply);
    buf_release(&body);
    return rc;
}

int s3_write_commit(void *upload, const struct store_part *last, struct err *err)
{
    struct s3_upload *u = upload;
    char etag[ETAG_MAX];

    if (last->number == 0) {
        u->done = put(u, last, etag, err) == 0;
        return u->done ? 0 : -1;
    }
    if (last->len && !u->completing && s3_write_part(u, last, err) < 0)
        return -1;
    u->done = complete(u, err) == 0;
    return u->done ? 0 : -1;
}

void s3_write_end(void *upload)
{
    struct s3_upload *u = upload;

    if (!u->done && u->id) {
        const struct cloud_request request = {
            .method = "DELETE", .name = u->name, .query = {{"uploadId", u->id}}};
        struct err nobody_to_tell = ERR_INIT;
        /* The store's own rule for incomplete uploads removes what this leaves. */
        (void)!cloud_do(u->c, &request, &nobody_to_tell);
    }
    free(u->name);
    free(u->headers);
    free(u->id);
    free(u->etags);
    free(u);
}
