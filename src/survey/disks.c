#include "disks.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/file.h"
#include "recluster/host_link.h"
#include "recluster/json.h"
#include "recluster/rpc.h"
#include "wishes.h"

/* --- folders --- */

static bool has_path(const json_t *paths, const char *path)
{
    const json_t *other;
    size_t i;

    json_array_foreach (paths, i, other)
        if (strcmp(json_string_value(other), path) == 0)
            return true;
    return false;
}

static void add_path(json_t *paths, const char *path)
{
    AUTO_FREE char *plain = xstrdup(path);

    for (size_t len = strlen(plain); len > 1 && plain[len - 1] == '/'; len--)
        plain[len - 1] = '\0';
    if (plain[0] == '/' && !has_path(paths, plain))
        json_array_append_new(paths, json_string(plain));
}

static void add_paths_of_node(json_t *paths, const struct ccs_node *node)
{
    AUTO_FREE char *usual =
        node->persistent_path ? path_join(node->persistent_path, "redis") : NULL;

    if (node->recovery_path)
        add_path(paths, node->recovery_path);
    if (usual)
        add_path(paths, usual);
}

json_t *disks_paths(const json_t *spec, const struct ccs_node *node)
{
    json_t *named = json_object_get(spec, "recovery_path"), *paths = json_array(), *path;
    size_t i;

    if (json_is_string(named))
        add_path(paths, json_string_value(named));
    json_array_foreach (named, i, path) {
        add_path(paths, json_string_value(path));
    }
    if (json_is_true(named) && node)
        add_paths_of_node(paths, node);
    if (json_array_size(paths))
        return paths;
    json_decref(paths);
    return NULL;
}

static bool is_node(const struct host *host, const struct ccs_node *node)
{
    return (host->replaces && strcmp(host->replaces, node->uid) == 0) ||
           (node->addr &&
               (strcmp(host->addr, node->addr) == 0 || strcmp(host->announced, node->addr) == 0));
}

json_t *disks_paths_of_host(const struct survey *survey, const struct host *host)
{
    const struct ccs_node *node = NULL;

    for (size_t i = 0; i < survey->ccs->node_count && !node; i++)
        if (is_node(host, &survey->ccs->nodes[i]))
            node = &survey->ccs->nodes[i];
    return disks_paths(host->spec, node);
}

/* --- answers --- */

/* `answer`: an element of "folders" of `list_files`. */
static void take_folder(struct survey *survey, json_t *folder, const json_t *answer)
{
    const char *code = json_text(answer, "code", NULL);
    const char *message = json_text(answer, "error", NULL);

    if (code)
        json_object_set_new(folder, "error",
            json_pack(
                "{s:s, s:s, s:s}", "name", code, "message", message ? message : "", "hint", ""));
    else
        json_object_set(folder, "files", json_object_get(answer, "files"));
    json_array_append_new(survey->disks, folder);
}

void disks_take(
    struct survey *survey, const struct host *host, const json_t *result, const struct err *error)
{
    const json_t *answer;
    size_t i;

    json_array_foreach (json_object_get(result, "folders"), i, answer) {
        json_t *path = json_object_get(answer, "path");
        if (json_is_string(path))
            take_folder(survey,
                json_pack("{s:s, s:s, s:O}", "owner", host->name, "host", host->name, "path", path),
                answer);
    }
    if (error)
        json_array_append_new(
            survey->disks, json_pack("{s:s, s:s, s:s, s:o}", "owner", host->name, "host",
                               host->name, "path", "/", "error", err_to_json(error)));
}

/* --- the choice --- */

static char *where_of(const json_t *folder, const json_t *file)
{
    AUTO_FREE char *path =
        path_join(json_text(folder, "path", NULL), json_text(file, "name", NULL));
    return xasprintf("%s:%s", json_text(folder, "owner", NULL), path);
}

static bool has_file(const struct survey *survey, const char *where)
{
    const json_t *folder, *file;
    size_t i, k;
    bool found = false;

    json_array_foreach (survey->disks, i, folder) {
        json_array_foreach (json_object_get(folder, "files"), k, file) {
            AUTO_FREE char *there = where_of(folder, file);
            found |= strcmp(there, where) == 0;
        }
    }
    return found;
}

static int check_left_out(const struct survey *survey, struct err *err)
{
    const json_t *word;
    size_t i;

    json_array_foreach (json_object_get(survey->options, "without"), i, word) {
        const char *text = json_string_value(word);
        if (!text || strncmp(text, "file:", 5) != 0 || has_file(survey, text + 5))
            continue;
        err_set(err, ERR_USAGE, "--without '%s': no disk has that file", text);
        return err_hint(err, "Write it as the plan names files: --without file:HOST:PATH");
    }
    return 0;
}

static bool is_at(const struct ccs *ccs, const struct ccs_shard *shard, const char *server)
{
    const struct ccs_node *node = shard->node_uid ? ccs_node(ccs, shard->node_uid) : NULL;
    AUTO_FREE char *there = xasprintf("%s:%d", node && node->addr ? node->addr : "?", shard->port);
    return strcmp(there, server) == 0;
}

