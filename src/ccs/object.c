#include "object.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "value.h"

void objects_init(struct objects *all)
{
    *all = (struct objects){.saved_ms = -1};
    arena_init(&all->arena);
}

void objects_release(struct objects *all)
{
    for (size_t i = 0; i < all->count; i++)
        free(all->list[i].items);
    free(all->list);
    arena_release(&all->arena);
    objects_init(all);
}

bool bytes_are_text(struct rdb_bytes bytes)
{
    /* jansson accepts only UTF-8 without NUL. */
    json_t *probe = memchr(bytes.data, 0, bytes.len) ? NULL : json_stringn(bytes.data, bytes.len);
    bool text = probe != NULL;
    json_decref(probe);
    return text;
}

static int refuse_more(const char *than, const struct rdb_bytes key, struct err *err)
{
    enum { SHOWN = 64 };
    const bool shown = key.data && key.len <= SHOWN && bytes_are_text(key);

    err_set(err, ERR_LIMIT, "it holds more than %s, too much for a CCS file%s%.*s%s", than,
        shown ? ", at key '" : "", shown ? (int)key.len : 0, shown ? (const char *)key.data : "",
        shown ? "'" : "");
    return err_hint(err, "A database's backup file? Then check it with `recluster verify`.");
}

static int count_bytes(struct objects *all, size_t more, struct rdb_bytes key, struct err *err)
{
    AUTO_FREE char *most = NULL;

    if (more <= OBJECTS_BYTES_MAX && all->bytes + more <= OBJECTS_BYTES_MAX) {
        all->bytes += more;
        return 0;
    }
    most = xasprintf("%d MB", OBJECTS_BYTES_MAX >> 20);
    return refuse_more(most, key, err);
}

/* The number of items if the value is a list, which will be split: words, empty items, lists. */
static size_t values_in(struct rdb_bytes bytes)
{
    const char *text = bytes.data;
    size_t count = 1;
    char before = ',';

    for (size_t i = 0; i < bytes.len; before = text[i++]) {
        bool between = text[i] && strchr(VALUE_BETWEEN, text[i]);
        bool empty = text[i] == ',' && before == ',';
        bool begins = !between && strchr(VALUE_BETWEEN, before);
        count += text[i] == '[' || empty || begins;
    }
    return count;
}

static struct rdb_bytes copy(struct objects *all, struct rdb_bytes bytes)
{
    if (!bytes.data)
        return bytes;
    return (struct rdb_bytes){arena_memdup(&all->arena, bytes.data, bytes.len), bytes.len};
}

int objects_add(
    struct objects *all, const struct object *what, struct object **ret, struct err *err)
{
    AUTO_FREE char *most = NULL;

    if (all->count == OBJECTS_KEYS_MAX) {
        most = xasprintf("%d keys", OBJECTS_KEYS_MAX);
        return refuse_more(most, what->key, err);
    }
    if (what->key.len > OBJECTS_KEY_BYTES_MAX)
        return err_set(err, ERR_LIMIT, "it holds a key of %zu bytes; a CCS file's have at most %d",
            what->key.len, OBJECTS_KEY_BYTES_MAX);
    if (count_bytes(all, what->key.len, what->key, err) < 0)
        return -1;
    GROW(all->list, all->count, all->alloc);
    struct object *o = &all->list[all->count];
    *o = (struct object){
        .key = copy(all, what->key),
        .db = what->db,
        .kind = what->kind,
        .expires_ms = what->expires_ms,
        .position = all->count++,
    };
    if (bytes_are_text(o->key))
        o->text = o->key.data;
    *ret = o;
    return 0;
}

int object_add_item(
    struct objects *all, struct object *o, const struct object_item *item, struct err *err)
{
    AUTO_FREE char *most = NULL;

    all->values += values_in(item->value);
    if (all->values > OBJECTS_VALUES_MAX) {
        most = xasprintf("%d values", OBJECTS_VALUES_MAX);
        return refuse_more(most, o->key, err);
    }
    if (count_bytes(all, item->field.len + item->value.len, o->key, err) < 0)
        return -1;
    GROW(o->items, o->count, o->alloc);
    o->items[o->count++] = (struct object_item){
        .field = copy(all, item->field),
        .value = copy(all, item->value),
        .score = item->score,
        .expires_ms = item->expires_ms,
    };
    return 0;
}

