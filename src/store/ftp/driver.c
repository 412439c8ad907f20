#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <curl/curl.h>

#include "../address.h"
#include "../driver.h"
#include "../http/netrc.h"
#include "../http/request.h"
#include "listing.h"
#include "recluster/secret.h"

/*
 * FTP servers: "ftp://user:password@host/folder/", or an object with "url" and, if needed, "user",
 * "password" (secrets), and the members for trust in http/request.h. ftp:// is plain text, ftpes://
 * requests TLS before the login (explicit, port 21), ftps:// starts with TLS (implicit, port 990).
 * The folder is relative to the login's home; "ftp://host//folder" is absolute.
 *
 * An upload goes to NAME.part: each piece is stored at its own position (REST, STOR), so it may be
 * sent twice, and RNFR, RNTO rename it. If a server cannot rename over a file, the old one is
 * removed right before.
 */

enum {
    RECEIVE_BYTES = 512 << 10,
    PART_BYTES = 8 << 20,
};

struct ftp_store {
    CURL *curl;   /* one handle for all requests keeps the connection */
    char *base;   /* ends with '/'; without user and password */
    bool no_mlsd; /* the server does not know it */
    char detail[CURL_ERROR_SIZE];
};

/* --- requests --- */

static const struct failure {
    CURLcode result;
    enum err_code code;
    const char *hint;
} failures[] = {
    {CURLE_COULDNT_RESOLVE_HOST, ERR_NETWORK, NULL},
    {CURLE_COULDNT_CONNECT, ERR_NETWORK, NULL},
    {CURLE_SEND_ERROR, ERR_NETWORK, NULL},
    {CURLE_RECV_ERROR, ERR_NETWORK, NULL},
    {CURLE_GOT_NOTHING, ERR_NETWORK, NULL},
    {CURLE_PARTIAL_FILE, ERR_NETWORK, NULL},
    {CURLE_FTP_ACCEPT_FAILED, ERR_NETWORK, NULL},
    {CURLE_FTP_CANT_GET_HOST, ERR_NETWORK, NULL},
    {CURLE_OPERATION_TIMEDOUT, ERR_TIMEOUT, NULL},
    {CURLE_FTP_ACCEPT_TIMEOUT, ERR_TIMEOUT, NULL},
    {CURLE_REMOTE_ACCESS_DENIED, ERR_NOT_FOUND, NULL}, /* the folder cannot be entered */
    {CURLE_REMOTE_FILE_NOT_FOUND, ERR_NOT_FOUND, NULL},
    {CURLE_REMOTE_DISK_FULL, ERR_SPACE, "Make room on the server."},
    {CURLE_LOGIN_DENIED, ERR_DENIED,
        "Check user and password of the location; a server that wants TLS needs ftpes:// or "
        "ftps://."},
    {CURLE_USE_SSL_FAILED, ERR_PROTOCOL,
        "The server does not know explicit TLS: try ftps:// (implicit), or ftp://."},
    {CURLE_SSL_CONNECT_ERROR, ERR_PROTOCOL,
        "ftps:// begins with TLS (implicit); a server that speaks plain text first needs "
        "ftpes://."},
    {CURLE_PEER_FAILED_VERIFICATION, ERR_PROTOCOL,
        "Give the certificate of the authority that signed the server's as \"ca_file\"."},
    {CURLE_SSL_CACERT_BADFILE, ERR_USAGE, "Check the file named as \"ca_file\"."},
    {CURLE_SSL_CERTPROBLEM, ERR_USAGE, "Check \"client_cert\" and \"client_key\"."},
    {CURLE_URL_MALFORMAT, ERR_USAGE, NULL},
};