/* The files of a server of no cluster do not say whose they are: its address does. */
static void name_server(const struct ccs *ccs, const json_t *folder)
{
    const char *server = json_text(folder, "server", NULL);
    json_t *file;
    size_t i;

    for (size_t s = 0; server && s < ccs->shard_count; s++) {
        if (!is_at(ccs, &ccs->shards[s], server))
            continue;
        json_array_foreach (json_object_get(folder, "files"), i, file)
            if (!*json_text(file, "shard", "?"))
                json_object_set_new(file, "shard", json_string(ccs->shards[s].uid));
        return;
    }
}

/* The slots of a shard's file, for primaries and replicas. */
static void set_shards(
    struct survey *survey, const struct ccs_database *db, struct disk_query *query)
{
    const struct ccs *ccs = survey->ccs;
    struct arena *arena = &survey->ccs->arena;
    struct disk_shard *shards = arena_alloc(arena, (2 * db->shard_count + 2) * sizeof(*shards));
    const struct slots **ranges = arena_alloc(arena, (db->shard_count + 1) * sizeof(*ranges));
    AUTO_FREE size_t *range_of = xcalloc(db->shard_count + 1, sizeof(*range_of));

    for (size_t i = 0; i < db->shard_count; i++) {
        const struct ccs_shard *shard = &ccs->shards[db->first_shard + i];
        if (!shard->primary)
            continue;
        range_of[i] = query->range_count;
        ranges[query->range_count++] = shard->slots;
    }
    for (size_t i = 0; i < db->shard_count; i++) {
        const struct ccs_shard *shard = &ccs->shards[db->first_shard + i];
        if (!shard->primary && shard->primary_index < 0)
            continue;
        size_t of = shard->primary ? i : (size_t)shard->primary_index - db->first_shard;
        shards[query->shard_count++] = (struct disk_shard){shard->uid, range_of[of]};
        /* The files of a plain node are known by its id (disk_files.h). */
        if (shard->node_id)
            shards[query->shard_count++] = (struct disk_shard){shard->node_id, range_of[of]};
    }
    /* A lone server's folder need not say whose it is. */
    if (ccs->database_count == 1 && query->range_count == 1 && !db->sharded)
        shards[query->shard_count++] = (struct disk_shard){"", 0};
    query->shards = shards;
    query->ranges = ranges;
}

static void choose_for(struct survey *survey, struct plan_database_input *in,
    const struct disk_folder *folders, size_t count)
{
    const json_t *at = json_object_get(survey->options, "at_ms");
    struct slots *wanted = arena_alloc(&survey->ccs->arena, sizeof(*wanted));
    struct slots missing;
    struct disk_query query = {
        .folders = folders,
        .folder_count = count,
        .slots = wanted,
        .at_ms = at ? json_integer_value(at) : -1,
        .set_at_ms = wishes_time(survey, in->database),
        .without = json_object_get(survey->options, "without"),
    };
    struct catalogue *catalogue = in->catalogue;

    slots_fill(wanted);
    wishes_missing_slots(survey->options, &missing);
    slots_subtract(wanted, &missing);
    set_shards(survey, in->database, &query);
    if (!catalogue) {
        catalogue = xmalloc(sizeof(*catalogue));
        *catalogue = (struct catalogue){.arena = ARENA_INIT, .chosen = -1};
    }
    catalogue_add_disks(catalogue, &query);
    in->catalogue = catalogue;
    if (catalogue->set_count)
        return;
    catalogue_release(catalogue);
    free(catalogue);
    in->catalogue = NULL;
}

/* In a fixed order, so that the plan does not depend on who answered first. */
static int by_owner_and_path(const void *a, const void *b)
{
    const struct disk_folder *x = a, *y = b;
    int order = strcmp(x->owner, y->owner);
    return order ? order : strcmp(x->path, y->path);
}

int survey_choose_disks(struct survey *survey, struct err *err)
{
    size_t count = json_array_size(survey->disks), used = 0, i;
    struct disk_folder *folders = arena_alloc(&survey->ccs->arena, (count + 1) * sizeof(*folders));
    const json_t *folder;

    /* In a replan its host may be lost. */
    if (!survey->replan && check_left_out(survey, err) < 0)
        return -1;
    json_array_foreach (survey->disks, i, folder) {
        name_server(survey->ccs, folder);
        const json_t *files = json_object_get(folder, "files");
        if (!json_array_size(files))
            continue;
        folders[used++] = (struct disk_folder){
            .owner = json_text(folder, "owner", NULL),
            .host = json_text(folder, "host", NULL),
            .path = json_text(folder, "path", NULL),
            .location = json_object_get(folder, "location"),
            .files = files,
        };
    }
    if (used)
        qsort(folders, used, sizeof(*folders), by_owner_and_path);
    for (i = 0; used && i < survey->database_count; i++)
        if (wishes_backups(survey, &survey->databases[i]))
            choose_for(survey, &survey->databases[i], folders, used);
    return 0;
}
