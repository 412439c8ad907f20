/* stop_shard, remove_shard: for abort. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "method.h"
#include "recluster/file.h"
#include "recluster/json.h"
#include "server.h"
#include "shard.h"
#include "systemd_unit.h"

/* "sealed": true, if the operator named the cluster so that its open databases are removed too. */
static int refuse_sealed(const struct shard *shard, const json_t *params, struct err *err)
{
    if (!shard_has(shard, SHARD_SEALED) || json_flag(params, "sealed"))
        return 0;
    err_set(err, ERR_CHECK, "the shard in '%s' is recovered and in use", shard->path);
    return err_hint(
        err, "To remove it too: recluster abort --open-databases NAME, with the cluster's name.");
}

static int run_stop(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    struct shard shard;
    bool was_running = false;

    (void)call;
    if (shard_find(params, &shard, err) < 0)
        return -1;
    int rc = refuse_sealed(&shard, params, err);
    if (rc == 0 && shard.record)
        rc = server_stop(&shard, &was_running, err);
    if (rc == 0)
        *ret = json_pack("{s:b}", "was_running", was_running);
    shard_release(&shard);
    return rc;
}

/* A folder without a record: what an interrupted prepare_shard left. */
static int check_unfinished(const struct shard *shard, struct err *err)
{
    static const char *const known[] = {"incoming", "nodes.conf", "nodes.conf.tmp", "redis.conf",
        "redis.conf.tmp", "shard.json.tmp", "users.acl", "users.acl.tmp"};
    char **names;
    size_t count, foreign = 0;

    if (dir_list(shard->path, &names, &count, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        bool ours = false;
        for (size_t k = 0; k < ARRAY_SIZE(known); k++)
            ours |= strcmp(names[i], known[k]) == 0;
        foreign += !ours;
        if (!ours && foreign == 1)
            err_set(err, ERR_CHECK, "'%s/%s' was not made by this recovery", shard->path, names[i]);
    }
    strv_free(names, count);
    return foreign ? -1 : 0;
}

/* The new name tells the next call, after a kill, that the folder is ours to remove. */
static int remove_folder(const struct shard *shard, struct err *err)
{
    AUTO_FREE char *going = xasprintf("%s.removing", shard->path);

    if (chdir(shard->base_dir) < 0)
        return err_sys(err, ERR_IO, "cannot enter the folder '%s'", shard->base_dir);
    if (dir_remove(going, err) < 0)
        return -1;
    if (rename(shard->path, going) < 0)
        return errno == ENOENT
                   ? 0
                   : err_sys(err, ERR_IO, "cannot rename '%s' to '%s'", shard->path, going);
    return dir_remove(going, err);
}

static int run_remove(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    struct shard shard;
    bool was_running;

    (void)call;
    if (shard_find(params, &shard, err) < 0)
        return -1;
    int rc = refuse_sealed(&shard, params, err);
    if (rc == 0 && shard_has(&shard, SHARD_OPENED))
        rc = unit_disable(&shard, err);
    if (rc == 0 && shard.record)
        rc = server_stop(&shard, &was_running, err);
    else if (rc == 0 && file_exists(shard.path))
        rc = check_unfinished(&shard, err);
    if (rc == 0)
        rc = unit_remove(&shard, err);
    if (rc == 0)
        rc = remove_folder(&shard, err);
    if (rc == 0)
        *ret = json_object();
    shard_release(&shard);
    return rc;
}

const struct agent_method agent_stop_shard = {.name = "stop_shard", .run = run_stop};
const struct agent_method agent_remove_shard = {.name = "remove_shard", .run = run_remove};
