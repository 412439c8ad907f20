#ifndef SSH_WIRE_H
#define SSH_WIRE_H

/* Numbers and strings in the form of the SSH protocols (RFC 4251, section 5). */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recluster/buf.h"

/* Reading after the end gives 0 or empty, and sets `bad`. */
struct wire {
    const unsigned char *at, *end;
    bool bad;
};
struct wire wire_of(const void *data, size_t len);
uint8_t wire_byte(struct wire *w);
uint32_t wire_u32(struct wire *w);
const char *wire_string(struct wire *w, size_t *ret_len);
bool wire_string_is(struct wire *w, const char *text);

void wire_put_u32(struct buf *b, uint32_t value);
void wire_put_string(struct buf *b, const void *data, size_t len);

/* A printable copy for messages, up to `most` bytes; other characters become '?'. The caller's. */
char *wire_printable(const char *text, size_t len, size_t most);

#endif
