#include <stdlib.h>
#include <string.h>

#include "../address.h"
#include "index.h"
#include "netrc.h"
#include "recluster/json.h"
#include "recluster/secret.h"
#include "webdav.h"

/*
 * HTTP and HTTPS servers: "http://host/folder/", or an object of the type "http", "https" or "url"
 * with "url" and, if needed, "user" and "password" ("auth": "digest" for a digest login), "bearer"
 * (secrets), and the members of request.h. A query in the URL is sent with each request.
 *
 * A folder is listed by its index page, else by WebDAV. A location of the type "webdav", or
 * "webdav://…", "webdavs://…" ("dav://…", "davs://…"), is listed by WebDAV only. Writing needs
 * WebDAV.
 */

struct http_store {
    struct http_folder folder; /* must be first: a handle is passed as its folder */
    bool webdav;               /* by its type or scheme: no index is requested */
};

static int http_read(void *handle, const char *name, int64_t offset, int64_t length,
    const struct store_receiver *to, struct err *err)
{
    struct http_folder *f = handle;
    AUTO_FREE char *url = http_folder_address(f, name);
    AUTO_FREE char *what = xasprintf("%s%s", f->label, name);
    struct http_reply reply = HTTP_REPLY_INIT;

    int rc = http_send(f->client,
        &(struct http_request){
            .url = url, .what = what, .to = to, .offset = offset, .length = length},
        &reply, err);
    if (rc == 0 && !http_status_is_object(reply.status))
        rc = http_status_error(reply.status, what, err);
    http_reply_release(&reply);
    return rc;
}

static int list_by_index(
    struct http_folder *f, struct store_list *list, long *ret_status, struct err *err)
{
    AUTO_FREE char *url = http_folder_address(f, NULL);
    struct http_reply reply = HTTP_REPLY_INIT;
    char *type = NULL;

    int rc =
        http_send(f->client, &(struct http_request){.url = url, .what = f->label}, &reply, err);
    *ret_status = reply.status;
    if (rc == 0 && reply.status != 200)
        rc = http_status_error(reply.status, f->label, err);
    if (rc == 0) {
        curl_easy_getinfo(http_client_curl(f->client), CURLINFO_CONTENT_TYPE, &type);
        rc = http_index_parse(reply.text.data, reply.text.len, type, f->label, list, err);
    }
    http_reply_release(&reply);
    return rc;
}

static int http_list(void *handle, struct store_list *list, struct err *err)
{
    struct http_store *h = handle;
    struct err no_webdav = ERR_INIT;
    long status;

    if (h->webdav)
        return webdav_list(&h->folder, list, err);
    if (list_by_index(&h->folder, list, &status, err) == 0)
        return 0;
    /* If the server does not support WebDAV either, the error of the index is reported. */
    bool no_index = (status == 200 || status == 403 || status == 404 || status == 405) &&
                    !err_code_is_retried(err->code);
    return no_index && webdav_list(&h->folder, list, &no_webdav) == 0 ? 0 : -1;
}

static int64_t http_driver_retry_after_ms(const void *handle)
{
    const struct http_store *h = handle;
    return http_retry_after_ms(h->folder.client);
}

/* --- the location --- */

/* The HTTP scheme for a WebDAV scheme; NULL: another scheme. */
static const char *webdav_scheme(const char *text)
{
    if (strncasecmp(text, "webdav://", 9) == 0 || strncasecmp(text, "dav://", 6) == 0)
        return "http";
    bool tls = strncasecmp(text, "webdavs://", 10) == 0 || strncasecmp(text, "davs://", 7) == 0;
    return tls ? "https" : NULL;
}

/* Splits the URL: the login goes to the handle, the rest to the folder. */
static int set_address(
    struct http_store *h, const json_t *location, const char *text, struct err *err)
{
    const char *type = json_text(location, "type", NULL);
    const char *scheme = webdav_scheme(text);
    struct address a;

