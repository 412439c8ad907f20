#include "gcs.h"
#include "recluster/json.h"

#include <stdlib.h>
#include <string.h>

const char gcs_path[] = "/storage/v1/b/", gcs_upload_path[] = "/upload/storage/v1/b/";

char *gcs_url(const struct gcs_store *g, const char *path, const char *name, const char *query)
{
    struct buf url = BUF_INIT;

    buf_addf(&url, "%s%s", g->endpoint, path);
    http_encode(&url, g->bucket, false);
    buf_adds(&url, "/o");
    if (name) {
        buf_addc(&url, '/');
        http_encode(&url, g->prefix, false);
        http_encode(&url, name, false);
    }
    buf_addf(&url, "?%s", query);
    return buf_take(&url);
}

/* {"error": {"code": 403, "message": "…"}}; the text itself for media. */
int gcs_error(
    struct gcs_store *g, const char *name, const struct http_reply *reply, struct err *err)
{
    CLEANUP(free_ptr) char *what = xasprintf("%s%s", g->label, name ? name : "");
    json_t *answer = json_read_quietly(reply->text.data, reply->text.len, 0);
    const char *message = cloud_text(json_object_get(answer, "error"), "message");

    http_status_error(reply->status, what, err);
    if (message)
        err_set(err, http_status_code(reply->status), "'%s': %.300s (HTTP status %ld)", what,
            message, reply->status);
    json_decref(answer);
    if (err->code == ERR_DENIED)
        err_hint(err, "The account may lack the right (roles/storage.objectViewer to read, "
                      "roles/storage.objectAdmin to write), or the location a login.");
    else if (err->code == ERR_NOT_FOUND && !name)
        err_hint(err, "Check \"bucket_name\".");
    return -1;
}

static int send_once(
    struct gcs_store *g, const struct gcs_request *r, struct http_reply *reply, struct err *err)
{
    CLEANUP(free_ptr) char *what = xasprintf("%s%s", g->label, r->name ? r->name : "");
    CLEANUP(http_free_headers) struct curl_slist *headers = NULL;

    if (gcs_token(g, err) < 0)
        return -1;
    for (const struct curl_slist *h = r->headers; h; h = h->next)
        http_add_header(&headers, "%s", h->data);
    if (g->token)
        http_add_header(&headers, "Authorization: Bearer %s", secret_reveal(g->token));
    /* Else objects that are marked as compressed would come inflated, without ranges. */
    http_add_header(&headers, "Accept-Encoding: gzip");
    if (r->body)
        http_add_header(&headers, "Content-Type: application/octet-stream");
    return http_send(g->client,
        &(struct http_request){
            .method = r->method,
            .url = r->url,
            .what = what,
            .headers = headers,
            .body = r->body,
            .body_len = r->body_len,
            .to = r->to,
            .offset = r->offset,
            .length = r->length,
        },
        reply, err);
}

int gcs_send(struct gcs_store *g, const struct gcs_request *request, struct http_reply *reply,
    struct err *err)
{
    if (send_once(g, request, reply, err) < 0)
        return -1;
    if (reply->status != 401 || !g->token)
        return 0;
    /* The token has ended early, or was revoked. */
    g->token_until_ms = 0;
    return send_once(g, request, reply, err);
}
