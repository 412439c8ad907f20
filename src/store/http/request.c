#include "request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/secret.h"

enum {
    REDIRECTS_MAX = 5,
    REPLY_BYTES_MAX = 64 << 20,
    ERROR_BYTES_MAX = 64 << 10, /* to read, so that the connection can be used again */
    RECEIVE_BYTES = 512 << 10,
};

struct http_client {
    CURL *curl;             /* one handle for all requests keeps the connection */
    bool follows, any_site; /* redirects; to other sites too */
    char detail[CURL_ERROR_SIZE];
};

/* --- statuses and failures --- */

static const struct status {
    long status;
    enum err_code code;
    const char *text, *hint;
} statuses[] = {
    {401, ERR_DENIED, "wants a login", "Give \"user\" and \"password\" with the location."},
    {403, ERR_DENIED, "refuses access",
        "The login may lack the right; for a folder, the server may show no index."},
    {404, ERR_NOT_FOUND, "is not there", NULL},
    {407, ERR_DENIED, "is behind a proxy that wants a login", NULL},
    {408, ERR_TIMEOUT, "took too long", NULL},
    {410, ERR_NOT_FOUND, "is not there any more", NULL},
    {425, ERR_BUSY, "is not ready", NULL},
    {429, ERR_BUSY, "was asked too often", NULL},
    {500, ERR_BUSY, "failed in the server", NULL},
    {502, ERR_BUSY, "cannot be reached by the server's gateway", NULL},
    {503, ERR_BUSY, "is not available now", NULL},
    {504, ERR_TIMEOUT, "is not answered by the server's gateway", NULL},
    {507, ERR_SPACE, "has no room left", NULL},
};

static const struct status *find_status(long status)
{
    for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
        if (statuses[i].status == status)
            return &statuses[i];
    return NULL;
}

enum err_code http_status_code(long status)
{
    const struct status *s = find_status(status);
    if (s)
        return s->code;
    return status > 504 ? ERR_BUSY : ERR_PROTOCOL;
}

int http_status_error(long status, const char *what, struct err *err)
{
    const struct status *s = find_status(status);

    if (!s)
        return err_set(err, http_status_code(status), "'%s' gave the unexpected HTTP status %ld",
            what, status);
    err_set(err, s->code, "'%s' %s (HTTP status %ld)", what, s->text, status);
    return s->hint ? err_hint(err, "%s", s->hint) : -1;
}

bool http_status_is_object(long status)
{
    return status == 200 || status == 206 || status == 416;
}

bool http_status_is_fine(long status)
{
    return status >= 200 && status < 300;
}

static const struct failure {
    CURLcode result;
    enum err_code code;
    const char *hint;
} failures[] = {
    {CURLE_COULDNT_RESOLVE_HOST, ERR_NETWORK, NULL},
    {CURLE_COULDNT_RESOLVE_PROXY, ERR_NETWORK, NULL},
    {CURLE_COULDNT_CONNECT, ERR_NETWORK, NULL},
    {CURLE_SSL_CONNECT_ERROR, ERR_NETWORK, NULL},
    {CURLE_SEND_ERROR, ERR_NETWORK, NULL},
    {CURLE_RECV_ERROR, ERR_NETWORK, NULL},
    {CURLE_GOT_NOTHING, ERR_NETWORK, NULL},
    {CURLE_PARTIAL_FILE, ERR_NETWORK, NULL},
    {CURLE_HTTP2, ERR_NETWORK, NULL},
    {CURLE_HTTP2_STREAM, ERR_NETWORK, NULL},
    {CURLE_OPERATION_TIMEDOUT, ERR_TIMEOUT, NULL},
    {CURLE_PEER_FAILED_VERIFICATION, ERR_PROTOCOL,
        "Give the certificate of the authority that signed the server's as \"ca_file\"."},
    {CURLE_SSL_CACERT_BADFILE, ERR_USAGE, "Check the file named as \"ca_file\"."},
    {CURLE_SSL_CERTPROBLEM, ERR_USAGE, "Check \"client_cert\" and \"client_key\"."},
    {CURLE_URL_MALFORMAT, ERR_USAGE, NULL},
};

/* libcurl has no code for it, but all its texts about it name what was compared. */
static bool is_of_another_name(const char *detail)
{
    return strstr(detail, "subject name") || strstr(detail, "subjectAltName");
}

static int transfer_error(
    const struct http_client *c, CURLcode result, const char *what, struct err *err)
{
    const char *detail = c->detail[0] ? c->detail : curl_easy_strerror(result);

    for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
        if (failures[i].result != result)
            continue;
        err_set(err, failures[i].code, "cannot reach '%s': %s", what, detail);
        if (result == CURLE_PEER_FAILED_VERIFICATION && is_of_another_name(detail))
            return err_hint(err, "The certificate is for another name. Write the address with a "
                                 "name that the certificate has.");
        return failures[i].hint ? err_hint(err, "%s", failures[i].hint) : -1;
    }
    return err_set(err, ERR_PROTOCOL, "cannot reach '%s': %s", what, detail);
}

