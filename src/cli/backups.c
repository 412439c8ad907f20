#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "recluster/catalogue.h"
#include "recluster/clock.h"
#include "recluster/human.h"
#include "recluster/json.h"
#include "recluster/store.h"

static json_t *set_json(const struct backup_set *set, int64_t now_ms)
{
    char time[CLOCK_TEXT_MAX];
    bool aof = false;
    int64_t bytes = 0;

    for (size_t i = 0; i < set->file_count; i++) {
        aof |= set->files[i].aof;
        bytes = bytes < 0 || set->files[i].bytes < 0 ? -1 : bytes + set->files[i].bytes;
    }
    json_t *o = json_pack("{s:s, s:s*, s:s*, s:s*, s:s, s:I, s:b, s:s*}", "set", set->id, "time",
        set->time_ms < 0 ? NULL : clock_format(set->time_ms, time), "database_uid",
        set->database_uid, "database_name", set->database_name, "form", aof ? "rdb+stream" : "rdb",
        "files", (json_int_t)set->file_count, "complete", set->complete, "reason", set->reason);
    if (set->time_ms >= 0)
        json_object_set_new(o, "age_s", json_integer((now_ms - set->time_ms) / 1000));
    if (set->verified)
        json_object_set_new(o, "verified",
            json_pack("{s:s, s:s*}", "how", set->verified, "time", set->verified_time));
    if (bytes >= 0)
        json_object_set_new(o, "bytes", json_integer(bytes));
    return o;
}

/* The newest complete set of each database, which a recovery takes without --at. */
static void mark_newest(json_t *sets)
{
    json_t *set, *other;
    size_t i, k;

    json_array_foreach (sets, i, set) {
        bool newest = json_flag(set, "complete");
        for (k = 0; newest && k < i; k++) {
            other = json_array_get(sets, k);
            newest = !json_flag(other, "newest") || strcmp(json_text(other, "database_uid", ""),
                                                        json_text(set, "database_uid", "")) != 0;
        }
        json_object_set_new(set, "newest", json_boolean(newest));
    }
}

static int add_location(
    const struct arguments *args, const char *word, json_t *places, struct err *err)
{
    struct store_list list = STORE_LIST_INIT;
    struct catalogue catalogue;
    json_t *location = location_of_word(args, word), *sets = json_array(), *archives = NULL;
    struct store *store = store_open_resolved(location, err);

    json_decref(location);
    int rc = store ? store_list(store, &list, err) : -1;
    if (rc == 0)
        rc = catalogue_archives(store, &list, &archives, err);
    if (rc == 0)
        rc = catalogue_read_all(store, &list, &catalogue, err);
    if (rc == 0) {
        for (size_t i = 0; i < catalogue.set_count; i++)
            json_array_append_new(sets, set_json(&catalogue.sets[i], clock_wall_ms()));
        catalogue_release(&catalogue);
        mark_newest(sets);
        json_array_append_new(places, json_pack("{s:s, s:O, s:O}", "location", store_label(store),
                                          "sets", sets, "archives", archives));
    }
    json_decref(archives);
    json_decref(sets);
    store_list_release(&list);
    store_close(store);
    return rc;
}

static void add_set(const json_t *set, struct buf *out)
{
    char bytes[HUMAN_TEXT_MAX], age[HUMAN_TEXT_MAX];
    const json_t *size = json_object_get(set, "bytes"), *age_s = json_object_get(set, "age_s");
    const char *name = json_text(set, "database_name", NULL);

    buf_addf(out, "  %-20s %-10s %3zu file%s %9s  %s ago\n", json_text(set, "set", ""),
        json_text(set, "form", ""), (size_t)json_int(set, "files", 0),
        json_int(set, "files", 0) == 1 ? " " : "s",
        size ? human_bytes((uint64_t)json_integer_value(size), bytes) : "?",
        age_s ? human_duration(json_integer_value(age_s) * 1000, age) : "?");
    if (name || json_object_get(set, "database_uid"))
        buf_addf(out, "    db:%s %s%s\n", json_text(set, "database_uid", "?"), name ? name : "",
            json_flag(set, "newest") ? ", the newest complete set" : "");
    const json_t *verified = json_object_get(set, "verified");
    if (verified)
        buf_addf(out, "    verified by %s at %s\n", json_text(verified, "how", ""),
            json_text(verified, "time", "?"));
    if (!json_flag(set, "complete"))
        buf_addf(out, "    incomplete: %s\n", json_text(set, "reason", "?"));
}

static void add_archive(const json_t *archive, struct buf *out)
{
    const char *newest = json_text(archive, "newest", NULL);
    const char *reason = json_text(archive, "reason", NULL);
    const json_t *branch;
    char bytes[HUMAN_TEXT_MAX];
    size_t i;

    buf_addf(out, "Archive of db:%s %s: %zu data sets, %zu segments, %s\n",
        json_text(archive, "database_uid", "?"), json_text(archive, "database_name", ""),
        (size_t)json_int(archive, "bases", 0), (size_t)json_int(archive, "segments", 0),
        human_bytes((uint64_t)json_int(archive, "bytes", 0), bytes));
    if (newest)
        buf_addf(out, "  any moment from %s to %s\n", json_text(archive, "first", "?"), newest);
    if (reason)
        buf_addf(out, "  not %s: %s\n", json_text(archive, "last", "?"), reason);
    json_array_foreach (json_object_get(archive, "branches"), i, branch) {
        buf_addf(out, "  shard:%s: %s of a primary that failed, which no later moment has\n",
            json_text(branch, "shard", "?"),
            human_bytes((uint64_t)json_int(branch, "bytes", 0), bytes));
    }
}

static void text_of(const json_t *document, bool colour, struct buf *out)
{
    const json_t *place, *set;
    size_t i, k;

    (void)colour;
    json_array_foreach (json_object_get(document, "locations"), i, place) {
        const json_t *sets = json_object_get(place, "sets");
        buf_addf(out, "%s: %zu backup set%s\n", json_text(place, "location", ""),
            json_array_size(sets), json_array_size(sets) == 1 ? "" : "s");
        json_array_foreach (sets, k, set) {
            add_set(set, out);
        }
        json_array_foreach (json_object_get(place, "archives"), k, set) {
            add_archive(set, out);
        }
    }
}

static int run(const struct arguments *args, struct err *err)
{
    json_t *places = json_array();
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < args->word_count; i++)
        rc = add_location(args, args->words[i], places, err);
    if (rc == 0) {
        json_t *document = json_pack("{s:O}", "locations", places);
        rc = print_result(args, document, text_of, err);
        json_decref(document);
    }
    json_decref(places);
    return rc;
}

const struct command command_backups = {
    .name = "backups",
    .words = "LOCATION...",
    .summary = "list the backup sets of a location",
    .help = "Lists the sets of all databases at LOCATION, the newest first: of `backup`, of the "
            "vendor, of `redis-cli --cluster backup`. Reads no data: `verify` does.",
    .min_words = 1,
    .max_words = 100,
    .options = OPTIONS(OPT_INSECURE, OPT_JSON, OPT_HELP),
    .run = run,
};