/* Sets err from the last request; a reply's number says more than libcurl does. */
static int request_error(
    const struct ftp_store *f, CURLcode result, const char *verb, const char *name, struct err *err)
{
    const char *detail = f->detail[0] ? f->detail : curl_easy_strerror(result);
    const struct failure *failure = NULL;
    long reply = 0;

    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &reply);
    for (size_t i = 0; i < ARRAY_SIZE(failures) && !failure; i++)
        if (failures[i].result == result)
            failure = &failures[i];
    enum err_code code = failure ? failure->code : ERR_PROTOCOL;
    if (reply == 421 || reply == 450 || reply == 451)
        code = ERR_BUSY;
    else if (reply == 425 || reply == 426)
        code = ERR_NETWORK;
    else if (reply == 452 || reply == 552)
        code = ERR_SPACE;
    else if (!failure && reply == 550)
        code = ERR_NOT_FOUND;
    else if (!failure && (reply == 530 || reply == 532 || reply == 553))
        code = ERR_DENIED;
    err_set(err, code, "cannot %s '%s%s': %s", verb, f->base, name, detail);
    return failure && failure->hint ? err_hint(err, "%s", failure->hint) : -1;
}

static size_t drop(char *data, size_t size, size_t count, void *arg)
{
    (void)data, (void)arg;
    return size * count;
}

/* Begins a request for a file, or for the folder (""). Resets the options of the last one. */
static void prepare(struct ftp_store *f, const char *name)
{
    CURL *c = f->curl;
    char *encoded = curl_easy_escape(NULL, name, (int)strlen(name));
    AUTO_FREE char *url = xasprintf("%s%s", f->base, encoded ? encoded : "");

    curl_free(encoded);
    f->detail[0] = '\0';
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, (char *)NULL);
    curl_easy_setopt(c, CURLOPT_UPLOAD, 0L);
    curl_easy_setopt(c, CURLOPT_NOBODY, 0L);
    curl_easy_setopt(c, CURLOPT_FILETIME, 0L);
    curl_easy_setopt(c, CURLOPT_RANGE, (char *)NULL);
    curl_easy_setopt(c, CURLOPT_PREQUOTE, (struct curl_slist *)NULL);
    curl_easy_setopt(c, CURLOPT_POSTQUOTE, (struct curl_slist *)NULL);
    curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)-1);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, drop);
}

/* These characters could add commands. */
static int check_name(const struct ftp_store *f, const char *name, struct err *err)
{
    if (!strpbrk(name, "\r\n"))
        return 0;
    return err_set(err, ERR_USAGE, "a name with a line break cannot be asked for in '%s'", f->base);
}

/* --- list --- */

/* The listing of one command. ret_known: the server knows the command. */
static int list_by(struct ftp_store *f, const char *command,
    void (*parse)(const char *text, struct store_list *list), struct store_list *list,
    bool *ret_known, struct err *err)
{
    struct ftp_page page = {.text = BUF_INIT, .what = f->base, .err = err};
    long reply = 0;

    prepare(f, "");
    curl_easy_setopt(f->curl, CURLOPT_CUSTOMREQUEST, command);
    curl_easy_setopt(f->curl, CURLOPT_WRITEFUNCTION, ftp_page_add);
    curl_easy_setopt(f->curl, CURLOPT_WRITEDATA, &page);
    CURLcode result = curl_easy_perform(f->curl);
    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &reply);
    *ret_known =
        result == CURLE_OK || (reply != 500 && reply != 501 && reply != 502 && reply != 504);
    /* libcurl reports a busy folder (450) as an empty one. */
    if (result == CURLE_OK && reply == 450)
        result = CURLE_FTP_COULDNT_RETR_FILE;
    if (result == CURLE_OK)
        parse(page.text.data, list);
    buf_release(&page.text);
    if (result == CURLE_OK)
        return 0;
    return page.over ? -1 : request_error(f, result, "list", "", err);
}

static int ftp_list(void *handle, struct store_list *list, struct err *err)
{
    struct ftp_store *f = handle;
    bool known;

    if (!f->no_mlsd) {
        int rc = list_by(f, "MLSD", ftp_parse_mlsd, list, &known, err);
        if (known)
            return rc;
        f->no_mlsd = true;
    }
    return list_by(f, "LIST", ftp_parse_list, list, &known, err);
}

/* --- read --- */

/* Size and time need a request of their own: they must be known before the first byte. */
static int describe(
    struct ftp_store *f, const char *name, struct store_object *ret, struct err *err)
{
    curl_off_t bytes = -1, modified = -1;

