#include "from_folders.h"

#include <string.h>

#include "recluster/capture.h"
#include "recluster/disk_files.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "recluster/live.h"
#include "recluster/memory_limit.h"

/* Hosts cannot see these folders, even if they are this machine under another user. */
static json_t *location_of(const char *path)
{
    return json_pack("{s:s, s:s, s:b}", "type", "mount_point", "path", path, "relay", 1);
}

static int list_folder(const struct live_server *server, json_t *folders, struct err *err)
{
    const char *path = live_setting(server, "dir");
    const struct disk_names names = {
        .snapshot = live_setting(server, "dbfilename"),
        .aof = live_setting(server, "appendfilename"),
        .aof_folder = live_setting(server, "appenddirname"),
        .nodes = live_setting(server, "cluster-config-file"),
    };
    json_t *location = location_of(path), *files = NULL;

    if (!location)
        return err_set(err, ERR_USAGE, "the name of the folder '%s' is not UTF-8", path);
    if (disk_files_list_named(location, &names, &files, err) < 0) {
        json_decref(location);
        return -1;
    }
    json_t *folder = json_pack("{s:s, s:s, s:o, s:o}", "owner", "this machine", "path", path,
        "location", location, "files", files);
    if (server->mode == LIVE_ALONE)
        json_object_set_new(folder, "server", json_sprintf("%s:%d", server->addr, server->port));
    return json_array_append_new(folders, folder);
}

static int make(struct live *live, const char *const *paths, struct buf *ret_ccs, json_t *folders,
    struct err *err)
{
    const struct capture_params params = {.from = paths};

    for (size_t i = 0; i < live->count; i++)
        if (list_folder(live->servers[i], folders, err) < 0)
            return -1;
    return capture_make(live, &params, ret_ccs, err);
}

int from_folders_read(
    const struct arguments *args, struct buf *ret_ccs, json_t **ret_folders, struct err *err)
{
    const char **given = args->values[OPT_FROM_FOLDERS];
    size_t count = 0, at = 0;
    struct live *live;

    if (args->given[OPT_KEY])
        return err_set(err, ERR_USAGE, "--key is for an encrypted CCS file, not for folders");
    while (given[count])
        count++;
    AUTO_FREE const char **paths = xcalloc(count + args->word_count + 1, sizeof(*paths));
    for (size_t i = 0; i < count; i++)
        paths[at++] = given[i];
    for (size_t i = 0; i < args->word_count; i++)
        paths[at++] = args->words[i];
    memory_limit_set(memory_limit_of_reader());
    memory_limit_name("the folders");
    int rc = live_from_folders(paths, at, &live, err);
    if (rc == 0) {
        *ret_folders = json_array();
        rc = make(live, paths, ret_ccs, *ret_folders, err);
        live_free(live);
    }
    memory_limit_lift();
    return rc;
}

int settings_beside(const char *ccs_path, struct buf *ret, struct err *err)
{
    AUTO_FREE char *dir = path_dir(ccs_path);
    AUTO_FREE char *redis = path_join(dir, "redis.conf"), *valkey = path_join(dir, "valkey.conf");
    struct live *live;

    if (strcmp(path_base(ccs_path), "nodes.json") != 0 ||
        (!file_exists(redis) && !file_exists(valkey)))
        return 0;
    const char *const folder[] = {dir, NULL};
    if (live_from_settings(dir, &live, err) < 0)
        return -1;
    int rc = capture_make(live, &(struct capture_params){.from = folder}, ret, err);
    live_free(live);
    return rc;
}
