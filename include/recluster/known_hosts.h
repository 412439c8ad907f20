#ifndef RECLUSTER_KNOWN_HOSTS_H
#define RECLUSTER_KNOWN_HOSTS_H

/*
 * Reader of ~/.ssh/known_hosts, whose format sshd(8) describes: names, hashed names, patterns with
 * `*` and `?`, `!` before a pattern that must not match, [name]:port, and the marks @revoked and
 * @cert-authority.
 *
 *     const char *at = text;
 *     struct known_key key;
 *     while (known_hosts_next(&at, "10.0.0.1", 22, &key))
 *         … `key` is from a line for this host …
 *
 * As in OpenSSH, a host on a port other than 22 is listed as [name]:port. A key in a line with the
 * bare name may also identify it, but a different key there is not treated as a mismatch.
 */

#include <stdbool.h>
#include <stddef.h>

#include "recluster/buf.h"
#include "recluster/err.h"

struct known_key {
    enum { KNOWN_KEY, KNOWN_AUTHORITY, KNOWN_REVOKED } mark;
    bool bare;              /* the host has a port other than 22, but the line has no port */
    const char *type, *key; /* point into the text, no NUL: "ssh-ed25519", key in base 64 */
    size_t type_len, key_len;
};

/* Finds the next line for this host. Malformed lines are skipped. */
bool known_hosts_next(const char **text, const char *host, int port, struct known_key *ret);

/* Whether the key equals `text`: a key in base 64, or a fingerprint (known_hosts_add()). */
bool known_key_is(const struct known_key *key, const char *text);

/* Appends the lines of a file; "~" is the home folder. A missing file is ERR_NOT_FOUND. */
int known_hosts_read(const char *path, struct buf *text, struct err *err) MUST_CHECK;

/* Appends ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts, if they exist. */
int known_hosts_read_usual(struct buf *text, struct err *err) MUST_CHECK;

/*
 * Appends a line that matches every host, for a single key: "ssh-ed25519 AAAA…" as in a .pub file,
 * or its fingerprint "SHA256:…". The line of a fingerprint has the type "fingerprint", which only
 * this program uses. Other text adds a line that no key equals.
 */
void known_hosts_add(struct buf *text, const char *key);

#endif
