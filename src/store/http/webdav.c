#include "webdav.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../cloud/xml.h"
#include "recluster/file.h"

/* The request is for the file, or for the folder if name is NULL. */
static int send_request(struct http_folder *f, const char *name, const struct http_request *request,
    struct http_reply *reply, struct err *err)
{
    AUTO_FREE char *url = http_folder_address(f, name);
    AUTO_FREE char *what = xasprintf("%s%s", f->label, name ? name : "");
    struct http_request full = *request;

    full.url = url;
    full.what = what;
    return http_send(f->client, &full, reply, err);
}

/* --- list --- */

/* One element "response" of the answer, while it is read. */
struct listing {
    struct store_list *list;
    char *href;
    int64_t bytes, modified_ms;
    bool folder;
};

/* An address is a path or a whole URL, percent-encoded; its last part is the name. */
static void add_response(struct listing *l)
{
    const char *slash = l->href ? strrchr(l->href, '/') : NULL;
    const char *encoded = slash ? slash + 1 : l->href;
    int len = 0;

    if (!encoded || !*encoded || l->folder)
        return;
    char *name = curl_easy_unescape(NULL, encoded, (int)strcspn(encoded, "?#"), &len);
    if (name)
        store_list_add(l->list, name, (size_t)len, l->bytes, l->modified_ms);
    curl_free(name);
}

static void next_response(struct listing *l)
{
    free(l->href);
    *l = (struct listing){.list = l->list, .bytes = -1, .modified_ms = -1};
}

#define PROP "multistatus/response/propstat/prop/"

static void on_element(void *arg, const char *path, const char *text)
{
    struct listing *l = arg;

    if (strcmp(path, "multistatus/response/href") == 0) {
        free(l->href);
        l->href = xstrdup(text);
    } else if (strcmp(path, PROP "getcontentlength") == 0 && *text) {
        char *end;
        long long bytes = strtoll(text, &end, 10);
        l->bytes = *end || bytes < 0 ? -1 : bytes;
    } else if (strcmp(path, PROP "getlastmodified") == 0) {
        time_t t = curl_getdate(text, NULL);
        l->modified_ms = t < 0 ? -1 : (int64_t)t * 1000;
    } else if (strcmp(path, PROP "resourcetype/collection") == 0) {
        l->folder = true;
    } else if (strcmp(path, "multistatus/response") == 0) {
        add_response(l);
        next_response(l);
    }
}

int webdav_list(struct http_folder *f, struct store_list *list, struct err *err)
{
    static const char body[] = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"
                               "<propfind xmlns=\"DAV:\"><prop><resourcetype/><getcontentlength/>"
                               "<getlastmodified/></prop></propfind>\n";
    CLEANUP(http_free_headers) struct curl_slist *headers = NULL;
    struct http_reply reply = HTTP_REPLY_INIT;
    struct listing l = {.list = list};

    next_response(&l);
    http_add_header(&headers, "Depth: 1");
    http_add_header(&headers, "Content-Type: application/xml; charset=utf-8");
    int rc = send_request(f, NULL,
        &(struct http_request){
            .method = "PROPFIND", .headers = headers, .body = body, .body_len = strlen(body)},
        &reply, err);
    if (rc == 0 && reply.status != 207)
        rc = http_status_error(reply.status, f->label, err);
    if (rc == 0)
        rc = xml_walk(reply.text.data, reply.text.len, f->label, on_element, &l, err);
    free(l.href);
    http_reply_release(&reply);
    return rc;
}

/* --- write --- */

struct webdav_upload {
    struct http_folder *folder;
    char *name, *part_name;
    FILE *spool;
    bool sent;   /* part_name exists */
    bool moving; /* it may be moved already, with its answer lost */
};

void *webdav_write_begin(void *handle, const char *name, struct err *err)
{
    FILE *spool = tmpfile();

    if (!spool) {
        err_sys(err, ERR_IO, "cannot create a temporary file");
        return NULL;
    }
    struct webdav_upload *u = xcalloc(1, sizeof(*u));
    u->folder = handle;
    u->name = xstrdup(name);
    u->part_name = xasprintf("%s.part", name);
    u->spool = spool;
    return u;
}

int webdav_write_part(void *upload, const struct store_part *part, struct err *err)
{
    struct webdav_upload *u = upload;
    int fd = fileno(u->spool);

    if (lseek(fd, part->offset, SEEK_SET) < 0)
        return err_sys(err, ERR_IO, "cannot write a temporary file");
    return file_write_all(fd, part->data, part->len, "the temporary file", err);
}

