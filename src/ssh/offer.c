#include "offer.h"

#include <string.h>

#include "recluster/mem.h"
#include "wire.h"

enum {
    OFFER_BYTES_MAX = 64 << 10,
    KEXINIT = 20,
    COOKIE_BYTES = 16,
};

/* The text after the lines, the last of which is the server's version; NULL: incomplete. */
static const char *find_version_end(const struct offer *o)
{
    const char *end = o->bytes.data + o->bytes.len;

    for (const char *line = o->bytes.data;;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        if (!newline)
            return NULL;
        bool is_version = newline - line > 4 && memcmp(line, "SSH-", 4) == 0;
        line = newline + 1;
        if (is_version)
            return line;
    }
}

/* The packet after that; NULL: incomplete. */
static const char *find_packet(const struct offer *o, size_t *ret_len)
{
    const char *begin = find_version_end(o);
    struct wire w = wire_of(begin, begin ? (size_t)(o->bytes.data + o->bytes.len - begin) : 0);
    const char *packet = wire_string(&w, ret_len);

    return w.bad ? NULL : packet;
}

void offer_add(struct offer *o, const void *data, size_t len)
{
    size_t unused;

    if (o->over)
        return;
    size_t room = OFFER_BYTES_MAX - o->bytes.len;
    buf_add(&o->bytes, data, len < room ? len : room);
    o->over = find_packet(o, &unused) || o->bytes.len == OFFER_BYTES_MAX;
}

void offer_release(struct offer *o)
{
    buf_release(&o->bytes);
}

char *offer_refusal(const struct offer *o, size_t most)
{
    size_t len = strcspn(o->bytes.data, "\r\n");

    return len > 0 && !find_version_end(o) ? wire_printable(o->bytes.data, len, most) : NULL;
}

char *offer_names(const struct offer *o, enum offer_kind kind)
{
    size_t len;
    const char *packet = find_packet(o, &len), *names = "";

    if (!packet)
        return NULL;
    struct wire w = wire_of(packet, len);
    wire_byte(&w); /* length of the padding */
    if (wire_byte(&w) != KEXINIT)
        return NULL;
    for (int i = 0; i < COOKIE_BYTES; i++)
        wire_byte(&w);
    for (int i = 0; i <= (int)kind; i++)
        names = wire_string(&w, &len);
    return w.bad ? NULL : wire_printable(names, len, len);
}

bool offer_has(const char *list, const char *name, size_t len)
{
    for (const char *at = list; *at; at += strspn(at, ",")) {
        size_t n = strcspn(at, ",");
        if (n == len && memcmp(at, name, len) == 0)
            return true;
        at += n;
    }
    return false;
}

bool offer_meets(const char *list, const char *other)
{
    for (const char *at = list; *at; at += strspn(at, ",")) {
        size_t n = strcspn(at, ",");
        if (n && offer_has(other, at, n))
            return true;
        at += n;
    }
    return false;
}
