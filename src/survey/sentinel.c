#include "sentinel.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/mem.h"

enum { TEXT_MAX = 256, ITEMS_MAX = 100000 };

struct cursor {
    const char *at, *end;
    bool other; /* not what was expected */
};

/* The number after the type byte, to the end of its line; -1: incomplete, or another type. */
static long take_number(struct cursor *c, char mark)
{
    const char *line_end = memchr(c->at, '\n', (size_t)(c->end - c->at));
    char text[16];

    if (c->at < c->end && *c->at != mark)
        c->other = true;
    if (c->other || !line_end)
        return -1;
    size_t len = (size_t)(line_end - c->at);
    if (len >= sizeof(text)) {
        c->other = true;
        return -1;
    }
    memcpy(text, c->at + 1, len - 1);
    text[len - 1] = '\0';
    c->at = line_end + 1;
    long n = strtol(text, NULL, 10);
    c->other = n < 0 || n > SENTINEL_REPLY_MAX;
    return c->other ? -1 : n;
}

/* False: incomplete, or not a string. A longer string is cut, which loses nothing that we need. */
static bool take_text(struct cursor *c, char text[TEXT_MAX])
{
    long len = take_number(c, '$');

    if (len < 0 || c->end - c->at < len + 2)
        return false;
    size_t kept = len < TEXT_MAX ? (size_t)len : TEXT_MAX - 1;
    memcpy(text, c->at, kept);
    text[kept] = '\0';
    c->at += len + 2;
    return true;
}

static bool take_master(struct cursor *c,
    void (*found)(void *arg, const char *name, const char *ip, int port), void *arg)
{
    char field[TEXT_MAX], value[TEXT_MAX], name[TEXT_MAX] = "", ip[TEXT_MAX] = "";
    long count = take_number(c, '*');
    int port = 0;

    if (count < 0)
        return false;
    for (long i = 0; i + 1 < count; i += 2) {
        if (!take_text(c, field) || !take_text(c, value))
            return false;
        if (strcmp(field, "name") == 0)
            memcpy(name, value, sizeof(name));
        else if (strcmp(field, "ip") == 0)
            memcpy(ip, value, sizeof(ip));
        else if (strcmp(field, "port") == 0)
            port = atoi(value);
    }
    if (found)
        found(arg, name, ip, port);
    return true;
}

static bool take_all(struct cursor *c,
    void (*found)(void *arg, const char *name, const char *ip, int port), void *arg)
{
    long masters = take_number(c, '*');

    if (masters > ITEMS_MAX)
        c->other = true;
    for (long i = 0; i < masters && !c->other; i++)
        if (!take_master(c, found, arg))
            return false;
    return masters >= 0 && !c->other;
}

enum sentinel_reply sentinel_masters(const char *data, size_t len,
    void (*found)(void *arg, const char *name, const char *ip, int port), void *arg)
{
    struct cursor trial = {data, data + len, false}, c = trial;

    if (!take_all(&trial, NULL, NULL))
        return trial.other ? SENTINEL_OTHER : SENTINEL_INCOMPLETE;
    take_all(&c, found, arg);
    return SENTINEL_READ;
}
