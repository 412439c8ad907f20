/* The shards of each database, and the files of its backup set that each primary loads. */

#include <stdlib.h>
#include <string.h>

#include "recluster/clock.h"
#include "steps.h"

static const char *skip_reason(const struct ccs_database *db)
{
    if (strcmp(db->type, "memcached") == 0)
        return "a memcached database has no backups that could be loaded";
    if (db->active_active)
        return "the files of an Active-Active database need the vendor's own module";
    return NULL;
}

/* Why the slots of a node are unknown; NULL: all are known. */
static const char *slots_unreadable(const struct ccs *ccs)
{
    for (size_t i = 0; i < ccs->finding_count; i++)
        if (strcmp(ccs->findings[i].code, "slots-unreadable") == 0)
            return ccs->findings[i].message;
    return NULL;
}

/* The primaries must have all slots, each once. */
static void check_primaries(struct draft *d, const struct plan_database *db)
{
    const struct ccs_database *database = db->database;
    const struct ccs_shard *shards = d->input->ccs->shards + database->first_shard;
    struct draft_names twice = DRAFT_NAMES_INIT;
    struct slots missing, seen;

    slots_fill(&missing);
    slots_clear(&seen);
    for (size_t i = 0; i < database->shard_count; i++) {
        if (!shards[i].primary)
            continue;
        if (slots_overlap(&seen, shards[i].slots))
            draft_names_add(&twice, "shard:%s", shards[i].uid);
        slots_union(&seen, shards[i].slots);
        slots_subtract(&missing, shards[i].slots);
    }
    if (d->input->allow_missing)
        slots_subtract(&missing, d->input->allow_missing);
    const char *cause = slots_unreadable(d->input->ccs);
    if (!slots_is_empty(&missing))
        draft_block(d,
            &(struct plan_issue){.code = "ccs-slots-missing",
                .database = database->label,
                .hint = "The CCS file is damaged or from the middle of a change: take an older or "
                        "newer copy of it from another node."},
            "%s%sno primary of the CCS file has the slots %s", cause ? cause : "",
            cause ? "; so " : "", draft_slots(d, &missing));
    if (twice.count > 0)
        draft_block(d,
            &(struct plan_issue){.code = "ccs-slots-overlap",
                .database = database->label,
                .hint =
                    "The CCS file is from the middle of a change: take an older or newer copy of "
                    "it from another node."},
            "the primaries %s have slots that other primaries have too", draft_names(d, &twice));
}

size_t source_shard_max(const struct plan_input *input, const struct plan_database_input *in)
{
    return reshard_is_wanted(input->ccs, in) ? reshard_shard_max(input->ccs, in)
                                             : in->database->shard_count;
}

/* All wanted shards of the CCS file, without replicas that lack a primary. */
static void add_shards(
    struct draft *d, struct plan_database *db, const struct plan_database_input *in)
{
    struct plan *plan = d->plan;
    const struct ccs *ccs = d->input->ccs;
    struct draft_names orphans = DRAFT_NAMES_INIT;
    const struct ccs_database *database = db->database;
    int *place = arena_alloc(&d->arena, (database->shard_count + 1) * sizeof(*place));
    size_t replicas = 0;

    db->first_shard = plan->shard_count;
    for (size_t i = 0; i < database->shard_count; i++) {
        const struct ccs_shard *shard = &ccs->shards[database->first_shard + i];
        int primary = -1;
        if (!shard->primary && in->no_replicas)
            continue;
        if (!shard->primary) {
            size_t of = (size_t)shard->primary_index - database->first_shard;
            if (shard->primary_index < 0 || of >= i) {
                draft_names_add(&orphans, "shard:%s", shard->uid);
                continue;
            }
            primary = place[of];
            replicas++;
        }
        place[i] = (int)plan->shard_count;
        plan->shards[plan->shard_count++] = (struct plan_shard){.shard = shard,
            .database = (size_t)(db - plan->databases),
            .host = -1,
            .primary = primary};
    }
    db->shard_count = plan->shard_count - db->first_shard;
    struct plan_issue issue = {.database = database->label};
    if (orphans.count > 0) {
        issue.code = "replica-without-primary";
        draft_warn(d, &issue, "left out %s: no primary has their slots", draft_names(d, &orphans));
    } else if (database->replicated && replicas == 0 && !in->no_replicas) {
        issue.code = "replicas-missing";
        draft_warn(d, &issue, "is replicated, but the CCS file has no replicas of it");
    }
}

