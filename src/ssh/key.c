#include "key.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/base64.h"
#include "recluster/mem.h"
#include "rsa.h"
#include "wire.h"

/* --- OpenSSH's own form (PROTOCOL.key) --- */

static const char openssh_begin[] = "-----BEGIN OPENSSH PRIVATE KEY-----";
static const char openssh_end[] = "-----END OPENSSH PRIVATE KEY-----";
static const char openssh_magic[] = "openssh-key-v1"; /* with its NUL */

/* The bytes between the first and the last line; the caller wipes and frees them. */
static unsigned char *decode(const char *text, size_t *ret_len)
{
    const char *begin = strstr(text, openssh_begin);
    const char *end = begin ? strstr(begin, openssh_end) : NULL;
    struct buf base64 = BUF_INIT;

    if (!end)
        return NULL;
    for (const char *c = begin + strlen(openssh_begin); c < end; c++)
        if (!strchr(" \t\r\n", *c))
            buf_addc(&base64, *c);
    unsigned char *bytes = base64_decode(base64.data, base64.len, ret_len);
    explicit_bzero(base64.data, base64.len);
    buf_release(&base64);
    return bytes;
}

struct openssh_key {
    bool locked;
    const char *public, *private;
    size_t public_len, private_len;
};

static bool read_openssh(const unsigned char *bytes, size_t len, struct openssh_key *ret)
{
    size_t unused;

    if (len < sizeof(openssh_magic) || memcmp(bytes, openssh_magic, sizeof(openssh_magic)) != 0)
        return false;
    struct wire w = wire_of(bytes + sizeof(openssh_magic), len - sizeof(openssh_magic));
    ret->locked = !wire_string_is(&w, "none");
    wire_string(&w, &unused); /* how its passphrase becomes a key */
    wire_string(&w, &unused);
    bool one = wire_u32(&w) == 1;
    ret->public = wire_string(&w, &ret->public_len);
    ret->private = wire_string(&w, &ret->private_len);
    return one && !w.bad;
}

static void wipe(unsigned char *bytes, size_t len)
{
    if (bytes)
        explicit_bzero(bytes, len);
    free(bytes);
}

static void look_at_openssh(const char *text, struct key_look *ret)
{
    struct openssh_key key;
    size_t len = 0, type_len;
    unsigned char *bytes = decode(text, &len);

    if (bytes && read_openssh(bytes, len, &key)) {
        struct wire w = wire_of(key.public, key.public_len);
        const char *type = wire_string(&w, &type_len);
        AUTO_FREE char *base64 = base64_encode(key.public, key.public_len);
        ret->locked = key.locked;
        ret->rsa = type_len == 7 && memcmp(type, "ssh-rsa", 7) == 0;
        ret->public = xasprintf("%.*s %s", (int)type_len, type, base64);
    }
    wipe(bytes, len);
}

struct key_look key_look(const char *text)
{
    struct key_look look = {
        .private = strstr(text, "-----BEGIN ") && strstr(text, "PRIVATE KEY-----")};

    look.openssh = strstr(text, openssh_begin) != NULL;
    if (look.openssh) {
        look_at_openssh(text, &look);
    } else {
        look.locked = strstr(text, "ENCRYPTED") != NULL;
        look.rsa = strstr(text, "-----BEGIN RSA PRIVATE KEY-----") != NULL;
    }
    return look;
}

/* --- RSA --- */

/* The numbers of an unlocked private part: n, e, d. */
static struct rsa *open_openssh(const char *text)
{
    struct openssh_key key;
    struct rsa_number numbers[RSA_NUMBERS];
    struct rsa *rsa = NULL;
    size_t len = 0;
    unsigned char *bytes = decode(text, &len);

    if (bytes && read_openssh(bytes, len, &key) && !key.locked) {
        struct wire w = wire_of(key.private, key.private_len);
        wire_u32(&w); /* twice the same number */
        wire_u32(&w);
        bool is_rsa = wire_string_is(&w, "ssh-rsa");
        for (int i = 0; i < RSA_NUMBERS; i++)
            numbers[i].bytes = wire_string(&w, &numbers[i].len);
        rsa = is_rsa && !w.bad ? rsa_from_numbers(numbers) : NULL;
    }
    wipe(bytes, len);
    return rsa;
}

struct rsa *key_open_rsa(const char *text, const char *passphrase)
{
    return strstr(text, openssh_begin) ? open_openssh(text) : rsa_from_pem(text, passphrase);
}

void key_put_rsa(const struct rsa *rsa, struct buf *ret)
{
    static const int order[] = {RSA_E, RSA_N};

    wire_put_string(ret, "ssh-rsa", 7);
    for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
        size_t len;
        AUTO_FREE unsigned char *number = rsa_number(rsa, order[i], &len);
        wire_put_string(ret, number, len);
    }
}

int key_sign_rsa(void *arg, const char *algorithm, const void *data, size_t len, struct buf *ret)
{
    const struct rsa *rsa = arg;
    bool sha512 = strcmp(algorithm, "rsa-sha2-512") == 0;
    size_t signature_len = 0;

    if (!sha512 && strcmp(algorithm, "rsa-sha2-256") != 0)
        return -1;
    AUTO_FREE unsigned char *signature = rsa_sign(rsa, sha512, data, len, &signature_len);
    if (!signature)
        return -1;
    buf_add(ret, signature, signature_len);
    return 0;
}