/* Sends the spool under a name. */
static int put(struct webdav_upload *u, const char *name, size_t len, struct err *err)
{
    struct http_reply reply = HTTP_REPLY_INIT;
    CLEANUP(http_free_headers) struct curl_slist *headers = NULL;
    void *body = len ? mmap(NULL, len, PROT_READ, MAP_PRIVATE, fileno(u->spool), 0) : NULL;

    if (body == MAP_FAILED)
        return err_sys(err, ERR_IO, "cannot read a temporary file");
    http_add_header(&headers, "Content-Type: application/octet-stream");
    http_add_header(&headers, "Expect:");
    int rc = send_request(u->folder, name,
        &(struct http_request){
            .method = "PUT", .headers = headers, .body = len ? body : "", .body_len = len},
        &reply, err);
    if (rc == 0 && !http_status_is_fine(reply.status)) {
        AUTO_FREE char *what = xasprintf("%s%s", u->folder->label, name);
        bool refused = reply.status == 405 || reply.status == 501;
        rc = http_status_error(reply.status, what, err);
        if (refused) {
            err->code = ERR_UNSUPPORTED;
            err_hint(err, "The server must speak WebDAV to be written to.");
        }
    }
    if (body)
        munmap(body, len);
    http_reply_release(&reply);
    return rc;
}

static int move(struct webdav_upload *u, long *ret_status, struct err *err)
{
    struct http_reply reply = HTTP_REPLY_INIT;
    CLEANUP(http_free_headers) struct curl_slist *headers = NULL;
    AUTO_FREE char *to = http_folder_address(u->folder, u->name);

    to[strcspn(to, "?")] = '\0';
    http_add_header(&headers, "Destination: %s", to);
    http_add_header(&headers, "Overwrite: T");
    int rc = send_request(u->folder, u->part_name,
        &(struct http_request){.method = "MOVE", .headers = headers}, &reply, err);
    *ret_status = reply.status;
    http_reply_release(&reply);
    return rc;
}

/* Nothing to move, after an earlier move whose answer was lost. */
static int check_moved(struct webdav_upload *u, size_t len, struct err *err)
{
    struct http_reply reply = HTTP_REPLY_INIT;

    int rc =
        send_request(u->folder, u->name, &(struct http_request){.method = "HEAD"}, &reply, err);
    const char *length = rc == 0 ? http_header(u->folder->client, "Content-Length") : NULL;
    if (rc == 0 && (!http_status_is_fine(reply.status) || !length ||
                       strtoull(length, NULL, 10) != (unsigned long long)len))
        rc = err_set(err, ERR_FAILED, "the server lost the upload of '%s'", u->name);
    u->sent = rc < 0;
    http_reply_release(&reply);
    return rc;
}

int webdav_write_commit(void *upload, const struct store_part *last, struct err *err)
{
    struct webdav_upload *u = upload;
    size_t len = (size_t)last->offset + last->len;
    long status = 0;

    if (webdav_write_part(u, last, err) < 0)
        return -1;
    if (!u->sent && put(u, u->part_name, len, err) < 0)
        return -1;
    u->sent = true;
    bool moved = u->moving;
    u->moving = true;
    if (move(u, &status, err) < 0)
        return -1;
    if (status == 404 && moved)
        return check_moved(u, len, err);
    if (status == 405 || status == 501)
        return put(u, u->name, len, err);
    if (!http_status_is_fine(status))
        return http_status_error(status, u->name, err);
    u->sent = false;
    return 0;
}

int webdav_remove(void *handle, const char *name, struct err *err)
{
    struct http_folder *f = handle;
    struct http_reply reply = HTTP_REPLY_INIT;

    int rc = send_request(f, name, &(struct http_request){.method = "DELETE"}, &reply, err);
    if (rc == 0 && !http_status_is_fine(reply.status)) {
        AUTO_FREE char *what = xasprintf("%s%s", f->label, name);
        rc = http_status_error(reply.status, what, err);
    }
    http_reply_release(&reply);
    return rc;
}

void webdav_write_end(void *upload)
{
    struct webdav_upload *u = upload;
    struct err ignored = ERR_INIT;

    if (u->sent && webdav_remove(u->folder, u->part_name, &ignored) < 0)
        ignored.code = ERR_NONE; /* as far as possible */
    fclose(u->spool);
    free(u->name);
    free(u->part_name);
    free(u);
}
