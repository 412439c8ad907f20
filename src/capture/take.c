#include <stdlib.h>
#include <string.h>

#include "recluster/capture.h"

enum { FILE_BYTES_MAX = 64 << 20 };

static int add_bytes(void *arg, const void *data, size_t len, struct err *err)
{
    return buf_add_limited(arg, data, len, FILE_BYTES_MAX, "the CCS file", err);
}

/* Only what the store says of the object is wanted. */
static int take_nothing(void *arg, const void *data, size_t len, struct err *err)
{
    (void)arg;
    (void)data;
    (void)len;
    return err_set(err, ERR_CANCELLED, "only the head is read");
}

static bool is_same(const struct store_object *a, const struct store_object *b)
{
    return a->bytes == b->bytes && a->modified_ms == b->modified_ms &&
           strcmp(a->validator, b->validator) == 0 && (*a->validator || a->modified_ms > 0);
}

static int take_ctime(void *arg, struct rdb_bytes key, struct rdb_bytes value, struct err *err)
{
    int64_t *saved_ms = arg;

    (void)err;
    if (key.len == strlen("ctime") && memcmp(key.data, "ctime", key.len) == 0) {
        AUTO_FREE char *text = xstrndup(value.data, value.len);
        long long seconds = atoll(text);
        *saved_ms = seconds > 0 && seconds < INT64_MAX / 1000 ? seconds * 1000 : 0;
    }
    return 0;
}

/* The whole file is read: a copy of one that is being written is damaged. */
int capture_check_file(const struct buf *file, int64_t *ret_saved_ms, struct err *err)
{
    static const struct rdb_events events = {.aux = take_ctime};
    static const struct rdb_limits limits = {.file_bytes = FILE_BYTES_MAX};

    *ret_saved_ms = 0;
    struct rdb_reader *r = rdb_reader_new(&events, ret_saved_ms, &limits);
    int rc = rdb_reader_feed(r, file->data, file->len, err);
    if (rc == 0)
        rc = rdb_reader_end(r, err);
    rdb_reader_free(r);
    return rc;
}

/* *ret_changed: `bytes` has what the file holds now. */
static int read_file(struct capture_file *f, struct buf *bytes, bool *ret_changed, struct err *err)
{
    const struct store_range whole = {f->name, 0, -1};
    struct store_object now = {.bytes = -1};

    *ret_changed = false;
    if (store_read(f->store, &whole, take_nothing, NULL, &now, err) < 0)
        return -1;
    if (f->saved_ms && is_same(&now, &f->object))
        return 0;
    if (store_read(f->store, &whole, add_bytes, bytes, &now, err) < 0 ||
        capture_check_file(bytes, &f->saved_ms, err) < 0)
        return -1;
    f->object = now;
    *ret_changed = true;
    return 0;
}

int capture_take(struct capture_file *files, size_t count, int64_t newer_than_ms, struct buf *ret,
    int64_t *ret_saved_ms, bool *ret_taken, struct err *err)
{
    size_t failed = 0;

    *ret_taken = false;
    for (size_t i = 0; i < count; i++) {
        CLEANUP(buf_release) struct buf bytes = BUF_INIT;
        bool changed;
        files[i].error = (struct err)ERR_INIT;
        if (read_file(&files[i], &bytes, &changed, &files[i].error) < 0) {
            err_wrap(&files[i].error, "'%s' of '%s'", files[i].name, store_label(files[i].store));
            *err = files[i].error;
            failed++;
        } else if (changed && files[i].saved_ms > newer_than_ms) {
            newer_than_ms = *ret_saved_ms = files[i].saved_ms;
            buf_release(ret);
            *ret = bytes;
            buf_init(&bytes);
            *ret_taken = true;
        }
    }
    return failed == count ? -1 : 0;
}
