#include "recluster/store.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "driver.h"
#include "recluster/clock.h"

/*
 * A request is tried this often, and no new try begins after GIVE_UP_MS; both count anew from each
 * PROGRESS_BYTES that came, so that a long transfer over a bad line arrives and a peer that drips
 * single bytes doesn't keep us for ever.
 */
enum {
    TRIES = 5,
    FIRST_PAUSE_MS = 200,
    LONGEST_PAUSE_MS = 5000,
    GIVE_UP_MS = 120 * 1000,
    PROGRESS_BYTES = 1 << 20,
    NAME_BYTES_MAX = 255,
};

struct store {
    const struct store_driver *driver;
    void *handle;
    char *label;
};

static const struct store_driver *const drivers[] = {&store_file_driver, &store_http_driver};

static const struct store_driver *driver_of_kind(const char *kind)
{
    for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
        for (const char *const *k = drivers[i]->kinds; *k; k++)
            if (strcmp(*k, kind) == 0)
                return drivers[i];
    return NULL;
}

const char *store_location_text(const json_t *location, const char *key)
{
    return json_string_value(json_is_string(location) ? location : json_object_get(location, key));
}

/* "https" for "https://…"; "file" for a text without a scheme. The caller frees it. */
static char *scheme_of(const char *text)
{
    const char *end = strstr(text, "://");
    if (!end || end == text)
        return xstrdup("file");
    char *scheme = xstrndup(text, (size_t)(end - text));
    for (char *p = scheme; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    return scheme;
}

static char *kind_of(const json_t *location)
{
    const char *type = json_string_value(json_object_get(location, "type"));
    if (type && strcmp(type, "url") != 0)
        return xstrdup(type);
    const char *url = store_location_text(location, "url");
    return url ? scheme_of(url) : NULL;
}

struct store *store_open(const json_t *location, struct err *err)
{
    CLEANUP(free_ptr) char *kind = kind_of(location);
    if (!kind) {
        err_set(err, ERR_USAGE, "a backup location must be a text, or an object with a type");
        err_hint(err, "Write \"/folder\", \"http://host/folder/\" or {\"type\": \"mount_point\", "
                      "\"path\": \"/folder\"}.");
        return NULL;
    }
    const struct store_driver *driver = driver_of_kind(kind);
    if (!driver) {
        err_set(err, ERR_UNSUPPORTED, "backup locations of the kind '%s' cannot be read", kind);
        err_hint(err, "Copy the files to a mounted folder or an HTTP server and name that with "
                      "--source db:N=URL.");
        return NULL;
    }
    char *label;
    void *handle = driver->open(location, &label, err);
    if (!handle)
        return NULL;
    struct store *s = xmalloc(sizeof(*s));
    *s = (struct store){.driver = driver, .handle = handle, .label = label};
    return s;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    s->driver->close(s->handle);
    free(s->label);
    free(s);
}

const char *store_label(const struct store *s)
{
    return s->label;
}

struct patience {
    int tries;
    int64_t since_ms;
};

static void patience_renew(struct patience *p)
{
    *p = (struct patience){.since_ms = clock_mono_ms()};
}

/* Counts a failed try. Pauses and returns true if another one makes sense, else err is final. */
static bool patience_left(struct patience *p, struct err *err)
{
    if (!err_code_is_retried(err->code))
        return false;
    p->tries++;
    if (p->tries >= TRIES || clock_mono_ms() - p->since_ms > GIVE_UP_MS) {
        err_wrap(err, "gave up after %d tries", p->tries);
        return false;
    }
    int64_t pause_ms = (int64_t)FIRST_PAUSE_MS << (p->tries - 1);
    if (pause_ms > LONGEST_PAUSE_MS)
        pause_ms = LONGEST_PAUSE_MS;
    struct timespec pause = {.tv_sec = pause_ms / 1000, .tv_nsec = pause_ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
    return true;
}

void store_list_release(struct store_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->entries[i].name);
    free(list->entries);
    *list = (struct store_list)STORE_LIST_INIT;
}

static bool name_is_possible(const char *name, size_t len)
{
    bool dots = (len == 1 && name[0] == '.') || (len == 2 && memcmp(name, "..", 2) == 0);
    return len > 0 && len <= NAME_BYTES_MAX && !dots && !memchr(name, '/', len) &&
           !memchr(name, '\0', len);
}

void store_list_add(
    struct store_list *list, const char *name, size_t len, int64_t bytes, int64_t modified_ms)
{
    if (!name_is_possible(name, len))
        return;
    /* Room is doubled whenever the count has reached a power of two. */
    if ((list->count & (list->count - 1)) == 0)
        list->entries =
            xreallocarray(list->entries, list->count ? 2 * list->count : 1, sizeof(*list->entries));
    list->entries[list->count++] = (struct store_entry){
        .name = xstrndup(name, len), .bytes = bytes, .modified_ms = modified_ms};
}

/* By name; of the same name, the one whose size is known comes first. */
static int by_name(const void *a, const void *b)
{
    const struct store_entry *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->bytes < y->bytes) - (x->bytes > y->bytes);
}

