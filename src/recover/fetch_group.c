#include "fetch_group.h"

#include <stdlib.h>
#include <string.h>

#include "ready.h"
#include "recluster/json.h"
#include "recluster/slots.h"

/* Files on disks may have the same name in different folders. */
static const char *name_of(const json_t *file)
{
    const char *where = json_text(file, "where", NULL);
    return where ? where : json_text(file, "name", NULL);
}

/* --- who belongs together --- */

static void join_rings(struct executor *x, int a, int b)
{
    for (int s = x->shards[a].next_in_group; s != a; s = x->shards[s].next_in_group)
        if (s == b)
            return;
    int next = x->shards[a].next_in_group;
    x->shards[a].next_in_group = x->shards[b].next_in_group;
    x->shards[b].next_in_group = next;
}

void fetch_groups_make(struct executor *x)
{
    json_t *first_with = json_object(), *file;
    size_t k;

    for (size_t i = 0; i < x->shard_count; i++)
        x->shards[i].next_in_group = (int)i;
    for (size_t i = 0; i < x->shard_count; i++) {
        const struct shard_run *s = &x->shards[i];
        json_array_foreach (s->files, k, file) {
            AUTO_FREE char *key = xasprintf("%d/%d/%s", s->host, s->database, name_of(file));
            const json_t *first = json_object_get(first_with, key);
            if (first)
                join_rings(x, (int)json_integer_value(first), (int)i);
            else
                json_object_set_new(first_with, key, json_integer((json_int_t)i));
        }
    }
    json_decref(first_with);
}

bool fetch_group_is_prepared(const struct executor *x, const struct task_run *t)
{
    for (int s = x->shards[t->shard].next_in_group; s != t->shard; s = x->shards[s].next_in_group) {
        const struct task_run *prepare = x->shards[s].prepare, *fetch = x->shards[s].fetch;
        if (fetch && fetch->state != TASK_DONE && prepare &&
            (prepare->state == TASK_PENDING || prepare->state == TASK_RUNNING))
            return false;
    }
    return true;
}

bool fetch_group_is_counted(const struct executor *x, const struct task_run *t)
{
    for (int s = x->shards[t->shard].next_in_group; s != t->shard; s = x->shards[s].next_in_group) {
        const struct task_run *fetch = x->shards[s].fetch;
        if (s < t->shard && fetch && fetch->state != TASK_DONE)
            return true;
    }
    return false;
}

/* --- what is asked of the host --- */

struct group_file {
    json_t *file; /* {"name", "bytes", …}, borrowed */
    struct slots take;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(name_of(((const struct group_file *)a)->file),
        name_of(((const struct group_file *)b)->file));
}

/* The files of the group, sorted by name, so the order is the same on every host. */
static struct group_file *files_of(
    const struct executor *x, const struct task_run *t, size_t *ret_count)
{
    struct group_file *files = NULL;
    size_t count = 0, alloc = 0, k;
    json_t *known = json_object(), *file;

    for (size_t i = 0; i <= t->with_count; i++) {
        const struct shard_run *s = &x->shards[i ? t->with[i - 1]->shard : t->shard];
        struct slots slots;
        struct err impossible = ERR_INIT;
        slots_clear(&slots);
        (void)!slots_parse(s->slots, &slots, &impossible);
        json_array_foreach (s->files, k, file) {
            const char *name = name_of(file);
            const json_t *at = json_object_get(known, name);
            if (!at) {
                GROW(files, count, alloc);
                json_object_set_new(known, name, json_integer((json_int_t)count));
                files[count++] = (struct group_file){.file = file};
            }
            slots_union(&files[at ? (size_t)json_integer_value(at) : count - 1].take, &slots);
        }
    }
    json_decref(known);
    if (count)
        qsort(files, count, sizeof(*files), by_name);
    *ret_count = count;
    return files;
}

json_t *fetch_group_files(const struct executor *x, const struct task_run *t)
{
    bool sharded = x->databases[t->database].ccs->sharded;
    size_t count;
    struct group_file *files = files_of(x, t, &count);
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++) {
        json_t *file = json_deep_copy(files[i].file);
        /* The slots of the shards that the file is for: it may also hold keys of others. */
        if (sharded && t->with_count)
            json_object_set_new(file, "take", slots_to_json(&files[i].take));
        json_array_append_new(list, file);
    }
    free(files);
    return list;
}

/* --- one call, several tasks --- */

void fetch_group_take(struct executor *x, struct task_run *t)
{
    t->with_count = 0;
    for (int s = x->shards[t->shard].next_in_group; s != t->shard; s = x->shards[s].next_in_group) {
        struct task_run *fetch = x->shards[s].fetch;
        if (!fetch || !task_is_ready(x, fetch) || x->shards[s].unsure)
            continue;
        t->with = xreallocarray(t->with, t->with_count + 1, sizeof(struct task_run *));
        t->with[t->with_count++] = fetch;
    }
}
