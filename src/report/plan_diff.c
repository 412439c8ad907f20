/* The differences between two plans, from their documents. */

#include <inttypes.h>
#include <string.h>

#include "doc.h"
#include "plan_facts.h"
#include "recluster/human.h"
#include "recluster/json.h"
#include "recluster/report.h"
#include "text.h"

static void add(
    json_t *changes, const char *subject, const char *what, const json_t *old, const json_t *new)
{
    json_t *change = json_object();

    json_object_set_new(change, "subject", doc_string(subject));
    json_object_set_new(change, "what", json_string(what));
    json_object_set_new(change, "old", old ? json_deep_copy(old) : json_null());
    json_object_set_new(change, "new", new ? json_deep_copy(new) : json_null());
    json_array_append_new(changes, change);
}

static bool same(const json_t *a, const json_t *b)
{
    if (!a || !b)
        return (!a || json_is_null(a)) && (!b || json_is_null(b));
    return json_equal(a, b) == 1;
}

static void compare_fields(json_t *changes, const char *subject, const char *const *fields,
    const json_t *old, const json_t *new)
{
    for (; *fields; fields++) {
        const json_t *before = json_object_get(old, *fields),
                     *after = json_object_get(new, *fields);
        if (!same(before, after))
            add(changes, subject, *fields, before, after);
    }
}

/* The items of a list by name; borrows them. */
static json_t *index_by(const json_t *list, const char *key)
{
    json_t *index = json_object(), *item;
    size_t i;

    json_array_foreach (list, i, item) {
        const char *name = json_text(item, key, NULL);
        if (name)
            json_object_set(index, name, item);
    }
    return index;
}

/* A list of objects in both documents. */
struct list {
    const char *kind; /* stands before the name in the subject, such as "host:" */
    const char *key;  /* field with the name */
    const char *const *fields;
    void (*inside)(json_t *changes, const json_t *old, const json_t *new); /* or NULL */
};

static void compare_lists(
    json_t *changes, const struct list *list, const json_t *old, const json_t *new)
{
    json_t *before = index_by(old, list->key), *after = index_by(new, list->key), *item;
    const char *name;

    json_object_foreach (before, name, item) {
        CLEANUP(buf_release) struct buf subject = BUF_INIT;
        const json_t *other = json_object_get(after, name);
        buf_addf(&subject, "%s%s", list->kind, name);
        if (!other)
            add(changes, subject.data, "gone", json_object_get(item, "host"), NULL);
        if (!other)
            continue;
        compare_fields(changes, subject.data, list->fields, item, other);
        if (list->inside)
            list->inside(changes, item, other);
    }
    json_object_foreach (after, name, item) {
        CLEANUP(buf_release) struct buf subject = BUF_INIT;
        buf_addf(&subject, "%s%s", list->kind, name);
        if (!json_object_get(before, name))
            add(changes, subject.data, "new", NULL, json_object_get(item, "host"));
    }
    json_decref(before);
    json_decref(after);
}

static void compare_database(json_t *changes, const json_t *old, const json_t *new)
{
    static const char *const set_fields[] = {"id", "time", NULL};
    static const char *const file_fields[] = {"bytes", "slots", NULL};
    static const struct list files = {"file ", "name", file_fields, NULL};
    static const char *const shard_fields[] = {"host", "addr", "port", "bus_port", "other_port",
        "role", "slots", "source", "sources", "memory", NULL};
    static const struct list shards = {"shard:", "uid", shard_fields, NULL};
    const json_t *old_set = json_object_get(old, "backup_set");
    const json_t *new_set = json_object_get(new, "backup_set");
    CLEANUP(buf_release) struct buf subject = BUF_INIT;

    buf_addf(&subject, "%s backup set", json_text(old, "label", "?"));
    compare_fields(changes, subject.data, set_fields, old_set, new_set);
    compare_lists(
        changes, &files, json_object_get(old_set, "files"), json_object_get(new_set, "files"));
    compare_lists(changes, &shards, json_object_get(old, "shards"), json_object_get(new, "shards"));
}

