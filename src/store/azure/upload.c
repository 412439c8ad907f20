#include <stdlib.h>
#include <string.h>

#include "azure.h"
#include "recluster/base64.h"
#include "recluster/digest.h"

/*
 * Uploads: a blob of one part in one request, others as blocks, which become a blob when their list
 * is put. The store drops blocks without a list after a week.
 */

struct azure_upload {
    struct cloud *c;
    char *name;
    char *mark; /* separates our blocks from those of another upload of this name */
};

void *azure_write_begin(void *handle, const char *name, struct err *err)
{
    struct azure_upload *u = xcalloc(1, sizeof(*u));

    (void)err;
    u->c = handle;
    u->name = xstrdup(name);
    u->mark = random_hex(8);
    return u;
}

/* All block ids of a blob must have the same length. The caller frees it. */
static char *block_id(const struct azure_upload *u, size_t number)
{
    AUTO_FREE char *text = xasprintf("%s-%08zu", u->mark, number);
    return base64_encode(text, strlen(text));
}

int azure_write_part(void *upload, const struct store_part *part, struct err *err)
{
    struct azure_upload *u = upload;
    AUTO_FREE char *id = block_id(u, part->number);

    return cloud_do(u->c,
        &(struct cloud_request){
            .method = "PUT",
            .name = u->name,
            .query = {{"blockid", id}, {"comp", "block"}},
            .body = part->data,
            .body_len = part->len,
        },
        err);
}

static const char *tier_of(const struct azure_upload *u)
{
    return ((const struct azure_store *)u->c)->tier; /* must be first */
}

static int put_block_list(struct azure_upload *u, size_t count, struct err *err)
{
    struct buf body = BUF_INIT;

    buf_adds(&body, "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
    for (size_t i = 0; i < count; i++) {
        AUTO_FREE char *id = block_id(u, i);
        buf_addf(&body, "<Latest>%s</Latest>", id);
    }
    buf_adds(&body, "</BlockList>");
    int rc = cloud_do(u->c,
        &(struct cloud_request){
            .method = "PUT",
            .name = u->name,
            .query = {{"comp", "blocklist"}},
            .header = tier_of(u),
            .body = body.data,
            .body_len = body.len,
        },
        err);
    buf_release(&body);
    return rc;
}

int azure_write_commit(void *upload, const struct store_part *last, struct err *err)
{
    struct azure_upload *u = upload;
    const char *tier = tier_of(u);
    AUTO_FREE char *header =
        xasprintf("%s%sx-ms-blob-type:BlockBlob", tier ? tier : "", tier ? "\n" : "");

    if (last->number == 0)
        return cloud_do(u->c,
            &(struct cloud_request){
                .method = "PUT",
                .name = u->name,
                .header = header,
                .body = last->data,
                .body_len = last->len,
            },
            err);
    if (last->len && azure_write_part(u, last, err) < 0)
        return -1;
    return put_block_list(u, last->number + (last->len > 0), err);
}

void azure_write_end(void *upload)
{
    struct azure_upload *u = upload;

    free(u->name);
    free(u->mark);
    free(u);
}
