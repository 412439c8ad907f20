#include "recluster/digest.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

#include "recluster/mem.h"

struct digest {
    EVP_MD_CTX *ctx;
};

static void require_success(int ok)
{
    if (ok != 1) {
        fprintf(stderr, "recluster: libcrypto failed\n");
        die_of_memory(0);
    }
}

static void hex_of(const unsigned char *bytes, size_t len, char *hex)
{
    for (size_t i = 0; i < len; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
}

struct digest *digest_new(void)
{
    struct digest *d = xcalloc(1, sizeof(*d));
    d->ctx = EVP_MD_CTX_new();
    require_success(d->ctx && EVP_DigestInit_ex(d->ctx, EVP_sha256(), NULL));
    return d;
}

void digest_add(struct digest *d, const void *data, size_t len)
{
    require_success(EVP_DigestUpdate(d->ctx, data, len));
}

void digest_end(struct digest *d, char hex[DIGEST_HEX_MAX])
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned len;
    require_success(EVP_DigestFinal_ex(d->ctx, bytes, &len));
    hex_of(bytes, len, hex);
    digest_free(d);
}

void digest_free(struct digest *d)
{
    if (!d)
        return;
    EVP_MD_CTX_free(d->ctx);
    free(d);
}

void digest_bytes(const void *data, size_t len, unsigned char out[DIGEST_BYTES])
{
    require_success(EVP_Digest(data, len, out, NULL, EVP_sha256(), NULL));
}

char *digest_of(const void *data, size_t len, char hex[DIGEST_HEX_MAX])
{
    struct digest *d = digest_new();
    digest_add(d, data, len);
    digest_end(d, hex);
    return hex;
}

char *random_hex(size_t bytes)
{
    AUTO_FREE unsigned char *raw = xmalloc(bytes);
    char *hex = xmalloc(2 * bytes + 1);
    require_success(RAND_bytes(raw, (int)bytes));
    hex_of(raw, bytes, hex);
    return hex;
}
