#ifndef CCS_OBJECT_H
#define CCS_OBJECT_H

/*
 * What a CCS file holds, word for word, before anybody asks what it means: a list of keys, each
 * with its kind and its items, in the file's order.
 *
 *     struct objects all;
 *     objects_init(&all);
 *     … reader: objects_add(), object_add_item() …
 *     objects_index(&all);                        // sorted by key; from here on nothing is added
 *     const struct object *o = objects_find(&all, "bdb", "1");
 *     const char *name = object_text(o, "name");
 *     objects_release(&all);
 *
 * A CCS file is small: one with more than these limits allow is something else (a database's backup
 * given by mistake, a bomb) and fails early with ERR_LIMIT. A cluster of 20,000 shards and 1,000
 * databases stays below a fifth of OBJECTS_KEYS_MAX and a half of the others. A file at all three
 * limits takes about 700 MB until it is in the state file and shown.
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
    OBJECTS_VALUES_MAX = 2000000, /* fields, members, and what lists within a value may hold */
    OBJECTS_BYTES_MAX = 64 << 20, /* keys, fields and values as they stand in the file */
};

/* One string, list item, set or sorted-set member (in value), or hash field. */
struct object_item {
    struct rdb_bytes field, value; /* with a NUL behind; data is NULL where there is none */
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
    const uint32_t *by_name; /* indexed: a large hash's items, sorted by field; else NULL */
    const char *text;        /* the key, or NULL if it isn't UTF-8 without NUL */
};

struct objects {
    struct arena arena;
    struct object *list;
    size_t count, alloc;
    size_t bytes, values;
    int64_t saved_ms;   /* aux ctime; -1: not known */
    const char *format; /* "rdb", "json", "nodes.json" */
};

void objects_init(struct objects *all);
void objects_release(struct objects *all);

/* Copies the key. *ret is good until the next objects_add(). */
int objects_add(struct objects *all, const struct object *what, struct object **ret,
    struct err *err) MUST_CHECK;
/* Copies field and value. */
int object_add_item(struct objects *all, struct object *o, const struct object_item *item,
    struct err *err) MUST_CHECK;

void objects_index(struct objects *all);

/* The first object with the key "type:uid" ("type" if uid is NULL); NULL if there is none. */
const struct object *objects_find(const struct objects *all, const char *type, const char *uid);

/*
 * The next hash "type:uid", in the order of keys; *ret_uid points behind the colon. Keys that stand
 * for something else ("node:all", "bdb:1:x", wrong kinds, second copies) are left out.
 *
 *     for (size_t at = 0; (o = objects_next(all, "node", &at, &uid));)
 */
const struct object *objects_next(
    const struct objects *all, const char *type, size_t *at, const char **ret_uid);

/* Whether the key is "type:uid" as objects_next() takes it, the kind aside. */
bool object_is(const struct object *o, const char *type, const char **ret_uid);

/* Whether the object before this one has the same key. */
bool object_is_repeated(const struct objects *all, const struct object *o);

/* The item of a hash; the first, where hostile files have several. NULL: none, or no hash. */
const struct object_item *object_field(const struct object *o, const char *field, size_t len);

/* A hash's field as text. NULL if it is missing, empty or not text: all mean the default. */
const char *object_text(const struct object *o, const char *field);

/* Whether the bytes are UTF-8 without NUL. */
bool bytes_are_text(struct rdb_bytes bytes);

#endif
