#ifndef RECLUSTER_REPORT_PLAN_TEXT_H
#define RECLUSTER_REPORT_PLAN_TEXT_H

/* Parts of the text of a plan, from the document of plan_json(). */

#include <jansson.h>

#include "text.h"

/* plan_text_hosts.c: a block for each host; for more than TEXT_LIST_MAX hosts, a table by rack. */
void plan_text_hosts(struct text *t, const json_t *plan);

/* plan_text_times.c: the stages, and the rates that their estimates use. */
void plan_text_stages(struct text *t, const json_t *plan);

#endif
