/* Which backup set a database comes back from, and which file of it each primary loads. */

#include <string.h>

#include "draft.h"
#include "recluster/clock.h"

static const char *time_text(struct draft *d, int64_t time_ms)
{
    char text[CLOCK_TEXT_MAX];

    return arena_strdup(&d->plan->arena, clock_format(time_ms, text));
}

static const char *where_text(const struct plan_database_input *in)
{
    return in->location_label ? in->location_label : "its location";
}

static const char *skip_reason(const struct ccs_database *db)
{
    if (strcmp(db->type, "memcached") == 0)
        return "a memcached database has no backups that could be loaded";
    if (db->active_active)
        return "the files of an Active-Active database need the vendor's own module";
    return NULL;
}

/* The slots of the primaries must be all, each once. */
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
    if (!slots_is_empty(&missing))
        draft_block(d,
            &(struct plan_issue){.code = "ccs-slots-missing",
                .database = database->label,
                .hint = "The CCS file is damaged or from the middle of a change: take an older or "
                        "newer copy of it from another node."},
            "%s: no primary of the CCS file has the slots %s", database->label,
            draft_slots(d, &missing));
    if (twice.count > 0)
        draft_block(d,
            &(struct plan_issue){.code = "ccs-slots-overlap",
                .database = database->label,
                .hint = "The CCS file is from the middle of a change: take an older or newer copy "
                        "of it from another node."},
            "%s: the primaries %s have slots that others have too", database->label,
            draft_names(d, &twice));
}

/* All shards of the CCS file but the replicas that have no primary. */
static void add_shards(struct draft *d, struct plan_database *db)
{
    struct plan *plan = d->plan;
    const struct ccs *ccs = d->input->ccs;
    struct draft_names orphans = DRAFT_NAMES_INIT;
    const struct ccs_database *database = db->database;
    int *place = xcalloc(database->shard_count + 1, sizeof(*place));
    size_t replicas = 0;

    db->first_shard = plan->shard_count;
    for (size_t i = 0; i < database->shard_count; i++) {
        const struct ccs_shard *shard = &ccs->shards[database->first_shard + i];
        int primary = -1;
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
        draft_warn(d, &issue, "%s: left out, as no primary has the slots of %s", database->label,
            draft_names(d, &orphans));
    } else if (database->replicated && replicas == 0) {
        issue.code = "replicas-missing";
        draft_warn(d, &issue, "%s: is replicated, but the CCS file has no replicas of it",
            database->label);
    }
    free_ptr(&place);
}

/* No set is chosen: says which slots the newest one lacks. */
static void block_without_set(struct draft *d, const struct plan_database_input *in)
{
    const struct catalogue *catalogue = in->catalogue;
    const char *label = in->database->label;
    const struct backup_set *newest = catalogue->sets, *complete = NULL;
    struct plan_issue issue = {.code = "set-missing", .database = label};

    for (size_t i = catalogue->set_count; i-- > 0 && !complete;)
        if (catalogue->sets[i].complete)
            complete = &catalogue->sets[i];
    if (!newest || catalogue->set_count == 0) {
        issue.hint = arena_printf(
            &d->plan->arena, "Name the place of its backups: --source %s=LOCATION.", label);
        draft_block(d, &issue, "%s: there is no backup set at %s", label, where_text(in));
    } else if (complete) {
        issue.hint = "Give a later --at, or none for the newest set.";
        draft_block(d, &issue, "%s: no complete backup set is old enough; the oldest is of %s",
            label, time_text(d, complete->time_ms));
    } else if (slots_is_empty(&newest->missing)) {
        issue.code = "set-incomplete";
        issue.hint = "Bring the missing files to the location, or name another one with --source.";
        draft_block(d, &issue, "%s: the newest backup set, of %s, is not complete: %s; no other is",
            label, time_text(d, newest->time_ms), newest->reason ? newest->reason : "");
    } else {
        issue.code = "slots-missing";
        issue.hint = "Bring the missing files to the location, or name another one with --source.";
        draft_block(d, &issue,
            "%s: the newest backup set, of %s, lacks the slots %s; no other set is complete", label,
            time_text(d, newest->time_ms), draft_slots(d, &newest->missing));
    }
}