static int compare_bytes(struct rdb_bytes a, struct rdb_bytes b)
{
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_objects(const void *a, const void *b)
{
    const struct object *x = a, *y = b;
    int order = compare_bytes(x->key, y->key);
    return order ? order : (x->position > y->position) - (x->position < y->position);
}

static int compare_fields(const void *a, const void *b, void *items)
{
    const uint32_t *x = a, *y = b;
    const struct object_item *all = items;
    int order = compare_bytes(all[*x].field, all[*y].field);
    return order ? order : (*x > *y) - (*x < *y);
}

static void index_fields(struct objects *all, struct object *o)
{
    enum { SEARCHED_THROUGH = 16 };

    if (o->kind != RDB_KIND_HASH || o->count <= SEARCHED_THROUGH)
        return;
    uint32_t *by_name = arena_alloc(&all->arena, o->count * sizeof(*by_name));
    for (size_t i = 0; i < o->count; i++)
        by_name[i] = (uint32_t)i;
    qsort_r(by_name, o->count, sizeof(*by_name), compare_fields, o->items);
    o->by_name = by_name;
}

void objects_index(struct objects *all)
{
    if (all->count)
        qsort(all->list, all->count, sizeof(*all->list), compare_objects);
    for (size_t i = 0; i < all->count; i++)
        index_fields(all, &all->list[i]);
}

/* The index of the first object whose key is not before `key`. */
static size_t lower_bound(const struct objects *all, struct rdb_bytes key)
{
    size_t low = 0, high = all->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (compare_bytes(all->list[mid].key, key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

const struct object *objects_find(const struct objects *all, const char *type, const char *uid)
{
    AUTO_FREE char *text = uid ? xasprintf("%s:%s", type, uid) : xstrdup(type);
    const struct rdb_bytes key = {text, strlen(text)};
    size_t at = lower_bound(all, key);

    if (at == all->count || compare_bytes(all->list[at].key, key) != 0)
        return NULL;
    return &all->list[at];
}

bool object_is(const struct object *o, const char *type, const char **ret_uid)
{
    size_t len = strlen(type);

    if (!o->text || strncmp(o->text, type, len) != 0 || o->text[len] != ':')
        return false;
    const char *uid = o->text + len + 1;
    const char *colon = strchr(uid, ':');
    bool two_parts = strcmp(type, "endpoint") == 0;
    if (!*uid || strcmp(uid, "all") == 0 || (colon && (!two_parts || strchr(colon + 1, ':'))))
        return false;
    *ret_uid = uid;
    return true;
}

bool object_is_repeated(const struct objects *all, const struct object *o)
{
    return o > all->list && compare_bytes(o[-1].key, o->key) == 0;
}

const struct object *objects_next(
    const struct objects *all, const char *type, size_t *at, const char **ret_uid)
{
    size_t len = strlen(type);

    if (*at == 0)
        *at = lower_bound(all, (struct rdb_bytes){type, len});
    for (; *at < all->count; (*at)++) {
        const struct object *o = &all->list[*at];
        if (o->key.len < len || memcmp(o->key.data, type, len) != 0)
            return NULL;
        if (o->kind == RDB_KIND_HASH && object_is(o, type, ret_uid) &&
            !object_is_repeated(all, o)) {
            (*at)++;
            return o;
        }
    }
    return NULL;
}

static const struct object_item *indexed_field(const struct object *o, struct rdb_bytes field)
{
    size_t low = 0, high = o->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (compare_bytes(o->items[o->by_name[mid]].field, field) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == o->count || compare_bytes(o->items[o->by_name[low]].field, field) != 0)
        return NULL;
    return &o->items[o->by_name[low]];
}

const struct object_item *object_field(const struct object *o, const char *field, size_t len)
{
    if (!o || o->kind != RDB_KIND_HASH)
        return NULL;
    if (o->by_name)
        return indexed_field(o, (struct rdb_bytes){field, len});
    for (size_t i = 0; i < o->count; i++)
        if (o->items[i].field.len == len && memcmp(o->items[i].field.data, field, len) == 0)
            return &o->items[i];
    return NULL;
}

const char *object_text(const struct object *o, const char *field)
{
    const struct object_item *item = object_field(o, field, strlen(field));

    return item && item->value.len && bytes_are_text(item->value) ? item->value.data : NULL;
}
