#include "index.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <curl/curl.h>

#include "../driver.h"
#include "recluster/buf.h"
#include "recluster/json.h"

/* The limit of the search for a link's text and the columns after it. */
enum { LINE_MAX_BYTES = 2048 };

static int64_t date_to_ms(const char *text)
{
    time_t t = text ? curl_getdate(text, NULL) : -1;
    return t < 0 ? -1 : (int64_t)t * 1000;
}

static int parse_json(
    const char *text, size_t len, const char *what, struct store_list *list, struct err *err)
{
    json_t *index = json_read(text, len, 0, "the index", err);
    size_t i;
    json_t *item;

    if (!index) {
        if (err->code == ERR_CORRUPT)
            err->code = ERR_PROTOCOL;
        return err_wrap(err, "'%s'", what);
    }
    if (!json_is_array(index)) {
        err_set(err, ERR_PROTOCOL, "the index of '%s' is not a JSON array of files", what);
        json_decref(index);
        return -1;
    }
    json_array_foreach (index, i, item) {
        const json_t *name = json_is_string(item) ? item : json_object_get(item, "name");
        const char *type = json_text(item, "type", NULL);
        const json_t *size = json_object_get(item, "size");
        if (!json_is_string(name) || (type && strcmp(type, "file") != 0))
            continue;
        bool sized = json_is_integer(size) && json_integer_value(size) >= 0;
        store_list_add(list, json_string_value(name), json_string_length(name),
            sized ? json_integer_value(size) : -1, date_to_ms(json_text(item, "mtime", NULL)));
    }
    json_decref(index);
    return 0;
}

static const struct {
    const char *name;
    char c;
} entities[] = {{"amp;", '&'}, {"lt;", '<'}, {"gt;", '>'}, {"quot;", '"'}, {"apos;", '\''}};

/* After a '&': adds the character of the entity; returns its length, 0: not an entity. */
static size_t decode_entity(const char *p, size_t len, struct buf *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(entities); i++) {
        size_t n = strlen(entities[i].name);
        if (len >= n && memcmp(p, entities[i].name, n) == 0) {
            buf_addc(out, entities[i].c);
            return n;
        }
    }
    /* "#39;" or "#x27;": links are ASCII; other characters are percent-encoded. */
    bool hex = len > 1 && (p[1] == 'x' || p[1] == 'X');
    size_t at = hex ? 2 : 1;
    unsigned code = 0;
    if (len < 3 || p[0] != '#')
        return 0;
    for (; at < len && at < 8 && isxdigit((unsigned char)p[at]); at++) {
        unsigned digit = isdigit((unsigned char)p[at]) ? (unsigned)(p[at] - '0')
                                                       : (unsigned)((p[at] | 32) - 'a' + 10);
        code = code * (hex ? 16 : 10) + digit;
    }
    if (at >= len || p[at] != ';' || code == 0 || code > 126)
        return 0;
    buf_addc(out, (char)code);
    return at + 1;
}

static void decode_entities(const char *text, size_t len, struct buf *out)
{
    buf_clear(out);
    for (size_t i = 0; i < len; i++) {
        size_t entity = text[i] == '&' ? decode_entity(text + i + 1, len - i - 1, out) : 0;
        if (entity)
            i += entity;
        else
            buf_addc(out, text[i]);
    }
}

/* "scheme:…" */
static bool is_absolute(const char *link)
{
    size_t n = 0;
    while (isalnum((unsigned char)link[n]) || (n && link[n] && strchr("+-.", link[n])))
        n++;
    return n && link[n] == ':';
}

static void add_link(const char *link, int64_t bytes, int64_t modified_ms, struct store_list *list)
{
    int len = 0;

    if (is_absolute(link))
        return;
    if (strncmp(link, "./", 2) == 0)
        link += 2;
    if (strpbrk(link, "/?#"))
        return;
    char *name = curl_easy_unescape(NULL, link, (int)strlen(link), &len);
    if (name)
        store_list_add(list, name, (size_t)len, bytes, modified_ms);
    curl_free(name);
}

/*
 * nginx writes "</a> 31-Jan-2026 13:05 1048576" (UTC) after a file's link. A size with a unit
 * ("12M") is rounded, so it is ignored.
 */
