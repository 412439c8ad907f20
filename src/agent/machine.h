#ifndef AGENT_MACHINE_H
#define AGENT_MACHINE_H

/*
 * What the kernel says of this machine. `root` is put before /proc and /sys: "" but in tests.
 */

#include <jansson.h>
#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recluster/err.h"

struct machine_memory {
    uint64_t total, available; /* bytes; within the limits of our control groups */
};

/* /proc/meminfo, and each control group (version 2 or 1) that we are in, up to the root. */
int machine_memory(const char *root, struct machine_memory *ret, struct err *err) MUST_CHECK;

/*
 * Ports on which a server could not listen at one of these addresses, since somebody listens there,
 * on the wildcard address or on the same in the other notation (::ffff:1.2.3.4). Sorted, each once;
 * the caller frees *ret. A listener on :: counts against IPv4 too: whether it is IPv6 only can't be
 * seen.
 */
int machine_ports_taken(const char *root, const struct addrinfo *addrs, uint16_t **ret,
    size_t *ret_count, struct err *err) MUST_CHECK;

/* The socket that listens at one of these addresses and the port, by its inode; 0: nobody does. */
unsigned long machine_listening(const char *root, const struct addrinfo *addrs, int port);

/* The word in brackets of …/transparent_hugepage/enabled; "unknown". */
const char *machine_thp(const char *root);

/* vm.overcommit_memory: 0, 1, 2; -1 if it can't be read. */
int machine_overcommit(const char *root);

/*
 * Servers that run on the machine, whoever started them, as far as we may see: a JSON array of
 * {"pid", "name": "redis-server"}, at most MACHINE_SERVERS_MAX. The caller's.
 */
enum { MACHINE_SERVERS_MAX = 100 };
json_t *machine_servers(const char *root);

/* machine-id, or the id of the boot: equal for two agents on one machine. The caller frees it. */
char *machine_id(const char *root);

#endif