/* --- one request --- */

struct transfer {
    struct http_client *client;
    const struct http_request *request;
    struct http_reply *reply;
    struct err *err;
    bool head_ended; /* of this answer: its empty line was read */
    bool head_seen;
    bool to_receiver; /* the bytes belong to the object */
    bool stopped;     /* err is set */
    bool cut;         /* enough of an error page was read */
};

const char *http_header(struct http_client *c, const char *name)
{
    struct curl_header *header;
    return curl_easy_header(c->curl, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK
               ? header->value
               : NULL;
}

static void describe(struct http_client *c, struct store_object *ret)
{
    const char *date = http_header(c, "Last-Modified");
    const char *etag = http_header(c, "ETag");
    bool weak = etag && strncmp(etag, "W/", 2) == 0;
    time_t modified = date ? curl_getdate(date, NULL) : -1;
    curl_off_t length = -1;

    *ret = (struct store_object){.bytes = -1, .modified_ms = -1};
    if (modified >= 0)
        ret->modified_ms = (int64_t)modified * 1000;
    /* A long one would be cut and useless as a validator; then the date is used. */
    int len = snprintf(ret->validator, sizeof(ret->validator), "%s%s%s", etag ? etag : "",
        weak && date ? " " : "", date && (weak || !etag) ? date : "");
    if (len < 0 || (size_t)len >= sizeof(ret->validator))
        snprintf(ret->validator, sizeof(ret->validator), "%.100s", date ? date : "");
    if (curl_easy_getinfo(c->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length) == CURLE_OK)
        ret->bytes = length;
}

/* "bytes 5-9/100"; a star means an unknown total, or no range at all (416). */
static bool parse_content_range(const char *text, int64_t *ret_first, int64_t *ret_total)
{
    long long first = -1, last, total = -1;

    if (!text)
        return false;
    if (sscanf(text, "bytes */%lld", &total) != 1 &&
        (sscanf(text, "bytes %lld-%lld/%lld", &first, &last, &total) < 2 || first < 0))
        return false;
    *ret_first = first;
    *ret_total = total;
    return true;
}

/* Reads the head of an answer to a request for an object. */
static int tell_receiver(struct transfer *t)
{
    const struct http_request *r = t->request;
    long status = t->reply->status;
    struct store_object object;
    int64_t first = 0;

    describe(t->client, &object);
    if (status == 416) {
        /* Some stores send no size with it. There are no bytes from `offset` on in any case. */
        if (!parse_content_range(http_header(t->client, "Content-Range"), &first, &object.bytes))
            object.bytes = -1;
        first = r->offset;
    } else if (status == 206 && !parse_content_range(http_header(t->client, "Content-Range"),
                                    &first, &object.bytes)) {
        return err_set(t->err, ERR_PROTOCOL,
            "'%s' gave the HTTP status %ld without saying which bytes follow", r->what, status);
    }
    t->to_receiver = status != 416;
    return r->to->begin(r->to->arg, &object, first, t->err);
}

/* The body of an answer that is kept in memory. */
static int check_length(struct transfer *t)
{
    curl_off_t length = -1;

    curl_easy_getinfo(t->client->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    bool head = t->request->method && strcmp(t->request->method, "HEAD") == 0;
    if (head || length <= REPLY_BYTES_MAX)
        return 0;
    return err_set(t->err, ERR_LIMIT, "the answer of '%s' has %lld bytes, more than %d",
        t->request->what, (long long)length, REPLY_BYTES_MAX);
}

/* The head of the answer is complete. */
static int on_head(struct transfer *t)
{
    t->head_seen = true;
    curl_easy_getinfo(t->client->curl, CURLINFO_RESPONSE_CODE, &t->reply->status);
    if (t->request->to && http_status_is_object(t->reply->status))
        t->stopped = tell_receiver(t) < 0;
    else if (http_status_is_fine(t->reply->status))
        t->stopped = check_length(t) < 0;
    return t->stopped ? -1 : 0;
}

/* The host of `to`, an address that may be relative to `from`. The caller frees it. */
static char *host_of(const char *from, const char *to)
{
    CURLU *url = curl_url();
    char *host = NULL, *copy = NULL;

    if (curl_url_set(url, CURLUPART_URL, from, 0) == CURLUE_OK &&
        (!to || curl_url_set(url, CURLUPART_URL, to, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK) &&
        curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK)
        copy = xstrdup(host);
    curl_free(host);
    curl_url_cleanup(url);
    return copy;
}

/* Checks the target of a redirect: this machine can reach more than the server can. */
static int check_redirect(struct transfer *t, const char *to)
{
    char *from = NULL;

    curl_easy_getinfo(t->client->curl, CURLINFO_EFFECTIVE_URL, &from);
    AUTO_FREE char *here = host_of(from ? from : t->request->url, NULL);
    AUTO_FREE char *there = host_of(from ? from : t->request->url, to);
    /* Without a host it is a protocol that libcurl refuses. */
    if (!there || !*there || (here && strcasecmp(here, there) == 0))
        return 0;
    AUTO_FREE char *masked = secret_mask_url(to);
    err_set(t->err, ERR_DENIED, "'%s' redirects to another site: '%s'", t->request->what, masked);
    return err_hint(t->err, "If that is right, name that address as the location, or add "
                            "\"redirects\": \"any\" to the location in the hosts file.");
}

/* libcurl accepts a head that was cut off. */
static size_t on_head_line(char *line, size_t size, size_t count, void *arg)
{
    static const char location[] = "location:";
    struct transfer *t = arg;
    size_t len = size * count, name_len = sizeof(location) - 1;
    long status = 0;

    t->head_ended = len <= 2 && (*line == '\r' || *line == '\n');
    curl_easy_getinfo(t->client->curl, CURLINFO_RESPONSE_CODE, &status);
    if (!t->client->follows || t->client->any_site || status < 300 || status > 399 ||
        len < name_len || strncasecmp(line, location, name_len) != 0)
        return len;
    AUTO_FREE char *to = xstrndup(line + name_len, len - name_len);
    char *start = to + strspn(to, " \t");
    start[strcspn(start, "\r\n")] = '\0';
    t->stopped = check_redirect(t, start) < 0;
    return t->stopped ? 0 : len;
}

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
    struct transfer *t = arg;
    size_t len = size * count;

    if (!t->head_seen && on_head(t) < 0)
        return 0;
    if (t->to_receiver) {
        t->stopped = t->request->to->data(t->request->to->arg, data, len, t->err) < 0;
        return t->stopped ? 0 : len;
    }
    if (!http_status_is_fine(t->reply->status)) {
        t->cut = t->reply->text.len + len > ERROR_BYTES_MAX;
        if (!t->cut)
            buf_add(&t->reply->text, data, len);
        return t->cut ? 0 : len;
    }
    AUTO_FREE char *what = xasprintf("the answer of '%s'", t->request->what);
    t->stopped = buf_add_limited(&t->reply->text, data, len, REPLY_BYTES_MAX, what, t->err) < 0;
    return t->stopped ? 0 : len;
}

void http_range(char out[HTTP_RANGE_MAX], int64_t offset, int64_t length)
{
    long long first = offset, last = offset + (length ? length : 1) - 1;

    out[0] = '\0';
    if (length >= 0)
        snprintf(out, HTTP_RANGE_MAX, "%lld-%lld", first, last);
    else if (offset > 0)
        snprintf(out, HTTP_RANGE_MAX, "%lld-", first);
}

static void set_request(CURL *curl, const struct http_request *r)
{
    char range[HTTP_RANGE_MAX] = "";

    if (r->to)
        http_range(range, r->offset, r->length);
    curl_easy_setopt(curl, CURLOPT_URL, r->url);
    curl_easy_setopt(curl, CURLOPT_RANGE, range[0] ? range : NULL);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, r->headers);
    curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L); /* drops the body of the previous request */
    if (r->body) {
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, r->body);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_len);
    }
    bool head = r->method && strcmp(r->method, "HEAD") == 0;
    if (head)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, head ? NULL : r->method);
    /*
     * On a reused connection libcurl repeats a request that gets no answer. That is wrong for
     * requests that act differently the second time.
     */
    bool unsafe = r->method && (strcmp(r->method, "MOVE") == 0 || strcmp(r->method, "POST") == 0);
    curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, unsafe ? 1L : 0L);
}

