/* Host keys: what is known of them, and what to say of one that is not. */

#include <stdlib.h>
#include <string.h>

#include "recluster/file.h"
#include "recluster/known_hosts.h"
#include "recluster/ssh_setup.h"
#include "ssh.h"

enum { KNOWN_HOSTS_BYTES_MAX = 64 << 20 };

/* In the order in which they are asked for where nothing is known. */
static const struct {
    const char *name; /* in known_hosts */
    const char *asked;
} all_types[] = {
    {"ssh-ed25519", "ssh-ed25519"}, {"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"},
    {"ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"}, {"ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"},
    {"ssh-rsa", "rsa-sha2-512,rsa-sha2-256"}, /* SHA-1 is no proof any more */
};

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

static bool is_type(const struct known_key *key, const char *type)
{
    return key->mark == KNOWN_KEY && key->type_len == strlen(type) &&
           memcmp(key->type, type, key->type_len) == 0;
}

static bool knows_type(const char *known, const char *addr, int port, const char *type)
{
    struct known_key key;

    while (known_hosts_next(&known, addr, port, &key))
        if (is_type(&key, type))
            return true;
    return false;
}

/* The types that are known come first, so that a key which can be compared is what we are shown. */
static int prefer_known(ssh_session session, const char *known, const char *addr, int port)
{
    CLEANUP(buf_release) struct buf types = BUF_INIT;

    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < ARRAY_SIZE(all_types); i++)
            if (knows_type(known, addr, port, all_types[i].name) == (pass == 0))
                buf_addf(&types, "%s%s", types.len ? "," : "", all_types[i].asked);
    return ssh_options_set(session, SSH_OPTIONS_HOSTKEYS, types.data);
}

int ssh_link_host_key_prepare(ssh_session session, const struct link_target *target,
    const char *addr, int port, struct buf *known, struct err *err)
{
    if (gather_known(target, known, err) < 0)
        return -1;
    return prefer_known(session, known->data, addr, port) == 0
               ? 0
               : ssh_link_error(session, ERR_FAILED, "cannot choose the types of host keys", err);
}

static char *name_of(const char *addr, int port)
{
    return port == 22 ? xstrdup(addr) : xasprintf("[%s]:%d", addr, port);
}

static int refuse_unknown(
    const struct ssh_server_key *k, const char *addr, int port, struct err *err)
{
    err_set(err, ERR_CHECK, "its host key is not known: %s %s", k->type, k->fingerprint);
    return err_hint(err,
        "Compare that with what `ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` says on the host; "
        "then use --accept-new-host-keys, or: ssh-keyscan -p %d %s >> ~/.ssh/known_hosts",
        port, addr);
}

static int refuse_changed(const struct ssh_server_key *k, const char *name,
    const struct link_target *target, struct err *err)
{
    const char *file = json_string_value(json_object_get(target->spec, "known_hosts"));

    err_set(err, ERR_CHECK, "its host key is not the one that is known: %s %s", k->type,
        k->fingerprint);
    return err_hint(err,
        "Somebody may be between you and the host. If it was installed anew, forget its old key: "
        "ssh-keygen -R '%s' -f %s; a key that was accepted in this recovery stands in the state "
        "file, table host_key.",
        name, file ? file : "~/.ssh/known_hosts");
}

static int refuse_authority(const struct ssh_server_key *k, struct err *err)
{
    err_set(err, ERR_UNSUPPORTED,
        "its host key is known by a certificate only, which is not supported: %s %s", k->type,
        k->fingerprint);
    return err_hint(err,
        "known_hosts has a line @cert-authority for it. Add a line with the key itself, as "
        "`ssh-keyscan` prints it, or use \"link\": \"command\" with ssh.");
}

static int judge(const struct ssh_server_key *k, const char *known,
    const struct link_target *target, const char *addr, int port, struct err *err)
{
    CLEANUP(free_ptr) char *name = name_of(addr, port);
    CLEANUP(free_ptr) char *line = xasprintf("%s %s %s", name, k->type, k->key64);
    bool same = false, bare_same = false, other = false, authority = false;
    struct known_key key;

    while (known_hosts_next(&known, addr, port, &key)) {
        bool is_it = known_key_is(&key, k->key64);
        if (key.mark == KNOWN_REVOKED && is_it)
            return err_set(
                err, ERR_CHECK, "its host key is revoked: %s %s", k->type, k->fingerprint);
        authority |= key.mark == KNOWN_AUTHORITY;
        if (key.mark != KNOWN_KEY)
            continue;
        same |= is_it && !key.bare;
        bare_same |= is_it && key.bare;
        other |= !is_it && !key.bare;
    }
    if (same || (bare_same && !other))
        return 0;
    if (other)
        return refuse_changed(k, name, target, err);
    if (authority)
        return refuse_authority(k, err);
    if (!target->accept_host_key)
        return refuse_unknown(k, addr, port, err);
    return target->accept_host_key(target->accept_arg, target->host, line, k->fingerprint, err);
}

int ssh_link_host_key_check(ssh_session session, const struct link_target *target,
    const struct buf *known, const char *addr, int port, struct err *err)
{
    CLEANUP(ssh_server_key_release) struct ssh_server_key shown;

    if (ssh_server_key_read(session, &shown) < 0)
        return err_set(err, ERR_PROTOCOL, "it shows no host key");
    return judge(&shown, known->data, target, addr, port, err);
}
