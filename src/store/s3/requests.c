#include "s3.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cloud/location.h"
#include "../cloud/xml.h"
#include "recluster/clock.h"
#include "sign.h"

static const char default_region[] = "us-east-1";

struct s3_store {
    struct http_client *client;
    char *bucket, *prefix, *label;
    char *endpoint; /* NULL: Amazon's */
    char *region;
    bool region_given, host_style;
    char *base; /* URL of the bucket, without a slash at its end */
    struct secret *key_id, *secret, *token;
    int page_size;
};

/* --- errors --- */

struct s3_failure {
    char code[64], message[256], region[64], endpoint[256];
};

static void on_error_element(void *arg, const char *path, const char *text)
{
    struct s3_failure *f = arg;

    if (strcmp(path, "Error/Code") == 0)
        snprintf(f->code, sizeof(f->code), "%s", text);
    else if (strcmp(path, "Error/Message") == 0)
        snprintf(f->message, sizeof(f->message), "%s", text);
    else if (strcmp(path, "Error/Region") == 0)
        snprintf(f->region, sizeof(f->region), "%s", text);
    else if (strcmp(path, "Error/Endpoint") == 0)
        snprintf(f->endpoint, sizeof(f->endpoint), "%s", text);
}

static void read_failure(const struct http_reply *reply, struct s3_failure *ret)
{
    struct err no_xml = ERR_INIT;

    *ret = (struct s3_failure){.code = ""};
    if (xml_walk(reply->text.data, reply->text.len, "", on_error_element, ret, &no_xml) < 0)
        *ret = (struct s3_failure){.code = ""};
}

bool s3_reply_says(const struct http_reply *reply, const char *code)
{
    struct s3_failure f;

    read_failure(reply, &f);
    return strcmp(f.code, code) == 0;
}

static const struct {
    const char *name;
    enum err_code code;
    const char *hint;
} failures[] = {
    {"NoSuchBucket", ERR_NOT_FOUND, "Check \"bucket_name\", the endpoint and the region."},
    {"InvalidBucketName", ERR_USAGE, "Check \"bucket_name\"."},
    {"NoSuchKey", ERR_NOT_FOUND, NULL},
    {"AccessDenied", ERR_DENIED,
        "The key may lack the right to list or to read here (s3:ListBucket, s3:GetObject)."},
    {"InvalidAccessKeyId", ERR_DENIED, "Check \"access_key_id\"; the store does not know it."},
    {"SignatureDoesNotMatch", ERR_DENIED, "Check \"secret_access_key\" and the region."},
    {"ExpiredToken", ERR_DENIED, "Get new temporary credentials; these are too old."},
    {"InvalidToken", ERR_DENIED, "Check \"session_token\"."},
    {"RequestTimeTooSkewed", ERR_DENIED, "Set this machine's clock: it differs from the store's."},
    {"SlowDown", ERR_BUSY, NULL},
    {"RequestTimeout", ERR_TIMEOUT, NULL},
    {"InternalError", ERR_BUSY, NULL},
    {"OperationAborted", ERR_BUSY, NULL},
    {"InvalidObjectState", ERR_UNSUPPORTED,
        "The object lies in an archive: restore it there first, then try again."},
};

/* The printable address. The caller frees it. */
static char *label_of(const struct s3_store *s, const char *name)
{
    return xasprintf("%s%s", s->label, name ? name : "");
}

int s3_error(struct s3_store *s, const struct s3_request *request, const struct http_reply *reply,
    struct err *err)
{
    CLEANUP(free_ptr) char *what = label_of(s, request->name);
    struct s3_failure f;

    read_failure(reply, &f);
    if (!f.code[0]) {
        http_status_error(reply->status, what, err);
        return reply->status == 401 || reply->status == 403
                   ? err_hint(err, "Check \"access_key_id\" and \"secret_access_key\".")
                   : -1;
    }
    if (f.region[0] && strcmp(f.region, s->region) != 0) {
        err_set(err, http_status_code(reply->status), "'%s': %s (%s)", what, f.message, f.code);
        return err_hint(err,
            "The bucket lies in another region: give the location \"region_name\": "
            "\"%s\".",
            f.region);
    }
    for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
        if (strcmp(failures[i].name, f.code) != 0)
            continue;
        err_set(err, failures[i].code, "'%s': %s (%s)", what, f.message, f.code);
        return failures[i].hint ? err_hint(err, "%s", failures[i].hint) : -1;
    }
    err_set(err, http_status_code(reply->status), "'%s': %s (%s, HTTP status %ld)", what, f.message,
        f.code, reply->status);
    if (f.endpoint[0] && reply->status >= 300 && reply->status < 400)
        return err_hint(err,
            "The bucket lies elsewhere: the store names '%s'. Give the location its \"region_name\", "
            "or that as \"endpoint\".",
            f.endpoint);
    return reply->status >= 300 && reply->status < 400
               ? err_hint(err, "The bucket lies elsewhere: check the region and the endpoint.")
               : -1;
}

