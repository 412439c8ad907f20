#include "text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "doc.h"
#include "recluster/report.h"

/* Of Unicode's East Asian Width: wide and full-width characters. */
static const struct {
    uint32_t first, last;
} wide[] = {{0x1100, 0x115F}, {0x2E80, 0x303E}, {0x3041, 0xA4CF}, {0xA960, 0xA97C},
    {0xAC00, 0xD7A3}, {0xF900, 0xFAFF}, {0xFE30, 0xFE6F}, {0xFF01, 0xFF60}, {0xFFE0, 0xFFE6},
    {0x1F300, 0x1F64F}, {0x1F680, 0x1F6FF}, {0x1F900, 0x1FAFF}, {0x20000, 0x3FFFD}},
  zero[] = {
      {0x0300, 0x036F}, {0x1AB0, 0x1AFF}, {0x20D0, 0x20FF}, {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F}};

static unsigned char_width(uint32_t c)
{
    for (size_t i = 0; i < ARRAY_SIZE(zero); i++)
        if (c >= zero[i].first && c <= zero[i].last)
            return 0;
    for (size_t i = 0; i < ARRAY_SIZE(wide); i++)
        if (c >= wide[i].first && c <= wide[i].last)
            return 2;
    return 1;
}

/* C0 and C1 controls, invalid UTF-8, invisible and direction marks, line separators, tags. */
static bool is_unsafe(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xAD || c == 0x061C || c == 0xFFFD ||
           (c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) ||
           (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF || (c >= 0xE0000 && c <= 0xE0FFF);
}

void text_add_safe(struct buf *out, const char *s)
{
    while (*s) {
        const char *from = s;
        if (is_unsafe(doc_next_char(&s)))
            buf_addc(out, '?');
        else
            buf_add(out, from, (size_t)(s - from));
    }
}

static char *safe_format(const char *fmt, va_list args) PRINTF_LIKE(1, 0);
static char *safe_format(const char *fmt, va_list args)
{
    struct buf safe = BUF_INIT;
    AUTO_FREE char *raw = xvasprintf(fmt, args);

    text_add_safe(&safe, raw);
    return buf_take(&safe);
}

size_t text_width(const char *s)
{
    size_t width = 0;

    while (*s)
        width += char_width(doc_next_char(&s));
    return width;
}

/* The number of bytes at the start of s that fit into so many columns. */
static size_t fitting_bytes(const char *s, size_t columns)
{
    const char *at = s;
    size_t used = 0;

    while (*at) {
        const char *next = at;
        used += char_width(doc_next_char(&next));
        if (used > columns)
            break;
        at = next;
    }
    return (size_t)(at - s);
}

static void style_begin(struct text *t, enum text_style style)
{
    static const char *const codes[] = {[TEXT_PLAIN] = "",
        [TEXT_BOLD] = "\033[1m",
        [TEXT_RED] = "\033[31m",
        [TEXT_GREEN] = "\033[32m",
        [TEXT_YELLOW] = "\033[33m"};
    if (t->colour)
        buf_adds(t->out, codes[style]);
}

static void style_end(struct text *t, enum text_style style)
{
    if (t->colour && style != TEXT_PLAIN)
        buf_adds(t->out, "\033[0m");
}

static void put_styled(struct text *t, enum text_style style, const char *s, size_t len)
{
    style_begin(t, style);
    buf_add(t->out, s, len);
    style_end(t, style);
}

static void put_spaces(struct text *t, size_t count)
{
    while (count-- > 0)
        buf_addc(t->out, ' ');
}

void text_put(struct text *t, enum text_style style, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    AUTO_FREE char *s = safe_format(fmt, args);
    va_end(args);
    put_styled(t, style, s, strlen(s));
}

void text_end(struct text *t)
{
    while (t->out->len > 0 && t->out->data[t->out->len - 1] == ' ')
        t->out->len--;
    buf_addc(t->out, '\n');
}

void text_heading(struct text *t, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    AUTO_FREE char *s = safe_format(fmt, args);
    va_end(args);
    text_end(t);
    put_styled(t, TEXT_BOLD, s, strlen(s));
    text_end(t);
}

/* The bytes in the next line of s, at most `columns` wide; cut at a space if there is one. */
static size_t line_bytes(const char *s, size_t columns)
{
    size_t fits = fitting_bytes(s, columns);

    if (s[fits] == '\0' || s[fits] == ' ')
        return fits;
    for (size_t i = fits; i > 0; i--)
        if (s[i - 1] == ' ')
            return i - 1 > 0 ? i - 1 : fits;
    return fits;
}

static void wrap(struct text *t, enum text_style style, const char *first, const char *s)
{
    size_t indent = text_width(first);

    buf_adds(t->out, first);
    do {
        size_t len = line_bytes(s, TEXT_COLUMNS - indent);
        put_styled(t, style, s, len);
        text_end(t);
        s += len;
        while (*s == ' ')
            s++;
        if (*s)
            put_spaces(t, indent);
    } while (*s);
}

void text_wrap(struct text *t, enum text_style style, const char *first, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    AUTO_FREE char *s = safe_format(fmt, args);
    va_end(args);
    wrap(t, style, first, s);
}

void text_field(struct text *t, const char *label, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    AUTO_FREE char *s = safe_format(fmt, args);
    va_end(args);
    AUTO_FREE char *first = xasprintf("    %-13s ", label);
    wrap(t, TEXT_PLAIN, first, s);
}

void text_more(struct text *t, unsigned indent, size_t count, size_t shown)
{
    if (count <= shown)
        return;
    put_spaces(t, indent);
    text_put(t, TEXT_PLAIN, "… and %zu more (see --json)", count - shown);
    text_end(t);
}

void text_command(struct text *t, const char *command)
{
    text_put(t, TEXT_PLAIN, "  %s", command);
    text_end(t);
}

void text_bar(struct buf *out, double part, double whole, unsigned columns)
{
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    double share = whole > 0 ? part / whole : 0;
    unsigned filled = 0;

    if (share >= 1)
        filled = columns * 8;
    else if (share > 0)
        filled = (unsigned)(share * columns * 8);
    for (unsigned i = 0; i < columns; i++) {
        unsigned left = filled > i * 8 ? filled - i * 8 : 0;
        buf_adds(out, left >= 8 ? "█" : left > 0 ? eighths[left] : "░");
    }
}

void text_table_init(struct text_table *table, const char *columns)
{
    *table = (struct text_table){.columns = columns};
}

void text_table_cell(struct text_table *table, enum text_style style, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    GROW(table->cells, table->count, table->alloc);
    table->cells[table->count].text = safe_format(fmt, args);
    table->cells[table->count++].style = style;
    va_end(args);
}

/* The widths of the columns; those that may be cut are made narrower until a line fits. */
static void column_widths(const struct text_table *table, size_t *widths, size_t room)
{
    size_t columns = strlen(table->columns);
    size_t total = 2 * (columns - 1);

    for (size_t i = 0; i < table->count; i++) {
        size_t width = text_width(table->cells[i].text);
        if (width > widths[i % columns])
            widths[i % columns] = width;
    }
    for (size_t i = 0; i < columns; i++)
        total += widths[i];
    while (total > room) {
        size_t widest = columns;
        for (size_t i = 0; i < columns; i++)
            if (table->columns[i] == 'L' && (widest == columns || widths[i] > widths[widest]))
                widest = i;
        if (widest == columns || widths[widest] <= 4)
            break;
        widths[widest]--;
        total--;
    }
}

static void print_cell(
    struct text *t, const struct text_cell *cell, size_t width, char kind, bool last)
{
    size_t have = text_width(cell->text);

    if (have > width) {
        size_t len = fitting_bytes(cell->text, width - 1);
        AUTO_FREE char *cut = xasprintf("%.*s…", (int)len, cell->text);
        put_styled(t, cell->style, cut, strlen(cut));
        have = text_width(cut);
        if (!last)
            put_spaces(t, width - have);
        return;
    }
    if (kind == 'r')
        put_spaces(t, width - have);
    put_styled(t, cell->style, cell->text, strlen(cell->text));
    if (kind != 'r' && !last)
        put_spaces(t, width - have);
}

void text_table_print(struct text_table *table, struct text *t, unsigned indent)
{
    size_t columns = strlen(table->columns);
    size_t *widths = xcalloc(columns, sizeof(*widths));

    column_widths(table, widths, TEXT_COLUMNS - indent);
    for (size_t i = 0; i < table->count; i++) {
        size_t column = i % columns;
        bool last = column + 1 == columns;
        if (column == 0)
            put_spaces(t, indent);
        print_cell(t, &table->cells[i], widths[column], table->columns[column], last);
        if (last)
            text_end(t);
        else
            put_spaces(t, 2);
        free(table->cells[i].text);
    }
    free(table->cells);
    free(widths);
    *table = (struct text_table){.columns = table->columns};
}

void report_add_safe(struct buf *out, const char *text)
{
    text_add_safe(out, text);
}
