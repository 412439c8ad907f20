/* read_file: the bytes of a file on this host's disk, for another host: recluster/relay.h. */

#include "method.h"
#include "recluster/relay.h"
#include "serve.h"

static int run(struct agent_call *call, const json_t *params, json_t **ret, struct err *err)
{
    struct agent_channel *channel = agent_channel(call);
    struct relay_read read = {.id = channel->id};
    const json_t *folder = json_object_get(params, "folder");
    json_int_t offset, length;

    if (param_string(params, "name", &read.name, err) < 0 ||
        param_int(params, "stream", &read.stream, err) < 0 ||
        param_int(params, "offset", &offset, err) < 0 ||
        param_int(params, "length", &length, err) < 0)
        return -1;
    read.offset = offset;
    read.length = length;
    if (!json_is_string(folder) || json_string_value(folder)[0] != '/')
        return err_set(err, ERR_PROTOCOL, "parameter 'folder' is not an absolute path");
    struct store *store = store_open(folder, err);
    if (!store)
        return -1;
    int rc = relay_send(channel->fd, &channel->in, &read, store, err);
    store_close(store);
    if (rc == 0)
        *ret = json_object();
    return rc;
}

const struct agent_method agent_read_file = {.name = "read_file", .run = run};
