/* The files on the old cluster's nodes that still answer. A child process asks each of them. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disks.h"
#include "recluster/child.h"
#include "recluster/clock.h"
#include "recluster/disk_files.h"
#include "recluster/file.h"
#include "recluster/host_link.h"
#include "recluster/json.h"
#include "recluster/link_location.h"
#include "recluster/memory_limit.h"
#include "recluster/rpc.h"

enum { READ_BYTES = 64 * 1024, NODE_MS = 60 * 1000, NODES_AT_A_TIME = 64 };

struct node_ask {
    struct survey *survey;
    char *owner;
    json_t *locations; /* of the folders */
    struct job *job;
    pid_t pid;
    int fd;
    int64_t until_ms;
    struct buf answer;
    struct node_ask *next; /* waits for a free process */
    struct loop *loop;
};

/* NULL: `why` says why there are none. */
static json_t *locations_of(
    const struct old_node *old, const struct ccs_node *node, struct err *why)
{
    json_t *paths = disks_paths(old->spec, node), *path, *locations = json_array();
    AUTO_FREE char *name = xasprintf("node:%s", old->node);
    size_t i;

    json_array_foreach (paths, i, path) {
        const struct link_folder folder = {.name = name,
            .kind = old->link,
            .addr = old->addr || !node ? old->addr : node->addr,
            .spec = old->spec,
            .path = json_string_value(path)};
        json_t *location = link_location(&folder, why);
        if (!location) {
            json_decref(locations);
            locations = NULL;
            break;
        }
        json_array_append_new(locations, location);
    }
    json_decref(paths);
    if (locations && !json_array_size(locations))
        err_set(why, ERR_UNSUPPORTED,
            "the CCS file does not say in which folders they are: name them as its recovery_path");
    if (why->code) {
        json_decref(locations);
        return NULL;
    }
    return locations;
}

static json_t *node_folder(const struct node_ask *ask, json_t *location)
{
    return json_pack("{s:s, s:O, s:O}", "owner", ask->owner, "path",
        json_object_get(location, "path"), "location", location);
}

static int on_memory_limit(void *arg, const struct err *err)
{
    const int *fd = arg;
    struct buf out = BUF_INIT;
    struct err unsaid = ERR_INIT;

    rpc_add_error(&out, 1, RPC_FAILED, err);
    return file_write_all(*fd, out.data, out.len, "answer", &unsaid) < 0;
}

static int list_in_child(void *arg, int fd)
{
    const struct node_ask *ask = arg;
    struct buf out = BUF_INIT;
    struct err err = ERR_INIT, unsaid = ERR_INIT;
    json_t *folders = json_array(), *location;
    size_t i;

    memory_limit_name("the list of files of '%s'", ask->owner);
    memory_limit_tell(on_memory_limit, &fd);
    json_array_foreach (ask->locations, i, location) {
        json_t *files = NULL;
        /* If the node is unreachable, the other folders would fail too. */
        bool reached = !err.code || err.code == ERR_NOT_FOUND;
        if (reached)
            err = (struct err)ERR_INIT;
        json_t *resolved = reached ? store_resolve_location(location, &err) : NULL;
        if (resolved && disk_files_list(resolved, &files, &err) == 0)
            json_array_append_new(folders, json_pack("{s:o}", "files", files));
        else
            json_array_append_new(folders, json_pack("{s:o}", "failure", err_to_json(&err)));
        json_decref(resolved);
    }
    rpc_add_result(&out, 1, json_pack("{s:o}", "folders", folders));
    return file_write_all(fd, out.data, out.len, "answer", &unsaid) < 0;
}

static enum job_step node_step(void *arg, struct wait *wait, struct err *err)
{
    struct node_ask *ask = arg;
    char chunk[READ_BYTES];

    for (;;) {
        ssize_t n = read(ask->fd, chunk, sizeof(chunk));
        if (n == 0)
            return JOB_DONE;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return err_sys(err, ERR_IO, "cannot read from the process that asks it") < 0 ? JOB_FAIL
                                                                                         : JOB_DONE;
        if (n > 0 && buf_add_limited(&ask->answer, chunk, (size_t)n, RPC_LINE_MAX,
                         "the list of its files", err) < 0)
            return JOB_FAIL;
        if (n < 0)
            break;
    }
    if (clock_mono_ms() >= ask->until_ms) {
        err_set(err, ERR_TIMEOUT, "it did not list its files within %d s", NODE_MS / 1000);
        return JOB_FAIL;
    }
    wait_fd(wait, ask->fd, POLLIN);
    wait_until(wait, ask->until_ms);
    return JOB_WAIT;
}

