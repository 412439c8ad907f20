#ifndef CCS_OBJECT_H
#define CCS_OBJECT_H

/*
 * The contents of a CCS file before they are interpreted: a list of keys, each with its kind and
 * its items, in the file's order.
 *
 *     struct objects all;
 *     objects_init(&all);
 *     … reader: objects_add(), object_add_item() …
 *     objects_index(&all);                        // sorts by key; nothing may be added after this
 *     const struct object *o = objects_find(&all, "bdb", "1");
 *     const char *name = object_text(o, "name");
 *     objects_release(&all);
 *
 * A CCS file is small. A larger one is something else (a database's backup given by mistake, a
 * bomb) and fails early with ERR_LIMIT. A cluster of 20,000 shards and 1,000 databases stays below
 * a fifth of OBJECTS_KEYS_MAX and half of the other limits. A file at all three limits takes about
 * 700 MB until it is in the state file and shown.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recluster/err.h"
#include "recluster/mem.h"
#include "recluster/rdb.h"

enum {
    OBJECTS_KEYS_MAX = 100000,
    OBJECTS_KEY_BYTES_MAX = 64 << 10,
    OBJECTS_VALUES_MAX = 2000000, /* fields, members, and the items of lists in a value */
    OBJECTS_BYTES_MAX = 64 << 20, /* keys, fields and values in the file */
};

/* One string, list item, set or sorted-set member (in value), or hash field. */
struct object_item {
    struct rdb_bytes field, value; /* followed by a NUL; data is NULL if there is none */
    double score;
    int64_t expires_ms; /* of the field; -1: never */
};

struct object {
    struct rdb_bytes key;
    int64_t db;
    enum rdb_kind kind;
    int64_t expires_ms; /* -1: never */
    struct object_item *items;
    size_t count, alloc;
    size_t position;         /* in the file */
    const uint32_t *by_name; /* indexed: the items of a large hash, sorted by field; else NULL */
    const char *text;        /* the key; NULL: not UTF-8 without NUL */
};

struct objects {
    struct arena arena;
    struct object *list;
    size_t count, alloc;
    size_t bytes, values;
    int64_t saved_ms;   /* aux ctime; -1: unknown */
    const char *format; /* "rdb", "json", "nodes.json" */
};

void objects_init(struct objects *all);
void objects_release(struct objects *all);

/* Copies the key. *ret is valid until the next objects_add(). */
int objects_add(struct objects *all, const struct object *what, struct object **ret,
    struct err *err) MUST_CHECK;
/* Copies field and value. */
int object_add_item(struct objects *all, struct object *o, const struct object_item *item,
    struct err *err) MUST_CHECK;

void objects_index(struct objects *all);

/* The first object with the key "type:uid" ("type" if uid is NULL); NULL: none. */
const struct object *objects_find(const struct objects *all, const char *type, const char *uid);

/*
 * The next hash "type:uid", in the order of keys; *ret_uid points after the colon. Skips keys with
 * another meaning ("node:all", "bdb:1:x", wrong kinds, duplicates).
 *
 *     for (size_t at = 0; (o = objects_next(all, "node", &at, &uid));)
 */
const struct object *objects_next(
    const struct objects *all, const char *type, size_t *at, const char **ret_uid);

/* Whether the key is "type:uid" as for objects_next(), of any kind. */
bool object_is(const struct object *o, const char *type, const char **ret_uid);

/* Whether the object before this one has the same key. */
bool object_is_repeated(const struct objects *all, const struct object *o);

/* The item of a hash; the first, if a hostile file has several. NULL: none, or not a hash. */
const struct object_item *object_field(const struct object *o, const char *field, size_t len);

/* The text of a hash's field. NULL: missing, empty or not text, which all mean the default. */
const char *object_text(const struct object *o, const char *field);

/* Whether the bytes are UTF-8 without NUL. */
bool bytes_are_text(struct rdb_bytes bytes);

#endif
