#include "recluster/disk_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/aof.h"
#include "recluster/buf.h"
#include "recluster/json.h"
#include "recluster/rdb_scan.h"
#include "recluster/store.h"

enum {
    HEAD_BYTES = 1024,
    MANIFEST_BYTES_MAX = 64 * 1024,
    NODES_CONF_BYTES_MAX = 16 << 20, /* a thousand nodes with all their slots */
    UID_BYTES_MAX = 64,
};

/* What a file name tells. */
struct disk_name {
    const char *kind;
    char uid[UID_BYTES_MAX];
    bool previous;
};

static bool ends_with(const char *text, size_t len, const char *ending)
{
    size_t n = strlen(ending);
    return len >= n && memcmp(text + len - n, ending, n) == 0;
}

static bool is_uid(const char *text, size_t len)
{
    return len && len < UID_BYTES_MAX &&
           strspn(text, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-") >= len;
}

static bool parse_name(const char *name, bool folder, struct disk_name *ret)
{
    static const struct {
        const char *prefix, *suffix, *kind;
        bool folder;
    } forms[] = {
        {"redis-", ".rdb", "rdb", false},
        {"appendonly-", ".aof", "aof", false},
        {"appendonly-", ".aof.dir", "aof-folder", true},
    };
    size_t len = strlen(name);

    ret->previous = ends_with(name, len, ".prev");
    if (ret->previous)
        len -= strlen(".prev");
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        size_t prefix = strlen(forms[i].prefix), suffix = strlen(forms[i].suffix);
        if (forms[i].folder != folder || len <= prefix + suffix ||
            strncmp(name, forms[i].prefix, prefix) != 0 || !ends_with(name, len, forms[i].suffix))
            continue;
        size_t uid = len - prefix - suffix;
        if (!is_uid(name + prefix, uid))
            continue;
        memcpy(ret->uid, name + prefix, uid);
        ret->uid[uid] = '\0';
        ret->kind = forms[i].kind;
        return true;
    }
    return false;
}

static const struct disk_names usual_names = {
    "dump.rdb", "appendonly.aof", "appendonlydir", "nodes.conf"};

/* The names that a plain server uses, in the folder of node `own`; "": of no cluster. */
static bool parse_plain_name(const char *name, bool folder, const struct disk_names *names,
    const char *own, struct disk_name *ret)
{
    const struct {
        const char *name, *kind;
        bool folder;
    } forms[] = {{names->snapshot, "rdb", false}, {names->aof, "aof", false},
        {names->aof_folder, "aof-folder", true}};

    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        if (forms[i].folder != folder || strcmp(name, forms[i].name) != 0)
            continue;
        *ret = (struct disk_name){.kind = forms[i].kind};
        memcpy(ret->uid, own, strlen(own) + 1);
        return true;
    }
    return false;
}

/* "ID ADDR:PORT@BUS myself,master ...": the node's own id; false: another node's line. */
static bool parse_own_line(const char *line, size_t len, char own[UID_BYTES_MAX])
{
    const char *end = line + len, *id_end = memchr(line, ' ', len);
    const char *flags = id_end ? memchr(id_end + 1, ' ', (size_t)(end - id_end - 1)) : NULL;
    const char *flags_end = flags ? memchr(flags + 1, ' ', (size_t)(end - flags - 1)) : NULL;
    size_t id = id_end ? (size_t)(id_end - line) : 0;

    if (!flags_end || !memmem(flags, (size_t)(flags_end - flags), "myself", 6) || !is_uid(line, id))
        return false;
    memcpy(own, line, id);
    own[id] = '\0';
    return true;
}

static json_t *new_facts(const char *name, const struct disk_name *parsed)
{
    return json_pack("{s:s, s:s, s:s, s:b}", "name", name, "kind", parsed->kind, "shard",
        parsed->uid, "previous", parsed->previous);
}

static void set_size(json_t *facts, int64_t bytes, int64_t time_ms)
{
    json_object_set_new(facts, "bytes", json_integer((json_int_t)bytes));
    json_object_set_new(facts, "time_ms", json_integer((json_int_t)time_ms));
}

static void set_error(json_t *facts, const struct err *err)
{
    json_object_set_new(facts, "error", json_string(err->message));
}

/* --- heads --- */

static int take_head(void *arg, const void *data, size_t len, struct err *err)
{
    struct buf *head = arg;

    (void)err;
    buf_add(head, data, len);
    return 0;
}

