#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ccs_file.h"
#include "recluster/json.h"

/* The kind in a wrapper {"type": …, "value": …}; false: json is not a wrapper. */
static bool wrapper_kind(const json_t *json, enum rdb_kind *ret)
{
    const char *type = json_text(json, "type", NULL);

    if (!type || !json_object_get(json, "value"))
        return false;
    for (int kind = RDB_KIND_STRING; kind <= RDB_KIND_HASH; kind++) {
        if (strcmp(type, rdb_kind_name((enum rdb_kind)kind)) == 0) {
            *ret = (enum rdb_kind)kind;
            return true;
        }
    }
    return false;
}

/* [key, value], {"key": …, "value": …} or {"field": …, "value": …}. */
static bool split_pair(const json_t *pair, json_t **ret_key, json_t **ret_value)
{
    if (json_is_object(pair)) {
        json_t *key = json_object_get(pair, "key");
        *ret_key = key ? key : json_object_get(pair, "field");
        *ret_value = json_object_get(pair, "value");
    } else {
        *ret_key = json_array_get(pair, 0);
        *ret_value = json_array_size(pair) == 2 ? json_array_get(pair, 1) : NULL;
    }
    return json_is_string(*ret_key) && *ret_value;
}

static bool is_list_of_pairs(const json_t *json)
{
    json_t *key, *value;

    for (size_t i = 0; i < json_array_size(json); i++)
        if (!split_pair(json_array_get(json, i), &key, &value))
            return false;
    return json_array_size(json) > 0;
}

static struct rdb_bytes string_bytes(const json_t *string)
{
    return (struct rdb_bytes){json_string_value(string), json_string_length(string)};
}

/* A value as the string that a CCS would hold: lists and objects as compact JSON, null as "". */
static int add_value(
    struct objects *all, struct object *o, struct rdb_bytes field, json_t *value, struct err *err)
{
    enum rdb_kind kind;
    char *dumped = NULL;

    if (wrapper_kind(value, &kind))
        value = json_object_get(value, "value");
    struct rdb_bytes bytes = {NULL, 0};
    if (json_is_string(value)) {
        bytes = string_bytes(value);
    } else if (!json_is_null(value)) {
        dumped = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        bytes = (struct rdb_bytes){dumped, strlen(dumped)};
    }
    const struct object_item item = {.field = field, .value = bytes, .expires_ms = -1};
    int rc = object_add_item(all, o, &item, err);
    free(dumped);
    return rc;
}

static int add_items(struct objects *all, struct object *o, json_t *value, struct err *err)
{
    const bool hash = o->kind == RDB_KIND_HASH;
    json_t *item;
    const char *name;
    size_t i;

    if (json_is_array(value)) {
        json_array_foreach (value, i, item) {
            json_t *field = NULL, *member = item;
            if (hash && !split_pair(item, &field, &member))
                return err_set(err, ERR_CORRUPT, "a hash of its JSON is a list without pairs");
            if (add_value(all, o, hash ? string_bytes(field) : (struct rdb_bytes){NULL, 0}, member,
                    err) < 0)
                return -1;
        }
        return 0;
    }
    if (!hash || !json_is_object(value))
        return add_value(all, o, (struct rdb_bytes){hash ? "" : NULL, 0}, value, err);
    json_object_foreach (value, name, item) {
        if (add_value(all, o, (struct rdb_bytes){name, strlen(name)}, item, err) < 0)
            return -1;
    }
    return 0;
}

static int add_key(struct objects *all, struct rdb_bytes key, json_t *value, struct err *err)
{
    enum rdb_kind kind = json_is_object(value) || is_list_of_pairs(value) ? RDB_KIND_HASH
                         : json_is_array(value)                           ? RDB_KIND_SET
                                                                          : RDB_KIND_STRING;
    struct object *o;

    if (wrapper_kind(value, &kind))
        value = json_object_get(value, "value");
    const struct object what = {.key = key, .kind = kind, .expires_ms = -1};
    if (objects_add(all, &what, &o, err) < 0)
        return -1;
    return add_items(all, o, value, err);
}

static int add_document(struct objects *all, json_t *document, struct err *err)
{
    const char *key;
    json_t *value;

    json_object_foreach (document, key, value) {
        if (add_key(all, (struct rdb_bytes){key, strlen(key)}, value, err) < 0)
            return -1;
    }
    return 0;
}

static bool is_nodes_json(const json_t *document)
{
    const json_t *first = json_array_get(document, 0);

    return json_object_get(first, "name") && json_object_get(first, "host") &&
           json_object_get(first, "port") && json_object_get(first, "slots");
}

static int add_nodes(struct objects *all, const json_t *document, struct err *err)
{
    for (size_t i = 0; i < json_array_size(document); i++) {
        char key[40];
        int len = snprintf(key, sizeof(key), "nodes.json:%zu", i);
        if (add_key(all, (struct rdb_bytes){key, (size_t)len}, json_array_get(document, i), err) <
            0)
            return -1;
    }
    return 0;
}

int ccs_file_json(json_t *document, struct objects *all, struct err *err)
{
    all->format = "json";
    if (json_is_object(document))
        return add_document(all, document, err);
    if (is_nodes_json(document)) {
        all->format = "nodes.json";
        return add_nodes(all, document, err);
    }
    for (size_t i = 0; i < json_array_size(document); i++) {
        json_t *item = json_array_get(document, i), *key, *value;
        int rc = split_pair(item, &key, &value) ? add_key(all, string_bytes(key), value, err)
                                                : add_document(all, item, err);
        if (rc < 0)
            return -1;
    }
    return 0;
}
