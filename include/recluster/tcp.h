#ifndef RECLUSTER_TCP_H
#define RECLUSTER_TCP_H

/*
 * A TCP connection that never blocks, with TLS if wanted, for jobs of the loop (loop.h).
 *
 *     tcp_open(&params, &t, err)
 *     tcp_write(t, data, len, err) … tcp_read(t, data, size, err) …
 *     tcp_wait(t, wait, true)          // before JOB_WAIT; true: bytes are waiting to be written
 *     tcp_close(t)
 *
 * Connecting and the TLS handshake happen within the first reads and writes. The caller keeps the
 * deadlines.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "recluster/err.h"
#include "recluster/loop.h"

/*
 * What a client of TLS servers uses. Certificate and key, PEM files, are for servers that ask
 * clients for one. The server's certificate must be signed by a CA of `ca` (a PEM file; NULL: those
 * of this machine), and be for the name or address that is connected to, unless `any_name` is set.
 */
struct tls;
struct tls_params {
    const char *ca, *cert, *key; /* paths; NULL: none */
    bool any_name;
};
int tls_new(const struct tls_params *params, struct tls **ret, struct err *err) MUST_CHECK;
void tls_free(struct tls *tls); /* may be NULL; connections that use it live on */

struct tcp;
struct tcp_params {
    const char *addr; /* an IP address */
    int port;
    struct tls *tls;  /* borrowed; NULL: no TLS */
    const char *name; /* of the server, for its certificate; NULL: the address */
};
int tcp_open(const struct tcp_params *params, struct tcp **ret, struct err *err) MUST_CHECK;
void tcp_close(struct tcp *t); /* may be NULL */

/* "10.0.0.1:6379", for messages. */
const char *tcp_peer(const struct tcp *t);

/* What this side's address is, once connected. NULL before. */
const char *tcp_own_addr(struct tcp *t);

/*
 * Both return the number of bytes, 0 if none can be moved now, and -1 for ERR_NETWORK (also when
 * the peer has closed the connection) or ERR_DENIED (a certificate was refused).
 */
ssize_t tcp_write(struct tcp *t, const void *data, size_t len, struct err *err) MUST_CHECK;
ssize_t tcp_read(struct tcp *t, void *data, size_t size, struct err *err) MUST_CHECK;

/* Waits for bytes to read and, if `writing`, also until bytes can be written. */
void tcp_wait(const struct tcp *t, struct wait *wait, bool writing);

#endif
