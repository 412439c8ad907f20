#include "sign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/base64.h"
#include "recluster/buf.h"
#include "recluster/sign.h"

static void add_text_to_sign(struct buf *text, const struct azure_signed *what)
{
    char length[24] = "";

    if (what->body_len)
        snprintf(length, sizeof(length), "%zu", what->body_len);
    /* Encoding, language, length, MD5, type, date, four conditions, range. */
    buf_addf(text, "%s\n\n\n%s\n\n%s\n\n\n\n\n\n%s\n%s/%s%s", what->method, length,
        what->content_type, what->range, what->headers, what->account, what->path);
    for (const char *(*q)[2] = what->query; (*q)[0]; q++)
        buf_addf(text, "\n%s:%s", (*q)[0], (*q)[1]);
}

/* The key's bytes; base64_decode() counts the padding too. */
static unsigned char *key_bytes(const struct secret *key, size_t *ret_len, struct err *err)
{
    const char *text = secret_reveal(key);
    size_t len = strlen(text), padding = 0;
    unsigned char *bytes = base64_decode(text, len, ret_len);

    while (padding < 2 && padding < len && text[len - 1 - padding] == '=')
        padding++;
    if (bytes && *ret_len > padding) {
        *ret_len -= padding;
        return bytes;
    }
    free(bytes);
    err_set(err, ERR_USAGE, "the 'account_key' is not in base 64");
    err_hint(err, "Copy the key of the storage account as the portal shows it.");
    return NULL;
}

char *azure_authorization(
    const struct azure_signed *what, const struct secret *key, struct err *err)
{
    struct buf text = BUF_INIT;
    unsigned char mac[SIGN_HMAC_BYTES];
    size_t key_len;
    unsigned char *bytes = key_bytes(key, &key_len, err);

    if (!bytes)
        return NULL;
    add_text_to_sign(&text, what);
    sign_hmac(bytes, key_len, text.data, text.len, mac);
    explicit_bzero(bytes, key_len);
    free(bytes);
    buf_release(&text);
    AUTO_FREE char *signature = base64_encode(mac, sizeof(mac));
    return xasprintf("SharedKey %s:%s", what->account, signature);
}
