#include "azure.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sign.h"

static const char api_version[] = "2021-08-06";

static const struct {
    const char *name;
    enum err_code code;
    const char *text, *hint;
} failures[] = {
    {"ContainerNotFound", ERR_NOT_FOUND, "there is no such container",
        "Check \"container\" and \"account_name\"."},
    {"BlobNotFound", ERR_NOT_FOUND, "there is no such blob", NULL},
    {"ResourceNotFound", ERR_NOT_FOUND, "it is not there, or not open to everybody", NULL},
    {"AuthenticationFailed", ERR_DENIED, "the login was refused",
        "Check \"account_key\" or \"sas_token\" (a token ends at its time 'se='), and this "
        "machine's clock."},
    {"AuthorizationFailure", ERR_DENIED, "access is refused",
        "Check \"account_key\"; a token may lack the right to list (l) or read (r), or a network "
        "rule forbids it."},
    {"AuthorizationPermissionMismatch", ERR_DENIED, "the login lacks the right",
        "A token needs the rights to list (l) and read (r); to write, also (w) and (d)."},
    {"AuthorizationProtocolMismatch", ERR_DENIED, "the token is good for https only", NULL},
    {"NoAuthenticationInformation", ERR_DENIED, "it wants a login",
        "Give \"account_key\" or \"sas_token\" with the location."},
    {"PublicAccessNotPermitted", ERR_DENIED, "it wants a login",
        "Give \"account_key\" or \"sas_token\" with the location."},
    {"AccountIsDisabled", ERR_DENIED, "the account is disabled", NULL},
    {"ContainerBeingDeleted", ERR_NOT_FOUND, "the container is being deleted", NULL},
    {"BlobArchived", ERR_UNSUPPORTED, "the blob is in the archive tier",
        "Bring it to the hot or cool tier first, then try again."},
    {"ServerBusy", ERR_BUSY, "the server is busy", NULL},
    {"InternalError", ERR_BUSY, "the server failed", NULL},
    {"OperationTimedOut", ERR_TIMEOUT, "it took too long", NULL},
};

int azure_error(struct cloud *c, const struct cloud_request *request,
    const struct http_reply *reply, struct err *err)
{
    AUTO_FREE char *what = cloud_label(c, request);
    const char *code = http_header(c->client, "x-ms-error-code");

    for (size_t i = 0; code && i < ARRAY_SIZE(failures); i++) {
        if (strcmp(failures[i].name, code) != 0)
            continue;
        err_set(err, failures[i].code, "'%s': %s (%s)", what, failures[i].text, code);
        return failures[i].hint ? err_hint(err, "%s", failures[i].hint) : -1;
    }
    if (code)
        return err_set(err, http_status_code(reply->status),
            "'%s' was refused: %s (HTTP status %ld)", what, code, reply->status);
    http_status_error(reply->status, what, err);
    return err->code == ERR_DENIED
               ? err_hint(err, "Check \"account_key\" or \"sas_token\" of the location.")
               : -1;
}

static char *url_of(const struct azure_store *a, const struct cloud_request *r)
{
    struct buf url = BUF_INIT;

    buf_addf(&url, "%s/", a->endpoint);
    http_encode(&url, a->cloud.bucket, false);
    if (r->name) {
        buf_addc(&url, '/');
        http_encode(&url, a->cloud.prefix, true);
        http_encode(&url, r->name, false);
    }
    cloud_add_query(&url, r);
    if (a->sas) {
        const char *sas = secret_reveal(a->sas);
        buf_addf(&url, "%c%s", r->query[0][0] ? '&' : '?', sas + (*sas == '?'));
    }
    return buf_take(&url);
}

/* The x-ms-… headers, for the request and its signature. */
static void make_headers(const struct cloud_request *r, struct buf *out)
{
    time_t now = time(NULL);
    char date[64];
    struct tm tm;

    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
    if (r->header)
        buf_addf(out, "%s\n", r->header);
    buf_addf(out, "x-ms-date:%s\nx-ms-version:%s\n", date, api_version);
}

static int add_signature(const struct azure_store *a, const struct cloud_request *r,
    const char *url, const char *x_headers, struct curl_slist **headers, struct err *err)
{
    const char *path = strchr(strstr(url, "://") + 3, '/');
    AUTO_FREE char *path_only = xstrndup(path, strcspn(path, "?"));
    char range[HTTP_RANGE_MAX] = "", range_header[HTTP_RANGE_MAX + 8] = "";
    const char *query[ARRAY_SIZE(r->query)][2];

    if (r->to)
        http_range(range, r->offset, r->length);
    if (range[0])
        snprintf(range_header, sizeof(range_header), "bytes=%s", range);
    memcpy(query, r->query, sizeof(query));
    const struct azure_signed what = {
        .method = r->method ? r->method : "GET",
        .body_len = r->body_len,
        .content_type = r->body ? "application/octet-stream" : "",
        .range = range_header,
        .headers = x_headers,
        .account = a->account,
        .path = path_only,
        .query = query,
    };
    char *authorization = azure_authorization(&what, a->key, err);
    if (!authorization)
        return -1;
    http_add_header(headers, "Authorization: %s", authorization);
    free(authorization);
    return 0;
}

int azure_send(
    struct cloud *c, const struct cloud_request *r, struct http_reply *reply, struct err *err)
{
    const struct azure_store *a = (const struct azure_store *)c; /* must be first */
    AUTO_FREE char *url = url_of(a, r);
    CLEANUP(http_free_headers) struct curl_slist *headers = NULL;
    struct buf x_headers = BUF_INIT;
    int rc = 0;

    make_headers(r, &x_headers);
    for (const char *line = x_headers.data; *line; line += strcspn(line, "\n") + 1)
        http_add_header(&headers, "%.*s", (int)strcspn(line, "\n"), line);
    if (a->key)
        rc = add_signature(a, r, url, x_headers.data, &headers, err);
    if (rc == 0)
        rc = cloud_send_to(c, r, url, &headers, reply, err);
    buf_release(&x_headers);
    explicit_bzero(url, strlen(url)); /* it contains the token */
    return rc;
}