static void sort_and_drop_doubles(struct store_list *list)
{
    size_t kept = 0;

    if (list->count)
        qsort(list->entries, list->count, sizeof(*list->entries), by_name);
    for (size_t i = 0; i < list->count; i++) {
        if (kept && strcmp(list->entries[kept - 1].name, list->entries[i].name) == 0)
            free(list->entries[i].name);
        else
            list->entries[kept++] = list->entries[i];
    }
    list->count = kept;
}

int store_list(struct store *s, struct store_list *ret, struct err *err)
{
    struct patience patience;

    patience_renew(&patience);
    for (;;) {
        struct store_list list = STORE_LIST_INIT;
        struct err failure = ERR_INIT;
        if (s->driver->list(s->handle, &list, &failure) == 0) {
            sort_and_drop_doubles(&list);
            *ret = list;
            return 0;
        }
        store_list_release(&list);
        if (!patience_left(&patience, &failure)) {
            *err = failure;
            return -1;
        }
    }
}

/* One store_read() over all its tries. */
struct reading {
    const struct store *store;
    const char *name;
    store_sink sink;
    void *arg;
    struct store_object object; /* as the try that brought the first byte said */
    struct store_object *ret;
    int64_t start, end; /* end: behind the last byte that is wanted; -1: all */
    int64_t at;         /* the byte that the sink gets next */
    int64_t skip;       /* bytes that come in this try and that the sink had already */
    bool refused;       /* the sink returned -1 */
    bool enough;        /* all that was wanted has come, and more comes */
};

static bool same_object(const struct store_object *a, const struct store_object *b)
{
    bool sized = a->bytes >= 0 && b->bytes >= 0;
    return (!sized || a->bytes == b->bytes) && strcmp(a->validator, b->validator) == 0;
}

static int reading_begin(
    void *arg, const struct store_object *object, int64_t first_byte, struct err *err)
{
    struct reading *r = arg;

    if (r->at == r->start) {
        r->object = *object;
        if (r->ret)
            *r->ret = *object;
    } else if (!same_object(object, &r->object)) {
        err_set(err, ERR_CORRUPT, "'%s' in '%s' was changed while it was being read", r->name,
            r->store->label);
        return err_hint(err, "Wait until whatever writes there has ended, then try again.");
    }
    if (first_byte > r->at)
        return err_set(err, ERR_PROTOCOL,
            "'%s' in '%s': byte %lld was asked for, but the answer begins at byte %lld", r->name,
            r->store->label, (long long)r->at, (long long)first_byte);
    r->skip = r->at - first_byte;
    return 0;
}

static int reading_data(void *arg, const void *data, size_t len, struct err *err)
{
    struct reading *r = arg;
    const char *p = data;
    size_t skipped = (int64_t)len < r->skip ? len : (size_t)r->skip;

    r->skip -= (int64_t)skipped;
    p += skipped;
    len -= skipped;
    if (len && r->at == r->end) {
        r->enough = true;
        return err_set(err, ERR_CANCELLED, "enough was read");
    }
    if (r->end >= 0 && (int64_t)len > r->end - r->at)
        len = (size_t)(r->end - r->at);
    if (!len)
        return 0;
    r->at += (int64_t)len;
    if (r->sink(r->arg, p, len, err) < 0) {
        r->refused = true;
        return -1;
    }
    return 0;
}

/* After an answer that ended as if it were whole. */
static int check_length(const struct reading *r, struct err *err)
{
    int64_t end = r->object.bytes;

    if (r->end >= 0 && r->end < end)
        end = r->end;
    if (r->at < end && r->start < end)
        return err_set(err, ERR_CORRUPT, "'%s' in '%s' ends at byte %lld of %lld", r->name,
            r->store->label, (long long)r->at, (long long)r->object.bytes);
    return 0;
}

/* One try. 0: all is there, or the sink had enough. */
static int reading_try(struct reading *r, struct err *err)
{
    const struct store_receiver receiver = {reading_begin, reading_data, r};
    int64_t length = r->end < 0 ? -1 : r->end - r->at;

    if (r->store->driver->read(r->store->handle, r->name, r->at, length, &receiver, err) == 0)
        return check_length(r, err);
    if (r->enough || (r->refused && err->code == ERR_CANCELLED))
        return 0;
    return -1;
}

int store_read(struct store *s, const char *name, int64_t offset, int64_t length, store_sink sink,
    void *arg, struct store_object *ret, struct err *err)
{
    struct reading r = {.store = s, .name = name, .sink = sink, .arg = arg, .ret = ret};
    struct patience patience;
    int64_t renewed_at = offset;

    if (!name_is_possible(name, strlen(name)))
        return err_set(err, ERR_USAGE, "'%s' is no name of a file in '%s'", name, s->label);
    r.start = r.at = offset;
    r.end = length < 0 ? -1 : offset + length;
    patience_renew(&patience);
    for (;;) {
        struct err failure = ERR_INIT;
        if (reading_try(&r, &failure) == 0)
            return 0;
        if (r.at - renewed_at >= PROGRESS_BYTES) {
            renewed_at = r.at;
            patience_renew(&patience);
        }
        bool resumable = r.at == r.start || r.object.validator[0];
        if (!r.refused && resumable && patience_left(&patience, &failure))
            continue;
        if (!resumable && err_code_is_retried(failure.code))
            err_wrap(&failure, "cannot go on at byte %lld as the store gives neither ETag nor date",
                (long long)r.at);
        *err = failure;
        return -1;
    }
}