int http_send(struct http_client *c, const struct http_request *request, struct http_reply *reply,
    struct err *err)
{
    struct transfer t = {.client = c, .request = request, .reply = reply, .err = err};

    c->detail[0] = '\0';
    buf_clear(&reply->text);
    reply->status = 0;
    set_request(c->curl, request);
    curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, &t);
    curl_easy_setopt(c->curl, CURLOPT_HEADERDATA, &t);
    CURLcode result = curl_easy_perform(c->curl);
    /* The next request must not use the caller's memory. */
    curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, (struct curl_slist *)NULL);
    curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, (char *)NULL);
    if (result == CURLE_OK && !t.head_ended)
        return err_set(
            err, ERR_NETWORK, "the answer of '%s' was cut off in its head", request->what);
    if (result == CURLE_OK && !t.head_seen && !t.stopped)
        on_head(&t); /* an answer without a body */
    if (t.stopped)
        return -1;
    /* For an error page the status says more than how its bytes ended. */
    bool error_page = t.head_seen && !t.to_receiver && !http_status_is_fine(reply->status);
    if (result != CURLE_OK && !error_page)
        return transfer_error(c, result, request->what, err);
    return 0;
}

void http_reply_release(struct http_reply *reply)
{
    buf_release(&reply->text);
}

