#include "gcs.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/json.h"

/* The URL of an object, or of the bucket's list. The caller frees it. */
static char *url_of(const struct gcs_store *g, const struct cloud_request *r)
{
    struct buf url = BUF_INIT;

    buf_addf(&url, "%s/storage/v1/b/", g->endpoint);
    http_encode(&url, g->cloud.bucket, false);
    buf_adds(&url, "/o");
    if (r->name) {
        buf_addc(&url, '/');
        http_encode(&url, g->cloud.prefix, false);
        http_encode(&url, r->name, false);
    }
    cloud_add_query(&url, r);
    return buf_take(&url);
}

/* {"error": {"code": 403, "message": "…"}}; for media the text itself. */
int gcs_error(
    struct cloud *c, const struct cloud_request *r, const struct http_reply *reply, struct err *err)
{
    AUTO_FREE char *what = cloud_label(c, r);
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
    else if (err->code == ERR_NOT_FOUND && !r->name)
        err_hint(err, "Check \"bucket_name\".");
    return -1;
}

static int send_once(
    struct gcs_store *g, const struct cloud_request *r, struct http_reply *reply, struct err *err)
{
    AUTO_FREE char *url = r->url ? xstrdup(r->url) : url_of(g, r);
    CLEANUP(http_free_headers) struct curl_slist *headers = NULL;

    if (gcs_token(g, err) < 0)
        return -1;
    if (r->header)
        http_add_header(&headers, "%s", r->header);
    if (g->token)
        http_add_header(&headers, "Authorization: Bearer %s", secret_reveal(g->token));
    /* Otherwise objects that are marked as compressed would arrive decompressed, without ranges. */
    http_add_header(&headers, "Accept-Encoding: gzip");
    int rc = cloud_send_to(&g->cloud, r, url, &headers, reply, err);
    explicit_bzero(url, strlen(url)); /* the URL of a session allows writing */
    return rc;
}

int gcs_send(
    struct cloud *c, const struct cloud_request *r, struct http_reply *reply, struct err *err)
{
    struct gcs_store *g = (struct gcs_store *)c; /* must be first */

    if (send_once(g, r, reply, err) < 0)
        return -1;
    if (reply->status != 401 || !g->token)
        return 0;
    /* The token has expired or was revoked. */
    g->token_until_ms = 0;
    return send_once(g, r, reply, err);
}
