#include "recluster/base64.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "recluster/mem.h"

char *base64_encode(const void *data, size_t len)
{
    char *text = xmalloc(4 * ((len + 2) / 3) + 1);

    text[0] = '\0';
    EVP_EncodeBlock((unsigned char *)text, data, (int)len);
    return text;
}

unsigned char *base64_decode(const char *text, size_t len, size_t *ret_len)
{
    unsigned char *data = xmalloc(len / 4 * 3 + 3);
    int n = len <= INT_MAX ? EVP_DecodeBlock(data, (const unsigned char *)text, (int)len) : -1;

    if (n < 0) {
        free(data);
        return NULL;
    }
    *ret_len = (size_t)n;
    return data;
}
