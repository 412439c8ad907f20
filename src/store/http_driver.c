#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "driver.h"
#include "http_index.h"
#include "recluster/buf.h"
#include "recluster/file.h"
#include "recluster/secret.h"

/*
 * HTTP and HTTPS servers: "http://host/folder/", or an object of the type "http", "https" or "url"
 * with "url" and, if needed, "user" and "password", "bearer" (secrets), "ca_file". A query in the
 * URL goes with each request.
 */

enum {
    CONNECT_S = 10,
    SILENCE_S = 30,
    REDIRECTS_MAX = 5,
    INDEX_BYTES_MAX = 64 << 20,
    ERROR_PAGE_BYTES_MAX = 64 << 10, /* that are read so that the connection can be used again */
    RECEIVE_BYTES = 512 << 10,
};

struct http_store {
    CURL *curl;  /* one handle for all requests: it keeps the connection */
    char *base;  /* ends with '/'; without user, password and query */
    char *query; /* "?…" or "" */
    char *label;
    char detail[CURL_ERROR_SIZE];
};

/* --- answers --- */

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
};

static int status_error(long status, const char *what, struct err *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
        const struct status *s = &statuses[i];
        if (s->status != status)
            continue;
        err_set(err, s->code, "'%s' %s (HTTP status %ld)", what, s->text, status);
        return s->hint ? err_hint(err, "%s", s->hint) : -1;
    }
    return err_set(err, status > 504 ? ERR_BUSY : ERR_PROTOCOL,
        "'%s' gave the unexpected HTTP status %ld", what, status);
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
    {CURLE_URL_MALFORMAT, ERR_USAGE, NULL},
};

static int transfer_error(
    const struct http_store *h, CURLcode result, const char *what, struct err *err)
{
    const char *detail = h->detail[0] ? h->detail : curl_easy_strerror(result);

    for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
        if (failures[i].result != result)
            continue;
        err_set(err, failures[i].code, "cannot read '%s': %s", what, detail);
        return failures[i].hint ? err_hint(err, "%s", failures[i].hint) : -1;
    }
    return err_set(err, ERR_PROTOCOL, "cannot read '%s': %s", what, detail);
}

/* --- requests --- */

struct transfer {
    struct http_store *http;
    const struct store_receiver *to;
    const char *what; /* printable address */
    int64_t offset;   /* that was asked for */
    struct err *err;
    bool begun;     /* the receiver has been told, its bytes follow */
    bool stopped;   /* the receiver, or what we made of the answer, set err */
    size_t dropped; /* bytes of an error page */
};

/* The value of a header of the last answer, NULL if it has none. */
static const char *answer_header(CURL *curl, const char *name)
{
    struct curl_header *header;
    return curl_easy_header(curl, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK ? header->value
                                                                                   : NULL;
}

static void describe(CURL *curl, struct store_object *ret)
{
    const char *date = answer_header(curl, "Last-Modified");
    const char *etag = answer_header(curl, "ETag");
    const char *validator = etag && strlen(etag) < sizeof(ret->validator) ? etag : date;
    time_t modified = date ? curl_getdate(date, NULL) : -1;
    curl_off_t length = -1;

    *ret = (struct store_object){.bytes = -1, .modified_ms = -1};
    if (modified >= 0)
        ret->modified_ms = (int64_t)modified * 1000;
    if (validator && strlen(validator) < sizeof(ret->validator))
        snprintf(ret->validator, sizeof(ret->validator), "%s", validator);
    if (curl_easy_getinfo(curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length) == CURLE_OK)
        ret->bytes = length;
}

/* "bytes 5-9/100"; a star stands for a total that isn't known, or for no range at all (416). */
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

/* The head of an answer is there: tells the receiver, if it is the answer that was hoped for. */
static int transfer_begin(struct transfer *t)
{
    CURL *curl = t->http->curl;
    struct store_object object;
    int64_t first = 0;
    long status = 0;

    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200 && status != 206 && status != 416)
        return 0;
    describe(curl, &object);
    if (status != 200 &&
        !parse_content_range(answer_header(curl, "Content-Range"), &first, &object.bytes)) {
        t->stopped = true;
        return err_set(t->err, ERR_PROTOCOL,
            "'%s' gave the HTTP status %ld without saying which bytes follow", t->what, status);
    }
    if (status == 416)
        first = t->offset; /* there is nothing behind it */
    t->begun = status != 416;
    t->stopped = t->to->begin(t->to->arg, &object, first, t->err) < 0;
    return t->stopped ? -1 : 0;
}

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
    struct transfer *t = arg;
    size_t len = size * count;

    if (!t->begun && t->dropped == 0 && transfer_begin(t) < 0)
        return 0;
    if (!t->begun) {
        t->dropped += len;
        return t->dropped > ERROR_PAGE_BYTES_MAX ? 0 : len;
    }
    t->stopped = t->to->data(t->to->arg, data, len, t->err) < 0;
    return t->stopped ? 0 : len;
}

