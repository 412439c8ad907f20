#include "recluster/sealed.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "recluster/child.h"
#include "recluster/file.h"

enum { KEY_BYTES_MAX = 64 << 10 };

struct sealed_stream {
    struct child_pipe *pipe;
    bool age, opens;
};

/* Of the beginning of a file, 16 bytes are enough. */
static bool begins(const void *data, size_t len, const char *text)
{
    enum { ENOUGH = 16 };
    size_t wanted = strlen(text) < ENOUGH ? strlen(text) : ENOUGH;

    return len >= wanted && memcmp(data, text, wanted) == 0;
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

/* --- streams --- */

static int begin(const char *const *argv, int key, store_sink sink, void *arg,
    struct sealed_stream *s, struct sealed_stream **ret, struct err *err)
{
    if (child_pipe_open(argv, key, sink, arg, &s->pipe, err) < 0) {
        free(s);
        return missing_program(err, argv[0]);
    }
    *ret = s;
    return 0;
}

static int add_recipients(
    const char *const *recipients, bool age, const char **argv, size_t argc, struct err *err)
{
    for (size_t i = 0; recipients[i]; i++) {
        bool file = file_exists(recipients[i]);
        if (is_age_recipient(recipients[i]) != age)
            return err_set(err, ERR_USAGE, "'%s' is a key of another kind than '%s'", recipients[i],
                recipients[0]);
        argv[argc++] = age && file ? "-R" : age ? "-r" : "--recipient";
        argv[argc++] = recipients[i];
    }
    return 0;
}

int sealed_begin_seal(const char *const *recipients, store_sink sink, void *arg,
    struct sealed_stream **ret, struct err *err)
{
    /* The operator has named the key: gpg need not ask whether it is trusted. */
    static const char *const by_gpg[] = {
        "gpg", "--batch", "--yes", "--quiet", "--trust-model", "always", "--encrypt"};
    bool age = is_age_recipient(recipients[0]);
    size_t count = 0, argc = age ? 1 : ARRAY_SIZE(by_gpg);

    while (recipients[count])
        count++;
    const char **argv = xcalloc(2 * count + ARRAY_SIZE(by_gpg) + 1, sizeof(*argv));
    argv[0] = "age";
    if (!age)
        memcpy(argv, by_gpg, sizeof(by_gpg));
    struct sealed_stream *s = xcalloc(1, sizeof(*s));
    s->age = age;
    int rc = add_recipients(recipients, age, argv, argc, err);
    if (rc == 0)
        rc = begin(argv, -1, sink, arg, s, ret, err);
    else
        free(s);
    free(argv);
    return rc;
}

/* The key, in a file without a name. -1 with err, or if there is none. */
static int make_key(const char *text, struct err *err)
{
    int fd = text ? memfd_create("key", MFD_CLOEXEC) : -1;

    if (!text)
        return -1;
    if (fd < 0)
        return err_sys(err, ERR_FAILED, "cannot make a file in memory");
    if (file_write_all(fd, text, strlen(text), "the key", err) == 0 && lseek(fd, 0, SEEK_SET) == 0)
        return fd;
    close(fd);
    return -1;
}

int sealed_begin_open(const char *key_text, const void *head, size_t len, store_sink sink,
    void *arg, struct sealed_stream **ret, struct err *err)
{
    static const char *const by_age[] = {"age", "--decrypt", "--identity", "/dev/fd/3", NULL};
    static const char *const by_gpg[] = {"gpg", "--batch", "--quiet", "--decrypt", NULL};
    bool age = is_age(head, len);

    if (age && (!key_text || strcmp(key_text, SEALED_BY_GPG) == 0)) {
        err_set(err, ERR_USAGE, "it is encrypted by age");
        return err_hint(err, "Give the private key: --key FILE");
    }
    int key = age ? make_key(key_text, err) : -1;
    if (age && key < 0)
        return -1;
    struct sealed_stream *s = xcalloc(1, sizeof(*s));
    *s = (struct sealed_stream){.age = age, .opens = true};
    int rc = begin(age ? by_age : by_gpg, key, sink, arg, s, ret, err);
    if (key >= 0)
        close(key);
    return rc;
}

static int explain(const struct sealed_stream *s, struct err *err)
{
    if (!s->opens || err->code != ERR_FAILED)
        return -1;
    err->code = ERR_DENIED;
    return err_wrap(err, "it cannot be decrypted");
}

int sealed_feed(struct sealed_stream *s, const void *data, size_t len, struct err *err)
{
    return child_pipe_feed(s->pipe, data, len, err) < 0 ? explain(s, err) : 0;
}

int sealed_end(struct sealed_stream *s, struct err *err)
{
    return child_pipe_end(s->pipe, err) < 0 ? explain(s, err) : 0;
}

void sealed_free(struct sealed_stream *s)
{
    if (s)
        child_pipe_free(s->pipe);
    free(s);
}

/* --- bytes at hand --- */

static int take(void *arg, const void *data, size_t len, struct err *err)
{
    return buf_add_limited(arg, data, len, SEALED_BYTES_MAX, "the file", err);
}

static int pass(struct sealed_stream *s, const struct buf *in, struct err *err)
{
    int rc = sealed_feed(s, in->data, in->len, err);

    if (rc == 0)
        rc = sealed_end(s, err);
    sealed_free(s);
    return rc;
}

int sealed_seal(
    const char *const *recipients, const struct buf *plain, struct buf *ret, struct err *err)
{
    struct sealed_stream *s;

    if (sealed_begin_seal(recipients, take, ret, &s, err) < 0 || pass(s, plain, err) < 0)
        return -1;
    return sealed_is(ret->data, ret->len)
               ? 0
               : err_set(err, ERR_BUG, "'%s' made something that is not encrypted",
                     sealed_kind(recipients[0]));
}

int sealed_open(const char *key, const struct buf *sealed, struct buf *ret, struct err *err)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    struct sealed_stream *s;

    buf_reserve(&text, KEY_BYTES_MAX + 1); /* so that no copy remains */
    bool in_gpg = key && strcmp(key, SEALED_BY_GPG) == 0;
    if (key && !in_gpg && file_read(key, KEY_BYTES_MAX, &text, err) < 0)
        return err_wrap(err, "the private key");
    int rc = sealed_begin_open(in_gpg ? key
                               : key  ? text.data
                                      : NULL,
        sealed->data, sealed->len, take, ret, &s, err);
    explicit_bzero(text.data, text.len);
    return rc < 0 ? -1 : pass(s, sealed, err);
}

