#ifndef RECLUSTER_REPORT_TEXT_H
#define RECLUSTER_REPORT_TEXT_H

/*
 * Text for terminals of 80 columns. All output passes through one gate: control characters, escape
 * sequences and direction marks become '?', so that a name in a CCS file cannot control the
 * reader's terminal. So '\n' in a text does not end a line: text_end() does, or a function that
 * says so.
 */

#include <stdbool.h>
#include <stddef.h>

#include "recluster/buf.h"

enum { TEXT_COLUMNS = 80, TEXT_LIST_MAX = 20 /* longer lists are abridged */ };

enum text_style { TEXT_PLAIN, TEXT_BOLD, TEXT_RED, TEXT_GREEN, TEXT_YELLOW };

struct text {
    struct buf *out;
    bool colour;
};

/* Appends the text as it is shown, one line. */
void text_add_safe(struct buf *out, const char *s);

void text_put(struct text *t, enum text_style style, const char *fmt, ...) PRINTF_LIKE(3, 4);
void text_end(struct text *t); /* ends the line */

/* A blank line, then a heading line. */
void text_heading(struct text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);

/*
 * `first`, then the text, wrapped at words; further lines are indented to the start of the text.
 * Ends the line. A word that is longer than a line is broken.
 */
void text_wrap(struct text *t, enum text_style style, const char *first, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* Like text_wrap(), after a label in a column of 14 that starts at column 5. */
void text_field(struct text *t, const char *label, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* "… and N more (see --json)" at the indent, if `count` exceeds `shown`. */
void text_more(struct text *t, unsigned indent, size_t count, size_t shown);

/* A command to copy: on its own line, never wrapped. */
void text_command(struct text *t, const char *command);

/* Appends a bar of `columns`, filled by `part` of `whole`. Completely full only if equal. */
void text_bar(struct buf *out, double part, double whole, unsigned columns);

/* The width of s on a terminal. */
size_t text_width(const char *s);

/*
 * A table: text_table_init() with a letter for each column, 'l' left, 'r' right, 'L' left and cut
 * with '…' if the line would be too long; then cells row by row, the first row being the heading;
 * then text_table_print(), which also releases it.
 */
struct text_table {
    const char *columns;
    struct text_cell {
        char *text;
        enum text_style style;
    } * cells;
    size_t count, alloc;
};
void text_table_init(struct text_table *table, const char *columns);
void text_table_cell(struct text_table *table, enum text_style style, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void text_table_print(struct text_table *table, struct text *t, unsigned indent);

#endif