/* The address of a file, or of the folder if name is NULL. The caller frees it. */
static char *address(const struct http_store *h, const char *name)
{
    if (!name)
        return xasprintf("%s%s", h->base, h->query);
    char *encoded = curl_easy_escape(NULL, name, (int)strlen(name));
    char *url = xasprintf("%s%s%s", h->base, encoded ? encoded : "", h->query);
    curl_free(encoded);
    return url;
}

/* Without a name: the folder's index. */
static int http_read(void *handle, const char *name, int64_t offset, int64_t length,
    const struct store_receiver *to, struct err *err)
{
    struct http_store *h = handle;
    CLEANUP(free_ptr) char *url = address(h, name);
    CLEANUP(free_ptr) char *what = xasprintf("%s%s", h->label, name ? name : "");
    struct transfer t = {.http = h, .to = to, .what = what, .offset = offset, .err = err};
    char range[48] = "";

    if (length == 0)
        length = 1; /* no range can ask for nothing; what is too much is dropped */
    if (length > 0)
        snprintf(
            range, sizeof(range), "%lld-%lld", (long long)offset, (long long)(offset + length - 1));
    else if (offset > 0)
        snprintf(range, sizeof(range), "%lld-", (long long)offset);
    h->detail[0] = '\0';
    curl_easy_setopt(h->curl, CURLOPT_URL, url);
    curl_easy_setopt(h->curl, CURLOPT_RANGE, range[0] ? range : NULL);
    curl_easy_setopt(h->curl, CURLOPT_WRITEDATA, &t);
    CURLcode result = curl_easy_perform(h->curl);
    if (t.stopped)
        return -1;
    if (result == CURLE_OK && !t.begun && t.dropped == 0 && transfer_begin(&t) < 0)
        return -1; /* an answer without a body */
    long status = 0;
    curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
    /* Of an answer that is an error page, the status says more than how its bytes ended. */
    if (result != CURLE_OK && t.dropped == 0)
        return transfer_error(h, result, what, err);
    return t.begun || status == 416 ? 0 : status_error(status, what, err);
}

/* --- the index --- */

struct index_page {
    struct buf text;
    const char *what;
};

static int index_begin(
    void *arg, const struct store_object *object, int64_t first_byte, struct err *err)
{
    (void)first_byte;
    const struct index_page *page = arg;
    if (object->bytes > INDEX_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "the index of '%s' has %lld bytes, more than %d", page->what,
            (long long)object->bytes, INDEX_BYTES_MAX);
    return 0;
}

static int index_data(void *arg, const void *data, size_t len, struct err *err)
{
    struct index_page *page = arg;
    return buf_add_limited(&page->text, data, len, INDEX_BYTES_MAX, page->what, err);
}

static int http_list(void *handle, struct store_list *list, struct err *err)
{
    struct http_store *h = handle;
    struct index_page page = {.text = BUF_INIT, .what = h->label};
    const struct store_receiver receiver = {index_begin, index_data, &page};
    char *type = NULL;

    int rc = http_read(h, NULL, 0, -1, &receiver, err);
    if (rc == 0) {
        curl_easy_getinfo(h->curl, CURLINFO_CONTENT_TYPE, &type);
        rc = http_index_parse(page.text.data, page.text.len, type, h->label, list, err);
    }
    buf_release(&page.text);
    return rc;
}

/* --- the location --- */

/* The part of a URL, decoded if asked for; NULL if it has none. The caller frees it. */
static char *url_part(CURLU *url, CURLUPart part, unsigned flags)
{
    char *text = NULL;
    if (curl_url_get(url, part, &text, flags) != CURLUE_OK)
        return NULL;
    char *copy = xstrdup(text);
    explicit_bzero(text, strlen(text));
    curl_free(text);
    return copy;
}

