/* A CCS file at a location. */

#include <string.h>

#include "recluster/capture.h"
#include "recluster/sealed.h"

enum { FILE_BYTES_MAX = 64 << 20 };

static int add_bytes(void *arg, const void *data, size_t len, struct err *err)
{
    return buf_add_limited(arg, data, len, FILE_BYTES_MAX, "the CCS file", err);
}

int capture_get(struct store *s, const char *key, struct buf *ret, struct err *err)
{
    const struct store_range range = {CAPTURE_FILE_NAME, 0, -1};
    CLEANUP(buf_release) struct buf file = BUF_INIT;

    if (store_read(s, &range, add_bytes, &file, NULL, err) == 0) {
        if (!sealed_is(file.data, file.len)) {
            buf_add(ret, file.data, file.len);
            return 0;
        }
        return sealed_open(key, &file, ret, err) < 0
                   ? err_wrap(err, "cannot read the CCS file that '%s' has now", store_label(s))
                   : 0;
    }
    if (err->code != ERR_NOT_FOUND)
        return err_wrap(err, "cannot read the CCS file that '%s' has now", store_label(s));
    *err = (struct err)ERR_INIT;
    return 0;
}

int capture_get_newest(struct store **stores, size_t count, const char *key, struct buf *ret,
    int64_t *ret_saved_ms, struct err *err)
{
    struct err failure = ERR_INIT;

    *ret_saved_ms = -1;
    for (size_t i = 0; i < count; i++) {
        CLEANUP(buf_release) struct buf file = BUF_INIT;
        int64_t saved_ms;
        if (capture_get(stores[i], key, &file, &failure) < 0 || !file.len)
            continue;
        if (capture_check_file(&file, &saved_ms, &failure) < 0) {
            err_wrap(&failure, "the CCS file that '%s' has now", store_label(stores[i]));
            continue;
        }
        if (saved_ms <= *ret_saved_ms)
            continue;
        *ret_saved_ms = saved_ms;
        buf_release(ret);
        *ret = file;
        buf_init(&file);
    }
    if (ret->len || failure.code == ERR_NONE)
        return 0;
    *err = failure;
    return -1;
}

static int write_file(struct store *s, const char *name, const struct buf *file, struct err *err)
{
    struct store_writer *w = store_write_begin(s, name, err);

    if (!w)
        return -1;
    if (store_write(w, file->data, file->len, err) < 0) {
        store_write_abort(w);
        return -1;
    }
    return store_write_commit(w, err);
}

int capture_has(
    struct store *s, const char *name, const struct buf *file, bool *ret, struct err *err)
{
    CLEANUP(buf_release) struct buf there = BUF_INIT;
    const struct store_range range = {name, 0, -1};

    if (store_read(s, &range, add_bytes, &there, NULL, err) < 0)
        return err_wrap(err, "cannot read '%s' from '%s'", name, store_label(s));
    *ret = there.len == file->len && memcmp(there.data, file->data, file->len) == 0;
    return 0;
}

int capture_put(struct store *s, const char *name, const struct buf *file, struct err *err)
{
    bool same;

    if (write_file(s, name, file, err) < 0)
        return err_wrap(err, "cannot write '%s' to '%s'", name, store_label(s));
    if (capture_has(s, name, file, &same, err) < 0)
        return -1;
    if (same)
        return 0;
    err_set(err, ERR_CORRUPT, "'%s' gives back other bytes of '%s' than were written",
        store_label(s), name);
    return err_hint(err, "Something else writes there too, or the location loses data. Give each "
                         "capture a location of its own.");
}
