/* Whether servers have the module types that the files contain. */

#include <string.h>

#include "steps.h"

static const json_t *types_of(const struct backup_file *file)
{
    return json_object_get(file_facts(file), "modules");
}

/* A type counts as missing only if the server was asked about it. */
const char *modules_lacked(const struct draft *d, int shard, int host)
{
    const struct plan_shard *ps = &d->plan->shards[shard];
    const json_t *server = json_object_get(d->plan->hosts[host].facts, "server"), *type;
    size_t i;

    for (size_t f = 0; f < ps->file_count; f++)
        json_array_foreach (types_of(ps->files[f]), i, type) {
            const char *name = json_string_value(type);
            const json_t *has = json_object_get(json_object_get(server, "types"), name);
            if (has && !json_is_true(has))
                return name;
        }
    return NULL;
}

static bool has_types(const struct plan_shard *shard)
{
    bool has = false;

    for (size_t f = 0; f < shard->file_count; f++)
        has |= json_array_size(types_of(shard->files[f])) > 0;
    return has;
}

/* A file that was read whole has keys of the type. */
static const struct backup_file *file_with_values(const struct plan_shard *shard, const char *type)
{
    const json_t *name;
    size_t i;

    for (size_t f = 0; f < shard->file_count; f++) {
        const struct backup_file *file = shard->files[f];
        json_array_foreach (json_object_get(file->facts, "module_values"), i, name)
            if (file->scanned && strcmp(json_string_value(name), type) == 0)
                return file;
    }
    return NULL;
}

/*
 * Only a scan tells whether keys are of the module. If a host has the module, such a host is
 * chosen; if none has it, the transfer refuses a file with such keys.
 */
void modules_check(struct draft *d, int shard)
{
    const struct plan_shard *ps = &d->plan->shards[shard];
    const struct plan_issue issue = {.database = d->plan->databases[ps->database].database->label,
        .code = "module",
        .hint =
            "Install the module on the hosts and name it with \"modules\" in the hosts file, or "
            "name a server that has it with \"server\"."};
    bool *some = &d->shards[shard].modules;
    const char *lacked = NULL;

    if (!has_types(ps))
        return;
    for (size_t h = 0; h < d->plan->host_count && !*some; h++) {
        const char *type = d->hosts[h].usable ? modules_lacked(d, shard, (int)h) : NULL;
        lacked = type ? type : lacked;
        *some = d->hosts[h].usable && !type;
    }
    const struct backup_file *with = lacked ? file_with_values(ps, lacked) : NULL;
    if (*some || !lacked || ps->primary >= 0)
        return;
    if (with)
        draft_block(d, &issue, "'%s' has keys of the module type '%s', which no host's server has",
            with->name, lacked);
    else
        draft_warn(d, &issue,
            "'%s' has data of the module type '%s', which no host's server has: if keys are of "
            "this type, the transfer refuses the file; if not, only the module's data outside of "
            "keys is left out",
            ps->file ? ps->file->name : "?", lacked);
}
