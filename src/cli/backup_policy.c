#include "backup_policy.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/clock.h"
#include "recluster/expiry.h"
#include "recluster/file.h"
#include "recluster/human.h"
#include "recluster/json.h"

enum { POLICY_BYTES_MAX = 1 << 20, DATABASES_MAX = 10000 };

/* What a policy says of one database. */
struct rule {
    char *database; /* "db:1", a name, or "*": all that are not named */
    int64_t every_s;
    struct expiry_policy keep; /* keep.count and keep_last 0: all sets stay */
};

struct backup_policy {
    char *source; /* for messages */
    struct rule *rules;
    size_t count;
};

void backup_policy_free(struct backup_policy *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->count; i++)
        free(p->rules[i].database);
    free(p->rules);
    free(p->source);
    free(p);
}

/* --- a file --- */

static int check_keys(const json_t *object, const char *const *known, struct err *err)
{
    const char *key;
    json_t *value;

    /* jansson's iterator lacks the const; it only reads. */
    json_object_foreach ((json_t *)(uintptr_t)object, key, value) {
        const char *const *k = known;
        while (*k && strcmp(*k, key) != 0)
            k++;
        if (*k)
            continue;
        err_set(err, ERR_USAGE, "unknown key '%s'", key);
        const char *nearest = human_nearest(key, known);
        return nearest ? err_hint(err, "Did you mean '%s'?", nearest) : -1;
    }
    return 0;
}

static int take_rule(struct rule *rule, const json_t *backup, struct err *err)
{
    static const char *const known[] = {"every", "keep", "keep_last", NULL};
    const char *every = json_text(backup, "every", NULL), *keep = json_text(backup, "keep", NULL);
    const json_t *last = json_object_get(backup, "keep_last");

    if (!json_is_object(backup))
        return err_set(err, ERR_USAGE, "it has no object \"backup\"");
    if (check_keys(backup, known, err) < 0)
        return -1;
    if (!every)
        return err_set(err, ERR_USAGE, "\"every\" is missing: a time such as \"6h\"");
    if (json_object_get(backup, "keep") && !keep)
        return err_set(err, ERR_USAGE, "\"keep\" is not a text such as \"30d:1d\"");
    if (human_parse_seconds(every, &rule->every_s, err) < 0 ||
        (keep && capture_keep_parse(keep, &rule->keep.keep, err) < 0))
        return -1;
    if (rule->every_s <= 0 || (last && json_integer_value(last) <= 0))
        return err_set(err, ERR_USAGE, "\"every\" and \"keep_last\" must be more than 0");
    rule->keep.keep_last = json_integer_value(last);
    return 0;
}

static int take_file(struct backup_policy *p, const json_t *root, struct err *err)
{
    static const char *const known[] = {"databases", NULL};
    static const char *const of_database[] = {"backup", NULL};
    json_t *databases = json_object_get(root, "databases"), *entry;
    const char *name;

    if (check_keys(root, known, err) < 0)
        return -1;
    if (!json_is_object(databases) || json_object_size(databases) > DATABASES_MAX)
        return err_set(err, ERR_USAGE, "it has no object \"databases\"");
    p->rules = xcalloc(json_object_size(databases) + 1, sizeof(*p->rules));
    json_object_foreach (databases, name, entry) {
        struct rule *rule = &p->rules[p->count++];
        rule->database = xstrdup(name);
        if (check_keys(entry, of_database, err) < 0 ||
            take_rule(rule, json_object_get(entry, "backup"), err) < 0)
            return err_wrap(err, "\"%s\"", name);
    }
    return 0;
}

static int read_file(struct backup_policy *p, struct err *err)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;

    if (file_read(p->source, POLICY_BYTES_MAX, &text, err) < 0)
        return err_wrap(err, "--policy");
    json_t *root = json_read(text.data, text.len, JSON_REJECT_DUPLICATES, p->source, err);
    if (!root)
        return -1;
    int rc = take_file(p, root, err);
    json_decref(root);
    return rc < 0 ? err_wrap(err, "the policy '%s'", p->source) : 0;
}

/* --- a CCS file --- */

static int take_ccs(struct backup_policy *p, const struct live_request *request, struct err *err)
{
    const struct ccs *ccs = live_request_ccs(request);

    if (!ccs) {
        err_set(err, ERR_USAGE, "--policy ccs takes the times of a CCS file");
        return err_hint(err, "Name the CCS file in the place of the addresses.");
    }
    p->rules = xcalloc(ccs->database_count + 1, sizeof(*p->rules));
    for (size_t i = 0; i < ccs->database_count; i++) {
        const struct ccs_database *db = &ccs->databases[i];
        if (db->backup_interval_s <= 0)
            continue;
        struct rule *rule = &p->rules[p->count++];
        rule->database = xstrdup(db->label);
        rule->every_s = db->backup_interval_s;
        rule->keep.keep_last = live_request_history(request, db);
    }
    return 0;
}

int backup_policy_read(const struct arguments *args, const struct live_request *request,
    struct backup_policy **ret, struct err *err)
{
    const char *word = argument(args, OPT_POLICY);

    if (!word)
        return 0;
    struct backup_policy *p = xcalloc(1, sizeof(*p));
    bool of_ccs = strcmp(word, "ccs") == 0;
    p->source = xstrdup(of_ccs ? "the CCS file" : word);
    if ((of_ccs ? take_ccs(p, request, err) : read_file(p, err)) < 0) {
        backup_policy_free(p);
        return -1;
    }
    *ret = p;
    return 0;
}

