#include "cut_index.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "manifest.h"
#include "recluster/buf.h"
#include "recluster/capture.h"
#include "recluster/json.h"

enum { MINUTE_MS = 60 * 1000, INDEX_BYTES_MAX = 64 << 20 };

struct cut_index {
    struct store *store;
    char *uid, *name;
    bool sharded;
    json_t *cuts;   /* of the present minute, and of those before that could not be written */
    int64_t minute; /* since 1970; 0: none yet */
    bool is_old;    /* the object lacks some of them */
};

struct cut_index *cut_index_new(struct store *store, const struct ccs_database *db)
{
    struct cut_index *x = xmalloc(sizeof(*x));

    *x = (struct cut_index){.store = store,
        .uid = xstrdup(db->uid),
        .name = xstrdup(db->name),
        .sharded = db->sharded,
        .cuts = json_array()};
    return x;
}

void cut_index_free(struct cut_index *x)
{
    json_decref(x->cuts);
    free(x->uid);
    free(x->name);
    free(x);
}

/* "cuts-1-20260131T1305Z.json". The caller frees it. */
static char *object_name(const struct cut_index *x)
{
    time_t t = (time_t)(x->minute * 60);
    char text[32], database[MANIFEST_WORD_MAX];
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(text, sizeof(text), "%Y%m%dT%H%M", &tm);
    manifest_word(x->uid, database);
    return xasprintf("cuts-%s-%sZ.json", database, text);
}

int cut_index_save(struct cut_index *x, struct err *err)
{
    CLEANUP(buf_release) struct buf file = BUF_INIT;

    if (!x->is_old)
        return 0;
    AUTO_FREE char *name = object_name(x);
    json_t *document = json_pack("{s:i, s:s, s:{s:s, s:s, s:b}, s:O}", "recluster_cuts", 1,
        "made_by", "recluster " RECLUSTER_VERSION, "database", "uid", x->uid, "name", x->name,
        "sharded", x->sharded, "cuts", x->cuts);
    AUTO_FREE char *text = json_dumps(document, JSON_COMPACT);
    json_decref(document);
    buf_addf(&file, "%s\n", text);
    if (capture_put(x->store, name, &file, err) < 0)
        return err_wrap(err, "the index of moments");
    x->is_old = false;
    return 0;
}

static int add_text(void *arg, const void *data, size_t len, struct err *err)
{
    return buf_add_limited(arg, data, len, INDEX_BYTES_MAX, "the index", err);
}

/* What an earlier run has written of the present minute. */
static int take_written(struct cut_index *x, struct err *err)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    AUTO_FREE char *name = object_name(x);
    const struct store_range range = {name, 0, -1};

    if (store_read(x->store, &range, add_text, &text, NULL, err) < 0) {
        if (err->code != ERR_NOT_FOUND)
            return -1;
        *err = (struct err)ERR_INIT;
        return 0;
    }
    json_t *index = json_read(text.data, text.len, 0, name, err);
    json_t *cuts = json_object_get(index, "cuts");
    if (json_is_array(cuts))
        json_array_extend(x->cuts, cuts);
    json_decref(index);
    return index ? 0 : -1;
}

int cut_index_begin(struct cut_index *x, int64_t time_ms, bool *ret_first, struct err *err)
{
    int64_t minute = time_ms / MINUTE_MS;
    bool begun = x->minute != 0;

    if (minute != x->minute) {
        if (cut_index_save(x, err) == 0)
            json_array_clear(x->cuts);
        x->minute = minute;
        if (!begun && take_written(x, err) < 0) {
            x->minute = 0;
            return err_wrap(err, "the index of moments");
        }
    }
    *ret_first = !json_array_size(x->cuts);
    return 0;
}

void cut_index_append(struct cut_index *x, json_t *cut)
{
    json_array_append_new(x->cuts, cut);
    x->is_old = true;
}