static bool is_snapshot(const struct buf *head)
{
    return head->len >= 5 &&
           (memcmp(head->data, "REDIS", 5) == 0 || memcmp(head->data, "VALKE", 5) == 0);
}

/* The head of an AOF's first file, or of a snapshot. */
static int read_head(
    struct store *s, const char *name, bool snapshot, json_t **ret, struct err *err)
{
    CLEANUP(buf_release) struct buf head = BUF_INIT;

    if (store_read(s, &(struct store_range){name, 0, HEAD_BYTES}, take_head, &head, NULL, err) < 0)
        return -1;
    if (snapshot || is_snapshot(&head))
        return rdb_scan_head(head.data, head.len, ret, err) < 0 ? err_wrap(err, "'%s'", name) : 0;
    if (head.len && head.data[0] != '*' && head.data[0] != '#')
        return err_set(err, ERR_CORRUPT, "'%s' does not begin as an append-only file does", name);
    *ret = json_object();
    return 0;
}

/* A snapshot contains its own time. */
static void take_own_time(json_t *facts, const json_t *head)
{
    const char *ctime = json_text(json_object_get(head, "aux"), "ctime", NULL);
    char *end = NULL;
    long long seconds = ctime ? strtoll(ctime, &end, 10) : 0;

    if (seconds > 0 && seconds < INT64_MAX / 1000 && !*end)
        json_object_set_new(facts, "time_ms", json_integer((json_int_t)seconds * 1000));
}

static void look_at_file(struct store *s, const struct store_entry *entry, json_t *facts)
{
    bool snapshot = strcmp(json_text(facts, "kind", NULL), "rdb") == 0;
    struct err bad = ERR_INIT;
    json_t *head = NULL;

    set_size(facts, entry->bytes, entry->modified_ms);
    if (entry->bytes == 0)
        err_set(&bad, ERR_CORRUPT, "'%s' is empty", entry->name);
    else if (read_head(s, entry->name, snapshot, &head, &bad) == 0)
        json_object_set_new(facts, "head", head);
    if (bad.code)
        set_error(facts, &bad);
    else if (snapshot)
        take_own_time(facts, head);
}

/* --- AOF folders --- */

static const struct store_entry *find_entry(const struct store_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->entries[i].name, name) == 0)
            return &list->entries[i];
    return NULL;
}

static int take_manifest(void *arg, const void *data, size_t len, struct err *err)
{
    return buf_add_limited(arg, data, len, MANIFEST_BYTES_MAX, "the manifest", err);
}

static int read_manifest(
    struct store *s, const struct store_list *list, struct aof_manifest *ret, struct err *err)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    const char *name = NULL;

    for (size_t i = 0; i < list->count; i++) {
        static const char unfinished[] =
            "temp-"; /* a server died while it replaced the other one */
        const char *other = list->entries[i].name;
        if (!ends_with(other, strlen(other), ".manifest") ||
            strncmp(other, unfinished, sizeof(unfinished) - 1) == 0)
            continue;
        if (name)
            return err_set(err, ERR_CORRUPT, "it has two manifests, '%s' and '%s'", name, other);
        name = other;
    }
    if (!name)
        return err_set(err, ERR_CORRUPT, "it has no manifest");
    if (store_read(s, &(struct store_range){name, 0, -1}, take_manifest, &text, NULL, err) < 0)
        return -1;
    return aof_manifest_parse(text.data, text.len, ret, err) < 0 ? err_wrap(err, "'%s'", name) : 0;
}

/* Size and time cover all parts. */
static int add_parts(const struct store_list *list, const struct aof_manifest *manifest,
    json_t *facts, struct err *err)
{
    json_t *parts = json_array();
    int64_t bytes = 0, time_ms = -1;

    json_object_set_new(facts, "parts", parts);
    for (size_t i = 0; i < manifest->count; i++) {
        const struct store_entry *entry = find_entry(list, manifest->names[i]);
        if (!entry)
            return err_set(err, ERR_CORRUPT, "'%s' of its manifest is missing", manifest->names[i]);
        json_array_append_new(
            parts, json_pack("{s:s, s:I}", "name", entry->name, "bytes", (json_int_t)entry->bytes));
        bytes += entry->bytes > 0 ? entry->bytes : 0;
        if (entry->modified_ms > time_ms)
            time_ms = entry->modified_ms;
    }
    set_size(facts, bytes, time_ms);
    return bytes > 0 ? 0 : err_set(err, ERR_CORRUPT, "all its files are empty");
}

