#ifndef RECLUSTER_REPORT_HTML_H
#define RECLUSTER_REPORT_HTML_H

/*
 * Pieces of the page. One rule keeps it safe: literal markup and numbers go in by buf_adds() and
 * buf_addf(), everything that came from anywhere else by the functions here, which escape.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "recluster/buf.h"

/* For elements and attributes in double quotes. Control characters become U+FFFD. */
void html_escape(struct buf *out, const char *s);
void html_put(struct buf *out, const char *fmt, ...) PRINTF_LIKE(2, 3); /* formats, then escapes */

/* <tag class="class">text</tag>; no class if it is NULL. */
void html_element(struct buf *out, const char *tag, const char *class, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* <section> with its heading; html_section_end() closes it. */
void html_section(struct buf *out, const char *id, const char *heading);
void html_section_end(struct buf *out);

/* <table> with a row of headings in one string, split at '|'; "#" before one: a column of numbers. */
void html_table(struct buf *out, const char *caption, const char *headings);
void html_table_end(struct buf *out);

/* A word in a pill: "good", "bad", "warn", "plain". */
void html_badge(struct buf *out, const char *class, const char *word);

/* A bar, with the share in words for those who can't see it. */
void html_bar(struct buf *out, double part, double whole, const char *words);

/* page_svg.c: tasks over time, a row per shard; slots of each sharded database. */
void page_timeline(struct buf *out, const json_t *report);
void page_slots(struct buf *out, const json_t *report);

/* page_tables.c; page_stages() is a table without a section */
void page_databases(struct buf *out, const json_t *report);
void page_stages(struct buf *out, const json_t *report);
void page_layout(struct buf *out, const json_t *report);
void page_proof(struct buf *out, const json_t *report);
void page_issues(struct buf *out, const json_t *report);
void page_events(struct buf *out, const json_t *report);

#endif
