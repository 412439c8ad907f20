#ifndef AGENT_PORT_H
#define AGENT_PORT_H

#include <netdb.h>
#include <stdbool.h>

#include "recluster/err.h"

/*
 * Tries with a real bind(2) whether a server could listen there. ERR_CHECK: the address does not
 * belong to this host, or the port is taken; then the message names the process, if we can see it.
 */
int port_check(const char *addr, int port, struct err *err) MUST_CHECK;

/* Whether the address belongs to this machine. */
bool port_addr_is_local(const struct addrinfo *addr);

#endif
