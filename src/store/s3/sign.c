#include "sign.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "recluster/buf.h"
#include "recluster/digest.h"
#include "recluster/sign.h"

enum { STAMP_MAX = 17, DATE_LEN = 8 };

/* "20130524T000000Z" */
static void stamp_of(int64_t ms, char stamp[STAMP_MAX])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;

    gmtime_r(&seconds, &tm);
    strftime(stamp, STAMP_MAX, "%Y%m%dT%H%M%SZ", &tm);
}

/* As in the header Host: without the default port of the scheme. */
static char *host_of(const char *url, const char **ret_path)
{
    const char *host = strstr(url, "://") + 3;
    const char *usual = strncmp(url, "https:", 6) == 0 ? ":443" : ":80";
    size_t len = strcspn(host, "/?"), usual_len = strlen(usual);

    *ret_path = host + len;
    if (len > usual_len && strncmp(host + len - usual_len, usual, usual_len) == 0)
        len -= usual_len;
    return xstrndup(host, len);
}

/* Where the headers begin that sort after x-amz-security-token. */
static const char *after_token(const char *headers)
{
    while (*headers && strncmp(headers, "x-amz-security-token", strlen("x-amz-security-token")) < 0)
        headers += strcspn(headers, "\n") + 1;
    return headers;
}

static void add_names(struct buf *out, const char *headers, const char *end)
{
    for (; headers < end; headers += strcspn(headers, "\n") + 1)
        buf_addf(out, ";%.*s", (int)strcspn(headers, ":"), headers);
}

static void signed_names(const struct s3_signed *what, struct buf *out)
{
    const char *headers = what->headers ? what->headers : "", *rest = after_token(headers);

    buf_adds(out, "host;x-amz-content-sha256;x-amz-date");
    add_names(out, headers, rest);
    if (what->token)
        buf_adds(out, ";x-amz-security-token");
    add_names(out, rest, rest + strlen(rest));
}

static void add_canonical_request(const struct s3_signed *what, const char *body_sha256,
    const char *stamp, const char *names, struct buf *text)
{
    const char *path;
    AUTO_FREE char *host = host_of(what->url, &path);
    size_t path_len = strcspn(path, "?");

    buf_addf(text, "%s\n%.*s%s\n%s\nhost:%s\nx-amz-content-sha256:%s\nx-amz-date:%s\n",
        what->method, (int)path_len, path, path_len ? "" : "/",
        path[path_len] ? path + path_len + 1 : "", host, body_sha256, stamp);
    const char *headers = what->headers ? what->headers : "", *rest = after_token(headers);
    buf_addf(text, "%.*s", (int)(rest - headers), headers);
    if (what->token)
        buf_addf(text, "x-amz-security-token:%s\n", secret_reveal(what->token));
    buf_adds(text, rest);
    buf_addf(text, "\n%s\n%s", names, body_sha256);
}

/* The secret, derived for a day, a region and the service. */
static void signing_key(
    const struct s3_signed *what, const char *stamp, unsigned char key[SIGN_HMAC_BYTES])
{
    AUTO_FREE char *first = xasprintf("AWS4%s", secret_reveal(what->secret));

    sign_hmac(first, strlen(first), stamp, DATE_LEN, key);
    sign_hmac(key, SIGN_HMAC_BYTES, what->region, strlen(what->region), key);
    sign_hmac(key, SIGN_HMAC_BYTES, "s3", 2, key);
    sign_hmac(key, SIGN_HMAC_BYTES, "aws4_request", strlen("aws4_request"), key);
    explicit_bzero(first, strlen(first));
}

void s3_sign(const struct s3_signed *what, struct curl_slist **headers)
{
    CLEANUP(buf_release) struct buf names = BUF_INIT;
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    unsigned char key[SIGN_HMAC_BYTES], mac[SIGN_HMAC_BYTES];
    char stamp[STAMP_MAX], body_sha256[DIGEST_HEX_MAX], request_sha256[DIGEST_HEX_MAX];
    char signature[2 * SIGN_HMAC_BYTES + 1];

    signed_names(what, &names);
    stamp_of(what->now_ms, stamp);
    digest_of(what->body ? what->body : "", what->body_len, body_sha256);
    add_canonical_request(what, body_sha256, stamp, names.data, &text);
    digest_of(text.data, text.len, request_sha256);
    AUTO_FREE char *scope = xasprintf("%.*s/%s/s3/aws4_request", DATE_LEN, stamp, what->region);
    explicit_bzero(text.data, text.len);
    buf_clear(&text);
    buf_addf(&text, "AWS4-HMAC-SHA256\n%s\n%s\n%s", stamp, scope, request_sha256);
    signing_key(what, stamp, key);
    sign_hmac(key, sizeof(key), text.data, text.len, mac);
    explicit_bzero(key, sizeof(key));
    for (size_t i = 0; i < sizeof(mac); i++)
        snprintf(signature + 2 * i, 3, "%02x", mac[i]);
    http_add_header(headers, "x-amz-content-sha256: %s", body_sha256);
    http_add_header(headers, "x-amz-date: %s", stamp);
    if (what->token)
        http_add_header(headers, "x-amz-security-token: %s", secret_reveal(what->token));
    http_add_header(headers,
        "Authorization: AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s",
        secret_reveal(what->key_id), scope, names.data, signature);
}
