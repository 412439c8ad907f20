#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "from_folders.h"
#include "recluster/clock.h"
#include "recluster/file.h"
#include "recluster/human.h"
#include "recluster/json.h"
#include "recluster/recover.h"
#include "recluster/slots.h"

enum { PLAN_BYTES_MAX = 1 << 30 };

static int parse_source(
    const char *text, struct survey_source *ret, char **ret_copy, struct err *err)
{
    const char *equals = strchr(text, '=');

    if (!equals || equals == text || !equals[1]) {
        err_set(err, ERR_USAGE, "--source '%s' is not DATABASE=LOCATION", text);
        return err_hint(
            err, "Write it as: --source db:1=/mnt/backups, or --source db:1=http://host/dir/");
    }
    /* Agents have other working folders. */
    bool relative = equals[1] != '/' && !strstr(equals + 1, "://");
    AUTO_FREE char *absolute = relative ? realpath(equals + 1, NULL) : NULL;
    *ret_copy =
        absolute ? xasprintf("%.*s=%s", (int)(equals - text), text, absolute) : xstrdup(text);
    (*ret_copy)[equals - text] = '\0';
    *ret = (struct survey_source){*ret_copy, *ret_copy + (equals - text) + 1};
    return 0;
}

static int parse_sources(const char **words, struct request_options *owned, struct err *err)
{
    size_t count = 0;

    while (words && words[count])
        count++;
    owned->sources = xcalloc(count, sizeof(*owned->sources));
    owned->copies = xcalloc(count, sizeof(*owned->copies));
    for (; owned->count < count; owned->count++)
        if (parse_source(words[owned->count], &owned->sources[owned->count],
                &owned->copies[owned->count], err) < 0)
            return -1;
    return 0;
}

/* --- options in the form of the plan's document --- */

static int add_word(json_t *list, const char *word, struct err *err)
{
    json_t *text = json_string(word);

    if (!text)
        return err_set(err, ERR_USAGE, "'%s' is not UTF-8", word);
    return json_array_append_new(list, text);
}

static int add_list(const struct arguments *args, enum option option, const char *key,
    json_t *options, struct err *err)
{
    const char **words = args->values[option];

    if (!words)
        return 0;
    json_t *list = json_array();
    json_object_set_new(options, key, list);
    for (; *words; words++)
        if (add_word(list, *words, err) < 0)
            return -1;
    return 0;
}

/* "db:3,db:1" */
static int add_priority(const char *text, json_t *options, struct err *err)
{
    AUTO_FREE char *copy = xstrdup(text ? text : "");
    char *rest = NULL;

    if (!text)
        return 0;
    json_t *list = json_array();
    json_object_set_new(options, "priority", list);
    for (char *word = strtok_r(copy, ",", &rest); word; word = strtok_r(NULL, ",", &rest))
        if (add_word(list, word, err) < 0)
            return -1;
    return 0;
}

