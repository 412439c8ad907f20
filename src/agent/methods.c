#include "recluster/agent.h"
#include "serve.h"

const struct agent_method *const agent_methods[] = {
    &agent_hello,
    &agent_probe,
    &agent_measure,
    &agent_list_files,
    &agent_read_file,
    &agent_knock,
    &agent_old_servers,
    &agent_fence,
    &agent_record,
    &agent_archive,
    &agent_lock,
    &agent_prepare_host,
    &agent_prepare_shard,
    &agent_fetch,
    &agent_load_shard,
    &agent_attach_replica,
    &agent_shard_status,
    &agent_configure,
    &agent_forget_nodes,
    &agent_open_shard,
    &agent_prove_endpoint,
    &agent_seal_shard,
    &agent_start_sentinel,
    &agent_prove_failover,
    &agent_stop_shard,
    &agent_remove_shard,
    &agent_release,
    NULL,
};

int agent_serve(int in_fd, int out_fd, struct err *err)
{
    return agent_serve_methods(agent_methods, in_fd, out_fd, err);
}
