#include "host_key.h"

#include <stdlib.h>
#include <string.h>

#include "recluster/base64.h"
#include "recluster/digest.h"
#include "recluster/known_hosts.h"
#include "recluster/mem.h"
#include "wire.h"

enum { TYPE_MAX = 100 };

/* The order in which they are requested if nothing is known about the host. */
static const char *const all_types[HOST_KEY_TYPES] = {
    "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"};

static bool is_type(const struct known_key *key, const char *type)
{
    return key->type_len == strlen(type) && memcmp(key->type, type, key->type_len) == 0;
}

void host_key_order(const struct ssh_target *target, const char *ret[HOST_KEY_TYPES])
{
    bool is_known[HOST_KEY_TYPES] = {false};
    const char *at = target->known;
    struct known_key key;
    size_t count = 0;

    while (known_hosts_next(&at, target->host, target->port, &key))
        for (size_t i = 0; i < HOST_KEY_TYPES; i++)
            is_known[i] |= key.mark == KNOWN_KEY && is_type(&key, all_types[i]);
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < HOST_KEY_TYPES; i++)
            if (is_known[i] == (pass == 0))
                ret[count++] = all_types[i];
}

void host_key_read(struct host_key *k, const void *bytes, size_t len)
{
    unsigned char hash[DIGEST_BYTES];
    struct wire w = wire_of(bytes, len);
    size_t type_len;
    const char *type = wire_string(&w, &type_len);

    digest_bytes(bytes, len, hash);
    AUTO_FREE char *hash64 = base64_encode(hash, sizeof(hash));
    *k = (struct host_key){.type = wire_printable(type, type_len, TYPE_MAX),
        .base64 = base64_encode(bytes, len),
        .fingerprint = xasprintf("SHA256:%.*s", (int)strcspn(hash64, "="), hash64)};
}

void host_key_release(struct host_key *k)
{
    free(k->type);
    free(k->base64);
    free(k->fingerprint);
    *k = (struct host_key){.type = NULL};
}

static char *name_of(const struct ssh_target *target)
{
    return target->port == SSH_PORT ? xstrdup(target->host)
                                    : xasprintf("[%s]:%d", target->host, target->port);
}

/* What the lines about a host tell about a key. */
struct verdict {
    bool same, other; /* lines that name the port too, where one is needed */
    bool bare_same;   /* lines that don't */
    bool revoked, authority;
    bool only_rsa; /* of `other` */
};

static struct verdict judge(const struct host_key *k, const struct ssh_target *target)
{
    struct verdict v = {.only_rsa = true};
    const char *at = target->known;
    struct known_key key;

    while (known_hosts_next(&at, target->host, target->port, &key)) {
        bool is_it = known_key_is(&key, k->base64) || known_key_is(&key, k->fingerprint);
        v.revoked |= key.mark == KNOWN_REVOKED && is_it;
        v.authority |= key.mark == KNOWN_AUTHORITY;
        if (key.mark != KNOWN_KEY)
            continue;
        v.same |= is_it && !key.bare;
        v.bare_same |= is_it && key.bare;
        v.other |= !is_it && !key.bare;
        v.only_rsa &= key.bare || is_type(&key, "ssh-rsa");
    }
    return v;
}

static int refuse_other(const struct host_key *k, const struct ssh_target *target,
    const struct verdict *v, struct err *err)
{
    AUTO_FREE char *name = name_of(target);

    if (v->only_rsa && strcmp(k->type, "ssh-rsa") != 0 && !session_knows_host_key("ssh-rsa")) {
        err_set(err, ERR_UNSUPPORTED,
            "only its RSA host key is known, which %s cannot check; it shows %s %s",
            session_library(), k->type, k->fingerprint);
        return err_hint(err,
            "If `ssh-keygen -lf` on the host prints this fingerprint too, add its key: "
            "ssh-keyscan -p %d -t ed25519,ecdsa %s >> ~/.ssh/known_hosts",
            target->port, target->host);
    }
    err_set(err, ERR_CHECK, "its host key is not the one that is known: %s %s", k->type,
        k->fingerprint);
    return err_hint(err,
        "Somebody may be between you and the host. If it was reinstalled, forget its old key: "
        "ssh-keygen -R '%s'",
        name);
}

static int refuse_unknown(
    const struct host_key *k, const struct ssh_target *target, struct err *err)
{
    err_set(err, ERR_CHECK, "its host key is not known: %s %s", k->type, k->fingerprint);
    return err_hint(err,
        "Compare that with what `ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` prints on the host; "
        "then: ssh-keyscan -p %d %s >> ~/.ssh/known_hosts",
        target->port, target->host);
}

static int refuse_authority(const struct host_key *k, struct err *err)
{
    err_set(err, ERR_UNSUPPORTED,
        "its host key is known by a certificate only, which is not supported: %s %s", k->type,
        k->fingerprint);
    return err_hint(err,
        "known_hosts has a line @cert-authority for it. Add a line with the key itself, as "
        "`ssh-keyscan` prints it, or reach a host by \"link\": \"command\" with ssh.");
}

int host_key_check(const struct host_key *k, const struct ssh_target *target,
    enum ssh_failure *ret_failure, struct err *err)
{
    struct verdict v = judge(k, target);

    if (v.revoked)
        return err_set(err, ERR_CHECK, "its host key is revoked: %s %s", k->type, k->fingerprint);
    if (v.same || (v.bare_same && !v.other))
        return 0;
    if (v.other) {
        refuse_other(k, target, &v, err);
        *ret_failure = err->code == ERR_CHECK ? SSH_HOST_KEY_CHANGED : SSH_FAILED;
        return -1;
    }
    if (v.authority)
        return refuse_authority(k, err);
    if (target->accept_host_key) {
        AUTO_FREE char *name = name_of(target);
        AUTO_FREE char *line = xasprintf("%s %s %s", name, k->type, k->base64);
        return target->accept_host_key(target->accept_arg, line, k->fingerprint, err);
    }
    *ret_failure = SSH_HOST_KEY_UNKNOWN;
    return refuse_unknown(k, target, err);
}
