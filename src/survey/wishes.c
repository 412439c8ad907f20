#include "wishes.h"

#include "recluster/clock.h"
#include "recluster/json.h"

#include <string.h>

static bool is_database(const struct ccs *ccs, const char *word, const struct ccs_database *db)
{
    struct err ignored = ERR_INIT;

    return word && ccs_find_database(ccs, word, &ignored) == db;
}

/* The position of the database in a list, from 1; "" matches all. 0: not in the list. */
static int place_in(const struct ccs *ccs, const json_t *list, const struct ccs_database *db)
{
    const json_t *item;
    size_t i;

    json_array_foreach (list, i, item) {
        const char *word = json_string_value(item);
        if ((word && !*word) || is_database(ccs, word, db))
            return (int)i + 1;
    }
    return 0;
}

static int check_database(
    const struct survey *survey, const char *word, const char *option, struct err *err)
{
    if (!word || (*word && !ccs_find_database(survey->ccs, word, err)))
        return err_wrap(err, "%s", option);
    return 0;
}

static int check_databases(const struct survey *survey, const json_t *options, struct err *err)
{
    static const struct {
        const char *key, *option;
    } lists[] = {{"databases", "--database"}, {"no_replicas", "--no-replicas"},
        {"priority", "--priority"}, {"accept_weaker_access", "--accept-weaker-access"}};
    json_t *item;
    const char *word;
    size_t k;

    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        json_array_foreach (json_object_get(options, lists[i].key), k, item) {
            if (check_database(survey, json_string_value(item), lists[i].option, err) < 0)
                return -1;
        }
    }
    json_object_foreach (json_object_get(options, "shards"), word, item) {
        if (check_database(survey, word, "--shards", err) < 0)
            return -1;
    }
    return 0;
}

static bool is_excluded_by(const char *word, const struct host *host)
{
    if (strncmp(word, "host:", 5) == 0)
        return strcmp(word + 5, host->name) == 0;
    return strncmp(word, "rack:", 5) == 0 &&
           ((host->rack && strcmp(word + 5, host->rack) == 0) ||
               (host->second_rack && strcmp(word + 5, host->second_rack) == 0));
}

static int check_without(const struct survey *survey, const json_t *options, struct err *err)
{
    const json_t *item;
    size_t i;

    json_array_foreach (json_object_get(options, "without"), i, item) {
        const char *word = json_string_value(item) ? json_string_value(item) : "";
        bool found = strncmp(word, "file:", 5) == 0; /* disks.c finds it, or not */
        for (size_t h = 0; h < survey->hosts->count && !found; h++)
            found = is_excluded_by(word, &survey->hosts->hosts[h]);
        if (found)
            continue;
        if (strncmp(word, "host:", 5) == 0 || strncmp(word, "rack:", 5) == 0) {
            err_set(err, ERR_USAGE, "--without '%s': no host matches", word);
            return err_hint(err, "Names and racks of hosts are those of the hosts file.");
        }
        err_set(err, ERR_USAGE, "--without '%s' is neither a host nor a rack nor a file", word);
        return err_hint(
            err, "Write it as: --without host:a2, --without rack:b or --without file:a2:/PATH");
    }
    return 0;
}

int wishes_check(const struct survey *survey, const json_t *options, struct err *err)
{
    return check_databases(survey, options, err) < 0 || check_without(survey, options, err) < 0 ? -1
                                                                                                : 0;
}

bool wishes_database(
    const struct survey *survey, const json_t *options, const struct ccs_database *db)
{
    const json_t *wanted = json_object_get(options, "databases");

    return json_array_size(wanted) == 0 || place_in(survey->ccs, wanted, db) > 0;
}

void wishes_fill_database(
    const struct survey *survey, const json_t *options, struct plan_database_input *in)
{
    const char *word;
    json_t *number;

    in->priority = place_in(survey->ccs, json_object_get(options, "priority"), in->database);
    in->no_replicas =
        place_in(survey->ccs, json_object_get(options, "no_replicas"), in->database) > 0;
    in->weaker_access =
        place_in(survey->ccs, json_object_get(options, "accept_weaker_access"), in->database) > 0;
    json_object_foreach (json_object_get(options, "shards"), word, number) {
        if (is_database(survey->ccs, word, in->database))
            in->primaries = (int)json_integer_value(number);
    }
}

const char *survey_without(const json_t *options, const struct host *host)
{
    const json_t *item;
    size_t i;

    json_array_foreach (json_object_get(options, "without"), i, item) {
        const char *word = json_string_value(item);
        if (word && is_excluded_by(word, host))
            return word;
    }
    return NULL;
}

bool wishes_missing_slots(const json_t *options, struct slots *ret)
{
    const char *text = json_text(options, "allow_missing_slots", NULL);
    struct err ignored = ERR_INIT;

    slots_clear(ret);
    return text && slots_parse(text, ret, &ignored) == 0 && !slots_is_empty(ret);
}

/* The set is requested by the time that the plan names. */
int64_t wishes_time(const struct survey *survey, const struct ccs_database *db)
{
    enum { SECOND_MS = 1000 };
    const json_t *at = json_object_get(survey->options, "at_ms");
    const json_t *database = plan_json_database(survey->pinned, db->uid);
    const char *time = json_text(json_object_get(database, "backup_set"), "time", NULL);
    struct err ignored = ERR_INIT;
    int64_t at_ms;

    if (time && clock_parse(time, &at_ms, &ignored) == 0)
        return at_ms + SECOND_MS - 1;
    return at ? json_integer_value(at) : -1;
}

bool wishes_backups(const struct survey *survey, const struct plan_database_input *in)
{
    return !in->database->active_active && strcmp(in->database->type, "memcached") != 0 &&
           !json_flag(survey->options, "only_configuration");
}