/* Which file of a set has each slot; the first one where several have it. */
struct slot_owners {
    const struct backup_set *set;
    int file[SLOT_COUNT]; /* -1: none */
    bool *used;           /* by file: the shard has it already */
};

static struct slot_owners *find_owners(struct draft *d, const struct backup_set *set)
{
    struct slot_owners *owners = arena_alloc(&d->arena, sizeof(*owners));

    owners->set = set;
    owners->used = arena_alloc(&d->arena, set->file_count + 1);
    for (int slot = 0; slot < SLOT_COUNT; slot++)
        owners->file[slot] = -1;
    for (size_t f = set->file_count; f-- > 0;)
        for (unsigned at = 0, first, last;
             slots_next_range(&set->files[f].slots, &at, &first, &last);)
            for (; first <= last; first++)
                owners->file[first] = (int)f;
    return owners;
}

/*
 * The files of a primary, in the order of its slots; slots without a file are lost. A file with
 * keys of slots that its server was importing is cut too.
 */
static void match_shard(
    struct draft *d, struct plan_database *db, struct plan_shard *shard, struct slot_owners *owners)
{
    const struct slots *own = shard->shard->slots;
    const struct backup_file **files = NULL;
    size_t alloc = 0;

    for (unsigned at = 0, first, last; slots_next_range(own, &at, &first, &last);)
        for (; first <= last; first++) {
            int f = owners->file[first];
            if (f < 0)
                slots_add(&db->lost, first);
            if (f < 0 || owners->used[f])
                continue;
            owners->used[f] = true;
            GROW(files, shard->file_count, alloc);
            files[shard->file_count++] = &owners->set->files[f];
        }
    for (size_t i = 0; i < shard->file_count; i++)
        owners->used[files[i] - owners->set->files] = false;
    if (shard->file_count == 1 && slots_contain(own, &files[0]->slots) &&
        !json_object_get(file_facts(files[0]), "importing"))
        shard->file = files[0];
    shard->files = arena_memdup(&d->plan->arena, files, shard->file_count * sizeof(*files));
    free(files);
}

static void warn_of_cuts(struct draft *d, const struct plan_database *db)
{
    struct draft_names shards = DRAFT_NAMES_INIT;

    for (size_t i = 0; i < db->shard_count; i++) {
        const struct plan_shard *shard = &d->plan->shards[db->first_shard + i];
        if (shard->primary < 0 && plan_shard_needs_cut(shard))
            draft_names_add(
                &shards, "shard:%s (%s)", shard->shard->uid, draft_slots(d, shard->shard->slots));
    }
    if (shards.count > 0)
        draft_warn(d, &(struct plan_issue){.code = "cut-needed", .database = db->database->label},
            "the slots of the backup files are not those of the shards: files are cut and joined "
            "for %s",
            draft_names(d, &shards));
}

static void report_lost(struct draft *d, const struct plan_database *db)
{
    struct slots forbidden = db->lost;

    if (d->input->allow_missing)
        slots_subtract(&forbidden, d->input->allow_missing);
    if (!slots_is_empty(&forbidden))
        draft_block(d,
            &(struct plan_issue){.code = "slots-missing",
                .database = db->database->label,
                .hint =
                    "Bring the missing files to the location, or name another one with --source."},
            "no file of the backup set '%s' has the slots %s", db->set->id,
            draft_slots(d, &forbidden));
    else if (!slots_is_empty(&db->lost))
        draft_warn(d, &(struct plan_issue){.code = "slots-lost", .database = db->database->label},
            "is restored without the keys of the slots %s (--allow-missing-slots)",
            draft_slots(d, &db->lost));
}

