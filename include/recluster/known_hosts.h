#ifndef RECLUSTER_KNOWN_HOSTS_H
#define RECLUSTER_KNOWN_HOSTS_H

/*
 * The form of ~/.ssh/known_hosts, which sshd(8) describes: names, names that are hashed, patterns
 * with `*` and `?`, `!` in front of one that must not match, [name]:port, the marks @revoked and
 * @cert-authority.
 *
 *     const char *at = text;
 *     struct known_key key;
 *     while (known_hosts_next(&at, "10.0.0.1", 22, &key))
 *         … a line about this host …
 *
 * As with OpenSSH, a host at another port than 22 stands there as [name]:port; a line with its bare
 * name may serve to recognize it, but a key that differs from that one's means nothing.
 */

#include <stdbool.h>
#include <stddef.h>

#include "recluster/buf.h"
#include "recluster/err.h"

struct known_key {
    enum { KNOWN_KEY, KNOWN_AUTHORITY, KNOWN_REVOKED } mark;
    bool bare;              /* the host is asked for with a port, the line names none */
    const char *type, *key; /* in the text, not ended: "ssh-ed25519" and its key in base 64 */
    size_t type_len, key_len;
};

/* Lines that can't be understood are no lines about any host. */
bool known_hosts_next(const char **text, const char *host, int port, struct known_key *ret);

/* `text`: a key in base 64, or a fingerprint (known_hosts_add()). */
bool known_key_is(const struct known_key *key, const char *text);

/* Adds the lines of a file; "~" is the home folder. A missing file is ERR_NOT_FOUND. */
int known_hosts_read(const char *path, struct buf *text, struct err *err) MUST_CHECK;

/* Adds those of ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts, as far as they exist. */
int known_hosts_read_usual(struct buf *text, struct err *err) MUST_CHECK;

/*
 * Adds a line, which matches every host, for a key given by itself: "ssh-ed25519 AAAA…", as in a
 * .pub file, or its fingerprint, "SHA256:…". The line of a fingerprint has "fingerprint" as type:
 * ours alone. Text that is neither adds a line that no key equals.
 */
void known_hosts_add(struct buf *text, const char *key);

#endif
