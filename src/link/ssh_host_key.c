/* Host keys: what is known of them, and what to say of one that is not. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recluster/base64.h"
#include "recluster/file.h"
#include "ssh.h"

enum { KNOWN_HOSTS_BYTES_MAX = 64 << 20, SHA256_BYTES = 32, PREFERENCE_MAX = 256 };

/* In the order in which they are asked for where nothing is known. */
static const struct {
    int bit;
    const char *name;
} types[] = {
    {LIBSSH2_KNOWNHOST_KEY_ED25519, "ssh-ed25519"},
    {LIBSSH2_KNOWNHOST_KEY_ECDSA_256, "ecdsa-sha2-nistp256"},
    {LIBSSH2_KNOWNHOST_KEY_ECDSA_384, "ecdsa-sha2-nistp384"},
    {LIBSSH2_KNOWNHOST_KEY_ECDSA_521, "ecdsa-sha2-nistp521"},
    {LIBSSH2_KNOWNHOST_KEY_SSHRSA, "ssh-rsa"},
};

/*
 * Line by line, because the library's own reader stops at the first line that it doesn't like.
 * Marked lines (@cert-authority, @revoked) are for a reader of their own.
 */
static void add_lines(LIBSSH2_KNOWNHOSTS *known, const char *text)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        len += text[len] == '\n'; /* it wants to see the end of the line */
        if (*text != '@' && *text != '#' && len > 1)
            (void)!libssh2_knownhost_readline(known, text, len, LIBSSH2_KNOWNHOST_FILE_OPENSSH);
        text += len;
    }
}

static int read_known(const char *path, struct buf *text, bool must, struct err *err)
{
    struct err why = ERR_INIT;
    CLEANUP(free_ptr) char *real = path_expand_home(path);

    if (file_read(real, KNOWN_HOSTS_BYTES_MAX, text, &why) == 0) {
        buf_addc(text, '\n');
        return 0;
    }
    if (!must && why.code == ERR_NOT_FOUND)
        return 0;
    *err = why;
    return -1;
}

/* All lines that count for this host's entry. */
static int gather_known(const struct link_target *target, struct buf *text, struct err *err)
{
    static const char *const usual[] = {"~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts"};
    const char *own = json_string_value(json_object_get(target->spec, "known_hosts"));

    if (own && read_known(own, text, true, err) < 0)
        return err_wrap(err, "\"known_hosts\"");
    for (size_t i = 0; !own && i < ARRAY_SIZE(usual); i++)
        if (read_known(usual[i], text, false, err) < 0)
            return -1;
    if (target->host_keys)
        buf_adds(text, target->host_keys);
    return 0;
}

/* The types that are known come first, so that a key which can be compared is what we are shown. */
static int prefer_known(
    LIBSSH2_SESSION *session, LIBSSH2_KNOWNHOSTS *known, const char *addr, int port)
{
    char preference[PREFERENCE_MAX] = "";

    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
            /* No key is "AAAA": a mismatch tells that there is one of that type. */
            int mask =
                LIBSSH2_KNOWNHOST_TYPE_PLAIN | LIBSSH2_KNOWNHOST_KEYENC_BASE64 | types[i].bit;
            bool is_known = libssh2_knownhost_checkp(known, addr, port, "AAAA", 4, mask, NULL) ==
                            LIBSSH2_KNOWNHOST_CHECK_MISMATCH;
            if (is_known != (pass == 0))
                continue;
            size_t len = strlen(preference);
            snprintf(
                preference + len, sizeof(preference) - len, "%s%s", len ? "," : "", types[i].name);
        }
    return libssh2_session_method_pref(session, LIBSSH2_METHOD_HOSTKEY, preference);
}

int ssh_host_key_prepare(LIBSSH2_SESSION *session, const struct link_target *target,
    const char *addr, int port, LIBSSH2_KNOWNHOSTS **ret_known, struct err *err)
{
    struct buf text = BUF_INIT;
    LIBSSH2_KNOWNHOSTS *known = libssh2_knownhost_init(session);

    if (!known || gather_known(target, &text, err) < 0) {
        if (!known)
            ssh_error(session, ERR_FAILED, "cannot look at known hosts", err);
        else
            libssh2_knownhost_free(known);
        buf_release(&text);
        return -1;
    }
    add_lines(known, text.data);
    buf_release(&text);
    *ret_known = known;
    return prefer_known(session, known, addr, port) == 0
               ? 0
               : ssh_error(session, ERR_FAILED, "cannot choose the types of host keys", err);
}

