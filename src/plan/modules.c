/* Whether servers have the modules of a database, and the types that its files contain. */

#include <string.h>
#include <strings.h>

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

/* Whether an entry of the host's "modules" ends with these arguments. */
static bool has_args(const struct host *host, const char *args)
{
    const json_t *module, *word;
    size_t i, k;

    json_array_foreach (json_object_get(host->spec, "modules"), i, module) {
        CLEANUP(buf_release) struct buf text = BUF_INIT;
        json_array_foreach (module, k, word) {
            if (k > 0)
                buf_addf(&text, "%s%s", k > 1 ? " " : "", json_string_value(word));
        }
        if (strcmp(text.data, args) == 0)
            return true;
    }
    return false;
}

static bool server_has(const json_t *server, const char *name)
{
    const json_t *module;
    size_t i;

    json_array_foreach (json_object_get(server, "modules"), i, module) {
        const char *other = json_string_value(module);
        if (other && strcasecmp(other, name) == 0)
            return true;
    }
    return false;
}

static void warn_of_module(
    struct draft *d, const struct ccs_database *db, const char *name, const char *args)
{
    struct draft_names lack = DRAFT_NAMES_INIT, differ = DRAFT_NAMES_INIT;

    for (size_t h = 0; h < d->plan->host_count; h++) {
        const json_t *server = json_object_get(d->plan->hosts[h].facts, "server");
        if (!d->hosts[h].usable || !json_object_get(server, "modules"))
            continue;
        if (!server_has(server, name))
            draft_names_add(&lack, "%s", d->plan->hosts[h].host->name);
        else if (*args && !has_args(d->plan->hosts[h].host, args))
            draft_names_add(&differ, "%s", d->plan->hosts[h].host->name);
    }
    if (lack.count)
        draft_warn(d,
            &(struct plan_issue){.code = "module-missing",
                .database = db->label,
                .hint = "Install it there, and name its file with \"modules\" in the hosts file."},
            "had the module '%s', which the servers of these hosts do not have: %s", name,
            draft_names(d, &lack));
    if (differ.count)
        draft_warn(d,
            &(struct plan_issue){.code = "module-arguments",
                .database = db->label,
                .hint = "A CCS file is not trusted with arguments. If they are right, write "
                        "[PATH, ARGUMENT, …] with \"modules\" in the hosts file."},
            "loaded the module '%s' with the arguments '%s', which these hosts do not give it: %s",
            name, args, draft_names(d, &differ));
    buf_release(&lack.text);
    buf_release(&differ.text);
}

void modules_warn(struct draft *d)
{
    for (size_t i = 0; i < d->plan->database_count; i++) {
        const struct ccs_database *db = d->plan->databases[i].database;
        bool some = db->modules && !d->plan->databases[i].skipped;
        for (size_t k = 0; some && db->modules[k]; k++)
            warn_of_module(d, db, db->modules[k], db->module_args ? db->module_args[k] : "");
    }
}