static int look_into(struct store *s, json_t *facts, struct err *err)
{
    struct store_list list = STORE_LIST_INIT;
    struct aof_manifest manifest = {.names = NULL};
    json_t *head = NULL;

    int rc = store_list(s, &list, err);
    if (rc == 0)
        rc = read_manifest(s, &list, &manifest, err);
    if (rc == 0)
        rc = add_parts(&list, &manifest, facts, err);
    if (rc == 0)
        rc = read_head(s, manifest.names[0], false, &head, err);
    if (rc == 0)
        json_object_set_new(facts, "head", head);
    aof_manifest_release(&manifest);
    store_list_release(&list);
    return rc;
}

static void look_at_folder(const json_t *folder, const char *name, json_t *facts)
{
    json_t *below = store_location_below(folder, name);
    struct err bad = ERR_INIT;
    struct store *s = store_open(below, &bad);

    set_size(facts, -1, -1);
    if (!s || look_into(s, facts, &bad) < 0) {
        err_wrap(&bad, "'%s'", name);
        set_error(facts, &bad);
    }
    store_close(s);
    json_decref(below);
}

static int take_conf(void *arg, const void *data, size_t len, struct err *err)
{
    return buf_add_limited(arg, data, len, NODES_CONF_BYTES_MAX, "nodes.conf", err);
}

/* The id of the node that the folder belongs to; "": none. */
static int find_own(struct store *s, const struct store_list *list, const char *name,
    char own[UID_BYTES_MAX], struct err *err)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;

    own[0] = '\0';
    if (!store_list_find(list, name))
        return 0;
    if (store_read(s, &(struct store_range){name, 0, -1}, take_conf, &text, NULL, err) < 0)
        return -1;
    const char *end = text.data + text.len;
    for (const char *line = text.data, *stop; line < end; line = stop + 1) {
        stop = memchr(line, '\n', (size_t)(end - line));
        stop = stop ? stop : end;
        if (parse_own_line(line, (size_t)(stop - line), own))
            return 0;
    }
    return 0;
}

static bool is_wanted(const char *name, bool folder, const struct disk_names *names,
    const char *own, struct disk_name *ret)
{
    return parse_name(name, folder, ret) ||
           (own && parse_plain_name(name, folder, names, own, ret));
}

int disk_files_list(const json_t *folder, json_t **ret, struct err *err)
{
    return disk_files_list_named(folder, &usual_names, ret, err);
}

int disk_files_list_named(
    const json_t *folder, const struct disk_names *names, json_t **ret, struct err *err)
{
    const struct disk_names called = {
        names->snapshot ? names->snapshot : usual_names.snapshot,
        names->aof ? names->aof : usual_names.aof,
        names->aof_folder ? names->aof_folder : usual_names.aof_folder,
        names->nodes ? names->nodes : usual_names.nodes,
    };
    struct store *s = store_open(folder, err);
    struct store_list list = STORE_LIST_INIT;
    struct disk_name name;
    char id[UID_BYTES_MAX];

    if (!s)
        return -1;
    if (store_list(s, &list, err) < 0 || find_own(s, &list, called.nodes, id, err) < 0) {
        store_list_release(&list);
        store_close(s);
        return -1;
    }
    /* A nodes.conf that does not say whose it is may be of any node. */
    const char *own = *id || !store_list_find(&list, called.nodes) ? id : NULL;
    *ret = json_array();
    for (size_t i = 0; i < list.count; i++) {
        if (!is_wanted(list.entries[i].name, false, &called, own, &name))
            continue;
        json_t *facts = new_facts(list.entries[i].name, &name);
        look_at_file(s, &list.entries[i], facts);
        json_array_append_new(*ret, facts);
    }
    store_close(s); /* before others are opened, because a server may limit sessions */
    for (size_t i = 0; i < list.folder_count; i++) {
        if (!is_wanted(list.folders[i], true, &called, own, &name))
            continue;
        json_t *facts = new_facts(list.folders[i], &name);
        look_at_folder(folder, list.folders[i], facts);
        json_array_append_new(*ret, facts);
    }
    store_list_release(&list);
    return 0;
}
