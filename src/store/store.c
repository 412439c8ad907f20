#include "recluster/store.h"
#include "recluster/json.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "handle.h"
#include "rate.h"
#include "recluster/clock.h"
#include "recluster/file.h"

/*
 * How often and how long a request is retried. Both start again after each PROGRESS_BYTES received:
 * so a long transfer over a bad line completes, and a peer that sends single bytes cannot hold us
 * forever.
 */
enum {
    TRIES = 5,
    FIRST_PAUSE_MS = 200,
    LONGEST_PAUSE_MS = 5000,
    GIVE_UP_MS = 120 * 1000,
    PROGRESS_BYTES = 1 << 20,
    NAME_BYTES_MAX = 255,
};

struct store *store_open(const json_t *location, struct err *err)
{
    const struct store_driver *driver = store_driver_of(location, err);
    if (!driver)
        return NULL;
    char *label;
    void *handle = driver->open(location, &label, err);
    if (!handle)
        return NULL;
    struct store *s = xmalloc(sizeof(*s));
    *s = (struct store){
        .driver = driver, .handle = handle, .label = label, .location = json_deep_copy(location)};
    store_set_decrypt_key(s, json_text(location, STORE_DECRYPT_KEY, NULL));
    return s;
}

struct store *store_open_again(const struct store *s, struct err *err)
{
    struct store *again = store_open(s->location, err);
    if (again)
        again->rate = s->rate;
    return again;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    s->driver->close(s->handle);
    store_set_decrypt_key(s, NULL);
    free(s->label);
    json_decref(s->location);
    free(s);
}

const char *store_label(const struct store *s)
{
    return s->label;
}

void store_set_decrypt_key(struct store *s, const char *text)
{
    if (s->decrypt_key)
        explicit_bzero(s->decrypt_key, strlen(s->decrypt_key));
    free(s->decrypt_key);
    s->decrypt_key = text ? xstrdup(text) : NULL;
}

const char *store_decrypt_key(const struct store *s)
{
    return s->decrypt_key;
}

void store_limit_rate(struct store *s, struct rate *rate)
{
    s->rate = rate;
}

void patience_renew(struct patience *p)
{
    *p = (struct patience){.since_ms = clock_mono_ms()};
}

int64_t store_retry_after_ms(const struct store *s)
{
    return s->driver->retry_after_ms ? s->driver->retry_after_ms(s->handle) : 0;
}

bool patience_left(struct patience *p, const struct store *s, struct err *err)
{
    int64_t asked_ms = store_retry_after_ms(s);
    int64_t now_ms = clock_mono_ms();

    if (!err_code_is_retried(err->code))
        return false;
    p->tries++;
    int64_t pause_ms = (int64_t)FIRST_PAUSE_MS << (p->tries - 1);
    if (pause_ms > LONGEST_PAUSE_MS)
        pause_ms = LONGEST_PAUSE_MS;
    if (asked_ms > pause_ms)
        pause_ms = asked_ms;
    if (p->tries >= TRIES || now_ms + pause_ms - p->since_ms > GIVE_UP_MS) {
        err_wrap(err, "gave up after %d tr%s", p->tries, p->tries == 1 ? "y" : "ies");
        if (asked_ms > 0)
            err_hint(err, "The server asks for a pause of %lld s: try again later.",
                (long long)(asked_ms + 999) / 1000);
        return false;
    }
    struct timespec pause = {.tv_sec = pause_ms / 1000, .tv_nsec = pause_ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
    return true;
}

static int by_entry_name(const void *name, const void *entry)
{
    return strcmp(name, ((const struct store_entry *)entry)->name);
}

const struct store_entry *store_list_find(const struct store_list *list, const char *name)
{
    return list->count
               ? bsearch(name, list->entries, list->count, sizeof(*list->entries), by_entry_name)
               : NULL;
}

void store_list_release(struct store_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->entries[i].name);
    free(list->entries);
    strv_free(list->folders, list->folder_count);
    *list = (struct store_list)STORE_LIST_INIT;
}

bool store_name_is_possible(const char *name, size_t len)
{
    bool dots = (len == 1 && name[0] == '.') || (len == 2 && memcmp(name, "..", 2) == 0);
    return len > 0 && len <= NAME_BYTES_MAX && !dots && !memchr(name, '/', len) &&
           !memchr(name, '\0', len);
}

void store_list_add(
    struct store_list *list, const char *name, size_t len, int64_t bytes, int64_t modified_ms)
{
    if (!store_name_is_possible(name, len))
        return;
    if (list->count == STORE_ENTRIES_MAX) {
        list->full = true;
        return;
    }
    json_t *text = json_stringn(name, len);
    json_decref(text);
    if (!text) {
        list->not_utf8++;
        return;
    }
    /* The capacity doubles when the count reaches a power of two. */
    if ((list->count & (list->count - 1)) == 0)
        list->entries =
            xreallocarray(list->entries, list->count ? 2 * list->count : 1, sizeof(*list->entries));
    list->entries[list->count++] = (struct store_entry){
        .name = xstrndup(name, len), .bytes = bytes, .modified_ms = modified_ms};
}

void store_list_add_folder(struct store_list *list, const char *name, size_t len)
{
    json_t *text = store_name_is_possible(name, len) ? json_stringn(name, len) : NULL;

    if (!text)
        return;
    json_decref(text);
    if (list->folder_count == STORE_ENTRIES_MAX) {
        list->full = true;
        return;
    }
    list->folders = xreallocarray(list->folders, list->folder_count + 1, sizeof(*list->folders));
    list->folders[list->folder_count++] = xstrndup(name, len);
}

