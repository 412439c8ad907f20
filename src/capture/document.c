#include "document.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES_MAX = 64 << 20, KEY_BYTES_MAX = 64 << 10 };

void document_init(struct document *d)
{
    *d = (struct document){.count = 0};
    arena_init(&d->arena);
}

void document_release(struct document *d)
{
    for (size_t i = 0; i < d->count; i++) {
        free(d->hashes[i]->pairs);
        free(d->hashes[i]);
    }
    free(d->hashes);
    arena_release(&d->arena);
}

struct hash *document_add(struct document *d, const char *type, const char *uid)
{
    struct hash *h = xcalloc(1, sizeof(*h));

    h->type = arena_strdup(&d->arena, type);
    h->uid = arena_strdup(&d->arena, uid);
    GROW(d->hashes, d->count, d->alloc);
    d->hashes[d->count++] = h;
    return h;
}

static void add_pair(
    struct document *d, struct hash *h, struct rdb_bytes field, struct rdb_bytes value)
{
    GROW(h->pairs, h->count, h->alloc);
    h->pairs[h->count++] =
        (struct rdb_pair){{arena_memdup(&d->arena, field.data, field.len), field.len},
            {arena_memdup(&d->arena, value.data, value.len), value.len}};
}

static struct rdb_pair *find_pair(const struct hash *h, const char *field)
{
    size_t len = strlen(field);

    for (size_t i = 0; i < h->count; i++)
        if (h->pairs[i].field.len == len && memcmp(h->pairs[i].field.data, field, len) == 0)
            return &h->pairs[i];
    return NULL;
}

void hash_set(struct document *d, struct hash *h, const char *field, const char *value)
{
    struct rdb_pair *pair = find_pair(h, field);

    if (!value || !*value)
        return;
    struct rdb_bytes bytes = {value, strlen(value)};
    if (pair)
        pair->value = (struct rdb_bytes){arena_memdup(&d->arena, value, bytes.len), bytes.len};
    else
        add_pair(d, h, (struct rdb_bytes){field, strlen(field)}, bytes);
}

void hash_setf(struct document *d, struct hash *h, const char *field, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    AUTO_FREE char *value = xvasprintf(fmt, args);
    va_end(args);
    hash_set(d, h, field, value);
}

const char *hash_get(const struct hash *h, const char *field)
{
    const struct rdb_pair *pair = h ? find_pair(h, field) : NULL;
    return pair ? pair->value.data : NULL;
}

struct hash *document_find(
    const struct document *d, const char *type, const char *field, const char *value)
{
    for (size_t i = 0; i < d->count && value; i++) {
        const char *found =
            strcmp(d->hashes[i]->type, type) == 0 ? hash_get(d->hashes[i], field) : NULL;
        if (found && strcmp(found, value) == 0)
            return d->hashes[i];
    }
    return NULL;
}

struct hash *document_get(const struct document *d, const char *type, const char *uid)
{
    for (size_t i = 0; i < d->count; i++)
        if (strcmp(d->hashes[i]->type, type) == 0 &&
            (uid ? d->hashes[i]->uid && strcmp(d->hashes[i]->uid, uid) == 0 : !d->hashes[i]->uid))
            return d->hashes[i];
    return NULL;
}

static long long highest_uid(const struct document *d, const char *type)
{
    long long highest = 0;

    for (size_t i = 0; i < d->count; i++) {
        const struct hash *h = d->hashes[i];
        long long uid = h->uid && strcmp(h->type, type) == 0 ? atoll(h->uid) : 0;
        if (uid > highest && uid < INT64_MAX)
            highest = uid;
    }
    return highest;
}

const char *document_new_uid(struct document *d, const struct document *before, const char *type)
{
    long long a = highest_uid(d, type), b = highest_uid(before, type);
    return arena_printf(&d->arena, "%lld", (a > b ? a : b) + 1);
}

/* --- writing --- */

static void write_set(struct document *d, const char *type, struct buf *out)
{
    struct rdb_bytes *uids = xcalloc(d->count + 1, sizeof(*uids));
    AUTO_FREE char *key = xasprintf("%s:all", type);
    size_t count = 0;

    for (size_t i = 0; i < d->count; i++)
        if (d->hashes[i]->uid && strcmp(d->hashes[i]->type, type) == 0)
            uids[count++] = (struct rdb_bytes){d->hashes[i]->uid, strlen(d->hashes[i]->uid)};
    rdb_write_set(out, key, uids, count);
    free(uids);
}

void document_write(struct document *d, int64_t saved_ms, struct buf *out)
{
    AUTO_FREE char *ctime = xasprintf("%" PRId64, saved_ms / 1000);

    rdb_write_begin(out);
    rdb_write_aux(out, "ctime", ctime);
    for (size_t i = 0; i < d->count; i++) {
        const struct hash *h = d->hashes[i];
        AUTO_FREE char *key = h->uid ? xasprintf("%s:%s", h->type, h->uid) : xstrdup(h->type);
        bool first = h->uid != NULL;
        rdb_write_hash(out, key, h->pairs, h->count);
        for (size_t k = 0; k < i && first; k++)
            first = strcmp(d->hashes[k]->type, h->type) != 0;
        if (first)
            write_set(d, h->type, out);
    }
    rdb_write_end(out);
}

/* --- reading --- */

struct reading {
    struct document *document;
    struct hash *hash;
};

static int on_record(void *arg, const struct rdb_record *record, struct err *err)
{
    struct reading *r = arg;
    AUTO_FREE char *key = xstrndup(record->key.data, record->key.len);
    char *colon = strchr(key, ':');

    (void)err;
    if (record->kind != RDB_KIND_HASH || strlen(key) != record->key.len)
        return RDB_SKIP;
    if (colon)
        *colon++ = '\0';
    r->hash = document_add(r->document, key, colon);
    return RDB_DECODE;
}

static int on_element(
    void *arg, const struct rdb_record *record, const struct rdb_element *element, struct err *err)
{
    struct reading *r = arg;

    (void)record;
    (void)err;
    add_pair(r->document, r->hash, element->field, element->value);
    return 0;
}

int document_read(struct document *d, struct rdb_bytes file, struct err *err)
{
    static const struct rdb_events events = {.record = on_record, .element = on_element};
    static const struct rdb_limits limits = {
        .file_bytes = FILE_BYTES_MAX, .key_bytes = KEY_BYTES_MAX};
    struct reading reading = {.document = d};

    struct rdb_reader *reader = rdb_reader_new(&events, &reading, &limits);
    int rc = rdb_reader_feed(reader, file.data, file.len, err);
    if (rc == 0)
        rc = rdb_reader_end(reader, err);
    rdb_reader_free(reader);
    return rc;
}