/* Sets between the chosen one and the next newer complete one: --at did not leave those out. */
static void warn_of_newer_sets(
    struct draft *d, const struct plan_database *db, const struct catalogue *catalogue)
{
    int newest = catalogue->chosen;

    while (newest > 0 && !catalogue->sets[newest - 1].complete)
        newest--;
    int count = catalogue->chosen - newest;
    if (count == 0)
        return;
    const struct backup_set *set = &catalogue->sets[newest];
    char more[40] = "";
    if (count > 1)
        snprintf(more, sizeof(more), ", nor are %d others", count - 1);
    draft_warn(d,
        &(struct plan_issue){.code = "set-incomplete",
            .database = db->database->label,
            .hint = "Bring its missing files to the location to lose less."},
        "%s: the newer backup set '%s' of %s is not complete (%s)%s; the set of %s is taken",
        db->database->label, set->id, time_text(d, set->time_ms), set->reason ? set->reason : "",
        more, time_text(d, db->set->time_ms));
}

static void choose_set(
    struct draft *d, struct plan_database *db, const struct plan_database_input *in)
{
    const char *label = db->database->label;
    struct plan_issue issue = {.database = label};

    issue.hint = arena_printf(
        &d->plan->arena, "Name the place of its backups: --source %s=LOCATION.", label);
    if (in->catalogue && in->catalogue->chosen >= 0) {
        db->set = &in->catalogue->sets[in->catalogue->chosen];
        if (db->set->time_ms < d->input->now_ms)
            db->age_s = (d->input->now_ms - db->set->time_ms) / 1000;
        warn_of_newer_sets(d, db, in->catalogue);
    } else if (in->catalogue) {
        block_without_set(d, in);
    } else if (!in->location) {
        issue.code = "no-source";
        draft_block(d, &issue,
            "%s: neither the CCS file nor the hosts file says where its backups "
            "are",
            label);
    } else {
        bool absent = in->error && in->error->code == ERR_NOT_FOUND;
        issue.code = absent ? "set-missing" : "source-unreadable";
        if (in->error && in->error->hint[0])
            issue.hint = arena_strdup(&d->plan->arena, in->error->hint);
        draft_block(d, &issue, "%s: %s %s: %s", label,
            absent ? "there is no backup set at" : "cannot read the backups at", in->location_label,
            in->error ? in->error->message : "the reason is not known");
    }
}

static const struct backup_file *file_of_slots(
    const struct backup_set *set, const int *file_by_first_slot, const struct slots *slots)
{
    unsigned at = 0, first, last;

    if (!slots_next_range(slots, &at, &first, &last) || file_by_first_slot[first] < 0)
        return NULL;
    const struct backup_file *file = &set->files[file_by_first_slot[first]];
    return slots_equal(&file->slots, slots) ? file : NULL;
}

static void block_cut_needed(struct draft *d, const struct plan_database *db, const bool *used)
{
    struct draft_names files = DRAFT_NAMES_INIT, shards = DRAFT_NAMES_INIT;

    for (size_t f = 0; f < db->set->file_count; f++)
        if (!used[f])
            draft_names_add(&files, "'%s' (%s)", db->set->files[f].name,
                draft_slots(d, &db->set->files[f].slots));
    for (size_t i = 0; i < db->shard_count; i++) {
        const struct plan_shard *shard = &d->plan->shards[db->first_shard + i];
        if (shard->primary < 0 && !shard->file && !slots_is_empty(shard->shard->slots))
            draft_names_add(
                &shards, "shard:%s (%s)", shard->shard->uid, draft_slots(d, shard->shard->slots));
    }
    if (shards.count == 0) {
        buf_release(&files.text);
        return;
    }
    const char *unused = files.count > 0 ? draft_names(d, &files) : "none";
    draft_block(d,
        &(struct plan_issue){.code = "cut-needed",
            .database = db->database->label,
            .hint = "Files are not cut: take a backup set of the same slots with --at, or a CCS "
                    "file of the time of the backup."},
        "%s: the slots of the backup files are not those of the shards; files left over: %s; "
        "shards without a file: %s",
        db->database->label, unused, draft_names(d, &shards));
}

