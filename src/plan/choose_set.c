/* Which backup set a database is restored from, and what the operator should know about it. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/clock.h"
#include "steps.h"

enum {
    SHOWN_FOLDERS = 8,
    EMPTY_FILE_BYTES = 1024,
    /* File names may have local time. */
    TIME_DIFFERENCE_MS = 26 * 3600 * 1000,
};

static const char *time_text(struct draft *d, int64_t time_ms)
{
    char text[CLOCK_TEXT_MAX];

    return time_ms < 0 ? "unknown time"
                       : arena_strdup(&d->plan->arena, clock_format(time_ms, text));
}

static const char *name_place(struct draft *d, const char *label)
{
    return draft_text(d, "Name the location of its backups: --source %s=LOCATION.", label);
}

static const char *where_text(const struct plan_database_input *in)
{
    return in->location_label ? in->location_label : "its location";
}

/* --- no set is chosen --- */

/* The newest set cannot be used. The faults of its files come first. */
static void block_unusable(struct draft *d, const char *label, const struct backup_set *newest)
{
    struct plan_issue issue = {.code = "set-incomplete",
        .database = label,
        .hint =
            newest->hint
                ? newest->hint
                : "Bring the missing files to the location, or name another one with --source."};

    if (newest->cause || slots_is_empty(&newest->missing)) {
        draft_block(d, &issue,
            "the newest backup set, of %s, cannot be used: %s; no other set is complete",
            time_text(d, newest->time_ms), newest->reason ? newest->reason : "it is not complete");
        return;
    }
    issue.code = "slots-missing";
    draft_block(d, &issue,
        "the newest backup set, of %s, lacks the slots %s; no other set is complete",
        time_text(d, newest->time_ms), draft_slots(d, &newest->missing));
}

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
        issue.hint = name_place(d, label);
        draft_block(d, &issue, "there is no backup set at %s", where_text(in));
    } else if (complete) {
        issue.hint = "Give a later --at, or leave it out for the newest set.";
        draft_block(d, &issue, "no complete backup set is old enough; the oldest is of %s",
            time_text(d, complete->time_ms));
    } else {
        block_unusable(d, label, newest);
    }
}

static void block_location(struct draft *d, const struct plan_database_input *in)
{
    const char *label = in->database->label;
    bool absent = in->error && in->error->code == ERR_NOT_FOUND;
    const struct plan_issue issue = {.code = absent ? "set-missing" : "source-unreadable",
        .database = label,
        .hint = in->error && in->error->hint[0] ? arena_strdup(&d->plan->arena, in->error->hint)
                                                : name_place(d, label)};

    draft_block(d, &issue, "%s %s: %s",
        absent ? "there is no backup set at" : "cannot read the backups at", where_text(in),
        in->error ? in->error->message : "the reason is not known");
}

/* "a1:/data/redis, node:2:/var/lib/redis, ..." */
static const char *folders_text(struct draft *d)
{
    struct draft_names names = DRAFT_NAMES_INIT;
    const json_t *folder;
    size_t i;

    json_array_foreach (d->input->disks, i, folder)
        if (i < SHOWN_FOLDERS)
            draft_names_add(
                &names, "%s:%s", json_text(folder, "owner", "?"), json_text(folder, "path", "?"));
    return names.count ? draft_names(d, &names) : NULL;
}

static void block_disks(struct draft *d, const struct plan_database_input *in)
{
    const char *label = in->database->label, *folders = folders_text(d);
    const struct ccs_shard *shards = d->input->ccs->shards + in->database->first_shard;
    const char *uid = in->database->shard_count ? shards[0].uid : "UID";
    struct plan_issue issue = {.code = "set-missing", .database = label};

    issue.hint =
        "Name the folders with \"recovery_path\" of hosts or \"old_nodes\" in the hosts file.";
    if (folders)
        issue.hint = draft_text(d,
            "It looked for redis-%s.rdb, appendonly-%s.aof, appendonly-%s.aof.dir and the same "
            "files of its other shards. Next to a nodes.conf whose line 'myself' has one of these "
            "ids it looked for dump.rdb, appendonly.aof and appendonlydir. Name other folders "
            "with \"recovery_path\" in the hosts file.",
            uid, uid, uid);
    draft_block(d, &issue, "none of its files is on a disk that was searched%s%s",
        folders ? ": " : "", folders ? folders : "");
}