/* --- what is due --- */

static bool names(const struct rule *rule, const char *uid, const char *name)
{
    const char *wanted = rule->database;

    return (strncmp(wanted, "db:", 3) == 0 && strcmp(wanted + 3, uid) == 0) ||
           strcmp(wanted, name) == 0;
}

static const struct rule *rule_of(const struct backup_policy *p, const char *uid, const char *name)
{
    const struct rule *all = NULL;

    for (size_t i = 0; i < p->count; i++) {
        if (names(&p->rules[i], uid, name))
            return &p->rules[i];
        if (strcmp(p->rules[i].database, "*") == 0)
            all = &p->rules[i];
    }
    return all;
}

/* A name that is mistyped would leave its database to the rule of all others. */
static void tell_about_unknown(const struct backup_policy *p, const struct ccs *ccs)
{
    for (size_t i = 0; i < p->count; i++) {
        bool known = strcmp(p->rules[i].database, "*") == 0;
        for (size_t d = 0; d < ccs->database_count; d++)
            known |= names(&p->rules[i], ccs->databases[d].uid, ccs->databases[d].name);
        if (known)
            continue;
        AUTO_FREE char *line = xasprintf("warning: %s names '%s': the cluster has no database of "
                                         "that name\n",
            p->source, p->rules[i].database);
        print_plain(stderr, line);
    }
}

/* The time of its newest complete set; -1: there is none. */
static int newest_set(struct store *store, const char *uid, int64_t *ret_ms, struct err *err)
{
    const struct expiry_policy all = {
        .keep_last = INT64_MAX, .now_ms = clock_wall_ms(), .database = uid};
    json_t *plan, *set;
    size_t i;

    *ret_ms = -1;
    if (expiry_find(store, &all, &plan, err) < 0)
        return -1;
    json_array_foreach (json_object_get(plan, "kept"), i, set) {
        int64_t time_ms;
        struct err ignored = ERR_INIT;
        const char *of = json_text(json_object_get(set, "database"), "uid", "");
        if (json_flag(set, "complete") && strcmp(of, uid) == 0 &&
            clock_parse(json_text(set, "time", ""), &time_ms, &ignored) == 0 && time_ms > *ret_ms)
            *ret_ms = time_ms;
    }
    json_decref(plan);
    return 0;
}

/* 1: a set is due; 0: not yet, or never. */
static int is_due(const struct backup_policy *p, struct store *store, const struct ccs_database *db,
    struct err *err)
{
    const struct rule *rule = rule_of(p, db->uid, db->name);
    char age[HUMAN_TEXT_MAX];
    int64_t newest_ms;

    if (!rule) {
        AUTO_FREE char *line = xasprintf(
            "'%s' (%s) is left out: %s has no time for it\n", db->name, db->label, p->source);
        print_plain(stderr, line);
        return 0;
    }
    if (newest_set(store, db->uid, &newest_ms, err) < 0)
        return -1;
    int64_t age_ms = clock_wall_ms() - newest_ms;
    if (newest_ms < 0 || age_ms >= rule->every_s * 1000 || age_ms < 0)
        return 1;
    AUTO_FREE char *line = xasprintf("'%s' (%s) is not due: its newest set is %s old\n", db->name,
        db->label, human_duration(age_ms, age));
    print_plain(stderr, line);
    return 0;
}

int backup_policy_choose(
    const struct backup_policy *p, struct store *store, struct cluster_look *look, struct err *err)
{
    size_t count = 0;

    tell_about_unknown(p, look->ccs);
    for (size_t i = 0; i < look->found_count; i++) {
        int rc = is_due(p, store, look->found[i]->db, err);
        if (rc < 0)
            return -1;
        if (rc > 0) {
            struct backup_shards *due = look->found[i];
            look->found[i] = look->found[count];
            look->found[count++] = due;
        }
    }
    for (size_t i = count; i < look->found_count; i++)
        backup_shards_free(look->found[i]);
    look->found_count = count;
    return 0;
}

/* --- what stays --- */

static int expire(const struct rule *rule, struct store *store, const char *uid, struct err *err)
{
    struct expiry_policy keep = rule->keep;
    json_t *plan;

    keep.now_ms = clock_wall_ms();
    keep.database = uid;
    if (expiry_find(store, &keep, &plan, err) < 0)
        return -1;
    int rc =
        json_array_size(json_object_get(plan, "removed")) ? expiry_remove(store, plan, err) : 0;
    json_decref(plan);
    return rc;
}

int backup_policy_expire(
    const struct backup_policy *p, struct store *store, const json_t *sets, struct err *err)
{
    const json_t *set;
    size_t i;
    int rc = 0;

    json_array_foreach (sets, i, set) {
        const json_t *database = json_object_get(set, "database");
        const char *uid = json_text(database, "uid", "");
        const struct rule *rule = rule_of(p, uid, json_text(database, "name", ""));
        if (rc == 0 && rule && (rule->keep.keep.count || rule->keep.keep_last))
            rc = expire(rule, store, uid, err);
    }
    return rc < 0 ? err_wrap(err, "the new sets are there, but old ones could not be removed") : 0;
}