/* --- keys --- */

/* openssh-key-v1 of a cipher other than "none"; "Proc-Type: 4,ENCRYPTED"; PKCS #8. */
static bool has_passphrase(const char *text)
{
    static const char open_ssh[] = "b3BlbnNzaC1rZXktdjEAAAAA", no_cipher[] = "BG5vbmU";
    const char *body = strstr(text, open_ssh);

    return (body && strncmp(body + strlen(open_ssh), no_cipher, strlen(no_cipher)) != 0) ||
           strstr(text, "4,ENCRYPTED") || strstr(text, "BEGIN ENCRYPTED PRIVATE KEY");
}

int sealed_check_key(const char *path, const char *text, size_t len, struct err *err)
{
    if (sealed_is(text, len)) {
        err_set(err, ERR_USAGE, "'%s' is encrypted itself", path);
        return err_hint(
            err, "Decrypt it first, into memory: (umask 077; age --decrypt FILE > /dev/shm/key)");
    }
    if (strlen(text) == len && has_passphrase(text)) {
        err_set(err, ERR_USAGE, "the private key '%s' has a passphrase", path);
        return err_hint(err, "Take the passphrase off a copy in memory: (umask 077; cp FILE "
                             "/dev/shm/key; ssh-keygen -p -f /dev/shm/key)");
    }
    if (strlen(text) == len && (strstr(text, "AGE-SECRET-KEY-") || strstr(text, "AGE-PLUGIN-") ||
                                   strstr(text, "PRIVATE KEY-----")))
        return 0;
    err_set(err, ERR_USAGE, "'%s' is not a private key of age or SSH", path);
    return err_hint(err, "For files of OpenPGP, whose keys gpg has: --key gpg");
}

/* --- recipients --- */

const char *sealed_kind(const char *recipient)
{
    return is_age_recipient(recipient) ? "age" : "openpgp";
}

static int add_lines(json_t *list, const char *path, struct err *err)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT;
    char *rest;

    if (file_read(path, KEY_BYTES_MAX, &text, err) < 0)
        return -1;
    for (char *line = strtok_r(text.data, "\r\n", &rest); line;
         line = strtok_r(NULL, "\r\n", &rest)) {
        if (*line == '#' || !*line)
            continue;
        if (strncmp(line, "age1", 4) != 0 && strncmp(line, "ssh-", 4) != 0)
            return err_set(err, ERR_USAGE, "'%s' is not a file of public keys of age", path);
        json_array_append_new(list, json_string(line));
    }
    return 0;
}

json_t *sealed_recipients(const char *const *recipients, struct err *err)
{
    json_t *list = json_array();
    int rc = 0;

    for (; rc == 0 && *recipients; recipients++) {
        if (file_exists(*recipients))
            rc = add_lines(list, *recipients, err);
        else
            json_array_append_new(list, json_string(*recipients));
    }
    if (rc == 0 && !json_array_size(list))
        rc = err_set(err, ERR_USAGE, "there is no public key in the file");
    if (rc == 0)
        return list;
    json_decref(list);
    return NULL;
}
