/* Folders with backups that hosts do not see. */

#include "draft.h"

static bool fetches(const struct plan_shard *shard, size_t database, size_t host)
{
    if (shard->database != database || shard->host != (int)host)
        return false;
    for (size_t f = 0; f < shard->file_count; f++)
        if (!shard->files[f]->where)
            return true;
    return false;
}

static bool is_needed(const struct draft *d, size_t database, size_t host)
{
    for (size_t s = 0; s < d->plan->shard_count; s++)
        if (fetches(&d->plan->shards[s], database, host))
            return true;
    return false;
}

/* Where the admin's own commands run first, one of them may mount it. */
static bool may_come(const struct host *host)
{
    return json_array_size(json_object_get(host->spec, "prepare")) > 0 ||
           json_is_string(json_object_get(host->spec, "prepare"));
}

static void check(struct draft *d, size_t database)
{
    const struct plan_database *db = &d->plan->databases[database];
    struct draft_names names = DRAFT_NAMES_INIT;
    const char *why = NULL;
    bool blocks = false;

    for (size_t h = 0; h < d->plan->host_count; h++) {
        const json_t *unseen = json_object_get(d->plan->hosts[h].facts, "unseen");
        const json_t *error = json_object_get(json_object_get(unseen, db->database->uid), "error");
        if (!error || !is_needed(d, database, h))
            continue;
        draft_names_add(&names, "'%s'", d->plan->hosts[h].host->name);
        blocks |= !may_come(d->plan->hosts[h].host);
        why = why ? why : json_string_value(json_object_get(error, "message"));
    }
    if (!names.count)
        return;
    const struct plan_issue issue = {.code = "location-unseen",
        .database = db->database->label,
        .hint =
            "Mount it there, or let the bytes go over this machine: \"relay\": true of these hosts "
            "(or in \"defaults\") in the hosts file."};
    (blocks ? draft_block : draft_warn)(d, &issue,
        "%s: the folder with its backups, '%s', can't be read on %s: %s", db->database->label,
        db->location_label ? db->location_label : "?", draft_names(d, &names), why ? why : "?");
}

void unseen_check(struct draft *d)
{
    for (size_t i = 0; i < d->plan->database_count; i++)
        if (!d->plan->databases[i].skipped)
            check(d, i);
}
