#include "listing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../driver.h"

enum { PAGE_BYTES_MAX = 64 << 20 };

size_t ftp_page_add(char *data, size_t size, size_t count, void *arg)
{
    struct ftp_page *page = arg;
    size_t len = size * count;

    page->over = buf_add_limited(&page->text, data, len, PAGE_BYTES_MAX, page->what, page->err) < 0;
    return page->over ? 0 : len;
}

/* "20260131130509", or followed by ".123", UTC. */
static int64_t time_of(const char *text)
{
    struct tm tm = {0};
    int used = 0;

    if (sscanf(text, "%4d%2d%2d%2d%2d%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
            &tm.tm_min, &tm.tm_sec, &used) != 6 ||
        used != 14)
        return -1;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    time_t t = timegm(&tm);
    return t < 0 ? -1 : (int64_t)t * 1000;
}

/* The value of a fact in "name=value;name=value;"; NULL: missing. Facts have no quotes. */
static const char *fact(const char *facts, const char *end, const char *name)
{
    size_t len = strlen(name);

    for (const char *p = facts, *next; p < end; p = next + 1) {
        next = memchr(p, ';', (size_t)(end - p));
        if (!next)
            break;
        if ((size_t)(next - p) > len && strncasecmp(p, name, len) == 0 && p[len] == '=')
            return p + len + 1;
    }
    return NULL;
}

static bool is_file(const char *type)
{
    return !type || strncasecmp(type, "file;", 5) == 0 ||
           strncasecmp(type, "os.unix=symlink;", 16) == 0;
}

static void parse_lines(const char *text, struct store_list *list,
    void (*parse)(const char *line, const char *end, struct store_list *list))
{
    while (*text) {
        size_t len = strcspn(text, "\r\n");
        parse(text, text + len, list);
        text += len;
        text += strspn(text, "\r\n");
    }
}

static void parse_mlsd_line(const char *line, const char *end, struct store_list *list)
{
    const char *space = memchr(line, ' ', (size_t)(end - line));

    if (!space || !is_file(fact(line, space, "type")))
        return;
    const char *size = fact(line, space, "size"), *modify = fact(line, space, "modify");
    char *rest = NULL;
    long long bytes = size ? strtoll(size, &rest, 10) : -1;
    bool sized = size && rest != size && *rest == ';' && bytes >= 0;
    store_list_add(list, space + 1, (size_t)(end - space - 1), sized ? bytes : -1,
        modify ? time_of(modify) : -1);
}

void ftp_parse_mlsd(const char *text, struct store_list *list)
{
    parse_lines(text, list, parse_mlsd_line);
}

/* The next word of a line, and *at after it. NULL: none. */
static const char *next_word(const char **at, const char *end)
{
    const char *p = *at;

    while (p < end && *p == ' ')
        p++;
    const char *word = p;
    while (p < end && *p != ' ')
        p++;
    *at = p;
    return word < end ? word : NULL;
}

static int64_t number_of(const char *word, const char *end)
{
    char *rest;
    long long n = strtoll(word, &rest, 10);
    return rest == end && rest != word && n >= 0 ? n : -1;
}

static bool is_month(const char *word, const char *end)
{
    static const char months[] = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec";
    char text[4] = "";

    if (end - word != 3)
        return false;
    memcpy(text, word, 3);
    return strstr(months, text) != NULL;
}

/* Some servers print no group: the size is the number before the month. */
static void parse_unix_line(const char *line, const char *end, struct store_list *list)
{
    const char *at = line, *word;
    int64_t bytes = -1;

    while ((word = next_word(&at, end)) != NULL) {
        if (bytes >= 0 && is_month(word, at))
            break;
        bytes = number_of(word, at);
    }
    /* Day, and time or year; only one space is skipped, because the name may begin with another. */
    if (!word || !next_word(&at, end) || !next_word(&at, end) || at + 1 >= end)
        return;
    const char *name = at + 1;
    bool link = *line == 'l';
    const char *arrow = link ? memmem(name, (size_t)(end - name), " -> ", 4) : NULL;
    store_list_add(list, name, (size_t)((arrow ? arrow : end) - name), link ? -1 : bytes, -1);
}

static void parse_windows_line(const char *line, const char *end, struct store_list *list)
{
    const char *at = line;

    next_word(&at, end);
    next_word(&at, end);
    const char *word = next_word(&at, end);
    int64_t bytes = word ? number_of(word, at) : -1; /* not of "<DIR>" */
    if (bytes >= 0 && at + 1 < end)
        store_list_add(list, at + 1, (size_t)(end - at - 1), bytes, -1);
}

static void parse_list_line(const char *line, const char *end, struct store_list *list)
{
    if (*line == '-' || *line == 'l')
        parse_unix_line(line, end, list);
    else if (*line >= '0' && *line <= '9')
        parse_windows_line(line, end, list);
}

void ftp_parse_list(const char *text, struct store_list *list)
{
    parse_lines(text, list, parse_list_line);
}
