#include "swift.h"

#include <stdlib.h>
#include <string.h>

int swift_error(struct cloud *c, const struct cloud_request *request,
    const struct http_reply *reply, struct err *err)
{
    AUTO_FREE char *what = cloud_label(c, request);

    if (reply->status == 413)
        err_set(err, ERR_SPACE, "'%s' is over the account's quota", what);
    else
        http_status_error(reply->status, what, err);
    if (err->code == ERR_DENIED)
        return err_hint(
            err, "The user may lack the right to this container, or the token has ended.");
    if (err->code == ERR_NOT_FOUND && !request->name)
        return err_hint(err, "Check \"container\".");
    return -1;
}

static int send_once(
    struct swift_store *s, const struct cloud_request *r, struct http_reply *reply, struct err *err)
{
    CLEANUP(http_free_headers) struct curl_slist *headers = NULL;
    struct buf url = BUF_INIT;

    if (!s->storage_url && swift_login(s, err) < 0)
        return -1;
    buf_addf(&url, "%s/", s->storage_url);
    http_encode(&url, r->bucket ? r->bucket : s->cloud.bucket, false);
    if (r->name) {
        buf_addc(&url, '/');
        http_encode(&url, r->bucket ? "" : s->cloud.prefix, true);
        http_encode(&url, r->name, true);
    }
    cloud_add_query(&url, r);
    if (s->token)
        http_add_header(&headers, "X-Auth-Token: %s", secret_reveal(s->token));
    if (r->header)
        http_add_header(&headers, "%s", r->header);
    int rc = cloud_send_to(&s->cloud, r, url.data, &headers, reply, err);
    buf_release(&url);
    return rc;
}

int swift_send(
    struct cloud *c, const struct cloud_request *r, struct http_reply *reply, struct err *err)
{
    struct swift_store *s = (struct swift_store *)c; /* must be first */

    if (send_once(s, r, reply, err) < 0)
        return -1;
    if (reply->status != 401 || !s->login)
        return 0;
    /* The token has expired. */
    if (swift_login(s, err) < 0)
        return -1;
    return send_once(s, r, reply, err);
}
