#include "recluster/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char buf_empty[1];

void buf_init(struct buf *b)
{
    *b = (struct buf)BUF_INIT;
}

void buf_release(struct buf *b)
{
    if (b->alloc)
        free(b->data);
    buf_init(b);
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    if (b->alloc)
        b->data[0] = '\0';
}

char *buf_take(struct buf *b)
{
    char *data = b->alloc ? b->data : xstrdup("");
    buf_init(b);
    return data;
}

void buf_reserve(struct buf *b, size_t more)
{
    size_t need = b->len + more + 1;
    if (need <= b->alloc)
        return;
    size_t alloc = b->alloc ? b->alloc * 2 : 64;
    if (alloc < need)
        alloc = need;
    b->data = xrealloc(b->alloc ? b->data : NULL, alloc);
    b->alloc = alloc;
    b->data[b->len] = '\0';
}

void buf_add(struct buf *b, const void *data, size_t len)
{
    if (!len)
        return;
    buf_reserve(b, len);
    memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void buf_adds(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_addc(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_vaddf(struct buf *b, const char *fmt, va_list args)
{
    char *text = xvasprintf(fmt, args);
    buf_adds(b, text);
    free(text);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    buf_vaddf(b, fmt, args);
    va_end(args);
}

void buf_consume(struct buf *b, size_t len)
{
    if (!len)
        return;
    memmove(b->data, b->data + len, b->len - len);
    b->len -= len;
    b->data[b->len] = '\0';
}

int buf_add_limited(
    struct buf *b, const void *data, size_t len, size_t limit, const char *what, struct err *err)
{
    if (len > limit || b->len > limit - len)
        return err_set(err, ERR_LIMIT, "%s is longer than %zu bytes", what, limit);
    buf_add(b, data, len);
    return 0;
}