int store_pages_next(
    struct store_pages *pages, const char *token, const char *label, struct err *err)
{
    bool again = pages->last && strcmp(pages->last, token) == 0;

    free(pages->last);
    pages->last = xstrdup(token);
    if (again)
        return err_set(err, ERR_PROTOCOL, "'%s' gives the same page of its list again", label);
    if (pages->list->full)
        return store_list_check(pages->list, label, err);
    if (++pages->count <= STORE_PAGES_MAX)
        return 0;
    return err_set(
        err, ERR_LIMIT, "the list of '%s' has more than %d pages", label, STORE_PAGES_MAX);
}

void store_pages_release(struct store_pages *pages)
{
    free(pages->last);
}

int store_list_check(const struct store_list *list, const char *label, struct err *err)
{
    if (!list->full)
        return 0;
    err_set(err, ERR_LIMIT, "'%s' has more than %d files", label, STORE_ENTRIES_MAX);
    return err_hint(err, "Keep the backups in a folder of their own.");
}

json_t *store_location_below(const json_t *location, const char *folder)
{
    static const char *const members[] = {"path", "sftp_url", "url"};
    const char *text = json_string_value(location), *member = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(members) && !text; i++) {
        member = members[i];
        text = json_text(location, member, NULL);
    }
    AUTO_FREE char *below = path_join(text ? text : "", folder);
    if (!member)
        return json_string(below);
    json_t *copy = json_deep_copy(location);
    json_object_set_new(copy, member, json_string(below));
    return copy;
}

/* By name; of equal names, the one with a known size comes first. */
static int by_name(const void *a, const void *b)
{
    const struct store_entry *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->bytes < y->bytes) - (x->bytes > y->bytes);
}

static void sort_and_deduplicate(struct store_list *list)
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
        if (s->driver->list(s->handle, &list, &failure) == 0 &&
            store_list_check(&list, s->label, &failure) == 0) {
            sort_and_deduplicate(&list);
            *ret = list;
            return 0;
        }
        store_list_release(&list);
        if (!patience_left(&patience, s, &failure)) {
            *err = failure;
            return -1;
        }
    }
}

/* One store_read() with all its retries. */
struct reading {
    const struct store *store;
    const char *name;
    store_sink sink;
    void *arg;
    struct store_object object; /* from the try that received the first byte */
    struct store_object *ret;
    int64_t start, end; /* end: after the last byte that is wanted; -1: all */
    int64_t at;         /* the next byte for the sink */
    int64_t skip;       /* bytes of this try that the sink already has */
    bool refused;       /* the sink returned -1 */
    bool enough;        /* all wanted bytes came, but the peer sends more */
};

bool store_object_is_same(const struct store_object *a, const struct store_object *b)
{
    bool sized = a->bytes >= 0 && b->bytes >= 0;
    return (!sized || a->bytes == b->bytes) && strcmp(a->validator, b->validator) == 0;
}

int store_changed_error(const struct store *s, const char *name, struct err *err)
{
    err_set(err, ERR_CHANGED, "'%s' in '%s' was changed while it was being read", name, s->label);
    return err_hint(err, "Wait until whatever writes there has ended, then try again.");
}

static int reading_begin(
    void *arg, const struct store_object *object, int64_t first_byte, struct err *err)
{
    struct reading *r = arg;

    if (r->at == r->start) {
        r->object = *object;
        if (r->ret)
            *r->ret = *object;
    } else if (!store_object_is_same(object, &r->object)) {
        return store_changed_error(r->store, r->name, err);
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
    if (r->store->rate)
        rate_take(r->store->rate, len);
    if (r->sink(r->arg, p, len, err) < 0) {
        r->refused = true;
        return -1;
    }
    return 0;
}

/* After an answer that ended without an error. */
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

/* One try. 0: complete, or the sink wants no more. */
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

static int check_name(const struct store *s, const char *name, struct err *err)
{
    if (store_name_is_possible(name, strlen(name)))
        return 0;
    return err_set(err, ERR_USAGE, "'%s' is not a possible file name in '%s'", name, s->label);
}

int store_read_once(struct store *s, const char *name, int64_t offset, int64_t length,
    const struct store_receiver *receiver, struct err *err)
{
    if (check_name(s, name, err) < 0)
        return -1;
    return s->driver->read(s->handle, name, offset, length, receiver, err);
}

int store_read(struct store *s, const struct store_range *range, store_sink sink, void *arg,
    struct store_object *ret, struct err *err)
{
    struct reading r = {
        .store = s,
        .name = range->name,
        .sink = sink,
        .arg = arg,
        .ret = ret,
        .start = range->offset,
        .at = range->offset,
        .end = range->length < 0 ? -1 : range->offset + range->length,
    };
    struct patience patience;
    int64_t renewed_at = range->offset;

    if (check_name(s, range->name, err) < 0)
        return -1;
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
        if (!r.refused && resumable && patience_left(&patience, s, &failure))
            continue;
        if (!resumable && err_code_is_retried(failure.code))
            err_wrap(&failure,
                "cannot continue at byte %lld: the store gives neither ETag nor date",
                (long long)r.at);
        *err = failure;
        return -1;
    }
}
