#include "recluster/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handle.h"
#include "ranges.h"
#include "recluster/digest.h"
#include "recluster/file.h"
#include "recluster/json.h"

enum { CHUNK_BYTES = 512 << 10, NOTE_BYTES_MAX = 16 << 10 };

struct run {
    const struct transfer *t;
    struct store_object *object;
    struct digest *digest;      /* NULL: not requested */
    int fd;                     /* of the kept bytes; -1: none */
    int64_t at;                 /* bytes that the sink has */
    struct store_object before; /* the object of the kept bytes */
    bool begun, in_ranges;
};

/* --- what is kept --- */

/* Changes with each boot; "" if unknown. */
static void read_boot_id(char ret[64])
{
    ssize_t n = -1;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        n = read(fd, ret, 63);
        close(fd);
    }
    ret[n > 0 ? n : 0] = '\0';
    ret[strcspn(ret, "\n")] = '\0';
}

static json_t *note_of(const struct transfer *t, const struct store_object *object)
{
    char boot_id[64];

    read_boot_id(boot_id);
    return json_pack("{s:s, s:s, s:s, s:I, s:s}", "label", store_label(t->store), "name", t->name,
        "validator", object->validator, "bytes", (json_int_t)object->bytes, "boot_id", boot_id);
}

static char *note_path(const char *keep_path)
{
    return xasprintf("%s.json", keep_path);
}

void transfer_forget(const char *keep_path)
{
    AUTO_FREE char *note = note_path(keep_path);

    unlink(note);
    unlink(keep_path);
}

/* Whether the kept bytes are the beginning of this very object. */
static bool note_holds(const struct transfer *t, const struct store_object *object)
{
    AUTO_FREE char *path = note_path(t->keep_path);
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    struct err unreadable = ERR_INIT;

    if (!object->validator[0] || !file_exists(path) ||
        file_read(path, NOTE_BYTES_MAX, &text, &unreadable) < 0)
        return false;
    json_t *kept = json_read_quietly(text.data, text.len, 0), *now = note_of(t, object);
    bool holds = kept && json_equal(kept, now) && *json_text(now, "boot_id", NULL);
    json_decref(kept);
    json_decref(now);
    return holds;
}

static int write_note(const struct transfer *t, const struct store_object *object, struct err *err)
{
    AUTO_FREE char *path = note_path(t->keep_path);
    json_t *note = note_of(t, object);
    char *text = json_dumps(note, JSON_COMPACT);
    int rc = file_write_atomic(path, text, strlen(text), 0600, err);

    free(text);
    json_decref(note);
    return rc;
}

/* --- the bytes --- */

static int pass(struct run *r, const void *data, size_t len, struct err *err)
{
    if (r->digest)
        digest_add(r->digest, data, len);
    return r->t->sink(r->t->arg, data, len, err);
}

/* The first bytes of the store: now the object is known. */
static int on_first_data(struct run *r, struct err *err)
{
    const struct transfer *t = r->t;

    r->begun = true;
    if (r->at > 0 && !store_object_is_same(&r->before, r->object))
        return store_changed_error(t->store, t->name, err);
    r->in_ranges = ranges_pay(t->store, r->object, r->at);
    if (!t->keep_path || r->fd >= 0)
        return 0;
    r->fd = open(t->keep_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (r->fd < 0)
        return err_sys(err, ERR_IO, "cannot create '%s'", t->keep_path);
    return r->object->validator[0] ? write_note(t, r->object, err) : 0;
}

static int on_data(void *arg, const void *data, size_t len, struct err *err)
{
    struct run *r = arg;

    if (!r->begun && on_first_data(r, err) < 0)
        return -1;
    if (r->fd < 0)
        r->at += (int64_t)len;
    else if (file_append(r->fd, &r->at, data, len, r->t->keep_path, err) < 0)
        return -1;
    return pass(r, data, len, err);
}

/* Reads until it is clear that several connections are better. */
static int on_single_data(void *arg, const void *data, size_t len, struct err *err)
{
    const struct run *r = arg;

    if (on_data(arg, data, len, err) < 0)
        return -1;
    return r->in_ranges ? err_set(err, ERR_CANCELLED, "the rest comes in ranges") : 0;
}

/* Reads the kept bytes from the disk. */
static int replay(struct run *r, struct err *err)
{
    AUTO_FREE char *chunk = xmalloc(CHUNK_BYTES);

    for (;;) {
        ssize_t n = read(r->fd, chunk, CHUNK_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, ERR_IO, "cannot read '%s'", r->t->keep_path);
        if (n == 0)
            return 0;
        r->at += n;
        if (pass(r, chunk, (size_t)n, err) < 0)
            return -1;
    }
}

static int ignore_data(void *arg, const void *data, size_t len, struct err *err)
{
    (void)arg, (void)data, (void)len, (void)err;
    return 0;
}

/* Replays the kept bytes, if they are the beginning of the store's object. */
static int take_kept(struct run *r, bool *ret_resumed, struct err *err)
{
    const struct transfer *t = r->t;
    struct stat st;

    if (!t->keep_path || stat(t->keep_path, &st) < 0)
        return 0;
    if (store_read(
            t->store, &(struct store_range){t->name, 0, 0}, ignore_data, NULL, r->object, err) < 0)
        return -1;
    bool longer = r->object->bytes >= 0 && st.st_size > r->object->bytes;
    if (!st.st_size || longer || !note_holds(t, r->object)) {
        transfer_forget(t->keep_path);
        return 0;
    }
    r->before = *r->object;
    r->fd = open(t->keep_path, O_RDWR | O_CLOEXEC);
    if (r->fd < 0)
        return err_sys(err, ERR_IO, "cannot open '%s'", t->keep_path);
    *ret_resumed = true;
    return replay(r, err);
}

static int run(struct run *r, bool *ret_resumed, struct err *err)
{
    const struct transfer *t = r->t;

    if (take_kept(r, ret_resumed, err) < 0)
        return -1;
    if (store_read(t->store, &(struct store_range){t->name, r->at, -1}, on_single_data, r,
            r->object, err) < 0)
        return -1;
    return r->in_ranges ? ranges_read(t->store, &(struct store_range){t->name, r->at, -1},
                              r->object, on_data, r, err)
                        : 0;
}

int transfer_run(
    const struct transfer *t, struct store_object *ret_object, bool *ret_resumed, struct err *err)
{
    struct run r = {.t = t, .object = ret_object, .fd = -1};
    char hex[DIGEST_HEX_MAX];

    *ret_resumed = false;
    if (t->sha256)
        r.digest = digest_new();
    int rc = run(&r, ret_resumed, err);
    if (r.fd >= 0)
        close(r.fd);
    if (rc < 0 || !t->sha256) {
        digest_free(r.digest);
        return rc;
    }
    digest_end(r.digest, hex);
    if (strcmp(hex, t->sha256) == 0)
        return 0;
    return err_set(err, ERR_CORRUPT,
        "'%s' in '%s' has the SHA-256 %s instead of %s, as its "
        "manifest says",
        t->name, store_label(t->store), hex, t->sha256);
}
