#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "recluster/aof.h"
#include "recluster/file.h"

static bool is_plain_name(const char *name)
{
    return *name && name[0] != '.' && !strchr(name, '/');
}

static int digit_of_hex(char c)
{
    return isdigit((unsigned char)c)    ? c - '0'
           : isxdigit((unsigned char)c) ? (c | 32) - 'a' + 10
                                        : -1;
}

/* The byte after a backslash in double quotes; moves *at after it. */
static char unescape(const char **at)
{
    static const char letters[] = "nrtba", bytes[] = "\n\r\t\b\a";
    const char *p = *at;
    const char *letter = *p ? strchr(letters, *p) : NULL;

    if (*p == 'x' && digit_of_hex(p[1]) >= 0 && digit_of_hex(p[2]) >= 0) {
        *at = p + 3;
        return (char)(digit_of_hex(p[1]) * 16 + digit_of_hex(p[2]));
    }
    *at = p + 1;
    return letter ? bytes[letter - letters] : *p;
}

/*
 * Takes a word of a line as servers split it: bare, or in quotes if it has spaces or similar. NULL:
 * no word is left, or a quote is not closed, which sets *bad.
 */
static char *take_word(char **rest, bool *bad)
{
    const char *p = *rest;

    while (isspace((unsigned char)*p))
        p++;
    if (!*p)
        return NULL;
    char quote = *p == '"' || *p == '\'' ? *p++ : '\0', *word = *rest, *out = word;
    while (*p && (quote ? *p != quote : !isspace((unsigned char)*p))) {
        if (quote == '"' && *p == '\\' && p[1]) {
            p++;
            *out++ = unescape(&p);
        } else if (quote == '\'' && *p == '\\' && p[1] == '\'') {
            *out++ = '\'';
            p += 2;
        } else {
            *out++ = *p++;
        }
    }
    *bad = quote && (*p != quote || (p[1] && !isspace((unsigned char)p[1])));
    if (*bad)
        return NULL;
    /* The rest begins after the quote or the space that ends the word. */
    *rest += p - *rest + (*p ? 1 : 0);
    *out = '\0';
    return word;
}

struct manifest_line {
    const char *name;
    char type; /* 'b', 'i', 'h' */
    unsigned long long seq;
};

/* "file NAME seq 1 type b", then fields of later versions. Splits the line. */
static int take_line(char *line, struct manifest_line *ret, struct err *err)
{
    struct manifest_line l = {.name = NULL};
    char *rest = line, *key, *value;
    bool bad = false;

    while ((key = take_word(&rest, &bad)) && (value = take_word(&rest, &bad))) {
        if (strcasecmp(key, "file") == 0)
            l.name = value;
        else if (strcasecmp(key, "seq") == 0)
            l.seq = strtoull(value, NULL, 10);
        else if (strcasecmp(key, "type") == 0 && value[0] && !value[1])
            l.type = value[0];
    }
    if (bad)
        return err_set(err, ERR_CORRUPT, "a quote in the manifest is not closed");
    if (!l.name || !l.type || !strchr("bih", l.type))
        return err_set(err, ERR_CORRUPT, "a line of the manifest lacks the file or its type");
    if (!l.seq && l.type != 'h')
        return err_set(err, ERR_CORRUPT, "the manifest gives '%s' no sequence number", l.name);
    if (!is_plain_name(l.name))
        return err_set(err, ERR_CORRUPT,
            "the manifest names '%s', but this file is not in its folder", l.name);
    *ret = l;
    return 0;
}

static void add_name(struct aof_manifest *m, size_t *alloc, const char *name)
{
    GROW(m->names, m->count, *alloc);
    m->names[m->count++] = xstrdup(name);
}

/* A base file is loaded first, wherever its line is. */
static void move_to_front(struct aof_manifest *m)
{
    char *base = m->names[m->count - 1];

    memmove(m->names + 1, m->names, (m->count - 1) * sizeof(*m->names));
    m->names[0] = base;
}

int aof_manifest_parse(const char *text, size_t len, struct aof_manifest *ret, struct err *err)
{
    AUTO_FREE char *copy = xmemdup(text, len);
    struct aof_manifest m = {.names = NULL};
    size_t alloc = 0;
    unsigned long long last_seq = 0;
    bool has_base = false;
    char *rest = copy;

    for (char *line; (line = strsep(&rest, "\n"));) {
        struct manifest_line l = {.name = NULL};
        if (!*line || *line == '#')
            continue;
        if (take_line(line, &l, err) < 0)
            goto fail;
        if (l.type == 'h')
            continue;
        if (l.type == 'b' && has_base) {
            err_set(err, ERR_CORRUPT, "the manifest names two base files");
            goto fail;
        }
        if (l.type == 'i' && l.seq <= last_seq) {
            err_set(err, ERR_CORRUPT,
                "the sequence numbers of the manifest do not rise: '%s' has %llu after %llu",
                l.name, l.seq, last_seq);
            err_hint(err, "Servers refuse it too. Take an older copy of the folder.");
            goto fail;
        }
        add_name(&m, &alloc, l.name);
        if (l.type == 'b')
            move_to_front(&m);
        else
            last_seq = l.seq;
        has_base |= l.type == 'b';
    }
    if (m.count) {
        *ret = m;
        return 0;
    }
    err_set(err, ERR_CORRUPT, "the manifest names no file");
fail:
    aof_manifest_release(&m);
    return -1;
}

void aof_manifest_release(struct aof_manifest *m)
{
    strv_free(m->names, m->count);
    *m = (struct aof_manifest){.names = NULL};
}