/* --- requests --- */

static void set_base(struct s3_store *s)
{
    CLEANUP(free_ptr) char *amazon = NULL;
    const char *endpoint = s->endpoint;

    if (!endpoint)
        endpoint = amazon = xasprintf("https://s3.%s.amazonaws.com%s", s->region,
            strncmp(s->region, "cn-", 3) == 0 ? ".cn" : "");
    const char *host = strstr(endpoint, "://") + 3;
    free(s->base);
    s->base = s->host_style
                  ? xasprintf("%.*s%s.%s", (int)(host - endpoint), endpoint, s->bucket, host)
                  : xasprintf("%s/%s", endpoint, s->bucket);
}

static char *url_of(const struct s3_store *s, const struct s3_request *r)
{
    struct buf url = BUF_INIT;

    buf_adds(&url, s->base);
    if (r->name || s->host_style)
        buf_addc(&url, '/');
    if (r->name) {
        http_encode(&url, s->prefix, true);
        http_encode(&url, r->name, false);
    }
    if (r->query)
        buf_addf(&url, "?%s", r->query);
    return buf_take(&url);
}

static int send_once(
    struct s3_store *s, const struct s3_request *r, struct http_reply *reply, struct err *err)
{
    CLEANUP(free_ptr) char *url = url_of(s, r);
    CLEANUP(free_ptr) char *what = label_of(s, r->name);
    CLEANUP(http_free_headers) struct curl_slist *headers = NULL;
    const struct s3_signed what_is_signed = {
        .method = r->method ? r->method : "GET",
        .url = url,
        .body = r->body,
        .body_len = r->body_len,
        .region = s->region,
        .key_id = s->key_id,
        .secret = s->secret,
        .token = s->token,
        .now_ms = clock_wall_ms(),
    };

    if (s->key_id)
        s3_sign(&what_is_signed, &headers);
    if (r->body)
        http_add_header(&headers, "Content-Type: application/octet-stream");
    const struct http_request request = {
        .method = r->method,
        .url = url,
        .what = what,
        .headers = headers,
        .body = r->body,
        .body_len = r->body_len,
        .to = r->to,
        .offset = r->offset,
        .length = r->length,
    };
    return http_send(s->client, &request, reply, err);
}

/* The region that the store names in an answer to a request for another one. */
static bool learn_region(struct s3_store *s, const struct http_reply *reply)
{
    const char *region = http_header(s->client, "x-amz-bucket-region");
    struct s3_failure f;

    if (s->region_given || (reply->status != 301 && reply->status != 307 && reply->status != 400))
        return false;
    read_failure(reply, &f);
    if (!region)
        region = f.region;
    if (!*region || strcmp(region, s->region) == 0 ||
        strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(region))
        return false;
    free(s->region);
    s->region = xstrdup(region);
    s->region_given = true; /* once is enough */
    set_base(s);
    return true;
}

int s3_send(
    struct s3_store *s, const struct s3_request *request, struct http_reply *reply, struct err *err)
{
    if (send_once(s, request, reply, err) < 0)
        return -1;
    return learn_region(s, reply) ? send_once(s, request, reply, err) : 0;
}

const char *s3_header(struct s3_store *s, const char *name)
{
    return http_header(s->client, name);
}

/* --- the driver's functions --- */

struct listing {
    struct s3_store *s;
    struct store_list *list;
    char *key, *token;
    int64_t bytes, modified_ms;
    bool truncated;
};

static void set_text(char **to, const char *text)
{
    free(*to);
    *to = xstrdup(text);
}

static void on_list_element(void *arg, const char *path, const char *text)
{
    struct listing *l = arg;
    static const char entry[] = "ListBucketResult/Contents";

    if (strcmp(path, "ListBucketResult/NextContinuationToken") == 0) {
        set_text(&l->token, text);
    } else if (strcmp(path, "ListBucketResult/IsTruncated") == 0) {
        l->truncated = strcmp(text, "true") == 0;
    } else if (strcmp(path, entry) == 0) {
        size_t prefix_len = strlen(l->s->prefix);
        if (l->key && strncmp(l->key, l->s->prefix, prefix_len) == 0)
            store_list_add(l->list, l->key + prefix_len, strlen(l->key) - prefix_len, l->bytes,
                l->modified_ms);
        set_text(&l->key, "");
        l->bytes = l->modified_ms = -1;
    } else if (strncmp(path, entry, sizeof(entry) - 1) == 0) {
        const char *member = path + sizeof(entry) - 1;
        if (strcmp(member, "/Key") == 0)
            set_text(&l->key, text);
        else if (strcmp(member, "/Size") == 0)
            l->bytes = strtoll(text, NULL, 10);
        else if (strcmp(member, "/LastModified") == 0)
            l->modified_ms = cloud_time_ms(text);
    }
}

