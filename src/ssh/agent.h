#ifndef SSH_AGENT_H
#define SSH_AGENT_H

/*
 * A non-blocking client of ssh-agent (draft-ietf-sshm-ssh-agent): one request at a time.
 *
 *     struct agent *a = agent_open();                 // NULL: SSH_AUTH_SOCK names no agent
 *     agent_list(a, &keys, &count), agent_sign(a, …)  // 0, SSH_WAIT, -1: no answer, or refused
 *     agent_close(a);
 */

#include <stdbool.h>
#include <stddef.h>

#include "recluster/buf.h"
#include "recluster/ssh.h"

struct agent;

/* A key that the agent holds. */
struct agent_key {
    struct buf key; /* the public key as on the wire */
    char *type;     /* "ssh-ed25519" */
    char *comment;  /* printable */
};

struct agent *agent_open(void);
void agent_close(struct agent *a); /* may be NULL */

/* The keys belong to the agent until it is closed. It has 5 s to answer. */
int agent_list(struct agent *a, const struct agent_key **ret, size_t *ret_count) MUST_CHECK;

/* Appends the signature in the form of session_signer. The caller decides how long to wait. */
int agent_sign(struct agent *a, const struct agent_key *key, const char *algorithm,
    const void *data, size_t len, struct buf *ret) MUST_CHECK;

/* Whether a request is open, and what it waits for. */
bool agent_is_asked(const struct agent *a);
void agent_wait(const struct agent *a, struct wait *wait);

#endif