/* As ssh-keygen -l prints it. The caller frees it. */
static char *fingerprint_of(LIBSSH2_SESSION *session)
{
    const char *hash = libssh2_hostkey_hash(session, LIBSSH2_HOSTKEY_HASH_SHA256);
    CLEANUP(free_ptr) char *text = hash ? base64_encode(hash, SHA256_BYTES) : xstrdup("?");

    text[strcspn(text, "=")] = '\0';
    return xasprintf("SHA256:%s", text);
}

/* The type's name is the first string of the key itself. */
static char *type_of(const char *key, size_t len)
{
    size_t name_len = len > 4 ? (unsigned char)key[3] : 0;
    return name_len && 4 + name_len <= len ? xstrndup(key + 4, name_len) : xstrdup("unknown");
}

static char *name_of(const char *addr, int port)
{
    return port == 22 ? xstrdup(addr) : xasprintf("[%s]:%d", addr, port);
}

/* A line "@revoked PATTERNS TYPE KEY": such a key is no host's. */
static bool is_revoked(const char *text, const char *key64)
{
    for (const char *at = text; (at = strstr(at, "@revoked ")); at++) {
        size_t len = strcspn(at, "\n");
        const char *key = memmem(at, len, key64, strlen(key64));
        if (key && (at == text || at[-1] == '\n'))
            return true;
    }
    return false;
}

struct shown_key {
    char *name, *type, *key64, *fingerprint;
};

static int refuse_unknown(const struct shown_key *k, const char *addr, int port, struct err *err)
{
    err_set(err, ERR_CHECK, "its host key is not known: %s %s", k->type, k->fingerprint);
    return err_hint(err,
        "Compare that with what `ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` says on the host; "
        "then use --accept-new-host-keys, or: ssh-keyscan -p %d %s >> ~/.ssh/known_hosts",
        port, addr);
}

static int refuse_changed(
    const struct shown_key *k, const struct link_target *target, struct err *err)
{
    const char *file = json_string_value(json_object_get(target->spec, "known_hosts"));

    err_set(err, ERR_CHECK, "its host key is not the one that is known: %s %s", k->type,
        k->fingerprint);
    return err_hint(err,
        "Somebody may be between you and the host. If it was installed anew, forget its old key: "
        "ssh-keygen -R '%s' -f %s; a key that was accepted in this recovery stands in the state "
        "file, table host_key.",
        k->name, file ? file : "~/.ssh/known_hosts");
}

static int judge(const struct shown_key *k, int known_rc, const struct link_target *target,
    const char *addr, int port, struct err *err)
{
    CLEANUP(free_ptr) char *line = xasprintf("%s %s %s", k->name, k->type, k->key64);
    CLEANUP(buf_release) struct buf text = BUF_INIT;

    if (gather_known(target, &text, err) < 0)
        return -1;
    if (is_revoked(text.data, k->key64))
        return err_set(err, ERR_CHECK, "its host key is revoked: %s %s", k->type, k->fingerprint);
    if (known_rc == LIBSSH2_KNOWNHOST_CHECK_MATCH)
        return 0;
    if (known_rc == LIBSSH2_KNOWNHOST_CHECK_MISMATCH)
        return refuse_changed(k, target, err);
    if (known_rc != LIBSSH2_KNOWNHOST_CHECK_NOTFOUND)
        return err_set(err, ERR_FAILED, "its host key can't be checked");
    if (!target->accept_host_key)
        return refuse_unknown(k, addr, port, err);
    return target->accept_host_key(target->accept_arg, target->host, line, k->fingerprint, err);
}

int ssh_host_key_check(LIBSSH2_SESSION *session, const struct link_target *target,
    LIBSSH2_KNOWNHOSTS *known, const char *addr, int port, struct err *err)
{
    size_t len = 0;
    int type;
    const char *key = libssh2_session_hostkey(session, &len, &type);

    if (!key)
        return ssh_error(session, ERR_PROTOCOL, "it shows no host key", err);
    struct shown_key k = {
        name_of(addr, port), type_of(key, len), base64_encode(key, len), fingerprint_of(session)};
    int rc = libssh2_knownhost_checkp(known, addr, port, k.key64, strlen(k.key64),
        LIBSSH2_KNOWNHOST_TYPE_PLAIN | LIBSSH2_KNOWNHOST_KEYENC_BASE64, NULL);
    rc = judge(&k, rc, target, addr, port, err);
    free(k.name);
    free(k.type);
    free(k.key64);
    free(k.fingerprint);
    return rc;
}