    prepare(f, name);
    curl_easy_setopt(f->curl, CURLOPT_NOBODY, 1L);
    curl_easy_setopt(f->curl, CURLOPT_FILETIME, 1L);
    CURLcode result = curl_easy_perform(f->curl);
    if (result != CURLE_OK)
        return request_error(f, result, "look at", name, err);
    curl_easy_getinfo(f->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &bytes);
    curl_easy_getinfo(f->curl, CURLINFO_FILETIME_T, &modified);
    *ret = (struct store_object){
        .bytes = bytes, .modified_ms = modified < 0 ? -1 : (int64_t)modified * 1000};
    if (bytes >= 0 && modified >= 0)
        snprintf(ret->validator, sizeof(ret->validator), "%lld-%lld", (long long)bytes,
            (long long)modified);
    return 0;
}

struct download {
    const struct store_receiver *to;
    struct err *err;
    bool stopped;
};

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
    struct download *d = arg;
    size_t len = size * count;

    d->stopped = d->to->data(d->to->arg, data, len, d->err) < 0;
    return d->stopped ? 0 : len;
}

static int ftp_read(void *handle, const char *name, int64_t offset, int64_t length,
    const struct store_receiver *receiver, struct err *err)
{
    struct ftp_store *f = handle;
    struct download d = {.to = receiver, .err = err};
    struct store_object object;
    char range[48];

    if (check_name(f, name, err) < 0 || describe(f, name, &object, err) < 0 ||
        receiver->begin(receiver->arg, &object, offset, err) < 0)
        return -1;
    if (length == 0 || (object.bytes >= 0 && offset >= object.bytes))
        return 0;
    prepare(f, name);
    if (length > 0)
        snprintf(
            range, sizeof(range), "%lld-%lld", (long long)offset, (long long)(offset + length - 1));
    else
        snprintf(range, sizeof(range), "%lld-", (long long)offset);
    if (offset > 0 || length > 0)
        curl_easy_setopt(f->curl, CURLOPT_RANGE, range);
    curl_easy_setopt(f->curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(f->curl, CURLOPT_WRITEDATA, &d);
    CURLcode result = curl_easy_perform(f->curl);
    if (d.stopped)
        return -1;
    return result == CURLE_OK ? 0 : request_error(f, result, "read", name, err);
}

/* --- write --- */

struct ftp_upload {
    struct ftp_store *store;
    char *name, *part_name;
    bool renaming; /* it may be renamed already, with its answer lost */
    bool done;
};

static CURLcode run_commands(struct ftp_store *f, const char *first, const char *second)
{
    struct curl_slist *commands = curl_slist_append(NULL, first);

    if (second)
        commands = curl_slist_append(commands, second);
    prepare(f, "");
    curl_easy_setopt(f->curl, CURLOPT_NOBODY, 1L);
    curl_easy_setopt(f->curl, CURLOPT_POSTQUOTE, commands);
    CURLcode result = curl_easy_perform(f->curl);
    curl_easy_setopt(f->curl, CURLOPT_POSTQUOTE, (struct curl_slist *)NULL);
    curl_slist_free_all(commands);
    return result;
}

static void *ftp_write_begin(void *handle, const char *name, struct err *err)
{
    struct ftp_store *f = handle;

    if (check_name(f, name, err) < 0)
        return NULL;
    struct ftp_upload *u = xcalloc(1, sizeof(*u));
    u->store = f;
    u->name = xstrdup(name);
    u->part_name = xasprintf("%s.part", name);
    return u;
}

struct piece {
    const char *data;
    size_t len, at;
};

static size_t give_data(char *to, size_t size, size_t count, void *arg)
{
    struct piece *p = arg;
    size_t n = size * count < p->len - p->at ? size * count : p->len - p->at;

    memcpy(to, p->data + p->at, n);
    p->at += n;
    return n;
}

/* A server may take a broken connection for the end of the data (vsftpd does, with TLS too). */
static int check_part(struct ftp_upload *u, const struct store_part *part, struct err *err)
{
    int64_t wanted = part->offset + (int64_t)part->len;
    struct store_object object;

    if (describe(u->store, u->part_name, &object, err) < 0)
        return -1;
    if (object.bytes < 0 || object.bytes == wanted)
        return 0;
    return err_set(err, ERR_NETWORK, "the server has %" PRId64 " of %" PRId64 " bytes of '%s%s'",
        object.bytes, wanted, u->store->base, u->name);
}

static int ftp_write_part(void *upload, const struct store_part *part, struct err *err)
{
    struct ftp_upload *u = upload;
    CURL *c = u->store->curl;
    struct piece piece = {.data = part->data, .len = part->len};
    struct curl_slist *commands = NULL;
    char rest[32];

    prepare(u->store, u->part_name);
    if (part->offset > 0) {
        snprintf(rest, sizeof(rest), "REST %lld", (long long)part->offset);
        commands = curl_slist_append(NULL, rest);
        curl_easy_setopt(c, CURLOPT_PREQUOTE, commands);
    }
    curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)part->len);
    curl_easy_setopt(c, CURLOPT_READFUNCTION, give_data);
    curl_easy_setopt(c, CURLOPT_READDATA, &piece);
    CURLcode result = curl_easy_perform(c);
    curl_easy_setopt(c, CURLOPT_PREQUOTE, (struct curl_slist *)NULL);
    curl_slist_free_all(commands);
    return result == CURLE_OK ? check_part(u, part, err)
                              : request_error(u->store, result, "write", u->name, err);
}