static void take_node_answer(struct node_ask *ask, const json_t *folders)
{
    json_t *location;
    size_t i;

    json_array_foreach (ask->locations, i, location) {
        const json_t *answer = json_array_get(folders, i);
        json_t *folder = node_folder(ask, location), *files = json_object_get(answer, "files");
        if (files)
            json_object_set(folder, "files", files);
        else
            json_object_set(folder, "error", json_object_get(answer, "failure"));
        json_array_append_new(ask->survey->disks, folder);
    }
}

static void take_node_failure(struct node_ask *ask, const struct err *failure)
{
    json_t *folder = node_folder(ask, json_array_get(ask->locations, 0));

    json_object_set_new(folder, "error", err_to_json(failure));
    json_array_append_new(ask->survey->disks, folder);
}

static void start_node(struct node_ask *ask);

static void node_done(void *arg, const struct err *err)
{
    struct node_ask *ask = arg;
    struct rpc_input in = {.buf = ask->answer};
    struct rpc_message m = {.root = NULL};
    struct err failure = *err;

    close(ask->fd);
    if (err->code)
        child_kill(ask->pid);
    else if (child_wait(ask->pid, &failure) == 0 && rpc_take(&in, &m, &failure) == 0)
        err_set(&failure, ERR_FAILED, "the process that asked it ended without an answer");
    if (m.root && m.kind == RPC_ERROR)
        failure = m.error;
    if (failure.code)
        take_node_failure(ask, &failure);
    else
        take_node_answer(ask, json_object_get(m.payload, "folders"));
    rpc_message_release(&m);
    rpc_input_release(&in);
    if (ask->next)
        start_node(ask->next);
    json_decref(ask->locations);
    free(ask->owner);
    free(ask);
}

static const struct job_ops node_ops = {"old node", node_step, node_done};

static void start_node(struct node_ask *ask)
{
    struct err err = ERR_INIT;

    ask->until_ms = clock_mono_ms() + NODE_MS;
    if (child_fork(list_in_child, ask, &ask->pid, &ask->fd, &err) == 0) {
        ask->job = loop_add(ask->loop, &node_ops, ask);
        return;
    }
    take_node_failure(ask, &err);
    struct node_ask *next = ask->next;
    json_decref(ask->locations);
    free(ask->owner);
    free(ask);
    if (next)
        start_node(next);
}

static void add_failure(struct survey *survey, const struct old_node *old, const struct err *why)
{
    json_array_append_new(
        survey->disks, json_pack("{s:o, s:s, s:o}", "owner", json_sprintf("node:%s", old->node),
                           "path", "?", "error", err_to_json(why)));
}

void disks_ask_old_nodes(struct survey *survey, struct loop *loop)
{
    struct node_ask *queues[NODES_AT_A_TIME] = {NULL};
    size_t count = 0;

    for (size_t i = survey->hosts->old_node_count; i-- > 0;) {
        const struct old_node *old = &survey->hosts->old_nodes[i];
        const struct ccs_node *node = ccs_node(survey->ccs, old->node);
        const json_t *wanted = json_object_get(old->spec, "recovery_path");
        struct err why = ERR_INIT;
        if (!wanted || json_is_false(wanted))
            continue;
        json_t *locations = locations_of(old, node, &why);
        if (!locations) {
            add_failure(survey, old, &why);
            continue;
        }
        struct node_ask *ask = xmalloc(sizeof(*ask));
        struct node_ask **queue = &queues[count++ % NODES_AT_A_TIME];
        *ask = (struct node_ask){
            .survey = survey,
            .owner = xasprintf("node:%s", old->node),
            .locations = locations,
            .loop = loop,
            .answer = BUF_INIT,
            .next = *queue,
        };
        *queue = ask;
    }
    for (size_t i = 0; i < NODES_AT_A_TIME; i++)
        if (queues[i])
            start_node(queues[i]);
}
