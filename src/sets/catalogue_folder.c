#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue_draft.h"
#include "recluster/backup_name.h"
#include "recluster/json.h"
#include "recluster/pull.h"

/*
 * Sets without the vendor's names: a backup of `redis-cli --cluster backup`, or any folder of RDB
 * files. Only the heads of the files tell when they were made.
 */

enum { NODES_BYTES_MAX = 64 << 20 };

static bool ends_with(const char *text, const char *ending)
{
    size_t len = strlen(text), n = strlen(ending);
    return len >= n && strcmp(text + len - n, ending) == 0;
}

/* The time when a file was made: from its head, else from the store; -1: unknown. */
static int64_t time_of_file(const struct backup_file *file, int64_t modified_ms)
{
    const char *ctime = json_text(json_object_get(file->head, "aux"), "ctime", NULL);
    char *end = NULL;
    long long seconds = ctime ? strtoll(ctime, &end, 10) : 0;

    bool usable = seconds > 0 && seconds < INT64_MAX / 1000 && !*end;
    return usable ? seconds * 1000 : modified_ms;
}

/*
 * Reads the heads of all files. A file that is not a backup is a fault of the set. *ret_time_ms: of
 * the oldest file; -1: unknown.
 */
static int read_heads(
    struct catalogue_draft *draft, struct set_draft *set, int64_t *ret_time_ms, struct err *err)
{
    *ret_time_ms = -1;
    for (size_t i = 0; i < set->count; i++) {
        struct err failure = ERR_INIT;
        int64_t modified_ms = -1;
        if (catalogue_read_head(draft, &set->files[i], &modified_ms, &failure) < 0) {
            if (!catalogue_is_fault_of_file(failure.code)) {
                *err = failure;
                return -1;
            }
            set_draft_error(set, draft, &failure);
            continue;
        }
        int64_t time_ms = time_of_file(&set->files[i], modified_ms);
        if (time_ms >= 0 && (*ret_time_ms < 0 || time_ms < *ret_time_ms))
            *ret_time_ms = time_ms;
    }
    return 0;
}

/* --- redis-cli --cluster backup --- */

/* "redis-node-<host>-<port>-<node id>.rdb"; only the id is sure to be unique. */
static const struct store_entry *find_file_of_node(const struct store_list *list, const char *id)
{
    AUTO_FREE char *plain = xasprintf("-%s.rdb", id);
    AUTO_FREE char *zipped = xasprintf("-%s.rdb.gz", id);
    AUTO_FREE char *zstd = xasprintf("-%s.rdb.zst", id);

    for (size_t i = 0; i < list->count; i++)
        if (ends_with(list->entries[i].name, plain) || ends_with(list->entries[i].name, zipped) ||
            ends_with(list->entries[i].name, zstd))
            return &list->entries[i];
    return NULL;
}

static int take_nodes(void *arg, const void *data, size_t len, struct err *err)
{
    return buf_add_limited(arg, data, len, NODES_BYTES_MAX, "nodes.json", err);
}

/* "importing": {"10166": id of the node that the slot leaves}. */
static const struct slots *slots_importing(struct arena *arena, const json_t *node)
{
    json_t *importing = json_object_get(node, "importing"), *from;
    const char *slot;
    struct err ignored = ERR_INIT;
    struct slots slots;

    slots_clear(&slots);
    json_object_foreach (importing, slot, from)
        if (slots_parse(slot, &slots, &ignored) < 0)
            break;
    return slots_is_empty(&slots) ? NULL : arena_memdup(arena, &slots, sizeof(slots));
}

static int add_node(struct catalogue_draft *draft, struct set_draft *set, const json_t *node,
    struct slots *taken, struct err *err)
{
    const char *id = json_text(node, "name", NULL);
    const json_t *ranges = json_object_get(node, "slots");
    struct slots slots;