/* --- newer sets that are not chosen --- */

/* `count` sets were left out by --at. */
static void warn_of_later_sets(
    struct draft *d, const struct plan_database *db, const struct backup_set *set, int count)
{
    draft_warn(d,
        &(struct plan_issue){.code = "set-newer",
            .database = db->database->label,
            .hint = "Leave out --at to lose less."},
        "the newer backup set '%s' of %s%s is later than --at; the set of %s is taken", set->id,
        time_text(d, set->time_ms), count > 1 ? draft_text(d, ", and %d others,", count - 1) : "",
        time_text(d, db->set->time_ms));
}

static void warn_of_incomplete_sets(
    struct draft *d, const struct plan_database *db, const struct backup_set *set, int count)
{
    const char *hint = "Bring its missing files to the location to lose less.";

    draft_warn(d,
        &(struct plan_issue){.code = "set-incomplete",
            .database = db->database->label,
            .hint = set->hint ? set->hint : hint},
        "the newer backup set '%s' of %s is not complete (%s)%s; the set of %s is taken", set->id,
        time_text(d, set->time_ms), set->reason ? set->reason : "",
        count > 1 ? draft_text(d, ", nor are %d others", count - 1) : "",
        time_text(d, db->set->time_ms));
}

static void warn_of_future_set(
    struct draft *d, const struct plan_database *db, const struct backup_set *set)
{
    draft_warn(d,
        &(struct plan_issue){.code = "set-future",
            .database = db->database->label,
            .hint =
                "A clock was wrong when it was made, or its name is. If it is the newest, bring "
                "it to a location of its own and name that with --source."},
        "the backup set '%s' claims to be of %s, which is in the future: the set of %s is taken",
        set->id, time_text(d, set->time_ms), time_text(d, db->set->time_ms));
}

/*
 * Why newer sets are not chosen: those below the next newer complete set are incomplete, those from
 * there on are later than --at. Sets of the future have a warning of their own.
 */
static void warn_of_newer_sets(
    struct draft *d, const struct plan_database *db, const struct catalogue *catalogue)
{
    const struct backup_set *passed = NULL, *later = NULL;
    int passed_count = 0, later_count = 0;

    for (int i = catalogue->chosen; i-- > 0;) {
        const struct backup_set *set = &catalogue->sets[i];
        if (set->future && !db->set->future)
            continue;
        if (later_count || set->complete) {
            later = set;
            later_count++;
        } else {
            passed = set;
            passed_count++;
        }
    }
    if (later_count)
        warn_of_later_sets(d, db, later, later_count);
    if (passed_count)
        warn_of_incomplete_sets(d, db, passed, passed_count);
    for (int i = 0; i < catalogue->chosen && !db->set->future; i++)
        if (catalogue->sets[i].future)
            warn_of_future_set(d, db, &catalogue->sets[i]);
}

/* --- the chosen set --- */

/* How many keys it has, without reading files whole; -1: unknown. */
static int64_t known_keys(const struct backup_set *set)
{
    int64_t keys = 0;

    for (size_t f = 0; f < set->file_count; f++) {
        const struct backup_file *file = &set->files[f];
        const json_t *count = json_object_get(file_facts(file), "keys");
        int64_t of_file = json_is_integer(count) ? json_integer_value(count) : file->keys;
        /* A manifest that says 0 keys for a large file is wrong. */
        bool known = json_is_integer(count) || of_file > 0 || file->bytes < EMPTY_FILE_BYTES;
        if (of_file < 0 || file->aof || !known)
            return -1;
        keys += of_file;
    }
    return keys;
}

static void warn_of_no_keys(
    struct draft *d, const struct plan_database *db, const struct catalogue *catalogue)
{
    const struct backup_set *older = NULL;
    struct plan_issue issue = {.code = "set-empty", .database = db->database->label};

    if (known_keys(db->set) != 0)
        return;
    for (size_t i = (size_t)catalogue->chosen + 1; i < catalogue->set_count && !older; i++)
        if (catalogue->sets[i].complete && known_keys(&catalogue->sets[i]) != 0)
            older = &catalogue->sets[i];
    if (older)
        issue.hint = draft_text(
            d, "To take the older set '%s': --at %s", older->id, time_text(d, older->time_ms));
    draft_warn(d, &issue, "the backup set '%s' of %s has no keys: it is restored empty%s",
        db->set->id, time_text(d, db->set->time_ms),
        older ? ", although there is an older set" : "");
}

