#include "rsa.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/mem.h"

struct rsa {
    EVP_PKEY *pkey;
};

static const char *const names[RSA_NUMBERS] = {
    [RSA_N] = OSSL_PKEY_PARAM_RSA_N,
    [RSA_E] = OSSL_PKEY_PARAM_RSA_E,
    [RSA_D] = OSSL_PKEY_PARAM_RSA_D,
};

/* Takes over the key, if it is an RSA key. */
static struct rsa *wrap(EVP_PKEY *pkey)
{
    ERR_clear_error();
    if (!pkey || !EVP_PKEY_is_a(pkey, "RSA")) {
        EVP_PKEY_free(pkey);
        return NULL;
    }
    struct rsa *r = xmalloc(sizeof(*r));
    r->pkey = pkey;
    return r;
}

struct rsa *rsa_from_pem(const char *text, const char *passphrase)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    /* Without a passphrase OpenSSL would ask on the terminal. */
    char *given = xstrdup(passphrase ? passphrase : "");
    EVP_PKEY *pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, given) : NULL;

    explicit_bzero(given, strlen(given));
    free(given);
    BIO_free(bio);
    return wrap(pkey);
}

static EVP_PKEY *make(OSSL_PARAM *params)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    EVP_PKEY *pkey = NULL;

    if (!params || !context || EVP_PKEY_fromdata_init(context) <= 0 ||
        EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_KEYPAIR, params) <= 0)
        pkey = NULL;
    EVP_PKEY_CTX_free(context);
    return pkey;
}

struct rsa *rsa_from_numbers(const struct rsa_number numbers[RSA_NUMBERS])
{
    BIGNUM *n[RSA_NUMBERS] = {NULL};
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    bool good = builder != NULL;

    for (int i = 0; i < RSA_NUMBERS; i++) {
        n[i] = BN_bin2bn(numbers[i].bytes, (int)numbers[i].len, NULL);
        good = good && n[i] && OSSL_PARAM_BLD_push_BN(builder, names[i], n[i]);
    }
    OSSL_PARAM *params = good ? OSSL_PARAM_BLD_to_param(builder) : NULL;
    EVP_PKEY *pkey = make(params);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(builder);
    for (int i = 0; i < RSA_NUMBERS; i++)
        BN_clear_free(n[i]);
    return wrap(pkey);
}

void rsa_free(struct rsa *r)
{
    if (!r)
        return;
    EVP_PKEY_free(r->pkey);
    free(r);
}

unsigned char *rsa_number(const struct rsa *r, int which, size_t *ret_len)
{
    BIGNUM *n = NULL;

    if (EVP_PKEY_get_bn_param(r->pkey, names[which], &n) <= 0)
        die_of_bug("an RSA key without its number %s", names[which]);
    bool high = BN_num_bits(n) % 8 == 0;
    *ret_len = (size_t)BN_num_bytes(n) + high;
    unsigned char *bytes = xcalloc(*ret_len, 1);
    BN_bn2bin(n, bytes + high);
    BN_free(n);
    return bytes;
}

unsigned char *rsa_sign(
    const struct rsa *r, bool sha512, const void *data, size_t len, size_t *ret_len)
{
    const EVP_MD *md = sha512 ? EVP_sha512() : EVP_sha256();
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned char *signature = NULL;

    bool good = context && EVP_DigestSignInit(context, NULL, md, NULL, r->pkey) == 1 &&
                EVP_DigestSign(context, NULL, ret_len, data, len) == 1;
    if (good) {
        signature = xmalloc(*ret_len);
        good = EVP_DigestSign(context, signature, ret_len, data, len) == 1;
    }
    if (!good) {
        free(signature);
        signature = NULL;
    }
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return signature;
}
