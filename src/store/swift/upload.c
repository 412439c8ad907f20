#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/digest.h"
#include "recluster/json.h"
#include "swift.h"

/*
 * Uploads: an object of one part in one request. Other objects are uploaded as segments in a second
 * container, "CONTAINER_segments/PATH/MARK/NUMBER", with a manifest that names them (a static large
 * object). Removing such an object removes its segments too.
 */

struct swift_upload {
    struct swift_store *s;
    char *name;               /* of the object */
    char *segments_container; /* NULL: not needed yet */
    char *mark;
    size_t *segment_bytes;
    size_t count, alloc;
    bool done;
};

void *swift_write_begin(void *handle, const char *name, struct err *err)
{
    struct swift_upload *u = xcalloc(1, sizeof(*u));

    (void)err;
    u->s = handle;
    u->name = xstrdup(name);
    u->mark = random_hex(8);
    return u;
}

/* The caller frees it. */
static char *segment_path(const struct swift_upload *u, size_t number)
{
    return xasprintf("%s%s/%s/%08zu", u->s->cloud.prefix, u->name, u->mark, number);
}

/* An existing one is fine. */
static int make_segments_container(struct swift_upload *u, struct err *err)
{
    char *name = xasprintf("%s_segments", u->s->cloud.bucket);
    const struct cloud_request request = {.method = "PUT", .bucket = name, .body = ""};

    if (cloud_do(&u->s->cloud, &request, err) < 0) {
        free(name);
        return -1;
    }
    u->segments_container = name;
    return 0;
}

int swift_write_part(void *upload, const struct store_part *part, struct err *err)
{
    struct swift_upload *u = upload;
    AUTO_FREE char *path = segment_path(u, part->number);

    if (!u->segments_container && make_segments_container(u, err) < 0)
        return -1;
    if (part->number == u->count) {
        GROW(u->segment_bytes, u->count, u->alloc);
        u->count++; /* also if the answer is lost: the segment may exist and is then removed */
    }
    u->segment_bytes[part->number] = part->len;
    return cloud_do(&u->s->cloud,
        &(struct cloud_request){
            .method = "PUT",
            .bucket = u->segments_container,
            .name = path,
            .body = part->data,
            .body_len = part->len,
        },
        err);
}

static int put_manifest(struct swift_upload *u, struct err *err)
{
    json_t *manifest = json_array();

    for (size_t i = 0; i < u->count; i++) {
        AUTO_FREE char *path = segment_path(u, i);
        AUTO_FREE char *whole = xasprintf("/%s/%s", u->segments_container, path);
        json_array_append_new(manifest,
            json_pack("{s:s, s:I}", "path", whole, "size_bytes", (json_int_t)u->segment_bytes[i]));
    }
    AUTO_FREE char *body = json_dumps(manifest, JSON_COMPACT);
    json_decref(manifest);
    return cloud_do(&u->s->cloud,
        &(struct cloud_request){
            .method = "PUT",
            .name = u->name,
            .query = {{"multipart-manifest", "put"}},
            .body = body,
            .body_len = strlen(body),
        },
        err);
}

int swift_write_commit(void *upload, const struct store_part *last, struct err *err)
{
    struct swift_upload *u = upload;
    int rc;

    if (last->number == 0)
        rc = cloud_do(&u->s->cloud,
            &(struct cloud_request){
                .method = "PUT",
                .name = u->name,
                .body = last->len ? last->data : "",
                .body_len = last->len,
            },
            err);
    else if (last->len && swift_write_part(u, last, err) < 0)
        rc = -1;
    else
        rc = put_manifest(u, err);
    u->done = rc == 0;
    return rc;
}

void swift_write_end(void *upload)
{
    struct swift_upload *u = upload;

    for (size_t i = 0; i < u->count && !u->done; i++) {
        AUTO_FREE char *path = segment_path(u, i);
        const struct cloud_request request = {
            .method = "DELETE", .bucket = u->segments_container, .name = path};
        struct err nobody_to_tell = ERR_INIT;
        if (cloud_do(&u->s->cloud, &request, &nobody_to_tell) < 0 &&
            nobody_to_tell.code != ERR_NOT_FOUND)
            break; /* the store is gone: do not wait for it once more for each segment */
    }
    free(u->name);
    free(u->segments_container);
    free(u->mark);
    free(u->segment_bytes);
    free(u);
}

/* The answer to a bulk removal, whose status is always 200. */
static int check_removal(const char *what, const struct http_reply *reply, struct err *err)
{
    json_t *answer = json_read_quietly(reply->text.data, reply->text.len, 0);
    const char *status = json_text(answer, "Response Status", NULL);
    int rc = 0;

    if (!status || status[0] != '2')
        rc = err_set(err, ERR_FAILED, "the store could not remove '%s' with its segments: %.100s",
            what, status ? status : "no status");
    json_decref(answer);
    return rc;
}

int swift_remove(void *handle, const char *name, struct err *err)
{
    struct cloud *c = handle;
    struct http_reply reply = HTTP_REPLY_INIT;
    struct cloud_request request = {.method = "HEAD", .name = name};

    int rc = cloud_ask(c, &request, &reply, err);
    if (rc == 0) {
        const char *large = http_header(c->client, "X-Static-Large-Object");
        bool segments = large && strcasecmp(large, "true") == 0;
        request.method = "DELETE";
        if (segments) {
            cloud_query(&request, "multipart-manifest", "delete");
            request.header = "Accept: application/json";
        }
        rc = cloud_ask(c, &request, &reply, err);
        if (rc == 0 && segments)
            rc = check_removal(name, &reply, err);
    }
    http_reply_release(&reply);
    return rc;
}