/* When a file was made, from its own head; -1: unknown. */
static int64_t own_time_ms(const struct backup_file *file)
{
    int64_t at = file_saved_s(file);

    return at > 0 && at < INT64_MAX / 1000 ? at * 1000 : -1;
}

static bool far_apart(int64_t a, int64_t b)
{
    return a >= 0 && b >= 0 && (a > b ? a - b : b - a) > TIME_DIFFERENCE_MS;
}

/* The times in its name, in its files and in the store should be close. */
static void warn_of_times(struct draft *d, const struct plan_database *db)
{
    const struct backup_set *set = db->set;
    const struct plan_issue issue = {.code = "set-time",
        .database = db->database->label,
        .hint = "Check whether it is the right set, and which others there are: recluster verify "
                "LOCATION"};

    for (size_t f = 0; f < set->file_count && !set->disks; f++) {
        const struct backup_file *file = &set->files[f];
        int64_t own_ms = own_time_ms(file);
        bool before = file->modified_ms > 0 && own_ms - file->modified_ms > TIME_DIFFERENCE_MS;
        if (!far_apart(own_ms, set->time_ms) && !before)
            continue;
        draft_warn(d, &issue,
            "the backup set '%s' is of %s, but '%s' says that it was saved at %s%s%s", set->id,
            time_text(d, set->time_ms), file->name, time_text(d, own_ms),
            before ? ", and is at its location since " : "",
            before ? time_text(d, file->modified_ms) : "");
        return;
    }
}

static void warn_of_set(
    struct draft *d, const struct plan_database *db, const struct catalogue *catalogue)
{
    const struct backup_set *set = db->set;
    struct plan_issue issue = {.code = "file-passed-over", .database = db->database->label};

    for (size_t i = 0; i < set->note_count; i++)
        draft_warn(d, &issue, "%s", set->notes[i]);
    issue.code = "set-future";
    issue.hint = "A clock was wrong when it was made, or its name is.";
    if (set->future)
        draft_warn(d, &issue,
            "the backup set '%s' claims to be of %s, which is in the future: it is not known how "
            "much was written since then",
            set->id, time_text(d, set->time_ms));
    warn_of_no_keys(d, db, catalogue);
    warn_of_times(d, db);
}

/* The set is files on disks: says why the location is not used. */
static void settle_on_disks(
    struct draft *d, struct plan_database *db, const struct plan_database_input *in)
{
    const char *label = db->database->label;
    struct plan_issue issue = {.code = "source-unreadable", .database = label};

    db->location = NULL;
    db->location_label = db->set->disks;
    if (!in->error)
        return;
    if (in->error->code == ERR_NOT_FOUND) { /* it has nothing newer */
        draft_warn(d, &issue, "there is no backup set at %s: %s; the files on disks are taken",
            where_text(in), in->error->message);
        return;
    }
    issue.hint = draft_text(d,
        "It may have newer backups than the disks. To do without them: --source %s=disks.", label);
    draft_block(d, &issue, "cannot read the backups at %s: %s", where_text(in), in->error->message);
}

static void take_chosen(
    struct draft *d, struct plan_database *db, const struct plan_database_input *in)
{
    db->set = &in->catalogue->sets[in->catalogue->chosen];
    db->age_s = -1;
    if (db->set->time_ms >= 0 && !db->set->future)
        db->age_s =
            db->set->time_ms < d->input->now_ms ? (d->input->now_ms - db->set->time_ms) / 1000 : 0;
    warn_of_newer_sets(d, db, in->catalogue);
    warn_of_set(d, db, in->catalogue);
    if (db->set->disks)
        settle_on_disks(d, db, in);
}

void choose_set(struct draft *d, struct plan_database *db, const struct plan_database_input *in)
{
    if (in->catalogue && in->catalogue->chosen >= 0) {
        take_chosen(d, db, in);
    } else if (in->only_disks && !in->catalogue) {
        block_disks(d, in);
    } else if (!in->catalogue && !in->location) {
        draft_block(d,
            &(struct plan_issue){.code = "no-source",
                .database = in->database->label,
                .hint = name_place(d, in->database->label)},
            "neither the CCS file nor the hosts file says where its backups are");
    } else {
        if (in->catalogue)
            block_without_set(d, in);
        if (!in->catalogue || in->error)
            block_location(d, in);
    }
}