/* A shard without slots needs no file: its server starts empty. */
static void match_sharded(struct draft *d, const struct plan_database *db)
{
    const struct backup_set *set = db->set;
    int *file_by_first_slot = xcalloc(SLOT_COUNT, sizeof(*file_by_first_slot));
    bool *used = xcalloc(set->file_count + 1, sizeof(*used));

    for (int slot = 0; slot < SLOT_COUNT; slot++)
        file_by_first_slot[slot] = -1;
    for (size_t f = set->file_count; f-- > 0;) {
        unsigned at = 0, first, last;
        if (slots_next_range(&set->files[f].slots, &at, &first, &last))
            file_by_first_slot[first] = (int)f;
    }
    for (size_t i = 0; i < db->shard_count; i++) {
        struct plan_shard *shard = &d->plan->shards[db->first_shard + i];
        if (shard->primary >= 0)
            continue;
        shard->file = file_of_slots(set, file_by_first_slot, shard->shard->slots);
        if (shard->file)
            used[shard->file - set->files] = true;
    }
    block_cut_needed(d, db, used);
    free_ptr(&file_by_first_slot);
    free_ptr(&used);
}

static void match_single(struct draft *d, const struct plan_database *db)
{
    if (db->set->file_count == 1) {
        for (size_t i = 0; i < db->shard_count; i++)
            d->plan->shards[db->first_shard + i].file = &db->set->files[0];
        return;
    }
    draft_block(d,
        &(struct plan_issue){.code = "cut-needed",
            .database = db->database->label,
            .hint = "Files are not joined: take a set of one file with --at, or a CCS file of the "
                    "time of the backup."},
        "%s: is not sharded, but its backup set '%s' has %zu files", db->database->label,
        db->set->id, db->set->file_count);
}

/* What is known of a file's inside: of the whole of it, else of its head. */
static const json_t *known_facts(const struct backup_file *file)
{
    return file->scanned && file->facts ? file->facts : file->head;
}

static void check_databases_in_file(
    struct draft *d, const struct plan_database *db, const struct backup_file *file)
{
    json_t *by_db = json_object_get(known_facts(file), "keys_by_db");
    const char *number;
    json_t *keys;

    json_object_foreach (by_db, number, keys) {
        if (strcmp(number, "0") == 0 || json_integer_value(keys) == 0)
            continue;
        draft_block(d,
            &(struct plan_issue){.code = "keys-outside-db0",
                .database = db->database->label,
                .hint =
                    "A cluster has database 0 only: take these keys out of the file, or restore "
                    "it into a single server."},
            "%s: '%s' holds %" JSON_INTEGER_FORMAT " keys in database %s", db->database->label,
            file->name, json_integer_value(keys), number);
        return;
    }
}

static void match_files(struct draft *d, const struct plan_database *db)
{
    if (!db->set)
        return;
    if (db->database->sharded)
        match_sharded(d, db);
    else
        match_single(d, db);
    for (size_t i = 0; i < db->shard_count; i++) {
        struct plan_shard *shard = &d->plan->shards[db->first_shard + i];
        struct draft_shard *ds = &d->shards[db->first_shard + i];
        if (shard->primary >= 0)
            shard->file = d->plan->shards[shard->primary].file;
        if (!shard->file)
            continue;
        const json_t *facts = known_facts(shard->file);
        ds->rdb_version = (int)json_integer_value(json_object_get(facts, "rdb_version"));
        ds->valkey = json_is_true(json_object_get(facts, "valkey"));
        if (shard->primary < 0 && db->database->sharded)
            check_databases_in_file(d, db, shard->file);
    }
}

void source_choose(struct draft *d)
{
    size_t skipped = 0;

    for (size_t i = 0; i < d->input->database_count; i++) {
        const struct plan_database_input *in = &d->input->databases[i];
        struct plan_database *db = &d->plan->databases[i];
        *db = (struct plan_database){.database = in->database,
            .skipped = skip_reason(in->database),
            .location = in->location,
            .location_label = in->location_label,
            .first_shard = d->plan->shard_count};
        if (db->skipped) {
            skipped++;
            continue;
        }
        check_primaries(d, db);
        add_shards(d, db);
        choose_set(d, db, in);
        match_files(d, db);
    }
    if (skipped == d->input->database_count)
        draft_block(d, &(struct plan_issue){.code = "nothing-to-recover"},
            "there is no database that could be recovered");
}
