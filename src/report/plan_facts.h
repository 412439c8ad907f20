#ifndef RECLUSTER_REPORT_PLAN_FACTS_H
#define RECLUSTER_REPORT_PLAN_FACTS_H

/* What text and page read from the document of plan_json(). */

#include <jansson.h>
#include <stdint.h>

#include "recluster/buf.h"

/* Sum of the files of a backup set; -1: a size is not known. */
int64_t plan_set_bytes(const json_t *set);

/* "10.0.0.1:12000", "[::1]:12000" */
void plan_endpoint(const json_t *endpoint, struct buf *out);

/* "10.0.0.1:12000, …", at most `max` of them; "none". */
void plan_endpoints(const json_t *database, size_t max, struct buf *out);

/* "shard:1, shard:4 (replica), … and 7 more" of one host. */
void plan_host_shards(const json_t *plan, const char *host, size_t max, struct buf *out);

/* "prepare", "transfer", "load", "open" for 1 to 4; else "?". */
const char *stage_word(int64_t stage);

#endif