/* "db:1=6", "db:1=6,db:2=3" */
static int add_shards(const char **words, json_t *options, struct err *err)
{
    json_t *shards = json_object();

    if (words)
        json_object_set(options, "shards", shards);
    json_decref(shards);
    for (; words && *words; words++) {
        AUTO_FREE char *copy = xstrdup(*words);
        char *rest = NULL;
        for (char *word = strtok_r(copy, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
            char *equals = strrchr(word, '='), *end = NULL;
            long n = equals ? strtol(equals + 1, &end, 10) : 0;
            if (!equals || equals == word || end == equals + 1 || *end || n < 1 || n > SLOT_COUNT) {
                err_set(err, ERR_USAGE, "--shards '%s' is not DATABASE=NUMBER", word);
                return err_hint(err, "Write it as: --shards db:1=6 (1 to %d).", SLOT_COUNT);
            }
            *equals = '\0';
            if (json_object_set_new(shards, word, json_integer(n)) < 0)
                return err_set(err, ERR_USAGE, "'%s' is not UTF-8", word);
        }
    }
    return 0;
}

static int add_slots(const char *text, json_t *options, struct err *err)
{
    struct slots slots;

    if (!text)
        return 0;
    slots_clear(&slots);
    if (slots_parse(text, &slots, err) < 0)
        return err_wrap(err, "--allow-missing-slots");
    json_object_set_new(options, "allow_missing_slots", json_string(text));
    return 0;
}

static int add_times(const struct arguments *args, json_t *options, struct err *err)
{
    const char *at = argument(args, OPT_AT), *rto = argument(args, OPT_RTO);
    int64_t at_ms, rto_s;

    if (at && clock_parse(at, &at_ms, err) < 0)
        return err_wrap(err, "--at");
    if (at)
        json_object_set_new(options, "at_ms", json_integer(at_ms));
    if (rto && human_parse_seconds(rto, &rto_s, err) < 0)
        return err_wrap(err, "--rto");
    if (rto)
        json_object_set_new(options, "rto_s", json_integer(rto_s));
    return 0;
}

/* The hosts files after the first. */
static int add_more_hosts(const struct arguments *args, json_t *options, struct err *err)
{
    json_t *more = json_array();

    for (size_t i = 1; args->values[OPT_HOSTS][0] && args->values[OPT_HOSTS][i]; i++)
        if (json_array_append_new(more, json_string(args->values[OPT_HOSTS][i])) < 0) {
            json_decref(more);
            return err_set(err, ERR_USAGE, "the name of a hosts file is not UTF-8");
        }
    if (json_array_size(more))
        json_object_set(options, "extra", more);
    json_decref(more);
    return 0;
}

static int read_options(const struct arguments *args, json_t *options, struct err *err)
{
    if (add_list(args, OPT_DATABASE, "databases", options, err) < 0 ||
        add_list(args, OPT_WITHOUT, "without", options, err) < 0 ||
        add_more_hosts(args, options, err) < 0 ||
        add_list(args, OPT_NO_REPLICAS, "no_replicas", options, err) < 0 ||
        add_list(args, OPT_ACCEPT_WEAKER_ACCESS, "accept_weaker_access", options, err) < 0 ||
        add_priority(argument(args, OPT_PRIORITY), options, err) < 0 ||
        add_slots(argument(args, OPT_ALLOW_MISSING_SLOTS), options, err) < 0 ||
        add_shards(args->values[OPT_PLAN_SHARDS], options, err) < 0 ||
        add_times(args, options, err) < 0)
        return -1;
    if (args->given[OPT_RESORT])
        json_object_set_new(options, "resort", json_true());
    if (args->given[OPT_PROVE_FAILOVER])
        json_object_set_new(options, "prove_failover", json_true());
    if (args->given[OPT_OFFLINE])
        json_object_set_new(options, "offline", json_true());
    if (args->given[OPT_ONLY_CONFIGURATION])
        json_object_set_new(options, "only_configuration", json_true());
    return 0;
}

/* --- an earlier plan --- */

json_t *read_plan(const char *path, struct err *err)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    json_error_t where;

    if (file_read(path, PLAN_BYTES_MAX, &text, err) < 0)
        return NULL;
    json_t *plan = json_loadb(text.data, text.len, 0, &where);
    if (json_is_string(json_object_get(plan, "hash")) &&
        json_is_array(json_object_get(plan, "databases")))
        return plan;
    if (plan)
        err_set(err, ERR_USAGE, "'%s' is not a plan", path);
    else
        err_set(err, ERR_USAGE, "plan '%s', line %d: %s", path, where.line, where.text);
    json_decref(plan);
    err_hint(err, "Write one with: recluster plan CCS --hosts HOSTS --out FILE");
    return NULL;
}

/* `plan` prints twelve digits. */
static int check_hash(const json_t *plan, const char *wanted, struct err *err)
{
    enum { DIGITS_MIN = 12 };
    const char *hash = json_text(plan, "hash", NULL);

    if (!wanted)
        return 0;
    if (strlen(wanted) >= DIGITS_MIN && strncmp(hash, wanted, strlen(wanted)) == 0)
        return 0;
    err_set(err, ERR_CHECK, "the plan's hash is %.12s, not '%s'", hash, wanted);
    return err_hint(err, "Give at least 12 digits of the hash of the plan that you reviewed.");
}