int64_t http_retry_after_ms(const struct http_client *c)
{
    curl_off_t seconds = 0;
    curl_easy_getinfo(c->curl, CURLINFO_RETRY_AFTER, &seconds);
    return seconds > 0 ? (int64_t)seconds * 1000 : 0;
}

/* --- texts --- */

void http_encode(struct buf *out, const char *text, bool keep_slashes)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                     strchr("-._~", c) || (c == '/' && keep_slashes);
        if (plain)
            buf_addc(out, (char)c);
        else
            buf_addf(out, "%%%02X", c);
    }
}

void http_add_header(struct curl_slist **headers, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    char *text = xvasprintf(fmt, args);
    va_end(args);
    struct curl_slist *longer = curl_slist_append(*headers, text);
    explicit_bzero(text, strlen(text));
    free(text);
    if (!longer)
        die_of_memory(0);
    *headers = longer;
}

void http_free_headers(struct curl_slist **headers)
{
    for (struct curl_slist *h = *headers; h; h = h->next)
        explicit_bzero(h->data, strlen(h->data));
    curl_slist_free_all(*headers);
    *headers = NULL;
}

/* --- the client --- */

/* A certificate or key: a path, or the PEM text itself. */
static void set_pem(CURL *curl, CURLoption file, CURLoption blob, const char *text)
{
    if (strstr(text, "-----BEGIN ")) {
        struct curl_blob data = {.len = strlen(text), .flags = CURL_BLOB_COPY};
        memcpy(&data.data, &text, sizeof(text)); /* libcurl's struct lacks the const */
        curl_easy_setopt(curl, blob, &data);
    } else {
        AUTO_FREE char *path = path_expand_home(text);
        curl_easy_setopt(curl, file, path);
    }
}

int http_set_trust(CURL *curl, const json_t *location, struct err *err)
{
    static const struct {
        const char *key;
        CURLoption file, blob;
    } pems[] = {
        {"ca_cert", CURLOPT_CAINFO, CURLOPT_CAINFO_BLOB},
        {"ca_file", CURLOPT_CAINFO, CURLOPT_CAINFO_BLOB},
        {"client_cert", CURLOPT_SSLCERT, CURLOPT_SSLCERT_BLOB},
        {"client_key", CURLOPT_SSLKEY, CURLOPT_SSLKEY_BLOB},
    };

    for (size_t i = 0; i < ARRAY_SIZE(pems); i++) {
        const json_t *value = json_object_get(location, pems[i].key);
        struct secret *text = value ? secret_from_text(value, pems[i].key, err) : NULL;
        if (value && !text)
            return -1;
        if (text)
            set_pem(curl, pems[i].file, pems[i].blob, secret_reveal(text));
        secret_free(text);
    }
    const json_t *value = json_object_get(location, "client_key_password");
    if (!value)
        return 0;
    struct secret *password = secret_from_text(value, "client_key_password", err);
    if (!password)
        return -1;
    curl_easy_setopt(curl, CURLOPT_KEYPASSWD, secret_reveal(password));
    secret_free(password);
    return 0;
}

static void set_manners(struct http_client *c, long silence_s)
{
    CURL *curl = c->curl;

    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    c->follows = true;
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, store_connect_timeout(silence_s));
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)STORE_LOW_SPEED);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, silence_s);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, (long)RECEIVE_BYTES);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "recluster/" RECLUSTER_VERSION);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, c->detail);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_head_line);
}

void http_client_stay_on_host(struct http_client *c)
{
    curl_easy_setopt(c->curl, CURLOPT_FOLLOWLOCATION, 0L);
    c->follows = false;
}

CURL *http_client_curl(struct http_client *c)
{
    return c->curl;
}

struct http_client *http_client_new(const json_t *location, struct err *err)
{
    struct http_client *c = xcalloc(1, sizeof(*c));

    /* Initializes libcurl too, if needed. */
    c->curl = curl_easy_init();
    if (!c->curl) {
        free(c);
        err_set(err, ERR_FAILED, "cannot start libcurl");
        return NULL;
    }
    long silence_s;
    if (http_set_trust(c->curl, location, err) < 0 ||
        store_location_timeout(location, &silence_s, err) < 0) {
        http_client_free(c);
        return NULL;
    }
    set_manners(c, silence_s);
    const char *redirects = store_location_text(location, "redirects");
    c->any_site = json_is_object(location) && redirects && strcmp(redirects, "any") == 0;
    return c;
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;
    curl_easy_cleanup(c->curl);
    free(c);
}
