#ifndef RECLUSTER_BUF_H
#define RECLUSTER_BUF_H

/*
 * A growing byte buffer that is also a string: data[len] is always NUL, and data is never NULL.
 *
 *     struct buf b = BUF_INIT;
 *     buf_addf(&b, "port %d\n", port);
 *     char *text = buf_take(&b);     // the caller frees it; the buffer is empty and can be reused
 *     buf_release(&b);
 *
 * Bytes that a peer controls go through buf_add_limited(), which fails with ERR_LIMIT instead of
 * growing past `limit`.
 */

#include <stdarg.h>
#include <stddef.h>

#include "recluster/err.h"
#include "recluster/mem.h"

struct buf {
    char *data;
    size_t len;
    size_t alloc; /* 0 while data is the shared empty string */
};

extern char buf_empty[1];
#define BUF_INIT                                                                                   \
    {                                                                                              \
        .data = buf_empty                                                                          \
    }

void buf_init(struct buf *b);
void buf_release(struct buf *b);
void buf_clear(struct buf *b); /* empties it, keeps the memory */
char *buf_take(struct buf *b);

void buf_reserve(struct buf *b, size_t more); /* data[len .. len+more) may be written */
void buf_add(struct buf *b, const void *data, size_t len);
void buf_adds(struct buf *b, const char *s);
void buf_addc(struct buf *b, char c);
void buf_addf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_vaddf(struct buf *b, const char *fmt, va_list args) PRINTF_LIKE(2, 0);
void buf_consume(struct buf *b, size_t len); /* drops len bytes from the front */

/* `what` names the thing in the message: "answer of host 'a1'". */
int buf_add_limited(struct buf *b, const void *data, size_t len, size_t limit, const char *what,
    struct err *err) MUST_CHECK;

#endif
