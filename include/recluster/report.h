#ifndef RECLUSTER_REPORT_H
#define RECLUSTER_REPORT_H

/*
 * What people and programs read: of a CCS file, of a plan, of a recovery. The JSON documents are a
 * contract (recluster(1), JSON OUTPUT): fields are only ever added. Text and page are made from the
 * same documents, so that the three never differ. Text fits 80 columns and holds no escape codes
 * unless `colour`. Nothing here prints; no secret gets into any of it.
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

/* The state of a recovery, while it runs and after: `status --json`. `path` is for "next". */
int report_status_json(
    struct state *st, const char *path, json_t **ret, struct err *err) MUST_CHECK;
void report_status_text(const json_t *status, bool colour, struct buf *out);

/* The whole story, for `report --json`: status, plan, findings, proof per shard, times, events. */
int report_json(struct state *st, const char *path, json_t **ret, struct err *err) MUST_CHECK;
void report_text(const json_t *report, bool colour, struct buf *out);
void report_html(const json_t *report, struct buf *out); /* one self-contained page */

/* From the document of `verify --json`. */
void report_verify_text(const json_t *verify, bool colour, struct buf *out);

#endif
