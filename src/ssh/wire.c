#include "wire.h"

#include <string.h>

#include "recluster/mem.h"

struct wire wire_of(const void *data, size_t len)
{
    const unsigned char *at = len ? data : (const void *)"";

    return (struct wire){.at = at, .end = at + len};
}

static const unsigned char *take(struct wire *w, size_t len)
{
    if (w->bad || len > (size_t)(w->end - w->at)) {
        w->bad = true;
        return NULL;
    }
    w->at += len;
    return w->at - len;
}

uint8_t wire_byte(struct wire *w)
{
    const unsigned char *at = take(w, 1);
    return at ? *at : 0;
}

uint32_t wire_u32(struct wire *w)
{
    const unsigned char *at = take(w, 4);
    return at ? (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3] : 0;
}

const char *wire_string(struct wire *w, size_t *ret_len)
{
    size_t len = wire_u32(w);
    const unsigned char *at = take(w, len);

    *ret_len = at ? len : 0;
    return at ? (const char *)at : "";
}

bool wire_string_is(struct wire *w, const char *text)
{
    size_t len;
    const char *string = wire_string(w, &len);
    return !w->bad && len == strlen(text) && memcmp(string, text, len) == 0;
}

void wire_put_u32(struct buf *b, uint32_t value)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        buf_addc(b, (char)(unsigned char)(value >> shift));
}

void wire_put_string(struct buf *b, const void *data, size_t len)
{
    wire_put_u32(b, (uint32_t)len);
    buf_add(b, data, len);
}

char *wire_printable(const char *text, size_t len, size_t most)
{
    char *copy = xstrndup(text, len < most ? len : most);

    for (char *c = copy; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
    return copy;
}
