#ifndef AGENT_MACHINE_H
#define AGENT_MACHINE_H

/* What the kernel tells about this machine. `root` precedes /proc and /sys; only for tests. */

#include <jansson.h>
#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recluster/err.h"

struct machine_memory {
    uint64_t total, available; /* bytes, within the limits of our control groups */
};

/* /proc/meminfo, and the limits of our control group (version 2 or 1) and those above it. */
int machine_memory(const char *root, struct machine_memory *ret, struct err *err) MUST_CHECK;

/*
 * The ports on which a server cannot listen at one of these addresses, because they are in use
 * there, at the wildcard address, or at the same address in the other notation (::ffff:1.2.3.4).
 * Sorted, without duplicates; the caller frees *ret. A listener on :: counts for IPv4 too, because
 * the kernel does not tell whether it is IPv6 only.
 */
int machine_ports_taken(const char *root, const struct addrinfo *addrs, uint16_t **ret,
    size_t *ret_count, struct err *err) MUST_CHECK;

/* The inode of the socket that listens at one of these addresses and the port; 0: none. */
unsigned long machine_listening(const char *root, const struct addrinfo *addrs, int port);

/* The word in brackets of …/transparent_hugepage/enabled; "unknown". */
const char *machine_thp(const char *root);

/* vm.overcommit_memory: 0, 1, 2; -1 if it can't be read. */
int machine_overcommit(const char *root);

/* fs.nr_open: how many files a process may open at most, whatever its limit; 1048576 if unknown. */
int64_t machine_files_max(const char *root);

/*
 * The server processes that we can see on this machine: a JSON array of {"pid", "name":
 * "redis-server"}, at most MACHINE_SERVERS_MAX. The caller's.
 */
enum { MACHINE_SERVERS_MAX = 100 };
json_t *machine_servers(const char *root);

/* The machine-id, or the boot's id: equal for two agents on a machine. The caller frees it. */
char *machine_id(const char *root);

#endif
