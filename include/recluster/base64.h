#ifndef RECLUSTER_BASE64_H
#define RECLUSTER_BASE64_H

/* Base 64 (RFC 4648, section 4), by libcrypto. */

#include <stddef.h>

/* With padding. The caller frees it. */
char *base64_encode(const void *data, size_t len);

/* Whole groups of four; blanks around them are skipped. The caller frees it; NULL: it is no such
 * text. Bytes that padding stands for are counted as zeroes. */
unsigned char *base64_decode(const char *text, size_t len, size_t *ret_len);

#endif
