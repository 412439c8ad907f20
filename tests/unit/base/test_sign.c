#include "recluster/sign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "recluster/mem.h"

static void hmac_is_that_of_rfc_4231(void **state)
{
    static const struct {
        const char *key, *data, *hex;
    } cases[] = {
        {"Jefe", "what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {"\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b",
            "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        unsigned char mac[SIGN_HMAC_BYTES];
        char hex[2 * SIGN_HMAC_BYTES + 1];
        sign_hmac(cases[i].key, strlen(cases[i].key), cases[i].data, strlen(cases[i].data), mac);
        for (size_t j = 0; j < sizeof(mac); j++)
            snprintf(hex + 2 * j, 3, "%02x", mac[j]);
        assert_string_equal(hex, cases[i].hex);
    }
}

/* A key in PEM. The caller frees it. */
static char *pem_of(EVP_PKEY *key)
{
    BIO *out = BIO_new(BIO_s_mem());
    char *text;

    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 1);
    long len = BIO_get_mem_data(out, &text);
    char *pem = xstrndup(text, (size_t)len);
    BIO_free(out);
    return pem;
}

static void rs256_is_verified_by_the_public_key(void **state)
{
    static const char data[] = "header.claim";
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    AUTO_FREE char *pem = pem_of(key);
    size_t len = 0;
    AUTO_FREE unsigned char *made = sign_rs256(pem, data, strlen(data), &len);

    (void)state;
    assert_non_null(made);
    assert_int_equal(EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(
        EVP_DigestVerify(context, made, len, (const unsigned char *)data, strlen(data)), 1);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
}

static void what_is_no_rsa_key_is_refused(void **state)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    AUTO_FREE char *pem = pem_of(key);
    const char *const no_keys[] = {
        "", "rubbish", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", pem};
    size_t len;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(no_keys); i++)
        assert_null(sign_rs256(no_keys[i], "x", 1, &len));
    EVP_PKEY_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hmac_is_that_of_rfc_4231),
        cmocka_unit_test(rs256_is_verified_by_the_public_key),
        cmocka_unit_test(what_is_no_rsa_key_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
