#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "fields.h"
#include "recluster/json.h"

static const char *const typed_prefixes[] = {"node", "bdb", "redis", "endpoint", "dmc", "user"};

static int compare_texts(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;

    return strcmp(*x, *y);
}

/* Ids to look up. */
struct ids {
    const char **list; /* sorted */
    size_t count;
};

static struct ids sort_ids(struct arena *arena, const char *const *list, size_t count)
{
    struct ids ids = {arena_alloc(arena, (count + 1) * sizeof(*list)), count};

    for (size_t i = 0; i < count; i++)
        ids.list[i] = list[i];
    qsort(ids.list, count, sizeof(*ids.list), compare_texts);
    return ids;
}

static bool has_id(const struct ids *ids, const char *uid)
{
    return bsearch(&uid, ids->list, ids->count, sizeof(*ids->list), compare_texts);
}

static void check_key(struct import *im, const struct object *o)
{
    for (size_t i = 0; i < ARRAY_SIZE(typed_prefixes); i++) {
        const char *type = typed_prefixes[i], *uid;
        size_t len = strlen(type);
        if (!o->text && o->key.len > len && memcmp(o->key.data, type, len) == 0 &&
            ((const char *)o->key.data)[len] == ':')
            finding_add(&im->findings, FINDING_UNREADABLE_KEY, NULL,
                "a key that begins with '%s:' is not text and is left out", type);
        else if (o->kind != RDB_KIND_HASH && object_is(o, type, &uid))
            finding_add(&im->findings, FINDING_UNREADABLE_KEY, json_pack("[s]", o->text),
                "'%s' is a %s, not a hash, and is left out", o->text, rdb_kind_name(o->kind));
    }
    if (o->text && object_is_repeated(im->objects, o))
        finding_add(&im->findings, FINDING_DUPLICATE_KEY, json_pack("[s]", o->text),
            "'%s' is there more than once; the first counts", o->text);
}

/* The members of `type:all`, kept as a set, a list or a string of ids. */
static struct ids members(struct import *im, const struct object *all)
{
    const char **list = arena_alloc(&im->arena, (all->count + 1) * sizeof(*list));
    size_t count = 0;

    for (size_t i = 0; i < all->count; i++)
        if (all->items[i].value.len && bytes_are_text(all->items[i].value))
            list[count++] = all->items[i].value.data;
    if (all->kind != RDB_KIND_STRING || count == 0)
        return sort_ids(&im->arena, list, count);
    const char *const *ids = value_list(&im->arena, list[0], VALUE_IDS, &count);
    return sort_ids(&im->arena, ids, count);
}

static void check_set(struct import *im, const char *type)
{
    const struct object *all = objects_find(im->objects, type, "all");
    const char *uid;

    if (!all || all->kind == RDB_KIND_HASH)
        return;
    const struct ids ids = members(im, all);
    for (size_t i = 0; i < ids.count; i++) {
        const struct object *o = objects_find(im->objects, type, ids.list[i]);
        if (!o || o->kind != RDB_KIND_HASH)
            finding_add(&im->findings, FINDING_SET_MISMATCH,
                finding_keys(type, "all", type, ids.list[i]),
                "'%s:all' names '%s', but there is no '%s:%s'", type, ids.list[i], type,
                ids.list[i]);
    }
    for (size_t at = 0; objects_next(im->objects, type, &at, &uid);)
        if (!has_id(&ids, uid))
            finding_add(&im->findings, FINDING_SET_MISMATCH, finding_keys(type, "all", type, uid),
                "'%s:%s' is there, but '%s:all' does not name it", type, uid, type);
}

/* From a database to its shards or endpoints. */
static void check_list(struct import *im, const struct reader *r, const char *uid,
    const char *fields, const char *type)
{
    size_t count;
    const char *const *list = read_list(r, fields, &count);

    for (size_t i = 0; i < count; i++) {
        const struct object *o = objects_find(im->objects, type, list[i]);
        const char *owner = object_text(o, "bdb_uid");
        if (!o)
            finding_add(&im->findings, FINDING_LINK_MISMATCH,
                finding_keys("bdb", uid, type, list[i]),
                "'bdb:%s' lists '%s:%s', which is not there", uid, type, list[i]);
        else if (owner && strcmp(owner, uid) != 0)
            finding_add(&im->findings, FINDING_LINK_MISMATCH,
                finding_keys("bdb", uid, type, list[i], "bdb", owner),
                "'bdb:%s' lists '%s:%s', which belongs to 'bdb:%s'", uid, type, list[i], owner);
    }
}

/* The links back. Without a list there is nothing to compare. */
static void check_listed(
    struct import *im, const struct ccs *ccs, const struct reader *r, const struct ccs_database *db)
{
    size_t count;
    const char *const *list = read_list(r, "redis_list|shard_list", &count);
    struct ids ids = sort_ids(r->arena, list, count);

    for (size_t i = 0; count && i < db->shard_count; i++) {
        const char *uid = ccs->shards[db->first_shard + i].uid;
        if (!has_id(&ids, uid))
            finding_add(&im->findings, FINDING_LINK_MISMATCH,
                finding_keys("redis", uid, "bdb", db->uid),
                "'redis:%s' belongs to 'bdb:%s', which does not list it", uid, db->uid);
    }
    list = read_list(r, "endpoint_list", &count);
    ids = sort_ids(r->arena, list, count);
    for (size_t i = 0; count && i < db->endpoint_count; i++) {
        const char *uid = ccs->endpoints[db->first_endpoint + i].uid;
        if (!has_id(&ids, uid))
            finding_add(&im->findings, FINDING_LINK_MISMATCH,
                finding_keys("endpoint", uid, "bdb", db->uid),
                "'endpoint:%s' belongs to 'bdb:%s', which does not list it", uid, db->uid);
    }
}

