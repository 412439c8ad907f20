#ifndef RECLUSTER_REPORT_H
#define RECLUSTER_REPORT_H

/*
 * What people and programs read about a CCS file, a plan or a recovery: JSON, text and a web page.
 *
 * The JSON documents are a contract (recluster(1), JSON OUTPUT): fields are only ever added. Text
 * and page are made from these documents, so all three agree. Text fits 80 columns, except for
 * commands to copy, which are never broken. It has escape codes only with `colour`, even if a name
 * has some. Nothing here prints, and no output has a secret in it.
 *
 * Fields that end in _ms are times (since 1970, UTC), those in _s are seconds. Uids are plain
 * ("1"), labels begin with the kind ("db:1").
 */

#include <jansson.h>
#include <stdbool.h>

#include "recluster/buf.h"
#include "recluster/ccs.h"
#include "recluster/err.h"
#include "recluster/state.h"

json_t *report_inspect_json(const struct ccs *ccs);
void report_inspect_text(const json_t *inspect, bool colour, struct buf *out);

/* From the document of plan_json(). */
void report_plan_text(const json_t *plan, bool colour, struct buf *out);

/* The layout by rack and host, as a picture. From the same document. */
void report_plan_svg(const json_t *plan, struct buf *out);

/*
 * The differences of two plans, from their documents: [{"subject", "what", "old", "new"}]. The
 * subject is "plan", "host:a1", "db:1", "db:1 backup set", "file NAME" or "shard:4". "what" is
 * "gone", "new" or the field that differs; "old" and "new" are its values. Empty: the plans are
 * equal.
 */
json_t *report_plan_changes(const json_t *old, const json_t *new);
void report_plan_changes_text(const json_t *changes, bool colour, struct buf *out);

/*
 * The state of a recovery, while it runs and after, `status --json`:
 *
 *     state          planned, running, done, partly, failed
 *     interrupted    state is running, but no process works on it
 *     pid            of the process that works on it; null
 *     started_ms, ended_ms, rto_s, rto_ms (until the end or now), rpo_s (of the oldest set at the
 *                    start)
 *     databases      [{uid, label, name, state, reason (why skipped), sharded, location, set_name,
 *                    set_time_ms, opened_ms, rpo_s, rto_s (until it was open),
 *                    endpoints [{addr, port}] (once it is open),
 *                    shards [{uid, label, role, host, addr, port, state, keys,
 *                    stage (the last that it reached; null)}]}]
 *     tasks          {done, failed, running, pending, total}
 *     stages         [{stage, as tasks, started_ms, ended_ms, planned_s}]
 *     errors         [{host, database, shard, task, message, hint}], with labels
 *     next           the command to run next, quoted for a shell
 *
 * `path` is that of the state file: for "next", and to find the process that holds the run lock.
 */
int report_status_json(
    struct state *st, const char *path, json_t **ret, struct err *err) MUST_CHECK;
void report_status_text(const json_t *status, bool colour, struct buf *out);

/*
 * The whole report, `report --json`:
 *
 *     version, made_ms
 *     cluster        {name, saved_ms, format}
 *     status         as above
 *     plan           as plan_json(); null
 *     findings       as in `inspect --json`
 *     databases      as in status, without shards, with skipped (why; null)
 *     proof          [{uid, label, database_uid, database, role, host, addr, port, state,
 *                    slots (ranges), file, file_bytes (stored), bytes (unpacked), keys_in_file,
 *                    expires, expired, checksum, sha256, rdb_version, slots_found, keys_loaded,
 *                    keys_expired, load_ms, used_memory, server_version,
 *                    sync (of a replica: full, partial), keys, proven, times (its tasks)}]
 *     tasks          [{kind, stage, host, database_uid, shard_uid, state, attempts, started_ms,
 *                    ended_ms}]
 *     events         [{at_ms, severity, code, database_uid, shard_uid, host, stage, message,
 *                    detail}]
 *
 * "proven" is true if the primary loaded each key of its file or dropped it as expired, or if the
 * replica was in step with its primary. It is false if the shard failed, and null until then.
 */
int report_json(struct state *st, const char *path, json_t **ret, struct err *err) MUST_CHECK;
void report_text(const json_t *report, bool colour, struct buf *out);
void report_html(const json_t *report, struct buf *out); /* one self-contained page */

/* Text of files and peers as a terminal may get it: what could control it becomes '?'. One line. */
void report_add_safe(struct buf *out, const char *text);

/* From the document of `verify --json`. */
void report_verify_text(const json_t *verify, bool colour, struct buf *out);

#endif
