#include <stdlib.h>
#include <string.h>

#include "handle.h"
#include "recluster/mem.h"

/* Cuts bytes into parts. A full part is sent with the next byte; the last one at the commit. */

enum { DEFAULT_PART_BYTES = 1 << 20, GROWTHS = 4 };

struct store_writer {
    struct store *store;
    void *upload;
    char *name;
    struct store_part part; /* being filled: data is `bytes`, len is filled */
    char *bytes;
    size_t room; /* of this part */
    bool failed; /* the upload can only be aborted */
};

/*
 * Parts double after each quarter of the number that an object can have. So an object of unknown
 * length can be 15/4 times as large as with parts of the first size.
 */
static size_t room_of_part(const struct store_driver *driver, size_t number)
{
    size_t bytes = driver->part_bytes ? driver->part_bytes : DEFAULT_PART_BYTES;
    size_t growth = driver->parts_max ? number / (driver->parts_max / GROWTHS + 1) : 0;

    return bytes << growth;
}

struct store_writer *store_write_begin(struct store *s, const char *name, struct err *err)
{
    if (!store_name_is_possible(name, strlen(name))) {
        err_set(err, ERR_USAGE, "'%s' is not a possible file name in '%s'", name, s->label);
        return NULL;
    }
    if (!s->driver->write_begin) {
        err_set(err, ERR_UNSUPPORTED, "nothing can be written to '%s'", s->label);
        err_hint(err, "Locations of this kind can only be read.");
        return NULL;
    }
    void *upload = s->driver->write_begin(s->handle, name, err);
    if (!upload)
        return NULL;
    struct store_writer *w = xcalloc(1, sizeof(*w));
    w->store = s;
    w->upload = upload;
    w->name = xstrdup(name);
    w->room = room_of_part(s->driver, 0);
    w->bytes = xmalloc(w->room);
    return w;
}

static int send_part(struct store_writer *w,
    int (*send)(void *upload, const struct store_part *part, struct err *err), struct err *err)
{
    struct patience patience;
    const struct store_driver *driver = w->store->driver;

    w->part.data = w->bytes;
    if (driver->parts_max && w->part.number >= driver->parts_max) {
        w->failed = true;
        return err_set(err, ERR_LIMIT, "'%s' is too large for '%s'", w->name, w->store->label);
    }
    patience_renew(&patience);
    for (;;) {
        struct err failure = ERR_INIT;
        if (send(w->upload, &w->part, &failure) == 0)
            return 0;
        if (patience_left(&patience, w->store, &failure))
            continue;
        w->failed = true;
        *err = failure;
        return -1;
    }
}

static void begin_next_part(struct store_writer *w)
{
    w->part.number++;
    w->part.offset += (int64_t)w->part.len;
    w->part.len = 0;
    size_t room = room_of_part(w->store->driver, w->part.number);
    if (room == w->room)
        return;
    w->room = room;
    free(w->bytes);
    w->bytes = xmalloc(room);
}

int store_write(struct store_writer *w, const void *data, size_t len, struct err *err)
{
    const char *from = data;

    if (w->failed)
        return err_set(err, ERR_BUG, "the upload of '%s' has failed already", w->name);
    while (len) {
        if (w->part.len == w->room) {
            if (send_part(w, w->store->driver->write_part, err) < 0)
                return -1;
            begin_next_part(w);
        }
        size_t n = len < w->room - w->part.len ? len : w->room - w->part.len;
        memcpy(w->bytes + w->part.len, from, n);
        w->part.len += n;
        from += n;
        len -= n;
    }
    return 0;
}

void store_write_abort(struct store_writer *w)
{
    if (!w)
        return;
    w->store->driver->write_end(w->upload);
    free(w->name);
    free(w->bytes);
    free(w);
}

int store_write_commit(struct store_writer *w, struct err *err)
{
    int rc = w->failed ? err_set(err, ERR_BUG, "the upload of '%s' has failed already", w->name)
                       : send_part(w, w->store->driver->write_commit, err);
    store_write_abort(w); /* frees the upload in any case */
    return rc;
}

int store_remove(struct store *s, const char *name, struct err *err)
{
    struct patience patience;

    if (!store_name_is_possible(name, strlen(name)))
        return err_set(err, ERR_USAGE, "'%s' is not a possible file name in '%s'", name, s->label);
    if (!s->driver->remove) {
        err_set(err, ERR_UNSUPPORTED, "nothing can be removed from '%s'", s->label);
        return err_hint(err, "Locations of this kind can only be read.");
    }
    patience_renew(&patience);
    for (;;) {
        struct err failure = ERR_INIT;
        if (s->driver->remove(s->handle, name, &failure) == 0 || failure.code == ERR_NOT_FOUND)
            return 0;
        if (!patience_left(&patience, s, &failure)) {
            *err = failure;
            return -1;
        }
    }
}