    if (address_parse(text, scheme, &a, err) < 0)
        return -1;
    h->webdav = scheme || (type && strcmp(type, "webdav") == 0);
    address_login(&a, http_client_curl(h->folder.client));
    h->folder.base = xstrdup(a.plain);
    h->folder.label = xstrdup(a.plain);
    h->folder.query = a.query ? xasprintf("?%s", a.query) : xstrdup("");
    address_release(&a);
    return 0;
}

static int set_secret(struct http_store *h, CURLoption option, const json_t *location,
    const char *key, struct err *err)
{
    const json_t *value = json_object_get(location, key);
    if (!value)
        return 0;
    struct secret *secret = secret_from_text(value, key, err);
    if (!secret)
        return -1;
    curl_easy_setopt(http_client_curl(h->folder.client), option, secret_reveal(secret));
    secret_free(secret);
    return 0;
}

static int set_login(struct http_store *h, const json_t *location, struct err *err)
{
    CURL *curl = http_client_curl(h->folder.client);
    const char *auth = json_text(location, "auth", NULL);
    bool bearer = json_object_get(location, "bearer") != NULL;
    bool digest = auth && strcmp(auth, "digest") == 0;

    if (auth && !digest && strcmp(auth, "basic") != 0)
        return err_set(err, ERR_USAGE, "'%s' is not a kind of login (basic, digest)", auth);
    curl_easy_setopt(curl, CURLOPT_HTTPAUTH,
        bearer   ? CURLAUTH_BEARER
        : digest ? CURLAUTH_DIGEST
                 : CURLAUTH_BASIC);
    /* A redirect must not lead from TLS to plain text. */
    if (strncmp(h->folder.base, "http:", 5) == 0)
        curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    if (set_secret(h, CURLOPT_USERNAME, location, "user", err) < 0 ||
        set_secret(h, CURLOPT_PASSWORD, location, "password", err) < 0)
        return -1;
    return set_secret(h, CURLOPT_XOAUTH2_BEARER, location, "bearer", err);
}

static void http_close(void *handle)
{
    struct http_store *h = handle;

    http_client_free(h->folder.client);
    free(h->folder.base);
    if (h->folder.query)
        explicit_bzero(h->folder.query, strlen(h->folder.query)); /* may be a signature */
    free(h->folder.query);
    free(h->folder.label);
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

    h->folder.client = http_client_new(location, err);
    if (!h->folder.client || set_address(h, location, url, err) < 0 ||
        set_login(h, location, err) < 0) {
        http_close(h);
        return NULL;
    }
    *ret_label = xstrdup(h->folder.label);
    return h;
}

/* A Digest login proves the password without sending it. */
static void http_logins(const json_t *location, json_t *logins)
{
    const char *url = store_location_text(location, "url");
    const char *auth = json_text(location, "auth", NULL);
    struct err unknown = ERR_INIT;
    struct address a;

    if (!url || address_parse(url, NULL, &a, &unknown) < 0)
        return;
    if (a.user || a.password || json_object_get(location, "user") ||
        json_object_get(location, "password") || json_object_get(location, "bearer"))
        store_logins_add(logins, url,
            json_object_get(location, "bearer") || !auth || strcmp(auth, "digest") != 0);
    address_release(&a);
}

static const char *const http_endpoints[] = {"url", NULL};
static const char *const http_kinds[] = {"http", "https", "webdav", "webdavs", "dav", "davs", NULL};

const struct store_driver store_http_driver = {
    .kinds = http_kinds,
    .open = http_open,
    .close = http_close,
    .list = http_list,
    .read = http_read,
    .connections = 4,
    .retry_after_ms = http_driver_retry_after_ms,
    .write_begin = webdav_write_begin,
    .write_part = webdav_write_part,
    .write_commit = webdav_write_commit,
    .write_end = webdav_write_end,
    .remove = webdav_remove,
    .endpoints = http_endpoints,
    .resolve = netrc_resolve,
    .logins = http_logins,
};
