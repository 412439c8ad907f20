#include "s3.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>

#include "../cloud/location.h"
#include "../cloud/xml.h"
#include "../cloud/xml_list.h"
#include "recluster/base64.h"
#include "recluster/clock.h"
#include "sign.h"

enum { DAY_S = 86400 };
static const char default_region[] = "us-east-1";

struct s3_store {
    struct cloud cloud;
    char *endpoint; /* NULL: Amazon's */
    char *region;
    bool region_given, host_style;
    char *base; /* URL of the bucket, without a slash at the end */
    struct secret *key_id, *secret, *token;
    char *storage_class, *encryption, *encryption_key, *lock_mode; /* NULL: not set */
    int lock_days;
};

static struct s3_store *s3_of(struct cloud *c)
{
    return (struct s3_store *)c; /* must be first */
}

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
        "The object is in an archive: restore it there first, then try again."},
};

static int s3_error(struct cloud *c, const struct cloud_request *request,
    const struct http_reply *reply, struct err *err)
{
    AUTO_FREE char *what = cloud_label(c, request);
    struct s3_failure f;

    read_failure(reply, &f);
    if (!f.code[0]) {
        http_status_error(reply->status, what, err);
        return reply->status == 401 || reply->status == 403
                   ? err_hint(err, "Check \"access_key_id\" and \"secret_access_key\".")
                   : -1;
    }
    if (f.region[0] && strcmp(f.region, s3_of(c)->region) != 0) {
        err_set(err, http_status_code(reply->status), "'%s': %s (%s)", what, f.message, f.code);
        return err_hint(err,
            "The bucket is in another region: give the location \"region_name\": "
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
            "The bucket is elsewhere: the store names '%s'. Give the location its \"region_name\", "
            "or that as \"endpoint\".",
            f.endpoint);
    return reply->status >= 300 && reply->status < 400
               ? err_hint(err, "The bucket is elsewhere: check the region and the endpoint.")
               : -1;
}

/* --- how objects are kept --- */

char *s3_creation_headers(const struct cloud *c)
{
    const struct s3_store *s = s3_of((struct cloud *)(uintptr_t)c);
    CLEANUP(buf_release) struct buf out = BUF_INIT;
    time_t until = (time_t)(clock_wall_ms() / 1000) + (time_t)s->lock_days * DAY_S;
    char date[32];
    struct tm tm;

    if (s->lock_days) {
        gmtime_r(&until, &tm);
        strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", &tm);
        buf_addf(&out, "x-amz-object-lock-mode:%s\nx-amz-object-lock-retain-until-date:%s\n",
            s->lock_mode, date);
    }
    if (s->encryption)
        buf_addf(&out, "x-amz-server-side-encryption:%s\n", s->encryption);
    if (s->encryption_key)
        buf_addf(&out, "x-amz-server-side-encryption-aws-kms-key-id:%s\n", s->encryption_key);
    if (s->storage_class)
        buf_addf(&out, "x-amz-storage-class:%s\n", s->storage_class);
    return out.len ? buf_take(&out) : NULL;
}

/* Stores take no object that is locked without it. */
static void add_md5(const struct cloud_request *r, struct curl_slist **headers)
{
    unsigned char md5[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    if (!EVP_Digest(r->body, r->body_len, md5, &len, EVP_md5(), NULL))
        return; /* a machine whose rules forbid it: the store says what it lacks */
    AUTO_FREE char *text = base64_encode((const char *)md5, len);
    http_add_header(headers, "Content-MD5: %s", text);
}

static void add_headers(
    const struct s3_store *s, const struct cloud_request *r, struct curl_slist **headers)
{
    for (const char *line = r->header; line && *line; line += strcspn(line, "\n") + 1)
        http_add_header(headers, "%.*s", (int)strcspn(line, "\n"), line);
    if (s->lock_days && r->body && r->method && strcmp(r->method, "PUT") == 0)
        add_md5(r, headers);
}

/* --- requests --- */

static void set_base(struct s3_store *s)
{
    AUTO_FREE char *amazon = NULL;
    const char *endpoint = s->endpoint;

    if (!endpoint)
        endpoint = amazon = xasprintf("https://s3.%s.amazonaws.com%s", s->region,
            strncmp(s->region, "cn-", 3) == 0 ? ".cn" : "");
    const char *host = strstr(endpoint, "://") + 3;
    free(s->base);
    s->base = s->host_style
                  ? xasprintf("%.*s%s.%s", (int)(host - endpoint), endpoint, s->cloud.bucket, host)
                  : xasprintf("%s/%s", endpoint, s->cloud.bucket);
}

static char *url_of(const struct s3_store *s, const struct cloud_request *r)
{
    struct buf url = BUF_INIT;

    buf_adds(&url, s->base);
    if (r->name || s->host_style)
        buf_addc(&url, '/');
    if (r->name) {
        http_encode(&url, s->cloud.prefix, true);
        http_encode(&url, r->name, false);
    }
    cloud_add_query(&url, r);
    return buf_take(&url);
}

static int send_once(
    struct s3_store *s, const struct cloud_request *r, struct http_reply *reply, struct err *err)
{
    AUTO_FREE char *url = url_of(s, r);
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
        .headers = r->header,
    };

    add_headers(s, r, &headers);
    if (s->key_id)
        s3_sign(&what_is_signed, &headers);
    return cloud_send_to(&s->cloud, r, url, &headers, reply, err);
}

/* The region that the store names in its answer to a request for another one. */
static bool learn_region(struct s3_store *s, const struct http_reply *reply)
{
    const char *region = http_header(s->cloud.client, "x-amz-bucket-region");
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

static int s3_send(
    struct cloud *c, const struct cloud_request *request, struct http_reply *reply, struct err *err)
{
    struct s3_store *s = s3_of(c);

    if (send_once(s, request, reply, err) < 0)
        return -1;
    return learn_region(s, reply) ? send_once(s, request, reply, err) : 0;
}

/* --- the list --- */

static void s3_page_query(const struct cloud *c, const char *token, struct cloud_request *r)
{
    cloud_query(r, "continuation-token", token);
    cloud_query(r, "delimiter", "/");
    cloud_query(r, "list-type", "2");
    cloud_query(r, "max-keys", c->page_size);
    cloud_query(r, "prefix", c->prefix);
}

static int s3_read_page(struct cloud *c, const struct http_reply *reply, struct store_list *list,
    char **ret_next, struct err *err)
{
    static const struct xml_list_form form = {
        .entry = "ListBucketResult/Contents",
        .name = "/Key",
        .bytes = "/Size",
        .modified = "/LastModified",
        .next = "ListBucketResult/NextContinuationToken",
        .truncated = "ListBucketResult/IsTruncated",
        .time_ms = cloud_time_ms,
    };

    return xml_list_read(&form, c, reply, list, ret_next, err);
}

/* --- the handle --- */

static void s3_release(struct cloud *c)
{
    struct s3_store *s = s3_of(c);

    secret_free(s->key_id);
    secret_free(s->secret);
    secret_free(s->token);
    free(s->endpoint);
    free(s->region);
    free(s->base);
    free(s->storage_class);
    free(s->encryption);
    free(s->encryption_key);
    free(s->lock_mode);
}

static const struct cloud_protocol s3_protocol = {
    .send = s3_send,
    .error = s3_error,
    .page_query = s3_page_query,
    .read_page = s3_read_page,
    .release = s3_release,
};

/* The bucket becomes a part of the URL unchanged, also of the host name. */
static int check_bucket(const char *bucket, struct err *err)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    if (strspn(bucket, allowed) == strlen(bucket) && bucket[0] != '.')
        return 0;
    return err_set(err, ERR_USAGE, "'%s' is not the name of a bucket", bucket);
}

/* A region becomes a part of the host name too. */
static bool is_region(const char *text)
{
    return *text && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(text);
}

static char *copy(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

void *s3_open(
    const struct s3_settings *settings, const json_t *location, char **ret_label, struct err *err)
{
    struct s3_store *s = xcalloc(1, sizeof(*s));
    const struct cloud_names names = {
        .bucket = settings->bucket,
        .prefix = settings->prefix,
        .label = xasprintf(
            "%s://%s/%s", cloud_text(location, "type"), settings->bucket, settings->prefix),
        .page_size = settings->page_size,
    };

    s->endpoint = settings->endpoint ? cloud_endpoint(settings->endpoint) : NULL;
    s->region = xstrdup(settings->region ? settings->region : default_region);
    s->region_given = settings->region != NULL;
    s->host_style = settings->host_style;
    s->key_id = settings->key_id;
    s->secret = settings->secret;
    s->token = settings->token;
    s->storage_class = copy(settings->storage_class);
    s->encryption = copy(settings->encryption);
    s->encryption_key = copy(settings->encryption_key);
    s->lock_mode = copy(settings->lock_mode);
    s->lock_days = settings->lock_days;
    int rc = cloud_set_up(&s->cloud, &s3_protocol, &names, location, err);
    if (rc == 0 && !s->endpoint && !is_region(s->region))
        rc = err_set(err, ERR_USAGE, "'%s' is not a region of S3", s->region);
    if (rc < 0 || check_bucket(settings->bucket, err) < 0) {
        cloud_close(s);
        return NULL;
    }
    set_base(s);
    *ret_label = xstrdup(s->cloud.label);
    return s;
}
