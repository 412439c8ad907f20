/* The beginning of a run: names that nobody has, and the lock of the location. */

#include <poll.h>
#include <stdlib.h>

#include "lock.h"
#include "manifest.h"
#include "recluster/clock.h"

enum { SECOND_MS = 1000 };

/* Names have seconds: a set must not overwrite one that was taken in the same second. */
static int choose_time(struct backup_params *params, struct backup_shards *const *databases,
    size_t count, struct err *err)
{
    bool taken = true;

    while (taken) {
        struct store_list list = STORE_LIST_INIT;
        if (store_list(params->store, &list, err) < 0)
            return -1;
        taken = false;
        for (size_t d = 0; d < count; d++) {
            AUTO_FREE char *manifest = manifest_name(params, databases[d]->db);
            taken |= store_list_find(&list, manifest) != NULL;
        }
        store_list_release(&list);
        if (taken) {
            poll(NULL, 0, SECOND_MS);
            params->time_ms = clock_wall_ms();
        }
    }
    return 0;
}

int backup_begin(struct backup_params *params, struct backup_shards *const *databases, size_t count,
    struct err *err)
{
    if (choose_time(params, databases, count, err) < 0)
        return -1;
    json_t *sets = json_array();
    AUTO_FREE char *ccs = backup_ccs_name(params);

    for (size_t d = 0; d < count; d++) {
        json_t *files = json_pack("[s]", ccs);
        for (size_t i = 0; i < databases[d]->count; i++) {
            AUTO_FREE char *name = manifest_file_name(params, databases[d], i);
            json_array_append_new(files, json_string(name));
        }
        AUTO_FREE char *manifest = manifest_name(params, databases[d]->db);
        json_array_append_new(sets, json_pack("{s:s, s:o}", "manifest", manifest, "files", files));
    }
    int rc = backup_lock_take(params->store, sets, &params->lock, err);
    json_decref(sets);
    return rc;
}

void backup_end(struct backup_params *params)
{
    backup_lock_release(params->lock);
    params->lock = NULL;
}
