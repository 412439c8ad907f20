#include "swift.h"

#include <stdlib.h>
#include <string.h>

static const char *container_of(const struct swift_store *s, const struct swift_request *r)
{
    return r->container ? r->container : s->container;
}

/* The printable address. The caller frees it. */
static char *label_of(const struct swift_store *s, const struct swift_request *r)
{
    return xasprintf("swift://%s/%s", container_of(s, r), r->path ? r->path : "");
}

int swift_error(struct swift_store *s, const struct swift_request *request,
    const struct http_reply *reply, struct err *err)
{
    CLEANUP(free_ptr) char *what = label_of(s, request);

    if (reply->status == 413)
        err_set(err, ERR_SPACE, "'%s' is over the account's quota", what);
    else
        http_status_error(reply->status, what, err);
    if (err->code == ERR_DENIED)
        return err_hint(
            err, "The user may lack the right to this container, or the token has ended.");
    if (err->code == ERR_NOT_FOUND && !request->path)
        return err_hint(err, "Check \"container\".");
    return -1;
}

static int send_once(
    struct swift_store *s, const struct swift_request *r, struct http_reply *reply, struct err *err)
{
    CLEANUP(free_ptr) char *what = label_of(s, r);
    CLEANUP(http_free_headers) struct curl_slist *headers = NULL;
    struct buf url = BUF_INIT;

    if (!s->storage_url && swift_login(s, err) < 0)
        return -1;
    buf_addf(&url, "%s/", s->storage_url);
    http_encode(&url, container_of(s, r), false);
    if (r->path) {
        buf_addc(&url, '/');
        http_encode(&url, r->path, true);
    }
    if (r->query)
        buf_addf(&url, "?%s", r->query);
    if (s->token)
        http_add_header(&headers, "X-Auth-Token: %s", secret_reveal(s->token));
    if (r->accept)
        http_add_header(&headers, "Accept: %s", r->accept);
    if (r->body)
        http_add_header(&headers, "Content-Type: application/octet-stream");
    int rc = http_send(s->client,
        &(struct http_request){
            .method = r->method,
            .url = url.data,
            .what = what,
            .headers = headers,
            .body = r->body,
            .body_len = r->body_len,
            .to = r->to,
            .offset = r->offset,
            .length = r->length,
        },
        reply, err);
    buf_release(&url);
    return rc;
}

int swift_send(struct swift_store *s, const struct swift_request *request, struct http_reply *reply,
    struct err *err)
{
    if (send_once(s, request, reply, err) < 0)
        return -1;
    if (reply->status != 401 || !s->login)
        return 0;
    /* The token has ended. */
    if (swift_login(s, err) < 0)
        return -1;
    return send_once(s, request, reply, err);
}

int swift_do(struct swift_store *s, const struct swift_request *request, struct err *err)
{
    struct http_reply reply = HTTP_REPLY_INIT;

    int rc = swift_send(s, request, &reply, err);
    if (rc == 0 && !http_status_is_fine(reply.status))
        rc = swift_error(s, request, &reply, err);
    http_reply_release(&reply);
    return rc;
}
