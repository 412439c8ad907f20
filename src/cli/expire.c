#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "recluster/clock.h"
#include "recluster/expiry.h"
#include "recluster/human.h"
#include "recluster/json.h"

enum { KEEP_LAST_MAX = 1000000 };

static int take_policy(const struct arguments *args, struct expiry_policy *ret, struct err *err)
{
    const char *rules = argument(args, OPT_KEEP_SETS), *last = argument(args, OPT_KEEP_LAST);
    const char *archive = argument(args, OPT_KEEP_ARCHIVE);
    int64_t archive_s = 0;
    char *end;

    *ret =
        (struct expiry_policy){.now_ms = clock_wall_ms(), .database = argument(args, OPT_DATABASE)};
    if (ret->database && strncmp(ret->database, "db:", 3) == 0)
        ret->database += 3;
    if (rules && capture_keep_parse(rules, &ret->keep, err) < 0)
        return err_wrap(err, "--keep");
    if (last) {
        ret->keep_last = strtoll(last, &end, 10);
        if (!*last || *end || ret->keep_last < 1 || ret->keep_last > KEEP_LAST_MAX)
            return err_set(err, ERR_USAGE, "--keep-last: '%s' is not a number of sets", last);
    }
    if (archive && human_parse_seconds(archive, &archive_s, err) < 0)
        return err_wrap(err, "--keep-archive");
    ret->archive_ms = archive_s * 1000;
    if (!rules && !last) /* then sets stay */
        ret->keep_last = INT64_MAX;
    if (rules || last || archive_s > 0)
        return 0;
    err_set(err, ERR_USAGE, "'expire' needs a rule: what to keep");
    return err_hint(
        err, "Write: --keep 7d:1h,90d:1d, or --keep-last 10, or for an archive --keep-archive 30d");
}

static void add_sets(const json_t *sets, struct buf *out)
{
    char bytes[HUMAN_TEXT_MAX];
    const json_t *set;
    size_t i;

    json_array_foreach (sets, i, set) {
        const json_t *database = json_object_get(set, "database");
        const char *why = json_text(set, "why", NULL), *reason = json_text(set, "reason", NULL);
        buf_addf(out, "  %s  db:%s %s, %zu files, %s\n", json_text(set, "set", ""),
            json_text(database, "uid", ""), json_text(database, "name", ""),
            json_array_size(json_object_get(set, "files")),
            human_bytes((uint64_t)json_int(set, "bytes", 0), bytes));
        if (reason)
            buf_addf(out, "    incomplete: %s\n", reason);
        if (why)
            buf_addf(out, "    kept since %s\n", why);
    }
}

static void text_of(const json_t *document, bool colour, struct buf *out)
{
    char bytes[HUMAN_TEXT_MAX];
    const json_t *place, *archive;
    size_t i, k;

    (void)colour;
    json_array_foreach (json_object_get(document, "locations"), i, place) {
        const json_t *removed = json_object_get(place, "removed");
        const json_t *kept = json_object_get(place, "kept");
        buf_addf(out, "%s\n", json_text(place, "location", ""));
        buf_addf(out, "%s %zu of %zu sets:\n",
            json_flag(document, "dry_run") ? "Would remove" : "Removed", json_array_size(removed),
            json_array_size(removed) + json_array_size(kept));
        add_sets(removed, out);
        buf_addf(out, "Kept %zu:\n", json_array_size(kept));
        add_sets(kept, out);
        json_array_foreach (json_object_get(place, "archives"), k, archive) {
            buf_addf(out, "Archive of db:%s: %zu objects, %s\n",
                json_text(archive, "database_uid", "?"),
                json_array_size(json_object_get(archive, "names")),
                human_bytes((uint64_t)json_int(archive, "bytes", 0), bytes));
        }
    }
}

static int look(const struct arguments *args, const struct expiry_policy *policy, json_t *places,
    struct err *err)
{
    for (size_t i = 0; i < args->word_count; i++) {
        json_t *location = location_of_word(args, args->words[i]), *plan = NULL;
        struct store *store = store_open_resolved(location, err);
        json_decref(location);
        if (!store)
            return -1;
        int rc = expiry_find(store, policy, &plan, err);
        if (rc == 0) {
            json_object_set_new(plan, "location", json_string(store_label(store)));
            json_array_append_new(places, plan);
        }
        store_close(store);
        if (rc < 0)
            return -1;
    }
    return 0;
}

static int remove_all(const struct arguments *args, const json_t *places, struct err *err)
{
    for (size_t i = 0; i < args->word_count; i++) {
        json_t *location = location_of_word(args, args->words[i]);
        struct store *store = store_open_resolved(location, err);
        json_decref(location);
        int rc = store ? expiry_remove(store, json_array_get(places, i), err) : -1;
        store_close(store);
        if (rc < 0)
            return -1;
    }
    return 0;
}

static size_t removed_count(const json_t *places)
{
    const json_t *place, *archive;
    size_t i, k, count = 0;

    json_array_foreach (places, i, place) {
        count += json_array_size(json_object_get(place, "removed"));
        json_array_foreach (json_object_get(place, "archives"), k, archive)
            count += json_array_size(json_object_get(archive, "names"));
    }
    return count;
}

static int run(const struct arguments *args, struct err *err)
{
    bool dry = args->given[OPT_DRY_RUN];
    struct expiry_policy policy;
    json_t *places = json_array();

    int rc = take_policy(args, &policy, err);
    if (rc == 0)
        rc = look(args, &policy, places, err);
    if (rc == 0 && !dry && removed_count(places)) {
        AUTO_FREE char *question = xasprintf(
            "Remove %zu backup sets and objects of archives for good?", removed_count(places));
        if (!args->given[OPT_YES])
            rc = ask_yes(question, err);
        if (rc == 0)
            rc = remove_all(args, places, err);
    }
    if (rc == 0) {
        json_t *document = json_pack("{s:b, s:O}", "dry_run", dry, "locations", places);
        rc = print_result(args, document, text_of, err);
        json_decref(document);
    }
    json_decref(places);
    return rc;
}

const struct command command_expire = {
    .name = "expire",
    .words = "LOCATION... --keep RULES",
    .summary = "remove backup sets that a policy no longer keeps",
    .help = "Removes the sets that `backup` wrote to LOCATION and that no rule keeps. The newest "
            "complete set of each database stays in any case. Files of others are not touched.",
    .min_words = 1,
    .max_words = 100,
    .options = OPTIONS(OPT_KEEP_SETS, OPT_KEEP_LAST, OPT_KEEP_ARCHIVE, OPT_DATABASE, OPT_DRY_RUN,
        OPT_INSECURE, OPT_YES, OPT_JSON, OPT_HELP),
    .run = run,
};