static bool is_refused_permanently(const struct ftp_store *f)
{
    long reply = 0;

    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &reply);
    return reply >= 500;
}

/* Whether an earlier rename, whose answer was lost, succeeded. */
static int look_for_renamed(struct ftp_upload *u, int64_t bytes, bool *ret_renamed, struct err *err)
{
    struct store_object object;
    struct err failure = ERR_INIT;

    *ret_renamed = false;
    if (describe(u->store, u->part_name, &object, &failure) == 0)
        return 0;
    if (failure.code != ERR_NOT_FOUND) {
        *err = failure;
        return -1;
    }
    if (describe(u->store, u->name, &object, err) < 0)
        return -1;
    *ret_renamed = true;
    return object.bytes == bytes
               ? 0
               : err_set(err, ERR_FAILED, "the server lost the upload of '%s'", u->name);
}

static int ftp_write_commit(void *upload, const struct store_part *last, struct err *err)
{
    struct ftp_upload *u = upload;
    AUTO_FREE char *from = xasprintf("RNFR %s", u->part_name);
    AUTO_FREE char *to = xasprintf("RNTO %s", u->name);
    AUTO_FREE char *removal = xasprintf("*DELE %s", u->name); /* '*': ignore a failure */

    if (u->renaming && look_for_renamed(u, last->offset + (int64_t)last->len, &u->done, err) < 0)
        return -1;
    if (u->done)
        return 0;
    if ((last->len || last->offset == 0) && ftp_write_part(u, last, err) < 0)
        return -1;
    u->renaming = true;
    CURLcode result = run_commands(u->store, from, to);
    if (result == CURLE_QUOTE_ERROR && is_refused_permanently(u->store)) {
        result = run_commands(u->store, removal, NULL);
        if (result == CURLE_OK)
            result = run_commands(u->store, from, to);
    }
    u->done = result == CURLE_OK;
    return u->done ? 0 : request_error(u->store, result, "name", u->name, err);
}

static void ftp_write_end(void *upload)
{
    struct ftp_upload *u = upload;

    if (!u->done) {
        AUTO_FREE char *removal = xasprintf("*DELE %s", u->part_name);
        run_commands(u->store, removal, NULL);
    }
    free(u->name);
    free(u->part_name);
    free(u);
}

static int ftp_remove(void *handle, const char *name, struct err *err)
{
    struct ftp_store *f = handle;
    AUTO_FREE char *removal = xasprintf("DELE %s", name);

    if (check_name(f, name, err) < 0)
        return -1;
    CURLcode result = run_commands(f, removal, NULL);
    return result == CURLE_OK ? 0 : request_error(f, result, "remove", name, err);
}