/* Takes the URL apart: login to the handle, folder to base and query. */
static int set_address(struct http_store *h, const char *text, struct err *err)
{
    CLEANUP(free_ptr) char *masked = secret_mask_url(text);
    CURLU *url = curl_url();
    CURLUcode rc = curl_url_set(url, CURLUPART_URL, text, 0);

    if (rc != CURLUE_OK) {
        curl_url_cleanup(url);
        return err_set(
            err, ERR_USAGE, "'%s' is no address of a folder: %s", masked, curl_url_strerror(rc));
    }
    char *user = url_part(url, CURLUPART_USER, CURLU_URLDECODE);
    char *password = url_part(url, CURLUPART_PASSWORD, CURLU_URLDECODE);
    if (user)
        curl_easy_setopt(h->curl, CURLOPT_USERNAME, user);
    if (password) {
        curl_easy_setopt(h->curl, CURLOPT_PASSWORD, password);
        explicit_bzero(password, strlen(password));
    }
    free(user);
    free(password);
    CLEANUP(free_ptr) char *query = url_part(url, CURLUPART_QUERY, 0);
    h->query = query ? xasprintf("?%s", query) : xstrdup("");
    /* What is left is the address without anything that is secret. */
    curl_url_set(url, CURLUPART_USER, NULL, 0);
    curl_url_set(url, CURLUPART_PASSWORD, NULL, 0);
    curl_url_set(url, CURLUPART_QUERY, NULL, 0);
    curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0);
    CLEANUP(free_ptr) char *rest = url_part(url, CURLUPART_URL, 0);
    curl_url_cleanup(url);
    if (!rest)
        return err_set(err, ERR_USAGE, "'%s' is no address of a folder", masked);
    h->base = xasprintf("%s%s", rest, rest[strlen(rest) - 1] == '/' ? "" : "/");
    h->label = xstrdup(h->base);
    return 0;
}

static int set_secret(struct http_store *h, CURLoption option, const json_t *location,
    const char *key, struct err *err)
{
    const json_t *value = json_object_get(location, key);
    if (!value)
        return 0;
    struct secret *secret = secret_from_json(value, key, err);
    if (!secret)
        return -1;
    curl_easy_setopt(h->curl, option, secret_reveal(secret));
    secret_free(secret);
    return 0;
}

static int set_login(struct http_store *h, const json_t *location, struct err *err)
{
    const char *ca_file = json_string_value(json_object_get(location, "ca_file"));
    bool bearer = json_object_get(location, "bearer") != NULL;

    curl_easy_setopt(h->curl, CURLOPT_HTTPAUTH, bearer ? CURLAUTH_BEARER : CURLAUTH_BASIC);
    if (ca_file) {
        CLEANUP(free_ptr) char *path = path_expand_home(ca_file);
        curl_easy_setopt(h->curl, CURLOPT_CAINFO, path);
    }
    if (set_secret(h, CURLOPT_USERNAME, location, "user", err) < 0 ||
        set_secret(h, CURLOPT_PASSWORD, location, "password", err) < 0)
        return -1;
    return set_secret(h, CURLOPT_XOAUTH2_BEARER, location, "bearer", err);
}

static void set_manners(struct http_store *h)
{
    CURL *c = h->curl;
    /* A redirect may not lead from TLS to plain text. */
    const char *redirects = strncmp(h->base, "https:", 6) == 0 ? "https" : "http,https";

    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, redirects);
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)SILENCE_S);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_BUFFERSIZE, (long)RECEIVE_BYTES);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "recluster/" RECLUSTER_VERSION);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, h->detail);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_data);
}

static void http_close(void *handle)
{
    struct http_store *h = handle;
    curl_easy_cleanup(h->curl);
    free(h->base);
    free(h->query);
    free(h->label);
    free(h);
}

static void *http_open(const json_t *location, char **ret_label, struct err *err)
{
    const char *url = store_location_text(location, "url");
    if (!url) {
        err_set(err, ERR_USAGE, "a backup location on an HTTP server needs its 'url'");
        return NULL;
    }
    struct http_store *h = xcalloc(1, sizeof(*h));
    /* Initializes libcurl too if nobody has. */
    h->curl = curl_easy_init();
    if (!h->curl) {
        free(h);
        err_set(err, ERR_FAILED, "cannot start libcurl");
        return NULL;
    }
    if (set_address(h, url, err) < 0 || set_login(h, location, err) < 0) {
        http_close(h);
        return NULL;
    }
    set_manners(h);
    *ret_label = xstrdup(h->label);
    return h;
}

static const char *const http_kinds[] = {"http", "https", NULL};

const struct store_driver store_http_driver = {
    .kinds = http_kinds,
    .open = http_open,
    .close = http_close,
    .list = http_list,
    .read = http_read,
};