/* A shard without slots needs no file: its server starts empty. */
static void match_sharded(struct draft *d, struct plan_database *db)
{
    struct slot_owners *owners = find_owners(d, db->set);

    for (size_t i = 0; i < db->shard_count; i++) {
        struct plan_shard *shard = &d->plan->shards[db->first_shard + i];
        if (shard->primary < 0)
            match_shard(d, db, shard, owners);
    }
    report_lost(d, db);
}

/* Takes all files, whatever slots their names say; several files are joined. */
static void match_single(struct draft *d, const struct plan_database *db)
{
    size_t count = db->set->file_count;
    const struct backup_file **all = arena_alloc(&d->plan->arena, (count + 1) * sizeof(*all));

    for (size_t f = 0; f < count; f++)
        all[f] = &db->set->files[f];
    for (size_t i = 0; i < db->shard_count; i++) {
        struct plan_shard *shard = &d->plan->shards[db->first_shard + i];
        shard->files = all;
        shard->file_count = count;
        shard->file = count == 1 ? all[0] : NULL;
    }
}

/* What the server of a shard must load: the newest RDB version, Valkey's magic. */
static void read_versions(
    const struct plan_database *db, const struct plan_shard *shard, struct draft_shard *ds)
{
    for (size_t f = 0; f < shard->file_count; f++) {
        const struct backup_file *file = shard->files[f];
        const json_t *facts = file_facts(file);
        int version = (int)json_int(facts, "rdb_version", 0);
        json_int_t keys;
        if (version > ds->rdb_version)
            ds->rdb_version = version;
        ds->valkey = ds->valkey || json_flag(facts, "valkey");
        if (db->database->sharded)
            ds->databases |= file_other_database(file, &keys) != NULL;
    }
}

/* Slots that were being moved during the backup, by nodes.json and by the files. */
static void warn_of_open_slots(struct draft *d, const struct plan_database *db)
{
    struct plan_issue issue = {.code = "slots-open", .database = db->database->label};
    struct slots open, importing;
    struct err impossible = ERR_INIT;

    slots_clear(&open);
    slots_clear(&importing);
    for (size_t f = 0; f < db->set->file_count; f++) {
        const struct backup_file *file = &db->set->files[f];
        const json_t *facts = json_object_get(file_facts(file), "importing");
        if (file->importing)
            slots_union(&open, file->importing);
        if (facts)
            (void)!slots_from_json(json_object_get(facts, "ranges"), &importing, &impossible);
    }
    if (!slots_is_empty(&importing))
        draft_warn(d, &issue,
            "when the backup was made, the slots %s were being moved from one node to another: "
            "their keys are taken from the file of the node that they leave",
            draft_slots(d, &importing));
    issue.hint = "Give recover the option --resort: each key then goes where its slot is.";
    if (!slots_is_empty(&open))
        draft_warn(d, &issue,
            "when the backup was made, the slot%s %s %s being moved from one node to another: "
            "files may have keys of slots that belong to another node",
            slots_count(&open) == 1 ? "" : "s", draft_slots(d, &open),
            slots_count(&open) == 1 ? "was" : "were");
}

static void match_files(struct draft *d, struct plan_database *db)
{
    if (!db->set)
        return;
    warn_of_open_slots(d, db);
    if (db->database->sharded)
        match_sharded(d, db);
    else
        match_single(d, db);
    for (size_t i = 0; i < db->shard_count; i++) {
        struct plan_shard *shard = &d->plan->shards[db->first_shard + i];
        if (shard->primary >= 0) {
            shard->file = d->plan->shards[shard->primary].file;
            shard->files = d->plan->shards[shard->primary].files;
            shard->file_count = d->plan->shards[shard->primary].file_count;
        }
        read_versions(db, shard, &d->shards[db->first_shard + i]);
        modules_check(d, (int)(db->first_shard + i));
    }
    warn_of_cuts(d, db);
}