/* Free memory changes all the time: only a change of more than a twentieth is reported. */
static void compare_host(json_t *changes, const json_t *old, const json_t *new)
{
    const json_t *before = json_object_get(old, "memory"), *after = json_object_get(new, "memory");
    json_int_t a = json_integer_value(before), b = json_integer_value(after);
    CLEANUP(buf_release) struct buf subject = BUF_INIT;

    buf_addf(&subject, "host:%s", json_text(old, "name", "?"));
    if ((a > b ? a - b : b - a) > a / 20)
        add(changes, subject.data, "memory", before, after);
}

json_t *report_plan_changes(const json_t *old, const json_t *new)
{
    static const char *const plan_fields[] = {"ccs_sha256", "feasible", "offline", "options", NULL};
    static const char *const host_fields[] = {
        "addr", "rack", "second_rack", "usable", "cores", NULL};
    static const struct list hosts = {"host:", "name", host_fields, compare_host};
    static const char *const database_fields[] = {
        "name", "skipped", "source", "maxmemory", "slots_lost", NULL};
    static const struct list databases = {"", "label", database_fields, compare_database};
    json_t *changes = json_array();

    compare_fields(changes, "plan", plan_fields, old, new);
    compare_lists(changes, &hosts, json_object_get(old, "hosts"), json_object_get(new, "hosts"));
    compare_lists(
        changes, &databases, json_object_get(old, "databases"), json_object_get(new, "databases"));
    double before = plan_total_seconds(old), after = plan_total_seconds(new);
    if (before + 1 < after || after + 1 < before) {
        json_t *a = json_real(before), *b = json_real(after);
        add(changes, "plan", "seconds", a, b);
        json_decref(a);
        json_decref(b);
    }
    return changes;
}

/* --- as text --- */

static bool is_bytes(const char *what)
{
    static const char *const fields[] = {"memory", "disk_free", "maxmemory", "bytes"};

    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        if (strcmp(what, fields[i]) == 0)
            return true;
    return false;
}

static void value_text(const json_t *value, const char *what, struct buf *out)
{
    enum { RANGES_SHOWN = 4 };
    char text[HUMAN_TEXT_MAX];

    if (!value || json_is_null(value)) {
        buf_adds(out, "none");
    } else if (json_is_integer(value) && is_bytes(what)) {
        buf_adds(out, human_bytes((uint64_t)json_integer_value(value), text));
    } else if (json_is_real(value)) {
        buf_adds(out, human_duration((int64_t)(json_real_value(value) * 1000), text));
    } else if (json_is_integer(value)) {
        buf_addf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_boolean(value)) {
        buf_adds(out, json_is_true(value) ? "yes" : "no");
    } else if (json_is_string(value)) {
        bool digest = strcmp(what, "ccs_sha256") == 0;
        buf_addf(out, "%.*s", digest ? 12 : 1000, json_string_value(value));
    } else if (strcmp(what, "slots") == 0 || strcmp(what, "slots_lost") == 0) {
        doc_ranges(value, RANGES_SHOWN, out);
    } else {
        char *dumped = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        buf_adds(out, dumped ? dumped : "?");
        free_ptr(&dumped);
    }
}

void report_plan_changes_text(const json_t *changes, bool colour, struct buf *out)
{
    enum { SHOWN = 100 };
    struct text t = {.out = out, .colour = colour};
    size_t i;
    json_t *change;

    text_heading(&t, "Changes (%zu)", json_array_size(changes));
    if (json_array_size(changes) == 0)
        text_wrap(&t, TEXT_PLAIN, "  ", "none: the plans are the same");
    json_array_foreach (changes, i, change) {
        const char *what = json_text(change, "what", "?");
        bool over = strcmp(what, "gone") == 0, begun = strcmp(what, "new") == 0;
        CLEANUP(buf_release) struct buf old = BUF_INIT, new = BUF_INIT;
        if (i == SHOWN)
            break;
        value_text(json_object_get(change, "old"), what, &old);
        value_text(json_object_get(change, "new"), what, &new);
        const char *subject = json_text(change, "subject", "?");
        if (over || begun)
            text_wrap(&t, over ? TEXT_RED : TEXT_GREEN, "  ", "%s is %s", subject, what);
        else
            text_wrap(&t, TEXT_PLAIN, "  ", "%s: %s %s → %s", subject, what, old.data, new.data);
    }
    text_more(&t, 2, json_array_size(changes), SHOWN);
}
