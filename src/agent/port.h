#ifndef AGENT_PORT_H
#define AGENT_PORT_H

#include <netdb.h>
#include <stdbool.h>

#include "recluster/err.h"

/*
 * Whether a server could listen there, tried with a real bind(2). ERR_CHECK if not: the address is
 * not this host's, or the port is taken; then the message names the process, where it may be seen.
 */
int port_check(const char *addr, int port, struct err *err) MUST_CHECK;

/* Whether the address is one of this machine's. */
bool port_addr_is_local(const struct addrinfo *addr);

#endif
