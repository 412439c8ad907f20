/* list_files: the files of shards in folders of this host. Changes nothing. */

#include "method.h"
#include "recluster/disk_files.h"

static int run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    const json_t *paths = json_object_get(params, "paths"), *path;
    size_t i;

    (void)call;
    if (!json_is_array(paths))
        return err_set(err, ERR_PROTOCOL, "parameter 'paths' is not a list");
    json_t *folders = json_array();
    json_array_foreach (paths, i, path) {
        struct err failure = ERR_INIT;
        json_t *files = NULL;
        if (disk_files_list(path, &files, &failure) == 0)
            json_array_append_new(folders, json_pack("{s:O, s:o}", "path", path, "files", files));
        else
            json_array_append_new(
                folders, json_pack("{s:O, s:s, s:s}", "path", path, "error", failure.message,
                             "code", err_code_name(failure.code)));
    }
    *ret = json_pack("{s:o}", "folders", folders);
    return 0;
}

const struct agent_method agent_list_files = {.name = "list_files", .run = run};