static void read_nginx_columns(
    const char *p, const char *end, int64_t *ret_bytes, int64_t *ret_modified_ms)
{
    char line[128];
    char date[12], clock[6], size[24], rest;
    size_t len = strnlen(p, sizeof(line) < (size_t)(end - p) ? sizeof(line) : (size_t)(end - p));
    const char *stop = memchr(p, '\n', len);

    *ret_bytes = *ret_modified_ms = -1;
    if (!stop)
        return;
    len = (size_t)(stop - p);
    memcpy(line, p, len);
    line[len] = '\0';
    if (sscanf(line, " %11s %5s %23s %c", date, clock, size, &rest) != 3)
        return;
    char *rest_of_size;
    long long bytes = strtoll(size, &rest_of_size, 10);
    AUTO_FREE char *when = xasprintf("%s %s:00 GMT", date, clock);
    int64_t ms = date_to_ms(when);
    if (ms < 0 || rest_of_size == size || *rest_of_size || bytes < 0)
        return;
    *ret_bytes = bytes;
    *ret_modified_ms = ms;
}

/* The value of the attribute href in a tag's text; NULL: none. */
static const char *find_href(const char *tag, const char *end, size_t *ret_len)
{
    for (const char *p = tag; (p = memchr(p, '=', (size_t)(end - p))) != NULL; p++) {
        const char *name = p;
        while (name > tag && isspace((unsigned char)name[-1]))
            name--;
        bool href = name - tag >= 5 && strncasecmp(name - 4, "href", 4) == 0 &&
                    isspace((unsigned char)name[-5]);
        const char *value = p + 1;
        while (value < end && isspace((unsigned char)*value))
            value++;
        if (value == end)
            return NULL;
        bool quoted = *value == '"' || *value == '\'';
        const char *stop = quoted ? memchr(value + 1, *value, (size_t)(end - value - 1)) : value;
        if (!stop)
            return NULL;
        if (!quoted)
            while (stop < end && !isspace((unsigned char)*stop))
                stop++;
        if (href) {
            *ret_len = (size_t)(stop - value) - quoted;
            return value + quoted;
        }
        p = quoted ? stop : stop - 1;
    }
    return NULL;
}

/* The '>' that ends a tag, outside of quotes. */
static const char *tag_end(const char *p, const char *end)
{
    char quote = '\0';
    for (; p < end; p++) {
        if (quote)
            quote = *p == quote ? '\0' : quote;
        else if (*p == '"' || *p == '\'')
            quote = *p;
        else if (*p == '>')
            return p;
    }
    return NULL;
}

/* `text` ends with a NUL at `end`. */
static void parse_html(const char *text, const char *end, struct store_list *list)
{
    struct buf link = BUF_INIT;

    for (const char *p = text; (p = memchr(p, '<', (size_t)(end - p))) != NULL; p++) {
        if (end - p < 3 || (p[1] | 32) != 'a' || !isspace((unsigned char)p[2]))
            continue;
        const char *close = tag_end(p, end);
        size_t len;
        if (!close)
            break;
        const char *href = find_href(p + 2, close, &len);
        if (href) {
            size_t near =
                (size_t)(end - close) < LINE_MAX_BYTES ? (size_t)(end - close) : LINE_MAX_BYTES;
            const char *columns = memmem(close, near, "</a>", 4);
            int64_t bytes = -1, modified_ms = -1;
            if (columns)
                read_nginx_columns(columns + 4, end, &bytes, &modified_ms);
            decode_entities(href, len, &link);
            add_link(link.data, bytes, modified_ms, list);
        }
        p = close;
    }
    buf_release(&link);
}

int http_index_parse(const char *text, size_t len, const char *content_type, const char *what,
    struct store_list *list, struct err *err)
{
    const char *type = content_type ? content_type : "";
    size_t start = 0;

    while (start < len && isspace((unsigned char)text[start]))
        start++;
    char first = start < len ? text[start] : '\0';
    bool json = strncasecmp(type, "application/json", 16) == 0 || first == '[' || first == '{';
    bool html = strncasecmp(type, "text/html", 9) == 0 || first == '<';

    if (json && first != '<')
        return parse_json(text, len, what, list, err);
    if (html) {
        AUTO_FREE char *copy = xmemdup(text, len);
        parse_html(copy, copy + strlen(copy), list);
        return 0;
    }
    err_set(err, ERR_PROTOCOL, "'%s' did not answer with an index of its files", what);
    return err_hint(
        err, "Let the server show an index (nginx: autoindex on) or put one there as JSON.");
}
