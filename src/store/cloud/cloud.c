#include "cloud.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cloud_set_up(struct cloud *c, const struct cloud_protocol *protocol,
    const struct cloud_names *names, const json_t *location, struct err *err)
{
    c->protocol = protocol;
    c->bucket = xstrdup(names->bucket);
    c->prefix = xstrdup(names->prefix);
    c->label = names->label;
    snprintf(c->page_size, sizeof(c->page_size), "%d", names->page_size);
    c->client = http_client_new(location, err);
    if (!c->client)
        return -1;
    /* Signatures and tokens are only for one host. */
    http_client_stay_on_host(c->client);
    return 0;
}

void cloud_close(void *handle)
{
    struct cloud *c = handle;

    if (c->protocol)
        c->protocol->release(c);
    http_client_free(c->client);
    free(c->bucket);
    free(c->prefix);
    free(c->label);
    free(c);
}

/* --- requests --- */

char *cloud_label(const struct cloud *c, const struct cloud_request *r)
{
    return r->bucket ? xasprintf("%s/%s", r->bucket, r->name ? r->name : "")
                     : xasprintf("%s%s", c->label, r->name ? r->name : "");
}

void cloud_add_query(struct buf *url, const struct cloud_request *r)
{
    char before = '?';

    for (const char *const(*q)[2] = r->query; (*q)[0]; q++) {
        buf_addf(url, "%c%s=", before, (*q)[0]);
        http_encode(url, (*q)[1], false);
        before = '&';
    }
}

void cloud_query(struct cloud_request *r, const char *name, const char *value)
{
    size_t n = 0;

    if (!value)
        return;
    while (r->query[n][0])
        n++;
    if (n + 1 == ARRAY_SIZE(r->query))
        die_of_bug("a request has more than %zu parameters", n);
    r->query[n][0] = name;
    r->query[n][1] = value;
}

int cloud_send_to(struct cloud *c, const struct cloud_request *r, const char *url,
    struct curl_slist **headers, struct http_reply *reply, struct err *err)
{
    AUTO_FREE char *what = cloud_label(c, r);
    const struct http_request request = {
        .method = r->method,
        .url = url,
        .what = what,
        .body = r->body,
        .body_len = r->body_len,
        .to = r->to,
        .offset = r->offset,
        .length = r->length,
    };
    struct http_request full = request;

    if (r->body)
        http_add_header(
            headers, "Content-Type: %s", r->body_type ? r->body_type : "application/octet-stream");
    full.headers = *headers;
    return http_send(c->client, &full, reply, err);
}

int cloud_ask(
    struct cloud *c, const struct cloud_request *r, struct http_reply *reply, struct err *err)
{
    if (c->protocol->send(c, r, reply, err) < 0)
        return -1;
    return http_status_is_fine(reply->status) ? 0 : c->protocol->error(c, r, reply, err);
}

int cloud_do(struct cloud *c, const struct cloud_request *r, struct err *err)
{
    struct http_reply reply = HTTP_REPLY_INIT;
    int rc = cloud_ask(c, r, &reply, err);

    http_reply_release(&reply);
    return rc;
}

/* --- the driver's functions --- */

static int list_page(
    struct cloud *c, const char *token, struct store_list *list, char **ret_next, struct err *err)
{
    struct cloud_request r = {.method = NULL};
    struct http_reply reply = HTTP_REPLY_INIT;

    c->protocol->page_query(c, token, &r);
    int rc = cloud_ask(c, &r, &reply, err);
    if (rc == 0)
        rc = c->protocol->read_page(c, &reply, list, ret_next, err);
    http_reply_release(&reply);
    return rc;
}

int cloud_list(void *handle, struct store_list *list, struct err *err)
{
    struct cloud *c = handle;
    struct store_pages pages = {.list = list};
    char *token = NULL;
    int rc;

    do {
        char *next = NULL;
        rc = list_page(c, token, list, &next, err);
        free(token);
        token = next;
        if (rc == 0 && token)
            rc = store_pages_next(&pages, token, c->label, err);
    } while (rc == 0 && token);
    store_pages_release(&pages);
    free(token);
    return rc;
}

int cloud_read(void *handle, const char *name, int64_t offset, int64_t length,
    const struct store_receiver *receiver, struct err *err)
{
    struct cloud *c = handle;
    struct cloud_request r = {.name = name, .to = receiver, .offset = offset, .length = length};
    struct http_reply reply = HTTP_REPLY_INIT;

    cloud_query(&r, c->protocol->read_query[0], c->protocol->read_query[1]);
    int rc = c->protocol->send(c, &r, &reply, err);
    if (rc == 0 && !http_status_is_object(reply.status))
        rc = c->protocol->error(c, &r, &reply, err);
    http_reply_release(&reply);
    return rc;
}

int cloud_remove(void *handle, const char *name, struct err *err)
{
    return cloud_do(handle, &(struct cloud_request){.method = "DELETE", .name = name}, err);
}

int64_t cloud_retry_after_ms(const void *handle)
{
    const struct cloud *c = handle;

    return http_retry_after_ms(c->client);
}
