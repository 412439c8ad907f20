#include "html.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "doc.h"

void html_escape(struct buf *out, const char *s)
{
    while (*s) {
        const char *from = s;
        uint32_t c = doc_next_char(&s);

        if (c == '&')
            buf_adds(out, "&amp;");
        else if (c == '<')
            buf_adds(out, "&lt;");
        else if (c == '>')
            buf_adds(out, "&gt;");
        else if (c == '"')
            buf_adds(out, "&quot;");
        else if (c == '\'')
            buf_adds(out, "&#39;");
        else if (c == '\n' || c == '\t')
            buf_addc(out, ' ');
        else if (c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xFFFD || (c & 0xFFFE) == 0xFFFE ||
                 (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069))
            buf_adds(out, "\xEF\xBF\xBD");
        else
            buf_add(out, from, (size_t)(s - from));
    }
}

static void put_args(struct buf *out, const char *fmt, va_list args) PRINTF_LIKE(2, 0);
static void put_args(struct buf *out, const char *fmt, va_list args)
{
    AUTO_FREE char *raw = xvasprintf(fmt, args);
    html_escape(out, raw);
}

void html_put(struct buf *out, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    put_args(out, fmt, args);
    va_end(args);
}

void html_element(struct buf *out, const char *tag, const char *class, const char *fmt, ...)
{
    va_list args;

    buf_addf(out, "<%s", tag);
    if (class)
        buf_addf(out, " class=\"%s\"", class);
    buf_addc(out, '>');
    va_start(args, fmt);
    put_args(out, fmt, args);
    va_end(args);
    buf_addf(out, "</%s>", tag);
}

void html_section(struct buf *out, const char *id, const char *heading)
{
    buf_addf(out, "<section id=\"%s\" aria-labelledby=\"%s-h\">\n<h2 id=\"%s-h\">", id, id, id);
    html_escape(out, heading);
    buf_adds(out, "</h2>\n");
}

void html_section_end(struct buf *out)
{
    buf_adds(out, "</section>\n");
}

void html_table(struct buf *out, const char *caption, const char *headings)
{
    buf_adds(out, "<div class=\"wide\" tabindex=\"0\"><table>");
    html_element(out, "caption", NULL, "%s", caption);
    buf_adds(out, "<thead><tr>");
    while (*headings) {
        size_t len = strcspn(headings, "|");
        bool number = *headings == '#';
        buf_addf(out, "<th scope=\"col\"%s>", number ? " class=\"n\"" : "");
        html_put(out, "%.*s", (int)(len - number), headings + number);
        buf_adds(out, "</th>");
        headings += len + (headings[len] == '|');
    }
    buf_adds(out, "</tr></thead>\n<tbody>\n");
}

void html_table_end(struct buf *out)
{
    buf_adds(out, "</tbody></table></div>\n");
}

void html_badge(struct buf *out, const char *class, const char *word)
{
    buf_addf(out, "<span class=\"badge %s\">", class);
    html_escape(out, word);
    buf_adds(out, "</span>");
}

void html_bar(struct buf *out, double part, double whole, const char *words)
{
    double percent = whole > 0 ? 100 * part / whole : 0;

    percent = percent < 0 ? 0 : percent > 100 ? 100 : percent;
    buf_adds(out, "<div class=\"bar\" role=\"img\" aria-label=\"");
    html_escape(out, words);
    buf_adds(out, "\" title=\"");
    html_escape(out, words);
    buf_addf(out, "\"><i%s style=\"width:%.1f%%\"></i></div>",
        part > whole ? " class=\"over\"" : "", percent);
}