/* One page; the token of the next is in l->token if l->truncated. */
static int list_page(struct listing *l, struct http_reply *reply, struct err *err)
{
    struct s3_store *s = l->s;
    struct buf query = BUF_INIT;

    /* Sorted, as the signature wants it. */
    if (l->token) {
        buf_adds(&query, "continuation-token=");
        http_encode(&query, l->token, false);
        buf_addc(&query, '&');
    }
    buf_addf(&query, "delimiter=%%2F&list-type=2&max-keys=%d&prefix=", s->page_size);
    http_encode(&query, s->prefix, false);
    const struct s3_request request = {.query = query.data};
    free(l->token);
    l->token = NULL;
    l->truncated = false;
    int rc = s3_send(s, &request, reply, err);
    if (rc == 0 && reply->status != 200)
        rc = s3_error(s, &request, reply, err);
    if (rc == 0)
        rc = xml_walk(reply->text.data, reply->text.len, s->label, on_list_element, l, err);
    if (rc == 0 && l->truncated && (!l->token || !*l->token))
        rc = err_set(
            err, ERR_PROTOCOL, "'%s' lists more files without saying how to go on", s->label);
    buf_release(&query);
    return rc;
}

int s3_list(void *handle, struct store_list *list, struct err *err)
{
    struct listing l = {.s = handle, .list = list, .bytes = -1, .modified_ms = -1};
    struct http_reply reply = HTTP_REPLY_INIT;
    struct store_pages pages = {.list = list};
    int rc;

    do {
        rc = list_page(&l, &reply, err);
        if (rc == 0 && l.truncated)
            rc = store_pages_next(&pages, l.token, l.s->label, err);
    } while (rc == 0 && l.truncated);
    store_pages_release(&pages);
    free(l.key);
    free(l.token);
    http_reply_release(&reply);
    return rc;
}

int s3_read(void *handle, const char *name, int64_t offset, int64_t length,
    const struct store_receiver *receiver, struct err *err)
{
    const struct s3_request request = {
        .name = name, .to = receiver, .offset = offset, .length = length};
    struct http_reply reply = HTTP_REPLY_INIT;

    int rc = s3_send(handle, &request, &reply, err);
    if (rc == 0 && !http_status_is_object(reply.status))
        rc = s3_error(handle, &request, &reply, err);
    http_reply_release(&reply);
    return rc;
}

int s3_remove(void *handle, const char *name, struct err *err)
{
    const struct s3_request request = {.method = "DELETE", .name = name};
    struct http_reply reply = HTTP_REPLY_INIT;

    int rc = s3_send(handle, &request, &reply, err);
    if (rc == 0 && !http_status_is_fine(reply.status))
        rc = s3_error(handle, &request, &reply, err);
    http_reply_release(&reply);
    return rc;
}

int64_t s3_retry_after_ms(const void *handle)
{
    const struct s3_store *s = handle;
    return http_retry_after_ms(s->client);
}

/* --- the handle --- */

void s3_close(void *handle)
{
    struct s3_store *s = handle;

    http_client_free(s->client);
    secret_free(s->key_id);
    secret_free(s->secret);
    secret_free(s->token);
    free(s->bucket);
    free(s->prefix);
    free(s->label);
    free(s->endpoint);
    free(s->region);
    free(s->base);
    free(s);
}

/* The bucket becomes a part of the URL as it is, also of the host's name. */
static int check_bucket(const char *bucket, struct err *err)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    if (strspn(bucket, allowed) == strlen(bucket) && bucket[0] != '.')
        return 0;
    return err_set(err, ERR_USAGE, "'%s' is not a name of a bucket", bucket);
}

/* Regions become a part of the host's name too. */
static bool is_region(const char *text)
{
    return *text && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(text);
}

struct s3_store *s3_open(
    const struct s3_settings *settings, const json_t *location, char **ret_label, struct err *err)
{
    struct s3_store *s = xcalloc(1, sizeof(*s));

    s->bucket = xstrdup(settings->bucket);
    s->prefix = xstrdup(settings->prefix);
    s->endpoint = settings->endpoint ? cloud_endpoint(settings->endpoint) : NULL;
    s->region = xstrdup(settings->region ? settings->region : default_region);
    s->region_given = settings->region != NULL;
    s->host_style = settings->host_style;
    s->key_id = settings->key_id;
    s->secret = settings->secret;
    s->token = settings->token;
    s->page_size = settings->page_size;
    s->label = xasprintf("%s://%s/%s", cloud_text(location, "type"), s->bucket, s->prefix);
    s->client = http_client_new(location, err);
    if (s->client && !s->endpoint && !is_region(s->region)) {
        err_set(err, ERR_USAGE, "'%s' is not a region of S3", s->region);
        s3_close(s);
        return NULL;
    }
    if (!s->client || check_bucket(s->bucket, err) < 0) {
        s3_close(s);
        return NULL;
    }
    /* A signature is good for one host only; learn_region() follows. */
    http_client_stay(s->client);
    set_base(s);
    *ret_label = xstrdup(s->label);
    return s;
}

const char *s3_prefix(const struct s3_store *s)
{
    return s->prefix;
}
