/* forget_nodes: removes replicas that are gone from the cluster of a running server. */

#include "join_cluster.h"
#include "method.h"
#include "recluster/json.h"
#include "server.h"
#include "shard.h"

static int run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    const char *password = json_text(params, "password", NULL);
    CLEANUP(redis_close_ptr) struct redis *r = NULL;
    struct shard shard;
    json_int_t forgotten;

    (void)call;
    if (shard_enter(params, &shard, err) < 0)
        return -1;
    int rc = server_connect(&shard, password, &r, err);
    if (rc == 0)
        rc = forget_replicas(r, json_object_get(params, "nodes"), &forgotten, err);
    if (rc == 0)
        *ret = json_pack("{s:I}", "forgotten", forgotten);
    shard_release(&shard);
    return rc;
}

const struct agent_method agent_forget_nodes = {.name = "forget_nodes", .run = run};
