#ifndef RECLUSTER_BASE64_H
#define RECLUSTER_BASE64_H

/* Base 64 (RFC 4648, section 4), by libcrypto. */

#include <stddef.h>

/* With padding. The caller frees it. */
char *base64_encode(const void *data, size_t len);

/* Text in whole groups of four; blanks around it are skipped. Padding decodes to zero bytes, which
 * ret_len counts. The caller frees the result; NULL: the text is not base 64. */
unsigned char *base64_decode(const char *text, size_t len, size_t *ret_len);

#endif