/* Seconds between the oldest and the newest file, by their heads; -1: unknown. */
static int64_t skew_of(const struct backup_set *set)
{
    int64_t oldest = -1, newest = -1;

    for (size_t f = 0; f < set->file_count; f++) {
        const struct backup_file *file = &set->files[f];
        /* The head of an append-only file is older than its end. */
        int64_t at = set->disks ? file->time_ms / 1000 : file_saved_s(file);
        if (at <= 0)
            return -1;
        oldest = oldest < 0 || at < oldest ? at : oldest;
        newest = at > newest ? at : newest;
    }
    return newest - oldest;
}

static void choose_files(
    struct draft *d, struct plan_database *db, const struct plan_database_input *in)
{
    db->skew_s = -1;
    if (d->input->only_configuration) {
        draft_warn(d,
            &(struct plan_issue){.code = "only-configuration", .database = db->database->label},
            "is restored empty (--only-configuration)");
    } else if (!d->input->offline &&
               (in->location || in->only_disks || d->input->mode != PLAN_REPLAN)) {
        choose_set(d, db, in);
        if (db->set)
            db->skew_s = skew_of(db->set);
        match_files(d, db);
    }
}

/* Folders that could not be searched. */
static void warn_of_disks(struct draft *d)
{
    const json_t *folder;
    size_t i;

    json_array_foreach (d->input->disks, i, folder) {
        const json_t *error = json_object_get(folder, "error");
        const char *owner = json_text(folder, "owner", NULL);
        const char *path = json_text(folder, "path", NULL);
        const char *message = json_text(error, "message", NULL);
        const char *hint = json_text(error, "hint", NULL);
        if (!error)
            continue;
        draft_warn(d,
            &(struct plan_issue){.code = "disk-unreadable", .hint = hint && *hint ? hint : NULL},
            "cannot look for files in '%s' of %s: %s", path, owner, message);
    }
}

static void check_wishes(struct draft *d, const struct plan_database_input *in)
{
    if (in->primaries > 1 && reshard_old_primaries(d->input->ccs, in->database) == 1)
        draft_warn(d,
            &(struct plan_issue){.code = "becomes-cluster",
                .database = in->database->label,
                .hint = "Its clients need a library for Redis Cluster, and commands with several "
                        "keys need keys of one slot."},
            "was one server and becomes a Redis Cluster of %d primaries", in->primaries);
    if (in->no_replicas && in->database->replicated)
        draft_warn(d, &(struct plan_issue){.code = "no-replicas", .database = in->database->label},
            "is restored without its replicas (--no-replicas)");
}

void source_choose(struct draft *d)
{
    warn_of_disks(d);
    for (size_t i = 0; i < d->input->database_count; i++) {
        const struct plan_database_input *in = &d->input->databases[i];
        struct plan_database *db = &d->plan->databases[i];
        *db = (struct plan_database){.database = in->database,
            .skipped = skip_reason(in->database),
            .skew_s = -1,
            .location = in->location,
            .location_label = in->location_label,
            .first_shard = d->plan->shard_count};
        if (!db->skipped) /* the earlier plan left it out: so does this one */
            db->skipped = arena_strdup(
                &d->plan->arena, json_text(plan_json_database(d->input->pinned, in->database->uid),
                                     "skipped", NULL));
        if (db->skipped)
            continue;
        check_primaries(d, db);
        check_wishes(d, in);
        if (reshard_is_wanted(d->input->ccs, in))
            reshard_add(d, db, in);
        else
            add_shards(d, db, in);
        ownerless_slots_adopt(d, db);
        choose_files(d, db, in);
    }
}
