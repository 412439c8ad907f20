#ifndef RECLUSTER_ANNOUNCED_H
#define RECLUSTER_ANNOUNCED_H

/*
 * Where others reach what listens on a host, by its entry in the hosts file: "announce_addr" in
 * place of "addr", and "announce_ports", {"6379": 30001}, in place of single ports.
 */

#include <jansson.h>
#include <stdbool.h>

/* `addr`: that its servers listen on. */
const char *announced_addr(const json_t *spec, const char *addr);
int announced_port(const json_t *spec, int port);
bool announced_differs(const json_t *spec); /* from where its servers listen */

#endif
