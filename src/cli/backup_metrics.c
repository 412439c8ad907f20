#include "backup_metrics.h"

#include <inttypes.h>
#include <string.h>

#include "recluster/buf.h"
#include "recluster/clock.h"
#include "recluster/expiry.h"
#include "recluster/file.h"
#include "recluster/json.h"

static void add_head(struct buf *out, const char *name, const char *help)
{
    buf_addf(out, "# HELP recluster_%s %s\n# TYPE recluster_%s gauge\n", name, help, name);
}

/* A value of a label: '\', '"' and line ends are escaped. */
static void add_value(struct buf *out, const char *name, const char *database, int64_t value)
{
    buf_addf(out, "recluster_%s{database=\"", name);
    for (const char *p = database; *p; p++) {
        if (*p == '\\' || *p == '"')
            buf_addc(out, '\\');
        if (*p == '\n')
            buf_adds(out, "\\n");
        else
            buf_addc(out, *p);
    }
    buf_addf(out, "\"} %" PRId64 "\n", value);
}

static int64_t seconds_of(const json_t *set)
{
    struct err ignored = ERR_INIT;
    int64_t ms = 0;

    return clock_parse(json_text(set, "time", ""), &ms, &ignored) == 0 ? ms / 1000 : 0;
}

static const char *name_of(const json_t *set)
{
    const json_t *database = json_object_get(set, "database");

    return json_text(database, "name", json_text(database, "uid", "?"));
}

/* Of each database, from its newest complete set; `sets` begin with the newest. */
static void add_newest(const json_t *sets, const char *name, const char *field, struct buf *out)
{
    json_t *seen = json_object();
    const json_t *set;
    size_t i;

    json_array_foreach (sets, i, set) {
        if (!json_flag(set, "complete") || json_object_get(seen, name_of(set)))
            continue;
        json_object_set_new(seen, name_of(set), json_true());
        add_value(out, name, name_of(set), field ? json_int(set, field, 0) : seconds_of(set));
    }
    json_decref(seen);
}

int backup_metrics_of_sets(const char *path, struct store *store, bool ok, struct err *err)
{
    const struct expiry_policy all = {.keep_last = INT64_MAX, .now_ms = clock_wall_ms()};
    CLEANUP(buf_release) struct buf out = BUF_INIT;
    json_t *plan;

    if (expiry_find(store, &all, &plan, err) < 0)
        return err_wrap(err, "--metrics");
    const json_t *sets = json_object_get(plan, "kept");
    add_head(&out, "backup_ok", "Whether the last run took all sets that it should take.");
    buf_addf(&out, "recluster_backup_ok %d\n", ok);
    add_head(&out, "backup_run_time_seconds", "When the last run ended.");
    buf_addf(&out, "recluster_backup_run_time_seconds %" PRId64 "\n", clock_wall_ms() / 1000);
    add_head(&out, "backup_set_time_seconds", "The moment of the newest complete set.");
    add_newest(sets, "backup_set_time_seconds", NULL, &out);
    add_head(&out, "backup_set_bytes", "Its size at the location.");
    add_newest(sets, "backup_set_bytes", "bytes", &out);
    json_decref(plan);
    return file_write_atomic(path, out.data, out.len, 0644, err);
}

int backup_metrics_of_archive(
    const char *path, const char *database, const struct archive_status *now, struct err *err)
{
    const struct {
        const char *name, *help;
        int64_t value;
    } rows[] = {
        {"archive_shards", "Shards of the database.", (int64_t)now->shards},
        {"archive_streaming", "Shards whose stream is being read.", (int64_t)now->streaming},
        {"archive_moment_time_seconds", "The newest moment that was proven.",
            now->last_cut_ms / 1000},
        {"archive_archived_time_seconds", "The newest moment that the location has as a whole.",
            now->archived_ms / 1000},
        {"archive_waiting_bytes", "Bytes of streams that wait for the location.",
            now->waiting_bytes},
        {"archive_written_time_seconds", "When this was written.", clock_wall_ms() / 1000},
    };
    CLEANUP(buf_release) struct buf out = BUF_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        add_head(&out, rows[i].name, rows[i].help);
        add_value(&out, rows[i].name, database, rows[i].value);
    }
    return file_write_atomic(path, out.data, out.len, 0644, err);
}
