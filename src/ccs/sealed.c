#include "recluster/sealed.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/child.h"
#include "recluster/file.h"

enum { TIMEOUT_MS = 60 * 1000 };

static bool begins(const void *data, size_t len, const char *text)
{
    return len >= strlen(text) && memcmp(data, text, strlen(text)) == 0;
}

static bool is_age(const void *data, size_t len)
{
    return begins(data, len, "age-encryption.org/") ||
           begins(data, len, "-----BEGIN AGE ENCRYPTED FILE-----");
}

/*
 * A binary message of OpenPGP begins with a packet of a session key that is encrypted for a public
 * key (RFC 9580, 4.2 and 4.3: type 1), in the old or the new form of a packet's head.
 */
static bool is_openpgp(const void *data, size_t len)
{
    const unsigned char *bytes = data;

    return begins(data, len, "-----BEGIN PGP MESSAGE-----") ||
           (len > 0 && ((bytes[0] & 0xfc) == 0x84 || bytes[0] == 0xc1));
}

bool sealed_is(const void *data, size_t len)
{
    return is_age(data, len) || is_openpgp(data, len);
}

static bool is_age_recipient(const char *word)
{
    return strncmp(word, "age1", 4) == 0 || strncmp(word, "ssh-", 4) == 0 || file_exists(word);
}

static int missing_program(struct err *err, const char *program)
{
    if (err->code == ERR_NOT_FOUND || strstr(err->message, "No such file"))
        return err_hint(err, "Install the program: apt-get install %s",
            strcmp(program, "gpg") == 0 ? "gnupg" : program);
    return -1;
}

int sealed_seal(
    const char *const *recipients, const struct buf *plain, struct buf *ret, struct err *err)
{
    bool age = is_age_recipient(recipients[0]);
    const char **argv;
    size_t count = 0, argc = 0;

    while (recipients[count])
        count++;
    argv = xcalloc(2 * count + 8, sizeof(*argv));
    argv[argc++] = age ? "age" : "gpg";
    if (!age) {
        argv[argc++] = "--batch";
        argv[argc++] = "--yes";
        argv[argc++] = "--quiet";
        argv[argc++] = "--trust-model"; /* the operator has named the key */
        argv[argc++] = "always";
        argv[argc++] = "--encrypt";
    }
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        bool file = file_exists(recipients[i]);
        if (is_age_recipient(recipients[i]) != age)
            rc = err_set(err, ERR_USAGE, "'%s' is a key of another kind than '%s'", recipients[i],
                recipients[0]);
        argv[argc++] = age && file ? "-R" : age ? "-r" : "--recipient";
        argv[argc++] = recipients[i];
    }
    if (rc == 0 && child_filter(argv, TIMEOUT_MS, plain, SEALED_BYTES_MAX, ret, err) < 0)
        rc = missing_program(err, argv[0]);
    free(argv);
    if (rc == 0 && !sealed_is(ret->data, ret->len))
        rc =
            err_set(err, ERR_BUG, "'%s' made something that is not encrypted", age ? "age" : "gpg");
    return rc;
}

int sealed_open(const char *key, const struct buf *sealed, struct buf *ret, struct err *err)
{
    bool age = is_age(sealed->data, sealed->len);
    const char *const by_age[] = {"age", "--decrypt", "--identity", key, NULL};
    const char *const by_gpg[] = {"gpg", "--batch", "--quiet", "--decrypt", NULL};

    if (age && !key) {
        err_set(err, ERR_USAGE, "it is encrypted");
        return err_hint(err, "Give the private key: --key FILE");
    }
    if (child_filter(age ? by_age : by_gpg, TIMEOUT_MS, sealed, SEALED_BYTES_MAX, ret, err) == 0)
        return 0;
    if (missing_program(err, age ? "age" : "gpg") < 0 && err->code == ERR_FAILED && !err->hint[0]) {
        err->code = ERR_DENIED;
        err_wrap(err, "it cannot be decrypted");
    }
    return -1;
}
