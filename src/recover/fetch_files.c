#include "fetch_files.h"

#include <string.h>

#include "fetch_group.h"
#include "host_run.h"
#include "recluster/json.h"
#include "recluster/store.h"
#include "relay.h"

/* A relay is a process that reads on this machine, whose network they all share. */
enum { RELAYS_MAX = 16 };

static bool wants_relay(const struct executor *x, const struct task_run *t, const json_t *location)
{
    return json_flag(x->hosts[t->host].spec, "relay") || json_flag(location, "relay");
}

static void add_place(
    const struct executor *x, const struct task_run *t, json_t *file, json_t *location)
{
    if (!wants_relay(x, t, location)) {
        json_object_set(file, "location", location);
        return;
    }
    json_object_set_new(file, "relay", relay_label(location));
    json_object_set(file, STORE_DECRYPT_KEY, json_object_get(location, STORE_DECRYPT_KEY));
    json_object_set_new(file, "from", json_pack("{s:O}", "location", location));
}

/* A file on a disk (the host's own, another host's, an old node's), or an append-only file. */
static void add_source(
    const struct executor *x, const struct task_run *t, json_t *file, const json_t *source)
{
    const char *kind = json_text(source, "kind", NULL);
    const char *host = json_text(source, "host", NULL);
    json_t *folder = json_object_get(source, "folder"), *parts = json_object_get(source, "parts");

    if (kind && strcmp(kind, "rdb") != 0)
        json_object_set(file, "kind", json_object_get(source, "kind"));
    if (parts)
        json_object_set(file, "parts", parts);
    if (!host) {
        json_t *own = json_object_get(source, "location");
        add_place(x, t, file, own ? own : x->databases[t->database].location);
    } else if (strcmp(host, x->hosts[t->host].name) == 0) {
        json_object_set(file, "location", folder);
    } else {
        json_object_set_new(file, "relay", json_sprintf("%s:%s", host, json_string_value(folder)));
        json_object_set_new(file, "from", json_pack("{s:s, s:O}", "host", host, "folder", folder));
    }
}

/* A file without "where": its shard has only one source. */
static bool is_source_of(const json_t *source, const json_t *file)
{
    const json_t *where = json_object_get(file, "where");

    return json_equal(json_object_get(source, "name"), json_object_get(file, "name")) &&
           (!where || json_equal(json_object_get(source, "where"), where));
}

/* Of the task and of those in its group. */
static const json_t *find_source(
    const struct executor *x, const struct task_run *t, const json_t *file)
{
    const json_t *source;
    size_t k;

    for (size_t i = 0; i <= t->with_count; i++) {
        const struct shard_run *s = &x->shards[i ? t->with[i - 1]->shard : t->shard];
        json_array_foreach (s->sources, k, source)
            if (is_source_of(source, file))
                return source;
    }
    return NULL;
}

json_t *fetch_files(const struct executor *x, const struct task_run *t)
{
    const struct shard_run *s = &x->shards[t->shard];
    json_t *files = s->files ? fetch_group_files(x, t) : json_array(), *file;
    size_t i;

    if (!s->files)
        json_array_append_new(files, json_pack("{s:s, s:I, s:s*}", "name", s->file, "bytes",
                                         (json_int_t)s->file_bytes, "sha256", s->file_sha256));
    json_array_foreach (files, i, file) {
        const json_t *source = find_source(x, t, file);
        if (source)
            add_source(x, t, file, source);
        else
            add_place(x, t, file, x->databases[t->database].location);
    }
    return files;
}

/* Checks the host of one file. A file that has already arrived does not need its host. */
static int is_host_ready(struct executor *x, const json_t *file, bool has_come,
    int64_t *look_again_ms, bool *ret_ready, struct err *err)
{
    const char *name = json_text(json_object_get(file, "from"), "host", NULL);
    struct host_run *h = executor_host(x, name);

    if (!name)
        return 0;
    if (!h)
        return err_set(err, ERR_STATE_FILE, "the state file has no host '%s'", name);
    if (!host_wanted(h, look_again_ms)) {
        if (has_come)
            return 0;
        *err = h->error;
        return err_wrap(
            err, "host '%s', which has '%s', is given up", name, json_text(file, "name", NULL));
    }
    *ret_ready &= h->state == HOST_READY;
    return 0;
}

int fetch_sources_ready(struct executor *x, struct task_run *t, int64_t *look_again_ms,
    bool *ret_ready, struct err *err)
{
    json_t *files, *file;
    size_t i;
    int rc = 0;

    t->with_count = 0; /* of an earlier call */
    files = fetch_files(x, t);
    *ret_ready = x->tasks_relayed < RELAYS_MAX || !relay_is_needed(files);
    json_array_foreach (files, i, file)
        if (rc == 0)
            rc = is_host_ready(
                x, file, x->shards[t->shard].facts != NULL, look_again_ms, ret_ready, err);
    json_decref(files);
    return rc;
}
