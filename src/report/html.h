#ifndef RECLUSTER_REPORT_HTML_H
#define RECLUSTER_REPORT_HTML_H

/*
 * Pieces of the page. One rule makes it safe: buf_adds() and buf_addf() add literal markup and
 * numbers; all other text goes through the functions here, which escape it.
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

/* <section> with its heading; closed by html_section_end(). */
void html_section(struct buf *out, const char *id, const char *heading);
void html_section_end(struct buf *out);

/*
 * <table> with the headings in one string, separated by '
 *
 * '; "#" before one: a column of numbers.
 */
void html_table(struct buf *out, const char *caption, const char *headings);
void html_table_end(struct buf *out);

/* A coloured word: "good", "bad", "warn", "plain". */
void html_badge(struct buf *out, const char *class, const char *word);

/* A bar, with the share as text for screen readers. */
void html_bar(struct buf *out, double part, double whole, const char *words);

/* page_svg.c: tasks over time, a row for each shard; slots of each sharded database. */
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
