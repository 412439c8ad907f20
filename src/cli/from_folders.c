#include "from_folders.h"

#include <stdlib.h>
#include <string.h>

#include "machine_path.h"
#include "recluster/capture.h"
#include "recluster/disk_files.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "recluster/memory_limit.h"
#include "recluster/store.h"

/* --- the folders of the words --- */

struct folders {
    struct hosts *hosts;
    struct machine_paths paths;
    struct live_folder *list;
};

static void folders_release(struct folders *f)
{
    free(f->list);
    machine_paths_release(&f->paths);
    hosts_free(f->hosts);
}

static int folders_find(
    const struct arguments *args, const char *const *words, struct folders *ret, struct err *err)
{
    *ret = (struct folders){.hosts = NULL};
    if (hosts_of_arguments(args, &ret->hosts, err) < 0)
        return -1;
    for (; *words; words++)
        if (machine_paths_add_folders(&ret->paths, ret->hosts, *words, err) < 0)
            return -1;
    ret->list = xcalloc(ret->paths.count + 1, sizeof(*ret->list));
    for (size_t i = 0; i < ret->paths.count; i++) {
        const struct machine_path *p = &ret->paths.list[i];
        ret->list[i] = (struct live_folder){
            .prefix = p->prefix, .path = p->path, .location = p->location, .addr = p->addr};
    }
    return 0;
}

static bool is_of(const struct live_server *server, const struct live_folder *f)
{
    size_t len = strlen(f->prefix);
    return strncmp(server->folder, f->prefix, len) == 0 &&
           strcmp(server->folder + len, f->path) == 0;
}

/* There is one for each server. */
static const struct live_folder *folder_of(
    const struct folders *folders, const struct live_server *server)
{
    const struct live_folder *f = folders->list;

    while (f + 1 < folders->list + folders->paths.count && !is_of(server, f))
        f++;
    return f;
}

/* --- their files --- */

static int list_folder(const struct live_server *server, const struct live_folder *from,
    json_t *folders, struct err *err)
{
    const struct disk_names names = {
        .snapshot = live_setting(server, "dbfilename"),
        .aof = live_setting(server, "appendfilename"),
        .aof_folder = live_setting(server, "appenddirname"),
        .nodes = live_setting(server, "cluster-config-file"),
    };
    AUTO_FREE char *owner = *from->prefix
                                ? xstrndup(from->prefix, strlen(from->prefix) - 1) /* no colon */
                                : xstrdup("this machine");
    json_t *resolved = store_resolve_location(from->location, err), *files = NULL;

    if (!resolved)
        return -1;
    int rc = disk_files_list_named(resolved, &names, &files, err);
    json_decref(resolved);
    if (rc < 0)
        return err_wrap(err, "'%s'", server->folder);
    json_t *folder = json_pack("{s:s, s:s, s:O, s:o, s:b}", "owner", owner, "path", from->path,
        "location", from->location, "files", files, "given", 1);
    if (server->mode == LIVE_ALONE)
        json_object_set_new(folder, "server", json_sprintf("%s:%d", server->addr, server->port));
    return json_array_append_new(folders, folder);
}

static int make(struct live *live, const struct folders *from, const char *const *words,
    struct buf *ret_ccs, json_t *folders, struct err *err)
{
    const struct capture_params params = {.from = words};

    for (size_t i = 0; i < live->count; i++)
        if (list_folder(live->servers[i], folder_of(from, live->servers[i]), folders, err) < 0)
            return -1;
    return capture_make(live, &params, ret_ccs, err);
}

int from_folders_read(
    const struct arguments *args, struct buf *ret_ccs, json_t **ret_folders, struct err *err)
{
    const char **given = args->values[OPT_FROM_FOLDERS];
    size_t count = 0, at = 0;
    struct folders folders;
    struct live *live;

    if (args->given[OPT_KEY])
        return err_set(err, ERR_USAGE, "--key is for an encrypted CCS file, not for folders");
    while (given[count])
        count++;
    AUTO_FREE const char **words = xcalloc(count + args->word_count + 1, sizeof(*words));
    for (size_t i = 0; i < count; i++)
        words[at++] = given[i];
    for (size_t i = 0; i < args->word_count; i++)
        words[at++] = args->words[i];
    memory_limit_set(memory_limit_of_reader());
    memory_limit_name("the folders");
    int rc = folders_find(args, words, &folders, err);
    if (rc == 0)
        rc = live_from_folders(folders.list, folders.paths.count, &live, err);
    if (rc == 0) {
        *ret_folders = json_array();
        rc = make(live, &folders, words, ret_ccs, *ret_folders, err);
        live_free(live);
    }
    folders_release(&folders);
    memory_limit_lift();
    return rc;
}

int from_folders_look(
    const struct arguments *args, const char *const *words, struct live **ret, struct err *err)
{
    struct folders folders;
    int rc = folders_find(args, words, &folders, err);

    if (rc == 0)
        rc = live_from_folders(folders.list, folders.paths.count, ret, err);
    folders_release(&folders);
    return rc;
}

/* --- a configuration for a nodes.json --- */

static int read_settings(const struct live_folder *folder, struct buf *ret, struct err *err)
{
    const char *const from[] = {folder->path, NULL};
    struct live *live;

    if (live_from_settings(folder, &live, err) < 0)
        return -1;
    int rc = capture_make(live, &(struct capture_params){.from = from}, ret, err);
    live_free(live);
    return rc;
}

static int read_beside(const char *dir, struct buf *ret, struct err *err)
{
    json_t *location = json_pack("{s:s, s:s}", "type", "mount_point", "path", dir);
    const struct live_folder folder = {.prefix = "", .path = dir, .location = location};

    if (!location)
        return err_set(err, ERR_USAGE, "the name of the folder '%s' is not UTF-8", dir);
    int rc = read_settings(&folder, ret, err);
    json_decref(location);
    return rc;
}

static int read_named(
    const struct arguments *args, const char *word, struct buf *ret, struct err *err)
{
    struct machine_path p = {.path = NULL};
    struct hosts *hosts;
    int rc = hosts_of_arguments(args, &hosts, err);

    if (rc == 0 && (rc = machine_path_of_file(hosts, word, &p, err)) == 0) {
        AUTO_FREE char *dir = path_dir(p.path);
        const struct live_folder folder = {
            .prefix = p.prefix, .path = dir, .location = p.location, .conf = path_base(p.path)};
        rc = read_settings(&folder, ret, err);
        machine_path_release(&p);
    }
    hosts_free(hosts);
    return rc < 0 ? err_wrap(err, "--settings") : 0;
}

int settings_for_nodes_json(
    const struct arguments *args, const char *ccs_path, struct buf *ret, struct err *err)
{
    AUTO_FREE char *dir = path_dir(ccs_path);
    AUTO_FREE char *redis = path_join(dir, "redis.conf"), *valkey = path_join(dir, "valkey.conf");

    if (args->given[OPT_SETTINGS])
        return read_named(args, argument(args, OPT_SETTINGS), ret, err);
    if (strcmp(path_base(ccs_path), "nodes.json") != 0 ||
        (!file_exists(redis) && !file_exists(valkey)))
        return 0;
    return read_beside(dir, ret, err);
}
