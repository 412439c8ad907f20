#include "doc.h"

#include <stdio.h>
#include <string.h>

#include "recluster/clock.h"

uint32_t doc_next_char(const char **s)
{
    const unsigned char *p = (const unsigned char *)*s;
    uint32_t c = p[0], lowest;
    size_t more;

    (*s)++;
    if (c < 0x80)
        return c;
    if (c >= 0xC2 && c < 0xE0)
        c &= 0x1F, more = 1, lowest = 0x80;
    else if (c >= 0xE0 && c < 0xF0)
        c &= 0x0F, more = 2, lowest = 0x800;
    else if (c >= 0xF0 && c < 0xF5)
        c &= 0x07, more = 3, lowest = 0x10000;
    else
        return 0xFFFD;
    for (size_t i = 1; i <= more; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0xFFFD;
        c = c << 6 | (p[i] & 0x3F);
    }
    if (c < lowest || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000))
        return 0xFFFD;
    *s += more;
    return c;
}

json_t *doc_string(const char *s)
{
    if (!s)
        return json_null();
    json_t *string = json_string(s);
    if (string)
        return string;

    struct buf b = BUF_INIT;
    while (*s) {
        const char *from = s;
        if (doc_next_char(&s) == 0xFFFD)
            buf_adds(&b, "\xEF\xBF\xBD");
        else
            buf_add(&b, from, (size_t)(s - from));
    }
    string = json_string(b.data);
    buf_release(&b);
    return string;
}

json_t *doc_label(const char *kind, const char *uid)
{
    if (!uid)
        return json_null();
    AUTO_FREE char *label = xasprintf("%s:%s", kind, uid);
    return doc_string(label);
}

json_t *doc_int_or_null(int64_t n, int64_t null_value)
{
    return n == null_value ? json_null() : json_integer(n);
}

const char *doc_message(const json_t *issue)
{
    const char *text = json_string_value(issue);
    return text ? text : json_text(issue, "message", "");
}

const char *doc_time(const json_t *doc, const char *field, char *text)
{
    const json_t *value = json_object_get(doc, field);

    if (json_is_string(value))
        return json_string_value(value);
    return json_is_number(value) ? clock_format(json_int(doc, field, 0), text) : "unknown time";
}

void doc_ranges(const json_t *ranges, size_t max, struct buf *out)
{
    size_t count = json_array_size(ranges);

    for (size_t i = 0; i < count && i < max; i++) {
        const json_t *range = json_array_get(ranges, i);
        json_int_t first = json_integer_value(json_array_get(range, 0));
        json_int_t last = json_integer_value(json_array_get(range, 1));
        buf_addf(out, "%s%lld", i > 0 ? ", " : "", (long long)first);
        if (last != first)
            buf_addf(out, "-%lld", (long long)last);
    }
    if (count > max)
        buf_addf(out, " … and %zu more", count - max);
    if (count == 0)
        buf_adds(out, "none");
}