    slots_clear(&slots);
    if (!id || !*id || !json_is_array(ranges))
        return err_set(err, ERR_CORRUPT, "nodes.json has a node without name and slots");
    if (slots_from_json(ranges, &slots, err) < 0) {
        err->code = ERR_CORRUPT; /* redis-cli wrote it, not the user */
        return err_wrap(err, "nodes.json, node '%s'", id);
    }
    if (json_is_string(json_object_get(node, "replicate")) || slots_is_empty(&slots))
        return 0; /* a replica, or a primary without slots */
    const struct store_entry *entry = find_file_of_node(draft->list, id);
    if (!entry) {
        set_draft_fault(set, "the file of node '%s' is not there", id);
        return 0;
    }
    if (slots_overlap(taken, &slots))
        set_draft_fault(set, "node '%s' has slots that another node has too", id);
    slots_union(taken, &slots);
    struct backup_file *file = set_draft_add(set, draft, entry);
    file->shard_uid = arena_strdup(&draft->catalogue->arena, id);
    file->slots = slots;
    file->importing = slots_importing(&draft->catalogue->arena, node);
    return 0;
}

static int add_nodes(
    struct catalogue_draft *draft, struct set_draft *set, const struct buf *text, struct err *err)
{
    json_t *nodes = json_read(text->data, text->len, 0, "nodes.json", err);
    struct slots taken;
    size_t i;
    json_t *node;
    int rc = 0;

    slots_clear(&taken);
    if (!nodes)
        rc = -1;
    else if (!json_is_array(nodes))
        rc = err_set(err, ERR_CORRUPT, "nodes.json is not what redis-cli writes");
    else
        json_array_foreach (nodes, i, node)
            if (rc == 0)
                rc = add_node(draft, set, node, &taken, err);
    json_decref(nodes);
    return rc;
}

/* A database that is not sharded is in one file. */
static void expect_one_file(struct catalogue_draft *draft, struct set_draft *set)
{
    if (draft->query->sharded)
        return;
    for (size_t i = 0; i < set->count; i++)
        set->files[i].slots = *draft->query->slots;
    if (set->count < 2)
        return;
    set_draft_fault(set, "%zu RDB files are here, but the database is not sharded", set->count);
    if (!set->hint)
        set->hint = arena_printf(&draft->catalogue->arena,
            "They are '%s'%s '%s'%s: name a folder that holds only the right one.",
            set->files[0].name, set->count > 2 ? "," : " and", set->files[1].name,
            set->count > 2 ? ", ..." : "");
}

int catalogue_add_cluster_backup(struct catalogue_draft *draft, struct err *err)
{
    struct set_draft set = SET_DRAFT_INIT;
    struct buf text = BUF_INIT;
    struct err failure = ERR_INIT;
    int64_t time_ms = -1;

    if (!store_list_find(draft->list, "nodes.json"))
        return 0;
    int rc = store_read(draft->store, &(struct store_range){"nodes.json", 0, -1}, take_nodes, &text,
        NULL, &failure);
    if (rc == 0)
        rc = add_nodes(draft, &set, &text, &failure);
    buf_release(&text);
    if (rc < 0 && catalogue_is_fault_of_file(failure.code)) {
        set_draft_error(&set, draft, &failure);
        rc = 0;
    }
    if (rc == 0) {
        expect_one_file(draft, &set);
        rc = read_heads(draft, &set, &time_ms, &failure);
    }
    if (rc == 0) {
        set_draft_end(&set, draft, "nodes.json", time_ms);
        return 0;
    }
    set_draft_release(&set);
    *err = failure;
    return -1;
}

/* --- any folder --- */

/* Reads the whole file for the slots of its keys. */
static int scan_file(struct catalogue_draft *draft, struct set_draft *set, struct backup_file *file,
    struct slots *ret_slots, struct err *err)
{
    const struct pull_params params = {
        .store = draft->store, .name = file->name, .expected_bytes = -1};
    struct err failure = ERR_INIT;
    int rc = pull(&params, &file->facts, &failure);

    slots_clear(ret_slots);
    if (rc == 0) {
        file->scanned = true;
        const json_t *ranges = json_object_get(json_object_get(file->facts, "slots"), "ranges");
        return slots_from_json(ranges, ret_slots, err);
    }
    if (!catalogue_is_fault_of_file(failure.code)) {
        *err = failure;
        return -1;
    }
    set_draft_error(set, draft, &failure);
    return 0;
}

/* The shard that has all these slots; shard_count: none. */
static size_t shard_of_slots(const struct catalogue_query *query, const struct slots *slots)
{
    size_t i = 0;
    while (i < query->shard_count && !slots_contain(query->shards[i], slots))
        i++;
    return i;
}

static void give_file(struct catalogue_draft *draft, struct set_draft *set,
    struct backup_file *file, const struct slots *slots, const char **owners)
{
    size_t shard = shard_of_slots(draft->query, slots);