static int use_plan(const struct arguments *args, struct request_options *owned, struct err *err)
{
    const char *path = argument(args, OPT_PLAN);

    if (!path && !args->given[OPT_PLAN_HASH])
        return 0;
    if (!path)
        return err_set(err, ERR_USAGE, "--plan-hash goes with --plan");
    size_t wanted = json_object_size(owned->options);
    if (wanted > (args->given[OPT_RESORT] ? 1U : 0U)) {
        err_set(err, ERR_USAGE, "the plan '%s' already has its options", path);
        return err_hint(err, "Leave out --database, --at, --without and the like, or --plan.");
    }
    owned->plan = read_plan(path, err);
    if (!owned->plan || check_hash(owned->plan, argument(args, OPT_PLAN_HASH), err) < 0)
        return -1;
    if (json_flag(owned->plan, "offline")) {
        err_set(err, ERR_CHECK, "'%s' was planned offline: nothing in it was checked", path);
        return err_hint(err, "Plan again without --offline.");
    }
    json_object_update(owned->options, json_object_get(owned->plan, "options"));
    return 0;
}

static int check_together(const struct arguments *args, struct err *err)
{
    static const struct {
        enum option one, other;
        const char *message;
    } pairs[] = {
        {OPT_MEASURE, OPT_OFFLINE, "--measure asks the hosts, --offline asks none"},
        {OPT_FENCE, OPT_OFFLINE, "--fence looks for running servers, --offline asks no machine"},
        {OPT_SETTINGS, OPT_FROM_FOLDERS,
            "--settings is for a nodes.json; the folders of --from-folders have their own files"},
        {OPT_FENCE, OPT_OLD_CLUSTER_IS_DEAD,
            "--fence stops what is left of the old cluster, --old-cluster-is-dead skips the search for it"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
        if (args->given[pairs[i].one] && args->given[pairs[i].other])
            return err_set(err, ERR_USAGE, "%s", pairs[i].message);
    return 0;
}

int request_from_arguments(const struct arguments *args, struct survey_request *ret,
    struct request_options *owned, struct err *err)
{
    *owned = (struct request_options){.options = json_object(), .ccs = BUF_INIT};
    *ret = (struct survey_request){
        .ccs_path =
            args->given[OPT_FROM_FOLDERS] ? args->values[OPT_FROM_FOLDERS][0] : args->words[0],
        .ccs_key = argument(args, OPT_KEY),
        .hosts_path = args->given[OPT_HOSTS] ? args->values[OPT_HOSTS][0] : NULL,
        .old_cluster_is_dead = argument(args, OPT_OLD_CLUSTER_IS_DEAD),
        .accept_new_host_keys = args->given[OPT_ACCEPT_NEW_HOST_KEYS],
        .full_sync = args->given[OPT_FULL_SYNC],
        .fence = args->given[OPT_FENCE],
        .measure = args->given[OPT_MEASURE],
        .insecure = args->given[OPT_INSECURE],
    };
    if (!ret->hosts_path) {
        err_set(err, ERR_USAGE, "no hosts are named to recover onto");
        return err_hint(err, "Add --hosts HOSTS; man recluster, FILES, describes it.");
    }
    if (check_together(args, err) < 0)
        return -1;
    if (parse_sources(args->values[OPT_SOURCE], owned, err) < 0 ||
        read_options(args, owned->options, err) < 0 || use_plan(args, owned, err) < 0)
        return -1;
    if (args->given[OPT_FROM_FOLDERS]) {
        if (from_folders_read(args, &owned->ccs, &owned->folders, err) < 0)
            return -1;
        ret->ccs_bytes = (struct rdb_bytes){owned->ccs.data, owned->ccs.len};
        ret->folders = owned->folders;
    } else if (settings_for_nodes_json(args, ret->ccs_path, &owned->ccs, err) < 0) {
        return -1;
    } else if (owned->ccs.len) {
        ret->settings = (struct rdb_bytes){owned->ccs.data, owned->ccs.len};
        ret->settings_path = argument(args, OPT_SETTINGS);
    }
    ret->sources = owned->sources;
    ret->source_count = owned->count;
    ret->options = owned->options;
    ret->plan = owned->plan;
    return 0;
}

void request_options_release(struct request_options *owned)
{
    for (size_t i = 0; i < owned->count; i++)
        free(owned->copies[i]);
    free(owned->copies);
    free(owned->sources);
    json_decref(owned->options);
    json_decref(owned->plan);
    json_decref(owned->folders);
    buf_release(&owned->ccs);
}
