#include "recluster/sign.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/mem.h"

void sign_hmac(const void *key, size_t key_len, const void *data, size_t len,
    unsigned char out[SIGN_HMAC_BYTES])
{
    unsigned out_len = 0;

    if (!HMAC(EVP_sha256(), key, (int)key_len, data, len, out, &out_len))
        die_of_memory(0);
}

void sign_hmac_sha1(const void *key, size_t key_len, const void *data, size_t len,
    unsigned char out[SIGN_SHA1_BYTES])
{
    unsigned out_len = 0;

    if (!HMAC(EVP_sha1(), key, (int)key_len, data, len, out, &out_len))
        die_of_memory(0);
}

/* Prevents a question for a passphrase on the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf, (void)size, (void)writing, (void)arg;
    return -1;
}

static EVP_PKEY *read_key(const char *pem)
{
    BIO *text = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = text ? PEM_read_bio_PrivateKey(text, NULL, no_passphrase, NULL) : NULL;

    BIO_free(text);
    return key;
}

unsigned char *sign_rs256(const char *pem, const void *data, size_t len, size_t *ret_len)
{
    EVP_PKEY *key = read_key(pem);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned char *signature = NULL;
    size_t size = 0;

    bool ok = key && context && EVP_PKEY_is_a(key, "RSA") &&
              EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
              EVP_DigestSign(context, NULL, &size, data, len) == 1;
    if (ok) {
        signature = xmalloc(size);
        ok = EVP_DigestSign(context, signature, &size, data, len) == 1;
    }
    if (!ok) {
        free(signature);
        signature = NULL;
    }
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    *ret_len = size;
    return signature;
}
