#ifndef RECLUSTER_REPORT_PLAN_FACTS_H
#define RECLUSTER_REPORT_PLAN_FACTS_H

/* Read by text and page from the document of plan_json(). */

#include <jansson.h>
#include <stdint.h>

#include "recluster/buf.h"

/* The sum of the files of a backup set; -1: a size is unknown. */
int64_t plan_set_bytes(const json_t *set);

/* The estimate for all stages. */
double plan_total_seconds(const json_t *plan);

/* "10.0.0.1:12000", "[::1]:12000" */
void plan_endpoint(const json_t *endpoint, struct buf *out);

/* "10.0.0.1:12000, …", at most `max` of them; "none". */
void plan_endpoints(const json_t *database, size_t max, struct buf *out);

/* "h1 (10.0.0.1:26379), …": where the Sentinels of a database run; empty without any. */
void plan_sentinels(const json_t *database, struct buf *out);

/* "shard:1, shard:4 (replica), … and 7 more" of one host. */
void plan_host_shards(const json_t *plan, const char *host, size_t max, struct buf *out);

/* All shards with a place, by host; racks in the order of the hosts, "" for none. */
struct plan_placed {
    const char *host;
    const json_t *database, *shard;
    size_t database_index, position; /* in the plan's list, in the database's */
};
struct plan_layout {
    struct plan_placed *placed; /* sorted by host, then as they come */
    size_t count;
    const char **racks;
    size_t rack_count;
};
void plan_layout_init(struct plan_layout *layout, const json_t *plan); /* borrows the plan */
void plan_layout_release(struct plan_layout *layout);
const struct plan_placed *plan_layout_of(
    const struct plan_layout *layout, const char *host, size_t *ret_count);

/* "prepare", "transfer", "load", "open" for 1 to 4; else "?". */
const char *stage_word(int64_t stage);

#endif