/* --- the location --- */

static int set_address(struct ftp_store *f, const char *text, struct err *err)
{
    struct address address;
    bool explicit_tls = strncasecmp(text, "ftpes://", 8) == 0;

    if (address_parse(text, explicit_tls ? "ftp" : NULL, &address, err) < 0)
        return -1;
    address_login(&address, f->curl);
    f->base = xstrdup(address.plain);
    address_release(&address);
    curl_easy_setopt(
        f->curl, CURLOPT_USE_SSL, explicit_tls ? (long)CURLUSESSL_ALL : (long)CURLUSESSL_NONE);
    return 0;
}

static int set_secret(struct ftp_store *f, CURLoption option, const json_t *location,
    const char *key, struct err *err)
{
    const json_t *value = json_object_get(location, key);
    if (!value)
        return 0;
    struct secret *secret = secret_from_text(value, key, err);
    if (!secret)
        return -1;
    curl_easy_setopt(f->curl, option, secret_reveal(secret));
    secret_free(secret);
    return 0;
}

static void set_manners(struct ftp_store *f, long silence_s)
{
    CURL *c = f->curl;

    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "ftp,ftps");
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, store_connect_timeout(silence_s));
    curl_easy_setopt(c, CURLOPT_SERVER_RESPONSE_TIMEOUT, silence_s);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, (long)STORE_LOW_SPEED);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, silence_s);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    /* The address in the answer to PASV is often one of an internal network. */
    curl_easy_setopt(c, CURLOPT_FTP_SKIP_PASV_IP, 1L);
    curl_easy_setopt(c, CURLOPT_BUFFERSIZE, (long)RECEIVE_BYTES);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, f->detail);
}

static void ftp_close(void *handle)
{
    struct ftp_store *f = handle;
    curl_easy_cleanup(f->curl);
    free(f->base);
    free(f);
}

static void *ftp_open(const json_t *location, char **ret_label, struct err *err)
{
    const char *url = store_location_text(location, "url");
    if (!url) {
        err_set(err, ERR_USAGE, "a backup location on an FTP server needs its 'url'");
        return NULL;
    }
    struct ftp_store *f = xcalloc(1, sizeof(*f));
    long silence_s;
    f->curl = curl_easy_init();
    if (!f->curl) {
        free(f);
        err_set(err, ERR_FAILED, "cannot start libcurl");
        return NULL;
    }
    if (set_address(f, url, err) < 0 ||
        set_secret(f, CURLOPT_USERNAME, location, "user", err) < 0 ||
        set_secret(f, CURLOPT_PASSWORD, location, "password", err) < 0 ||
        http_set_trust(f->curl, location, err) < 0 ||
        store_location_timeout(location, &silence_s, err) < 0) {
        ftp_close(f);
        return NULL;
    }
    set_manners(f, silence_s);
    *ret_label = xstrdup(f->base);
    return f;
}

/* A location without a login gets an anonymous one. */
static void ftp_logins(const json_t *location, json_t *logins)
{
    const char *url = store_location_text(location, "url");
    struct err unknown = ERR_INIT;
    struct address a;

    if (!url || address_parse(url, NULL, &a, &unknown) < 0)
        return;
    if (a.password || json_object_get(location, "password"))
        store_logins_add(logins, url, true);
    address_release(&a);
}

static const char *const ftp_endpoints[] = {"url", NULL};
static const char *const ftp_kinds[] = {"ftp", "ftps", "ftpes", NULL};

const struct store_driver store_ftp_driver = {
    .kinds = ftp_kinds,
    .open = ftp_open,
    .close = ftp_close,
    .list = ftp_list,
    .read = ftp_read,
    .write_begin = ftp_write_begin,
    .write_part = ftp_write_part,
    .write_commit = ftp_write_commit,
    .write_end = ftp_write_end,
    .remove = ftp_remove,
    .part_bytes = PART_BYTES,
    .endpoints = ftp_endpoints,
    .resolve = netrc_resolve,
    .logins = ftp_logins,
};
