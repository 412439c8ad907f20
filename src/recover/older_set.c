#include "older_set.h"

#include <string.h>

#include "recluster/clock.h"
#include "recluster/json.h"
#include "recluster/shell_quote.h"

enum { SECOND_MS = 1000 };

/* The newest set before the chosen one that seems complete; *ret_time_ms -1: none. */
static int find_older(struct executor *x, const struct database_run *db, const char **ret_name,
    int64_t *ret_time_ms, struct err *err)
{
    struct rows rows;

    *ret_time_ms = -1;
    if (state_query(x->st, &rows, err,
            "SELECT name, time_ms FROM backup_set WHERE database_uid = ? AND complete AND time_ms "
            "< (SELECT time_ms FROM backup_set WHERE database_uid = ? AND chosen) "
            "ORDER BY time_ms DESC LIMIT 1",
            "ss", db->uid, db->uid) < 0)
        return -1;
    if (rows_next(&rows)) {
        *ret_name = arena_strdup(&x->arena, rows_text(&rows, 0));
        *ret_time_ms = rows_int(&rows, 1);
    }
    return rows_end(&rows, err);
}

/* Whether the file is bad or missing. */
static bool is_file_error(enum err_code code)
{
    return code == ERR_CORRUPT || code == ERR_CHANGED || code == ERR_UNSUPPORTED ||
           code == ERR_LIMIT || code == ERR_NOT_FOUND;
}

/* The file on a disk that the error is about; NULL: not on a disk. */
static const json_t *failed_source(const struct shard_run *s, const struct err *failure)
{
    const json_t *source, *first = NULL;
    size_t i;

    json_array_foreach (s->sources, i, source) {
        const char *name = json_text(source, "name", NULL);
        if (!json_object_get(source, "where"))
            continue;
        if (name && strstr(failure->message, name))
            return source;
        if (!first)
            first = source;
    }
    return first;
}

static void offer_next_file(
    struct executor *x, const json_t *source, const char *before, struct err *failure)
{
    const char *where = json_text(source, "where", NULL);
    const char *next = json_text(source, "next", NULL);
    const char *space = before[0] ? " " : "";
    AUTO_FREE char *state = shell_word(state_path(x->st));
    AUTO_FREE char *file = xasprintf("file:%s", where);
    AUTO_FREE char *without = shell_word(file);

    if (!next)
        err_hint(failure,
            "%s%sIt is '%s', and no other file of these slots is usable: name more folders in the "
            "hosts file (recovery_path), or a location with --source, and start again.",
            before, space, where);
    else
        err_hint(failure,
            "%s%sIt is '%s'; the next newest of these slots is %s. To take that: recluster abort "
            "--state %s; then start again with the option --without %s added.",
            before, space, where, next, state, without);
}

/* The path from the state file as a shell word, or a placeholder. */
static char *path_word(struct executor *x, const char *key, const char *otherwise)
{
    AUTO_FREE char *path = state_meta(x->st, key);

    return path ? shell_word(path) : xstrdup(otherwise);
}

/* The command that recovers this database from the set of that time. */
static char *recover_command(struct executor *x, const struct database_run *db, const char *time)
{
    AUTO_FREE char *hosts = path_word(x, "hosts_path", "HOSTS");
    AUTO_FREE char *ccs = path_word(x, "ccs_path", "CCS");
    AUTO_FREE char *label = shell_word(db->label);
    bool one_of_many = x->database_count > 1;

    return xasprintf("recluster recover --at %s --state NEW%s%s --hosts %s %s", time,
        one_of_many ? " --database " : "", one_of_many ? label : "", hosts, ccs);
}

int older_set_offer(
    struct executor *x, const struct task_run *t, struct err *failure, struct err *err)
{
    const struct database_run *db = &x->databases[t->database];
    AUTO_FREE char *before = xstrdup(failure->hint);
    const char *name = NULL, *space = before[0] ? " " : "";
    char time[CLOCK_TEXT_MAX];
    int64_t time_ms;

    if (t->kind == &task_fetch && (failure->code == ERR_NETWORK || failure->code == ERR_TIMEOUT)) {
        err_hint(failure,
            "%s%sIf host '%s' can't reach the location, but this machine can, give the host "
            "\"relay\": true in the hosts file and start again.",
            before, space, x->hosts[t->host].name);
        return 0;
    }
    if (t->kind != &task_fetch || !is_file_error(failure->code))
        return 0;
    const json_t *source = failed_source(&x->shards[t->shard], failure);
    if (source) {
        offer_next_file(x, source, before, failure);
        return 0;
    }
    if (find_older(x, db, &name, &time_ms, err) < 0)
        return -1;
    if (time_ms < 0) {
        err_hint(failure,
            "%s%sNo older backup set at its location is complete: bring a good copy of the file "
            "there, then run the same command again.",
            before, space);
        return 0;
    }
    /* Whole seconds, rounded up. */
    clock_format(time_ms + SECOND_MS - 1, time);
    AUTO_FREE char *again = recover_command(x, db, time);
    AUTO_FREE char *state = shell_word(state_path(x->st));
    err_hint(failure,
        "%s%sThe next older complete set is '%s' of %s. To take it: recluster abort --state %s; "
        "%sthen start again: %s",
        before, space, name, time, state,
        x->database_count > 1
            ? "name a new \"base_dir\" for hosts on which other databases of this recovery stay; "
            : "",
        again);
    return 0;
}