/* From nodes and endpoints to their proxies; older files have no proxies. */
static void check_proxies(struct import *im, const char *type, const char *field)
{
    const struct object *o;
    const char *uid;
    size_t at = 0;

    if (!objects_next(im->objects, "dmc", &at, &uid))
        return;
    for (at = 0; (o = objects_next(im->objects, type, &at, &uid));) {
        arena_clear(&im->scratch);
        const struct reader r = {&im->findings, &im->scratch, o};
        size_t count;
        const char *const *proxies = read_list(&r, field, &count);
        for (size_t i = 0; i < count; i++)
            if (!objects_find(im->objects, "dmc", proxies[i]))
                finding_add(&im->findings, FINDING_LINK_MISMATCH,
                    finding_keys(type, uid, "dmc", proxies[i]),
                    "'%s:%s' names proxy '%s', which is not there", type, uid, proxies[i]);
    }
}

static bool is_default_rules(struct import *im, const char *text)
{
    static const char *const rules[] = {".*\\{(?<tag>.*)\\}.*", "(?<tag>.*)"};
    const char *const *list;
    size_t count;

    if (*text == '[')
        list = value_list(&im->arena, text, VALUE_PARALLEL, &count);
    else if (!value_prefixed_list(&im->arena, text, &list, &count))
        return false;
    if (count != ARRAY_SIZE(rules))
        return count == 0;
    return strcmp(list[0], rules[0]) == 0 && strcmp(list[1], rules[1]) == 0;
}

static void check_settings(struct import *im, const struct reader *r, const struct ccs_database *db)
{
    struct findings *f = &im->findings;
    const char *rules = object_text(r->object, "shard_key_regex");
    const char *sharding = object_text(r->object, "sharding");
    size_t version = db->redis_version ? strlen(db->redis_version) : 0;
    bool on = true;

    const struct object_item *password =
        object_field(r->object, "authentication_redis_pass", strlen("authentication_redis_pass"));
    if (password && password->value.len && !db->password)
        finding_add(f, FINDING_PASSWORD_UNREADABLE, finding_keys("bdb", db->uid),
            "the password of '%s' can't be read: it gets a new one", db->label);
    if (db->sharded && sharding && value_bool(sharding, &on) && !on)
        finding_add(f, FINDING_NOT_SHARDED, finding_keys("bdb", db->uid),
            "sharding of '%s' is off, but it has several primaries: it is restored sharded",
            db->label);
    if (db->sharded && rules && !is_default_rules(im, rules))
        finding_add(f, FINDING_SHARD_KEY_RULES, finding_keys("bdb", db->uid),
            "'%s' places keys by rules of its own: keys may lie outside their slots", db->label);
    if ((version > 4 && strcmp(db->redis_version + version - 4, "-big") == 0) ||
        read_bool(r, "bigstore", false))
        finding_add(f, FINDING_FLASH, finding_keys("bdb", db->uid),
            "'%s' kept values on flash: all of it must fit into memory now", db->label);
    if (!read_bool(r, "default_user", true) && !db->users)
        finding_add(f, FINDING_DEFAULT_USER_OFF, finding_keys("bdb", db->uid),
            "'%s' had its default user off, and none of its named users is restored: its default "
            "user gets a new password",
            db->label);
}

/* What `capture` found when it wrote the file. */
static void check_capture(struct import *im)
{
    const char *text = object_text(objects_find(im->objects, "cluster", NULL), "capture_findings");
    json_t *list = text ? json_read_quietly(text, strlen(text), 0) : NULL, *finding;
    size_t i;

    json_array_foreach (list, i, finding) {
        bool empty = strcmp(json_text(finding, "code", ""), "node-without-slots") == 0;
        finding_add(&im->findings, empty ? FINDING_NODE_WITHOUT_SLOTS : FINDING_CAPTURE,
            json_pack("[s]", "cluster"), "when it was captured, %s",
            json_text(finding, "message", "?"));
    }
    json_decref(list);
}

void check_objects(struct import *im, const struct ccs *ccs)
{
    check_capture(im);
    for (size_t i = 0; i < im->objects->count; i++)
        check_key(im, &im->objects->list[i]);
    for (size_t i = 0; i < ARRAY_SIZE(typed_prefixes); i++)
        check_set(im, typed_prefixes[i]);
    for (size_t i = 0; i < ccs->database_count; i++) {
        const struct ccs_database *db = &ccs->databases[i];
        arena_clear(&im->scratch);
        const struct reader r = {
            &im->findings, &im->scratch, objects_find(im->objects, "bdb", db->uid)};
        if (!r.object)
            continue;
        check_list(im, &r, db->uid, "redis_list|shard_list", "redis");
        check_list(im, &r, db->uid, "endpoint_list", "endpoint");
        check_listed(im, ccs, &r, db);
        check_settings(im, &r, db);
    }
    check_proxies(im, "endpoint", "proxy_uids");
    check_proxies(im, "node", "dmc_uid");
}