    if (shard == draft->query->shard_count && draft->query->resort) {
        slots_fill(&file->slots); /* narrowed when all others are known */
        return;
    }
    if (shard == draft->query->shard_count) {
        struct buf text = BUF_INIT;
        slots_format(slots, &text);
        if (text.len > 60)
            memcpy(text.data + 60, "...", sizeof("..."));
        set_draft_fault(
            set, "'%s' fits no shard: its keys are in the slots %s", file->name, text.data);
        if (!set->hint)
            set->hint =
                "If the server that saved it was not in a cluster, or in one with other "
                "shards, give the option --resort: each key then goes to the shard of its slot.";
        buf_release(&text);
        return;
    }
    if (owners[shard])
        set_draft_fault(
            set, "'%s' and '%s' hold keys of the same shard", owners[shard], file->name);
    owners[shard] = file->name;
    file->slots = *draft->query->shards[shard];
}

/* Gives files without keys to shards without a file. Surplus files are dropped. */
static void give_empty_files(
    const struct catalogue_query *query, struct set_draft *set, const char **owners)
{
    size_t kept = 0, shard = 0;

    for (size_t i = 0; i < set->count; i++) {
        struct backup_file *file = &set->files[i];
        bool empty =
            file->scanned && slots_is_empty(&file->slots) && json_int(file->facts, "keys", 0) == 0;
        while (empty && shard < query->shard_count && owners[shard])
            shard++;
        if (empty && shard == query->shard_count) {
            json_decref(file->head);
            json_decref(file->facts);
            continue;
        }
        if (empty) {
            owners[shard] = file->name;
            file->slots = *query->shards[shard];
        }
        set->files[kept++] = *file;
    }
    set->count = kept;
}

static bool fits_no_shard(const struct catalogue_query *query, const struct backup_file *file)
{
    return shard_of_slots(query, &file->slots) == query->shard_count;
}

/* A file of several shards serves the slots that no other file has. */
static void narrow_files(const struct catalogue_query *query, struct set_draft *set)
{
    struct slots rest = *query->slots;

    for (size_t i = 0; i < set->count; i++)
        if (!fits_no_shard(query, &set->files[i]))
            slots_subtract(&rest, &set->files[i].slots);
    for (size_t i = 0; i < set->count; i++)
        if (fits_no_shard(query, &set->files[i]))
            set->files[i].slots = rest;
}

static int scan_files(struct catalogue_draft *draft, struct set_draft *set, struct err *err)
{
    const char **owners = xcalloc(draft->query->shard_count + 1, sizeof(*owners));
    int rc = 0;

    for (size_t i = 0; i < set->count && rc == 0; i++) {
        struct slots slots;
        struct backup_file *file = &set->files[i];
        if (!file->head)
            continue; /* not an RDB file: already reported */
        rc = scan_file(draft, set, file, &slots, err);
        if (rc == 0 && !slots_is_empty(&slots))
            give_file(draft, set, file, &slots, owners);
    }
    if (rc == 0)
        give_empty_files(draft->query, set, owners);
    if (rc == 0 && draft->query->resort)
        narrow_files(draft->query, set);
    free(owners);
    return rc;
}

int catalogue_add_folder(struct catalogue_draft *draft, struct err *err)
{
    struct set_draft set = SET_DRAFT_INIT;
    struct backup_name vendors;
    int64_t time_ms = -1;

    for (size_t i = 0; i < draft->list->count; i++) {
        const struct store_entry *entry = &draft->list->entries[i];
        if (backup_name_is_unfinished(entry->name))
            set_draft_note(&set, draft,
                "'%s' is left out: a server leaves such a file when a save is killed", entry->name);
        else if (backup_name_is_rdb(entry->name) && !backup_name_parse(entry->name, &vendors) &&
                 !catalogue_is_claimed(draft, entry->name))
            set_draft_add(&set, draft, entry);
    }
    if (!set.count) {
        set_draft_release(&set);
        return 0;
    }
    expect_one_file(draft, &set);
    int rc = read_heads(draft, &set, &time_ms, err);
    if (rc == 0 && draft->query->sharded)
        rc = scan_files(draft, &set, err);
    if (rc < 0) {
        set_draft_release(&set);
        return -1;
    }
    set_draft_end(&set, draft, "folder", time_ms);
    return 0;
}
