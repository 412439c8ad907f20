#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gcs.h"

/*
 * Uploads: one resumable session for each object, to which the parts are appended. The object
 * becomes visible when the session knows its length.
 */

struct gcs_upload {
    struct gcs_store *g;
    char *name;
    char *session; /* URL; NULL: not started */
    bool unsure;   /* an answer is missing: ask how many bytes arrived */
    bool done;
};

void *gcs_write_begin(void *handle, const char *name, struct err *err)
{
    struct gcs_upload *u = xcalloc(1, sizeof(*u));

    (void)err;
    u->g = handle;
    u->name = xstrdup(name);
    return u;
}

static int begin_session(struct gcs_upload *u, struct err *err)
{
    struct http_reply reply = HTTP_REPLY_INIT;
    struct buf url = BUF_INIT;

    buf_addf(&url, "%s/upload/storage/v1/b/", u->g->endpoint);
    http_encode(&url, u->g->cloud.bucket, false);
    buf_adds(&url, "/o?uploadType=resumable&name=");
    http_encode(&url, u->g->cloud.prefix, false);
    http_encode(&url, u->name, false);
    const char *class = u->g->storage_class;
    AUTO_FREE char *metadata = class ? xasprintf("{\"storageClass\": \"%s\"}", class) : xstrdup("");
    int rc = cloud_ask(&u->g->cloud,
        &(struct cloud_request){
            .method = "POST",
            .url = url.data,
            .name = u->name,
            .body = metadata,
            .body_len = strlen(metadata),
            .body_type = class ? "application/json" : NULL,
        },
        &reply, err);
    buf_release(&url);
    const char *session = rc == 0 ? http_header(u->g->cloud.client, "Location") : NULL;
    if (rc == 0 && !session)
        rc = err_set(
            err, ERR_PROTOCOL, "the store began the upload of '%s' without naming it", u->name);
    if (rc == 0)
        u->session = xstrdup(session);
    http_reply_release(&reply);
    return rc;
}

/* Puts bytes (or none) with this Content-Range; 308 means that more are expected. */
static int put(struct gcs_upload *u, const char *content_range, const void *data, size_t len,
    struct http_reply *reply, struct err *err)
{
    AUTO_FREE char *header = xasprintf("Content-Range: %s", content_range);
    const struct cloud_request request = {
        .method = "PUT",
        .url = u->session,
        .name = u->name,
        .header = header,
        .body = len ? data : "",
        .body_len = len,
    };

    int rc = gcs_send(&u->g->cloud, &request, reply, err);
    if (rc == 0 && reply->status != 308 && !http_status_is_fine(reply->status))
        rc = gcs_error(&u->g->cloud, &request, reply, err);
    u->done |= rc == 0 && http_status_is_fine(reply->status);
    return rc;
}

/* The number of bytes that have arrived, from an answer with 308: "Range: bytes=0-41". */
static int64_t bytes_there(struct gcs_upload *u)
{
    const char *range = http_header(u->g->cloud.client, "Range");
    long long last = -1;

    if (range && sscanf(range, "bytes=0-%lld", &last) != 1 && sscanf(range, "0-%lld", &last) != 1)
        return 0;
    return last + 1;
}

/* Sends a part's bytes; `total` is the object's length, -1 while it is unknown. */
static int send_part(
    struct gcs_upload *u, const struct store_part *part, int64_t total, struct err *err)
{
    struct http_reply reply = HTTP_REPLY_INIT;
    int64_t from = part->offset, end = part->offset + (int64_t)part->len;
    char size[24] = "*", content_range[80];
    int rc = 0;

    if (total >= 0)
        snprintf(size, sizeof(size), "%lld", (long long)total);
    if (u->unsure) {
        rc = put(u, "bytes */*", NULL, 0, &reply, err);
        from = rc == 0 && !u->done ? bytes_there(u) : from;
    }
    if (rc == 0 && !u->done && (from < part->offset || from > end))
        rc = err_set(err, ERR_FAILED, "the store has lost a part of the upload of '%s'", u->name);
    u->unsure = true;
    if (rc == 0 && !u->done && (from < end || total >= 0)) {
        if (from < end)
            snprintf(content_range, sizeof(content_range), "bytes %lld-%lld/%s", (long long)from,
                (long long)end - 1, size);
        else
            snprintf(content_range, sizeof(content_range), "bytes */%s", size);
        rc = put(u, content_range, (const char *)part->data + (from - part->offset),
            (size_t)(end - from), &reply, err);
        /* It may keep fewer bytes than it was sent: the next try sends the rest. */
        if (rc == 0 && !u->done && (total >= 0 || bytes_there(u) < end))
            rc = err_set(err, ERR_BUSY, "the store took only some of a part of '%s'", u->name);
    }
    if (rc == 0 && u->done && total < 0) {
        rc = err_set(err, ERR_PROTOCOL,
            "the store ended the upload of '%s' before all of it was sent", u->name);
        err_hint(err, "The object of this name is incomplete: remove it.");
    }
    u->unsure = rc < 0;
    http_reply_release(&reply);
    return rc;
}

int gcs_write_part(void *upload, const struct store_part *part, struct err *err)
{
    struct gcs_upload *u = upload;

    if (!u->session && begin_session(u, err) < 0)
        return -1;
    return send_part(u, part, -1, err);
}

int gcs_write_commit(void *upload, const struct store_part *last, struct err *err)
{
    struct gcs_upload *u = upload;

    if (!u->session && begin_session(u, err) < 0)
        return -1;
    return send_part(u, last, last->offset + (int64_t)last->len, err);
}

void gcs_write_end(void *upload)
{
    struct gcs_upload *u = upload;

    if (!u->done && u->session) {
        const struct cloud_request request = {
            .method = "DELETE", .url = u->session, .name = u->name};
        struct err nobody_to_tell = ERR_INIT;
        /* The store removes an abandoned session after a week. */
        (void)!cloud_do(&u->g->cloud, &request, &nobody_to_tell);
    }
    if (u->session)
        explicit_bzero(u->session, strlen(u->session)); /* it allows writing */
    free(u->session);
    free(u->name);
    free(u);
}
