#include "object.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

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
    /* jansson takes UTF-8 without NUL only. */
    json_t *probe = memchr(bytes.data, 0, bytes.len) ? NULL : json_stringn(bytes.data, bytes.len);
    bool text = probe != NULL;
    json_decref(probe);
    return text;
}

static int count_bytes(struct objects *all, size_t more, struct err *err)
{
    if (more > OBJECTS_BYTES_MAX || all->bytes + more > OBJECTS_BYTES_MAX) {
        err_set(err, ERR_LIMIT, "it holds more than %d MB, too much for a CCS file",
            OBJECTS_BYTES_MAX >> 20);
        return err_hint(err, "A database's backup file? Then check it with `recluster verify`.");
    }
    all->bytes += more;
    return 0;
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
    if (count_bytes(all, sizeof(struct object) + what->key.len, err) < 0)
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
    if (count_bytes(all, sizeof(*item) + item->field.len + item->value.len, err) < 0)
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

void objects_index(struct objects *all)
{
    if (all->count)
        qsort(all->list, all->count, sizeof(*all->list), compare_objects);
}

/* Index of the first object whose key is not before `key`. */
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
    CLEANUP(free_ptr) char *text = uid ? xasprintf("%s:%s", type, uid) : xstrdup(type);
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

const struct object_item *object_field(const struct object *o, const char *field, size_t len)
{
    if (!o || o->kind != RDB_KIND_HASH)
        return NULL;
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
